"""The consent history as an append-only list, and the row counts of reads."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError

from mc_pipeline.ledger import ConsentEvent, Ledger, LedgerError, ObservationError
from mc_pipeline.ledger.database import database_url
from mc_pipeline_tests.ledger.conftest import START, Clock


def an_event(**values: Any) -> ConsentEvent:
    given = {
        "company": "acme",
        "audience": "retail",
        "list_id": "list1",
        "email": "ann@example.com",
        "event": "opt_out",
        "origin": "person",
        "status_from": "subscribed",
        "status_to": "unsubscribed",
        "occurred_at": START,
        "seen_at": START,
        **values,
    }
    return ConsentEvent(**given)


def test_an_event_reported_twice_is_kept_once_as_first_reported(ledger: Ledger) -> None:
    ledger.consent.record(
        [an_event(origin="ours"), an_event(origin="unknown", seen_at=START + timedelta(hours=1))]
    )
    ledger.consent.record([an_event(origin="person")])
    assert [event.origin for event in ledger.consent.events(email="Ann@example.com")] == ["ours"]


@pytest.mark.parametrize(
    "other",
    [
        {"list_id": "list2"},
        {"email": "bob@example.com"},
        {"event": "complaint"},
        {"occurred_at": START + timedelta(seconds=1)},
        {"status_to": "cleaned"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_events_that_differ_are_two(ledger: Ledger, other: dict[str, Any]) -> None:
    ledger.consent.record([an_event(), an_event(**other)])
    assert len(ledger.consent.events()) == 2


def test_events_come_in_the_order_in_which_they_happened(ledger: Ledger) -> None:
    later, earlier = an_event(occurred_at=START + timedelta(days=1)), an_event(event="subscribe")
    ledger.consent.record([later, earlier])
    assert ledger.consent.events(company="acme") == [earlier, later]
    assert ledger.consent.events(company="other") == []


def test_events_seen_since_a_moment(ledger: Ledger) -> None:
    new = an_event(email="bob@example.com", seen_at=START + timedelta(hours=1))
    ledger.consent.record([an_event(), new])
    assert ledger.consent.events(since=START + timedelta(minutes=1)) == [new]


def test_an_event_keeps_its_evidence_and_its_moment(ledger: Ledger) -> None:
    event = an_event(
        evidence={"reason": "Größe", "campaign": 5}, occurred_at=START + timedelta(microseconds=1)
    )
    ledger.consent.record([event])
    assert ledger.consent.events() == [event]


@pytest.mark.parametrize(
    ("event", "counts"),
    [("opt_out", True), ("clean", True), ("complaint", True), ("subscribe", False), ("archive", False)],
)
def test_ever_opted_out_means_unsubscribed_cleaned_or_complained(
    ledger: Ledger, event: str, counts: bool
) -> None:
    ledger.consent.record([an_event(event=event, company="other", list_id="list9")])
    assert ledger.consent.ever_opted_out(["ann@example.com"]) == ({"ann@example.com"} if counts else set())


def test_an_unknown_origin_is_said_so_and_nothing_else_is_invented(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="use one of ours, person, admin, unknown"):
        ledger.consent.record([an_event(origin="robot")])


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM ledger_consent_event", "UPDATE ledger_consent_event SET origin = 'ours'"],
)
def test_the_database_itself_refuses_to_change_the_history(
    ledger: Ledger, ledger_url: str, change: str
) -> None:
    ledger.consent.record([an_event()])
    engine = create_engine(database_url(ledger_url))
    with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    assert ledger.consent.events() == [an_event()]


def test_an_event_shows_no_address_in_logs() -> None:
    assert "ann@example.com" not in repr(an_event())


def test_the_last_complete_read_is_what_later_ones_are_compared_with(ledger: Ledger) -> None:
    reads = ledger.reads
    reads.record_observation("acme", "odoo_partners", START, 1000, True)
    reads.record_observation("acme", "odoo_partners", START + timedelta(days=1), 500, False, "page 3 failed")
    reads.record_observation("acme", "odoo_orders", START + timedelta(days=2), 7, True)
    last = reads.last_complete("acme", "odoo_partners")
    assert last is not None
    assert (last.rows, last.observed_at) == (1000, START)
    newest = reads.latest("acme", "odoo_partners")
    assert newest is not None
    assert (newest.rows, newest.complete, newest.incomplete_because) == (500, False, "page 3 failed")
    assert reads.last_complete("other", "odoo_partners") is None


def test_a_person_can_accept_a_smaller_read(ledger: Ledger, clock: Clock) -> None:
    reads = ledger.reads
    reads.record_observation("acme", "odoo_partners", START, 1000, True)
    reads.record_observation("acme", "odoo_partners", START + timedelta(days=1), 500, False, "fewer rows")
    clock.pass_time(days=1, hours=1)
    approved = reads.approve_read("acme", "odoo_partners", "mia", "half the company was sold")
    assert (approved.approved_by, approved.approved_reason, approved.approved_at) == (
        "mia", "half the company was sold", clock(),
    )  # fmt: skip
    assert reads.last_complete("acme", "odoo_partners") == approved


def test_only_an_incomplete_read_can_be_accepted_and_only_by_somebody(ledger: Ledger) -> None:
    with pytest.raises(ObservationError, match="no read of table odoo_partners"):
        ledger.reads.approve_read("acme", "odoo_partners", "mia", "fine")
    ledger.reads.record_observation("acme", "odoo_partners", START, 1000, True)
    with pytest.raises(ObservationError, match="is complete"):
        ledger.reads.approve_read("acme", "odoo_partners", "mia", "fine")
    with pytest.raises(ObservationError, match="a name and a reason"):
        ledger.reads.approve_read("acme", "odoo_partners", "", "fine")


def test_the_same_read_reported_again_counts_as_last_reported(ledger: Ledger) -> None:
    for rows in (10, 12):
        ledger.reads.record_observation("acme", "odoo_partners", START, rows, True)
    last = ledger.reads.last_complete("acme", "odoo_partners")
    assert last is not None
    assert last.rows == 12


def test_an_origin_that_is_learned_later_makes_no_second_event(ledger: Ledger) -> None:
    ledger.consent.record([an_event(origin="unknown"), an_event(email="bob@example.com", origin="unknown")])
    (before,) = ledger.consent.events(email="ann@example.com")
    for _ in range(2):
        ledger.consent.learn_origin(before, "person", source="webhook", seen_at=START)
    assert [(event.email, event.origin) for event in ledger.consent.events()] == [
        ("ann@example.com", "person"),
        ("bob@example.com", "unknown"),
    ]


def test_an_origin_that_was_known_stays(ledger: Ledger) -> None:
    ledger.consent.record([an_event(origin="ours")])
    ledger.consent.learn_origin(an_event(), "person", source="webhook", seen_at=START)
    assert [event.origin for event in ledger.consent.events()] == ["ours"]


def test_an_origin_reported_in_two_ways_is_unknown(ledger: Ledger) -> None:
    ledger.consent.record([an_event(origin="unknown")])
    for origin in ("person", "admin"):
        ledger.consent.learn_origin(an_event(), origin, source="webhook", seen_at=START)  # type: ignore[arg-type]
    assert [event.origin for event in ledger.consent.events()] == ["unknown"]


def test_a_change_of_address_made_in_mailchimp_is_part_of_the_history_once(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.members.record_change_of_address("acme", "list1", "Ann@example.com", "new@example.com", START)
    assert [(entry.kind, entry.email) for entry in ledger.members.history("ann@example.com")] == [
        ("rename", "new@example.com")
    ]
    assert ledger.erasures.renames() == [("ann@example.com", "new@example.com")]
