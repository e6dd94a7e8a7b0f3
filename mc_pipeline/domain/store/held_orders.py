"""Orders that a store holds: which of them may be written, which leave, and which are kept right or stay.

An order that a store holds may become one that no store should hold: its person is no contact any more,
changed audience, was archived. Mailchimp goes on counting it as revenue, so it has to stay right:

- While the person whom it was sent for is in the store's audience, in any status but archived, it is kept
  right where it is, like every other order (``kept_right``).
- Otherwise to write the order could bring that person back. It stays as it is, unless it was refunded
  (``is_given_back``): then it is deleted, which brings nobody back. Once the person is a member and the order
  is due again, it returns like every order that left.
- Orders that are gone from Odoo, due in another store, or of erased people leave (``departures``).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mc_pipeline.domain.store.documents import Document, amounts_of, kept_document
from mc_pipeline.domain.store.orders import (
    ERASED,
    NOT_INVOICED,
    NOT_PAID,
    OTHER_CURRENCY_WITHOUT_RATE,
)

NO_LONGER_COUNTS = (NOT_INVOICED, NOT_PAID)
"""Reasons for which an order that a store holds stays there, with no revenue."""

GONE = "gone"
MOVED = "the person moved to another audience"
ERASED_PERSON = "the person was erased on request"
GIVEN_BACK = "less is kept of it than the store holds, and the person is no member there"

KEPT_RIGHT = "not due any more, and as it should be"
STAYS = "not due any more, and no write would be right"
"""Why an order that a store holds and that is due in none is listed, though nothing is written."""

# Below any amount of any currency, above the noise of floats.
_NOISE = 1e-4


@dataclass(frozen=True)
class Departure:
    """An order that leaves a store.

    ``asked``: Odoo has to be asked for it by id before it does. ``detail``: what else there is to say of it.
    """

    store_id: str
    order_id: int
    month: str
    because: str
    detail: str = ""

    @property
    def asked(self) -> bool:
        return self.because == GONE

    @property
    def lowers(self) -> bool:
        """Whether the guard of the store counts it: what only moves, or is of an erased person, is not."""
        return self.because not in (MOVED, ERASED_PERSON)


def departures(orders: pd.DataFrame, held: pd.DataFrame) -> list[Departure]:
    """Find the orders that have to leave a store, from complete tables alone.

    Args:
        orders: rows of ``store_orders``: order_id, store_id, excluded_because.
        held: what the stores hold: store_id, order_id, month.

    Returns:
        Orders that Odoo's tables do not have any more (``GONE``: to be asked for by id), that are due in
        another store, and those of erased people. For others that are not due see ``held_though_excluded``.
    """
    known = orders.set_index("order_id")[["store_id", "excluded_because"]].rename(
        columns={"store_id": "store_due"}
    )
    joined = held.join(known, on="order_id")
    found: list[Departure] = []
    row: Any
    for row in joined.itertuples():
        if not isinstance(row.excluded_because, str):
            because = GONE
        elif row.excluded_because == ERASED:
            because = ERASED_PERSON
        elif row.excluded_because == "" and row.store_due != row.store_id:
            because = MOVED
        else:
            continue
        found.append(Departure(str(row.store_id), int(row.order_id), str(row.month), because))
    return found


def held_though_excluded(orders: pd.DataFrame, held: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Find the orders that a store holds, that are due in none, and that are not to leave just for that.

    Args:
        orders: rows of ``store_orders``, with order_id, store_id, email and excluded_because at least.
        held: what the stores hold: order_id, store_id, email (of the customer whom it was sent for), list_id
            (of the store's audience).
        members: ``list_id`` and ``email`` of everybody in an audience, in whatever status but archived.

    Returns:
        The rows, once for each store that holds one, ``store_id`` and ``email`` as they are held, and
        ``is_member``: that address is in the audience. An order that is out of its own store's revenue
        (``NO_LONGER_COUNTS``) is none of these: its person is a member, whom it may be sent for again.
    """
    excluded = orders[~orders["excluded_because"].isin(["", ERASED])]
    there = held[["order_id", "store_id", "email", "list_id"]].add_prefix("held_")
    found = excluded.merge(there, left_on="order_id", right_on="held_order_id")
    own_store = found["store_id"] == found["held_store_id"].astype(object)
    found = found[~(own_store & found["excluded_because"].isin(NO_LONGER_COUNTS))]
    place = pd.MultiIndex.from_frame(found[["held_list_id", "held_email"]].astype(object))
    is_member = place.isin(pd.MultiIndex.from_frame(members[["list_id", "email"]].astype(object)))
    return found[orders.columns].assign(
        store_id=found["held_store_id"].astype(object),
        email=found["held_email"].astype(object),
        is_member=is_member,
    )


def kept_right(excluded: pd.DataFrame) -> pd.Series:
    """Say of rows of ``held_though_excluded`` whether each is kept right in the store that holds it.

    It is while its person is a member there. Without a rate, nobody knows what is kept of it.
    """
    return excluded["is_member"] & (excluded["uncounted_because"] != OTHER_CURRENCY_WITHOUT_RATE)


def orders_to_supply(
    orders: pd.DataFrame, held: pd.DataFrame, members: pd.DataFrame, stores: Collection[str]
) -> pd.DataFrame:
    """Return the orders whose products these stores (ids) need: those that are due or kept right in them.

    ``orders``, ``held`` and ``members`` as for ``held_though_excluded``.
    """
    excluded = held_though_excluded(orders, held, members)
    due, kept = orders[orders["excluded_because"] == ""], excluded[kept_right(excluded)]
    due, kept = (rows[rows["store_id"].isin(list(stores))] for rows in (due, kept))
    return pd.concat([due, kept[orders.columns]]) if len(kept) else due


def orders_to_write(
    orders: pd.DataFrame, held: pd.DataFrame, excluded: pd.DataFrame, stores: Collection[str]
) -> pd.DataFrame:
    """Return the orders that these stores (ids) should hold, or hold and should hold with no revenue.

    Args:
        orders: rows of ``store_orders``.
        held: what the stores hold: store_id, order_id.
        excluded: of ``held_though_excluded``, those that are ``kept_right``, whatever their store.
        stores: ids of the stores that can be written.

    Returns:
        The rows with ``as_held``: kept right where they are, and never to be brought there.
    """
    in_store = orders["store_id"].isin(list(stores))
    due = in_store & (orders["excluded_because"] == "")
    place = pd.MultiIndex.from_frame(orders[["order_id", "store_id"]].astype(object))
    is_held = place.isin(pd.MultiIndex.from_frame(held[["order_id", "store_id"]].astype(object)))
    worthless = in_store & orders["excluded_because"].isin(NO_LONGER_COUNTS) & is_held
    found = orders[due | worthless].assign(as_held=False)
    if excluded.empty:
        return found
    return pd.concat([found, excluded[orders.columns].assign(as_held=True)], ignore_index=True)


def not_left_alone(orders: pd.DataFrame, held: pd.DataFrame, left_alone: Collection[str]) -> pd.DataFrame:
    """Return what is held of which something may be written.

    Not what is in a store that is ``left_alone`` (ids), nor what is due in such a one, which an order enters
    only when it leaves where it is.
    """
    due_there = orders["store_id"].isin(list(left_alone)) & (orders["excluded_because"] == "")
    waiting = held["order_id"].isin(orders.loc[due_there, "order_id"])
    return held[~waiting & ~held["store_id"].isin(list(left_alone))]


def former_customers(due: pd.DataFrame, held: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Store and address to the customer that the same person is there by now, under another address."""
    joined = due[["order_id", "store_id", "email"]].merge(
        held, on="order_id", suffixes=("", "_held"), how="inner"
    )
    renamed = joined[
        (joined["store_id"] == joined["store_id_held"].astype(object))
        & (joined["email"] != joined["email_held"])
        & joined["customer_id"].notna()
    ]
    return {
        (store, email): customer
        for store, email, customer in zip(
            renamed["store_id"], renamed["email"], renamed["customer_id"], strict=True
        )
    }


def departure_of_given_back(row: Any, present: Document) -> Departure | None:
    """Say whether an order of somebody who is no member leaves its store because it was refunded.

    An order of somebody who was archived or is gone would bring them back as a contact (rule 9.1), a deletion
    brings back nobody. Without a rate, nobody knows what is kept of it: it stays.

    Args:
        row: a row (tuple) of ``held_though_excluded``.
        present: the order as the store holds it.
    """
    if row.uncounted_because == OTHER_CURRENCY_WITHOUT_RATE:
        return None
    if not is_given_back(present, kept_document(row, present.get("customer", ""))):
        return None
    rest = kept_rest(kept_document(row, ""))
    return Departure(str(row.store_id), int(row.order_id), str(row.month), GIVEN_BACK, rest)


def is_given_back(present: Document, kept: Document) -> bool:
    """Whether a store holds more of an order than is kept: of goods, shipping or tax, or it is cancelled.

    Of an order in another currency than the store holds it in, nobody knows.
    """
    if present.get("currency_code") != kept["currency_code"]:
        return False
    if "cancelled_at_foreign" in kept and "cancelled_at_foreign" not in present:
        return True
    before, after = amounts_of(present), amounts_of(kept)
    return any(before[part] - after[part] > _NOISE for part in after)


def kept_rest(kept: Document) -> str:
    """Say how much of a partly refunded order is kept, when the order is deleted from its store."""
    amounts = amounts_of(kept)
    rest = round(amounts["goods"] + amounts["shipping"], 4)
    return f"{rest:,} {kept['currency_code']} of it, without tax, are kept and in no store" if rest else ""


def gone_for_good(states: Mapping[int, str], asked: Iterable[int]) -> frozenset[int]:
    """Say which orders leave, by what Odoo answers about them by id (rule 9.6): nothing, draft or sent."""
    return frozenset(order for order in asked if states.get(order, "draft") in ("draft", "sent"))
