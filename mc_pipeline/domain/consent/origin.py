"""Who made a change of a member's status: the pipeline, the person, an administrator, or unknown (rule 5.2).

Mailchimp's API has no field that says it. The sources are our own writes, two webhooks of which one reports
people and the other administrators, the member's activity feed, and the reason of an opt-out. The fields of a
member that anybody with an API key can write (``ip_opt``, ``timestamp_opt``, ``source``) prove nothing. What
is not certain is unknown: it restricts like the person's own action, and never removes an opt-out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from mc_pipeline.vocabulary import MemberStatus, Origin

By = Literal[Origin.PERSON, Origin.ADMIN, Origin.UNKNOWN]

CLOCKS_DIFFER = timedelta(minutes=2)
"""Mailchimp's clocks and ours may differ by this much."""
_SAME_ACT = timedelta(seconds=5)
_DELIVERED_WITHIN = timedelta(minutes=30)
_REPEATED_WITHIN = timedelta(days=1)

_BY_SOURCE: Mapping[str, By] = {"user": Origin.PERSON, "admin": Origin.ADMIN}
_STATUS_OF_WEBHOOK = {
    "subscribe": MemberStatus.SUBSCRIBED,
    "unsubscribe": MemberStatus.UNSUBSCRIBED,
    "cleaned": MemberStatus.CLEANED,
}
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
    who did it, where that is known from, whether it was a complaint, and whether the moment is certain."""

    at: datetime
    status: str
    by: By
    known_from: str
    is_complaint: bool = False
    is_dated: bool = True


@dataclass(frozen=True)
class OriginFound:
    """An origin, why it is that one, in words without personal data, and the report that shows it, if any."""

    origin: Origin
    because: str
    act: Act | None = None


def act_of_webhook(
    kind: str,
    action: str,
    source: str,
    *,
    fired_at: datetime | None,
    received_at: datetime,
    is_complaint: bool = False,
) -> Act | None:
    """The action that a delivery of a webhook reports; None for deliveries that say nothing about a status.

    Args:
        kind: ``subscribe``, ``unsubscribe`` or ``cleaned``; all others say nothing.
        action: of an ``unsubscribe``: ``unsub``, or ``delete`` for a member that was archived or removed.
        source: what the webhook was registered for: ``user`` (people) or ``admin``.
        fired_at: when it happened, by Mailchimp, which names no timezone: read as UTC.
        received_at: when the delivery came (UTC). A ``fired_at`` that does not fit it may be in another
            timezone: then the act is dated late, and proves no subscription.
        is_complaint: the reason given is abuse.
    """
    status = _STATUS_OF_WEBHOOK.get(kind)
    if status is None:
        return None
    if kind == "unsubscribe" and action == "delete":
        status = MemberStatus.ARCHIVED
    known_from = f"webhook for actions of {source or 'anybody'}"
    by = _BY_SOURCE.get(source, Origin.UNKNOWN)
    if fired_at is not None and -CLOCKS_DIFFER <= received_at - fired_at <= _DELIVERED_WITHIN:
        return Act(fired_at, status, by, known_from, is_complaint)
    by = Origin.UNKNOWN if status == MemberStatus.SUBSCRIBED else by
    return Act(received_at, status, by, f"{known_from}, of uncertain time", is_complaint, is_dated=False)


def reports_the_same(act: Act, status_to: str, occurred_at: datetime) -> bool:
    """Whether an event of the same member, with this status and time, is the action that a delivery
    reports."""
    if act.status != status_to:
        return False
    if act.is_dated:
        return abs(occurred_at - act.at) <= CLOCKS_DIFFER
    return -CLOCKS_DIFFER <= act.at - occurred_at <= _REPEATED_WITHIN


def act_of_activity(entry: Mapping[str, Any]) -> Act | None:
    """The action that an entry of a member's activity feed reports; None for mails, clicks and the like.

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
        by: By = Origin.ADMIN if admin is True else Origin.PERSON if admin is False else Origin.UNKNOWN
        return Act(at, MemberStatus.UNSUBSCRIBED, by, known_from)
    if kind == "bounce" and entry.get("bounce_type") == "hard":
        return Act(at, MemberStatus.CLEANED, Origin.UNKNOWN, known_from)
    if kind in _SIGNUPS_ON_PAGES:
        return Act(at, MemberStatus.SUBSCRIBED, Origin.PERSON, known_from)
    if kind == "generic_signup":
        category = str(entry.get("signup_category") or "").strip().lower()
        by = Origin.PERSON if category in _FORMS_THAT_PEOPLE_FILL_IN else Origin.UNKNOWN
        return Act(at, MemberStatus.SUBSCRIBED, by, known_from)
    if kind in _OTHER_SIGNUPS:
        return Act(at, MemberStatus.SUBSCRIBED, Origin.UNKNOWN, known_from)
    return None


def origin_of(change: ChangeLike, acts: Iterable[Act], *, not_before: datetime | None = None) -> OriginFound:
    """Decide who made a change.

    Args:
        change: the status as it is now, when the member last changed, and whether a write of ours whose
            answer never came explains it (the ledger knows).
        acts: what webhooks and the activity feed report about this member of this audience.
        not_before: the last opt-out that is known of the address: only what came after it can be about a
            new subscription.

    The last act up to the change decides, if it leads to this status; acts of several people at one moment
    decide nothing. Without any, an opt-out has its reason.
    """
    if change.ours:
        return OriginFound(Origin.OURS, "a write by this pipeline whose answer was lost")
    reported = sorted(
        (
            act
            for act in acts
            if act.at <= change.changed_at + CLOCKS_DIFFER and (not_before is None or act.at > not_before)
        ),
        key=lambda act: act.at,
    )
    if reported:
        last = reported[-1]
        together = [act for act in reported if last.at - act.at <= _SAME_ACT]
        if any(act.status != change.status_to for act in together):
            return OriginFound(Origin.UNKNOWN, f"{last.known_from}: the last report leads to {last.status}")
        known = [act for act in together if act.by != Origin.UNKNOWN] or together
        if len({act.by for act in known}) > 1:
            return OriginFound(Origin.UNKNOWN, "reported as the person's action and as an administrator's")
        return OriginFound(known[-1].by, known[-1].known_from, known[-1])
    if change.status_to == MemberStatus.UNSUBSCRIBED and _BY_ADMIN.search(change.reason):
        return OriginFound(Origin.ADMIN, "reason of the opt-out")
    if change.status_to == MemberStatus.UNSUBSCRIBED and change.reason.strip().lower() not in _NO_REASON:
        return OriginFound(Origin.PERSON, "reason of the opt-out")
    return OriginFound(Origin.UNKNOWN, "nothing shows who did it")


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
