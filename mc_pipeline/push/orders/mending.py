"""Corrects what an order was refused for if that is not the order: its customer or a product is not there.

Somebody deleted them in Mailchimp, which deletes a customer's orders as well. Mailchimp's words are not
asked for the cause: they differ from call to call. What the order names is read back, and what is not there
is made again.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from mc_pipeline.push.products import push_documents
from mc_pipeline.push.store_settling import read_back
from mc_pipeline.push.store_writes import StoreWrites


class Mending:
    """Looks after refused orders during one run; each order once."""

    def __init__(self, writes: StoreWrites, now: datetime) -> None:
        self._writes = writes
        self._writer = writes.writer
        self._now = now
        self._looked_at: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, int]] = set()
        """Store and order (id in Odoo) of orders that were deleted with their customer."""
        self.missing_customers: set[tuple[str, str]] = set()
        """Store and id of customers that are gone: the members may be gone as well."""

    def mend(self, store_id: str, refused: Iterable[tuple[str, str, Mapping[str, Any]]]) -> frozenset[str]:
        """Correct what refused orders lack; return those that can be sent again.

        ``refused``: the order's id in the store, its customer's, and its document. A customer that is not
        there is only marked so: the order's next try makes it.

        Raises:
            MailchimpError: something could not be read.
        """
        looked = [each for each in refused if (store_id, each[0]) not in self._looked_at]
        self._looked_at |= {(store_id, order) for order, _, _ in looked}
        if not looked:
            return frozenset()
        no_customers = self._missing_customers(store_id, {customer for _, customer, _ in looked})
        no_products = self._remake_products(store_id, [document for _, _, document in looked])
        mended = {
            order
            for order, customer, document in looked
            if customer in no_customers
            or any(line["product_id"] in no_products for line in document["lines"].values())
        }
        writer = self._writer
        writer.ledger.stores.forget_refusals(
            writer.company, writer.fence, [("order", store_id, order) for order in mended]
        )
        return frozenset(mended)

    def _missing_customers(self, store_id: str, customers: Collection[str]) -> frozenset[str]:
        """Read the customers; those that are not there are known to be so, and so are their orders."""
        ledger = self._writer.ledger
        self._read({("customer", store_id, customer) for customer in customers})
        present = ledger.stores.customers_present(store_id, customers)
        missing = frozenset(customers) - present
        orders = {
            record.key: record.order_id
            for customer in missing
            for record in ledger.stores.orders_of_customer(store_id, customer)
        }
        self._read(orders.keys())
        self.missing_customers |= {(store_id, customer) for customer in missing}
        for customer in missing:
            there = {record.key for record in ledger.stores.orders_of_customer(store_id, customer)}
            self.deleted |= {
                (store_id, number)
                for key, number in orders.items()
                if key not in there and number is not None
            }
        return missing

    def _remake_products(self, store_id: str, documents: Collection[Mapping[str, Any]]) -> frozenset[str]:
        """Read the products; those that are not there as they were are made again, as they were."""
        ledger = self._writer.ledger
        named = {str(line["product_id"]) for document in documents for line in document["lines"].values()}
        before = {
            identity: json.loads(record.sent_json)
            for identity, record in ledger.stores.products(store_id).items()
            if identity in named and record.present and record.sent_json
        }
        self._read({("product", store_id, identity) for identity in before})
        after = ledger.stores.products(store_id)
        lost = {
            identity: document
            for identity, document in before.items()
            if not after[identity].present
            or document["variants"].keys() - json.loads(after[identity].sent_json or "{}")["variants"].keys()
        }
        if lost:
            push_documents(store_id, lost, self._writes, self._now, [])
        return frozenset(lost)

    def _read(self, keys: Collection[tuple[str, str, str]]) -> None:
        read_back(self._writer, keys)
