"""What to write so that a store holds what it should: desired documents minus those that it has (RULES 9).

Steps of one thing follow each other; of several things they may go in any order.

An order that a store holds may become one that no store should hold: its person is no contact any more,
changed audience, was archived. Mailchimp still counts it as revenue, so it has to stay correct:

- While the person whom it was sent for is in the store's audience, in any status but archived, it is kept
  right where it is, like every other order (``held_though_excluded``, ``is_member``).
- Otherwise to write the order could bring that person back. It stays as it is, unless it was refunded
  (``is_given_back``): then it is deleted, which brings nobody back. Once the person is a member and the order
  is due again, it returns like every order that left.
- Orders that are gone from Odoo, due in another store, or of erased people leave (``departures``).
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import pandas as pd

from mc_pipeline.domain.store.documents import (
    Document,
    amounts_of,
    order_body,
    product_body,
    text_of,
)
from mc_pipeline.domain.store.orders import ERASED, NOT_INVOICED, NOT_PAID

NO_LONGER_COUNTS = (NOT_INVOICED, NOT_PAID)
"""Reasons for which an order that a store holds stays there, with no revenue."""

NOTIFIED_WITHIN = timedelta(days=2)
"""Only orders younger than this are ever announced to their customers (rule 9.2)."""

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
class Step:
    """One request, in the ledger's words; ``after``: the document once it is done."""

    operation: str
    after: str | None
    part: str | None = None
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Steps:
    """What a thing in a store needs: create, update or replace, why, and the requests in order."""

    operation: str
    because: str
    wanted: str
    steps: tuple[Step, ...]


class HeldOrder(Protocol):
    """An order as the ledger knows it."""

    @property
    def present(self) -> bool: ...
    @property
    def sent_json(self) -> str | None: ...


def order_steps(
    order_id: str, wanted: Document, held: HeldOrder | None, restore: Mapping[str, Any] | None = None
) -> Steps | None:
    """Decide the steps for one order; None when the store holds it as it should.

    ``restore``: what a creation says besides the document.
    """
    after = text_of(wanted)
    if held is None or not held.present:
        create = Step("create", after, body=order_body(order_id, wanted, restore or {}))
        return Steps("create", "the store does not hold it", after, (create,))
    if held.sent_json == after:
        return None
    present: Document = json.loads(held.sent_json or "{}")
    why = why_replaced(present, wanted)
    if why:
        create = Step("create", after, body=order_body(order_id, wanted, restore or {}))
        return Steps("replace", why, after, (Step("delete", None), create))
    return _update(present, wanted)


def product_steps(product_id: str, wanted: Document, held: HeldOrder | None) -> Steps | None:
    """Decide the steps for one product; variants that are due no more stay, as orders may name them."""
    if held is None or not held.present:
        after = text_of(wanted)
        create = Step("create", after, body=product_body(product_id, wanted))
        return Steps("create", "the store does not hold it", after, (create,))
    document: Document = json.loads(held.sent_json or "{}")
    final = text_of({**document, **wanted, "variants": {**document["variants"], **wanted["variants"]}})
    steps, why = [], []
    if document["title"] != wanted["title"]:
        document = {**document, "title": wanted["title"]}
        steps.append(Step("update", text_of(document), body={"title": wanted["title"]}))
        why.append("title")
    for name, variant in wanted["variants"].items():
        if _with_defaults(document["variants"].get(name)) != _with_defaults(variant):
            document = {**document, "variants": {**document["variants"], name: variant}}
            steps.append(Step("put_variant", text_of(document), name, {"id": name, **variant}))
            why.append(f"variant {name}")
    return Steps("update", f"differs: {', '.join(why)}", final, tuple(steps)) if steps else None


def _with_defaults(variant: Document | None) -> Document | None:
    """A variant as Mailchimp answers it: what was not sent is empty, or 0."""
    return None if variant is None else {"sku": "", "price": 0.0, **variant}


def why_replaced(present: Document, wanted: Document) -> str:
    """Why an order has to be deleted and created again; empty: corrections are enough."""
    if present.get("customer") != wanted["customer"]:
        return "it belongs to another customer of the store"
    if "cancelled_at_foreign" in present and "cancelled_at_foreign" not in wanted:
        return "it is no longer cancelled"
    return ""


def _update(present: Document, wanted: Document) -> Steps:
    steps: list[Step] = []
    why: list[str] = []
    fields = {name: value for name, value in wanted.items() if name not in ("customer", "lines")}
    document = present
    differing = [name for name, value in fields.items() if present.get(name) != value]
    if differing:
        document = {**document, **fields}
        steps.append(Step("update", text_of(document), body=fields))
        why += [_difference(name, present.get(name), wanted[name]) for name in differing]
    lines = dict(document["lines"])
    counts = {"add_line": 0, "change_line": 0, "remove_line": 0}

    def line_step(operation: str, name: str, line: Document | None) -> None:
        nonlocal document
        if line is None:
            lines.pop(name)
        else:
            lines[name] = line
        document = {**document, "lines": dict(lines)}
        body = None if line is None else line if operation == "change_line" else {"id": name, **line}
        steps.append(Step(operation, text_of(document), name, body))
        counts[operation] += 1

    for name, line in wanted["lines"].items():
        if name not in lines:
            line_step("add_line", name, line)
        elif lines[name] != line:
            line_step("change_line", name, line)
    # Last: an order has a line at any time.
    for name in sorted(lines.keys() - wanted["lines"].keys()):
        line_step("remove_line", name, None)
    words = {"add_line": "added", "change_line": "changed", "remove_line": "removed"}
    why += [f"lines {words[operation]}: {count}" for operation, count in counts.items() if count]
    return Steps("update", "; ".join(why), text_of(wanted), tuple(steps))


def _difference(name: str, before: Any, after: Any) -> str:
    return f"{name} {'none' if before is None else before} → {after}"


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


def missing_products(wanted: Document, products: Mapping[str, Collection[str]]) -> list[str]:
    """Return the products of an order's lines that the store lacks; ``products``: id to ids of variants."""
    return sorted(
        {
            line["product_id"]
            for line in wanted["lines"].values()
            if line["product_variant_id"] not in products.get(line["product_id"], ())
        }
    )


def is_announced(wanted: Document, processed_at: datetime, now: datetime) -> bool:
    """Whether a new order may be announced to its customer, where the store's settings ask for it."""
    return "cancelled_at_foreign" not in wanted and now - processed_at < NOTIFIED_WITHIN
