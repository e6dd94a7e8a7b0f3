"""Reading what changed in the consent of an audience since a moment, page by page, and complaints.

Mailchimp API: ``unsubscribed_since`` goes with status ``unsubscribed`` alone; archived and cleaned members
appear only when asked for by status. Every window ends at a fixed moment: a member who changes later leaves
it and is in the next one, as windows overlap. A window during which members moved is read again, a bounded
number of times; what is doubtful after that is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.member_reading import MEMBER_FIELDS, PAGE_SIZE, MemberPages, member_rows
from mc_pipeline.mailchimp.paging import pages
from mc_pipeline.vocabulary import MemberStatus

if TYPE_CHECKING:
    import pandas as pd

OVERLAP = timedelta(minutes=10)
"""So much of the last window is read again: clocks differ, and changes may show late."""

ACTIVITY_KINDS = (
    "unsub",
    "bounce",
    "signup",
    "generic_signup",
    "website_signup",
    "landing_page_signup",
    "squatter_signup",
    "ecommerce_signup",
)
"""Entries of an activity feed that say something about a status."""

# Tags cost calls of their own for members with many.
_FIELDS = tuple(name for name in MEMBER_FIELDS if name not in ("tags", "tags_count"))
_WINDOW_READS = 3
_JUST_NOW = timedelta(seconds=5)


@dataclass(frozen=True)
class AbuseReport:
    """Somebody called a campaign spam, in their mail program. ``at`` (UTC) is None if Mailchimp gives no
    date."""

    id: int
    email: str
    at: datetime | None

    def __repr__(self) -> str:
        return f"AbuseReport({self.id}, at={self.at})"


class ConsentChanges:
    """Members of an audience whose status may have changed since a moment.

    Iterating reads them in tables of at most 1,000 rows, in the columns of ``MembersRead`` without tags; the
    same member may come several times. Afterwards ``doubts`` says, by status, why somebody may be missing.

    Args:
        since: up to when the audience was read before (UTC, Mailchimp's clock); None reads all who are
            unsubscribed, cleaned or archived.
        subscribed_since: from when on subscribed members are read; None leaves them out.
    """

    def __init__(
        self,
        client: MailchimpClient,
        list_id: str,
        since: datetime | None,
        subscribed_since: datetime | None,
    ) -> None:
        self._client = client
        self._list_id = list_id
        self._since = since
        self._subscribed_since = subscribed_since
        # Its clock is known to the second, and the present second belongs to the window.
        self.until = client.server_now().replace(microsecond=0) + timedelta(seconds=2)
        self.doubts: dict[str, str] = {}

    def __iter__(self) -> "Iterator[pd.DataFrame]":
        self.doubts.clear()
        since = {} if self._since is None else {"since_last_changed": self._since - OVERLAP}
        opted_out_since = {} if self._since is None else {"unsubscribed_since": self._since - OVERLAP}
        yield from self._window(MemberStatus.UNSUBSCRIBED, **opted_out_since, before_last_changed=self.until)
        # Somebody who opted out before and changes again during these reads has left the window permanently.
        yield from self._window(
            MemberStatus.UNSUBSCRIBED, **opted_out_since, since_last_changed=self.until - _JUST_NOW
        )
        yield from self._window(MemberStatus.CLEANED, **since, before_last_changed=self.until)
        yield from self._window(MemberStatus.ARCHIVED, **since, before_last_changed=self.until)
        if self._subscribed_since is not None:
            came_back = self._subscribed_since - OVERLAP
            yield from self._window(
                MemberStatus.SUBSCRIBED, since_last_changed=came_back, before_last_changed=self.until
            )

    def _window(self, status: str, **window: datetime) -> "Iterator[pd.DataFrame]":
        doubt = ""
        for _ in range(_WINDOW_READS):
            pages = MemberPages(self._client, self._list_id, status, _FIELDS, **window)
            for records in pages:
                if records:
                    yield member_rows(self._list_id, records)
            doubt = pages.doubt
            if not doubt:
                return
        self.doubts[status] = doubt


def newest_changes(client: MailchimpClient, list_id: str, status: str, since: datetime) -> "pd.DataFrame":
    """Return the members of one status that changed last, 1,000 at most: one call, for a quick look.

    Of the unsubscribed only those who unsubscribed since then: others may have been edited. Columns email,
    status, last_changed and timestamp_opt (UTC), the newest first.
    """
    unsubscribed = {"unsubscribed_since": since} if status == MemberStatus.UNSUBSCRIBED else {}
    page = client.lists.get_list_members_info(
        list_id,
        status=status,
        count=PAGE_SIZE,
        sort_field="last_changed",
        sort_dir="DESC",
        since_last_changed=since,
        fields=[
            f"members.{name}" for name in ("id", "email_address", "status", "last_changed", "timestamp_opt")
        ],
        **unsubscribed,
    )
    members = page.get("members") or [] if isinstance(page, dict) else []
    return member_rows(list_id, members)[["email", "status", "last_changed", "timestamp_opt"]]


def read_abuse_reports(client: MailchimpClient, list_id: str) -> list[AbuseReport]:
    """Read every complaint about an audience. Mailchimp API: they cannot be asked for by time."""
    reports: dict[int, AbuseReport] = {}
    ask, fields = client.lists.get_list_abuse_reports, ("id", "email_address", "date")
    for page in pages(ask, "abuse_reports", list_id, fields=fields, count=PAGE_SIZE):
        for report in page.items:
            email = str(report.get("email_address") or "").strip().lower()
            if email:
                at = _moment(report.get("date"))
                reports[int(report["id"])] = AbuseReport(int(report["id"]), email, at)
    return list(reports.values())


def read_activity(client: MailchimpClient, list_id: str, subscriber_hash: str) -> list[dict[str, Any]]:
    """Read what a member's activity feed says about opt-outs, bounces and sign-ups, the newest first."""
    feed = client.lists.get_list_member_activity_feed(
        list_id, subscriber_hash, count=PAGE_SIZE, activity_filters=list(ACTIVITY_KINDS)
    )
    return [dict(entry) for entry in require(feed, "activity", list)]


def is_unsubscribed_since(
    client: MailchimpClient, list_id: str, email: str, since: datetime, changed_at: datetime
) -> bool:
    """Whether Mailchimp counts a member, last changed at ``changed_at``, among the opt-outs after ``since``.

    Mailchimp API: it does not show when somebody unsubscribed, but can be asked for who did since a moment.
    """
    second = timedelta(seconds=1)
    pages = MemberPages(
        client,
        list_id,
        MemberStatus.UNSUBSCRIBED,
        ("id", "email_address"),
        unsubscribed_since=since,
        since_last_changed=changed_at - second,
        before_last_changed=changed_at + second,
    )
    return any(
        str(record.get("email_address") or "").strip().lower() == email
        for records in pages
        for record in records
    )


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
