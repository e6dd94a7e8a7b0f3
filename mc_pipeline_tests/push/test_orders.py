"""Orders in a store over their life: created, corrected, given back, cancelled, moved, deleted."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.store.held_orders import GIVEN_BACK, KEPT_RIGHT, STAYS, not_left_alone
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.push.store_desk import RETAIL, WHOLESALE, Order, StoreDesk, products

LOST = "when it left the store, Mailchimp attributed it to campaign campaign7, which is never sent"


@pytest.fixture
def desk(store_desk: StoreDesk) -> StoreDesk:
    return store_desk


def loaded(desk: StoreDesk, count: int = 3) -> list[Order]:
    """A store with orders of two people, its first load over; the journal starts empty."""
    orders = [
        Order(number, email=("ada", "bob")[number % 2] + "@example.com") for number in range(1, count + 1)
    ]
    push = desk.push(orders)
    assert set(push.rows["outcome"]) == {"applied"}
    assert desk.held() == desk.should_hold(orders)
    desk.mailchimp.journal.clear()
    return orders


def check_nothing_is_left(desk: StoreDesk, orders: list[Order]) -> None:
    """A further push finds nothing to do."""
    desk.mailchimp.journal.clear()
    assert desk.push(orders).rows.empty
    assert desk.writes() == []


def forget_the_ledger(desk: StoreDesk) -> None:
    """The ledger is lost; a person approves both audiences anew."""
    for file in desk.folder.glob("ledger.db*"):
        file.unlink()
    desk.open_audiences()


def test_a_first_load_makes_store_customers_products_and_orders_in_this_order(desk: StoreDesk):
    orders = [Order(number, month=f"2026-0{number % 3 + 1}") for number in range(1, 31)]
    push = desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    assert push.months[["month", "orders", "done", "failed"]].values.tolist() == [
        ["2026-01", 10, 10, 0], ["2026-02", 10, 10, 0], ["2026-03", 10, 10, 0],
    ]  # fmt: skip
    made = desk.mailchimp.journal.matching("POST", "/ecommerce/stores")
    assert made[0].body["is_syncing"] is True
    assert made[0].body["list_id"] == "retail1"
    kinds = [entry.path.rpartition("/")[2] for entry in made[1:]]
    assert kinds == ["products"] * 2 + ["customers"] + ["orders"] * 30
    assert desk.writes()[-1].body == {"is_syncing": False}
    assert desk.mailchimp.statuses("retail1") == dict.fromkeys(
        ["ada@example.com", "bob@example.com", "eve@example.com"], "subscribed"
    )
    assert desk.mailchimp.mails == []


def test_a_quiet_push_writes_nothing(desk: StoreDesk):
    orders = loaded(desk)
    push = desk.push(orders)
    assert push.rows.empty
    assert desk.writes() == []


def test_one_changed_order_is_one_patch_and_its_changed_lines(desk: StoreDesk):
    first, *rest = loaded(desk, 30)
    changed = replace(first, prices={1: 8.0, 2: 5.0})
    push = desk.push([changed, *rest])
    assert desk.written() == ["PATCH acme-retail/orders/o1", "PATCH acme-retail/orders/o1/lines/l101"]
    assert desk.held() == desk.should_hold([changed, *rest])
    (row,) = push.rows.to_dict("records")
    assert (row["operation"], row["outcome"]) == ("update", "applied")
    assert row["because"] == "order_total 16.5 → 14.3; tax_total 1.5 → 1.3; lines changed: 1"


def test_many_changed_orders_go_in_batches(desk: StoreDesk):
    orders = [replace(order, prices={1: 1.0, 3: 2.0}) for order in loaded(desk, 20)]
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    # The new products, one by one; then totals, changed lines, new lines and surplus lines.
    assert desk.written() == ["POST acme-retail/products", *["POST "] * 4]


def test_a_full_refund_keeps_the_lines_at_price_zero(desk: StoreDesk):
    first, *rest = loaded(desk)
    refunded = replace(first, prices={1: 0.0, 2: 0.0})
    desk.push([refunded, *rest])
    assert desk.held()["o1"] == (0.0, 0.0, {"l101": 0.0, "l102": 0.0}, False)


def test_a_cancelled_order_stays_with_nothing_and_comes_back_as_a_new_one(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.push([replace(first, cancelled=True), *rest])
    assert desk.held()["o1"] == (0.0, 0.0, {"l101": 0.0, "l102": 0.0}, True)
    desk.mailchimp.state.stores["acme-retail"].orders["o1"]["campaign_id"] = "campaign7"
    desk.mailchimp.journal.clear()
    push = desk.push([first, *rest])
    assert desk.written() == ["DELETE acme-retail/orders/o1", "POST acme-retail/orders"]
    assert desk.held() == desk.should_hold([first, *rest])
    assert push.rows["operation"].tolist() == ["replace"]
    assert push.rows["detail"].tolist() == [LOST]
    assert desk.attributed() == {}


def test_an_order_that_died_between_leaving_and_coming_back_keeps_what_it_lost(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.push([replace(first, cancelled=True), *rest])
    desk.mailchimp.state.stores["acme-retail"].orders["o1"]["campaign_id"] = "campaign7"
    desk.mailchimp.faults.add(Fault("json_500", "POST", "/orders$", times=None))
    push = desk.push([first, *rest])
    assert push.rows["outcome"].tolist() == ["unknown"]
    desk.mailchimp.faults.clear()
    desk.push([first, *rest])
    assert desk.held() == desk.should_hold([first, *rest])
    assert desk.attributed() == {}
    assert desk.lost_attributions() == {1: {"campaign_id": "campaign7"}}


def test_a_new_address_is_the_persons_next_customer_and_the_old_one_leaves(desk: StoreDesk):
    orders = loaded(desk)
    customers = desk.mailchimp.state.stores["acme-retail"].customers
    before = {each.email_address: identity for identity, each in customers.items()}
    renamed = [
        replace(order, email="eve@example.com") if order.email == "ada@example.com" else order
        for order in orders
    ]
    push = desk.push(renamed)
    assert set(push.rows["operation"]) == {"replace"}
    after = {each.email_address: identity for identity, each in customers.items()}
    assert sorted(after) == ["bob@example.com", "eve@example.com"]
    assert after["eve@example.com"] == before["ada@example.com"][:-1] + "2"
    assert desk.held() == desk.should_hold(renamed)
    assert desk.push(renamed).rows.empty


def test_an_order_leaves_the_old_store_before_it_enters_the_new_one(desk: StoreDesk):
    first, *rest = loaded(desk)
    moved = replace(first, store=WHOLESALE)
    desk.push([moved, *rest])
    orders_written = [each for each in desk.written() if "/orders" in each]
    assert orders_written == ["DELETE acme-retail/orders/o1", "POST acme-wholesale/orders"]
    assert desk.held(WHOLESALE) == desk.should_hold([moved], WHOLESALE)
    assert desk.held() == desk.should_hold(rest)
    desk.mailchimp.journal.clear()
    assert desk.push([moved, *rest]).rows.empty
    assert desk.writes() == []


@pytest.mark.parametrize("state", [None, "draft", "sent"])
def test_an_order_that_odoo_has_no_more_or_not_confirmed_leaves(desk: StoreDesk, state: str | None):
    first, *rest = loaded(desk)
    desk.states = {} if state is None else {1: state}
    desk.push(rest)
    assert desk.written() == ["DELETE acme-retail/orders/o1"]
    assert desk.held() == desk.should_hold(rest)
    desk.push([first, *rest])
    assert desk.held() == desk.should_hold([first, *rest])


def test_an_order_that_odoo_still_has_stays_although_the_table_lacks_it(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.states = {1: "sale"}
    push = desk.push(rest)
    assert push.rows[["operation", "outcome"]].values.tolist() == [["delete", "held_back"]]
    assert desk.held() == desk.should_hold([first, *rest])
    assert desk.writes() == []


def test_nothing_leaves_or_is_replaced_on_the_word_of_an_incomplete_read(desk: StoreDesk):
    first, second, third = loaded(desk)
    desk.complete = False
    moved = replace(second, store=WHOLESALE)
    renamed = replace(third, email="eve@example.com")
    push = desk.push([moved, renamed])
    assert set(push.rows["outcome"]) == {"held_back"}
    assert desk.held() == desk.should_hold([first, second, third])
    assert desk.held(WHOLESALE) == {}


def test_the_orders_of_an_erased_person_leave_with_the_customer(desk: StoreDesk):
    orders = loaded(desk)
    kept = [order for order in orders if order.email == "bob@example.com"]
    erased = [replace(order, excluded="erased") for order in orders if order not in kept]
    desk.push([*kept, *erased])
    store = desk.mailchimp.state.stores["acme-retail"]
    assert desk.held() == desk.should_hold(kept)
    assert [each.email_address for each in store.customers.values()] == ["bob@example.com"]


def archive(desk: StoreDesk, email: str) -> None:
    """Somebody archives a member in Mailchimp; the journal starts empty."""
    with desk.client() as client:
        client.lists.delete_list_member("retail1", email)
    desk.mailchimp.journal.clear()


@pytest.mark.parametrize("prices", [{1: 10.0, 2: 5.0}, {1: 30.0, 2: 5.0}])
def test_an_order_of_somebody_who_was_archived_stays_when_no_less_is_kept(
    desk: StoreDesk, prices: dict[int, float]
):
    first, *rest = loaded(desk)
    archive(desk, first.email)
    push = desk.push([replace(first, prices=prices, excluded="not_a_member"), *rest])
    assert push.rows[["order_id", "because", "outcome"]].values.tolist() == [[1, STAYS, "held_back"]]
    assert desk.writes() == []
    assert desk.held() == desk.should_hold([first, *rest])
    assert desk.mailchimp.status("retail1", first.email) == "archived"


@pytest.mark.parametrize(
    "given_back",
    [
        {"prices": {1: 10.0, 2: 4.0}},
        {"cancelled": True},
        {"uncounted": "not_paid"},
    ],
)
def test_an_order_of_somebody_who_was_archived_leaves_when_less_is_kept_and_returns_with_them(
    desk: StoreDesk, given_back: dict[str, Any]
):
    first, *rest = loaded(desk)
    desk.mailchimp.state.stores["acme-retail"].orders["o1"]["campaign_id"] = "campaign7"
    archive(desk, first.email)
    orders = [replace(first, excluded="not_a_member", **given_back), *rest]
    desk.complete = False
    assert desk.push(orders).rows["outcome"].tolist() == ["held_back"]
    assert desk.writes() == [], "nothing leaves on the word of an incomplete read"
    desk.complete = True
    push = desk.push(orders)
    assert push.rows[["because", "outcome"]].values.tolist() == [[GIVEN_BACK, "applied"]]
    assert push.rows["detail"].str.endswith(LOST).all()
    assert desk.written()[0] == "DELETE acme-retail/orders/o1"
    assert desk.held() == desk.should_hold(rest)
    assert desk.mailchimp.status("retail1", first.email) == "archived"
    desk.mailchimp.journal.clear()
    assert desk.push(orders).rows.empty
    assert desk.writes() == []
    desk.mailchimp.sign_up("retail1", first.email)
    back = replace(first, prices={1: 10.0, 2: 4.0})
    desk.push([back, *rest])
    assert desk.held() == desk.should_hold([back, *rest])
    assert desk.attributed() == {}
    assert desk.lost_attributions() == {1: {"campaign_id": "campaign7"}}


def test_an_order_that_is_due_no_more_is_kept_right_while_its_person_is_a_member(desk: StoreDesk):
    first, *rest = loaded(desk)
    # By now Odoo says another address, which Mailchimp does not know: the order stays the old one's.
    excluded = replace(first, email="new@example.com", excluded="not_a_contact")
    push = desk.push([excluded, *rest])
    assert push.rows[["because", "outcome"]].values.tolist() == [[KEPT_RIGHT, "held_back"]]
    assert desk.writes() == []
    desk.complete = False
    lower, cancelled = replace(excluded, prices={1: 8.0, 3: 5.0}), replace(excluded, cancelled=True)
    desk.push([lower, *rest])
    assert [line for line in desk.written() if "/orders" in line] == [
        "PATCH acme-retail/orders/o1",
        "PATCH acme-retail/orders/o1/lines/l101",
        "POST acme-retail/orders/o1/lines",
        "DELETE acme-retail/orders/o1/lines/l102",
    ]
    assert desk.held() == desk.should_hold([replace(lower, excluded=""), *rest])
    desk.push([cancelled, *rest])
    assert desk.held()["o1"][0] == 0
    assert desk.held()["o1"][3]
    assert desk.push([excluded, *rest]).rows["outcome"].tolist() == ["held_back"], "a replacement waits"
    desk.complete = True
    desk.push([excluded, *rest])
    assert desk.held() == desk.should_hold([first, *rest])
    emails = {each.email_address for each in desk.mailchimp.state.stores["acme-retail"].customers.values()}
    assert emails == {"ada@example.com", "bob@example.com"}
    assert "new@example.com" not in desk.mailchimp.statuses("retail1")


def test_an_order_that_somebody_deleted_in_mailchimp_is_not_brought_back_when_it_is_due_no_more(
    desk: StoreDesk,
):
    first, *rest = loaded(desk)
    desk.mailchimp.delete_order("acme-retail", "o1")
    lower = replace(first, prices={1: 1.0}, excluded="not_a_contact")
    push = desk.push([lower, *rest])
    assert push.rows["outcome"].tolist() == ["unchanged"]
    assert desk.held() == desk.should_hold(rest)
    assert desk.push([lower, *rest]).rows.empty


def test_of_an_order_without_a_rate_nobody_knows_what_is_kept(desk: StoreDesk):
    first, *rest = loaded(desk)
    without_rate = replace(first, prices={1: 0.0}, uncounted="other_currency_without_rate")
    for excluded in ("other_currency_without_rate", "not_a_contact"):
        push = desk.push([replace(without_rate, excluded=excluded), *rest])
        assert push.rows["because"].tolist() == [STAYS]
    archive(desk, first.email)
    desk.push([replace(without_rate, excluded="not_a_member"), *rest])
    assert desk.writes() == []


def test_an_order_without_a_rate_that_stays_as_it_is_brings_no_products_into_its_store(desk: StoreDesk):
    first, *rest = loaded(desk)
    without_rate = replace(first, prices={7: 0.0}, uncounted="other_currency_without_rate")
    for excluded in ("other_currency_without_rate", "not_a_contact"):
        desk.push([replace(without_rate, excluded=excluded), *rest])
        assert desk.writes() == []
    desk.push([replace(first, prices={7: 1.0}, excluded="not_a_contact"), *rest])
    assert desk.written()[0] == "POST acme-retail/products", "an order that is kept right needs its product"
    assert desk.held()["o1"][2] == {"l107": 1.0}


def test_an_order_that_counts_no_more_stays_with_nothing(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.push([replace(first, excluded="not_paid", uncounted="not_paid"), *rest])
    assert desk.held()["o1"] == (0.0, 0.0, {"l101": 0.0, "l102": 0.0}, False)
    desk.push([first, *rest])
    assert desk.held() == desk.should_hold([first, *rest])


def test_a_renamed_product_is_one_patch_and_its_variant(desk: StoreDesk):
    orders = loaded(desk)
    changed = products()
    changed.loc[changed["product_id"] == 1, "name"] = "Armchair"
    desk.products = changed
    desk.push(orders)
    assert desk.written() == ["PATCH acme-retail/products/p1", "PUT acme-retail/products/p1/variants/v1"]


def test_a_poisoned_order_fails_alone_in_mailchimps_words_until_it_changes(desk: StoreDesk):
    orders = [Order(number) for number in range(1, 21)]
    sent = [replace(order, currency="euro") if order.number == 4 else order for order in orders]
    push = desk.push(sent)
    assert push.rows.groupby("outcome")["order_id"].apply(list).to_dict() == {
        "applied": [1, 2, 3, *range(5, 21)], "rejected": [4],
    }  # fmt: skip
    assert "currency code is not valid" in push.rows.set_index("order_id").loc[4, "detail"]
    desk.mailchimp.journal.clear()
    assert desk.push(sent).rows["outcome"].tolist() == ["rejected"]
    assert desk.writes() == []
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)


def test_the_order_of_a_customer_whom_mailchimp_refuses_waits_for_them(desk: StoreDesk):
    orders = [Order(number) for number in range(1, 4)]
    desk.mailchimp.take_for_fake("nobody@example.com")
    refused = Order(4, email="nobody@example.com")
    for _ in range(2):
        desk.mailchimp.journal.clear()
        push = desk.push([*orders, refused])
        detail = push.rows.set_index("order_id").loc[4, ["outcome", "detail"]].tolist()
        assert detail[0] == "held_back"
        assert "looks fake or invalid" in detail[1]
        assert refused.email not in detail[1]
    assert desk.writes() == []
    assert desk.held() == desk.should_hold(orders)


def test_a_product_that_somebody_deleted_in_mailchimp_comes_back_and_its_orders_follow(desk: StoreDesk):
    orders = loaded(desk)
    del desk.mailchimp.state.stores["acme-retail"].products["p1"]
    more = [*orders, Order(4)]
    assert desk.push(more).rows["outcome"].tolist() == ["applied"]
    assert desk.held() == desk.should_hold(more)
    check_nothing_is_left(desk, more)


def test_an_order_that_somebody_deleted_in_mailchimp_comes_back_once_it_changes(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.mailchimp.delete_order("acme-retail", "o1")
    changed = replace(first, prices={1: 3.0})
    push = desk.push([changed, *rest])
    assert push.rows["outcome"].tolist() == ["applied"]
    assert desk.held() == desk.should_hold([changed, *rest])


@pytest.mark.parametrize("count", [6, 40], ids=["asked one by one", "read by the page"])
def test_an_older_ledger_doubles_nobody_and_sends_nothing_again(desk: StoreDesk, count: int):
    """A day's work is done, then the ledger of before is put back."""
    orders = loaded(desk, 4)
    old = (desk.folder / "ledger.db").read_bytes()
    renamed = [
        replace(order, email="ada-new@example.com") if "ada" in order.email else order for order in orders
    ]
    for email in ("ada-new@example.com", *(f"new{number}@example.com" for number in range(count))):
        desk.mailchimp.add_member(RETAIL.list_id, email, "transactional")
    new = [Order(100 + number, email=f"new{number}@example.com") for number in range(count)]
    today = [replace(renamed[0], prices={1: 4.0, 2: 5.0}), *renamed[1:], *new]
    desk.push(today)
    customers = {**desk.mailchimp.store("acme-retail").customers}
    for file in desk.folder.glob("ledger.db-*"):
        file.unlink()
    (desk.folder / "ledger.db").write_bytes(old)
    desk.mailchimp.journal.clear()
    desk.push(today)
    assert [line for line in desk.written() if "DELETE" in line or "POST" in line] == []
    assert desk.mailchimp.store("acme-retail").customers.keys() == customers.keys()
    assert desk.held() == desk.should_hold(today)
    check_nothing_is_left(desk, today)


def test_a_store_that_a_lost_ledger_filled_is_taken_over_without_a_write(desk: StoreDesk):
    orders = [*loaded(desk, 20)]
    orders[0] = replace(orders[0], cancelled=True)
    desk.push(orders)
    forget_the_ledger(desk)
    desk.mailchimp.journal.clear()
    assert desk.push(orders).rows.empty
    assert desk.writes() == []
    changed = [replace(orders[1], prices={1: 1.0}), *orders[2:]]
    desk.push([orders[0], *changed])
    assert desk.held() == desk.should_hold([orders[0], *changed])
    assert len(desk.mailchimp.store("acme-retail").customers) == 2


def test_an_order_of_somebody_archived_is_left_alone_after_a_lost_ledger(desk: StoreDesk):
    """An administrator archived the person: no write may bring them back, nor is one needed."""
    first, *rest = loaded(desk)
    archive(desk, first.email)
    forget_the_ledger(desk)
    desk.mailchimp.journal.clear()
    orders = [replace(order, excluded="not_a_member") if order.email == first.email else order
              for order in (first, *rest)]  # fmt: skip
    push = desk.push(orders)
    left_alone = [order.number for order in orders if order.excluded]
    assert push.rows["order_id"].tolist() == left_alone
    assert set(push.rows["because"]) == {STAYS}
    assert desk.writes() == []


def test_the_customer_of_another_program_is_adopted_and_never_deleted(desk: StoreDesk):
    loaded(desk, 1)
    with desk.client() as client:
        body = {"id": "their-7", "email_address": "eve@example.com", "opt_in_status": False}
        client.ecommerce.add_store_customer("acme-retail", body)
    order = Order(7, email="eve@example.com")
    desk.push([Order(1, email="bob@example.com"), order])
    assert desk.mailchimp.store("acme-retail").orders["o7"]["customer_id"] == "their-7"
    desk.push([Order(1, email="bob@example.com")])
    assert "their-7" in desk.mailchimp.store("acme-retail").customers
    assert "o7" not in desk.held()


def test_a_store_of_another_audience_is_left_alone_and_the_others_are_complete(desk: StoreDesk):
    with desk.client() as client:
        client.ecommerce.add_store(
            {"id": "acme-retail", "list_id": "wholesale1", "name": "x", "currency_code": "EUR"}
        )
    desk.mailchimp.journal.clear()
    orders = [Order(1), Order(2, store=WHOLESALE)]
    desk.push(orders)
    assert desk.failed == ["acme-retail"]
    assert not [line for line in desk.written() if "acme-retail" in line]
    assert desk.held(WHOLESALE) == desk.should_hold(orders, WHOLESALE)


@pytest.mark.parametrize("kind", ["json_500", "html_403", "json_429"])
def test_a_store_that_fails_delays_no_other_in_any_month(desk: StoreDesk, kind: Any):
    orders = [
        Order(number, month=f"2026-0{number % 2 + 1}", store=(RETAIL, WHOLESALE)[number % 4 // 2])
        for number in range(1, 9)
    ]
    desk.mailchimp.faults.add(Fault(kind, None, "/stores/acme-retail/orders", times=None))
    push = desk.push(orders)
    assert desk.held(WHOLESALE) == desk.should_hold(orders, WHOLESALE)
    assert {failure.store_id for failure in push.failures} == {"acme-retail"}
    assert push.unfinished_stores(desk.stores) == {"acme-retail"}
    desk.mailchimp.faults.clear()
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    check_nothing_is_left(desk, orders)


def test_an_order_stays_where_it_is_while_the_store_that_it_moves_to_cannot_be_written(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.push([*rest, first, Order(9, store=WHOLESALE)])
    moved = replace(first, store=WHOLESALE)
    desk.mailchimp.faults.add(Fault("json_429", None, "/stores/acme-wholesale/", times=None))
    desk.push([moved, *rest, Order(9, store=WHOLESALE)])
    assert "o1" in desk.held()
    desk.mailchimp.faults.clear()
    orders = [moved, *rest, Order(9, store=WHOLESALE)]
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    assert desk.held(WHOLESALE) == desk.should_hold(orders, WHOLESALE)


def test_an_order_that_the_new_store_refused_stays_in_the_old_one_and_moves_once_it_is_taken(desk: StoreDesk):
    """It moved, was refused there, and moved back: it is in one of the two at any time."""
    first, *rest = loaded(desk)
    poisoned = replace(first, store=WHOLESALE, currency="euro")
    desk.push([poisoned, *rest])
    assert "o1" not in desk.held(), "nobody knew that it would be refused"
    desk.push([first, *rest])
    assert desk.held() == desk.should_hold([first, *rest])
    desk.later = timedelta(days=3)
    push = desk.push([poisoned, *rest])
    assert desk.held() == desk.should_hold([first, *rest])
    said = dict(zip(push.rows["store_id"], push.rows["detail"], strict=True))
    assert "store acme-wholesale does not take it: refused before" in said["acme-retail"]
    moved = replace(first, store=WHOLESALE)
    desk.push([moved, *rest])
    assert desk.held(WHOLESALE) == desk.should_hold([moved], WHOLESALE)
    assert "o1" not in desk.held()


def test_an_order_whose_customer_the_new_store_refuses_stays_in_the_old_one(desk: StoreDesk):
    first, *rest = loaded(desk)
    moved = replace(first, store=WHOLESALE)
    other = Order(9, email="eve@example.com", store=WHOLESALE)
    fault = Fault("empty_429", "POST", "/stores/acme-wholesale/customers", times=None)
    desk.push([first, *rest, other])
    desk.mailchimp.faults.add(fault)
    desk.push([moved, *rest, other])
    assert "o1" in desk.held()
    desk.mailchimp.faults.clear()
    desk.push([moved, *rest, other])
    assert desk.held(WHOLESALE) == desk.should_hold([moved, other], WHOLESALE)


def test_a_customer_whom_somebody_deleted_is_made_again_with_all_their_orders(desk: StoreDesk):
    orders = [*loaded(desk), Order(50, month="2025-11"), Order(51, month="2026-02")]
    desk.push(orders)
    desk.mailchimp.delete_customers("acme-retail", "ada@example.com")
    later = [*orders, Order(60, month="2026-01")]
    push = desk.push(later)
    assert set(push.rows["outcome"]) == {"applied"}
    assert desk.held() == desk.should_hold(later)
    check_nothing_is_left(desk, later)


def test_an_order_that_changes_after_its_customer_was_deleted_comes_back(desk: StoreDesk):
    first, *rest = loaded(desk)
    desk.mailchimp.delete_customers("acme-retail", first.email)
    changed = replace(first, prices={1: 3.0})
    assert set(desk.push([changed, *rest]).rows["outcome"]) == {"applied"}
    assert desk.held() == desk.should_hold([changed, *rest])


def test_the_orders_of_a_deleted_customer_come_back_in_batches_too(desk: StoreDesk):
    orders = loaded(desk, 30)
    desk.mailchimp.delete_customers("acme-retail", "ada@example.com")
    more = [*orders, *(Order(100 + number) for number in range(30))]
    desk.push(more)
    assert desk.held() == desk.should_hold(more)
    check_nothing_is_left(desk, more)


def test_a_person_moves_away_and_back_and_the_store_was_deleted_meanwhile(desk: StoreDesk):
    first, *rest = loaded(desk)
    moved = replace(first, store=WHOLESALE)
    desk.push([moved, *rest])
    desk.mailchimp.delete_store("acme-wholesale")
    desk.push([first, *rest])
    assert desk.held() == desk.should_hold([first, *rest])
    desk.push([moved, *rest])
    desk.mailchimp.delete_store("acme-retail")
    desk.push([moved, *rest])
    orders = [first, *rest, Order(8)]
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    check_nothing_is_left(desk, orders)


def test_what_a_store_refused_is_forgotten_with_the_store(desk: StoreDesk):
    orders = loaded(desk)
    desk.mailchimp.take_for_fake("nobody@example.com")
    refused = Order(4, email="nobody@example.com")
    desk.push([*orders, refused])
    desk.mailchimp.state.fake_addresses.clear()
    assert set(desk.push([*orders, refused]).rows["outcome"]) == {"held_back"}
    desk.mailchimp.delete_store("acme-retail")
    desk.push([*orders, refused])
    assert desk.held() == desk.should_hold([*orders, refused])


def test_what_was_refused_is_tried_again_a_day_later(desk: StoreDesk):
    orders = loaded(desk)
    desk.mailchimp.take_for_fake("nobody@example.com")
    refused = Order(4, email="nobody@example.com")
    desk.push([*orders, refused])
    desk.mailchimp.state.fake_addresses.clear()
    desk.later = timedelta(days=1, minutes=1)
    desk.push([*orders, refused])
    assert desk.held() == desk.should_hold([*orders, refused])


def test_a_store_that_somebody_deleted_is_made_again_as_syncing_and_loaded(desk: StoreDesk):
    orders = loaded(desk)
    with desk.client() as client:
        client.ecommerce.delete_store("acme-retail")
    desk.mailchimp.journal.clear()
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    assert desk.writes()[0].body["is_syncing"] is True


def test_new_orders_are_announced_where_the_settings_ask_for_it_and_corrections_never(desk: StoreDesk):
    desk.order_notifications = True
    old = loaded(desk)
    assert desk.mailchimp.mails == []
    new = Order(50, processed_at=desk.now() - timedelta(hours=3))
    late = Order(51, processed_at=desk.now() - timedelta(days=3))
    desk.push([*old, new, late])
    assert [(mail.kind, mail.email) for mail in desk.mailchimp.mails] == [
        ("order_confirmation", "ada@example.com")
    ]
    desk.push([*old, replace(new, cancelled=True), late])
    desk.push([*old, new, replace(late, prices={1: 0.0})])
    assert len(desk.mailchimp.mails) == 1


def test_the_rate_of_an_order_in_another_currency_is_kept_from_its_first_push(desk: StoreDesk):
    desk.rates = {1: 1.25}
    orders = [Order(1), Order(2)]
    desk.push(orders)
    desk.rates = {1: 1.5}
    desk.push([replace(orders[0], prices={1: 3.0}), orders[1]])
    with desk.ledger() as ledger:
        assert ledger.stores.fixed_rates("acme") == {1: 1.25}


def test_a_month_that_fails_stays_due_and_the_others_go_on(desk: StoreDesk):
    orders = [Order(number, month=f"2026-0{number % 3 + 1}") for number in range(1, 61)]
    # One month's batch is refused every time it is tried.
    fault = desk.mailchimp.faults.add(
        Fault("json_429", "POST", "/batches$", times=3, match_body_regex=r"\bo20\b")
    )
    push = desk.push(orders)
    assert fault.fired == 3
    assert len(push.failed_months) == 1
    assert len(desk.held()) == 40
    assert desk.mailchimp.state.stores["acme-retail"].is_syncing
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)
    assert not desk.mailchimp.state.stores["acme-retail"].is_syncing


def test_orders_whose_customers_could_not_be_sent_are_reported_and_come_with_the_next_push(desk: StoreDesk):
    people = [f"person{number}@example.com" for number in range(20)]
    for email in people:
        desk.mailchimp.add_member(RETAIL.list_id, email, "transactional")
    orders = [Order(number, email=email) for number, email in enumerate(people, start=1)]
    desk.mailchimp.faults.add(Fault("json_429", "POST", "/batches$", times=3, match_body_regex="customers"))
    push = desk.push(orders)
    assert push.rows["outcome"].tolist() == ["not_sent"] * 20
    assert push.failed_months == ["2026-01"]
    desk.push(orders)
    assert desk.held() == desk.should_hold(orders)


def test_what_is_due_in_a_store_that_is_left_alone_stays_where_it_is():
    """It would leave one store and enter none."""
    rows = pd.DataFrame(
        {
            "order_id": [1, 2, 3],
            "store_id": ["closed", "open", "open"],
            "excluded_because": ["", "", "not_a_member"],
        }
    )
    held = pd.DataFrame(
        {"order_id": [1, 2, 2, 3, 4], "store_id": ["open", "open", "closed", "open", "closed"]}
    )
    assert not_left_alone(rows, held, {"closed"})["order_id"].tolist() == [2, 3]
