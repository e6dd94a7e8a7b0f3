"""Deliveries that come late, twice or never, and addresses that change."""

from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.sync.opt_outs import address_changes
from mc_pipeline_tests.opt_outs.desk import ANN, AUDIENCE, BOB, COMPANY, LIST, OTHER_LIST, Desk

NEW = "ann.new@example.com"


def subscribed(desk: Desk, *emails: str) -> None:
    """Members that were read once, so that what follows is news."""
    for email in emails:
        desk.mailchimp.add_member(LIST, email)
    desk.poll()
    desk.observe()


def late(desk: Desk, kind: str, email: str, source: str, happened: datetime) -> None:
    desk.deliver(
        kind,
        email,
        source,
        fired_at=happened,
        fired_at_raw=f"{happened:%Y-%m-%d %H:%M:%S}",
        received_at=happened + timedelta(minutes=20),
    )


@pytest.mark.parametrize(("source", "origin"), [("user", "person"), ("admin", "admin")])
def test_a_late_delivery_tells_whose_act_it_was_and_makes_no_second_event(
    desk: Desk, source: str, origin: str
) -> None:
    subscribed(desk, ANN)
    desk.people.unsubscribe(LIST, ANN)
    happened = datetime.fromtimestamp(desk.mailchimp.state.now(), UTC)
    desk.poll()
    assert desk.recorded() == [("opt_out", "unknown", "poll")]
    late(desk, "unsubscribe", ANN, source, happened)
    assert desk.poll().events == []
    assert desk.recorded() == [("opt_out", origin, "poll")]


def test_what_is_reported_as_the_acts_of_two_stays_unknown(desk: Desk) -> None:
    subscribed(desk, ANN)
    desk.people.unsubscribe(LIST, ANN)
    happened = datetime.fromtimestamp(desk.mailchimp.state.now(), UTC)
    desk.poll()
    for source in ("user", "admin"):
        late(desk, "unsubscribe", ANN, source, happened)
    desk.poll()
    assert desk.recorded() == [("opt_out", "unknown", "poll")]


def test_an_opt_out_follows_its_person_to_the_address_they_took(desk: Desk) -> None:
    subscribed(desk, ANN)
    desk.mailchimp.add_member(OTHER_LIST, ANN)
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    (opted_out,) = desk.events(ANN)
    desk.people.change_address(OTHER_LIST, ANN, NEW)
    for source in ("user", "admin"):
        desk.deliver("upemail", ANN, source, new_email=NEW, list_id=OTHER_LIST)
    desk.poll(OTHER_LIST)
    (inherited,) = desk.events(NEW)
    assert (inherited.event, inherited.source, inherited.occurred_at) == (
        "opt_out",
        "webhook",
        opted_out.occurred_at,
    )
    assert desk.ledger.consent.ever_opted_out([NEW]) == {NEW}
    assert (ANN, NEW) in desk.ledger.erasures.renames()
    assert desk.ledger.inbox.count_waiting([OTHER_LIST]) == 0


def test_who_never_opted_out_changes_their_address_without_consequences(desk: Desk) -> None:
    subscribed(desk, BOB)
    desk.deliver("upemail", BOB, "user", new_email=NEW)
    desk.poll()
    assert desk.events(NEW) == []
    assert desk.ledger.erasures.renames() == [(BOB, NEW)]


def test_many_changes_of_address_wait_for_later_hearings_and_hold_up_no_opt_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_changes, "READ_AT_MOST", 4)
    people = [f"old{number}@example.com" for number in range(5)]
    subscribed(desk, BOB, *people)
    for email in people:
        desk.people.change_address(LIST, email, f"new.{email}")
        desk.deliver("upemail", email, "user", new_email=f"new.{email}")
        desk.deliver("upemail", email, "admin", new_email=f"new.{email}")
        desk.mailchimp.advance(timedelta(seconds=1))
    desk.people.unsubscribe(LIST, BOB)
    desk.deliver("unsubscribe", BOB, "user")
    waiting = []
    for _ in range(3):
        number = desk.mailchimp.journal.last_number
        with desk.polling() as polling:
            polling.take_deliveries(AUDIENCE, LIST)
        assert desk.requests_since(number).total() <= 4 + 1
        assert desk.recorded(BOB) == [("opt_out", "person", "webhook")]
        waiting.append(desk.ledger.inbox.count_waiting([LIST]))
    assert waiting == [6, 2, 0]
    changes = desk.ledger.changed_addresses.open(COMPANY)
    assert [(each.former, each.email) for each in changes] == [(email, f"new.{email}") for email in people]


@pytest.mark.parametrize("kind", ["profile", "campaign", "sms_unsubscribe"])
def test_what_is_not_about_consent_is_put_away(desk: Desk, kind: str) -> None:
    subscribed(desk, ANN)
    desk.deliver(kind, ANN, "user")
    assert desk.poll().events == []
    assert desk.ledger.inbox.count_waiting([LIST]) == 0


def test_with_the_receiver_down_polling_alone_ends_in_the_same_state(desk: Desk) -> None:
    """The same acts on two people: one whose webhooks arrive, twice, and one whose never do."""
    subscribed(desk, ANN, BOB)
    acts = [
        (desk.people.unsubscribe, "unsubscribe"),
        (desk.people.sign_up, "subscribe"),
        (desk.people.bounce_hard, "cleaned"),
    ]
    for act, kind in acts:
        for email in (ANN, BOB):
            act(LIST, email)
        for number in (1, 2):
            desk.deliver(kind, ANN, "user", contact_id=f"{ANN}-{number}")
        desk.poll()
        desk.mailchimp.advance(timedelta(minutes=10))
    with_webhooks, without = ([event for event, *_ in desk.recorded(email)] for email in (ANN, BOB))
    assert with_webhooks == without == ["opt_out", "subscribe", "clean"]
    assert {event.origin for event in desk.events(BOB)} <= {"unknown", "person"}
    records = [desk.ledger.members.of_email(email).iloc[0] for email in (ANN, BOB)]
    assert [(each["last_status"], each["opted_out"]) for each in records] == [("cleaned", True)] * 2
    assert desk.poll().events == []
