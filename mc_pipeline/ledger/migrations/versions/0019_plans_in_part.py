"""Plans that were applied but for what waits for an approval."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_plan", sa.Column("applied_in_part", sa.Boolean()))
