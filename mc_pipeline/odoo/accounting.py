"""Posted customer invoices and credit notes of a company, and the lines that tie them to order lines.

Whether an amount is kept revenue is decided in ``domain``; here is what Odoo's books say. Drafts count for
nothing until they are posted, so they are not read.
"""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mc_pipeline.odoo.changes import Reading, Stale, changed_since
from mc_pipeline.odoo.client import Domain, OdooClient, Record
from mc_pipeline.odoo.currencies import read_currencies
from mc_pipeline.odoo.fields import available_fields
from mc_pipeline.odoo.paging import PagedRead
from mc_pipeline.odoo.reading import (
    OdooRead,
    dates,
    flags,
    frame,
    ids,
    joined,
    lists,
    now,
    numbers,
    optional_ids,
    texts,
    times,
)
from mc_pipeline.odoo.tills import DOCUMENT_TYPES, Tills, closing_documents, read_tills
from mc_pipeline.odoo.visibility import hidden_sales_documents

_DOCUMENT_FIELDS = (
    "move_type", "state", "name", "reversed_entry_id", "currency_id", "amount_untaxed", "amount_tax",
    "amount_total", "amount_total_signed", "date", "invoice_date", "payment_state", "write_date",
)  # fmt: skip
# The lines that make up amount_untaxed; taxes, payment terms, sections and notes are not amounts of goods.
_LINE_TYPES = ["product", "rounding"]
_LINE_FIELDS = (
    "move_id", "sale_line_ids", "display_type", "price_subtotal", "price_total", "quantity",
    "amount_currency", "balance", "account_id",
)  # fmt: skip
INCOME_ACCOUNTS = ("income", "income_other")
"""Account types that hold revenue."""


def read_documents(client: OdooClient, company_id: int, *, reading: Reading | None = None) -> OdooRead:
    """Headers of all posted customer invoices and credit notes of the company.

    Without the closings of tills, which are such documents from Odoo 20 on: they hold no sale of an order.
    ``reading`` may take unchanged ones from an earlier read.

    Columns: move_id int64, move_type ("out_invoice" or "out_refund"), state ("posted"), name,
    reversed_entry_id Int64 (the invoice a credit note was made from; missing for one made by invoicing a
    lowered order again), currency (ISO 4217), amount_untaxed, amount_tax, amount_total (document currency,
    positive on credit notes too, rounded to the currency), amount_total_company (the same in company
    currency at the document's own rate), date, invoice_date (datetime64, days, without timezone),
    payment_state, write_date (UTC).

    Not complete when the user sees its own documents only. Raises OdooAccessError without the right
    Invoicing / Auditor or Billing.
    """
    observed_at = now()
    limited = client.with_companies([company_id])
    tills = read_tills(limited, company_id)
    found, records = _documents(limited, company_id, reading or Reading(), tills)
    currencies = read_currencies(limited)
    document_currencies = [currencies[record["currency_id"]] for record in records]

    def amounts(name: str) -> list[float]:
        return [
            currency.rounded(record[name])
            for record, currency in zip(records, document_currencies, strict=True)
        ]

    rows = frame(
        {
            "move_id": ids(record["id"] for record in records),
            "move_type": texts(record["move_type"] for record in records),
            "state": texts(record["state"] for record in records),
            "name": texts(record["name"] for record in records),
            "reversed_entry_id": optional_ids(record["reversed_entry_id"] for record in records),
            "currency": texts(currency.code for currency in document_currencies),
            "amount_untaxed": numbers(amounts("amount_untaxed")),
            "amount_tax": numbers(amounts("amount_tax")),
            "amount_total": numbers(amounts("amount_total")),
            "amount_total_company": numbers(
                (-1 if record["move_type"] == "out_refund" else 1) * (record["amount_total_signed"] or 0.0)
                for record in records
            ),
            "date": dates(record["date"] for record in records),
            "invoice_date": dates(record["invoice_date"] for record in records),
            "payment_state": texts(record["payment_state"] for record in records),
            "write_date": times(record["write_date"] for record in records),
        }
    )
    because = joined([found.incomplete_because, hidden_sales_documents(limited)])
    return OdooRead(rows, observed_at, not because, because, (tills.note,) if tills.note else ())


def read_document_lines(
    client: OdooClient,
    company_id: int,
    documents: OdooRead | None = None,
    *,
    reading: Reading | None = None,
) -> OdooRead:
    """Goods and cash-rounding lines of the documents of ``read_documents`` (read when not given).

    ``reading`` may take unchanged lines from an earlier read.

    Columns: line_id, move_id int64, move_type, state, reversed_entry_id Int64, currency (these four of the
    document), sale_line_ids list of int (the order lines; empty for a line typed by hand), display_type
    ("product" or "rounding"), price_subtotal (untaxed), price_total (with tax; document currency, positive on
    credit notes unless the line itself is negative), quantity, cash_rounding_untaxed, cash_rounding_tax (what
    a rounding line adds to the document's amount_untaxed or amount_tax; 0 on goods), booked_untaxed_company
    (the journal item in company currency at the document's own rate, below zero on credit notes), is_income
    (it is booked on an income account).

    A line of a document posted after ``documents`` were read is left out. Raises the client's errors.
    """
    observed_at = now()
    limited = client.with_companies([company_id])
    headers = documents or read_documents(limited, company_id, reading=reading)
    by_move: Mapping[int, Mapping[Hashable, Any]] = {
        row["move_id"]: row
        for row in headers.rows[["move_id", "move_type", "state", "reversed_entry_id", "currency"]].to_dict(
            "records"
        )
    }
    fields = available_fields(limited, "account.move.line", _LINE_FIELDS, ["tax_repartition_line_id"])
    domain = [
        ("move_id.company_id", "=", company_id),
        ("move_id.move_type", "in", DOCUMENT_TYPES),
        ("move_id.state", "=", "posted"),
        ("display_type", "in", _LINE_TYPES),
    ]
    found = (reading or Reading()).read(
        limited,
        "account.move.line",
        [domain],
        fields,
        bumped_by=["move_id"],
        stale=_with_changed_ties(limited, company_id, domain),
    )
    # The line's own account_type is computed: reading it would make every read a whole one.
    of_income = [("account_type", "in", list(INCOME_ACCOUNTS))]
    income = set(limited.search("account.account", of_income, order="id"))
    records = [record for record in found.records if record["move_id"] in by_move]
    moves = [by_move[record["move_id"]] for record in records]
    rounding = [
        _cash_rounding(record, str(move["move_type"])) for record, move in zip(records, moves, strict=True)
    ]
    rows = frame(
        {
            "line_id": ids(record["id"] for record in records),
            "move_id": ids(record["move_id"] for record in records),
            "move_type": texts(move["move_type"] for move in moves),
            "state": texts(move["state"] for move in moves),
            "reversed_entry_id": optional_ids(move["reversed_entry_id"] for move in moves),
            "currency": texts(move["currency"] for move in moves),
            "sale_line_ids": lists(record["sale_line_ids"] for record in records),
            "display_type": texts(record["display_type"] for record in records),
            "price_subtotal": numbers(record["price_subtotal"] for record in records),
            "price_total": numbers(record["price_total"] for record in records),
            "quantity": numbers(record["quantity"] for record in records),
            "cash_rounding_untaxed": numbers(
                0.0 if record.get("tax_repartition_line_id") else amount
                for record, amount in zip(records, rounding, strict=True)
            ),
            "cash_rounding_tax": numbers(
                amount if record.get("tax_repartition_line_id") else 0.0
                for record, amount in zip(records, rounding, strict=True)
            ),
            "booked_untaxed_company": numbers(0.0 - (record["balance"] or 0.0) for record in records),
            "is_income": flags(record["account_id"] in income for record in records),
        }
    )
    because = joined([headers.incomplete_because, found.incomplete_because])
    return OdooRead(rows, min(observed_at, headers.observed_at), not because, because)


def _cash_rounding(record: Record, move_type: str) -> float:
    """What a rounding line adds to its document; Odoo keeps it in the journal's amount alone, signed."""
    if record["display_type"] != "rounding":
        return 0.0
    sign = 1.0 if move_type == "out_refund" else -1.0
    return sign * float(record["amount_currency"] or 0.0)


def _with_changed_ties(client: OdooClient, company_id: int, domain: Domain) -> Stale:
    """Finds document lines whose ties to order lines changed from the other side.

    A tie is a row of a relation: made or deleted with an order line, it leaves no date on the document line.
    """

    def stale(known: Mapping[int, Record], listed: Sequence[int], since: datetime) -> set[int]:
        company = ("order_id.company_id", "=", company_id)
        there = set(client.search("sale.order.line", [company], order="id"))
        changed = client.search("sale.order.line", [company, *changed_since(since)], order="id")
        tied_now = (
            client.search("account.move.line", [*domain, ("sale_line_ids", "in", changed)], order="id")
            if changed
            else []
        )
        touched = set(changed)
        return {
            line
            for line, record in known.items()
            if not there.issuperset(record["sale_line_ids"])
            or not touched.isdisjoint(record["sale_line_ids"])
        } | {*tied_now}

    return stale


def _documents(
    client: OdooClient, company_id: int, reading: Reading, tills: Tills
) -> tuple[PagedRead, list[Record]]:
    found = reading.read(
        client,
        "account.move",
        [[("company_id", "=", company_id), ("move_type", "in", DOCUMENT_TYPES), ("state", "=", "posted")]],
        available_fields(client, "account.move", _DOCUMENT_FIELDS),
        stale=_reversing_what_is_gone,
    )
    # Asked again in every run: a tie to an order made later leaves no date on the document.
    closings = closing_documents(client, company_id, tills)
    # Read by id, a document reset to draft meanwhile comes too.
    return found, [
        record for record in found.records if record["state"] == "posted" and record["id"] not in closings
    ]


def _reversing_what_is_gone(known: Mapping[int, Record], listed: Sequence[int], since: datetime) -> set[int]:
    """Credit notes of documents that are not posted any more: a deleted one leaves them without a date."""
    there = {*listed, False}
    return {move for move, record in known.items() if record["reversed_entry_id"] not in there}
