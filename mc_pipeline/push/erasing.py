"""Takes a person who is erased out of a store: first the orders, then the customer (rule 10.1)."""

from collections.abc import Hashable

from mc_pipeline.domain.store.changes import Step
from mc_pipeline.push.store_writes import StoreChange, StoreResult, StoreWrites
from mc_pipeline.vocabulary import StoreOperation

_DELETE = (Step(StoreOperation.DELETE, None),)


class StoreErasureError(Exception):
    """Mailchimp did not delete what a store holds of a person; run the erasure again."""


def erase_from_store(writes: StoreWrites, store_id: str, email: str) -> int:
    """Delete what the store holds of the person with this address; return how many orders that were.

    Done again after an interruption it deletes the rest. The revenue of these orders is then missing in
    Mailchimp; the reconciliation shows it as one sum.

    Raises:
        StoreErasureError, MailchimpError: not all could be deleted; what was done is recorded.
    """
    stores = writes.writer.ledger.stores
    orders = 0
    for customer in stores.customers(store_id, [email]).values():
        held = stores.orders_of_customer(store_id, customer.object_id)
        _delete(
            writes,
            [
                StoreChange(
                    record.key,
                    store_id,
                    "order",
                    record.object_id,
                    _DELETE,
                    order_id=record.order_id,
                    month=record.month,
                )
                for record in held
            ],
        )
        if customer.present:
            _delete(writes, [StoreChange(customer.key, store_id, "customer", customer.object_id, _DELETE)])
        orders += len(held)
    return orders


def _delete(writes: StoreWrites, changes: list[StoreChange]) -> None:
    results: dict[Hashable, StoreResult] = {}
    writes.carry_out(changes, results)
    undone = [result.detail for result in results.values() if not result.is_done]
    if undone:
        raise StoreErasureError(f"{len(undone)} of {len(changes)} deletions failed: {undone[0]}")
