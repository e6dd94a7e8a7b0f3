"""What reading the audiences adds: consent events, absences, and what Mailchimp made of our data."""

import json
from datetime import timedelta

import pandas as pd
import pytest

from mc_pipeline.ledger import Lease, LeaseLostError, Ledger, ObservationError
from mc_pipeline_tests.ledger.conftest import START, Clock, an_intent, observed, the_record
from mc_pipeline_tests.ledger.test_intents import ANSWER, send


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("unsubscribed", "opt_out"),
        ("cleaned", "clean"),
        ("archived", "archive"),
        ("pending", "pending"),
        ("transactional", "transactional"),
    ],
)
def test_a_changed_status_is_an_event_of_unknown_origin(
    ledger: Ledger, clock: Clock, status: str, event: str
) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    changed_at = clock.pass_time(hours=5)
    seen_at = clock.pass_time(hours=19)
    summary = ledger.members.observe(
        "acme", observed(("ann@example.com", status), at=changed_at), True, seen_at
    )
    assert summary.events == {event: 1}
    [event_recorded] = ledger.consent.events(email="ann@example.com")
    assert (
        event_recorded.event,
        event_recorded.origin,
        event_recorded.status_from,
        event_recorded.status_to,
    ) == (
        event,
        "unknown",
        "subscribed",
        status,
    )
    assert (event_recorded.occurred_at, event_recorded.seen_at, event_recorded.audience) == (
        changed_at,
        seen_at,
        "retail",
    )


@pytest.mark.parametrize(
    ("status", "event"), [("unsubscribed", "opt_out"), ("cleaned", "clean"), ("archived", "archive")]
)
def test_the_first_sight_of_an_old_audience_tells_who_opted_out_before(
    ledger: Ledger, clock: Clock, status: str, event: str
) -> None:
    old = START - timedelta(days=900)
    ledger.members.observe("acme", observed(("ann@example.com", status), at=old), True, clock())
    [event_recorded] = ledger.consent.events(email="ann@example.com")
    assert (
        event_recorded.event,
        event_recorded.origin,
        event_recorded.status_from,
        event_recorded.occurred_at,
    ) == (event, "unknown", "", old)
    assert event_recorded.evidence is not None
    assert event_recorded.evidence["first_seen"] is True


@pytest.mark.parametrize("status", ["subscribed", "transactional", "pending"])
def test_the_first_sight_of_anybody_else_tells_nothing(ledger: Ledger, clock: Clock, status: str) -> None:
    summary = ledger.members.observe("acme", observed(("ann@example.com", status)), True, clock())
    assert (summary.first_seen, summary.events) == (1, {})
    assert the_record(ledger)["ever_subscribed"] == (status == "subscribed")
    assert not the_record(ledger)["created_by_us"]


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        ("Reported as abuse", "complaint"),
        ("The emails are spam and should be reported", "complaint"),
        ("N/A", "opt_out"),
    ],
)
def test_a_complaint_is_distinguished_from_an_opt_out_by_its_reason(
    ledger: Ledger, clock: Clock, reason: str, event: str
) -> None:
    rows = observed(("ann@example.com", "unsubscribed"), unsubscribe_reason=reason)
    ledger.members.observe("acme", rows, True, clock())
    [event_recorded] = ledger.consent.events(email="ann@example.com")
    assert event_recorded.event == event
    assert event_recorded.evidence is not None
    assert event_recorded.evidence["unsubscribe_reason"] == reason
    assert ledger.consent.ever_opted_out() == {"ann@example.com"}


def test_who_once_opted_out_stays_marked_after_subscribing_again(ledger: Ledger, clock: Clock) -> None:
    for status in ("unsubscribed", "subscribed"):
        at = clock.pass_time(days=1)
        ledger.members.observe("acme", observed(("ann@example.com", status), at=at), True, at)
    record = the_record(ledger)
    assert (record["opted_out"], record["ever_subscribed"], record["last_status"]) == (
        True,
        True,
        "subscribed",
    )
    assert [event.event for event in ledger.consent.events(email="ann@example.com")] == [
        "opt_out",
        "subscribe",
    ]


def test_what_we_did_and_know_of_is_no_news(ledger: Ledger, lease: Lease, clock: Clock) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("unsubscribe"))
    at = clock.pass_time(hours=1)
    assert (
        ledger.members.observe("acme", observed(("ann@example.com", "unsubscribed")), True, at).events == {}
    )
    assert [event.origin for event in ledger.consent.events()] == ["ours"]


def test_a_write_of_ours_whose_outcome_is_unknown_explains_the_change(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    send(ledger, lease, an_intent())
    sent_at = clock.pass_time(hours=1)
    ledger.intents.record("acme", lease.fence, "run-1", [an_intent("unsubscribe")])
    at = clock.pass_time(hours=1)
    ledger.members.observe("acme", observed(("ann@example.com", "unsubscribed"), at=sent_at), True, at)
    assert [(event.event, event.origin) for event in ledger.consent.events()] == [("opt_out", "ours")]


@pytest.mark.parametrize(
    ("operation", "status", "changed"),
    [("unsubscribe", "unsubscribed", -60), ("update", "unsubscribed", 5), ("unsubscribe", "cleaned", 5)],
    ids=["dated before our write", "a write of another kind", "a status that our write does not give"],
)
def test_a_write_of_ours_does_not_explain_what_it_cannot_have_done(
    ledger: Ledger, lease: Lease, clock: Clock, operation: str, status: str, changed: int
) -> None:
    send(ledger, lease, an_intent())
    sent_at = clock.pass_time(days=1)
    ledger.intents.record("acme", lease.fence, "run-1", [an_intent(operation)])
    changed_at = sent_at + timedelta(minutes=changed)
    ledger.members.observe(
        "acme", observed(("ann@example.com", status), at=changed_at), True, clock.pass_time(hours=1)
    )
    assert [event.origin for event in ledger.consent.events()] == ["unknown"]


def test_a_read_that_began_before_our_write_says_nothing_about_it(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    send(ledger, lease, an_intent(body={"email_address": "ann@example.com", "status": "subscribed"}))
    began = clock.pass_time(hours=1)
    clock.pass_time(minutes=2)
    send(ledger, lease, an_intent("unsubscribe"))
    send(ledger, lease, an_intent(email="bob@example.com"))
    summary = ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, began)
    assert (summary.events, summary.absent) == ({}, 0)
    assert the_record(ledger)["last_status"] == "unsubscribed"


def test_the_same_read_counts_once(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    at = clock.pass_time(days=1)
    for _ in range(2):
        ledger.members.observe("acme", observed(), True, at, list_ids=["list1"])
    assert the_record(ledger)["absent_reads"] == 1


def test_an_older_read_is_left_out(ledger: Ledger, clock: Clock) -> None:
    at = clock.pass_time(days=1)
    ledger.members.observe("acme", observed(("ann@example.com", "unsubscribed")), True, at)
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, START)
    assert the_record(ledger)["last_status"] == "unsubscribed"


def test_only_complete_reads_of_that_audience_count_absences(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    ledger.members.observe("acme", observed(), False, clock.pass_time(days=1), list_ids=["list1"])
    ledger.members.observe("acme", observed(), True, clock.pass_time(days=1), list_ids=["list2"])
    ledger.members.observe("acme", observed(), True, clock.pass_time(days=1))
    assert the_record(ledger)["absent_reads"] == 0


def test_an_audience_that_was_read_in_part_misses_nobody_while_another_one_does(
    ledger: Ledger, clock: Clock
) -> None:
    everybody = pd.concat(
        [
            observed(("ann@example.com", "subscribed")),
            observed(("bob@example.com", "subscribed")).assign(list_id="list2", audience="wholesale"),
        ]
    )
    ledger.members.observe("acme", everybody, True, clock())
    ledger.members.observe(
        "acme", observed(), ["list2"], clock.pass_time(days=1), list_ids=["list1", "list2"]
    )
    assert ledger.members.absent("acme")["email"].tolist() == ["bob@example.com"]
    assert ledger.members.last_complete_read("list1") is None
    assert ledger.members.last_complete_read("list2") == clock()
    assert ledger.members.counts(["list1", "list2", "list3"]) == {"list1": 1}


def test_an_audience_is_gone_after_two_runs_without_it_and_back_with_the_next_read(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    for run_id, gone in (("one", set()), ("one", set()), ("two", {"list1"})):
        ledger.audience_reads.not_found("acme", ["list1", "never read"], run_id, fence=lease.fence)
        assert ledger.audience_reads.gone(["list1", "never read"]) == gone
    ledger.members.observe("acme", observed(), False, clock.pass_time(minutes=1), list_ids=["list1"])
    assert ledger.audience_reads.gone(["list1"]) == frozenset()
    with pytest.raises(LeaseLostError):
        ledger.audience_reads.not_found("acme", ["list1"], "three", fence=lease.fence + 1)


def test_a_member_vanishes_after_two_complete_reads_each_confirmed(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    assert ledger.members.confirm_absent("list1", ["ann@example.com"]) == [], "no read missed it"
    for expected in ([], ["ann@example.com"]):
        ledger.members.observe("acme", observed(), True, clock.pass_time(days=1), list_ids=["list1"])
        assert list(ledger.members.absent("acme")["email"]) == ["ann@example.com"]
        assert ledger.members.confirm_absent("list1", ["Ann@example.com"]) == expected
        assert ledger.members.confirm_absent("list1", ["ann@example.com"]) == [], "once per read"
        assert ledger.members.absent("acme").empty
    assert the_record(ledger)["vanished"]
    [event] = ledger.consent.events(email="ann@example.com")
    assert (event.event, event.status_from) == ("vanish", "subscribed")


def test_absent_without_confirmation_never_vanishes(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    for _ in range(5):
        ledger.members.observe("acme", observed(), True, clock.pass_time(days=1), list_ids=["list1"])
    assert (the_record(ledger)["absent_reads"], the_record(ledger)["vanished"]) == (5, False)
    assert ledger.members.confirm_absent("list1", ["ann@example.com"]) == []
    assert not the_record(ledger)["vanished"]


def test_somebody_who_is_found_again_is_no_longer_absent(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    for _ in range(2):
        ledger.members.observe("acme", observed(), True, clock.pass_time(days=1), list_ids=["list1"])
        ledger.members.confirm_absent("list1", ["ann@example.com"])
    summary = ledger.members.observe(
        "acme", observed(("ann@example.com", "subscribed")), True, clock.pass_time(days=1)
    )
    assert summary.found_again == 1
    assert (the_record(ledger)["absent_reads"], the_record(ledger)["vanished"]) == (0, False)


def test_an_address_that_was_only_ever_rejected_is_not_absent(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    send(ledger, lease, an_intent(), "rejected", title="Invalid Resource")
    ledger.members.observe("acme", observed(), True, clock.pass_time(days=1), list_ids=["list1"])
    assert the_record(ledger)["absent_reads"] == 0


def test_what_mailchimp_made_of_our_data_is_learned_where_the_answer_never_came(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent(email="bob@example.com"), returned=ANSWER)
    rows = observed(("ann@example.com", "transactional"), ("bob@example.com", "transactional"))
    summary = ledger.members.observe("acme", rows, True, clock.pass_time(hours=1))
    assert summary.answers_learned == 1
    assert json.loads(the_record(ledger)["returned_json"]) == {
        "language": "en",
        "merge_fields": {"FNAME": "ANN"},
    }
    assert (
        json.loads(the_record(ledger, "bob@example.com")["returned_json"])["merge_fields"]["FNAME"] == "Ann"
    )


def test_a_member_that_nobody_of_us_wrote_keeps_no_copy_of_its_data(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock.pass_time(days=1))
    assert the_record(ledger)[["sent_json", "returned_json"]].isna().all()


def test_archived_by_us_ends_when_somebody_brings_the_member_back(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("archive"))
    ledger.members.observe("acme", observed(("ann@example.com", "archived")), True, clock.pass_time(days=1))
    assert the_record(ledger)["archived_by_us"]
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock.pass_time(days=1))
    assert not the_record(ledger)["archived_by_us"]


def test_an_audience_without_members_can_be_observed_from_the_start(ledger: Ledger, clock: Clock) -> None:
    summary = ledger.members.observe("acme", observed(), True, clock(), list_ids=["list1"])
    assert (summary.first_seen, summary.absent) == (0, 0)
    records = ledger.members.load(["list1"])
    assert records.empty
    assert str(records.dtypes["partner_id"]) == "Int64"
    assert str(records.dtypes["retry_at"]) == "datetime64[us, UTC]"


def test_members_of_other_audiences_are_not_touched(ledger: Ledger, clock: Clock) -> None:
    ledger.members.observe("acme", observed(("ann@example.com", "subscribed")), True, clock())
    rows = observed(("ann@example.com", "unsubscribed"), list_id="list2", audience="trade")
    ledger.members.observe("acme", rows, True, clock.pass_time(days=1))
    records = ledger.members.of_email("ann@example.com").set_index("list_id")
    assert dict(records["opted_out"]) == {"list1": False, "list2": True}
    assert ledger.consent.last_status("list1") == {"ann@example.com": "subscribed"}
    assert ledger.consent.ever_opted_out(["ann@example.com", "bob@example.com"]) == {"ann@example.com"}


def test_more_members_than_fit_in_one_statement(ledger: Ledger, clock: Clock) -> None:
    people = [f"person{number}@example.com" for number in range(1501)]
    ledger.members.observe("acme", observed(*((email, "subscribed") for email in people)), True, clock())
    at = clock.pass_time(days=1)
    half = observed(*((email, "unsubscribed") for email in people[:700]), at=at)
    summary = ledger.members.observe("acme", half, True, at)
    assert (summary.events, summary.absent) == ({"opt_out": 700}, 801)
    records = ledger.members.load(["list1"])
    assert (records["opted_out"].sum(), records["absent_reads"].sum()) == (700, 801)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (observed(("ann@example.com", "subscribed")).drop(columns="status"), "no column status"),
        (observed(("ann@example.com", "subscribed"), last_changed=pd.Timestamp("2026-01-01")), "no timezone"),
        (observed(("ann@example.com", "subscribed"), status=None), "no list_id, email or status"),
    ],
)
def test_rows_of_another_shape_are_refused(
    ledger: Ledger, clock: Clock, rows: pd.DataFrame, complaint: str
) -> None:
    with pytest.raises(ObservationError, match=complaint):
        ledger.members.observe("acme", rows, True, clock())


def test_a_stale_owner_observes_nothing(ledger: Ledger, lease: Lease, clock: Clock) -> None:
    with pytest.raises(LeaseLostError):
        ledger.members.observe(
            "acme", observed(("ann@example.com", "subscribed")), True, clock(), fence=lease.fence - 1
        )
    assert ledger.members.of_email("ann@example.com").empty
