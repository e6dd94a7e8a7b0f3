"""When an opt-out of Odoo was first said: later changes of its row move the other date."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_standing_opt_out", sa.Column("first_said_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE ledger_standing_opt_out SET first_said_at = said_at")
