"""Sends the products that orders name to the stores, before the orders."""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.store.changes import product_steps
from mc_pipeline.domain.store.documents import Document, product_documents
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.push.store_settling import read_back
from mc_pipeline.push.store_writes import StoreChange, StoreResult, StoreWrites
from mc_pipeline.vocabulary import OutcomeKind

_LOOKS = 2
"""How often a product is gone through in one run: what was found to differ is corrected at once."""

Row = tuple[str, str, str, str, str]
COLUMNS = ("store_id", "foreign_product_id", "operation", "outcome", "detail")


@dataclass(frozen=True)
class ProductPush:
    """Which products differed and the outcome of each, and which stores could not be written, and why.

    rows       ``COLUMNS``
    failures   store id to what Mailchimp answered: products of the store may be missing among the rows
    """

    rows: pd.DataFrame
    failures: Mapping[str, MailchimpError]


def push_products(
    orders: pd.DataFrame, products: pd.DataFrame, writes: StoreWrites, now: datetime
) -> ProductPush:
    """Create and update products, each store separately; return those that differed.

    Args:
        orders: rows of ``store_orders`` that are due: store_id and lines_json.
        products: rows of ``odoo_products``.
        writes: of this run.
        now: the present moment.
    """
    rows: list[Row] = []
    failures: dict[str, MailchimpError] = {}
    for store_id, of_store in orders.groupby("store_id", sort=True):
        wanted = product_documents(products, ordered_products(of_store["lines_json"]))
        try:
            push_documents(str(store_id), wanted, writes, now, rows)
        except MailchimpError as error:
            failures[str(store_id)] = error
    return ProductPush(pd.DataFrame(rows, columns=list(COLUMNS)), failures)


def push_documents(
    store_id: str, wanted: Mapping[str, Document], writes: StoreWrites, now: datetime, rows: list[Row]
) -> None:
    """Create and update the products of one store so that they are as ``wanted`` (by id); add to ``rows``.

    Raises:
        MailchimpError: a request failed as a whole; ``rows`` has what was done.
    """
    due = set(wanted)
    for look in range(_LOOKS):
        known = writes.writer.ledger.stores.products(store_id)
        changes, operations = [], {}
        for identity in sorted(due):
            held = known.get(identity)
            steps = product_steps(identity, wanted[identity], held)
            if steps is None:
                continue
            operations[identity] = steps.operation
            if held is not None and held.is_refused(steps.wanted, now):
                detail = f"refused before, and unchanged since: {held.refused_detail}"
                rows.append((store_id, identity, steps.operation, OutcomeKind.REJECTED, detail))
                continue
            changes.append(StoreChange(identity, store_id, "product", identity, steps.steps, steps.wanted))
        results: dict[Hashable, StoreResult] = {}
        again: set[str] = set()
        try:
            writes.carry_out(changes, results)
            unclear = {str(key) for key, result in results.items() if result.to_read}
            read_back(writes.writer, {("product", store_id, key) for key in unclear})
            again = unclear if look + 1 < _LOOKS else set()
        finally:
            for change in changes:
                result = results.get(change.key, StoreResult(OutcomeKind.NOT_SENT))
                if change.key not in again:
                    operation = operations[change.object_id]
                    rows.append((store_id, change.object_id, operation, result.outcome, result.detail))
        due = again


def ordered_products(lines: Iterable[str]) -> set[tuple[str, str]]:
    """Return the ids of product and variant that lines name, from their JSON texts."""
    return {(line["product_id"], line["product_variant_id"]) for text in lines for line in json.loads(text)}
