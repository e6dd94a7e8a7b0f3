"""A push of orders that dies at any moment: the next one leaves no duplicate and no missing order."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.properties.runs import Death, Killed
from mc_pipeline_tests.push.store_desk import WHOLESALE, Order, StoreDesk

PLACES = ["before_request", "after_request", "ledger"]
DIRECT, IN_BATCHES = 3, 13


def yesterday(size: int) -> list[Order]:
    return [Order(number, email=("ada", "bob")[number % 2] + "@example.com") for number in range(1, size + 1)]


def today(size: int) -> list[Order]:
    """New orders, other totals and lines, a cancellation, another store, another address."""
    first, second, third, *rest = yesterday(size)
    return [
        replace(first, prices={1: 1.0, 3: 2.0}),
        replace(second, store=WHOLESALE),
        replace(third, email="eve@example.com"),
        *(replace(order, prices={1: 7.0, 2: 5.0}) for order in rest),
        *(Order(900 + number, month="2026-02") for number in range(size)),
        Order(999, cancelled=True),
    ]


def is_whole(desk: StoreDesk, orders: Sequence[Order]) -> None:
    """Both stores hold what they should, once, and the ledger knows it: nothing is left to do."""
    assert desk.held() == desk.should_hold(orders)
    assert desk.held(WHOLESALE) == desk.should_hold(orders, WHOLESALE)
    assert desk.still_open() == 0
    desk.mailchimp.journal.clear()
    assert desk.push(orders).rows.empty
    assert desk.writes() == []


def crashes(place: str, writes_afterwards: bool, size: int) -> Iterator[int]:
    """Numbers of the boundaries to die at: all when asked for, else every twelfth or so."""
    if os.environ.get("MC_PIPELINE_EVERY_CRASH"):
        return count()
    step = 37 if place == "ledger" else 11
    return count((PLACES.index(place) + 3 * writes_afterwards + size) % step, step)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("writes_afterwards", [False, True], ids=["killed", "interrupted"])
@pytest.mark.parametrize("size", [DIRECT, IN_BATCHES], ids=["single calls", "batches"])
def test_a_push_that_dies_anywhere_is_finished_by_the_next_one(
    store_desk: StoreDesk, place: str, writes_afterwards: bool, size: int
):
    store_desk.push(yesterday(size))
    saved = store_desk.save()
    orders = today(size)
    for number in crashes(place, writes_afterwards, size):
        store_desk.restore(saved)
        death = Death(place, number, writes_afterwards)
        with suppress(Killed):
            store_desk.push(orders, death=death)
        if not death.dead:
            break
        store_desk.push(orders)
        is_whole(store_desk, orders)
    assert number > 8


@pytest.mark.parametrize("kind", ["reset_after", "truncated", "empty_200"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/orders$"), ("PATCH", "/orders/o1$"), ("DELETE", "/orders/o2$"), ("POST", "/customers$")],
    ids=["create", "update", "delete", "customer"],
)
def test_an_answer_that_never_comes_is_found_out_and_not_asked_for_twice(
    store_desk: StoreDesk, kind: str, method: str, path: str
):
    store_desk.push(yesterday(DIRECT))
    orders = today(DIRECT)
    fault = store_desk.mailchimp.faults.add(Fault(kind, method, path, times=3))
    store_desk.push(orders)
    assert fault.fired > 0
    store_desk.mailchimp.faults.clear()
    store_desk.push(orders)
    is_whole(store_desk, orders)


def test_lost_results_of_a_batch_are_read_back_in_the_same_run(store_desk: StoreDesk):
    orders = yesterday(IN_BATCHES)
    fault = store_desk.mailchimp.faults.add(Fault("html_502", "GET", "/batch-results/", times=None))
    push = store_desk.push(orders)
    assert fault.fired > 0
    store_desk.mailchimp.faults.clear()
    assert store_desk.held() == store_desk.should_hold(orders)
    assert set(push.rows["outcome"]) == {"applied"}
    assert len(push.rows) == IN_BATCHES
    is_whole(store_desk, orders)


def test_a_batch_that_was_applied_and_never_recorded_is_found_by_the_names_of_its_operations(
    store_desk: StoreDesk,
):
    """The batch was submitted, the process died before it knew the id, and the batch runs later."""
    orders = yesterday(IN_BATCHES)
    store_desk.push(orders)
    store_desk.mailchimp.journal.clear()
    changed = [replace(order, prices={1: 7.0, 2: 5.0}) for order in orders]
    store_desk.mailchimp.pause_batches()
    number = 0
    while not [entry for entry in store_desk.writes() if entry.path.endswith("/batches")]:
        with suppress(Killed):
            store_desk.push(changed, death=Death("after_request", number))
        number += 1
    store_desk.mailchimp.run_batches()
    store_desk.mailchimp.resume_batches()
    store_desk.push(changed)
    patched = [
        entry.path
        for entry in store_desk.mailchimp.journal.writes
        if entry.batch_id and entry.method == "PATCH"
    ]
    assert len(patched) == len(set(patched)) == 2 * IN_BATCHES
    is_whole(store_desk, changed)


def test_a_batch_that_stands_still_holds_nothing_up_and_is_not_sent_again(store_desk: StoreDesk):
    orders = yesterday(IN_BATCHES)
    store_desk.push(orders)
    changed = [replace(order, prices={1: 7.0, 2: 5.0}) for order in orders]
    store_desk.mailchimp.pause_batches()
    assert set(store_desk.push(changed).rows["outcome"]) == {"unknown"}
    store_desk.mailchimp.journal.clear()
    again = store_desk.push([*changed, Order(70)])
    assert again.rows.groupby("outcome")["order_id"].size().to_dict() == {
        "applied": 1, "held_back": IN_BATCHES,
    }  # fmt: skip
    store_desk.mailchimp.run_batches()
    store_desk.mailchimp.resume_batches()
    store_desk.push([*changed, Order(70)])
    is_whole(store_desk, [*changed, Order(70)])
