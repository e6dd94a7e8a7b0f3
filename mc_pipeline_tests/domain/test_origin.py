"""Whose act a change of status was, from everything that may be known about it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mc_pipeline.domain.consent.origin import (
    Act,
    act_of_activity,
    act_of_webhook,
    origin_of,
    reports_the_same,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def minutes(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


@dataclass(frozen=True)
class Change:
    status_to: str
    changed_at: datetime = NOON
    reason: str = ""
    ours: bool = False


def hook(kind: str, source: str, at: datetime = NOON, action: str = "unsub") -> Act:
    act = act_of_webhook(kind, action, source, fired_at=at, received_at=at + timedelta(seconds=2))
    assert act is not None
    return act


def entry(kind: str, at: datetime = NOON, **fields: Any) -> Act:
    act = act_of_activity({"activity_type": kind, "created_at_timestamp": at.isoformat(), **fields})
    assert act is not None
    return act


OUT, BACK = "unsubscribed", "subscribed"
BY_ADMIN = "N/A (Unsubscribed by an admin)"
FORM = {"signup_category": "Hosted Signup Form"}


@pytest.mark.parametrize(
    ("change", "acts", "origin"),
    [
        # opt-outs
        (Change(OUT), [], "unknown"),
        (Change(OUT, ours=True), [], "ours"),
        (Change(OUT, ours=True), [hook("unsubscribe", "user")], "ours"),
        (Change(OUT, reason=BY_ADMIN), [], "admin"),
        (Change(OUT, reason="None given"), [], "unknown"),
        (Change(OUT, reason="I no longer want these"), [], "person"),
        (Change(OUT), [hook("unsubscribe", "user")], "person"),
        (Change(OUT), [hook("unsubscribe", "admin")], "admin"),
        (Change(OUT, reason=BY_ADMIN), [hook("unsubscribe", "user")], "person"),
        (Change(OUT), [hook("unsubscribe", "user", action="delete")], "unknown"),
        (Change(OUT), [entry("unsub", is_admin_unsubscribed=False)], "person"),
        (Change(OUT), [entry("unsub", is_admin_unsubscribed=True)], "admin"),
        (Change(OUT), [entry("unsub")], "unknown"),
        (Change(OUT), [hook("unsubscribe", "user"), hook("unsubscribe", "admin")], "unknown"),
        (Change(OUT), [hook("unsubscribe", "user", minutes(3))], "unknown"),
        (Change(OUT), [hook("subscribe", "user", minutes(-1))], "unknown"),
        (Change("archived"), [hook("unsubscribe", "admin", action="delete")], "admin"),
        (Change("archived"), [], "unknown"),
        (Change("cleaned"), [hook("cleaned", "user")], "person"),
        (Change("cleaned"), [entry("bounce", bounce_type="hard")], "unknown"),
        # coming back
        (Change(BACK), [], "unknown"),
        (Change(BACK, reason="I no longer want these"), [], "unknown"),
        (Change(BACK), [hook("subscribe", "user")], "person"),
        (Change(BACK), [hook("subscribe", "admin")], "admin"),
        (Change(BACK), [hook("subscribe", "user"), hook("subscribe", "admin")], "unknown"),
        (Change(BACK), [hook("subscribe", "user", minutes(-90))], "unknown"),
        (Change(BACK), [entry("generic_signup", **FORM)], "person"),
        (Change(BACK), [entry("generic_signup", minutes(-50), **FORM)], "person"),
        (Change(BACK), [entry("generic_signup", signup_category="API - Generic")], "unknown"),
        (Change(BACK), [entry("generic_signup", signup_category="Admin Add")], "unknown"),
        (Change(BACK), [entry("generic_signup")], "unknown"),
        (Change(BACK), [entry("landing_page_signup")], "person"),
        (Change(BACK), [entry("website_signup")], "person"),
        (Change(BACK), [entry("squatter_signup")], "person"),
        (Change(BACK), [entry("ecommerce_signup", store_name="Shop")], "unknown"),
        (Change(BACK), [entry("signup")], "unknown"),
        (Change(BACK), [entry("generic_signup", minutes(5), **FORM)], "unknown"),
        (Change(BACK), [entry("generic_signup", minutes(-61), **FORM)], "unknown"),
        (
            Change(BACK),
            [
                entry("generic_signup", minutes(-30), **FORM),
                entry("unsub", minutes(-20), is_admin_unsubscribed=False),
            ],
            "unknown",
        ),
        (
            Change(BACK),
            [
                entry("generic_signup", minutes(-30), **FORM),
                entry("generic_signup", minutes(-1), signup_category="API - Generic"),
            ],
            "unknown",
        ),
        (
            Change(BACK),
            [
                entry("generic_signup", minutes(-30), signup_category="API - Generic"),
                entry("generic_signup", minutes(-1), **FORM),
            ],
            "person",
        ),
        (
            Change(BACK),
            [entry("generic_signup", **FORM), hook("subscribe", "user", NOON + timedelta(seconds=1))],
            "person",
        ),
        (Change(BACK), [entry("generic_signup", **FORM), hook("subscribe", "admin")], "unknown"),
    ],
)
def test_an_origin_is_what_the_last_act_proves(change: Change, acts: list[Act], origin: str) -> None:
    """The address opted out an hour before noon; what happened before that proves nothing."""
    found = origin_of(change, acts, not_before=minutes(-60))
    assert found.origin == origin, found.because
    assert found.because


def test_the_order_in_which_acts_are_reported_does_not_matter() -> None:
    acts = [entry("unsub", minutes(-9), is_admin_unsubscribed=True), hook("subscribe", "user")]
    assert origin_of(Change(BACK), acts) == origin_of(Change(BACK), acts[::-1])


@pytest.mark.parametrize("kind", ["profile", "upemail", "campaign", "sms_subscribe"])
def test_a_webhook_about_something_else_reports_no_act(kind: str) -> None:
    assert act_of_webhook(kind, "", "user", fired_at=NOON, received_at=NOON) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"activity_type": "open", "created_at_timestamp": NOON.isoformat()},
        {"activity_type": "bounce", "bounce_type": "soft", "created_at_timestamp": NOON.isoformat()},
        {"activity_type": "unsub", "created_at_timestamp": "yesterday"},
        {"activity_type": "generic_signup", "created_at_timestamp": "2026-05-04T12:00:00", **FORM},
        {},
    ],
)
def test_an_activity_that_says_nothing_certain_about_a_status_reports_no_act(fields: dict[str, Any]) -> None:
    assert act_of_activity(fields) is None


@pytest.mark.parametrize("fired_at", [None, minutes(-60), minutes(5)])
@pytest.mark.parametrize(("kind", "by"), [("subscribe", "unknown"), ("unsubscribe", "person")])
def test_a_webhook_of_uncertain_time_proves_no_subscription_and_dates_an_opt_out_late(
    fired_at: datetime | None, kind: str, by: str
) -> None:
    """Mailchimp names no timezone: a time that does not fit the delivery may be hours off, either way."""
    act = act_of_webhook(kind, "unsub", "user", fired_at=fired_at, received_at=NOON)
    assert act is not None
    assert (act.by, act.at, act.is_dated) == (by, NOON, False)


@pytest.mark.parametrize(
    ("fired_at", "occurred_at", "same"),
    [
        (NOON, minutes(1), True),
        (NOON, minutes(-1), True),
        (NOON, minutes(10), False),
        (minutes(-300), minutes(-299), True),
        (minutes(-300), minutes(-60 * 30), False),
        (minutes(-300), minutes(30), False),
    ],
)
def test_a_delivery_and_an_event_are_the_same_happening_when_their_times_allow_it(
    fired_at: datetime, occurred_at: datetime, same: bool
) -> None:
    act = act_of_webhook("unsubscribe", "unsub", "user", fired_at=fired_at, received_at=NOON)
    assert act is not None
    assert reports_the_same(act, OUT, occurred_at) is same
    assert not reports_the_same(act, "archived", occurred_at)
