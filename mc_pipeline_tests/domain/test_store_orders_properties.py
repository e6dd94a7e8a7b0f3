"""Whatever happens to orders and their documents, a store holds what the moves left of them, to the cent."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline_tests.domain.goods_ledger import Amount
from mc_pipeline_tests.domain.sale_rows import CREDIT, INVOICE, Row, document, line, sale
from mc_pipeline_tests.domain.test_store_orders import store_rows

MONTHS = ("2024-05", "2024-06", "2024-07")
RATES = (None, None, 0.8, 1.25, 0.9)
"""Of order currency per euro; None: the order is in euros."""
ADVANCE, TYPED, TYPED_BELOW_ZERO = "advance", "typed", "typed below zero"
CENTS = st.integers(0, 30)
ACTS = "edit invoice invoice credit typed unpost advance joint cancel move".split()
TURNED_ACTS = "turned turned return typed_below_zero".split()
PARTS = ("goods", "more goods", "discount", "shipping")


@dataclass(frozen=True)
class Said:
    """One line of a document: for which order and part of it, with which amounts in cents."""

    order: int
    part: str
    untaxed: int
    tax: int


@dataclass
class Document:
    """An invoice or credit note; ``reverses`` is the position of another in the story."""

    kind: str
    lines: list[Said]
    reverses: int | None = None
    posted: bool = True


@dataclass
class Order:
    """An order as it is now, and the edits and documents of it in the order of time."""

    id: int
    month: str
    rate: float | None
    cancelled: bool = False
    now: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Story:
    """Some orders of one customer, and everything that happened, in the order of time.

    ``turns``: documents hold lines below zero as well, and every line of an order has an amount.
    """

    turns: bool = False
    orders: list[Order] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    moves: list[Any] = field(default_factory=list)
    """An edit of an order's part (order, part, untaxed, tax), or the position of a document."""


def sign_of(part: str) -> int:
    return -1 if part in ("discount", TYPED_BELOW_ZERO) else 1


@st.composite
def stories(draw: st.DrawFn) -> Story:
    # Of a line of which nothing is ordered the documents themselves say which sign it has, so none is turned.
    story = Story(turns=draw(st.booleans()))
    for number in range(draw(st.integers(4, 8))):
        story.orders.append(Order(number + 1, draw(st.sampled_from(MONTHS)), draw(st.sampled_from(RATES))))
        for part in PARTS[: draw(st.integers(1, 4))]:
            _edit(draw, story, number, part)
    for _ in range(draw(st.integers(10, 50))):
        number = draw(st.integers(0, len(story.orders) - 1))
        order = story.orders[number]
        match draw(st.sampled_from([*ACTS, *(TURNED_ACTS if story.turns else ())])):
            case "edit":
                _edit(draw, story, number, draw(st.sampled_from(sorted(order.now))))
            case "invoice":
                lines = _lines(draw, story, number)
                if draw(st.booleans()):
                    lines.append(Said(number, TYPED, draw(CENTS), 0))
                _add(story, Document(INVOICE, lines))
            case "credit":
                _add(story, Document(CREDIT, _lines(draw, story, number)))
            case "typed" if story.documents:
                reversed_one = draw(st.integers(0, len(story.documents) - 1))
                lines = [Said(number, TYPED, draw(CENTS), draw(CENTS))]
                _add(story, Document(CREDIT, lines, reverses=reversed_one))
            case "turned":
                # A down payment larger than the delivery: the goods stand in a credit note, below zero.
                kind = draw(st.sampled_from([INVOICE, CREDIT]))
                _add(story, Document(kind, [_turned(each) for each in _lines(draw, story, number)]))
            case "return":
                lines = _lines(draw, story, number)
                _add(
                    story,
                    Document(INVOICE, [*lines, _turned(draw(st.sampled_from(_lines(draw, story, number))))]),
                )
            case "typed_below_zero":
                lines = [*_lines(draw, story, number), Said(number, TYPED, -draw(CENTS), 0)]
                _add(story, Document(INVOICE, lines))
            case "unpost" if story.documents:
                draw(st.sampled_from(story.documents)).posted = False
            case "advance":
                kind = draw(st.sampled_from([INVOICE, CREDIT]))
                _add(story, Document(kind, [Said(number, ADVANCE, draw(CENTS), 0)]))
            case "joint":
                other = (number + 1) % len(story.orders)
                if order.rate == story.orders[other].rate:
                    _add(story, Document(INVOICE, _lines(draw, story, number) + _lines(draw, story, other)))
            case "cancel":
                order.cancelled = not order.cancelled
            case "move":
                order.month = draw(st.sampled_from(MONTHS))
    return story


def _edit(draw: st.DrawFn, story: Story, number: int, part: str) -> None:
    cents = CENTS.filter(bool) if story.turns else CENTS
    amounts = sign_of(part) * draw(cents), sign_of(part) * draw(cents)
    story.orders[number].now[part] = amounts
    story.moves.append((number, part, *amounts))


def _lines(draw: st.DrawFn, story: Story, number: int) -> list[Said]:
    """Lines for some parts of an order: often all that it says, else any amounts."""
    order = story.orders[number]
    parts = draw(st.lists(st.sampled_from(sorted(order.now)), min_size=1, max_size=3))
    whole = draw(st.booleans())
    return [
        Said(number, part, *order.now[part])
        if whole
        else Said(number, part, sign_of(part) * draw(CENTS), sign_of(part) * draw(CENTS))
        for part in parts
    ]


def _turned(said: Said) -> Said:
    return Said(said.order, said.part, -said.untaxed, -said.tax)


def _add(story: Story, added: Document) -> None:
    story.moves.append(len(story.documents))
    story.documents.append(added)


# what the moves leave


def left_of(story: Story) -> list[dict[str, dict[str, int]]]:
    """What is kept of each order's parts, in cents of its currency: by part, ``untaxed`` and ``tax``."""
    ledgers: list[dict[tuple[str, str], Amount]] = [
        {
            (part, amount): Amount(sign_of(part))
            for part in (*PARTS, TYPED, TYPED_BELOW_ZERO)
            for amount in ("untaxed", "tax")
        }
        for _ in story.orders
    ]
    for move in story.moves:
        if isinstance(move, tuple):
            number, part, untaxed, tax = move
            ledgers[number][part, "untaxed"].order(untaxed)
            ledgers[number][part, "tax"].order(tax)
            continue
        done = story.documents[move]
        if not done.posted:
            continue
        held: Counter[tuple[int, str, str]] = Counter()
        for said in done.lines:
            counts_to = _counts_to(story, done, said)
            if counts_to is None or said.part == ADVANCE:
                continue
            part = TYPED_BELOW_ZERO if said.part == TYPED and said.untaxed < 0 else said.part
            held[counts_to, part, "untaxed"] += said.untaxed
            held[counts_to, part, "tax"] += said.tax
        for (counts_to, part, amount), value in held.items():
            piece = ledgers[counts_to][part, amount]
            sells = (sign_of(part) * value > 0) == (done.kind == INVOICE)
            (piece.bill if sells else piece.give_back)(sign_of(part) * abs(value))
    return [
        {
            part: {
                amount: 0 if order.cancelled else ledger[part, amount].kept for amount in ("untaxed", "tax")
            }
            for part in (*PARTS, TYPED, TYPED_BELOW_ZERO)
        }
        for order, ledger in zip(story.orders, ledgers, strict=True)
    ]


def _counts_to(story: Story, done: Document, said: Said) -> int | None:
    """The order that a line counts to; a typed one only if its invoice is posted and of one order alone."""
    if said.part != TYPED:
        return said.order
    if done.kind == INVOICE:
        return said.order
    assert done.reverses is not None
    credited = story.documents[done.reverses]
    tied = {each for each in credited.lines if each.part != TYPED}
    if not credited.posted:
        return None
    if not tied:
        # A credit note of a credit note without ties belongs where that one belongs.
        return _counts_to(story, credited, credited.lines[0])
    if len({each.order for each in tied}) > 1 or all(each.part == ADVANCE for each in tied):
        return None
    return next(iter(tied)).order


def in_euros(cents: int, rate: float | None) -> int:
    if rate is None:
        return cents
    return int((Decimal(cents) / Decimal(str(rate))).quantize(Decimal(1), ROUND_HALF_UP))


# the same as Odoo's tables hold it


def line_id(order: int, part: str) -> int:
    return (order + 1) * 10 + (9 if part == ADVANCE else PARTS.index(part))


def sent_to_the_store(story: Story) -> Any:
    orders, lines = [], []
    for number, order in enumerate(story.orders):
        own = [
            line(
                line_id(number, part),
                order.id,
                untaxed / 100,
                tax / 100,
                is_delivery=part == "shipping",
                quantity=3.0 if part == "more goods" else 1.0,
            )
            for part, (untaxed, tax) in order.now.items()
        ]
        advance = line(line_id(number, ADVANCE), order.id, 0.0, is_downpayment=True, quantity=0.0)
        untaxed = sum(amounts[0] for amounts in order.now.values())
        values: Row = {
            "month": order.month,
            "state": "cancel" if order.cancelled else "sale",
            "currency": currency(order),
            "currency_rate": order.rate or 1.0,
            "amount_untaxed_company": in_euros(untaxed, order.rate) / 100,
        }
        orders.append(sale(order.id, *own, **values))
        lines += [*own, advance]
    documents = [
        document(
            position + 1,
            each.kind,
            *(
                (
                    [] if said.part == TYPED else [line_id(said.order, said.part)],
                    said.untaxed / 100,
                    said.tax / 100,
                )
                for said in each.lines
            ),
            currency=currency(story.orders[_settled_in(story, each)]),
            reversed_entry_id=None if each.reverses is None else each.reverses + 1,
        )
        for position, each in enumerate(story.documents)
        if each.posted
    ]
    # Of somebody who never really ordered, no store holds an order.
    kept_by_all_means = line(990, 99, 1.0)
    orders.append(sale(99, kept_by_all_means, month="2024-04"))
    held = [order.id for order in story.orders]
    return store_rows(orders, [*lines, kept_by_all_means], *documents, held_orders=held)


def currency(order: Order) -> str:
    return "EUR" if order.rate is None else f"X{order.rate}"


def _settled_in(story: Story, each: Document) -> int:
    """The order whose currency a document is in: a typed credit note is in that of what it reverses."""
    while each.reverses is not None:
        each = story.documents[each.reverses]
    return each.lines[0].order


@settings(max_examples=20)
@given(stories())
def test_a_store_holds_what_the_moves_left_and_never_less_than_nothing(story: Story):
    rows = sent_to_the_store(story)
    found: dict[str, int] = defaultdict(int)
    expected: dict[str, int] = defaultdict(int)
    for order, left in zip(story.orders, left_of(story), strict=True):
        row = rows.loc[order.id]
        assert row["excluded_because"] == ""
        goods, shipping, tax, total = (
            round(row[f"{name}_total"] * 100) for name in ("goods", "shipping", "tax", "order")
        )
        kept = sum(part["untaxed"] for part in left.values())
        kept_tax = in_euros(sum(part["tax"] for part in left.values()), order.rate)
        assert round(row["kept_untaxed_company"] * 100) == in_euros(kept, order.rate)
        assert goods + shipping == max(0, in_euros(kept, order.rate))
        assert tax == max(0, kept_tax)
        assert total == goods + shipping + tax
        of_shipping = in_euros(left["shipping"]["untaxed"], order.rate)
        if 0 <= of_shipping <= in_euros(kept, order.rate):
            assert shipping == of_shipping
        lines = json.loads(row["lines_json"])
        assert sum(round(each["price"] * 100) * each["quantity"] for each in lines) == goods
        assert lines
        assert min(goods, shipping, *(each["price"] for each in lines)) >= 0
        assert row["below_zero"] == (
            kept < 0 or kept_tax < 0 or of_shipping < 0 or kept < left["shipping"]["untaxed"]
        )
        found[row["month"]] += total
        expected[order.month] += max(0, in_euros(kept, order.rate)) + max(0, kept_tax)
    assert found == expected
