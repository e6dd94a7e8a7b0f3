"""Brings the products that orders name into the stores, before the orders."""

import json
from collections.abc import Hashable, Iterable
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.store_changes import product_steps
from mc_pipeline.domain.store_documents import product_documents
from mc_pipeline.push.store_settling import read_back
from mc_pipeline.push.store_writes import StoreChange, StoreResult, StoreWrites

_LOOKS = 2
"""How often a product is gone through in one run: what was found to be otherwise is put right at once."""

COLUMNS = ("store_id", "foreign_product_id", "operation", "outcome", "detail")


def push_products(
    orders: pd.DataFrame, products: pd.DataFrame, writes: StoreWrites, now: datetime
) -> pd.DataFrame:
    """Create and update products; return those that differed.

    Args:
        orders: rows of ``store_orders`` that are due: store_id and lines_json.
        products: rows of ``odoo_products``.
        writes: of this run.
        now: the present moment.

    Returns:
        Columns store_id, foreign_product_id, operation, outcome, detail.
    """
    rows: list[tuple[str, ...]] = []
    for store_id, of_store in orders.groupby("store_id", sort=True):
        wanted = product_documents(products, ordered_products(of_store["lines_json"]))
        due = set(wanted)
        for look in range(_LOOKS):
            known = writes.ledger.stores.products(str(store_id))
            changes, operations = [], {}
            for identity in sorted(due):
                held = known.get(identity)
                steps = product_steps(identity, wanted[identity], held)
                if steps is None:
                    continue
                operations[identity] = steps.operation
                if held is not None and held.is_refused(steps.wanted, now):
                    detail = f"refused before, and unchanged since: {held.refused_detail}"
                    rows.append((str(store_id), identity, steps.operation, "rejected", detail))
                    continue
                changes.append(
                    StoreChange(identity, str(store_id), "product", identity, steps.steps, steps.wanted)
                )
            results: dict[Hashable, StoreResult] = {}
            writes.carry_out(changes, results)
            unclear = {key for key, result in results.items() if result.to_read}
            again = unclear if look + 1 < _LOOKS else set()
            read_back(
                writes.client,
                writes.ledger,
                writes.lease,
                {("product", str(store_id), str(key)) for key in unclear},
                workers=writes.workers,
            )
            for change in changes:
                result = results.get(change.key, StoreResult("not_sent"))
                if change.key not in again:
                    operation = operations[change.object_id]
                    rows.append((str(store_id), change.object_id, operation, result.outcome, result.detail))
            due = {str(key) for key in again}
    return pd.DataFrame(rows, columns=list(COLUMNS))


def ordered_products(lines: Iterable[str]) -> set[tuple[str, str]]:
    """Return the ids of product and variant that lines name, from their JSON texts."""
    return {(line["product_id"], line["product_variant_id"]) for text in lines for line in json.loads(text)}
