"""Who a member is while the address changes, and changes that people made in Mailchimp."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_member", sa.Column("contact_id", sa.Text(), nullable=True))
    op.create_index("ix_ledger_member_contact_id", "ledger_member", ["list_id", "contact_id"], unique=False)
    op.add_column("ledger_rename", sa.Column("contact_id", sa.Text(), nullable=True))
    op.add_column("ledger_rename", sa.Column("partner_id", sa.BigInteger(), nullable=True))
    op.add_column("ledger_rename", sa.Column("ended_at", UtcDateTime(), nullable=True))
