"""Orders, their lines, and the documents that bill or credit them, as the tables hold them."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import pandas as pd

from mc_pipeline.domain.revenue.documents import match_credits
from mc_pipeline.tables import schemas
from mc_pipeline_tests.domain.odoo_rows import order, orders_table

Row = dict[str, Any]
# What a document holds: the order lines that it is tied to, the amount without tax, the tax.
Held = tuple[Sequence[int], float, float]

INVOICE, CREDIT = "out_invoice", "out_refund"


def line(line_id: int, order_id: int, untaxed: float, tax: float = 0.0, **values: Any) -> Row:
    """A line of an order."""
    row: Row = {
        "line_id": line_id,
        "order_id": order_id,
        "month": "2024-06",
        "product_id": 7,
        "name": f"Line {line_id}",
        "quantity": 1.0,
        "price_unit": untaxed,
        "discount": 0.0,
        "price_subtotal": untaxed,
        "price_tax": tax,
        "price_total": untaxed + tax,
        "is_downpayment": False,
        "is_delivery": False,
        "display_type": None,
    }
    assert not set(values) - set(row), values
    return {**row, **values}


def sale(order_id: int, *lines: Row, **values: Any) -> Row:
    """An order of partner 1 whose header is the sum of its lines, unless others are given."""
    partner_id = values.pop("partner_id", 1)
    untaxed = round(sum(each["price_subtotal"] for each in lines), 2)
    tax = round(sum(each["price_tax"] for each in lines), 2)
    amounts = {
        "amount_untaxed": untaxed,
        "amount_tax": tax,
        "amount_total": round(untaxed + tax, 2),
        "amount_untaxed_company": untaxed,
    }
    return order(order_id, partner_id, untaxed, **{**amounts, **values})


def document(move_id: int, kind: str, *held: Held, **values: Any) -> list[Row]:
    """The rows of a posted invoice or credit note in euros; its header is the sum of its lines, unless given.

    Line ids are ``move_id`` times a hundred and up.
    """
    rounding_untaxed = values.pop("cash_rounding_untaxed", 0.0)
    rounding_tax = values.pop("cash_rounding_tax", 0.0)
    untaxed = round(sum(each[1] for each in held) + rounding_untaxed, 2)
    tax = round(sum(each[2] for each in held) + rounding_tax, 2)
    header: Row = {
        "move_id": move_id,
        "move_type": kind,
        "state": "posted",
        "name": f"{'INV' if kind == INVOICE else 'RINV'}/{move_id}",
        "reversed_entry_id": None,
        "currency": "EUR",
        "amount_untaxed": untaxed,
        "amount_tax": tax,
        "amount_total": round(untaxed + tax, 2),
        "amount_total_company": round(untaxed + tax, 2),
        "date": pd.Timestamp("2024-06-10").date(),
        "invoice_date": pd.Timestamp("2024-06-10").date(),
        "payment_state": "not_paid",
        "write_date": pd.Timestamp("2024-06-10 12:00", tz="UTC"),
    }
    assert not set(values) - set(header), values
    header |= values
    nothing: dict[str, Any] = {
        "line_id": None, "display_type": None, "sale_line_ids": [], "quantity": None, "price_subtotal": None,
        "price_total": None, "cash_rounding_untaxed": None, "cash_rounding_tax": None,
        "booked_untaxed_company": None, "is_income": None,
    }  # fmt: skip
    ids = count(move_id * 100)
    rate = header["amount_total_company"] / header["amount_total"] if header["amount_total"] else 1.0
    in_company = rate if kind == INVOICE else -rate
    rows = [
        {
            **header,
            "line_id": next(ids),
            "display_type": "product",
            "sale_line_ids": list(ties),
            "quantity": 1.0,
            "price_subtotal": of_untaxed,
            "price_total": of_untaxed + of_tax,
            "cash_rounding_untaxed": 0.0,
            "cash_rounding_tax": 0.0,
            "booked_untaxed_company": round(of_untaxed * in_company, 2),
            "is_income": True,
        }
        for ties, of_untaxed, of_tax in held
    ]
    if rounding_untaxed or rounding_tax:
        booked = round((rounding_untaxed + rounding_tax) * in_company, 2)
        amounts = {
            "cash_rounding_untaxed": rounding_untaxed,
            "cash_rounding_tax": rounding_tax,
            "booked_untaxed_company": booked,
            "is_income": bool(rounding_untaxed),
        }
        zero = {"price_subtotal": 0.0, "price_total": 0.0, "quantity": 0.0}
        rows.append(
            {**header, **nothing, **zero, **amounts, "line_id": next(ids), "display_type": "rounding"}
        )
    return rows or [{**header, **nothing}]


def order_lines_table(rows: Iterable[Row]) -> pd.DataFrame:
    """The lines as they are read from Odoo."""
    schema = schemas.ODOO_ORDER_LINES
    return schema.to_pandas(schema.to_arrow(pd.DataFrame(list(rows), columns=schema.names)))


def refunds_table(documents: Iterable[list[Row]], order_lines: pd.DataFrame) -> pd.DataFrame:
    """The documents as they come back from Parquet, with the orders that credit notes count to."""
    schema = schemas.ODOO_REFUNDS
    read = [name for name in schema.names if name not in ("order_id", "unmatched_because")]
    rows = pd.DataFrame([row for rows in documents for row in rows], columns=read)
    rows["line_id"] = rows["line_id"].astype("Int64")
    return schema.to_pandas(schema.to_arrow(match_credits(rows, order_lines)))


def sale_tables(
    orders: Iterable[Row], lines: Iterable[Row], documents: Iterable[list[Row]]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Orders, order lines and documents as the rules take them."""
    order_lines = order_lines_table(lines)
    return orders_table(orders), order_lines, refunds_table(documents, order_lines)
