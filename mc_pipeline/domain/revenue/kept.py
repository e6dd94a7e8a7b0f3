"""How much of an order is kept: what it says now, less what posted credit notes took back.

Per order line, for untaxed amount and tax alike, in the order's currency:

    kept = O - max(0, R - max(0, I - O))

O is the line as ordered now, I what posted documents sell of it, and R what they give back. Which of the two
a document does depends on the sign of its amounts for the line, not on its type: where a down payment is
larger than a part delivery, Odoo makes a credit note of the delivery's invoice, with the goods below zero.
What one document holds of a line is summed first, so a return inside an invoice counts against the same
invoice. A credit note that only brings an over-invoiced line back to what the order already says is not
subtracted again. Signs are turned for lines below zero. Down payments are payment for the same goods and
count in none of the three, cash rounding is left out, and an order that is not in state ``sale`` keeps
nothing. Which document line belongs to which order is decided in ``documents``.
"""

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import flags, require_unique
from mc_pipeline.domain.revenue.documents import BookedDocuments, book_documents
from mc_pipeline.domain.revenue.money import convert, scale_of, units

# Parts of an order that are no line of it; ids of lines are above zero.
_UNTIED, _UNTIED_BELOW_ZERO = 0, -4
"""Lines of its documents that are tied to no order line: ordered is nothing of them. A discount typed on an
invoice has nothing to do with a refund typed on a credit note, so the sign keeps them apart."""
_HEADER = -1
"""The cents by which headers differ from their lines: the header counts."""
_GOODS, _SHIPPING = -2, -3
"""All lines together, in an order where one document line stands for several order lines."""

# Below any amount of any currency.
_NOISE = 1e-6

_SUMS = ("ordered", "invoiced", "credited")
_BILLED = ("invoiced", "credited")
_NO_DOCUMENT = 0


def kept_by_line(orders: pd.DataFrame, lines: pd.DataFrame, refunds: pd.DataFrame) -> pd.DataFrame:
    """Work out what is kept of every line of the orders.

    Args:
        orders: rows of ``odoo_orders`` (without what is kept).
        lines: order lines: ``line_id``, ``order_id``, ``price_subtotal``, ``price_tax``, ``is_downpayment``,
            ``is_delivery``, ``display_type``. Lines are needed of the orders that credit notes count to;
            another order may be there without them, and keeps what its header says.
        refunds: rows of ``odoo_refunds``; drafts among them count for nothing.

    Returns:
        One row per order line and, where there is something beyond the lines, further rows without
        ``line_id``: what documents hold without a tie to a line, and the cents between headers and lines.
        Where one document line stands for several order lines, the order has one row for all its goods and
        one for shipping. Ordered by order and line: ``order_id``, ``line_id`` (nullable), ``is_delivery``,
        then ``ordered_``, ``invoiced_`` and ``credited_`` (by the type of the documents), ``sold_`` and
        ``returned_`` (I and R: by the sign of what they hold), and ``kept_``, each with ``untaxed`` and
        ``tax``, in the order's currency, rounded to its decimal places; below zero where that is the outcome.

    Raises:
        RuleError: an order or a line is there twice.
    """
    known = _orders_by_id(orders)
    parts = _kept_parts(known, lines, refunds)
    scale = known["scale"].reindex(parts["order_id"]).array
    line = parts["part"].where(parts["part"] > 0).astype("Int64")
    kept = {
        f"{what}_{amount}": parts[f"{what}_{amount}"] / scale
        for what in (*_SUMS, "sold", "returned", "kept")
        for amount in ("untaxed", "tax")
    }
    return pd.DataFrame(
        {"order_id": parts["order_id"], "line_id": line, "is_delivery": parts["is_delivery"], **kept}
    )


def kept_by_order(orders: pd.DataFrame, lines: pd.DataFrame, refunds: pd.DataFrame) -> pd.DataFrame:
    """Work out what is kept of every order; arguments and errors as ``kept_by_line``.

    Returns:
        One row per order, in the order of ``orders`` and with its index: ``order_id``, ``kept_untaxed``
        (goods and shipping), ``kept_tax``, ``kept_total``, ``kept_shipping_untaxed``, ``kept_shipping_tax``
        (of orders whose lines were given; else 0) in the order's currency, ``kept_untaxed_company`` in
        company currency at the order's own rate (0 without a rate), and ``below_zero``: what is kept of the
        order as a whole is, untaxed or in tax; a discount on shipping alone is not. None is ever missing, and
        none is floored at zero.
    """
    known = _orders_by_id(orders)
    parts = _kept_parts(known, lines, refunds)
    amounts = ["kept_untaxed", "kept_tax"]
    total = parts.groupby("order_id")[amounts].sum().reindex(known.index, fill_value=0)
    shipping = (
        parts[parts["is_delivery"]].groupby("order_id")[amounts].sum().reindex(known.index, fill_value=0)
    )
    kept_units = pd.DataFrame(
        {
            "kept_untaxed": total["kept_untaxed"],
            "kept_tax": total["kept_tax"],
            "kept_total": total["kept_untaxed"] + total["kept_tax"],
            "kept_shipping_untaxed": shipping["kept_untaxed"],
            "kept_shipping_tax": shipping["kept_tax"],
        }
    )
    kept = kept_units.div(known["scale"], axis=0)
    kept["kept_untaxed_company"] = _in_company_currency(kept_units["kept_untaxed"], known)
    # Of the whole order: its lines are read where something was credited, and the answer is the same without.
    kept["below_zero"] = (kept_units[["kept_untaxed", "kept_tax", "kept_total"]] < 0).any(axis=1)
    kept.insert(0, "order_id", known.index)
    return kept.set_axis(orders.index)


def _orders_by_id(orders: pd.DataFrame) -> pd.DataFrame:
    """Orders by id, with their headers in smallest units of their currency, of which ``scale`` make one."""
    require_unique(orders, "order_id")
    by_id = orders.set_index(orders["order_id"].astype("int64").rename("order_id"))
    scale = scale_of(by_id["decimal_places"])
    return by_id.assign(
        scale=scale,
        untaxed_units=units(by_id["amount_untaxed"], scale),
        tax_units=units(by_id["amount_tax"], scale),
        currency_rate=by_id["currency_rate"].astype("float64").fillna(0.0),
    )


def _kept_parts(orders: pd.DataFrame, lines: pd.DataFrame, refunds: pd.DataFrame) -> pd.DataFrame:
    """Add up every part of every order, and apply the rule to it, in smallest units."""
    booked = book_documents(refunds, lines)
    taken_whole = set(booked.lines.loc[booked.lines["ties"] > 1, "order_id"]) - {_UNTIED}
    parts = pd.concat(
        [
            *_ordered(orders, lines, taken_whole),
            _billed_lines(orders, lines, booked, taken_whole),
            _billed_headers(orders, booked),
        ],
        ignore_index=True,
    )
    columns = [f"{what}_{amount}" for what in _SUMS for amount in ("untaxed", "tax")]
    parts[columns] = parts[columns].fillna(0).astype("int64")
    parts["document"] = parts["document"].fillna(_NO_DOCUMENT).astype("int64")
    by_part = parts.groupby(["order_id", "part"], sort=True)
    sums = by_part[columns].sum()
    sums["is_delivery"] = by_part["is_delivery"].any()
    is_sale = orders["state"].eq("sale").reindex(sums.index.get_level_values("order_id")).to_numpy()
    by_document = parts.groupby(["order_id", "part", "document"])[columns].sum()
    for amount in ("untaxed", "tax"):
        sign = _sign(*(sums[f"{what}_{amount}"] for what in _SUMS))
        billed = by_document[[f"{what}_{amount}" for what in _BILLED]].set_axis(_BILLED, axis=1)
        sold, returned = _sold_and_returned(billed, sums, amount, sign)
        ordered = sign * sums[f"ordered_{amount}"]
        kept = ordered - (returned - (sold - ordered).clip(lower=0)).clip(lower=0)
        sums[f"sold_{amount}"], sums[f"returned_{amount}"] = sign * sold, sign * returned
        sums[f"kept_{amount}"] = np.where(is_sale, sign * kept, 0)
    return sums.reset_index()


def _sign(ordered: pd.Series, invoiced: pd.Series, credited: pd.Series) -> pd.Series:
    """The sign of each part: that of the first of the three that is not zero."""
    sign: pd.Series = np.sign(ordered.where(ordered != 0, invoiced.where(invoiced != 0, credited)))
    return sign


def _sold_and_returned(
    billed: pd.DataFrame, sums: pd.DataFrame, amount: str, sign: pd.Series
) -> tuple[pd.Series, pd.Series]:
    """Add up what the documents sell of each part, and what they give back of it, with its sign turned.

    ``billed``: ``invoiced`` and ``credited`` by order, part and document. The cents of headers are no goods
    that a document sells or takes back: all of a type count together.
    """
    by_part = [billed.index.get_level_values(name) for name in ("order_id", "part")]
    turned = billed.mul(sign.reindex(pd.MultiIndex.from_arrays(by_part)).to_numpy(), axis=0)
    forth, back = turned.clip(lower=0), (-turned).clip(lower=0)
    sold = (forth["invoiced"] + back["credited"]).groupby(by_part).sum().reindex(sums.index, fill_value=0)
    returned = (forth["credited"] + back["invoiced"]).groupby(by_part).sum().reindex(sums.index, fill_value=0)
    is_header = sums.index.get_level_values("part") == _HEADER
    return (
        sold.mask(is_header, sign * sums[f"invoiced_{amount}"]),
        returned.mask(is_header, sign * sums[f"credited_{amount}"]),
    )


def _ordered(orders: pd.DataFrame, lines: pd.DataFrame, taken_whole: set[int]) -> list[pd.DataFrame]:
    """What the orders say now: their lines, and what their headers have beyond them."""
    own = lines[lines["order_id"].isin(orders.index)]
    order = own["order_id"].astype("int64")
    scale = orders["scale"].reindex(order).array
    said = pd.DataFrame(
        {
            "order_id": order,
            "part": own["line_id"].astype("int64"),
            "is_delivery": flags(own, "is_delivery"),
            "ordered_untaxed": units(own["price_subtotal"], scale),
            "ordered_tax": units(own["price_tax"], scale),
        }
    )
    sums = said.groupby("order_id")[["ordered_untaxed", "ordered_tax"]].sum()
    sums = sums.reindex(orders.index, fill_value=0)
    beyond = pd.DataFrame(
        {
            "order_id": orders.index,
            "part": _HEADER,
            "is_delivery": False,
            "ordered_untaxed": (orders["untaxed_units"] - sums["ordered_untaxed"]).array,
            "ordered_tax": (orders["tax_units"] - sums["ordered_tax"]).array,
        }
    )
    beyond = beyond[(beyond["ordered_untaxed"] != 0) | (beyond["ordered_tax"] != 0)]
    counted = said[~flags(own, "is_downpayment") & own["display_type"].isna()].copy()
    counted["part"] = _whole_parts(counted, taken_whole)
    return [counted, beyond]


def _billed_lines(
    orders: pd.DataFrame, lines: pd.DataFrame, booked: BookedDocuments, taken_whole: set[int]
) -> pd.DataFrame:
    """What posted documents hold of the orders' lines."""
    counted = booked.lines[booked.lines["order_id"].isin(orders.index) & ~booked.lines["is_down_payment"]]
    delivery = lines.set_index("line_id")
    is_delivery = flags(delivery, "is_delivery").reindex(counted["order_line_id"]).eq(True)
    billed = pd.DataFrame(
        {
            "order_id": counted["order_id"],
            "part": counted["order_line_id"],
            "document": counted["move_id"],
            "is_delivery": is_delivery.array,
        }
    )
    tied = (counted["ties"] > 0).to_numpy()
    below_zero = counted["untaxed"].where(counted["untaxed"].abs() > _NOISE, counted["tax"]) < 0
    untied = np.where(below_zero, _UNTIED_BELOW_ZERO, _UNTIED)
    billed["part"] = _whole_parts(billed, taken_whole).where(tied, untied)
    of_document = booked.documents.reindex(counted["move_id"])
    return _add_amounts(billed, orders, of_document, counted["untaxed"], counted["tax"])


def _billed_headers(orders: pd.DataFrame, booked: BookedDocuments) -> pd.DataFrame:
    """What the headers of posted documents have beyond their lines, where the document is of one order."""
    found = booked.documents[
        booked.documents["order_id"].isin(orders.index) & ~booked.documents["is_down_payment"]
    ]
    # Sums of floats are rarely equal to the float of the sum.
    found = found[(found["rest_untaxed"].abs() > _NOISE) | (found["rest_tax"].abs() > _NOISE)]
    billed = pd.DataFrame(
        {"order_id": found["order_id"], "part": _HEADER, "is_delivery": False}, index=found.index
    )
    return _add_amounts(billed, orders, found, found["rest_untaxed"], found["rest_tax"])


def _add_amounts(
    billed: pd.DataFrame,
    orders: pd.DataFrame,
    of_document: pd.DataFrame,
    untaxed: pd.Series,
    tax: pd.Series,
) -> pd.DataFrame:
    """Add amounts of documents in smallest units of the order's currency.

    A document in another currency than its order's counts at the rate of the books into company currency and
    at the order's own rate from there.
    """
    order = orders.reindex(billed["order_id"])
    foreign = of_document["currency"].to_numpy() != order["currency"].to_numpy()
    rate = of_document["company_rate"].fillna(0.0).to_numpy() * order["currency_rate"].to_numpy()
    factor = order["scale"].to_numpy() * np.where(foreign, rate, 1.0)
    is_credit = of_document["is_credit"].to_numpy(dtype=bool)
    for amount, values in (("untaxed", untaxed), ("tax", tax)):
        billed_units = units(values, factor)
        billed[f"invoiced_{amount}"] = np.where(is_credit, 0, billed_units)
        billed[f"credited_{amount}"] = np.where(is_credit, billed_units, 0)
    return billed


def _whole_parts(parts: pd.DataFrame, taken_whole: set[int]) -> pd.Series:
    """Join the lines of orders that are taken as a whole."""
    whole = np.where(parts["is_delivery"], _SHIPPING, _GOODS)
    return parts["part"].where(~parts["order_id"].isin(taken_whole), whole)


def _in_company_currency(kept: pd.Series, orders: pd.DataFrame) -> pd.Series:
    """Convert at the order's own rate, rounded half up; an order that kept all is worth what Odoo says."""
    rate = orders["currency_rate"]
    has_rate = rate > 0
    scale = scale_of(orders["company_decimal_places"])
    rounded = convert(kept, scale / orders["scale"] / rate.where(has_rate, 1.0)) / scale
    all_kept = (kept == orders["untaxed_units"]) & (kept != 0)
    as_odoo_says = orders["amount_untaxed_company"].astype("float64").fillna(0.0)
    return rounded.where(has_rate, 0.0).mask(all_kept, as_odoo_says) + 0.0
