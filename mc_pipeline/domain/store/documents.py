"""Orders and products as a store holds them: one document each, in Mailchimp's names, equal when they are.

Made from our tables (how it should be) and from Mailchimp's answers (how it is). Amounts are floats in the
store's currency, times ISO 8601 texts in UTC.
"""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.columns import texts
from mc_pipeline.domain.store import ids as store_ids

Document = dict[str, Any]

TOTALS = ("order_total", "tax_total", "shipping_total")
_STAND_INS = {store_ids.FREE_TEXT: "Free text", store_ids.ADJUSTMENT: "Adjustment"}


def order_document(row: Any, customer_id: str) -> Document:
    """How a store should hold an order; ``row`` is a row (tuple) of ``store_orders``.

    Keys: customer (its id), currency_code, order_total, tax_total, shipping_total, processed_at_foreign,
    cancelled_at_foreign (only when cancelled), lines (by id).
    """
    document: Document = {
        "customer": customer_id,
        "currency_code": row.currency,
        **{name: float(getattr(row, name)) for name in TOTALS},
        "processed_at_foreign": _moment(row.processed_at),
        "lines": {line["id"]: _line(line) for line in json.loads(row.lines_json)},
    }
    if not pd.isna(row.cancelled_at):
        document["cancelled_at_foreign"] = _moment(row.cancelled_at)
    return document


def kept_document(row: Any, customer_id: str) -> Document:
    """What counts of an order: like ``order_document``, nothing where the row says ``uncounted_because``."""
    document = order_document(row, customer_id)
    return without_revenue(document) if row.uncounted_because else document


def amounts_of(document: Document) -> dict[str, float]:
    """The parts of an order's total: goods (what Mailchimp calls revenue), shipping and tax."""
    shipping, tax = document["shipping_total"], document["tax_total"]
    return {"goods": document["order_total"] - shipping - tax, "shipping": shipping, "tax": tax}


def without_revenue(document: Document) -> Document:
    """The same order, of which nothing counts: all lines stay, at price 0."""
    lines = {name: {**line, "price": 0.0} for name, line in document["lines"].items()}
    return {**document, **dict.fromkeys(TOTALS, 0.0), "lines": lines}


def order_document_of(answer: Mapping[str, Any]) -> Document:
    """How a store holds an order, by Mailchimp's answer."""
    document: Document = {
        "customer": str((answer.get("customer") or {}).get("id") or ""),
        "currency_code": answer.get("currency_code") or "",
        **{name: float(answer.get(name) or 0) for name in TOTALS},
        "lines": {str(line["id"]): _line(line) for line in answer.get("lines") or ()},
    }
    for name in ("processed_at_foreign", "cancelled_at_foreign"):
        if answer.get(name):
            document[name] = _moment(datetime.fromisoformat(answer[name]))
    return document


def attribution_of(answer: Mapping[str, Any]) -> Document:
    """What Mailchimp attributes an order to; empty where to nothing.

    Never sent, not even to restore it: Mailchimp attributes by tracked clicks, which a sent ``campaign_id``
    would override (docs/facts/mailchimp.md). It is kept to list the orders that lost it.
    """
    return {name: answer[name] for name in ("campaign_id", "outreach") if answer.get(name)}


def lost_attribution(attribution: str | None) -> str:
    """Say what an order was attributed to when it was taken out of its store; empty where to nothing.

    Args:
        attribution: ``attribution_of`` the order as canonical JSON.
    """
    lost = json.loads(attribution or "{}")
    if not lost:
        return ""
    if campaign := lost.get("campaign_id"):
        return f"when it left the store, Mailchimp attributed it to campaign {campaign}, which is never sent"
    return "when it left the store, Mailchimp attributed it to an outreach, which is never sent"


def order_body(order_id: str, document: Document, more: Mapping[str, Any]) -> Document:
    """The body that creates an order; ``more``: what is said of it only now."""
    fields = {name: value for name, value in document.items() if name not in ("customer", "lines")}
    return {
        "id": order_id,
        "customer": {"id": document["customer"]},
        **fields,
        **more,
        "lines": [{"id": name, **line} for name, line in document["lines"].items()],
    }


def product_documents(products: pd.DataFrame, ordered: Collection[tuple[str, str]]) -> dict[str, Document]:
    """How a store should hold each product that its orders name.

    Args:
        products: rows of ``odoo_products``.
        ordered: ids of product and variant in the store, from the lines of its orders.

    Returns:
        Product id to document: title, variants (by id: title, and sku and price where Odoo has them).
        Variants of a product that were ordered elsewhere are there too. What was sold by a text is never
        called by it: it may hold a person's name, and a product outlives the erasure of its buyer.
    """
    documents: dict[str, Document] = {}
    wanted = {product for product, _ in ordered}
    row: Any
    named = products.assign(**{name: texts(products, name) for name in ("variant_name", "default_code")})
    for row in named.itertuples():
        identity = store_ids.product_id(int(row.product_template_id))
        if identity in wanted:
            document = documents.setdefault(identity, {"title": row.name, "variants": {}})
            document["variants"][store_ids.variant_id(int(row.product_id))] = _variant(row)
    for product, variant in ordered:
        if product not in documents:
            title = _title_of_stand_in(product)
            documents[product] = {"title": title, "variants": {variant: {"title": title}}}
    return documents


def product_document_of(answer: Mapping[str, Any]) -> Document:
    """How a store holds a product, by Mailchimp's answer."""
    return {
        "title": answer.get("title") or "",
        "variants": {
            str(variant["id"]): {
                name: variant[name] for name in ("title", "sku", "price") if variant.get(name) is not None
            }
            for variant in answer.get("variants") or ()
        },
    }


def product_body(product_id: str, document: Document) -> Document:
    """The body that creates a product."""
    variants = [{"id": name, **variant} for name, variant in document["variants"].items()]
    return {"id": product_id, "title": document["title"], "variants": variants}


def text_of(document: Document) -> str:
    """The document as canonical JSON text."""
    return canonical_json(document)


def _title_of_stand_in(product: str) -> str:
    number = product.rpartition("-")[2]
    if store_ids.is_text_product(product):
        return f"Without a product ({number[:6]})"
    return _STAND_INS.get(product, f"Deleted product {number}")


def _line(line: Mapping[str, Any]) -> Document:
    return {
        "product_id": line["product_id"],
        "product_variant_id": line["product_variant_id"],
        "quantity": int(line["quantity"]),
        "price": float(line["price"]),
    }


def _variant(row: Any) -> Document:
    variant: Document = {"title": row.variant_name or row.name}
    if row.default_code:
        variant["sku"] = row.default_code
    if not pd.isna(row.list_price):
        variant["price"] = float(row.list_price)
    return variant


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds")
