"""Whom we gave the marketing permissions that their consent stands for: once for ever."""

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
