"""The lines of an order as a Mailchimp store holds them: they add up to the goods kept, to the smallest unit.

Quantities in a store are whole and no price is below zero. So a discount that is a line of its own, and
whatever else takes from the order as a whole, is taken off the other lines in proportion; what an order has
beyond its lines is one line more. Shipping is no line.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.columns import flags, ids, texts
from mc_pipeline.domain.revenue.money import convert, scale_of, units
from mc_pipeline.domain.store import ids as store_ids


def store_lines(
    orders: pd.DataFrame,
    lines: pd.DataFrame,
    parts: pd.DataFrame,
    products: pd.DataFrame,
    amounts: pd.DataFrame,
) -> pd.Series:
    """Write the lines of every order.

    A line says the untaxed unit price after discount where all of it is kept and the quantity is whole;
    otherwise quantity 1 at the amount kept, and price 0 where nothing is. Lines of quantity 0 are left out.
    A line without a product in Odoo (possible from 19.4 on) is a product of its own by its text: two texts
    are two products.

    Args:
        orders: rows of ``odoo_orders``, ``order_id`` in each once.
        lines: rows of ``odoo_order_lines``.
        parts: ``order_id``, ``line_id`` and ``kept_untaxed``, smallest units of the order's currency; a line
            that is not there shares one amount with others, and counts as ordered.
        products: rows of ``odoo_products``.
        amounts: with the index of ``orders``: ``goods`` (smallest units of the company's currency, not below
            zero), ``factor`` (what one unit of the order's currency is worth), ``scale`` (of the company's).

    Returns:
        JSON texts with the index of ``orders``; no order is without a line.
    """
    by_order = amounts.set_axis(pd.Index(orders["order_id"], name="order_id"))
    goods = _goods_lines(orders, lines, parts, by_order)
    beyond = _share_out(goods, by_order["goods"])
    written: dict[int, list[str]] = {int(order): [] for order in by_order.index}
    scale = by_order["scale"].reindex(goods["order_id"]).to_numpy()
    for order, text in zip(goods["order_id"].tolist(), _texts(goods, scale, products), strict=True):
        written[order].append(text)
    for order, amount, units_in_one in zip(by_order.index, beyond, by_order["scale"], strict=True):
        if amount > 0 or not written[order]:
            written[order].append(_adjustment(amount / units_in_one))
    joined = [f"[{','.join(each)}]" for each in written.values()]
    return pd.Series(joined, index=orders.index, dtype=object)


def _goods_lines(
    orders: pd.DataFrame, lines: pd.DataFrame, parts: pd.DataFrame, by_order: pd.DataFrame
) -> pd.DataFrame:
    """Lines of goods by order, with ``amount``: what is kept in the company's currency, not below zero.

    ``as_ordered``: all of it is kept; of a line that ``shares`` its amount with others, as far as is known.
    """
    ordinary = lines["display_type"].isna() & ~flags(lines, "is_downpayment") & ~flags(lines, "is_delivery")
    own = lines[ordinary & lines["order_id"].isin(by_order.index)].sort_values(["order_id", "line_id"])
    places = orders.set_index("order_id")["decimal_places"].reindex(own["order_id"])
    ordered = units(own["price_subtotal"], scale_of(places).array)
    kept = parts[parts["line_id"].notna()].set_index("line_id")["kept_untaxed"].reindex(own["line_id"])
    alone = kept.notna().to_numpy()
    kept = kept.set_axis(own.index).fillna(ordered).astype("int64")
    factor = pd.Series(by_order["factor"].reindex(own["order_id"]).array, index=own.index)
    quantity = own["quantity"].astype("float64")
    goods = pd.DataFrame(
        {
            "order_id": own["order_id"].astype("int64"),
            "line_id": own["line_id"].astype("int64"),
            "product_id": ids(own, "product_id"),
            "text": texts(own, "name"),
            "quantity": quantity,
            "amount": convert(kept, factor),
            "as_ordered": kept == ordered,
            "shares": ~alone,
        }
    )
    goods["before_sharing"] = goods["amount"]
    is_goods = (ordered >= 0) & (goods["amount"] >= 0) & ((quantity != 0) | (goods["amount"] != 0))
    return goods[is_goods].reset_index(drop=True)


def _share_out(goods: pd.DataFrame, target: pd.Series) -> pd.Series:
    """Bring the lines of each order to what its goods are worth; return what no line can hold, by order.

    Lines grow by no more than rounding explains, a smallest unit each.
    """
    by_order = goods.groupby("order_id")["amount"]
    there = by_order.sum().reindex(target.index, fill_value=0)
    lines = by_order.size().reindex(target.index, fill_value=0)
    more = target - there
    beyond = more.where((more > lines) | (there == 0), 0)
    uneven = there.index[more != beyond]
    shared = goods.loc[goods["order_id"].isin(uneven), ["order_id", "amount"]]
    for order, amounts in shared.groupby("order_id")["amount"]:
        goods.loc[amounts.index, "amount"] = _in_proportion(amounts.tolist(), int(target[order]))
    return beyond


def _in_proportion(amounts: Sequence[int], total: int) -> list[int]:
    """Scale whole amounts to a total; the units that rounding leaves go to the largest fractions."""
    whole = sum(amounts)
    shares = [divmod(amount * total, whole) for amount in amounts]
    left = total - sum(share for share, _ in shares)
    by_fraction = sorted(range(len(shares)), key=lambda position: -shares[position][1])
    favoured = set(by_fraction[:left])
    return [share + (position in favoured) for position, (share, _) in enumerate(shares)]


def _texts(goods: pd.DataFrame, scale: np.ndarray, products: pd.DataFrame) -> list[str]:
    """Write each line as JSON."""
    quantity = goods["quantity"].to_numpy()
    amount = goods["amount"].to_numpy()
    is_whole = (quantity >= 1) & (quantity == np.floor(quantity))
    count = np.where(is_whole, quantity, 1).astype("int64")
    untouched = goods["as_ordered"] & (~goods["shares"] | (goods["amount"] == goods["before_sharing"]))
    says_quantity = (untouched.to_numpy() | (amount == 0)) & (amount % count == 0)
    count = np.where(says_quantity, count, 1)
    prices = amount // count / scale
    product, variant = _product_ids(goods["product_id"], goods["text"], products)
    return [
        f'{{"id":"{store_ids.line_id(line)}","price":{price!r},"product_id":"{own}",'
        f'"product_variant_id":"{of_variant}","quantity":{number}}}'
        for line, price, own, of_variant, number in zip(
            goods["line_id"].tolist(), prices.tolist(), product, variant, count.tolist(), strict=True
        )
    ]


def _product_ids(named: pd.Series, said: pd.Series, products: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Ids of product and variant of each line: Odoo's, or those of a stand-in."""
    templates = dict(zip(products["product_id"], products["product_template_id"], strict=True))
    ids_of: dict[int, tuple[str, str]] = {}
    for product in named.dropna().unique():
        if product in templates:
            ids_of[int(product)] = (
                store_ids.product_id(int(templates[product])),
                store_ids.variant_id(int(product)),
            )
        else:
            ids_of[int(product)] = (store_ids.deleted_product_id(int(product)),) * 2
    found = [
        (store_ids.text_product_id(_one_line(text)),) * 2 if product is pd.NA else ids_of[product]
        for product, text in zip(named, said, strict=True)
    ]
    return [product for product, _ in found], [variant for _, variant in found]


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _adjustment(price: float) -> str:
    """Write the line of what an order has beyond its lines."""
    return canonical_json(
        {
            "id": store_ids.ADJUSTMENT,
            "price": price,
            "product_id": store_ids.ADJUSTMENT,
            "product_variant_id": store_ids.ADJUSTMENT,
            "quantity": 1,
        }
    )
