"""Whom we asked to confirm, by address, and which marketing permissions were given and taken back.

What earlier versions sent is taken over from the writes that they kept. They did not keep the evidence of a
permission: the time of giving stands for its date, as the evidence is older than that.
"""

import json

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_AT_A_TIME = 500


def upgrade() -> None:
    op.create_table(
        "ledger_confirmation",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("company", "list_id", "email", name=op.f("pk_ledger_confirmation")),
    )
    op.create_index("ix_ledger_confirmation_email", "ledger_confirmation", ["email"])
    op.create_table(
        "ledger_permission",
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("given_at", UtcDateTime(), nullable=True),
        sa.Column("evidence_at", UtcDateTime(), nullable=True),
        sa.Column("evidence_source", sa.Text(), server_default="", nullable=False),
        sa.Column("withdrawn_at", UtcDateTime(), nullable=True),
        sa.Column("lost_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint(
            "company", "list_id", "email", "permission", name=op.f("pk_ledger_permission")
        ),
    )
    op.create_index("ix_ledger_permission_email", "ledger_permission", ["email"])
    _take_over_what_was_written()


def _take_over_what_was_written() -> None:
    connection = op.get_bind()
    intent = sa.table(
        "ledger_intent",
        sa.column("id"),
        sa.column("company"),
        sa.column("list_id"),
        sa.column("email"),
        sa.column("operation"),
        sa.column("body_json"),
        sa.column("outcome"),
        sa.column("settled_at", UtcDateTime()),
    )
    confirmation = sa.table(
        "ledger_confirmation",
        *(sa.column(name) for name in ("company", "list_id", "email")),
        sa.column("asked_at", UtcDateTime()),
    )
    permission = sa.table(
        "ledger_permission",
        *(sa.column(name) for name in ("company", "list_id", "email", "permission", "enabled")),
        sa.column("given_at", UtcDateTime()),
    )
    written = (
        sa.select(intent)
        .where(
            intent.c.outcome == "applied",
            sa.or_(
                intent.c.operation == "permit",
                sa.and_(intent.c.operation == "create", intent.c.body_json.like('%"status":"pending"%')),
            ),
        )
        .order_by(intent.c.id)
    )
    asked: dict[tuple[str, ...], object] = {}
    given: dict[tuple[str, ...], object] = {}
    for row in connection.execute(written).mappings():
        if "@" not in row["email"]:
            continue  # of somebody who was erased since
        body = json.loads(row["body_json"])
        member = (row["company"], row["list_id"], row["email"])
        if row["operation"] == "create":
            if body.get("status") == "pending":
                asked[member] = row["settled_at"]
            continue
        for text in body.get("marketing_permissions", ()):
            given[*member, text.casefold()] = row["settled_at"]
    _keep_under_new_addresses(given)
    _insert(confirmation, ("company", "list_id", "email", "asked_at"), asked)
    _insert(
        permission,
        ("company", "list_id", "email", "permission", "given_at"),
        given,
        enabled=True,
    )


def _keep_under_new_addresses(given: dict[tuple[str, ...], object]) -> None:
    renames = op.get_bind().execute(
        sa.text("SELECT company, list_id, old_email, new_email FROM ledger_rename ORDER BY id")
    )
    texts: dict[tuple[str, ...], set[str]] = {}
    for *member, permission in given:
        texts.setdefault(tuple(member), set()).add(permission)
    for company, list_id, old, new in renames:
        for permission in texts.get((company, list_id, old), set()):
            given.setdefault((company, list_id, new, permission), given[company, list_id, old, permission])
            texts.setdefault((company, list_id, new), set()).add(permission)


def _insert(
    table: sa.TableClause, columns: tuple[str, ...], values: dict[tuple[str, ...], object], **more: object
) -> None:
    rows = [dict(zip(columns, (*key, at), strict=True)) | more for key, at in values.items()]
    for start in range(0, len(rows), _AT_A_TIME):
        op.get_bind().execute(sa.insert(table), rows[start : start + _AT_A_TIME])
