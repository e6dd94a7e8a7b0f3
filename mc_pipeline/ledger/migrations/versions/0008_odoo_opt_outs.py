"""Opt-outs applied to and removed from Odoo, and the opt-outs from before an audience was first read."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import RowNumber, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_odoo_opt_out",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("blacklist_id", sa.BigInteger(), nullable=True),
        sa.Column("blacklist_write_date", UtcDateTime(), nullable=True),
        sa.Column("made_by_us", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("action IN ('opt_out', 'lift')", name=op.f("ck_ledger_odoo_opt_out_action")),
        sa.CheckConstraint("scope IN ('everywhere', 'company')", name=op.f("ck_ledger_odoo_opt_out_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_odoo_opt_out")),
    )
    op.create_index("ix_ledger_odoo_opt_out_email", "ledger_odoo_opt_out", ["email"])
    op.create_index(
        "ix_ledger_odoo_opt_out_open",
        "ledger_odoo_opt_out",
        ["company", "id"],
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "ledger_old_opt_outs",
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("first_read_at", UtcDateTime(), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("released_at", UtcDateTime(), nullable=True),
        sa.Column("released_by", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("list_id", name=op.f("pk_ledger_old_opt_outs")),
    )
