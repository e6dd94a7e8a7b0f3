"""Posted invoices and credit notes as one table: a row per line, with what its document says."""

import pandas as pd

from mc_pipeline.odoo.accounting import read_document_lines, read_documents
from mc_pipeline.odoo.changes import Reading
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.reading import OdooRead


def read_refunds(client: OdooClient, company_id: int, *, reading: Reading | None = None) -> OdooRead:
    """All posted customer invoices and credit notes of the company, line by line.

    ``reading`` may take unchanged documents and lines from an earlier read.

    Columns: those of ``read_documents``, the same on every line of a document, and of
    ``read_document_lines``: line_id Int64, sale_line_ids, display_type, quantity, price_subtotal,
    price_total, cash_rounding_untaxed, cash_rounding_tax, booked_untaxed_company, is_income. A document
    without goods has one row, without line_id.

    Not complete when the user sees its own documents only. Raises OdooAccessError without the right
    Invoicing / Auditor or Billing.
    """
    documents = read_documents(client, company_id, reading=reading)
    lines = read_document_lines(client, company_id, documents, reading=reading)
    own = lines.rows.drop(columns=["move_type", "state", "reversed_entry_id", "currency"])
    rows = documents.rows.merge(own, on="move_id", how="left")
    rows["line_id"] = rows["line_id"].astype("Int64")
    without_goods = rows["line_id"].isna()
    rows["sale_line_ids"] = pd.Series(
        [
            [] if missing else list(ties)
            for ties, missing in zip(rows["sale_line_ids"], without_goods, strict=True)
        ],
        index=rows.index,
        dtype="object",
    )
    return OdooRead(rows, lines.observed_at, lines.complete, lines.incomplete_because, documents.notes)
