"""How much of what a store holds a run may lower or delete before a person has to look at it (rule 7.2).

Counted are the orders of which the store will say less than before: goods, shipping or tax, cancelled, or
deleted. Not those that only move to another store of the company, which a person approved with the contacts
that move, nor those of people who were erased. Whatever else a store needs is never held back: new orders,
and more of an order than before.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

PREFIX = "orders-"
"""How the id of a store's plan begins."""

WAITS = "waits for approval"
"""How the detail of an order that waits begins."""

_DIGITS = 10


@dataclass(frozen=True)
class LoweredOrders:
    """The orders of one store that a run would lower or delete.

    Attributes:
        store_id: id of the store.
        row_keys: id of the order in Odoo to the key of its change; an approval keeps these keys.
        held: how many orders the store holds.
        limit: how many of them may be lowered or deleted without an approval.
        waiting: the ids of those that wait for one; empty where the guard did not trip.
    """

    store_id: str
    row_keys: Mapping[int, str]
    held: int
    limit: int
    waiting: Collection[int]

    @property
    def plan_id(self) -> str:
        """By what a person releases these orders: it names the store, and these changes alone."""
        keys = sorted(self.row_keys[order] for order in self.waiting)
        return f"{PREFIX}{self.store_id}-{hashlib.sha256('|'.join(keys).encode()).hexdigest()[:_DIGITS]}"

    @property
    def because(self) -> str:
        """Why an order of the store waits, in words."""
        return (
            f"{WAITS} as {self.plan_id}: {len(self.waiting):,} of the store's {self.held:,} orders would be "
            f"lowered or deleted, more than {self.limit:,}"
        )


def row_key(store_id: str, foreign_order_id: str, wanted: str | None) -> str:
    """The key of one change: the same as long as the order should become the same.

    ``wanted`` is the order's document (``documents.text_of``), None for a deletion.
    """
    become = "deleted" if wanted is None else hashlib.sha256(wanted.encode()).hexdigest()
    return f"{PREFIX}{store_id}/{foreign_order_id}:{become}"


def judge_lowered(
    store_id: str,
    row_keys: Mapping[int, str],
    held: int,
    limit: int,
    approved: Callable[[], Collection[str]],
) -> LoweredOrders:
    """Say which of the orders that a run would lower or delete wait for a person.

    Args:
        store_id: id of the store.
        row_keys: order id in Odoo to the key of its change.
        held: how many orders the store holds.
        limit: how many may be lowered or deleted without an approval.
        approved: returns the keys that a person approved; asked only where there are more than ``limit``.
    """
    waiting: Collection[int] = ()
    if len(row_keys) > limit:
        known = set(approved())
        open_ones = [order for order, key in row_keys.items() if key not in known]
        waiting = open_ones if len(open_ones) > limit else ()
    return LoweredOrders(store_id, row_keys, held, limit, frozenset(waiting))
