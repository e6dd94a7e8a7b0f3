"""Which requests make a store hold what it should (RULES 9.2 to 9.6)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.store.announcements import announcement, is_announced
from mc_pipeline.domain.store.changes import Steps, missing_products, order_steps, product_steps
from mc_pipeline.domain.store.documents import (
    order_document_of,
    product_document_of,
    product_documents,
    text_of,
    without_revenue,
)
from mc_pipeline.domain.store.held_orders import (
    GONE,
    Departure,
    departures,
    gone_for_good,
    held_though_excluded,
    is_given_back,
    kept_right,
    orders_to_supply,
)
from mc_pipeline.domain.store.members import members_in_audiences
from mc_pipeline.domain.store.not_written import NotWritten, OrderInTheWay, why_not_written

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Held:
    sent_json: str | None
    present: bool = True
    attribution_json: str | None = None


def line(price: float, product: int = 1) -> dict[str, Any]:
    return {
        "product_id": f"p{product}",
        "product_variant_id": f"v{product}",
        "quantity": 1,
        "price": price,
    }


def document(prices: dict[str, float], **more: Any) -> dict[str, Any]:
    goods = sum(prices.values())
    return {
        "customer": "c-a-1",
        "currency_code": "EUR",
        "order_total": goods,
        "tax_total": 0.0,
        "shipping_total": 0.0,
        "processed_at_foreign": "2026-01-01T00:00:00+00:00",
        "lines": {name: line(price) for name, price in prices.items()},
        **more,
    }


def operations(held: dict[str, Any] | None, wanted: dict[str, Any]) -> list[str]:
    steps = order_steps("o1", wanted, None if held is None else Held(text_of(held)))
    return (
        [] if steps is None else [" ".join(filter(None, (each.operation, each.part))) for each in steps.steps]
    )


BOTH = document({"l1": 10.0, "l2": 5.0})


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        (None, BOTH, ["create"]),
        (BOTH, BOTH, []),
        (BOTH, {**BOTH, "tax_total": 1.0}, ["update"]),
        (BOTH, document({"l1": 9.0, "l2": 6.0}), ["change_line l1", "change_line l2"]),
        (BOTH, document({"l1": 10.0}), ["update", "remove_line l2"]),
        (BOTH, document({"l3": 15.0}), ["add_line l3", "remove_line l1", "remove_line l2"]),
        (BOTH, without_revenue(BOTH), ["update", "change_line l1", "change_line l2"]),
        (BOTH, {**BOTH, "cancelled_at_foreign": "2026-02-01T00:00:00+00:00"}, ["update"]),
        ({**BOTH, "cancelled_at_foreign": "2026-02-01T00:00:00+00:00"}, BOTH, ["delete", "create"]),
        (BOTH, {**BOTH, "customer": "c-a-2"}, ["delete", "create"]),
    ],
)
def test_an_order_takes_these_requests_in_this_order(held, wanted, expected):
    assert operations(held, wanted) == expected


def test_every_step_says_how_the_order_is_after_it():
    wanted = document({"l1": 9.0, "l3": 1.0})
    steps = order_steps("o1", wanted, Held(text_of(BOTH)))
    assert steps is not None
    assert steps.steps[-1].after == steps.wanted == text_of(wanted)
    assert len({step.after for step in steps.steps}) == len(steps.steps) == 4


def test_corrections_say_nothing_of_customer_status_or_attribution():
    steps = order_steps("o1", document({"l1": 9.0}), Held(text_of(BOTH)), {"campaign_id": "x"})
    assert steps is not None
    said = {name for step in steps.steps for name in step.body or ()}
    assert not said & {"customer", "financial_status", "fulfillment_status", "campaign_id", "outreach"}


def test_an_order_that_comes_back_says_what_it_was_attributed_to():
    steps = order_steps("o1", BOTH, Held(None, present=False), {"campaign_id": "x"})
    assert steps is not None
    (create,) = steps.steps
    assert create.body is not None
    assert create.body["campaign_id"] == "x"
    assert create.body["customer"] == {"id": "c-a-1"}


def test_what_mailchimp_answers_is_the_document_that_was_sent():
    answer = {
        "id": "o1",
        "customer": {"id": "c-a-1", "email_address": "ada@example.com"},
        "currency_code": "EUR",
        "order_total": 15,
        "discount_total": 0,
        "processed_at_foreign": "2026-01-01T01:00:00+01:00",
        "cancelled_at_foreign": "",
        "lines": [{"id": name, **each, "title": "x"} for name, each in BOTH["lines"].items()],
    }
    assert text_of(order_document_of(answer)) == text_of(BOTH)


ORDERS = pd.DataFrame(
    {
        "order_id": [1, 2, 3, 4, 5, 6],
        "store_id": ["a", "b", "a", None, None, "a"],
        "excluded_because": ["", "", "not_a_member", "erased", "no_audience", "not_paid"],
        "email": [f"new{number}@example.com" for number in range(1, 7)],
    }
)
HELD = pd.DataFrame(
    {
        "store_id": "a",
        "order_id": [1, 2, 3, 4, 5, 6, 7],
        "month": "2026-01",
        "list_id": "list-a",
        "email": [f"old{number}@example.com" for number in range(1, 8)],
    }
)


def test_only_orders_that_are_gone_moved_or_erased_leave():
    found = {each.order_id: each for each in departures(ORDERS, HELD)}
    assert sorted(found) == [2, 4, 7]
    assert [number for number, each in found.items() if each.asked] == [7]
    assert found[7].because == GONE


def everybody(list_id: str, word: str) -> pd.DataFrame:
    return pd.DataFrame({"list_id": list_id, "email": [f"{word}{number}@example.com" for number in range(8)]})


@pytest.mark.parametrize(
    ("members", "is_member"),
    [
        (everybody("list-a", "old"), True),
        (everybody("list-a", "new"), False),
        (everybody("list-b", "old"), False),
        (everybody("list-a", "old").iloc[:0], False),
    ],
)
def test_an_order_that_is_due_in_no_store_is_its_members_in_the_audience_of_the_store_that_holds_it(
    members: pd.DataFrame, is_member: bool
):
    found = held_though_excluded(ORDERS, HELD, members)
    assert found[["order_id", "store_id", "email", "is_member"]].values.tolist() == [
        [3, "a", "old3@example.com", is_member],
        [5, "a", "old5@example.com", is_member],
    ]


def test_an_order_that_counts_no_more_and_is_of_another_store_by_now_is_kept_right_where_it_is():
    elsewhere = ORDERS.assign(store_id="b")
    found = held_though_excluded(elsewhere, HELD, everybody("list-a", "old"))
    assert found["order_id"].tolist() == [3, 5, 6]


@pytest.mark.parametrize(
    ("is_member", "uncounted", "expected"),
    [
        (True, "", True),
        (True, "not_paid", True),
        # Without a rate, nobody knows what is kept of it.
        (True, "other_currency_without_rate", False),
        (False, "", False),
        (False, "other_currency_without_rate", False),
    ],
)
def test_an_order_is_kept_right_for_a_member_where_it_is_known_what_is_kept(is_member, uncounted, expected):
    excluded = pd.DataFrame({"is_member": [is_member], "uncounted_because": [uncounted]})
    assert kept_right(excluded).tolist() == [expected]


def test_a_store_needs_the_products_of_orders_that_are_due_or_kept_right_in_it_and_of_no_others():
    uncounted = ["", "", "", "", "other_currency_without_rate", "not_paid"]
    orders = ORDERS.assign(uncounted_because=uncounted)

    def supplied(stores: list[str]) -> list[int]:
        found = orders_to_supply(orders, HELD, everybody("list-a", "old"), stores)
        assert [*found] == [*orders]
        return found["order_id"].tolist()

    assert supplied(["a"]) == [1, 3], "5 has no rate, 6 counts no more"
    assert supplied(["b"]) == [2], "what store a holds is kept right there"
    assert supplied(["a", "b"]) == [1, 2, 3]
    assert supplied([]) == []


@pytest.mark.parametrize(
    ("because", "lowers"),
    [
        ("gone", True),
        ("less is kept of it than the store holds, and the person is no member there", True),
        ("the person moved to another audience", False),
        ("the person was erased on request", False),
    ],
)
def test_an_order_that_only_moves_or_is_of_an_erased_person_is_not_lowered(because, lowers):
    assert Departure("a", 1, "2026-01", because).lowers is lowers


@dataclass(frozen=True)
class Refused:
    """An order of a store that Mailchimp refused; tried again after ``until``."""

    until: datetime
    refused_detail: str | None = "no lines"

    def was_refused(self, wanted: str) -> bool:
        return wanted == "refused"

    def is_refused(self, wanted: str, now: datetime) -> bool:
        return self.was_refused(wanted) and self.until > now


ALL_IN_THE_WAY: dict[str, Any] = {
    "absent_because": "archived",
    "is_open": True,
    "waits_because": "waits for approval",
    "held": Refused(NOW + timedelta(days=1)),
    "lacking": ["p1", "p2"],
    "elsewhere": ["b", "c"],
    "incomplete_because": "a page is missing",
}
FIRST_REASONS = [
    NotWritten("held_back", "archived"),
    NotWritten("held_back", "what became of an earlier write to it is not known yet"),
    NotWritten("held_back", "waits for approval"),
    NotWritten("rejected", "refused before, and unchanged since: no lines"),
    NotWritten("held_back", "the store lacks products of it: p1, p2"),
    NotWritten("held_back", "store b, c holds it still"),
    NotWritten("held_back", "what was read is not complete: a page is missing"),
    None,
]


@pytest.mark.parametrize(("without", "expected"), [*enumerate(FIRST_REASONS)])
def test_an_order_is_not_written_for_the_first_reason_that_applies(without: int, expected: NotWritten | None):
    way = OrderInTheWay(**dict([*ALL_IN_THE_WAY.items()][without:]))
    assert why_not_written(Steps("replace", "", "refused", ()), way, NOW) == expected


@pytest.mark.parametrize(
    ("operation", "wanted", "way", "is_written"),
    [
        # What would be deleted first needs whole tables, what is only corrected or new does not.
        ("update", "new", {"incomplete_because": "x"}, True),
        ("create", "new", {"incomplete_because": "x"}, True),
        ("replace", "new", {"incomplete_because": "x"}, False),
        ("create", "new", {"elsewhere": ["b"], "leaves_elsewhere": True}, True),
        ("create", "new", {"held": Refused(NOW + timedelta(days=1))}, True),
        ("create", "refused", {"held": Refused(NOW - timedelta(days=1))}, True),
        # It would leave the other store for a mere attempt.
        (
            "create",
            "refused",
            {"held": Refused(NOW - timedelta(days=1)), "elsewhere": ["b"], "leaves_elsewhere": True},
            False,
        ),
    ],
)
def test_what_keeps_one_write_back_lets_another_through(operation, wanted, way, is_written):
    found = why_not_written(Steps(operation, "", wanted, ()), OrderInTheWay(**way), NOW)
    assert (found is None) is is_written


@pytest.mark.parametrize(
    ("row", "is_member"),
    [
        ({}, True),
        ({"last_status": "unsubscribed"}, True),
        ({"last_status": "cleaned"}, True),
        ({"last_status": "archived"}, False),
        ({"last_status": None}, False),
        ({"absent_reads": 1}, False),
        ({"vanished": True}, False),
        # Who has an address that its owner left is somebody else.
        ({"email": "left@example.com"}, False),
        ({"email": "left@example.com", "list_id": "list-b"}, True),
    ],
)
def test_members_are_in_the_audience_in_whatever_status_but_archived(row: dict[str, Any], is_member: bool):
    member = {
        "list_id": "list-a",
        "email": "ada@example.com",
        "last_status": "transactional",
        "absent_reads": 0,
        "vanished": False,
    } | row
    found = members_in_audiences(pd.DataFrame([member]), {("list-a", "left@example.com")})
    assert found.values.tolist() == ([[member["list_id"], member["email"]]] if is_member else [])


CANCELLED = {**without_revenue(BOTH), "cancelled_at_foreign": "2026-02-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("held", "kept", "given_back"),
    [
        (BOTH, BOTH, False),
        (BOTH, document({"l9": 15.0}), False),
        (BOTH, document({"l1": 15.0, "l2": 5.0}), False),
        (BOTH, document({"l1": 10.0, "l2": 4.99}), True),
        (BOTH, document({"l1": 10.0 + 1e-9, "l2": 5.0 - 2e-9}), False),
        (BOTH, without_revenue(BOTH), True),
        (BOTH, CANCELLED, True),
        (without_revenue(BOTH), CANCELLED, True),
        (CANCELLED, CANCELLED, False),
        (CANCELLED, BOTH, False),
        # Goods became shipping, or the tax alone was given back: Mailchimp counts too much of one.
        (BOTH, {**BOTH, "shipping_total": 1.0}, True),
        ({**BOTH, "tax_total": 1.0, "order_total": 16.0}, BOTH, True),
        (BOTH, {**document({"l1": 1.0}), "currency_code": "USD"}, False),
        ({}, BOTH, False),
    ],
)
def test_an_order_was_refunded_when_the_store_holds_more_of_any_part_than_is_kept(held, kept, given_back):
    assert is_given_back(held, kept) is given_back


@pytest.mark.parametrize(
    ("state", "leaves"), [(None, True), ("draft", True), ("sent", True), ("sale", False), ("cancel", False)]
)
def test_an_order_leaves_by_what_odoo_says_of_it_by_id(state, leaves):
    assert gone_for_good({} if state is None else {7: state}, [7]) == (frozenset({7} if leaves else ()))


@pytest.mark.parametrize(("hours", "announced"), [(1, True), (47, True), (48, False), (1000, False)])
def test_only_new_orders_are_announced(hours, announced):
    assert is_announced(BOTH, NOW - timedelta(hours=hours), NOW) is announced
    cancelled = {**BOTH, "cancelled_at_foreign": "2026-02-01T00:00:00+00:00"}
    assert is_announced(cancelled, NOW, NOW) is False


@pytest.mark.parametrize(
    ("known", "announces", "said"),
    [
        ([], True, {"financial_status": "pending"}),
        ([], False, {}),
        ([Held(None, present=False)], True, {"financial_status": "pending"}),
        ([Held(None, present=True)], True, {}),
        ([Held("{}", present=False)], True, {}),
        ([Held(None, present=False, attribution_json="{}")], True, {}),
    ],
)
def test_an_order_is_announced_once_and_only_where_the_store_asks_for_it(known, announces, said):
    assert announcement(BOTH, NOW, NOW, known=known, announces=announces) == said
    assert announcement(BOTH, NOW - timedelta(days=2), NOW, known=known, announces=announces) == {}


def test_an_order_waits_for_products_and_variants_that_the_store_lacks():
    assert missing_products(BOTH, {"p1": {"v1"}}) == []
    assert missing_products(BOTH, {"p1": {"v2"}}) == ["p1"]
    assert missing_products(BOTH, {}) == ["p1"]


def products() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": [1, 2, 3],
            "product_template_id": [10, 10, 30],
            "name": ["Chair", "Chair", "Table"],
            "variant_name": ["red", None, None],
            "default_code": ["C1", None, None],
            "list_price": [10.0, None, 5.0],
        }
    )


def test_products_come_with_their_variants_and_stand_ins_have_a_title():
    wanted = product_documents(
        products(),
        {
            ("p10", "v1"),
            ("free-text", "free-text"),
            ("deleted-7", "deleted-7"),
            ("text-3f2a9c7711", "text-3f2a9c7711"),
        },
    )
    assert wanted == {
        "p10": {
            "title": "Chair",
            "variants": {"v1": {"title": "red", "sku": "C1", "price": 10.0}, "v2": {"title": "Chair"}},
        },
        "free-text": {"title": "Free text", "variants": {"free-text": {"title": "Free text"}}},
        "text-3f2a9c7711": {
            "title": "Without a product (3f2a9c)",
            "variants": {"text-3f2a9c7711": {"title": "Without a product (3f2a9c)"}},
        },
        "deleted-7": {
            "title": "Deleted product 7",
            "variants": {"deleted-7": {"title": "Deleted product 7"}},
        },
    }
    answer = {"title": "Chair", "variants": [{"id": "v2", "title": "Chair", "sku": None}]}
    assert product_document_of(answer) == {"title": "Chair", "variants": {"v2": {"title": "Chair"}}}


def test_a_product_changes_title_and_variants_apart_and_loses_none():
    held = {"title": "Seat", "variants": {"v1": {"title": "red"}, "v9": {"title": "old"}}}
    wanted = {"title": "Chair", "variants": {"v1": {"title": "red"}, "v2": {"title": "blue"}}}
    steps = product_steps("p10", wanted, Held(text_of(held)))
    assert steps is not None
    assert [(step.operation, step.part) for step in steps.steps] == [("update", None), ("put_variant", "v2")]
    assert steps.steps[-1].after == text_of(
        {**wanted, "variants": {**wanted["variants"], **held["variants"]}}
    )
    assert product_steps("p10", wanted, Held(steps.wanted)) is None
