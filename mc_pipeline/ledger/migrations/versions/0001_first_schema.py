"""The first schema: intents, members, consent, plans, reads, leases, connections."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import RowNumber, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Erasure (RULES 10.1) replaces the address and its evidence; all else about an event stays as it was.
_KEPT = "id, company, audience, list_id, event, origin, status_from, status_to, occurred_at, seen_at"


def upgrade() -> None:
    op.create_table(
        "ledger_approval",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approved_at", UtcDateTime(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("opened_audiences_json", sa.Text(), nullable=False),
        sa.Column("row_keys", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_approval")),
    )
    op.create_index(
        "ix_ledger_approval_company_approved_at", "ledger_approval", ["company", "approved_at"], unique=False
    )
    op.create_table(
        "ledger_audience_read",
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("observed_at", UtcDateTime(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("list_id", name=op.f("pk_ledger_audience_read")),
    )
    op.create_table(
        "ledger_connection_slot",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account", "number", name=op.f("pk_ledger_connection_slot")),
    )
    op.create_table(
        "ledger_connection_waiter",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account", "token", name=op.f("pk_ledger_connection_waiter")),
    )
    op.create_table(
        "ledger_consent_event",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("status_from", sa.Text(), nullable=False),
        sa.Column("status_to", sa.Text(), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("evidence_json", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "origin IN ('ours', 'person', 'admin', 'unknown')", name=op.f("ck_ledger_consent_event_origin")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_consent_event")),
    )
    op.create_index("ix_ledger_consent_event_email", "ledger_consent_event", ["email"], unique=False)
    op.create_index(
        "uq_ledger_consent_event_told_once",
        "ledger_consent_event",
        ["list_id", "email", "event", "occurred_at", "status_to"],
        unique=True,
    )
    op.create_table(
        "ledger_intent",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("body_json", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=True),
        sa.Column("row_key", sa.Text(), nullable=True),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        sa.Column("name_sent", sa.Text(), nullable=True),
        sa.Column("evidence_json", sa.Text(), nullable=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("returned_json", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_intent")),
    )
    op.create_index("ix_ledger_intent_company_run_id", "ledger_intent", ["company", "run_id"], unique=False)
    op.create_index("ix_ledger_intent_email", "ledger_intent", ["email"], unique=False)
    op.create_index(
        "ix_ledger_intent_open",
        "ledger_intent",
        ["company", "id"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "ledger_lease",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("since", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("company", name=op.f("pk_ledger_lease")),
    )
    op.create_table(
        "ledger_lease_holder",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_ledger_lease_holder")),
    )
    op.create_index("ix_ledger_lease_holder_company", "ledger_lease_holder", ["company"], unique=False)
    op.create_table(
        "ledger_member",
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        sa.Column("name_sent", sa.Text(), nullable=True),
        sa.Column("created_by_us", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_status", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=True),
        sa.Column("sent_json", sa.Text(), nullable=True),
        sa.Column("returned_json", sa.Text(), nullable=True),
        sa.Column("tags_json", sa.Text(), server_default="[]", nullable=False),
        sa.Column("archived_by_us", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("ever_subscribed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("opted_out", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("last_status", sa.Text(), nullable=True),
        sa.Column("last_changed", UtcDateTime(), nullable=True),
        sa.Column("written_at", UtcDateTime(), nullable=True),
        sa.Column("absent_reads", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("absent_confirmations", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("absent_confirmed_read", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("vanished", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("rejection_operation", sa.Text(), nullable=True),
        sa.Column("rejection_key", sa.Text(), nullable=True),
        sa.Column("rejection_detail", sa.Text(), nullable=True),
        sa.Column("rejection_title", sa.Text(), nullable=True),
        sa.Column("rejection_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("list_id", "email", name=op.f("pk_ledger_member")),
    )
    op.create_index("ix_ledger_member_email", "ledger_member", ["email"], unique=False)
    op.create_table(
        "ledger_observation",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("observed_at", UtcDateTime(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("incomplete_because", sa.Text(), server_default="", nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_reason", sa.Text(), nullable=True),
        sa.Column("approved_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("company", "table_name", "observed_at", name=op.f("pk_ledger_observation")),
    )
    op.create_table(
        "ledger_opened_audience",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("loaded_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("company", "list_id", name=op.f("pk_ledger_opened_audience")),
    )
    op.create_table(
        "ledger_plan",
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("saved_at", UtcDateTime(), nullable=False),
        sa.Column("observed_at", UtcDateTime(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("counts_json", sa.Text(), nullable=False),
        sa.Column("guards_json", sa.Text(), nullable=False),
        sa.Column("needs_approval", sa.Boolean(), nullable=False),
        sa.Column("first_load_audiences_json", sa.Text(), nullable=False),
        sa.Column("row_keys", sa.LargeBinary(), nullable=True),
        sa.Column("applied_at", UtcDateTime(), nullable=True),
        sa.Column("applied_observed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_ledger_plan")),
    )
    op.create_index(
        "ix_ledger_plan_company_observed_at", "ledger_plan", ["company", "observed_at"], unique=False
    )
    op.create_table(
        "ledger_rename",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("old_email", sa.Text(), nullable=False),
        sa.Column("new_email", sa.Text(), nullable=False),
        sa.Column("renamed_at", UtcDateTime(), nullable=False),
        sa.Column("intent_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_rename")),
    )
    op.create_index("ix_ledger_rename_new_email", "ledger_rename", ["new_email"], unique=False)
    op.create_index("ix_ledger_rename_old_email", "ledger_rename", ["old_email"], unique=False)
    _make_consent_append_only()


def _make_consent_append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name, when in (("kept", "DELETE"), ("unchanged", f"UPDATE OF {_KEPT}")):
            op.execute(
                f"CREATE TRIGGER ledger_consent_event_{name} BEFORE {when} ON ledger_consent_event "
                "BEGIN SELECT RAISE(ABORT, 'consent events are append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION ledger_refuse_change_of_consent() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'consent events are append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER ledger_consent_event_append_only BEFORE DELETE OR UPDATE OF {_KEPT} "
        "ON ledger_consent_event FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change_of_consent()"
    )
