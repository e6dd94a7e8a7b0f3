"""Whom we asked to confirm, and which permissions were given, taken back, or sent without an answer."""

import json
from datetime import datetime, timedelta
from importlib import import_module

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, text

from mc_pipeline.ledger import Intent, Lease, Ledger, Outcome
from mc_pipeline.ledger.database import database_url
from mc_pipeline.ledger.permissions import PermissionRecord
from mc_pipeline.ledger.refusals import Refusal
from mc_pipeline_tests.ledger.conftest import START, Clock, an_intent, observed, the_record

ANN = "ann@example.com"
CONSENTED = START - timedelta(days=2)


def a_permit(
    *names: str, email: str = ANN, list_id: str = "list1", consented_at: datetime = CONSENTED
) -> Intent:
    return Intent(
        list_id=list_id,
        audience="retail",
        email=email,
        operation="permit",
        body={"marketing_permissions": list(names or ["Email"])},
        evidence={"source": "Newsletter", "at": consented_at.isoformat()},
    )


def give(ledger: Ledger, lease: Lease, outcome: str = "applied", **intent: object) -> None:
    (number,) = ledger.intents.record("acme", lease.fence, "run-1", [a_permit(**intent)])
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome=outcome))])


def see(
    ledger: Ledger, lease: Lease, at: datetime, *, email: str = ANN, list_id: str = "list1", **had: bool
) -> int:
    rows = observed((email, "subscribed"), list_id=list_id, permissions_json=json.dumps(had))
    return ledger.members.observe(
        "acme", rows, False, at, list_ids=[list_id], fence=lease.fence
    ).permissions_withdrawn


def known(ledger: Ledger, email: str = ANN) -> PermissionRecord:
    (record,) = ledger.permissions.of_email("acme", email)
    return record


def test_a_permission_is_kept_with_the_evidence_that_it_was_given_on(ledger: Ledger, lease: Lease) -> None:
    give(ledger, lease)
    record = known(ledger)
    assert (record.permission, record.enabled, record.given_at) == ("email", True, START)
    assert (record.evidence_at, record.evidence_source) == (CONSENTED, "Newsletter")
    assert ledger.permissions.last_words("acme") == {(ANN, "email"): CONSENTED}
    assert ledger.permissions.last_words("other") == {}
    # Newer consent may give it again: the mark that earlier versions set once is not set any more.
    assert not ledger.members.of_email(ANN)["permitted"].any()


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [("applied", True), ("lost", True), ("rejected", False), ("deferred", False), ("not_sent", False)],
)
def test_only_what_surely_was_not_applied_may_be_given_on_the_same_evidence(
    ledger: Ledger, lease: Lease, outcome: str, counts: bool
) -> None:
    give(ledger, lease, outcome)
    assert bool(ledger.permissions.last_words("acme")) is counts


def test_what_is_under_way_counts_as_given(ledger: Ledger, lease: Lease) -> None:
    (number,) = ledger.intents.record("acme", lease.fence, "run-1", [a_permit()])
    assert ledger.permissions.last_words("acme") == {(ANN, "email"): START}
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="unknown"))])
    assert ledger.permissions.last_words("acme") == {(ANN, "email"): START}


def test_a_withdrawal_is_what_was_there_before_and_is_not_now(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    give(ledger, lease)
    assert see(ledger, lease, START - timedelta(minutes=5), Email=False) == 0, "a read of before it was given"
    later = clock.pass_time(hours=1)
    assert see(ledger, lease, later, Email=False) == 1
    assert (known(ledger).enabled, known(ledger).withdrawn_at) == (False, later)
    assert ledger.permissions.last_words("acme") == {(ANN, "email"): later}
    assert see(ledger, lease, clock.pass_time(hours=1), Email=False) == 0, "reported once"
    assert known(ledger).withdrawn_at == later


def test_what_the_person_ticked_themselves_and_took_back_is_a_withdrawal_too(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    assert see(ledger, lease, START, Email=True) == 0
    assert ledger.permissions.last_words("acme") == {}
    later = clock.pass_time(hours=1)
    assert see(ledger, lease, later, Email=False) == 1
    assert ledger.permissions.last_words("acme") == {(ANN, "email"): later}


def test_what_was_never_there_is_no_withdrawal(ledger: Ledger, lease: Lease) -> None:
    assert see(ledger, lease, START, Email=False) == 0
    assert ledger.permissions.of_email("acme", ANN) == []


def test_ticked_again_it_does_not_lift_the_withdrawal(ledger: Ledger, lease: Lease, clock: Clock) -> None:
    see(ledger, lease, START, Email=True)
    withdrawn = clock.pass_time(hours=1)
    see(ledger, lease, withdrawn, Email=False)
    see(ledger, lease, clock.pass_time(hours=1), Email=True)
    assert known(ledger).enabled
    assert ledger.permissions.last_words("acme") == {(ANN, "email"): withdrawn}


def test_a_withdrawal_in_one_audience_is_the_last_word_in_the_company(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    give(ledger, lease, list_id="list1")
    later = clock.pass_time(hours=1)
    see(ledger, lease, later, Email=False)
    older = a_permit(list_id="list2", consented_at=later)
    (refusal,) = ledger.intents.record_unless_out("acme", lease.fence, "run-2", [older])
    assert isinstance(refusal, Refusal)
    assert "withdrawn since" in refusal.because
    newer = a_permit(list_id="list2", consented_at=later + timedelta(seconds=1))
    (number,) = ledger.intents.record_unless_out("acme", lease.fence, "run-2", [newer])
    assert isinstance(number, int)
    assert ledger.intents.refused_by_now([number]) == set()


def test_a_withdrawal_that_is_seen_after_the_intent_refuses_the_call(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    see(ledger, lease, START, Email=True)
    (number,) = ledger.intents.record_unless_out("acme", lease.fence, "run-1", [a_permit(list_id="list2")])
    assert isinstance(number, int)
    see(ledger, lease, clock.pass_time(minutes=1), Email=False)
    assert ledger.intents.refused_by_now([number]) == {number}


def test_a_lost_answer_is_listed_until_the_member_is_seen_with_it(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    see(ledger, lease, START, Email=False)
    give(ledger, lease, "lost")
    assert ledger.permissions.lost("acme")[["email", "audience", "permission"]].values.tolist() == [
        [ANN, "retail", "email"]
    ]
    see(ledger, lease, clock.pass_time(hours=1), Email=True)
    assert ledger.permissions.lost("acme").empty
    assert known(ledger).enabled


def test_anyone_who_unsubscribed_is_not_listed(ledger: Ledger, lease: Lease, clock: Clock) -> None:
    see(ledger, lease, START, Email=False)
    give(ledger, lease, "lost")
    rows = observed((ANN, "unsubscribed"), at=clock.pass_time(hours=1))
    ledger.members.observe("acme", rows, False, clock.moment, list_ids=["list1"], fence=lease.fence)
    assert ledger.permissions.lost("acme").empty


@pytest.mark.parametrize("by", ["us", "the owner in Mailchimp"])
def test_a_member_with_another_address_keeps_what_was_said(
    ledger: Ledger, lease: Lease, clock: Clock, by: str
) -> None:
    give(ledger, lease)
    later = clock.pass_time(hours=1)
    see(ledger, lease, later, Email=False)
    if by == "us":
        (number,) = ledger.intents.record("acme", lease.fence, "run-1", [an_intent("change_email")])
        ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
    else:
        ledger.members.record_change_of_address("acme", "list1", ANN, "new@example.com", later)
    assert ledger.permissions.last_words("acme") == {
        (ANN, "email"): later,
        ("new@example.com", "email"): later,
    }


def test_a_new_address_keeps_the_strictest_of_both_histories(
    ledger: Ledger, lease: Lease, clock: Clock
) -> None:
    see(ledger, lease, START, email="new@example.com", Email=True)
    withdrawn = clock.pass_time(hours=1)
    see(ledger, lease, withdrawn, email="new@example.com", Email=False)
    give(ledger, lease)
    ledger.members.record_change_of_address("acme", "list1", ANN, "new@example.com", clock.moment)
    record = known(ledger, "new@example.com")
    assert (record.enabled, record.withdrawn_at, record.evidence_at) == (True, withdrawn, CONSENTED)


def asking(email: str = ANN, status: str = "pending") -> Intent:
    return an_intent(email=email, body={"email_address": email, "status": status, "merge_fields": {}})


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [("applied", True), ("lost", True), ("unknown", True), ("rejected", False), ("not_sent", False)],
)
def test_who_may_have_got_a_confirmation_mail_was_asked(
    ledger: Ledger, lease: Lease, outcome: str, counts: bool
) -> None:
    (number,) = ledger.intents.record("acme", lease.fence, "run-1", [asking()])
    assert ledger.confirmations.asked("acme") == {("list1", ANN): START}
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome=outcome))])
    assert ledger.confirmations.asked("acme") == ({("list1", ANN): START} if counts else {})
    assert ledger.confirmations.asked("other") == {}


def test_an_address_stays_asked_when_its_member_gets_another_one(ledger: Ledger, lease: Lease) -> None:
    created, renamed = ledger.intents.record(
        "acme", lease.fence, "run-1", [asking(), an_intent("change_email")]
    )
    for number in (created, renamed):
        ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="applied"))])
    assert the_record(ledger, "new@example.com")["created_status"] == "pending"
    assert ledger.confirmations.asked("acme") == {("list1", ANN): START}


def test_who_was_tried_in_a_first_load_belongs_to_it(ledger: Ledger, lease: Lease, clock: Clock) -> None:
    from mc_pipeline_tests.ledger.test_plans import a_plan

    ledger.plans.save(a_plan(first_load_audiences=["list1"]))
    ledger.plans.approve("plan-1", "mia", "first load")
    (number,) = ledger.intents.record("acme", lease.fence, "run-1", [asking(status="transactional")])
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="deferred"))])
    assert ledger.confirmations.of_first_load("acme", [ANN]) == {("list1", ANN)}
    ledger.plans.mark_applied("plan-1", clock.moment)
    clock.pass_time(hours=1)
    ledger.intents.record("acme", lease.fence, "run-2", [asking("bob@example.com")])
    assert ledger.confirmations.of_first_load("acme", [ANN, "bob@example.com"]) == {("list1", ANN)}


def test_what_earlier_versions_sent_is_taken_over(ledger_url: str) -> None:
    with Ledger.open(ledger_url, clock=Clock()) as before, before.leases.hold("acme", "run-1") as lease:
        intents = [
            asking("pending@example.com"),
            a_permit("Email"),
            a_permit("Email", email="refused@example.com"),
            an_intent("change_email"),
        ]
        numbers = before.intents.record("acme", lease.fence, "run-1", intents)
        outcomes = ["applied", "applied", "rejected", "applied"]
        for number, outcome in zip(numbers, outcomes, strict=True):
            before.intents.settle("acme", lease.fence, [(number, Outcome(outcome=outcome))])
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        for table in ("ledger_permission", "ledger_confirmation"):
            connection.execute(text(f"DROP TABLE {table}"))
        with Operations.context(MigrationContext.configure(connection)):
            import_module("mc_pipeline.ledger.migrations.versions.0015_permissions").upgrade()
    engine.dispose()
    with Ledger.open(ledger_url, clock=Clock()) as after:
        assert after.confirmations.asked("acme") == {("list1", "pending@example.com"): START}
        assert after.permissions.last_words("acme") == {
            (ANN, "email"): START,
            ("new@example.com", "email"): START,
        }
