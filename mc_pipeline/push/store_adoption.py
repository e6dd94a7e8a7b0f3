"""Takes over what a store has and the ledger does not know, so that it is neither made nor sent once more.

A ledger that was lost, or replaced by an older copy, does not know its own customers and orders any more
(rule 9.5). A store that the ledger does not know at all is taken over whole, once. Of every other store,
Mailchimp is asked about the customers that are about to be named, and about the orders that are about to be
created or replaced.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.documents import order_document_of, product_document_of, text_of
from mc_pipeline.ledger import AboutOrder
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.mailchimp.store_reading import (
    StoreCustomer,
    customers_of_address,
    read_store_customers,
    read_store_orders,
    read_whole_orders,
    read_whole_products,
)
from mc_pipeline.push.store_settling import Found, ObjectKey, read_back
from mc_pipeline.push.writer import MailchimpWriter

ASKED_ONE_BY_ONE = 20
"""Of more customers or orders than these, all that the store has are read, by the page."""

_LONGEST_ID = 50


class Adoption:
    """Asks the stores of a company, during one run, for what they have and the ledger does not know."""

    def __init__(self, writer: MailchimpWriter) -> None:
        self._writer = writer
        self._client = writer.client
        self._ledger = writer.ledger
        self._customers: dict[str, dict[str, list[StoreCustomer]]] = {}
        self._orders: dict[str, frozenset[str]] = {}

    def customers(self, store_id: str, emails: Collection[str]) -> None:
        """Take over the store's own customers with these addresses.

        Raises:
            MailchimpError: they could not be read.
        """
        if not emails:
            return
        found = self._customers.get(store_id)
        if found is None and len(emails) <= ASKED_ONE_BY_ONE:
            asked = run_concurrently(
                (partial(customers_of_address, self._client, store_id, email) for email in sorted(emails)),
                self._writer.workers,
                self._client.stop,
            )
            found = _by_address(each for answer in asked for each in answer)
        elif found is None:
            found = _by_address(read_store_customers(self._client, store_id))
            self._customers[store_id] = found
        chosen = {
            customer.customer_id: email
            for email in emails
            if (customer := _choose(found.get(email, ()))) is not None
        }
        if chosen:
            self._ledger.stores.adopt_customers(self._writer.company, self._writer.fence, store_id, chosen)

    def orders(self, store_id: str, about: Mapping[str, AboutOrder]) -> None:
        """Read those of these orders (by their id in the store) that the store has, and take them over.

        Raises:
            MailchimpError: they could not be read.
        """
        if store_id not in self._orders and len(about) > ASKED_ONE_BY_ONE:
            held = read_store_orders(self._client, store_id)
            self._orders[store_id] = frozenset(held["foreign_order_id"])
        there = about.keys() & self._orders.get(store_id, about.keys())
        read_back(
            self._writer,
            {("order", store_id, each) for each in there},
            about={("order", store_id, each): about[each] for each in there},
        )


def adopt_store(writer: MailchimpWriter, store_id: str, is_erased: Callable[[str], bool]) -> None:
    """Take over our orders in a store with their customers, and its products.

    The month of an order is at first that of its date in UTC. ``is_erased`` recognises an address that must
    not be kept.

    Raises:
        MailchimpError: the store could not be read.
    """
    for page in read_whole_products(writer.client, store_id):
        products = {
            ("product", store_id, str(each["id"])): (text_of(product_document_of(each)), None)
            for each in page
        }
        _take_over(writer, products, dict.fromkeys(products))
    for page in read_whole_orders(writer.client, store_id):
        customers: dict[str, str] = {}
        orders: dict[ObjectKey, Found] = {}
        about: dict[ObjectKey, AboutOrder | None] = {}
        for answer in page:
            number = store_ids.sale_order_of(str(answer["id"]))
            if number is None:
                continue
            document, key = order_document_of(answer), ("order", store_id, str(answer["id"]))
            moment = document.get("processed_at_foreign") or writer.ledger.now().isoformat()
            orders[key] = (text_of(document), document["customer"])
            about[key] = AboutOrder(order_id=number, month=str(moment)[:7])
            email = str((answer.get("customer") or {}).get("email_address") or "")
            if email and not is_erased(email.lower()):
                customers[document["customer"]] = email
        writer.ledger.stores.adopt_customers(writer.company, writer.fence, store_id, customers)
        _take_over(writer, orders, about)


def _take_over(
    writer: MailchimpWriter,
    found: Mapping[ObjectKey, Any],
    about: Mapping[ObjectKey, AboutOrder | None],
) -> None:
    writer.lease.check()
    writer.ledger.store_intents.settle_as_read(writer.company, writer.fence, found, about)


def _by_address(customers: Iterable[StoreCustomer]) -> dict[str, list[StoreCustomer]]:
    found: dict[str, list[StoreCustomer]] = {}
    for customer in customers:
        found.setdefault(customer.email.lower(), []).append(customer)
    return found


def _choose(customers: Iterable[StoreCustomer]) -> StoreCustomer | None:
    """The customer with the most orders; of several, the one that every run chooses."""
    usable = (each for each in customers if _is_usable(each.customer_id))
    return min(usable, key=lambda each: (-each.orders, each.customer_id), default=None)


def _is_usable(customer_id: str) -> bool:
    """Whether the id can be part of a path."""
    return "/" not in customer_id and "server" not in customer_id and 0 < len(customer_id) <= _LONGEST_ID
