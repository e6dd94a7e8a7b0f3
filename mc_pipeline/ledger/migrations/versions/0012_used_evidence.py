"""Consent that people were subscribed on, by its own record, and the addresses that partners had in Odoo."""

import json

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_AT_A_TIME = 500


def upgrade() -> None:
    used = op.create_table(
        "ledger_used_evidence",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        sa.Column("consented_at", UtcDateTime(), nullable=True),
        sa.Column("used_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "company",
            "list_id",
            "email",
            "kind",
            "source",
            "source_id",
            "record_id",
            name=op.f("pk_ledger_used_evidence"),
        ),
    )
    for column in ("email", "record_id", "partner_id"):
        op.create_index(f"ix_ledger_used_evidence_{column}", "ledger_used_evidence", [column])
    op.create_table(
        "ledger_partner_address",
        sa.Column("partner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("partner_id", "email", name=op.f("pk_ledger_partner_address")),
    )
    op.create_index("ix_ledger_partner_address_email", "ledger_partner_address", ["email"])
    op.create_table(
        "ledger_partner_gone",
        sa.Column("partner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("successor_id", sa.BigInteger(), nullable=True),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", name=op.f("pk_ledger_partner_gone")),
    )
    op.create_index("ix_ledger_partner_gone_successor_id", "ledger_partner_gone", ["successor_id"])
    # Addresses that partners were known under; the next read of Odoo says which of them they left.
    op.execute(
        """
        INSERT INTO ledger_partner_address (partner_id, email, first_seen_at)
        SELECT partner_id, email, MIN(recorded_at) FROM ledger_intent
        WHERE partner_id IS NOT NULL AND email LIKE '%@%' GROUP BY partner_id, email
        """
    )
    _keep_what_was_used(used)


def _keep_what_was_used(used: sa.Table) -> None:
    """Of subscriptions on evidence that the history tells: by address, for it knows no record of theirs."""
    connection = op.get_bind()
    event = sa.table(
        "ledger_consent_event",
        *(sa.column(name) for name in ("company", "list_id", "email", "event", "origin", "evidence_json")),
        sa.column("occurred_at", UtcDateTime()),
    )
    intent = sa.table("ledger_intent", sa.column("id"), sa.column("partner_id"))
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    told = sa.select(event).where(
        event.c.origin == "ours",
        event.c.event.in_(["subscribe", "pending"]),
        event.c.evidence_json.is_not(None),
    )
    events = [
        (row, evidence)
        for row in connection.execute(told.order_by(event.c.occurred_at)).mappings().all()
        if {"source", "kind"} <= (evidence := json.loads(row["evidence_json"])).keys()
    ]
    partners: dict[int, int] = {}
    written = sorted({evidence["intent"] for _, evidence in events if "intent" in evidence})
    for start in range(0, len(written), _AT_A_TIME):
        these = intent.c.id.in_(written[start : start + _AT_A_TIME])
        partners.update(
            (each.id, each.partner_id)
            for each in connection.execute(sa.select(intent.c.id, intent.c.partner_id).where(these))
        )
    for row, evidence in events:
        of_field = evidence["kind"] == "boolean_field"
        number = evidence.get("record_id") or 0
        key = {
            "company": row["company"],
            "list_id": row["list_id"],
            "email": row["email"],
            "kind": evidence["kind"],
            "source": evidence["source"],
            "source_id": 0 if of_field else number,
            "record_id": number if of_field else 0,
        }
        rows[tuple(key.values())] = key | {
            "partner_id": partners.get(evidence.get("intent", 0)),
            "consented_at": None,
            "used_at": row["occurred_at"],
        }
    if rows:
        connection.execute(sa.insert(used), list(rows.values()))
