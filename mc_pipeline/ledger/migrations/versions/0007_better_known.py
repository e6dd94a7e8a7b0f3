"""What is learned of an event after it was recorded, and changes of an address that we did not make."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_consent_origin",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("origin IN ('person', 'admin')", name=op.f("ck_ledger_consent_origin_origin")),
        sa.PrimaryKeyConstraint("event_id", "origin", name=op.f("pk_ledger_consent_origin")),
    )
    with op.batch_alter_table("ledger_rename") as rename:
        rename.alter_column("intent_id", existing_type=sa.BigInteger(), nullable=True)
