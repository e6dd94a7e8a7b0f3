"""Who was a company in Odoo, and whose commercial partner, as long as Odoo had company types."""

import sqlalchemy as sa
from alembic import op

from mc_pipeline.ledger.schema import UtcDateTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_company_record",
        sa.Column("odoo", sa.Text(), primary_key=True),
        sa.Column("partner_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("is_company", sa.Boolean(), nullable=False),
        sa.Column("commercial_partner_id", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("tax_id_mark", sa.Text(), nullable=False),
        sa.Column("company_name", sa.Text(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
