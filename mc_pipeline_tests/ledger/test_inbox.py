"""What webhooks delivered, kept once, until it is taken."""

from datetime import timedelta
from typing import Any

import pytest

from mc_pipeline.ledger import InboxDelivery, Ledger
from mc_pipeline_tests.ledger.conftest import START, Clock


def a_delivery(**values: Any) -> InboxDelivery:
    given = {
        "list_id": "list1",
        "source": "user",
        "type": "unsubscribe",
        "email": "ann@example.com",
        "new_email": "",
        "contact_id": "c1",
        "action": "unsub",
        "reason": "manual",
        "campaign_id": "",
        "fired_at": START,
        "fired_at_raw": "2026-03-02 06:00:00",
        "received_at": START,
        "body_digest": "d1",
        **values,
    }
    return InboxDelivery(**given)


def test_a_repeated_delivery_is_kept_once_as_first_received(ledger: Ledger) -> None:
    assert ledger.inbox.keep(a_delivery())
    assert not ledger.inbox.keep(a_delivery(received_at=START + timedelta(minutes=20), body_digest="d2"))
    (kept,) = ledger.inbox.waiting(["list1"])
    assert (kept.received_at, kept.body_digest) == (START, "d1")
    assert a_delivery(id=kept.id) == kept


@pytest.mark.parametrize(
    "other",
    [
        {"list_id": "list2"},
        {"source": "admin"},
        {"type": "cleaned"},
        {"action": "delete"},
        {"reason": "abuse"},
        {"contact_id": "c2"},
        {"contact_id": "", "email": "bob@example.com"},
        {"fired_at_raw": "2026-03-02 06:00:01"},
    ],
    ids=lambda other: next(reversed(other)),
)
def test_another_happening_is_another_delivery(ledger: Ledger, other: dict[str, str]) -> None:
    assert ledger.inbox.keep(a_delivery())
    assert ledger.inbox.keep(a_delivery(**other))
    assert ledger.inbox.count_waiting(["list1", "list2"]) == 2


def test_what_is_taken_waits_no_more_and_is_still_known(ledger: Ledger, clock: Clock) -> None:
    ledger.inbox.keep(a_delivery())
    ledger.inbox.keep(a_delivery(list_id="list2"))
    ledger.inbox.take(ledger.inbox.waiting(["list1"]))
    assert (ledger.inbox.count_waiting(["list1"]), ledger.inbox.count_waiting(["list2"])) == (0, 1)
    assert not ledger.inbox.keep(a_delivery())
    assert ledger.inbox.waiting(["list1"]) == []


def test_what_was_taken_long_ago_is_forgotten_and_what_waits_is_not(ledger: Ledger, clock: Clock) -> None:
    ledger.inbox.keep(a_delivery())
    ledger.inbox.keep(a_delivery(contact_id="c2"))
    ledger.inbox.take([ledger.inbox.waiting(["list1"])[0]])
    clock.pass_time(days=31)
    ledger.inbox.take([])
    assert [delivery.contact_id for delivery in ledger.inbox.waiting(["list1"])] == ["c2"]
    assert ledger.inbox.keep(a_delivery())


def test_a_delivery_is_committed_before_it_is_answered(ledger: Ledger, ledger_url: str) -> None:
    ledger.inbox.keep(a_delivery())
    with Ledger.open(ledger_url) as another_process:
        assert another_process.inbox.count_waiting(["list1"]) == 1


def test_anyone_who_is_erased_is_not_in_the_inbox(ledger: Ledger) -> None:
    ledger.inbox.keep(a_delivery())
    ledger.inbox.keep(a_delivery(type="upemail", email="old@example.com", new_email="ann@example.com"))
    ledger.inbox.keep(a_delivery(contact_id="c2", email="bob@example.com"))
    assert ledger.erasures.forget("ann@example.com", "erased:1") == {"ledger_webhook_delivery": 2}
    assert [delivery.email for delivery in ledger.inbox.waiting(["list1"])] == ["bob@example.com"]
