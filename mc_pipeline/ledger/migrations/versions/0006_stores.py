"""What each store holds, and every write to it."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import RowNumber, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_store",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("loaded_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("store_id", name=op.f("pk_ledger_store")),
    )
    op.create_table(
        "ledger_store_product",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("present", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("sent_json", sa.Text(), nullable=True),
        *_refusal(),
        sa.PrimaryKeyConstraint("store_id", "object_id", name=op.f("pk_ledger_store_product")),
    )
    op.create_table(
        "ledger_store_customer",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("present", sa.Boolean(), server_default=sa.false(), nullable=False),
        *_refusal(),
        sa.PrimaryKeyConstraint("store_id", "object_id", name=op.f("pk_ledger_store_customer")),
    )
    op.create_index("ix_ledger_store_customer_email", "ledger_store_customer", ["email"])
    op.create_index("ix_ledger_store_customer_company_person", "ledger_store_customer", ["company", "person"])
    op.create_table(
        "ledger_store_order",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("present", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("sent_json", sa.Text(), nullable=True),
        sa.Column("attribution_json", sa.Text(), nullable=True),
        *_refusal(),
        sa.PrimaryKeyConstraint("store_id", "object_id", name=op.f("pk_ledger_store_order")),
    )
    op.create_index("ix_ledger_store_order_company_order_id", "ledger_store_order", ["company", "order_id"])
    op.create_index(
        "ix_ledger_store_order_store_id_customer_id", "ledger_store_order", ["store_id", "customer_id"]
    )
    op.create_table(
        "ledger_store_intent",
        sa.Column("id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("part_id", sa.Text(), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("month", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("wanted_digest", sa.Text(), nullable=True),
        sa.Column("after_json", sa.Text(), nullable=True),
        sa.Column("attribution_json", sa.Text(), nullable=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_store_intent")),
    )
    op.create_index("ix_ledger_store_intent_company_run_id", "ledger_store_intent", ["company", "run_id"])
    op.create_index(
        "ix_ledger_store_intent_open",
        "ledger_store_intent",
        ["company", "id"],
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )


def _refusal() -> list[sa.Column[Any]]:
    return [
        sa.Column("refused_digest", sa.Text(), nullable=True),
        sa.Column("refused_detail", sa.Text(), nullable=True),
        sa.Column("refused_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
    ]
