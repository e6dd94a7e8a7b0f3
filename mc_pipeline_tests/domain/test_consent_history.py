"""The consent history as an auditor reads it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mc_pipeline.domain.consent.history import how_it_is_known, what_happened

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    event: str
    origin: str
    status_from: str = ""
    status_to: str = ""
    occurred_at: datetime = NOON
    seen_at: datetime = NOON
    evidence: dict[str, Any] | None = None
    source: str = "poll"


@pytest.mark.parametrize(
    ("event", "words", "known"),
    [
        (
            Event("opt_out", "person", "subscribed", "unsubscribed"),
            "unsubscribed by the person",
            "subscribed → unsubscribed; read for opt-outs",
        ),
        (
            Event(
                "opt_out",
                "admin",
                "subscribed",
                "unsubscribed",
                source="webhook",
                seen_at=NOON + timedelta(hours=2),
                evidence={"origin_because": "webhook for actions of admin", "unsubscribe_reason": "N/A"},
            ),
            "unsubscribed by an administrator",
            "subscribed → unsubscribed; reported by a webhook on 2026-05-04 14:00 UTC; who did it: webhook "
            "for actions of admin; reason given: N/A",
        ),
        (
            Event("clean", "unknown", "", "cleaned", evidence={"first_seen": True}, source="observation"),
            "address hard bounced",
            "not seen before → cleaned; seen when the audience was read",
        ),
        (
            Event(
                "opt_out",
                "unknown",
                "subscribed",
                "unsubscribed",
                evidence={"same_status": "unsubscribed", "dated_at_the_latest": True},
            ),
            "unsubscribed by whom is unknown",
            "subscribed → unsubscribed; between two reads that both showed unsubscribed; by this moment at "
            "the latest: Mailchimp gives no date; read for opt-outs",
        ),
        (
            Event(
                "opt_out",
                "unknown",
                source="write",
                evidence={"refused": "forgotten", "title": "Forgotten Email Not Subscribed"},
            ),
            "permanently refused by Mailchimp: deleted there before, only the person can sign up again",
            "Mailchimp's answer when we tried: Forgotten Email Not Subscribed",
        ),
        (
            Event(
                "opt_out",
                "person",
                "subscribed",
                "unsubscribed",
                evidence={"inherited": "under the address that the person has in Mailchimp now"},
            ),
            "unsubscribed by the person",
            "subscribed → unsubscribed; read for opt-outs; under the address that the person has in "
            "Mailchimp now",
        ),
        (
            Event("complaint", "person", evidence={"abuse_report": 7}),
            "complained by the person",
            "read for opt-outs; abuse report 7",
        ),
        (
            Event(
                "subscribe",
                "ours",
                "transactional",
                "subscribed",
                source="write",
                evidence={"source": "Newsletter", "at": "2026-01-02T00:00:00+00:00"},
            ),
            "subscribed by us",
            "transactional → subscribed; on consent in Odoo: Newsletter of 2026-01-02T00:00:00+00:00",
        ),
        (
            Event(
                "odoo_opt_out", "ours", source="write", evidence={"because": "opt_out", "blacklist_id": 12}
            ),
            "opted out in Odoo by us",
            "because of Mailchimp: unsubscribed; row 12 of Odoo's blacklist",
        ),
        (
            Event("odoo_lift", "ours", source="write", evidence={"because": "subscribe"}),
            "opt-out removed in Odoo by us",
            "because of Mailchimp: subscribed",
        ),
        (Event("something_new", "unknown", source=""), "something new by whom is unknown", ""),
    ],
)
def test_an_event_is_put_into_words(event: Event, words: str, known: str) -> None:
    assert what_happened(event) == words
    assert how_it_is_known(event) == known
