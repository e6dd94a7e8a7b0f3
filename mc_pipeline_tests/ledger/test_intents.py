"""Intents before, outcomes after, and what an outcome makes of the member and the consent history."""

import json
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from mc_pipeline.digests import body_digest, canonical_json
from mc_pipeline.ledger import Intent, IntentError, Lease, Ledger, Outcome
from mc_pipeline_tests.ledger.conftest import START, Clock, an_intent, the_record

ANSWER = {
    "status": "transactional",
    "merge_fields": {"FNAME": "Ann", "PHONE": ""},
    "language": "en",
    "id": "0f",
}


def send(ledger: Ledger, lease: Lease, intent: Intent, outcome: str = "applied", **values: object) -> int:
    """Record and settle one write."""
    [number] = ledger.intents.record("acme", lease.fence, "run-1", [intent])
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome=outcome, **values))])  # type: ignore[arg-type]
    return number


def test_what_was_recorded_is_open_until_it_is_settled(ledger: Ledger, lease: Lease) -> None:
    people = ["ann@example.com", "bob@example.com", "eve@example.com"]
    numbers = ledger.intents.record(
        "acme", lease.fence, "run-1", [an_intent(email=email) for email in people]
    )
    ledger.intents.mark_submitted("acme", lease.fence, numbers[:2], "batch-1")
    ledger.intents.settle("acme", lease.fence, [(numbers[0], Outcome(outcome="applied"))])
    assert [(one.id, one.email, one.batch_id) for one in ledger.intents.open("acme")] == [
        (numbers[1], "bob@example.com", "batch-1"),
        (numbers[2], "eve@example.com", None),
    ]
    assert ledger.intents.open_batches("acme") == ["batch-1"]
    assert ledger.intents.open("other") == []


def test_ids_come_back_in_the_order_of_the_intents(ledger: Ledger, lease: Lease) -> None:
    people = [f"person{number}@example.com" for number in range(1203)]
    numbers = ledger.intents.record(
        "acme", lease.fence, "run-1", [an_intent(email=email) for email in people]
    )
    assert {one.id: one.email for one in ledger.intents.open("acme")} == dict(
        zip(numbers, people, strict=True)
    )
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied")) for number in numbers])
    assert ledger.intents.open("acme") == []
    assert list(ledger.members.load(["list1"])["email"]) == sorted(people)


def test_an_open_intent_holds_all_that_resolving_it_needs(ledger: Ledger, lease: Lease) -> None:
    ledger.intents.record(
        "acme",
        lease.fence,
        "run-1",
        [an_intent(plan_id="p1", row_key="k1", partner_id=7, name_sent="Ann Other")],
    )
    [one] = ledger.intents.open("acme")
    assert (one.list_id, one.audience, one.operation, one.plan_id, one.row_key) == (
        "list1", "retail", "create", "p1", "k1",
    )  # fmt: skip
    assert one.body["merge_fields"] == {"FNAME": "Ann"}
    assert (one.partner_id, one.name_sent, one.run_id, one.recorded_at) == (7, "Ann Other", "run-1", START)


def test_an_unknown_outcome_stays_open_and_changes_nothing(ledger: Ledger, lease: Lease) -> None:
    number = send(ledger, lease, an_intent(), "unknown", detail="the answer never came")
    [one] = ledger.intents.open("acme")
    assert (one.id, one.outcome, one.detail) == (number, "unknown", "the answer never came")
    assert ledger.members.of_email("ann@example.com").empty
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied", returned=ANSWER))])
    assert the_record(ledger)["created_by_us"]


def test_intents_older_than_a_moment_can_be_asked_for(ledger: Ledger, lease: Lease, clock: Clock) -> None:
    [old] = ledger.intents.record("acme", lease.fence, "run-1", [an_intent()])
    begin = clock.pass_time(hours=1)
    ledger.intents.record("acme", lease.fence, "run-2", [an_intent(email="bob@example.com")])
    assert [one.id for one in ledger.intents.open("acme", before=begin)] == [old]


def test_an_outcome_is_final(ledger: Ledger, lease: Lease) -> None:
    number = send(ledger, lease, an_intent("tag"))
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
    with pytest.raises(
        IntentError, match=r"tag of a•••@example.com\) is settled as applied; it cannot become"
    ):
        ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="rejected"))])


def test_nobody_settles_the_intents_of_another_company(ledger: Ledger, lease: Lease):
    [number] = ledger.intents.record("acme", lease.fence, "run-1", [an_intent("tag")])
    with pytest.raises(IntentError, match="intents of acme in a call for other"):
        ledger.intents.settle("other", lease.fence, [(number, Outcome("applied"))])
    assert [each.id for each in ledger.intents.open("acme")] == [number]


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"operation": "put"}, "operation is unknown"),
        ({"body": {"email_address": "x", "total": Decimal("1.5")}}, "no JSON"),
        ({"body": {}}, "no email_address"),
        ({"operation": "tag", "body": {}}, "names no tag"),
        ({"list_id": ""}, "must not be empty"),
    ],
)
def test_one_intent_that_cannot_be_kept_means_that_none_is(
    ledger: Ledger, lease: Lease, broken: dict[str, object], complaint: str
) -> None:
    values: dict[str, object] = {
        "operation": "create",
        "email": "ann@example.com",
        "list_id": "list1",
        "audience": "retail",
        "body": {"email_address": "ann@example.com"},
        **broken,
    }
    intents = [an_intent(email="bob@example.com"), Intent(**values)]  # type: ignore[arg-type]
    with pytest.raises(IntentError, match=complaint) as refusal:
        ledger.intents.record("acme", lease.fence, "run-1", intents)
    assert "ann@example.com" not in str(refusal.value)
    assert ledger.intents.open("acme") == []


def test_one_outcome_that_cannot_be_kept_means_that_none_is(ledger: Ledger, lease: Lease) -> None:
    [number] = ledger.intents.record("acme", lease.fence, "run-1", [an_intent()])
    for wrong in (
        (number + 1, Outcome(outcome="applied")),
        (number, Outcome(outcome="fine")),
    ):
        with pytest.raises(IntentError):
            ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied")), wrong])
    assert len(ledger.intents.open("acme")) == 1
    assert ledger.members.of_email("ann@example.com").empty


def test_an_accepted_create_is_ours_with_what_was_sent_and_what_came_back(
    ledger: Ledger, lease: Lease
) -> None:
    send(ledger, lease, an_intent(partner_id=7, name_sent="Ann Other"), returned=ANSWER)
    record = the_record(ledger)
    assert record["created_by_us"]
    assert (record["created_status"], record["last_status"], record["created_at"]) == (
        "transactional",
    ) * 2 + (START,)
    assert json.loads(record["sent_json"]) == {"merge_fields": {"FNAME": "Ann"}}
    assert json.loads(record["returned_json"]) == {
        "merge_fields": {"FNAME": "Ann", "PHONE": ""},
        "language": "en",
    }
    assert (record["partner_id"], record["name_sent"]) == (7, "Ann Other")
    assert not record["ever_subscribed"]
    assert ledger.consent.events(email="ann@example.com") == []


@pytest.mark.parametrize("outcome", ["unchanged", "held_back", "not_sent"])
def test_a_create_that_was_not_ours_makes_no_record(ledger: Ledger, lease: Lease, outcome: str) -> None:
    send(ledger, lease, an_intent(), outcome)
    assert ledger.members.of_email("ann@example.com").empty
    assert ledger.intents.open("acme") == []


def test_a_create_as_subscribed_is_a_consent_event_of_ours_with_its_evidence(
    ledger: Ledger, lease: Lease
) -> None:
    body = {
        "email_address": "ann@example.com",
        "status": "subscribed",
        "timestamp_opt": "2025-05-05T10:00:00+00:00",
    }
    evidence = {"source": "Newsletter", "kind": "mailing_list", "record_id": 3, "address": "ann@example.com"}
    send(ledger, lease, an_intent(body=body, evidence=evidence))
    assert the_record(ledger)["ever_subscribed"]
    [event] = ledger.consent.events(email="ann@example.com")
    assert (event.event, event.origin, event.status_from, event.status_to) == (
        "subscribe",
        "ours",
        "",
        "subscribed",
    )
    assert event.evidence is not None
    assert event.evidence["timestamp_opt"] == "2025-05-05T10:00:00+00:00"
    assert event.evidence.items() >= evidence.items()
    assert ledger.consent.subscribed_by_us(["list1"]) == [event]
    assert ledger.consent.subscribed_by_us(["list2"]) == []


def test_an_accepted_update_is_merged_over_what_was_sent_before(ledger: Ledger, lease: Lease) -> None:
    body = {
        "email_address": "ann@example.com",
        "merge_fields": {"FNAME": "Ann", "ORDERS": 1},
        "language": "en",
    }
    send(ledger, lease, an_intent(body=body), returned=ANSWER)
    answer = {**ANSWER, "merge_fields": {"FNAME": "Ann", "ORDERS": 2}, "language": "de"}
    send(
        ledger,
        lease,
        an_intent("update", body={"merge_fields": {"ORDERS": 2}, "language": "de"}),
        returned=answer,
    )
    record = the_record(ledger)
    assert json.loads(record["sent_json"]) == {
        "merge_fields": {"FNAME": "Ann", "ORDERS": 2},
        "language": "de",
    }
    assert json.loads(record["returned_json"]) == {
        "merge_fields": {"FNAME": "Ann", "ORDERS": 2},
        "language": "de",
    }


def test_an_update_without_an_answer_leaves_unknown_what_mailchimp_made_of_it(
    ledger: Ledger, lease: Lease
) -> None:
    send(ledger, lease, an_intent(), returned=ANSWER)
    send(ledger, lease, an_intent("update"))
    record = the_record(ledger)
    assert json.loads(record["sent_json"]) == {"merge_fields": {"FNAME": "Anna"}}
    assert pd.isna(record["returned_json"])


def test_updating_a_member_that_others_created_does_not_make_it_ours(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent("update"), returned=ANSWER)
    record = the_record(ledger)
    assert not record["created_by_us"]
    assert json.loads(record["sent_json"]) == {"merge_fields": {"FNAME": "Anna"}}


def test_tags_are_those_that_we_added_and_did_not_remove(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("tag", body={"tags": ["VIP", "B2B"]}))
    send(ledger, lease, an_intent("tag", body={"tag": "theirs"}), "unchanged")
    send(ledger, lease, an_intent("tag", body={"tag": "vip"}))
    assert the_record(ledger)["tags"] == ["B2B", "VIP"]
    send(ledger, lease, an_intent("untag", body={"tag": "vip"}))
    assert the_record(ledger)["tags"] == ["B2B"]
    send(ledger, lease, an_intent("untag", body={"tag": "B2B"}), "unchanged")
    assert the_record(ledger)["tags"] == []


def test_archived_by_us_is_distinguished_from_archived_already(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("archive"), "unchanged")
    assert not the_record(ledger)["archived_by_us"]
    send(ledger, lease, an_intent("archive"))
    assert (the_record(ledger)["archived_by_us"], the_record(ledger)["last_status"]) == (True, "archived")
    [event] = ledger.consent.events(email="ann@example.com")
    assert (event.event, event.origin, event.status_from) == ("archive", "ours", "transactional")


def test_a_member_created_again_after_our_archive_still_has_what_we_wrote(
    ledger: Ledger, lease: Lease
) -> None:
    body = {"email_address": "ann@example.com", "status": "subscribed", "merge_fields": {"LNAME": "Old"}}
    send(ledger, lease, an_intent(body=body))
    send(ledger, lease, an_intent("tag"))
    send(ledger, lease, an_intent("archive"))
    send(ledger, lease, an_intent())
    record = the_record(ledger)
    assert (record["archived_by_us"], record["created_status"]) == (False, "transactional")
    assert json.loads(record["sent_json"]) == {"merge_fields": {"FNAME": "Ann", "LNAME": "Old"}}
    assert record["tags"] == ["VIP"]
    assert record["ever_subscribed"], "what once was is not forgotten"


def test_our_unsubscribe_is_an_opt_out_of_origin_ours(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("unsubscribe"))
    assert (the_record(ledger)["opted_out"], the_record(ledger)["last_status"]) == (True, "unsubscribed")
    [event] = ledger.consent.events(email="ann@example.com")
    assert (event.event, event.origin, event.status_from) == ("opt_out", "ours", "transactional")
    assert ledger.consent.ever_opted_out() == {"ann@example.com"}


def test_a_create_as_unsubscribed_is_an_opt_out_too(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent(body={"email_address": "ann@example.com", "status": "unsubscribed"}))
    assert the_record(ledger)["opted_out"]
    assert ledger.consent.ever_opted_out(["ann@example.com"]) == {"ann@example.com"}


def test_an_upgrade_is_a_subscription_of_origin_ours(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("upgrade"))
    assert the_record(ledger)["ever_subscribed"]
    assert the_record(ledger)["created_status"] == "transactional"
    assert [event.event for event in ledger.consent.events(email="ann@example.com")] == ["subscribe"]


def test_a_changed_email_moves_the_record_and_keeps_its_history(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    send(ledger, lease, an_intent(partner_id=7, name_sent="Ann"), returned=ANSWER)
    send(ledger, lease, an_intent("tag"))
    clock.pass_time(days=1)
    body = {"email_address": "Anna@Example.com", "merge_fields": {"LNAME": "Other"}}
    send(ledger, lease, an_intent("change_email", body=body), returned=ANSWER)
    clock.pass_time(days=1)
    send(ledger, lease, an_intent("unsubscribe", email="anna@example.com"))
    assert ledger.members.of_email("ann@example.com").empty
    record = the_record(ledger, "anna@example.com")
    assert (record["created_by_us"], record["tags"], record["partner_id"]) == (True, ["VIP"], 7)
    assert json.loads(record["sent_json"]) == {"merge_fields": {"FNAME": "Ann", "LNAME": "Other"}}
    for address in ("ann@example.com", "anna@example.com"):
        happened = [(entry.email, entry.what) for entry in ledger.members.history(address)]
        assert happened == [
            ("ann@example.com", "create"),
            ("ann@example.com", "tag"),
            ("ann@example.com", "change_email"),
            ("anna@example.com", "renamed"),
            ("anna@example.com", "unsubscribe"),
            ("anna@example.com", "opt_out"),
        ]


def test_a_chain_of_changed_emails_in_one_call_loses_nobody(ledger: Ledger, lease: Lease) -> None:
    for number, email in enumerate(("a@example.com", "b@example.com")):
        send(ledger, lease, an_intent(email=email, partner_id=number))
    renames = [("b@example.com", "c@example.com"), ("a@example.com", "b@example.com")]
    numbers = ledger.intents.record(
        "acme", lease.fence, "run-1",
        [an_intent("change_email", email=old, body={"email_address": new}) for old, new in renames],
    )  # fmt: skip
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied")) for number in numbers])
    records = ledger.members.load(["list1"])
    assert dict(zip(records["email"], records["partner_id"], strict=True)) == {
        "b@example.com": 0,
        "c@example.com": 1,
    }


def test_what_the_new_address_once_did_survives_the_rename(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent("unsubscribe", email="new@example.com"))
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("change_email"))
    record = the_record(ledger, "new@example.com")
    assert (record["created_by_us"], record["opted_out"]) == (True, True)


def test_a_rejection_is_remembered_by_what_was_sent(ledger: Ledger, lease: Lease) -> None:
    intent = an_intent()
    send(ledger, lease, intent, "rejected", title="Invalid Resource", detail="looks fake or invalid")
    record = the_record(ledger)
    assert record["rejection_key"] == body_digest(canonical_json(intent.body))
    assert (record["rejection_title"], record["rejection_detail"]) == (
        "Invalid Resource",
        "looks fake or invalid",
    )
    assert pd.isna(record["retry_at"])
    assert not record["created_by_us"]
    assert pd.isna(record["last_status"])


def test_an_accepted_write_ends_the_rejection(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent(), "rejected", title="Invalid Resource")
    send(ledger, lease, an_intent("tag"))
    assert the_record(ledger)["rejection_title"] == "Invalid Resource", "a tag says nothing about the data"
    send(ledger, lease, an_intent("update"))
    assert the_record(ledger)[["rejection_key", "rejection_detail", "rejection_title"]].isna().all()


def test_a_refused_tag_does_not_hide_that_the_data_was_refused(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent(), "rejected", title="Invalid Resource")
    send(ledger, lease, an_intent("tag"), "rejected", title="not on the list")
    assert the_record(ledger)["rejection_title"] == "Invalid Resource"


def test_a_deferred_write_is_due_after_five_minutes_then_one_two_and_seven_days_then_no_more(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    waits = []
    for attempt in range(5):
        body = {"email_address": "ann@example.com", "merge_fields": {"ORDERS": attempt}}
        send(
            ledger, lease, an_intent(body=body), "deferred", title="Invalid Resource", detail="a lot of lists"
        )
        record = the_record(ledger)
        assert record["rejection_key"] == body_digest(canonical_json(body))
        if pd.isna(record["retry_at"]):
            break
        waits.append(record["retry_at"] - clock())
        clock.moment = record["retry_at"].to_pydatetime()
    assert attempt == 4, "the fifth refusal is permanent"
    assert waits == [timedelta(minutes=5), timedelta(days=1), timedelta(days=2), timedelta(days=7)]
    send(ledger, lease, an_intent())
    send(ledger, lease, an_intent("update"), "deferred")
    assert the_record(ledger)["retry_at"] - clock() == timedelta(minutes=5), "counted anew after a success"


def test_several_outcomes_of_one_member_in_one_call_follow_each_other(ledger: Ledger, lease: Lease) -> None:
    writes = [an_intent(), an_intent("update"), an_intent("tag"), an_intent("unsubscribe")]
    numbers = ledger.intents.record("acme", lease.fence, "run-1", writes)
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied")) for number in numbers])
    record = the_record(ledger)
    assert json.loads(record["sent_json"]) == {"merge_fields": {"FNAME": "Anna"}}
    assert (record["tags"], record["last_status"]) == (["VIP"], "unsubscribed")


def test_everything_sent_about_an_address_can_be_looked_up(ledger: Ledger, lease: Lease) -> None:
    send(ledger, lease, an_intent(), returned={**ANSWER, "stats": {"long": "list"}})
    send(ledger, lease, an_intent("update"), "rejected", title="Invalid Resource", detail="no number")
    first, second = ledger.intents.for_email(" Ann@Example.com ")
    assert (first.operation, first.outcome, first.settled_at) == ("create", "applied", START)
    assert first.returned == {key: ANSWER[key] for key in ("status", "merge_fields", "language")}
    assert (second.outcome, second.title, second.detail) == ("rejected", "Invalid Resource", "no number")
    assert "ann@" not in repr(first)


def test_a_runs_progress_is_counted_by_batch_and_outcome(ledger: Ledger, lease: Lease) -> None:
    numbers = ledger.intents.record(
        "acme",
        lease.fence,
        "run-1",
        [an_intent("update", email=f"p{number}@example.com") for number in range(5)],
    )
    ledger.intents.mark_submitted("acme", lease.fence, numbers[:4], "batch-1")
    outcomes = [(number, Outcome(outcome="applied")) for number in numbers[:3]]
    ledger.intents.settle(
        "acme", lease.fence, [*outcomes, (numbers[3], Outcome(outcome="rejected", title="Bad"))]
    )
    progress = ledger.intents.progress("acme", "run-1")
    rows = {(row.batch_id, row.outcome): (row.intents, row.title) for row in progress.itertuples()}
    assert rows == {
        ("batch-1", "applied"): (3, ""),
        ("batch-1", "rejected"): (1, "Bad"),
        ("", "open"): (1, ""),
    }
