"""What a store holds, as Mailchimp says: one thing by its id, or all of a kind.

Mailchimp API: pages have no fixed order that changes keep; an order deleted meanwhile shifts the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpNotFoundError, MailchimpServerError
from mc_pipeline.mailchimp.paging import pages

_PAGE_SIZE = 1000
# An order with its lines is a few kilobytes.
_WHOLE_PAGE_SIZE = 250
_READS = 3

_FIELDS = (
    "id", "customer.id", "currency_code", "order_total", "tax_total", "shipping_total", "discount_total",
    "cancelled_at_foreign", "processed_at_foreign", "updated_at_foreign", "campaign_id",
)  # fmt: skip
_TIMES = ("cancelled_at", "processed_at", "updated_at")

ORDER_COLUMNS = (
    "store_id", "foreign_order_id", "customer_id", "currency", "order_total", "tax_total", "shipping_total",
    "discount_total", "cancelled_at", "processed_at", "campaign_id", "updated_at",
)  # fmt: skip


_WHOLE_FIELDS = (
    "id", "customer.id", "customer.email_address", "currency_code", "order_total", "tax_total",
    "shipping_total", "processed_at_foreign", "cancelled_at_foreign", "lines",
)  # fmt: skip
_CUSTOMER_FIELDS = ("id", "email_address", "orders_count")


@dataclass(frozen=True)
class StoreCustomer:
    """A customer as a store has it."""

    customer_id: str
    email: str
    orders: int


def read_store_orders(client: MailchimpClient, store_id: str) -> pd.DataFrame:
    """Read all orders of a store, by id.

    Columns: store_id, foreign_order_id, customer_id, currency (ISO 4217, of the amounts), order_total,
    tax_total, shipping_total, discount_total, cancelled_at, processed_at and updated_at (UTC, as we said;
    updated_at NaT where we said none), campaign_id (None where Mailchimp attributes the order to none).

    Raises:
        MailchimpNotFoundError: the account has no such store.
        MailchimpServerError: as many orders as Mailchimp counts could not be read in three attempts.
    """
    for _ in range(_READS):
        found, total = _read_once(client, store_id)
        if len(found) == total:
            return _table(store_id, found)
    raise MailchimpServerError(
        title="Incomplete Read",
        detail=f"{len(found)} orders were read, Mailchimp counts {total}",
        path=f"/ecommerce/stores/{store_id}/orders",
    )


def read_whole_orders(client: MailchimpClient, store_id: str) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Read all orders of a store with their lines, page by page, as Mailchimp answers them."""
    ask = client.ecommerce.get_store_orders
    for page in pages(ask, "orders", store_id, fields=_WHOLE_FIELDS, count=_WHOLE_PAGE_SIZE):
        if page.items:
            yield page.items


def read_whole_products(client: MailchimpClient, store_id: str) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Read all products of a store with their variants, page by page, as Mailchimp answers them."""
    ask, fields = client.ecommerce.get_all_store_products, ("id", "title", "variants")
    for page in pages(ask, "products", store_id, fields=fields, count=_WHOLE_PAGE_SIZE):
        if page.items:
            yield page.items


def read_store_customers(client: MailchimpClient, store_id: str) -> list[StoreCustomer]:
    """Read all customers of a store."""
    ask = client.ecommerce.get_all_store_customers
    return [
        _customer(each)
        for page in pages(ask, "customers", store_id, fields=_CUSTOMER_FIELDS, count=_PAGE_SIZE)
        for each in page.items
    ]


def customers_of_address(client: MailchimpClient, store_id: str, email: str) -> list[StoreCustomer]:
    """Read the customers that a store has for an address; another program may have made more than one."""
    page = client.ecommerce.get_all_store_customers(
        store_id, email_address=email, fields=[f"customers.{name}" for name in _CUSTOMER_FIELDS]
    )
    found = (_customer(each) for each in require(page, "customers", list))
    return [each for each in found if each.email.lower() == email.lower()]


def get_order(client: MailchimpClient, store_id: str, order_id: str) -> Mapping[str, Any] | None:
    """Read one order with its lines; None when the store has no such order."""
    try:
        answer = client.ecommerce.get_order(store_id, order_id)
    except MailchimpNotFoundError:
        return None
    require(answer, "id", str, path=f"/ecommerce/stores/{store_id}/orders/{order_id}")
    return dict(answer)


def get_product(client: MailchimpClient, store_id: str, product_id: str) -> Mapping[str, Any] | None:
    """Read one product with its variants; None when the store has no such product."""
    try:
        answer = client.ecommerce.get_store_product(store_id, product_id)
    except MailchimpNotFoundError:
        return None
    require(answer, "id", str, path=f"/ecommerce/stores/{store_id}/products/{product_id}")
    return dict(answer)


def get_customer(client: MailchimpClient, store_id: str, customer_id: str) -> Mapping[str, Any] | None:
    """Read one customer; None when the store has no such customer."""
    try:
        answer = client.ecommerce.get_store_customer(store_id, customer_id)
    except MailchimpNotFoundError:
        return None
    require(answer, "id", str, path=f"/ecommerce/stores/{store_id}/customers/{customer_id}")
    return dict(answer)


def _customer(answer: Mapping[str, Any]) -> StoreCustomer:
    return StoreCustomer(
        str(answer["id"]), str(answer.get("email_address") or ""), int(answer.get("orders_count") or 0)
    )


def _read_once(client: MailchimpClient, store_id: str) -> tuple[dict[str, dict[str, Any]], int]:
    found: dict[str, dict[str, Any]] = {}
    total = 0
    for page in pages(
        client.ecommerce.get_store_orders, "orders", store_id, fields=_FIELDS, count=_PAGE_SIZE
    ):
        total = page.total
        found.update((str(order["id"]), _row(order)) for order in page.items)
    return found, total


def _row(order: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "foreign_order_id": str(order["id"]),
        "customer_id": str((order.get("customer") or {}).get("id") or ""),
        "currency": str(order.get("currency_code") or ""),
        **{
            name: float(order.get(name) or 0)
            for name in ("order_total", "tax_total", "shipping_total", "discount_total")
        },
        **{name: order.get(f"{name}_foreign") or None for name in _TIMES},
        "campaign_id": order.get("campaign_id") or None,
    }


def _table(store_id: str, found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    rows = pd.DataFrame(list(found.values()), columns=list(ORDER_COLUMNS)).assign(store_id=store_id)
    for name in _TIMES:
        rows[name] = pd.to_datetime(rows[name], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    for name in ("order_total", "tax_total", "shipping_total", "discount_total"):
        rows[name] = rows[name].astype("float64")
    rows["campaign_id"] = rows["campaign_id"].astype(object).where(rows["campaign_id"].notna(), None)
    return rows.sort_values("foreign_order_id", ignore_index=True)
