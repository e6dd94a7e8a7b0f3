"""The inbox of the webhooks."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import RowNumber, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXTS = (
    "list_id source type email new_email contact_id action reason campaign_id fired_at_raw body_digest "
    "told_once_key"
).split()


def upgrade() -> None:
    op.create_table(
        "ledger_webhook_delivery",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        sa.Column("fired_at", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("processed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("source IN ('user', 'admin')", name=op.f("ck_ledger_webhook_delivery_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_webhook_delivery")),
    )
    op.create_index(
        "uq_ledger_webhook_delivery_told_once", "ledger_webhook_delivery", ["told_once_key"], unique=True
    )
    op.create_index(
        "ix_ledger_webhook_delivery_waiting",
        "ledger_webhook_delivery",
        ["list_id"],
        unique=False,
        sqlite_where=sa.text("processed_at IS NULL"),
        postgresql_where=sa.text("processed_at IS NULL"),
    )
