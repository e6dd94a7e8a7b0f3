"""From the kept revenue of the orders to the revenue in the general ledger, month by month, without a gap.

Kept revenue is in the month of its order and at the order's rate; the general ledger has documents, in the
month of their accounting date, at their own rate, some of them without an order. Each step between the two is
one column, and what no step explains is a column too: it is 0 when both were read at the same moment.
"""

import pandas as pd

from mc_pipeline.domain.columns import flags, texts
from mc_pipeline.domain.revenue.documents import CREDIT_NOTE, INVOICE, UNMATCHED, book_documents
from mc_pipeline.domain.revenue.kept import kept_by_line
from mc_pipeline.domain.revenue.money import convert, scale_of, units

DOCUMENTS = "documents"
TAXES = "taxes"
POINT_OF_SALE = "point_of_sale"
OTHER_ENTRIES = "other_entries"

STEPS = {
    "kept": "kept revenue of the month's orders, by Odoo",
    "not_yet_invoiced": "kept, and not invoiced yet",
    "invoiced_not_kept": "invoiced, and not kept: orders cancelled or lowered after their invoice, and lines "
    "that are on the invoice only",
    "currency_differences": "documents in a foreign currency at their own rate, not the order's",
    "cents": "rounding differences of documents",
    "invoiced_of_orders": "= invoiced less credited, of the month's orders",
    "booked_in_other_months": "of that booked in other months",
    "of_other_months": "booked in this month for orders of other months",
    "down_payments": "down payments, less what final invoices deduct for them",
    "invoices_without_order": "invoices, or lines of them, that belong to no single order",
    "credit_notes_without_order": "credit notes, or lines of them, that belong to no single order",
    "cash_rounding": "cash rounding on documents",
    "not_on_income_accounts": "lines of documents that are not booked on an income account",
    "taxes": "taxes of documents that Odoo books on income accounts, as the tax names no account of its own",
    "invoiced": "= invoices less credit notes of the month, on income accounts",
    "point_of_sale": "closings of the point of sale",
    "other_entries": "other entries on income accounts",
    "not_explained": "not explained",
    "books": "= revenue of the month in the general ledger",
}
"""The steps from kept revenue to the general ledger, in their order; those that start with = are sums."""

_INVOICE_WITHOUT_ORDER = "the invoice, or a line of it, belongs to no single order"
_NO_ORDER = 0


def bridge_to_ledger(
    orders: pd.DataFrame,
    lines: pd.DataFrame,
    refunds: pd.DataFrame,
    ledger: pd.DataFrame,
    decimal_places: int,
) -> pd.DataFrame:
    """Go from kept revenue to the general ledger.

    Args:
        orders: rows of ``odoo_orders``. lines: rows of ``odoo_order_lines``. refunds: rows of
        ``odoo_refunds``. ledger: what the general ledger holds on income accounts: ``month``, ``kind``
        (``DOCUMENTS``, ``TAXES`` of
            these, ``POINT_OF_SALE`` or ``OTHER_ENTRIES``), ``amount`` (company currency, above zero:
            revenue).
        decimal_places: of the company's currency.

    Returns:
        One row per month, the earliest first: ``month`` and the columns of ``STEPS``, company currency. Added
        up from ``kept`` to ``not_explained`` without the sums, they are ``books``.
    """
    scale = 10**decimal_places
    booked = _booked_lines(refunds, lines, orders, scale)
    steps = _steps_of_orders(orders, lines, refunds, booked, scale) + _steps_of_documents(booked)
    of_ledger = ledger.assign(amount=units(ledger["amount"], scale))
    by_kind = {kind: of_ledger[of_ledger["kind"] == kind].groupby("month")["amount"].sum() for kind in _KINDS}
    steps += [(kind, by_kind[kind]) for kind in (TAXES, POINT_OF_SALE, OTHER_ENTRIES)]
    found = pd.DataFrame(dict(steps)).fillna(0).astype("int64")
    found = found.reindex(found.index.union(by_kind[DOCUMENTS].index), fill_value=0).sort_index()
    found["invoiced"] = found[_OF_DOCUMENTS].sum(axis=1)
    in_documents = by_kind[DOCUMENTS].reindex(found.index, fill_value=0) + found[TAXES]
    found["not_explained"] = in_documents - found["invoiced"]
    found["books"] = in_documents + found[POINT_OF_SALE] + found[OTHER_ENTRIES]
    amounts: pd.DataFrame = found[list(STEPS)] / scale + 0.0
    return amounts.rename_axis("month").reset_index()


def documents_without_order(
    orders: pd.DataFrame, lines: pd.DataFrame, refunds: pd.DataFrame, decimal_places: int
) -> pd.DataFrame:
    """List the documents that belong, wholly or in part, to no one order; arguments as above.

    Returns:
        One row per document and reason, the latest first: ``move_id``, ``name``, ``month``, ``amount``
        (company currency, without tax, below zero on credit notes), ``because``.
    """
    scale = 10**decimal_places
    booked = _booked_lines(refunds, lines, orders, scale)
    loose = booked[booked["is_goods"] & ~booked["is_down_payment"] & (booked["order_id"] == _NO_ORDER)].copy()
    reason = loose["unmatched_because"].map(UNMATCHED)
    loose["because"] = reason.where(reason.notna(), _INVOICE_WITHOUT_ORDER)
    found = loose.groupby(["move_id", "because"], as_index=False).agg(
        name=("name", "first"), month=("month", "first"), amount=("amount", "sum")
    )
    found["amount"] = found["amount"] / scale
    found = found[found["amount"] != 0].sort_values(["month", "move_id"], ascending=False, ignore_index=True)
    return found[["move_id", "name", "month", "amount", "because"]]


_KINDS = (DOCUMENTS, TAXES, POINT_OF_SALE, OTHER_ENTRIES)
_OF_DOCUMENTS = [
    "invoiced_of_orders",
    "booked_in_other_months",
    "of_other_months",
    "down_payments",
    "invoices_without_order",
    "credit_notes_without_order",
    "cash_rounding",
    "not_on_income_accounts",
    TAXES,
]
_Steps = list[tuple[str, pd.Series]]


def _booked_lines(
    refunds: pd.DataFrame, lines: pd.DataFrame, orders: pd.DataFrame, scale: int
) -> pd.DataFrame:
    """Lines of posted documents: month and amount by the general ledger, in smallest units, and the order."""
    posted = refunds[(refunds["state"] == "posted") & refunds["move_type"].isin([INVOICE, CREDIT_NOTE])]
    own = posted[posted["line_id"].notna()]
    of_goods = book_documents(refunds, lines).lines.set_index("line_id")
    of_goods = of_goods.reindex(own["line_id"].astype("int64")).set_axis(own.index)
    order = of_goods["order_id"].fillna(_NO_ORDER).astype("int64")
    order = order.where(order.isin(orders["order_id"]), _NO_ORDER)
    month_of = orders.set_index("order_id")["month"]
    return pd.DataFrame(
        {
            "move_id": own["move_id"].astype("int64"),
            "name": texts(own, "name"),
            "month": pd.to_datetime(own["date"]).dt.strftime("%Y-%m"),
            "amount": units(own["booked_untaxed_company"], scale),
            "is_income": flags(own, "is_income"),
            "is_credit": own["move_type"] == CREDIT_NOTE,
            "is_goods": own["display_type"] == "product",
            "is_down_payment": of_goods["is_down_payment"].eq(True),
            "order_id": order,
            "order_month": month_of.reindex(order).array,
            "unmatched_because": of_goods["unmatched_because"],
        }
    )


def _steps_of_orders(
    orders: pd.DataFrame, lines: pd.DataFrame, refunds: pd.DataFrame, booked: pd.DataFrame, scale: int
) -> _Steps:
    """From what is kept of an order to what its documents say, in the month of the order."""
    by_id = orders.set_index("order_id")
    places = scale_of(by_id["decimal_places"])
    parts = kept_by_line(orders, lines, refunds).groupby("order_id")[["invoiced_untaxed", "credited_untaxed"]]
    sums = parts.sum().reindex(by_id.index, fill_value=0.0)
    billed = units(sums["invoiced_untaxed"], places) - units(sums["credited_untaxed"], places)
    own_currency = by_id["currency"] == by_id["company_currency"]
    rate = by_id["currency_rate"].astype("float64")
    factor = (scale / places / rate.where(rate > 0)).fillna(0.0).mask(own_currency, 1.0)
    billed = convert(billed, factor)
    kept = units(by_id["kept_untaxed_company"], scale)
    of_orders = booked[booked["is_goods"] & ~booked["is_down_payment"] & (booked["order_id"] != _NO_ORDER)]
    in_books = of_orders.groupby("order_id")["amount"].sum().reindex(by_id.index, fill_value=0)
    off = in_books - billed
    of_order = {
        "kept": kept,
        "not_yet_invoiced": -(kept - billed).clip(lower=0),
        "invoiced_not_kept": (billed - kept).clip(lower=0),
        "currency_differences": off.mask(own_currency, 0),
        "cents": off.where(own_currency, 0),
        "invoiced_of_orders": in_books,
    }
    return [(name, amounts.groupby(by_id["month"]).sum()) for name, amounts in of_order.items()]


def _steps_of_documents(booked: pd.DataFrame) -> _Steps:
    """From what the documents of a month's orders say to what is booked in that month."""
    goods = booked["is_goods"] & ~booked["is_down_payment"]
    of_order = goods & (booked["order_id"] != _NO_ORDER)
    loose = goods & (booked["order_id"] == _NO_ORDER)
    shifted = booked[of_order & (booked["month"] != booked["order_month"])]

    def booked_in_month(which: pd.Series) -> pd.Series:
        return booked[which].groupby("month")["amount"].sum()

    return [
        ("booked_in_other_months", -shifted.groupby("order_month")["amount"].sum()),
        ("of_other_months", shifted.groupby("month")["amount"].sum()),
        ("down_payments", booked_in_month(booked["is_down_payment"])),
        ("invoices_without_order", booked_in_month(loose & ~booked["is_credit"])),
        ("credit_notes_without_order", booked_in_month(loose & booked["is_credit"])),
        ("cash_rounding", booked_in_month(~booked["is_goods"])),
        ("not_on_income_accounts", -booked_in_month(~booked["is_income"])),
    ]
