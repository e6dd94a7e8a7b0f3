"""A push that dies at any moment: the next one ends where an undisturbed one would, nothing is twice."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.properties.runs import Death, Killed
from mc_pipeline_tests.push.desk import LIST, Desk, person

PLACES = ["before_request", "after_request", "ledger"]
DIRECT = 4
IN_BATCHES = 14


def yesterday(desk: Desk, size: int) -> None:
    """An audience that was loaded, with somebody who opted out."""
    desk.push([person(number) for number in range(size)], first_load=True)
    desk.mailchimp.unsubscribe(LIST, "person1@example.com")
    desk.push([person(number) for number in range(size)])


def today(desk: Desk, size: int, death: Death | None = None):
    """New people, new names, a new address, tags gained and lost, and one who left."""
    people = [person(number, name="Grace", tags=["VIP"]) for number in range(2, size)]
    people += [person(0, email="moved@example.com"), person(90), person(91, tags=["B2C", "VIP"])]
    aside = [(1, "person1@example.com", "no_order"), (2, "person2@example.com", "no_order")]
    return desk.push([each for each in people if each.partner_id != 2], aside=aside, death=death)


def crashes(place: str, writes_afterwards: bool, size: int) -> Iterator[int]:
    """Numbers of the boundaries to die at: all when asked for, else every eleventh."""
    if os.environ.get("MC_PIPELINE_EVERY_CRASH"):
        return count()
    return count((PLACES.index(place) + 2 * writes_afterwards + size) % 11, 11)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("writes_afterwards", [False, True], ids=["killed", "interrupted"])
@pytest.mark.parametrize("size", [DIRECT, IN_BATCHES], ids=["single calls", "batches"])
def test_a_push_that_dies_anywhere_is_finished_by_the_next_one(
    desk: Desk, place: str, writes_afterwards: bool, size: int
):
    yesterday(desk, size)
    saved = desk.save()
    today(desk, size)
    undisturbed = desk.state()
    assert undisturbed["open"] == 0
    for number in crashes(place, writes_afterwards, size):
        desk.restore(saved)
        death = Death(place, number, writes_afterwards)
        with suppress(Killed):
            today(desk, size, death)
        if not death.dead:
            break
        today(desk, size)
        assert desk.state() == undisturbed, f"died {place} number {number}"
    assert number > 8
    assert set(today(desk, size)["outcome"]) == set()


def test_a_batch_whose_id_was_lost_is_found_by_the_names_of_its_operations(desk: Desk):
    """The batch was submitted, the process died before it knew the id, and the batch runs later."""
    yesterday(desk, IN_BATCHES)
    desk.mailchimp.journal.clear()
    desk.mailchimp.pause_batches()
    with pytest.raises(Killed):
        today(desk, IN_BATCHES, Death("after_request", _request_number(desk, "/batches")))
    (submitted,) = desk.sent("/batches")
    with desk.ledger() as ledger:
        assert ledger.intents.open_batches("acme") == []
    desk.mailchimp.run_batches()
    desk.mailchimp.resume_batches()
    today(desk, IN_BATCHES)
    updated = [
        entry.path for entry in desk.mailchimp.journal.writes if entry.batch_id and entry.method == "PATCH"
    ]
    assert len(updated) == len(set(updated)) == len(submitted.body["operations"])
    assert desk.state()["open"] == 0


def _request_number(desk: Desk, ending: str) -> int:
    """How many requests a push makes before the first one to this path."""
    saved = desk.save()
    desk.mailchimp.resume_batches()
    desk.mailchimp.journal.clear()
    today(desk, IN_BATCHES)
    entries = [entry for entry in desk.mailchimp.journal.requests if entry.batch_id is None]
    first_write = next(at for at, entry in enumerate(entries) if entry.is_write)
    at = next(at for at, entry in enumerate(entries) if entry.is_write and entry.path.endswith(ending))
    desk.restore(saved)
    desk.mailchimp.pause_batches()
    return at - first_write


@pytest.mark.parametrize("first_load", [True, False])
def test_lost_results_of_a_batch_are_read_back_and_nothing_is_sent_twice(desk: Desk, first_load: bool):
    people = [person(number) for number in range(IN_BATCHES)]
    if not first_load:
        desk.push(people, first_load=True)
        people = [person(number, name="Grace") for number in range(IN_BATCHES)]
    desk.mailchimp.journal.clear()
    fault = desk.mailchimp.faults.add(Fault("html_502", "GET", "/batch-results/", times=None))
    outcome = desk.push(people, first_load=first_load)
    assert fault.fired > 0
    in_batch = outcome["operation"].isin(["tag"] if first_load else ["update"])
    assert set(outcome.loc[in_batch, "outcome"]) == {"unknown"}
    desk.mailchimp.faults.clear()
    desk.mailchimp.journal.clear()
    for batch in desk.mailchimp.state.batches:
        desk.mailchimp.lose_batch_results(batch)
    assert desk.push(people, first_load=first_load).empty
    assert desk.writes() == []
    assert desk.state()["open"] == 0


@pytest.mark.parametrize("kind", ["slow_after", "reset_after", "cut_off", "truncated", "empty_200"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"/lists/{LIST}$"), ("PATCH", "/members/"), ("DELETE", "/members/"), ("POST", "/segments/")],
    ids=["create", "update", "archive", "tag"],
)
def test_an_answer_that_never_comes_is_found_out_and_not_asked_for_twice(
    desk: Desk, kind: str, method: str, path: str
):
    yesterday(desk, DIRECT)
    saved = desk.save()
    today(desk, DIRECT)
    undisturbed = desk.state()
    desk.restore(saved)
    desk.timeout_seconds = 0.25
    fault = desk.mailchimp.faults.add(Fault(kind, method, path, times=3, seconds=0.5))
    today(desk, DIRECT)
    assert fault.fired > 0
    desk.mailchimp.faults.clear()
    desk.timeout_seconds = 20
    today(desk, DIRECT)
    assert desk.state() == undisturbed
    created = [
        member["email_address"]
        for entry in desk.sent(f"/lists/{LIST}")
        if entry.applied and isinstance(entry.response, dict)
        for member in entry.response.get("new_members", ())
    ]
    assert len(created) == len(set(created))


def test_a_batch_that_stands_still_holds_nothing_up_and_is_not_sent_again(desk: Desk):
    yesterday(desk, IN_BATCHES)
    saved = desk.save()
    today(desk, IN_BATCHES)
    undisturbed = desk.state()
    desk.restore(saved)
    desk.mailchimp.pause_batches()
    first = today(desk, IN_BATCHES)
    assert set(first.loc[first["operation"] == "update", "outcome"]) == {"unknown"}
    desk.mailchimp.journal.clear()
    second = today(desk, IN_BATCHES)
    assert set(second.loc[second["operation"] == "update", "outcome"]) == {"held_back"}
    assert not any("PATCH" in str(entry.body) for entry in desk.writes())
    desk.mailchimp.run_batches()
    desk.mailchimp.resume_batches()
    assert today(desk, IN_BATCHES).empty
    assert desk.state() == undisturbed
