"""Opt-outs that a status hides: unsubscribed before and after, with a subscription in between (rule 5.3).

Equal status before and after is no proof that nothing happened. A moved ``last_changed`` is a reason to ask,
never a date: our own updates of fields move it. New is what Mailchimp itself dates as an opt-out: the
member's activity feed, or the question for who unsubscribed since a moment. Our own unsubscribes are in both
as well, and are distinguished by Mailchimp's date.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mc_pipeline.domain.consent.events import ConsentEventLike
from mc_pipeline.domain.consent.origin import CLOCKS_DIFFER, Act
from mc_pipeline.vocabulary import OPTED_OUT_EVENTS, OPTED_OUT_STATUSES, EventSource, MemberStatus, Origin

_SAME_ACT = timedelta(seconds=5)


@dataclass(frozen=True)
class Sighting:
    """A member as it was read, beside what was known of it. Times are Mailchimp's, UTC.

    changed_at   when it last changed; known_change the same, as it was known
    opted_in_at  when it last opted in; None: it never did
    written_at   when we last wrote it, by Mailchimp's clock
    """

    status: str
    changed_at: datetime
    known_status: str | None
    known_change: datetime | None = None
    opted_in_at: datetime | None = None
    written_at: datetime | None = None


def is_to_be_asked(seen: Sighting, events: Sequence[ConsentEventLike], since: datetime) -> bool:
    """Whether a member of the same status as before may have opted out in between.

    Args:
        seen: of the answers for what happened after ``since``: unsubscribed, or changed, since then.
        events: what is known of the member in this audience.
        since: what happened until then is known.
    """
    if seen.status != seen.known_status:
        return False
    if seen.known_change is not None and seen.changed_at <= seen.known_change:
        return False
    if seen.status == MemberStatus.CLEANED:
        # Of these, whatever changed is among the answers: mostly fields that we wrote.
        return seen.written_at is None or seen.changed_at > seen.written_at + CLOCKS_DIFFER
    if seen.status == MemberStatus.SUBSCRIBED:
        opted_in = seen.opted_in_at is not None and seen.opted_in_at > since
        return opted_in and not _subscribed_by_us(seen.opted_in_at, events)
    return seen.status == MemberStatus.UNSUBSCRIBED


def new_acts(
    acts: Iterable[Act],
    events: Sequence[ConsentEventLike],
    *,
    since: datetime,
    status: str,
    clock_ahead: timedelta = timedelta(),
) -> list[Act]:
    """What a member's activity feed adds to the history: new opt-outs, and the returns among them.

    Empty without a new opt-out. In order of time.

    Args:
        acts: of the feed.
        events: what is known of the member in this audience.
        since: opt-outs after this are new for a member without a known one.
        status: of the member. Of one who is subscribed, older opt-outs than ``since`` are no news.
        clock_ahead: how far Mailchimp's clock is ahead of ours: our own writes may be dated by ours.
    """
    in_order = sorted(acts, key=lambda act: act.at)
    outs = [act for act in in_order if act.status in OPTED_OUT_STATUSES]
    known_at, same = _known_opt_outs(events, outs, clock_ahead)
    last = max(known_at, default=since)
    after = max(last, since) if status not in OPTED_OUT_STATUSES else last
    new = [act for act in outs if act.at > after and act not in same]
    if not new:
        return []
    returns = [
        act
        for act in in_order
        if act.status == MemberStatus.SUBSCRIBED
        and act.at > after
        and not _is_known(act, events, clock_ahead)
    ]
    return sorted([*new, *(_certain_return(act, in_order) for act in returns)], key=lambda act: act.at)


def undecided_since(
    acts: Iterable[Act],
    events: Sequence[ConsentEventLike],
    *,
    since: datetime,
    status: str,
    changed_at: datetime,
    written_at: datetime | None,
    clock_ahead: timedelta = timedelta(),
) -> datetime | None:
    """The moment since which Mailchimp is to be asked whether a member unsubscribed, by no more than a date.

    For a feed that shows no new opt-out, and not the last known one either: it is silent about opt-outs. None
    where the feed decides, or where a write of ours explains the change. Times are Mailchimp's, UTC.
    """
    if status != MemberStatus.UNSUBSCRIBED:
        return None
    if written_at is not None and abs(changed_at - written_at) <= CLOCKS_DIFFER:
        return None
    outs = [act for act in acts if act.status in OPTED_OUT_STATUSES]
    known_at, same = _known_opt_outs(events, outs, clock_ahead)
    last = max(known_at, default=since)
    if any(act.at == last for act in same):
        return None
    uncertain = [_when(event, clock_ahead)[1] for event in events if event.event in OPTED_OUT_EVENTS]
    return last + max(uncertain, default=timedelta())


def undated_opt_out(changed_at: datetime) -> Act:
    """An opt-out that Mailchimp counts without a date: at the latest possible moment, the last change."""
    known_from = "Mailchimp counts the member among those who unsubscribed since"
    return Act(changed_at, MemberStatus.UNSUBSCRIBED, Origin.UNKNOWN, known_from, is_dated=False)


def _known_opt_outs(
    events: Sequence[ConsentEventLike], outs: Sequence[Act], clock_ahead: timedelta
) -> tuple[list[datetime], list[Act]]:
    """When the known opt-outs happened, and which acts they are.

    What we read is dated by Mailchimp, at the latest possible moment. A webhook, a report of
    abuse and a write of ours may be dated a little differently from the feed: each is the nearest act.
    """
    moments: list[datetime] = []
    same: list[Act] = []
    for event in events:
        if event.event not in OPTED_OUT_EVENTS:
            continue
        at, tolerance = _when(event, clock_ahead)
        near = [
            act
            for act in outs
            if act not in same
            and abs(act.at - at) <= tolerance
            and (not event.status_to or act.status == event.status_to)
        ]
        if near:
            act = min(near, key=lambda act: abs(act.at - at))
            same.append(act)
            moments.append(act.at)
        else:
            moments.append(at)
    return moments, same


def _when(event: ConsentEventLike, clock_ahead: timedelta) -> tuple[datetime, timedelta]:
    """When an event happened by Mailchimp's clock, and how much that may differ from the feed."""
    dated = (event.evidence or {}).get("mailchimp_at")
    if isinstance(dated, str):
        return datetime.fromisoformat(dated), _SAME_ACT
    if event.origin == Origin.OURS:
        return event.occurred_at + clock_ahead, CLOCKS_DIFFER
    reported = event.source == EventSource.WEBHOOK or "abuse_report" in (event.evidence or {})
    return event.occurred_at, CLOCKS_DIFFER if reported else timedelta()


def _is_known(act: Act, events: Sequence[ConsentEventLike], clock_ahead: timedelta) -> bool:
    for event in events:
        if event.status_to == act.status:
            at, tolerance = _when(event, clock_ahead)
            if abs(act.at - at) <= max(tolerance, _SAME_ACT):
                return True
    return False


def _certain_return(act: Act, shown: Sequence[Act]) -> Act:
    """A return counts as the person's own only where nothing else happened at that moment."""
    together = [each for each in shown if abs(each.at - act.at) <= _SAME_ACT]
    if any((each.status, each.by) != (act.status, act.by) for each in together):
        return replace(act, by=Origin.UNKNOWN)
    return act


def _subscribed_by_us(opted_in_at: datetime | None, events: Sequence[ConsentEventLike]) -> bool:
    if opted_in_at is None:
        return False
    ours = [
        event
        for event in events
        if event.status_to == MemberStatus.SUBSCRIBED and event.origin == Origin.OURS
    ]
    return any(abs(opted_in_at - _when(event, timedelta())[0]) <= CLOCKS_DIFFER for event in ours)
