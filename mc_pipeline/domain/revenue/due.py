"""Which orders count as revenue: all that are confirmed, those that are invoiced, or those that are paid.

An order counts whole or not at all, with what is kept of it. It is *invoiced* once nothing of it is left to
invoice: an order invoiced in part waits for the rest, so that nothing counts that was never billed. It is
*paid* once it is invoiced and Odoo says of each of its posted invoices, down payments too, that it is paid,
in payment or reversed; an invoice of several orders counts for each. Credit notes lower what is kept, and
undo neither.
"""

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import texts
from mc_pipeline.domain.revenue.documents import book_documents

SETTLED = ("paid", "in_payment", "reversed")
"""Payment states of an invoice that asks for no more money."""


def invoiced_orders(parts: pd.DataFrame) -> pd.Index:
    """Return the ids of the orders of which nothing is left to invoice.

    What rounding leaves of a line invoiced in parts, a smallest unit for each part of the order, is nothing.

    Args:
        parts: result of ``orders.kept_by_line``, its amounts as whole smallest units of the currency.
    """
    ordered, sold = parts["ordered_untaxed"], parts["sold_untaxed"]
    left = (np.sign(ordered) * (ordered - sold)).clip(lower=0)
    by_order = left.groupby(parts["order_id"])
    still_open = by_order.sum()
    orders: pd.Index = still_open.index[still_open <= by_order.size()]
    return orders


def unsettled_orders(refunds: pd.DataFrame, lines: pd.DataFrame) -> pd.Index:
    """Return the ids of the orders with a posted invoice that asks for money.

    Args:
        refunds: rows of ``odoo_refunds``.
        lines: rows of ``odoo_order_lines``.
    """
    booked = book_documents(refunds, lines).lines
    state = texts(refunds, "payment_state").groupby(refunds["move_id"]).first()
    billed = booked[~booked["is_credit"] & (booked["order_id"] > 0)]
    asks = ~billed["move_id"].map(state).isin(SETTLED)
    orders: pd.Index = pd.Index(billed.loc[asks, "order_id"].unique())
    return orders
