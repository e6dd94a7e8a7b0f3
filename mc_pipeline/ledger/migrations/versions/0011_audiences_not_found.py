"""In how many runs an audience that was read before was not found: one that is gone holds nobody back."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ledger_audience_read",
        sa.Column("not_found_runs", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("ledger_audience_read", sa.Column("not_found_run_id", sa.Text(), nullable=True))
