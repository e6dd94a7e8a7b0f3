"""The database refuses to delete what proves consent and its end, approvals, and tombstones.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEPT = ("ledger_consent_origin", "ledger_intent", "ledger_odoo_opt_out", "ledger_approval", "ledger_erasure")
"""Beside ledger_consent_event, whose rows are kept since the first version of the schema."""


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    if not on_sqlite:
        op.execute(
            "CREATE FUNCTION ledger_refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'rows of this table are kept'; END $$"
        )
    for table in KEPT:
        if on_sqlite:
            op.execute(
                f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'rows of this table are kept'); END"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION ledger_refuse_to_forget()"
            )
