"""Rule 5.3: which members of an equal status are asked about, and what of the answer is a new opt-out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mc_pipeline.domain.consent.origin import Act
from mc_pipeline.domain.consent.repeated_opt_outs import (
    Sighting,
    is_to_be_asked,
    new_acts,
    undated_opt_out,
    undecided_since,
)

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


SINCE = at(30)


@dataclass(frozen=True)
class Event:
    event: str
    minute: float
    origin: str = "person"
    status_to: str = "unsubscribed"
    source: str = "poll"
    evidence: Mapping[str, Any] | None = field(default=None)

    @property
    def occurred_at(self) -> datetime:
        return at(self.minute)


def out(minute: float, by: str = "person", status: str = "unsubscribed") -> Act:
    return Act(at(minute), status, by, "activity feed: unsub")  # type: ignore[arg-type]


def back(minute: float, by: str = "person") -> Act:
    return Act(at(minute), "subscribed", by, "activity feed: generic_signup")  # type: ignore[arg-type]


def seen(status: str, known: str | None, changed: float, **minutes: float | None) -> Sighting:
    moments = {name: None if minute is None else at(minute) for name, minute in minutes.items()}
    return Sighting(status, at(changed), known, **moments)


OURS = Event("subscribe", 39, "ours", "subscribed", "write")


@pytest.mark.parametrize(
    ("sighting", "events", "asked"),
    [
        (seen("unsubscribed", "unsubscribed", 40, known_change=10), (), True),
        (seen("unsubscribed", "unsubscribed", 40), (), True),
        (seen("unsubscribed", "unsubscribed", 40, known_change=40), (), False),
        # Our own write after a hidden opt-out explains nothing: the answer is about opt-outs alone.
        (seen("unsubscribed", "unsubscribed", 40, known_change=10, written_at=40), (), True),
        # Another status is an event by itself.
        (seen("unsubscribed", "subscribed", 40, known_change=10), (), False),
        (seen("unsubscribed", None, 40), (), False),
        (seen("cleaned", "cleaned", 40, known_change=10), (), True),
        (seen("cleaned", "cleaned", 40, known_change=10, written_at=40.5), (), False),
        (seen("cleaned", "cleaned", 40, known_change=10, written_at=20), (), True),
        # Of the subscribed, who opted in again; edits and openings move last_changed of very many.
        (seen("subscribed", "subscribed", 40, known_change=10, opted_in_at=40), (), True),
        (seen("subscribed", "subscribed", 40, known_change=10, opted_in_at=10), (), False),
        (seen("subscribed", "subscribed", 40, known_change=10), (), False),
        (seen("subscribed", "subscribed", 40, known_change=40, opted_in_at=40), (), False),
        (seen("subscribed", "subscribed", 40, known_change=10, opted_in_at=40), (OURS,), False),
        (seen("archived", "archived", 40, known_change=10), (), False),
        (seen("transactional", "transactional", 40, known_change=10), (), False),
    ],
)
def test_who_is_asked_about(sighting: Sighting, events: tuple[Event, ...], asked: bool):
    assert is_to_be_asked(sighting, events, SINCE) is asked


KNOWN = Event("opt_out", 10)


@pytest.mark.parametrize(
    ("acts", "events", "new"),
    [
        ((out(10), back(35), out(40)), (KNOWN,), (back(35), out(40))),
        ((out(40), back(35), out(10)), (KNOWN,), (back(35), out(40))),
        ((out(10), back(35, "unknown"), out(40, "admin")), (KNOWN,), (back(35, "unknown"), out(40, "admin"))),
        # A field edited since: nothing new.
        ((out(10),), (KNOWN,), ()),
        ((), (KNOWN,), ()),
        # Dated at the latest possible moment when it was read: the feed is more exact.
        ((out(5),), (KNOWN,), ()),
        # Years of coming and going before anybody looked.
        ((out(-900), back(-800), out(10)), (KNOWN,), ()),
        # Told by a webhook a little earlier or later than the feed dates it.
        ((out(10.5),), (Event("opt_out", 10, source="webhook"),), ()),
        (
            (out(10.2), back(10.4), out(10.6)),
            (Event("opt_out", 10.1, source="webhook"),),
            (back(10.4), out(10.6)),
        ),
        # A report of abuse comes without a status.
        ((out(10.5),), (Event("complaint", 10, status_to="", evidence={"abuse_report": 1}),), ()),
        # Our own unsubscribe is in the feed as well, by Mailchimp's clock or by ours.
        ((out(11, "admin"),), (Event("opt_out", 10, "ours", source="write"),), ()),
        (
            (out(50, "admin"),),
            (Event("opt_out", 10, "ours", source="write", evidence={"mailchimp_at": at(50).isoformat()}),),
            (),
        ),
        (
            (out(10, "admin"), back(10.5), out(11)),
            (Event("opt_out", 10, "ours", source="write"),),
            (back(10.5), out(11)),
        ),
        # Nobody is bounced twice by one bounce.
        ((out(10, status="cleaned"),), (Event("clean", 10, "unknown", "cleaned"),), ()),
        (
            (out(10, status="cleaned"), back(35), out(40, "unknown", "cleaned")),
            (Event("clean", 10, "unknown", "cleaned"),),
            (back(35), out(40, "unknown", "cleaned")),
        ),
        # A return without an opt-out after it is for the change of status to tell.
        ((out(10), back(35)), (KNOWN,), ()),
        # What a webhook reported of it already.
        (
            (out(10), back(35), out(40)),
            (KNOWN, Event("subscribe", 35, status_to="subscribed", source="webhook")),
            (out(40),),
        ),
        # Of an opt-out and a return at one moment nobody knows which was first.
        ((out(10), back(40), out(40)), (KNOWN,), (back(40, "unknown"), out(40))),
    ],
)
def test_what_is_new_of_an_unsubscribed_member(
    acts: tuple[Act, ...], events: tuple[Event, ...], new: tuple[Act, ...]
):
    found = new_acts(acts, events, since=SINCE, status="unsubscribed")
    assert sorted(map(_said, found)) == sorted(map(_said, new))


def _said(act: Act) -> tuple[datetime, str, str]:
    return (act.at, act.status, act.by)


@pytest.mark.parametrize(
    ("acts", "events", "new"),
    [
        ((out(35), back(40)), (), (out(35), back(40))),
        ((out(-900), back(-800)), (), ()),
        ((out(-900), back(-800), out(35), back(40)), (KNOWN,), (out(35), back(40))),
        ((out(35), back(40)), (Event("opt_out", 35), Event("subscribe", 40, status_to="subscribed")), ()),
        ((back(40),), (), ()),
    ],
)
def test_what_is_new_of_a_subscribed_member(
    acts: tuple[Act, ...], events: tuple[Event, ...], new: tuple[Act, ...]
):
    found = new_acts(acts, events, since=SINCE, status="subscribed")
    assert list(map(_said, found)) == list(map(_said, new))


def test_a_clock_that_is_ahead_makes_no_opt_out_of_our_own_unsubscribe():
    ours = Event("opt_out", 10, "ours", source="write")
    acts = [out(70, "admin")]
    assert new_acts(acts, [ours], since=SINCE, status="unsubscribed", clock_ahead=timedelta(hours=1)) == []


@pytest.mark.parametrize(
    ("status", "acts", "events", "written", "asked_since"),
    [
        ("unsubscribed", (), (KNOWN,), None, 10),
        ("unsubscribed", (back(5),), (KNOWN,), None, 10),
        # Of somebody whose opt-out nobody dated: what happened until then is known.
        ("unsubscribed", (), (), None, 30),
        # A webhook may have dated it early.
        ("unsubscribed", (), (Event("opt_out", 10, source="webhook"),), None, 12),
        # The feed knows the last opt-out, so it would know a later one.
        ("unsubscribed", (out(10),), (KNOWN,), None, None),
        # Our own write explains the change.
        ("unsubscribed", (), (KNOWN,), 39, None),
        ("unsubscribed", (), (KNOWN,), 20, 10),
        ("cleaned", (), (KNOWN,), None, None),
        ("subscribed", (), (KNOWN,), None, None),
    ],
)
def test_where_the_feed_is_silent_mailchimp_is_asked_since_when(
    status: str,
    acts: tuple[Act, ...],
    events: tuple[Event, ...],
    written: float | None,
    asked_since: float | None,
):
    found = undecided_since(
        acts,
        events,
        since=SINCE,
        status=status,
        changed_at=at(40),
        written_at=None if written is None else at(written),
    )
    assert found == (None if asked_since is None else at(asked_since))


def test_an_opt_out_without_a_date_is_one_at_the_latest_moment():
    act = undated_opt_out(at(40))
    assert (act.at, act.status, act.by, act.is_dated) == (at(40), "unsubscribed", "unknown", False)
