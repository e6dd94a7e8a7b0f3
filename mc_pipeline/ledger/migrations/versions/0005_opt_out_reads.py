"""How far each audience was read for opt-outs, and how an event of the consent history was learned of."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_opt_out_read",
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("read_until", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("list_id", name=op.f("pk_ledger_opt_out_read")),
    )
    op.add_column("ledger_consent_event", sa.Column("source", sa.Text(), server_default="", nullable=False))
    _keep_source_too()


def _keep_source_too() -> None:
    """The history is append-only, its new column included."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER ledger_consent_event_source_unchanged BEFORE UPDATE OF source "
            "ON ledger_consent_event "
            "BEGIN SELECT RAISE(ABORT, 'consent events are append-only'); END"
        )
        return
    op.execute(
        "CREATE TRIGGER ledger_consent_event_source_append_only BEFORE UPDATE OF source "
        "ON ledger_consent_event FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change_of_consent()"
    )
