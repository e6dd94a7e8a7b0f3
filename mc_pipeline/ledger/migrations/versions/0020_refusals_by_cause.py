"""Whose fault a refusal is, and what the merge fields of each audience are and were.

Refusals of earlier versions have no cause. Those that a field is to blame for, by Mailchimp's own words, are
forgotten: they had waited for the contact to change, which removes no such cause, and are tried once more.
"""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_member", sa.Column("rejection_cause", sa.Text(), nullable=True))
    op.add_column("ledger_member", sa.Column("rejection_field", sa.Text(), nullable=True))
    op.add_column("ledger_member", sa.Column("rejected_at", UtcDateTime(), nullable=True))
    op.create_table(
        "ledger_field_definitions",
        sa.Column("list_id", sa.Text(), primary_key=True),
        sa.Column("fields_json", sa.Text(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "ledger_used_field",
        sa.Column("list_id", sa.Text(), primary_key=True),
        sa.Column("tag", sa.Text(), primary_key=True),
        sa.Column("merge_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
    )
    member = sa.table("ledger_member", sa.column("rejection_key"), sa.column("rejection_detail"))
    op.execute(
        sa.update(member)
        .where(
            sa.or_(
                member.c.rejection_detail.like("%merge fields were invalid%"),
                member.c.rejection_detail.like("%limit%"),
            )
        )
        .values(rejection_key=None)
    )
