"""Orders of a store that wait for an approval; what a store refused for good is tried again."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_store_plan",
        sa.Column("company", sa.Text(), primary_key=True),
        sa.Column("store_id", sa.Text(), primary_key=True),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("saved_at", UtcDateTime(), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("row_keys", sa.LargeBinary()),
    )
    # A refusal without a time was never to be tried again, whatever its cause was.
    for kind in ("product", "customer", "order"):
        op.execute(
            f"UPDATE ledger_store_{kind} SET refused_digest = NULL, refused_detail = NULL, "
            "refused_attempts = 0 WHERE refused_digest IS NOT NULL AND retry_at IS NULL"
        )
