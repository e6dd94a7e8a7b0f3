"""What to write so that a store holds what it should: desired documents minus those that it has (RULES 9).

Steps of one thing follow each other; of several things they may go in any order. Orders that a store holds
and that are due in none any more: ``held_orders``. Orders that are not written just now: ``not_written``.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mc_pipeline.domain.store.documents import (
    Document,
    order_body,
    product_body,
    text_of,
)
from mc_pipeline.vocabulary import StoreChangeKind, StoreOperation


@dataclass(frozen=True)
class Step:
    """One request, in the ledger's words; ``after``: the document once it is done."""

    operation: StoreOperation
    after: str | None
    part: str | None = None
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Steps:
    """What a thing in a store needs: create, update or replace, why, and the requests in order."""

    operation: StoreChangeKind
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
        create = Step(StoreOperation.CREATE, after, body=order_body(order_id, wanted, restore or {}))
        return Steps(StoreChangeKind.CREATE, "the store does not hold it", after, (create,))
    if held.sent_json == after:
        return None
    present: Document = json.loads(held.sent_json or "{}")
    why = why_replaced(present, wanted)
    if why:
        create = Step(StoreOperation.CREATE, after, body=order_body(order_id, wanted, restore or {}))
        return Steps(StoreChangeKind.REPLACE, why, after, (Step(StoreOperation.DELETE, None), create))
    return _update(present, wanted)


def product_steps(product_id: str, wanted: Document, held: HeldOrder | None) -> Steps | None:
    """Decide the steps for one product; variants that are due no more stay, as orders may name them."""
    if held is None or not held.present:
        after = text_of(wanted)
        create = Step(StoreOperation.CREATE, after, body=product_body(product_id, wanted))
        return Steps(StoreChangeKind.CREATE, "the store does not hold it", after, (create,))
    document: Document = json.loads(held.sent_json or "{}")
    final = text_of({**document, **wanted, "variants": {**document["variants"], **wanted["variants"]}})
    steps, why = [], []
    if document["title"] != wanted["title"]:
        document = {**document, "title": wanted["title"]}
        steps.append(Step(StoreOperation.UPDATE, text_of(document), body={"title": wanted["title"]}))
        why.append("title")
    for name, variant in wanted["variants"].items():
        if _with_defaults(document["variants"].get(name)) != _with_defaults(variant):
            document = {**document, "variants": {**document["variants"], name: variant}}
            steps.append(Step(StoreOperation.PUT_VARIANT, text_of(document), name, {"id": name, **variant}))
            why.append(f"variant {name}")
    return Steps(StoreChangeKind.UPDATE, f"differs: {', '.join(why)}", final, tuple(steps)) if steps else None


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
        steps.append(Step(StoreOperation.UPDATE, text_of(document), body=fields))
        why += [_difference(name, present.get(name), wanted[name]) for name in differing]
    lines = dict(document["lines"])
    counts = {StoreOperation.ADD_LINE: 0, StoreOperation.CHANGE_LINE: 0, StoreOperation.REMOVE_LINE: 0}

    def line_step(operation: StoreOperation, name: str, line: Document | None) -> None:
        nonlocal document
        if line is None:
            lines.pop(name)
        else:
            lines[name] = line
        document = {**document, "lines": dict(lines)}
        body = line
        if line is not None and operation != StoreOperation.CHANGE_LINE:
            body = {"id": name, **line}
        steps.append(Step(operation, text_of(document), name, body))
        counts[operation] += 1

    for name, line in wanted["lines"].items():
        if name not in lines:
            line_step(StoreOperation.ADD_LINE, name, line)
        elif lines[name] != line:
            line_step(StoreOperation.CHANGE_LINE, name, line)
    # Last: an order has a line at any time.
    for name in sorted(lines.keys() - wanted["lines"].keys()):
        line_step(StoreOperation.REMOVE_LINE, name, None)
    words = {
        StoreOperation.ADD_LINE: "added",
        StoreOperation.CHANGE_LINE: "changed",
        StoreOperation.REMOVE_LINE: "removed",
    }
    why += [f"lines {words[operation]}: {count}" for operation, count in counts.items() if count]
    return Steps(StoreChangeKind.UPDATE, "; ".join(why), text_of(wanted), tuple(steps))


def _difference(name: str, before: Any, after: Any) -> str:
    return f"{name} {'none' if before is None else before} → {after}"


def missing_products(wanted: Document, products: Mapping[str, Collection[str]]) -> list[str]:
    """Return the products of an order's lines that the store lacks; ``products``: id to ids of variants."""
    return sorted(
        {
            line["product_id"]
            for line in wanted["lines"].values()
            if line["product_variant_id"] not in products.get(line["product_id"], ())
        }
    )
