"""Finds out who made a change of status, before it is recorded (rules 5.2 and 5.5).

For opt-outs what is at hand is enough: they restrict no matter who made them. Only whether somebody
resubscribed themselves is worth a request of its own, and these are few.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.consent.origin import CLOCKS_DIFFER, Act, OriginFound, act_of_activity, origin_of
from mc_pipeline.ledger import Finding, Ledger, StatusChange
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpNotFoundError
from mc_pipeline.mailchimp.opt_out_reading import AbuseReport, read_activity
from mc_pipeline.vocabulary import OPTED_OUT_STATUSES, MemberStatus, Origin

Key = tuple[str, str]  # (list_id, email)

ASKED_AT_MOST = 200
"""Members whose activity feed is asked for in a run."""


class Origins:
    """The origins of the changes that one run sees; asks Mailchimp for at most ``asked_at_most`` feeds."""

    def __init__(
        self, client: MailchimpClient, ledger: Ledger, *, asked_at_most: int = ASKED_AT_MOST
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._left = asked_at_most

    def find(
        self,
        changes: Iterable[StatusChange],
        reported: Mapping[Key, Sequence[Act]],
        complaints: Mapping[str, Sequence[AbuseReport]],
    ) -> dict[Key, Finding]:
        """Find out about these changes.

        ``reported`` is what webhooks reported about members, by list and address; ``complaints`` are those
        about the audience of the changes, by address.

        Raises:
            MailchimpError: an activity feed could not be read. Nothing should be recorded then: what is
                recorded as unknown stays unknown.
        """
        seen = list(changes)
        came_back = [change.email for change in seen if _came_back(change)]
        opted_out_at = self._ledger.consent.last_opt_outs(came_back) if came_back else {}
        return {
            (change.list_id, change.email): self._finding(
                change,
                reported.get((change.list_id, change.email), ()),
                opted_out_at.get(change.email),
                complaints.get(change.email, ()),
            )
            for change in seen
        }

    def _finding(
        self,
        change: StatusChange,
        reported: Sequence[Act],
        opted_out_at: datetime | None,
        reports: Sequence[AbuseReport],
    ) -> Finding:
        acts = list(reported)
        if not _came_back(change):
            report = _complaint_behind(change, reports)
            if report is not None and not change.ours:
                return Finding(Origin.PERSON, {"abuse_report": report.id}, is_complaint=True)
            return _as_finding(origin_of(change, acts))
        found = origin_of(change, acts, not_before=opted_out_at)
        if found.origin == Origin.UNKNOWN:
            if self._left <= 0:
                because = "the activity feed was not asked for: too many came back at once"
                return Finding(Origin.UNKNOWN, {"origin_because": because})
            self._left -= 1
            acts += self._activity(change)
            found = origin_of(change, acts, not_before=opted_out_at)
        return _as_finding(found)

    def _activity(self, change: StatusChange) -> list[Act]:
        try:
            entries = read_activity(self._client, change.list_id, subscriber_hash(change.email))
        except MailchimpNotFoundError:
            return []
        return [act for act in map(act_of_activity, entries) if act is not None]


def by_address(reports: Iterable[AbuseReport]) -> dict[str, list[AbuseReport]]:
    """Group complaints by address."""
    grouped: dict[str, list[AbuseReport]] = defaultdict(list)
    for report in reports:
        grouped[report.email].append(report)
    return dict(grouped)


def _as_finding(found: OriginFound) -> Finding:
    return Finding(
        found.origin,
        {"origin_because": found.because},
        is_complaint=found.act is not None and found.act.is_complaint,
        occurred_at=found.act.at if found.act is not None and found.act.is_dated else None,
    )


def _came_back(change: StatusChange) -> bool:
    return change.status_to == MemberStatus.SUBSCRIBED and change.after_opt_out and not change.ours


def _complaint_behind(change: StatusChange, reports: Sequence[AbuseReport]) -> AbuseReport | None:
    """The complaint that made Mailchimp unsubscribe a member: one of that moment, not of years before."""
    if change.status_to not in OPTED_OUT_STATUSES:
        return None
    for report in reports:
        if report.at is not None and abs(report.at - change.changed_at) <= CLOCKS_DIFFER:
            return report
    return None
