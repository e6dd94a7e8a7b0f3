"""Who was given the marketing permissions that their consent covers: once, permanently."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ledger_member", sa.Column("permitted", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
