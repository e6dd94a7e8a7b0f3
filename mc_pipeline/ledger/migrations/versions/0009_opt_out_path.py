"""Opt-outs are a path of their own: leases by name, what each list and Odoo last said, what is still due."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_ledger_lease_holder_company", "ledger_lease_holder")
    for table in ("ledger_lease", "ledger_lease_holder"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN company TO name")
    op.create_index("ix_ledger_lease_holder_name", "ledger_lease_holder", ["name"])
    op.add_column("ledger_intent", sa.Column("path", sa.Text(), server_default="changes", nullable=False))
    op.add_column("ledger_member", sa.Column("seen_at", UtcDateTime(), nullable=True))
    op.create_table(
        "ledger_hearing",
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=True),
        sa.Column("failed_since", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_at", UtcDateTime(), nullable=True),
        sa.Column("failed_by", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_kind", sa.Text(), server_default="", nullable=False),
        sa.Column("failure", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("list_id", name=op.f("pk_ledger_hearing")),
    )
    op.create_table(
        "ledger_odoo_hearing",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("read_until", UtcDateTime(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("company", "subject", name=op.f("pk_ledger_odoo_hearing")),
    )
    op.create_table(
        "ledger_due_in_odoo",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.Column("list_id", sa.Text(), server_default="", nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        sa.Column("conflict", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint(
            "state IN ('due', 'waits', 'refused', 'conflict')", name=op.f("ck_ledger_due_in_odoo_state")
        ),
        sa.PrimaryKeyConstraint("company", "email", name=op.f("pk_ledger_due_in_odoo")),
    )
    op.create_table(
        "ledger_standing_opt_out",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("said_at", UtcDateTime(), nullable=False),
        sa.Column("because", sa.Text(), server_default="", nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "company", "email", "list_id", "cause", name=op.f("pk_ledger_standing_opt_out")
        ),
    )
    op.create_index("ix_ledger_standing_opt_out_email", "ledger_standing_opt_out", ["email"])
    op.create_table(
        "ledger_unsubscribe_due",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("company", "list_id", "email", name=op.f("pk_ledger_unsubscribe_due")),
    )
    # What an older version had heard and not carried yet is due: each address is looked at once more.
    op.execute(
        """
        INSERT INTO ledger_due_in_odoo (company, email, state, since)
        SELECT company, email, 'due', MAX(seen_at) FROM ledger_consent_event
        WHERE list_id <> '' AND origin <> 'ours'
          AND event IN ('opt_out', 'clean', 'complaint', 'subscribe') AND email LIKE '%@%'
        GROUP BY company, email
        """
    )
