"""Whose act a change of a member's status was: ours, the person's, an administrator's, or unknown (rule 5.2).

Mailchimp's API has no field that says it. What tells: our own writes, two webhooks of which one hears people
and the other administrators, the member's activity feed, and the reason of an opt-out. The fields of a member
that anybody with an API key can write (``ip_opt``, ``timestamp_opt``, ``source``) prove nothing. What is not
certain is unknown: it restricts like the person's own act, and never lifts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

Origin = Literal["ours", "person", "admin", "unknown"]
By = Literal["person", "admin", "unknown"]

CLOCKS_DIFFER = timedelta(minutes=2)
"""Mailchimp's clocks and ours may differ by this much."""
_SAME_ACT = timedelta(seconds=5)

_BY_SOURCE: Mapping[str, By] = {"user": "person", "admin": "admin"}
_STATUS_OF_WEBHOOK = {"subscribe": "subscribed", "unsubscribe": "unsubscribed", "cleaned": "cleaned"}
_SIGNUPS_ON_PAGES = frozenset({"website_signup", "landing_page_signup", "squatter_signup"})
_OTHER_SIGNUPS = frozenset({"signup", "ecommerce_signup"})
_FORMS_THAT_PEOPLE_FILL_IN = frozenset(
    {"hosted signup form", "embed form", "embedded form", "pop-up form", "popup form", "landing page"}
)
_BY_ADMIN = re.compile(r"\badmin", re.IGNORECASE)
_NO_REASON = frozenset({"", "none given", "n/a"})


class ChangeLike(Protocol):
    """A change of a member's status, as it was seen."""

    @property
    def status_to(self) -> str: ...
    @property
    def changed_at(self) -> datetime: ...
    @property
    def reason(self) -> str: ...
    @property
    def ours(self) -> bool: ...


@dataclass(frozen=True)
class Act:
    """Something that is known to have happened to a member at a moment (UTC), the status that it leads to,
    who did it, and where that is known from."""

    at: datetime
    status: str
    by: By
    known_from: str


@dataclass(frozen=True)
class OriginFound:
    """An origin, and why it is that one, in words without personal data."""

    origin: Origin
    because: str


def act_of_webhook(kind: str, action: str, source: str, fired_at: datetime) -> Act | None:
    """The act that a delivery of a webhook tells of; None for deliveries that say nothing about a status.

    Args:
        kind: ``subscribe``, ``unsubscribe`` or ``cleaned``; all others say nothing.
        action: of an ``unsubscribe``: ``unsub``, or ``delete`` for a member that was archived or removed.
        source: what the webhook was registered for: ``user`` (people) or ``admin``.
        fired_at: when it happened, by Mailchimp (UTC).
    """
    status = _STATUS_OF_WEBHOOK.get(kind)
    if status is None:
        return None
    if kind == "unsubscribe" and action == "delete":
        status = "archived"
    return Act(fired_at, status, _BY_SOURCE.get(source, "unknown"), f"webhook for {source or 'anybody'}")


def act_of_activity(entry: Mapping[str, Any]) -> Act | None:
    """The act that an entry of a member's activity feed tells of; None for mails, clicks and the like.

    Mailchimp API: an opt-out says whether an administrator made it; sign-ups differ by where they were made,
    and a generic one says in ``signup_category`` how the contact was added.
    """
    kind = str(entry.get("activity_type") or "")
    at = _moment(entry.get("created_at_timestamp"))
    if at is None:
        return None
    known_from = f"activity feed: {kind}"
    if kind == "unsub":
        admin = entry.get("is_admin_unsubscribed")
        by: By = "admin" if admin is True else "person" if admin is False else "unknown"
        return Act(at, "unsubscribed", by, known_from)
    if kind == "bounce" and entry.get("bounce_type") == "hard":
        return Act(at, "cleaned", "unknown", known_from)
    if kind in _SIGNUPS_ON_PAGES:
        return Act(at, "subscribed", "person", known_from)
    if kind == "generic_signup":
        category = str(entry.get("signup_category") or "").strip().lower()
        by = "person" if category in _FORMS_THAT_PEOPLE_FILL_IN else "unknown"
        return Act(at, "subscribed", by, known_from)
    if kind in _OTHER_SIGNUPS:
        return Act(at, "subscribed", "unknown", known_from)
    return None


def origin_of(change: ChangeLike, acts: Iterable[Act], *, not_before: datetime | None = None) -> OriginFound:
    """Decide whose act a change was.

    Args:
        change: the status as it is now, when the member last changed, and whether a write of ours whose
            answer never came explains it (the ledger knows).
        acts: what webhooks and the activity feed tell of this member of this audience.
        not_before: the last opt-out that is known of the address: only what came after it can be about a
            new subscription.

    The last act up to the change decides, if it leads to this status; acts of several people at one moment
    decide nothing. Without any, an opt-out has its reason.
    """
    if change.ours:
        return OriginFound("ours", "a write of ours that was never answered")
    told = sorted(
        (
            act
            for act in acts
            if act.at <= change.changed_at + CLOCKS_DIFFER and (not_before is None or act.at > not_before)
        ),
        key=lambda act: act.at,
    )
    if told:
        last = told[-1]
        together = [act for act in told if last.at - act.at <= _SAME_ACT]
        if any(act.status != change.status_to for act in together):
            return OriginFound("unknown", f"{last.known_from}: the last thing told leads to {last.status}")
        known = [act for act in together if act.by != "unknown"] or together
        if len({act.by for act in known}) > 1:
            return OriginFound("unknown", "told as the person's act and as an administrator's")
        return OriginFound(known[-1].by, known[-1].known_from)
    if change.status_to == "unsubscribed" and _BY_ADMIN.search(change.reason):
        return OriginFound("admin", "reason of the opt-out")
    if change.status_to == "unsubscribed" and change.reason.strip().lower() not in _NO_REASON:
        return OriginFound("person", "reason of the opt-out")
    return OriginFound("unknown", "nothing tells who did it")


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
