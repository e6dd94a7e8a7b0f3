"""What is open in each company, by step, with the time of its first report."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_trouble",
        sa.Column("company", sa.Text(), primary_key=True),
        sa.Column("step", sa.Text(), primary_key=True),
        sa.Column("part", sa.Text(), primary_key=True),
        sa.Column("place", sa.Text(), primary_key=True),
        sa.Column("code", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("what_to_do", sa.Text(), nullable=False, server_default=""),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
