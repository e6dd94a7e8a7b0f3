"""Addresses that partners have and had, and the evidence that people were subscribed on."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from mc_pipeline.ledger import ConsentEvent, Lease, Ledger, Outcome
from mc_pipeline.ledger.migration import _config
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, StandingOptOut
from mc_pipeline.ledger.used_evidence import UsedEvidence
from mc_pipeline_tests.ledger.conftest import START, Clock, an_intent

ANN, OLD, NEW = "ann@example.com", "old@example.com", "new@example.com"


def held(ledger: Ledger) -> dict[tuple[int, str], tuple[datetime, datetime | None]]:
    return {
        (row.partner_id, row.email): (row.first_seen_at, row.left_at)
        for row in ledger.partner_addresses.all()
    }


def test_an_address_is_held_from_the_read_that_showed_it_to_the_one_that_showed_another(
    ledger: Ledger, clock: Clock
) -> None:
    first = clock.moment
    ledger.partner_addresses.observe({1: "Old@Example.com", 2: ANN, 3: ""}, first)
    assert held(ledger) == {(1, OLD): (first, None), (2, ANN): (first, None)}
    second = clock.pass_time(days=1)
    ledger.partner_addresses.observe({1: NEW}, second)
    assert held(ledger) == {(1, OLD): (first, second), (1, NEW): (second, None), (2, ANN): (first, None)}
    third = clock.pass_time(days=1)
    ledger.partner_addresses.observe({1: "", 2: ANN}, third)
    assert held(ledger)[1, NEW] == (second, third)
    ledger.partner_addresses.observe({1: OLD}, clock.pass_time(days=1))
    assert held(ledger)[1, OLD] == (first, None)


def test_around_an_address_are_its_people_their_other_addresses_and_who_shares_those(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.partner_addresses.observe(
        {1: OLD, 2: NEW, 3: "third@example.com", 4: "far@example.com"}, clock.moment
    )
    ledger.partner_addresses.observe({1: NEW}, clock.pass_time(days=1))
    around = ledger.partner_addresses.around([OLD])
    assert {(row.partner_id, row.email) for row in around} == {(1, OLD), (1, NEW), (2, NEW)}
    # A partner that was merged is the one that it was merged into.
    ledger.partner_addresses.remember_gone({1: 3, 4: None}, clock.pass_time(days=1))
    around = ledger.partner_addresses.around([OLD])
    assert (3, "third@example.com") in {(row.partner_id, row.email) for row in around}
    assert ledger.partner_addresses.successors() == {1: 3, 4: None}
    assert held(ledger)[1, NEW][1] == clock.moment


def test_an_older_read_says_nothing_against_a_later_one_and_who_was_hidden_is_not_gone(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.partner_addresses.observe({1: OLD}, START)
    ledger.partner_addresses.observe({1: NEW}, START + timedelta(hours=2))
    after = held(ledger)
    ledger.partner_addresses.observe({1: OLD}, START + timedelta(hours=1))
    assert held(ledger) == after
    ledger.partner_addresses.remember_gone({1: None}, START + timedelta(hours=3))
    ledger.partner_addresses.observe({1: NEW}, START + timedelta(hours=4))
    assert ledger.partner_addresses.successors() == {}
    assert held(ledger)[1, NEW] == (START + timedelta(hours=2), None)


def test_a_known_successor_stays_where_a_later_look_finds_none(ledger: Ledger) -> None:
    ledger.partner_addresses.remember_gone({1: 3, 2: None}, START)
    ledger.partner_addresses.remember_gone({1: None, 2: 3, 4: None}, START + timedelta(hours=1))
    assert ledger.partner_addresses.successors() == {1: 3, 2: 3, 4: None}
    ledger.partner_addresses.remember_gone({1: 5}, START + timedelta(hours=2))
    assert ledger.partner_addresses.successors()[1] == 5


def test_the_first_date_of_an_opt_out_in_odoo_stays_when_its_row_is_written_again(ledger: Ledger) -> None:
    for hours in (0, 5):
        row = StandingOptOut(
            company="acme", email=ANN, cause=BLACKLISTED, said_at=START + timedelta(hours=hours)
        )
        ledger.standing_opt_outs.say([row], ["list1"])
    assert ledger.standing_opt_outs.first_blacklisted([ANN, OLD]) == {ANN: START}


def test_the_evidence_of_a_confirmation_whose_answer_was_lost_is_kept(ledger: Ledger, lease: Lease) -> None:
    evidence = {"source": "Newsletter", "kind": "mailing_list", "record_id": 7, "subscription_id": 70}
    body = {"email_address": ANN, "status": "pending"}
    intent = an_intent(body=body, evidence=evidence, partner_id=1)
    (number,) = ledger.intents.record("acme", lease.fence, "run-1", [intent])
    ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome="lost"))])
    (used,) = ledger.used_evidence.of(["list1"])
    assert (used.email, used.record_id, used.partner_id) == (ANN, 70, 1)


def subscribed(clock: Clock, **changes: object) -> ConsentEvent:
    evidence = {
        "source": "Newsletter",
        "kind": "mailing_list",
        "record_id": 7,
        "subscription_id": 70,
        "address": ANN,
        "at": "2026-02-01T10:00:00+00:00",
        "partner_id": 1,
    }
    values = {
        "company": "acme",
        "audience": "retail",
        "list_id": "list1",
        "email": ANN,
        "event": "subscribe",
        "origin": "ours",
        "status_to": "subscribed",
        "occurred_at": clock.moment,
        "seen_at": clock.moment,
        "evidence": evidence,
    }
    return ConsentEvent(**{**values, **changes})  # type: ignore[arg-type]


def test_what_somebody_was_subscribed_or_asked_to_confirm_on_is_kept_by_its_own_record(
    ledger: Ledger, clock: Clock
) -> None:
    box = {
        "source": "x_news",
        "kind": "boolean_field",
        "record_id": 2,
        "address": NEW,
        "at": None,
        "partner_id": 2,
    }
    ledger.consent.record(
        [
            subscribed(clock),
            subscribed(clock, email=NEW, event="pending", status_to="pending", evidence=box),
            subscribed(clock, email="signed-up@example.com", origin="person", evidence={"webhook": "user"}),
        ]
    )
    of_list, of_box = ledger.used_evidence.of(["list1"])
    assert (of_list.email, of_list.source_id, of_list.record_id, of_list.partner_id) == (ANN, 7, 70, 1)
    assert (of_box.email, of_box.source, of_box.source_id, of_box.record_id) == (NEW, "x_news", 0, 2)
    assert of_box.consented_at is None
    assert ledger.used_evidence.concerned(["list1"], record_ids=[70]) == [of_list]
    assert ledger.used_evidence.concerned(["list1"], emails=["Ann@example.com"], partner_ids=[2]) == [
        of_list,
        of_box,
    ]
    assert ledger.used_evidence.concerned(["list2"], emails=[ANN], record_ids=[70], partner_ids=[1]) == []


def test_when_somebody_first_opted_out_is_known_of_every_audience(ledger: Ledger, clock: Clock) -> None:
    first = clock.moment
    out = {"event": "opt_out", "status_to": "unsubscribed", "origin": "person", "evidence": None}
    ledger.consent.record([subscribed(clock, **out), subscribed(clock, list_id="list2", email=NEW)])
    known = ledger.consent.last_event_id()
    clock.pass_time(days=1)
    ledger.consent.record(
        [subscribed(clock, list_id="list2", **out), subscribed(clock, **{**out, "email": OLD})]
    )
    assert ledger.consent.first_opt_outs() == {ANN: first, OLD: clock.moment}
    assert ledger.consent.first_opt_outs(up_to_event=known) == {ANN: first}


def test_a_ledger_of_an_older_version_keeps_what_it_knows_of_consent_and_addresses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        at = (START - timedelta(days=9)).replace(tzinfo=None).isoformat(sep=" ")
        connection.execute(
            sa.text(
                "INSERT INTO ledger_intent (id, company, fence, run_id, list_id, audience, email, operation, "
                "body_json, partner_id, recorded_at) "
                "VALUES (5, 'acme', 1, 'r', 'list1', 'retail', :ann, 'create', '{}', 1, :at)"
            ),
            {"ann": ANN, "at": at},
        )
        connection.execute(
            sa.text(
                "INSERT INTO ledger_consent_event (company, audience, list_id, email, event, origin, "
                "status_from, status_to, occurred_at, seen_at, evidence_json) "
                "VALUES ('acme', 'retail', 'list1', :ann, 'subscribe', 'ours', '', 'subscribed', :at, :at, "
                ":evidence)"
            ),
            {
                "ann": ANN,
                "at": at,
                "evidence": '{"source":"Newsletter","kind":"mailing_list","record_id":7,"intent":5}',
            },
        )
    engine.dispose()
    with Ledger.open(url) as ledger:
        assert ledger.used_evidence.of(["list1"]) == [
            UsedEvidence(
                company="acme",
                list_id="list1",
                email=ANN,
                kind="mailing_list",
                source="Newsletter",
                source_id=7,
                record_id=0,
                partner_id=1,
                consented_at=None,
                used_at=START - timedelta(days=9),
            )
        ]
        assert held(ledger) == {(1, ANN): (START - timedelta(days=9), None)}


@pytest.mark.parametrize("table", ["ledger_used_evidence", "ledger_partner_address"])
def test_an_erasure_reaches_both(ledger: Ledger, clock: Clock, table: str) -> None:
    ledger.partner_addresses.observe({1: ANN}, clock.moment)
    ledger.consent.record([subscribed(clock)])
    assert table in ledger.erasures.traces(ANN)
    ledger.erasures.forget(ANN, "erased:1")
    assert ledger.erasures.traces(ANN) == {}
