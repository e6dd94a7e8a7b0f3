"""To which order a line of a posted invoice or credit note belongs.

Odoo ties document lines to order lines, yet not all of them: a line typed on a credit note has no tie, and a
credit note made by invoicing a lowered order again names no invoice. Neither link alone finds all credit
notes; what both leave open is listed, never guessed. How much of an order is kept is decided in ``orders``.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import flags, ids, require_unique, texts

INVOICE = "out_invoice"
CREDIT_NOTE = "out_refund"

NAMES_NO_INVOICE = "names_no_invoice"
INVOICE_NOT_POSTED = "invoice_not_posted"
INVOICE_WITHOUT_ORDER = "invoice_without_order"
SEVERAL_ORDERS = "several_orders"
UNKNOWN_ORDER = "unknown_order"
TYPED_ON_AN_INVOICE = "typed_on_an_invoice"

UNMATCHED = {
    NAMES_NO_INVOICE: "the line is linked to no order line, and the credit note names no invoice",
    INVOICE_NOT_POSTED: "the line is linked to no order line, and the invoice that it credits is not posted",
    INVOICE_WITHOUT_ORDER: "the line is linked to no order line; the invoice that it credits has no order",
    SEVERAL_ORDERS: "the line, or the invoice that it credits, belongs to several orders",
    UNKNOWN_ORDER: "the order line that it is linked to is not one of the company's",
    TYPED_ON_AN_INVOICE: "the line lowers an invoice, and is linked to no order line",
}
"""Why a line that gives something back counts to no order: code and sentence."""

# Ids of records are above zero.
_NONE = 0
# Below any amount of any currency: what is left when floats that should be equal are subtracted.
_NOISE = 1e-6


@dataclass(frozen=True)
class BookedDocuments:
    """Posted documents with the orders that they belong to.

    ``lines``: one row per goods line of a posted document: ``line_id``, ``move_id``, ``is_credit``,
    ``order_id`` (0: none), ``order_line_id`` (0: no tie, or several), ``ties`` (number of order lines that it
    is tied to), ``is_down_payment``, ``untaxed``, ``tax`` (document currency, positive on credit notes),
    ``unmatched_because`` (a key of ``UNMATCHED`` for a line that gives something back and lowers no order,
    else empty).

    ``documents``: indexed by ``move_id``: ``is_credit``, ``order_id`` (the one order that it belongs to, 0:
    none or several), ``is_down_payment`` (it holds nothing else), ``rest_untaxed``, ``rest_tax`` (the cents
    by which its header differs from its goods lines; cash rounding left out), ``currency``,
    ``company_rate`` (company currency per unit of document currency, by the books; missing at a total of 0).
    """

    lines: pd.DataFrame
    documents: pd.DataFrame


def book_documents(refunds: pd.DataFrame, order_lines: pd.DataFrame) -> BookedDocuments:
    """Find the order of every line of the posted documents.

    A line belongs to the order of the order lines that it is tied to. A credit note's line without a tie
    belongs to the order of the invoice that the note credits, when that invoice belongs to one order alone.
    An invoice's line without a tie belongs to the one order of its invoice.

    Args:
        refunds: rows of ``odoo_refunds``; what is not posted among them counts for nothing.
        order_lines: ``line_id``, ``order_id``, ``is_downpayment``; a line that is not there is of an unknown
            order.

    Raises:
        RuleError: a line is there twice.
    """
    require_unique(order_lines, "line_id")
    documents = refunds[(refunds["state"] == "posted") & refunds["move_type"].isin([INVOICE, CREDIT_NOTE])]
    own = documents[documents["line_id"].notna()]
    require_unique(own, "line_id")
    posted = documents.drop_duplicates("move_id").set_index("move_id")
    goods = own[own["display_type"] == "product"].sort_values("line_id", ignore_index=True)

    lines = pd.DataFrame(
        {
            "line_id": goods["line_id"].astype("int64"),
            "move_id": goods["move_id"].astype("int64"),
            "is_credit": goods["move_type"] == CREDIT_NOTE,
            "untaxed": _amounts(goods["price_subtotal"]),
            "tax": _amounts(goods["price_total"]) - _amounts(goods["price_subtotal"]),
        }
    )
    lines = lines.join(_ties(goods["sale_line_ids"], order_lines))

    headers = _headers(posted, lines, own)
    _follow_reversals(headers)
    _book_untied_lines(lines, headers)
    headers["order_id"] = headers["order_id"].clip(lower=_NONE)
    return BookedDocuments(
        lines.drop(columns=["lowest_order", "highest_order"]),
        headers.drop(columns=["reversed_id", "has_ties", "belongs_to_several"]),
    )


def match_credits(refunds: pd.DataFrame, order_lines: pd.DataFrame) -> pd.DataFrame:
    """Say of every line that gives something back which order it may lower, or why it lowers none.

    They are the lines of posted credit notes, and those of invoices with a quantity or an amount below zero,
    but for down payments taken off.

    Args:
        refunds: rows of ``odoo_refunds`` without the columns added here.
        order_lines: see ``book_documents``; those of ``lines_of_credited_orders`` are enough.

    Returns:
        The rows with ``order_id`` (nullable; missing on all other lines) and ``unmatched_because`` (a key of
        ``UNMATCHED`` for an amount that lowers no order, else empty).
    """
    lines = book_documents(refunds, order_lines).lines.set_index("line_id")
    taken_off = lines.index.isin(refunds.loc[_below_zero(refunds), "line_id"]) & ~lines["is_down_payment"]
    credited = lines[lines["is_credit"] | taken_off]
    order = credited["order_id"].where(credited["order_id"] != _NONE).astype("Int64")
    line_ids = ids(refunds, "line_id").fillna(_NONE).astype("int64")
    because = credited["unmatched_because"].reindex(line_ids)
    return refunds.assign(
        order_id=order.reindex(line_ids).array,
        unmatched_because=because.where(because.notna(), "").array,
    )


def unmatched_credits(matched: pd.DataFrame) -> pd.DataFrame:
    """List the credit notes, or what of them, that no order can be found for; they lower nobody's total.

    And the invoices that a line without an order line lowers. A credit note of an invoice that has no order
    is none of them: it never concerned an order.

    Args:
        matched: result of ``match_credits``, or rows of the stored ``odoo_refunds``.

    Returns:
        One row per document and reason, by document: ``move_id``, ``name``, ``currency``, ``untaxed``,
        ``tax`` (document currency, positive: refunded), ``because`` (a key of ``UNMATCHED``).
    """
    found = matched[~matched["unmatched_because"].isin(["", INVOICE_WITHOUT_ORDER])]
    sign = np.where(found["move_type"] == CREDIT_NOTE, 1.0, -1.0)
    untaxed = _amounts(found["price_subtotal"])
    amounts = found.assign(
        untaxed=sign * untaxed,
        tax=sign * (_amounts(found["price_total"]) - untaxed),
        because=found["unmatched_because"],
    )
    by_note = amounts.groupby(["move_id", "because"], sort=True)
    listed = by_note.agg(name=("name", "first"), currency=("currency", "first"))
    # Sums of amounts with cents, without the noise of adding floats.
    listed[["untaxed", "tax"]] = by_note[["untaxed", "tax"]].sum().round(6)
    return listed.reset_index()[["move_id", "name", "currency", "untaxed", "tax", "because"]]


def lines_of_credited_orders(refunds: pd.DataFrame) -> list[int]:
    """Name the order lines that are needed to find the orders of all credit notes.

    They are the order lines tied to credit notes, to what reverses another document or is reversed, and to
    invoices with a quantity or an amount below zero. All other orders keep what they say, so nothing more
    about them needs to be read.
    """
    reversing = ids(refunds, "reversed_entry_id")
    taken_off = refunds.loc[_below_zero(refunds), "move_id"]
    concerned = (
        reversing.notna()
        | (refunds["move_type"] == CREDIT_NOTE)
        | refunds["move_id"].isin([*reversing.dropna(), *taken_off])
    )
    ties = refunds.loc[concerned, "sale_line_ids"]
    return sorted({int(line) for line in chain.from_iterable(ties)})


def _ties(ties: pd.Series, order_lines: pd.DataFrame) -> pd.DataFrame:
    """Follow the ties of document lines: how many, the order, and whether all are of down payments."""
    counts = np.fromiter((len(each) for each in ties), dtype="int64", count=len(ties))
    tied = np.fromiter(chain.from_iterable(ties), dtype="int64", count=int(counts.sum()))
    position = pd.Index(order_lines["line_id"].astype("int64")).get_indexer(pd.Index(tied))
    known = position >= 0
    # A line that was not read is of an order of its own: its order is certainly not the only one.
    order = -tied
    order[known] = order_lines["order_id"].to_numpy(dtype="int64")[position[known]]
    down_payment = np.zeros(len(tied), dtype=bool)
    down_payment[known] = flags(order_lines, "is_downpayment").to_numpy()[position[known]]

    has_ties = counts > 0
    starts = (np.cumsum(counts) - counts)[has_ties]
    lowest, highest, first = (np.full(len(ties), _NONE, dtype="int64") for _ in range(3))
    all_down_payment = np.zeros(len(ties), dtype=bool)
    if len(starts):
        lowest[has_ties] = np.minimum.reduceat(order, starts)
        highest[has_ties] = np.maximum.reduceat(order, starts)
        first[has_ties] = tied[starts]
        all_down_payment[has_ties] = np.logical_and.reduceat(down_payment, starts)
    one_order = (lowest == highest) & (lowest > _NONE)
    return pd.DataFrame(
        {
            "ties": counts,
            "lowest_order": lowest,
            "highest_order": highest,
            "order_id": np.where(one_order, lowest, _NONE),
            "order_line_id": np.where(one_order & (counts == 1), first, _NONE),
            "is_down_payment": all_down_payment,
        }
    )


def _headers(posted: pd.DataFrame, lines: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Say of each document to which orders its own ties lead, and what its header has beyond its lines.

    ``order_id`` is here below zero when the one order is unknown.
    """
    tied = lines[lines["ties"] > 0].groupby("move_id")
    lowest, highest = tied["lowest_order"].min(), tied["highest_order"].max()
    one_order = lowest.where(lowest == highest, _NONE)
    sums = lines.groupby("move_id")[["untaxed", "tax"]].sum().reindex(posted.index, fill_value=0.0)
    rounding = (
        own.assign(untaxed=_amounts(own["cash_rounding_untaxed"]), tax=_amounts(own["cash_rounding_tax"]))
        .groupby("move_id")[["untaxed", "tax"]]
        .sum()
        .reindex(posted.index, fill_value=0.0)
    )
    total = _amounts(posted["amount_total"])
    return pd.DataFrame(
        {
            "is_credit": posted["move_type"] == CREDIT_NOTE,
            "currency": texts(posted, "currency"),
            "reversed_id": ids(posted, "reversed_entry_id").fillna(_NONE).astype("int64"),
            "has_ties": posted.index.isin(lowest.index),
            "belongs_to_several": lowest.ne(highest).reindex(posted.index, fill_value=False),
            "order_id": one_order.reindex(posted.index, fill_value=_NONE),
            "is_down_payment": lines.groupby("move_id")["is_down_payment"]
            .all()
            .reindex(posted.index, fill_value=False),
            "rest_untaxed": _amounts(posted["amount_untaxed"]) - sums["untaxed"] - rounding["untaxed"],
            "rest_tax": _amounts(posted["amount_tax"]) - sums["tax"] - rounding["tax"],
            "company_rate": _amounts(posted["amount_total_company"]) / total.where(total != 0),
        },
        index=posted.index,
    )


def _follow_reversals(headers: pd.DataFrame) -> None:
    """Give a document without any tie the order of the document that it reverses, however long the chain."""
    while True:
        reversed_documents = headers[["order_id", "is_down_payment"]].reindex(headers["reversed_id"])
        order = reversed_documents["order_id"].fillna(_NONE).to_numpy(dtype="int64")
        of_down_payment = reversed_documents["is_down_payment"].eq(True).to_numpy()
        gains = (~headers["has_ties"] & (headers["order_id"] == _NONE)).to_numpy() & (order != _NONE)
        if not gains.any():
            return
        headers.loc[gains, "order_id"] = order[gains]
        headers.loc[gains, "is_down_payment"] = of_down_payment[gains]


def _book_untied_lines(lines: pd.DataFrame, headers: pd.DataFrame) -> None:
    """Give lines without a tie their order, and credit lines that have none the reason."""
    own = headers.reindex(lines["move_id"])
    reversed_id = own["reversed_id"].to_numpy(dtype="int64")
    decides = np.where(lines["is_credit"], reversed_id, lines["move_id"])
    deciding = headers.reindex(decides)
    order = deciding["order_id"].fillna(_NONE).to_numpy(dtype="int64")
    of_down_payment = deciding["is_down_payment"].eq(True).to_numpy()

    untied = (lines["ties"] == 0).to_numpy()
    lines.loc[untied, "order_id"] = np.maximum(order, _NONE)[untied]
    lines.loc[untied, "is_down_payment"] = of_down_payment[untied]

    several_of_invoice = deciding["belongs_to_several"].eq(True).to_numpy()
    reasons = [
        (~untied & (lines["lowest_order"] != lines["highest_order"]), SEVERAL_ORDERS),
        (~untied, UNKNOWN_ORDER),
        (reversed_id == _NONE, NAMES_NO_INVOICE),
        (~np.isin(reversed_id, headers.index.to_numpy()), INVOICE_NOT_POSTED),
        (several_of_invoice, SEVERAL_ORDERS),
        (order < _NONE, UNKNOWN_ORDER),
    ]
    because = np.select(
        [np.asarray(applies) for applies, _ in reasons],
        [reason for _, reason in reasons],
        INVOICE_WITHOUT_ORDER,
    )
    has_amount = (lines["untaxed"].abs() > _NOISE) | (lines["tax"].abs() > _NOISE)
    unmatched = lines["is_credit"] & (lines["order_id"] == _NONE) & has_amount
    lines["unmatched_because"] = np.where(unmatched, because, "")
    below_zero = (lines["untaxed"] < -_NOISE) | (lines["tax"] < -_NOISE)
    has_order = own["has_ties"].eq(True).to_numpy()
    typed = untied & has_order & (~lines["is_credit"] & below_zero).to_numpy()
    lines.loc[typed, "unmatched_because"] = TYPED_ON_AN_INVOICE


def _below_zero(refunds: pd.DataFrame) -> pd.Series:
    """Which lines have a quantity or an amount below zero: a discount, a return, a discount taken back."""
    untaxed, total = _amounts(refunds["price_subtotal"]), _amounts(refunds["price_total"])
    return (untaxed < -_NOISE) | (total - untaxed < -_NOISE) | (_amounts(refunds["quantity"]) < 0)


def _amounts(values: pd.Series) -> pd.Series:
    return values.astype("float64").fillna(0.0)
