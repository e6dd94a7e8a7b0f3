"""A contact read under another address: the record goes along, and each address knows of the other."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from mc_pipeline.ledger import ConsentEvent, Lease, Ledger, Outcome
from mc_pipeline.ledger.refusals import Refusal
from mc_pipeline.ledger.schema import member
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, StandingOptOut
from mc_pipeline_tests.ledger.conftest import START, Clock, an_intent, observed, the_record

ANN, NEW, NEWER, BEN = "ann@example.com", "new@example.com", "newer@example.com", "ben@example.com"


def read(ledger: Ledger, clock: Clock, *members: tuple[str, str, str]) -> None:
    """Read the whole audience: (address, contact_id, status) each."""
    at = clock.pass_time(hours=1)
    rows = observed(
        *((email, status) for email, _, status in members),
        at=at,
        contact_id=[contact for _, contact, _ in members],
    )
    ledger.members.observe("acme", rows, True, at)


def addresses(ledger: Ledger) -> set[str]:
    return set(ledger.members.load(["list1"])["email"])


def changes(ledger: Ledger) -> list[tuple[str, str]]:
    return [(each.former, each.email) for each in ledger.changed_addresses.open("acme")]


def events_of(ledger: Ledger, email: str) -> list[tuple[str, str]]:
    return [(event.event, event.origin) for event in ledger.consent.events(email=email)]


def test_the_record_goes_along_and_the_former_address_has_not_vanished(ledger: Ledger, clock: Clock) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"), (BEN, "c2", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"), (BEN, "c2", "subscribed"))
    assert addresses(ledger) == {NEW, BEN}
    assert changes(ledger) == [(ANN, NEW)]
    assert ledger.members.absent("acme").empty
    assert the_record(ledger, NEW)["last_status"] == "subscribed"
    assert events_of(ledger, NEW) == events_of(ledger, ANN) == []


def test_addresses_passed_round_at_once_keep_each_contact_with_its_record(
    ledger: Ledger, clock: Clock
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"), (BEN, "c2", "transactional"), (NEW, "c3", "pending"))
    read(ledger, clock, (BEN, "c1", "subscribed"), (NEW, "c2", "transactional"), (ANN, "c3", "pending"))
    assert {email: the_record(ledger, email)["last_status"] for email in addresses(ledger)} == {
        BEN: "subscribed",
        NEW: "transactional",
        ANN: "pending",
    }
    assert set(changes(ledger)) == {(ANN, BEN), (BEN, NEW), (NEW, ANN)}


def test_later_changes_lead_to_the_present_address_and_a_return_ends_them(
    ledger: Ledger, clock: Clock
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"))
    read(ledger, clock, (NEWER, "c1", "subscribed"))
    assert changes(ledger) == [(ANN, NEWER), (NEW, NEWER)]
    read(ledger, clock, (ANN, "c1", "subscribed"))
    assert changes(ledger) == [(NEW, ANN), (NEWER, ANN)]


def test_another_contact_at_the_former_address_is_a_record_of_its_own(ledger: Ledger, clock: Clock) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"), (ANN, "c9", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"), (ANN, "c9", "unsubscribed"))
    assert events_of(ledger, NEW) == []
    read(ledger, clock, (NEW, "c1", "cleaned"), (ANN, "c9", "unsubscribed"))
    assert events_of(ledger, ANN) == [("opt_out", "unknown")], "the bounce is the other contact's"


@pytest.mark.parametrize("at_once", [True, False])
def test_who_had_the_former_address_and_is_gone_holds_no_opt_out_back(
    ledger: Ledger, clock: Clock, at_once: bool
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"), (ANN, "c9", "subscribed"))
    if not at_once:
        read(ledger, clock, (NEW, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "unsubscribed"))
    assert events_of(ledger, ANN) == [("opt_out", "unknown")]


@pytest.mark.parametrize(
    ("left", "is_carried"),
    [
        ({"contact_id": "c1"}, True),
        ({"vanished": True}, True),
        ({"absent_reads": 1}, True),
        ({"contact_id": "c9"}, False),
        ({"contact_id": None}, False),
    ],
    ids=["their own", "vanished", "not found", "another contact's", "nobody knows whose"],
)
def test_a_record_at_the_former_address_is_another_members_unless_it_is_stale(
    ledger: Ledger, clock: Clock, left: dict[str, object], is_carried: bool
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"), (ANN, "c9", "subscribed"))
    with ledger._database.write() as connection:
        connection.execute(update(member).where(member.c.email == ANN).values(left))
    ledger.consent.record([replace(_event(NEW, "opt_out", "person", hours=4), list_id="list1")])
    assert events_of(ledger, NEW) == [("opt_out", "person")]
    assert events_of(ledger, ANN) == ([("opt_out", "person")] if is_carried else [])


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned"])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_opt_out_of_the_present_address_is_one_of_the_former(
    ledger: Ledger, clock: Clock, status: str, at_once: bool
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    if not at_once:
        read(ledger, clock, (NEW, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", status))
    event = {"unsubscribed": "opt_out", "cleaned": "clean"}[status]
    assert events_of(ledger, NEW) == events_of(ledger, ANN) == [(event, "unknown")]
    assert set(ledger.due_in_odoo.due("acme")) == {ANN, NEW}


def test_an_opt_out_that_stands_is_inherited_and_one_that_was_taken_back_is_not(
    ledger: Ledger, clock: Clock
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"), (BEN, "c2", "subscribed"))
    for email in (ANN, BEN):
        ledger.consent.record([_event(email, "opt_out", "unknown", hours=2)])
    ledger.consent.record([_event(BEN, "subscribe", "person", hours=3)])
    clock.pass_time(hours=3)
    read(ledger, clock, (NEW, "c1", "subscribed"), (NEWER, "c2", "subscribed"))
    assert events_of(ledger, NEW) == [("opt_out", "unknown")]
    assert events_of(ledger, NEWER) == []


@pytest.mark.parametrize("by_webhook", [True, False])
@pytest.mark.parametrize(
    ("origins", "inherited", "due"),
    [
        (("ours",), "ours", set()),
        (("unknown",), "unknown", {NEW}),
        (("person", "ours"), "unknown", {NEW}),
        (("ours", "admin"), "unknown", {NEW}),
    ],
    ids=["consent taken back", "not known", "the person, then we elsewhere", "we, then an administrator"],
)
def test_an_opt_out_that_we_made_is_inherited_as_ours_and_asks_for_nothing_in_odoo(
    ledger: Ledger,
    clock: Clock,
    by_webhook: bool,
    origins: tuple[str, ...],
    inherited: str,
    due: set[str],
) -> None:
    read(ledger, clock, (BEN, "c2", "subscribed"))
    for hours, origin in enumerate(origins, start=2):
        ledger.consent.record([_event(BEN, "opt_out", origin, hours=hours)])
    clock.pass_time(hours=5)
    if by_webhook:
        ledger.members.record_change_of_address("acme", "list1", BEN, NEW, clock(), contact_id="c2")
    else:
        read(ledger, clock, (NEW, "c2", "subscribed"))
    assert events_of(ledger, NEW) == [("opt_out", inherited)]
    assert ledger.consent.ever_opted_out([NEW]) == {NEW}
    assert set(ledger.due_in_odoo.due("acme")) & {NEW} == due
    assert {event.email for event in ledger.consent.opt_outs_and_returns()} & {NEW} == due


def _event(email: str, event: str, origin: str, *, hours: int) -> ConsentEvent:
    at = START + timedelta(hours=hours)
    return ConsentEvent(
        company="acme",
        audience="wholesale",
        list_id="list2",
        email=email,
        event=event,
        origin=origin,  # type: ignore[arg-type]
        occurred_at=at,
        seen_at=at,
        source="poll",
    )


def test_an_older_read_brings_nobody_back_to_the_former_address(ledger: Ledger, clock: Clock) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    before = clock.pass_time(minutes=10)
    read(ledger, clock, (NEW, "c1", "subscribed"))
    old = observed((ANN, "subscribed"), at=before, contact_id=["c1"])
    ledger.members.observe_some("acme", old, before)
    assert addresses(ledger) == {NEW}
    assert changes(ledger) == [(ANN, NEW)]


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "its answer is not known"])
def test_our_own_rename_is_none(ledger: Ledger, clock: Clock, lease: Lease, settled: bool) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    [number] = ledger.intents.record("acme", lease.fence, "run-1", [an_intent("change_email", ANN)])
    if settled:
        ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
    read(ledger, clock, (NEW, "c1", "subscribed"))
    if not settled:
        ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
        read(ledger, clock, (NEW, "c1", "subscribed"))
    assert changes(ledger) == []
    assert addresses(ledger) == {NEW}


def test_a_webhook_and_a_read_tell_one_change(ledger: Ledger, clock: Clock) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    reported_at = clock.pass_time(minutes=5)
    read(ledger, clock, (NEW, "c1", "subscribed"))
    for contact in (None, "c1"):
        ledger.members.record_change_of_address("acme", "list1", ANN, NEW, reported_at, contact_id=contact)
    assert changes(ledger) == [(ANN, NEW)]
    assert [entry.what for entry in ledger.members.history(ANN)] == ["address changed in Mailchimp"]


def test_odoos_opt_out_of_the_former_address_makes_the_present_one_due(ledger: Ledger, clock: Clock) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"))
    said = StandingOptOut(company="acme", email=ANN, cause=BLACKLISTED, said_at=clock())
    ledger.standing_opt_outs.say([said], ["list1"])
    assert set(ledger.standing_opt_outs.due("acme", "list1")) == {ANN, NEW}


@pytest.mark.parametrize(("partner", "is_refused"), [(7, True), (8, False)])
def test_a_plan_that_is_older_makes_nobody_under_the_former_address(
    ledger: Ledger, clock: Clock, lease: Lease, partner: int, is_refused: bool
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    [number] = ledger.intents.record("acme", lease.fence, "run-1", [an_intent("update", ANN, partner_id=7)])
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
    read(ledger, clock, (NEW, "c1", "subscribed"))
    creation = an_intent("create", ANN, partner_id=partner)
    [answer] = ledger.intents.record_unless_out("acme", lease.fence, "run-1", [creation])
    assert isinstance(answer, Refusal) is is_refused


@pytest.mark.parametrize(("seen_before", "is_refused"), [(True, True), (False, False)])
def test_nor_for_a_second_partner_who_had_the_former_address_as_well(
    ledger: Ledger, clock: Clock, lease: Lease, seen_before: bool, is_refused: bool
) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    [number] = ledger.intents.record("acme", lease.fence, "run-1", [an_intent("update", ANN, partner_id=7)])
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
    ledger.partner_addresses.observe({7: ANN, **({8: ANN} if seen_before else {})}, clock())
    read(ledger, clock, (NEW, "c1", "subscribed"))
    ledger.partner_addresses.observe({7: ANN, 8: ANN}, clock.pass_time(hours=1))
    creation = an_intent("create", ANN, partner_id=8)
    [answer] = ledger.intents.record_unless_out("acme", lease.fence, "run-1", [creation])
    assert isinstance(answer, Refusal) is is_refused


def test_what_ended_concerns_nobody_any_more(ledger: Ledger, clock: Clock) -> None:
    read(ledger, clock, (ANN, "c1", "subscribed"))
    read(ledger, clock, (NEW, "c1", "subscribed"))
    ledger.changed_addresses.end([each.id for each in ledger.changed_addresses.open("acme")])
    read(ledger, clock, (NEW, "c1", "unsubscribed"))
    assert events_of(ledger, ANN) == []
    assert changes(ledger) == []


def test_a_permission_taken_back_goes_along_with_the_address(ledger: Ledger, clock: Clock) -> None:
    def look(email: str, permissions: str) -> None:
        at = clock.pass_time(hours=1)
        rows = observed((email, "subscribed"), at=at, contact_id=["c1"], permissions_json=permissions)
        ledger.members.observe("acme", rows, True, at)

    look(ANN, '{"Email":true}')
    look(ANN, '{"Email":false}')
    taken_back_at = clock.moment
    look(NEW, '{"Email":false}')
    assert ledger.permissions.last_words("acme")[NEW, "email"] == taken_back_at
