"""Reading members: one, the tags of one, and a whole audience so that nobody is lost while people change.

Mailchimp API: members are asked for by status (archived ones appear only when asked for, permanently
deleted ones never), at most 1,000 a page by offset. Offsets move when people change status while pages
are read: a page boundary then skips or repeats people. How :func:`read_members` loses nobody:

1. Each status is read in a frozen window: ``last_changed`` before the moment T, in that order. A member who
   changes leaves the window and nobody enters it, so a constant total_items with as many different ids
   proves that nothing moved. Otherwise the status is read again, a bounded number of times.
2. Anyone who changed since T is then read from all statuses (the delta); the later state wins.
3. Every status is counted. When a count is not what was read, people are changing at this moment: 2 and 3
   are repeated, then the windows of the doubtful statuses are read again. What still differs is incomplete.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_pipeline.digests import canonical_json
from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpNotFoundError
from mc_pipeline.mailchimp.paging import pages
from mc_pipeline.vocabulary import MemberStatus

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

PAGE_SIZE = 1000
STATUSES: tuple[str, ...] = tuple(MemberStatus)
MEMBER_FIELDS = (
    "id",
    "email_address",
    "contact_id",
    "status",
    "merge_fields",
    "tags_count",
    "tags",
    "language",
    "last_changed",
    "timestamp_signup",
    "timestamp_opt",
    "unsubscribe_reason",
    "source",
    "marketing_permissions",
)
_WINDOW_READS = 3
_ROUNDS = 6
_ROUNDS_BETWEEN_WINDOW_READS = 2
# The two clocks' seconds and what Mailchimp was just writing; a longer overlap re-reads whole first loads.
_DELTA_OVERLAP = timedelta(seconds=5)

_COLUMNS: dict[str, str] = {
    "list_id": "str",
    "email": "str",
    "email_address": "str",
    "subscriber_hash": "str",
    "contact_id": "str",
    "status": "str",
    "merge_fields_json": "str",
    "tags": "object",
    "language": "str",
    "last_changed": "datetime64[us, UTC]",
    "timestamp_signup": "datetime64[us, UTC]",
    "timestamp_opt": "datetime64[us, UTC]",
    "unsubscribe_reason": "str",
    "source": "str",
    "permissions_json": "str",
}


@dataclass(frozen=True)
class MembersRead:
    """One audience as it was when ``observed_at`` (UTC).

    ``rows``: one row per member of any status; columns list_id, email (lower-cased), email_address (as
    Mailchimp has it), subscriber_hash, contact_id, status, merge_fields_json (canonical JSON), tags
    (list of names), language, last_changed, timestamp_signup, timestamp_opt (UTC), unsubscribe_reason,
    source, permissions_json (each marketing permission by name and whether it is given; missing where the
    audience asks for none). ``complete`` is False when the counts prove that someone may be missing.
    """

    rows: "pd.DataFrame"
    observed_at: datetime
    complete: bool
    incomplete_because: str = ""


def get_member(client: MailchimpClient, list_id: str, subscriber_hash: str) -> dict[str, Any] | None:
    """Return one member with the fields of :data:`MEMBER_FIELDS`; None when Mailchimp has none (404)."""
    try:
        member = client.lists.get_list_member(list_id, subscriber_hash, fields=list(MEMBER_FIELDS))
    except MailchimpNotFoundError:
        return None
    require(member, "id", str, path=f"/lists/{list_id}/members")
    return dict(member)


def member_tags(client: MailchimpClient, list_id: str, subscriber_hash: str) -> list[str]:
    """Return all tags of a member. Mailchimp API: the member itself shows at most 50."""
    ask = client.lists.get_list_member_tags
    return [
        str(tag["name"])
        for page in pages(ask, "tags", list_id, subscriber_hash, fields=("name",), count=PAGE_SIZE)
        for tag in page.items
    ]


def read_members(client: MailchimpClient, list_id: str) -> MembersRead:
    """Read every member of an audience in every status: about ⌈members/1000⌉ + 18 calls.

    Raises:
        MailchimpError: a page could not be read at all; then nothing is known and nothing is returned.
    """
    reading = _AudienceReading(client, list_id)
    return reading.read()


class MemberPages:
    """The members of one status in a window of time, page after page, the longest unchanged first.

    ``fields`` of each member are asked for; ``window`` are time filters of Mailchimp's API. ``doubt`` is
    known when the last page is read: why somebody may be missing, or empty.
    """

    def __init__(
        self, client: MailchimpClient, list_id: str, status: str, fields: Sequence[str], **window: datetime
    ) -> None:
        self._client = client
        self._list_id = list_id
        self._status = status
        self._fields = fields
        self._window = window
        self.doubt = "the pages were not read to their end"

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        seen: set[str] = set()
        totals: list[int] = []
        for page in pages(
            self._client.lists.get_list_members_info,
            "members",
            self._list_id,
            status=self._status,
            count=PAGE_SIZE,
            sort_field="last_changed",
            sort_dir="ASC",
            fields=self._fields,
            **self._window,
        ):
            totals.append(page.total)
            seen.update(str(record["id"]) for record in page.items)
            yield page.items
        first_total, total = totals[0], totals[-1]
        self.doubt = ""
        if total != first_total:
            self.doubt = f"the number of members went from {first_total} to {total} while they were read"
        elif len(seen) != total:
            self.doubt = f"{len(seen)} different members were read, Mailchimp counts {total}"


class _AudienceReading:
    """The state of one reading: per status its window, and the delta over all of them."""

    def __init__(self, client: MailchimpClient, list_id: str) -> None:
        self._client = client
        self._list_id = list_id
        self._windows: dict[str, dict[str, _Member]] = {}
        self._window_doubts: dict[str, str] = {}
        self._delta_doubts: dict[str, str] = {}
        self._since: datetime | None = None

    def read(self) -> MembersRead:
        self._read_windows(STATUSES)
        members: dict[str, _Member] = {}
        differences: dict[str, str] = {}
        observed_at = datetime.now(UTC)
        for round_number in range(_ROUNDS):
            if round_number and round_number % _ROUNDS_BETWEEN_WINDOW_READS == 0:
                self._read_windows([*differences])
            observed_at = datetime.now(UTC)
            members = self._merge(self._read_delta())
            differences = self._doubts(members)
            if not differences:
                break
            _log.info("audience %s changes while it is read: %s", self._list_id, "; ".join(differences))
        because = "; ".join(f"{status}: {why}" for status, why in differences.items())
        return MembersRead(
            rows=_frame(self._list_id, members.values()),
            observed_at=observed_at,
            complete=not differences,
            incomplete_because=because,
        )

    def _read_windows(self, statuses: Iterable[str]) -> None:
        for status in statuses:
            self._window_doubts.pop(status, None)
            for _ in range(_WINDOW_READS):
                before = self._client.server_now().replace(microsecond=0)
                if self._since is None:
                    before = self._first_moment(status)
                window, why = self._read_pages(status, before_last_changed=before)
                self._windows[status] = window
                if not why:
                    break
            else:
                self._window_doubts[status] = why

    def _first_moment(self, status: str) -> datetime:
        """Ask once for a count so that Mailchimp's clock is known; windows end by it, not by ours."""
        self._count(status)
        self._since = self._client.server_now().replace(microsecond=0)
        return self._since

    def _read_delta(self) -> list["_Member"]:
        assert self._since is not None
        changed: list[_Member] = []
        self._delta_doubts.clear()
        for status in STATUSES:
            for _ in range(_WINDOW_READS):
                members, why = self._read_pages(status, since_last_changed=self._since - _DELTA_OVERLAP)
                if not why:
                    break
            else:
                self._delta_doubts[status] = f"among recent changes, {why}"
            changed += members.values()
        return changed

    def _read_pages(self, status: str, **window: datetime) -> tuple[dict[str, "_Member"], str]:
        """Return the members by id and, unless it is proven that nothing moved, why it is not."""
        pages = MemberPages(self._client, self._list_id, status, MEMBER_FIELDS, **window)
        members: dict[str, _Member] = {}
        for records in pages:
            for record in records:
                member = self._member(record)
                members[member.subscriber_hash] = member
        return members, pages.doubt

    def _member(self, record: Mapping[str, Any]) -> "_Member":
        tags = [str(tag["name"]) for tag in record.get("tags") or ()]
        if int(record.get("tags_count") or 0) > len(tags) or ("tags_count" not in record and len(tags) >= 50):
            tags = member_tags(self._client, self._list_id, str(record["id"]))
        return _Member.from_record(record, tags)

    def _merge(self, changed: Iterable["_Member"]) -> dict[str, "_Member"]:
        members: dict[str, _Member] = {}
        for window in self._windows.values():
            for member in window.values():
                _keep_later(members, member)
        for member in changed:
            _keep_later(members, member)
        return members

    def _doubts(self, members: Mapping[str, "_Member"]) -> dict[str, str]:
        return self._window_doubts | self._delta_doubts | self._count_differences(members)

    def _count_differences(self, members: Mapping[str, "_Member"]) -> dict[str, str]:
        read = dict.fromkeys(STATUSES, 0)
        for member in members.values():
            read[member.status] = read.get(member.status, 0) + 1
        differences = {}
        for status in STATUSES:
            counted = self._count(status)
            if counted != read[status]:
                differences[status] = f"{read[status]} members were read, Mailchimp counts {counted}"
        return differences

    def _count(self, status: str) -> int:
        page = self._client.lists.get_list_members_info(
            self._list_id, status=status, count=1, fields=["total_items"]
        )
        return int(require(page, "total_items", int))


@dataclass(frozen=True, slots=True)
class _Member:
    email: str
    email_address: str
    subscriber_hash: str
    contact_id: str
    status: str
    merge_fields_json: str
    tags: list[str]
    language: str | None
    last_changed: datetime | None
    timestamp_signup: datetime | None
    timestamp_opt: datetime | None
    unsubscribe_reason: str | None
    source: str | None
    permissions_json: str | None

    @classmethod
    def from_record(cls, record: Mapping[str, Any], tags: list[str]) -> "_Member":
        address = str(record.get("email_address") or "")
        subscriber_hash = str(record["id"])
        lowered = address.strip().lower()
        return cls(
            email=address if lowered == address else lowered,
            email_address=address,
            subscriber_hash=subscriber_hash,
            contact_id=str(record.get("contact_id") or ""),
            status=sys.intern(str(record["status"])),
            merge_fields_json=canonical_json(record.get("merge_fields") or {}),
            tags=[sys.intern(tag) for tag in tags],
            language=_shared_text(record.get("language")),
            last_changed=_time(record.get("last_changed")),
            timestamp_signup=_time(record.get("timestamp_signup")),
            timestamp_opt=_time(record.get("timestamp_opt")),
            unsubscribe_reason=_shared_text(record.get("unsubscribe_reason")),
            source=_shared_text(record.get("source")),
            permissions_json=_permissions(record.get("marketing_permissions")),
        )

    @property
    def key(self) -> str:
        """What stays when the address changes (the hash of the address does not)."""
        return self.contact_id or self.subscriber_hash


def member_rows(list_id: str, records: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Members as Mailchimp gave them, in the columns of :class:`MembersRead`; without their tags."""
    return _frame(list_id, (_Member.from_record(record, []) for record in records))


def _frame(list_id: str, members: Iterable[_Member]) -> "pd.DataFrame":
    import pandas as pd

    ordered = sorted(members, key=lambda member: member.email)
    columns: dict[str, pd.Series] = {}
    for name, dtype in _COLUMNS.items():
        if name == "list_id":
            values: list[Any] = [list_id] * len(ordered)
        else:
            values = [getattr(member, name) for member in ordered]
        columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)


def _keep_later(members: dict[str, _Member], member: _Member) -> None:
    known = members.get(member.key)
    known_at = known.last_changed if known else None
    if known_at is None or member.last_changed is None or member.last_changed >= known_at:
        members[member.key] = member


def _permissions(permissions: Any) -> str | None:
    if not permissions:
        return None
    given = {str(each.get("text")): bool(each.get("enabled")) for each in permissions}
    return sys.intern(canonical_json(given))


def _shared_text(value: Any) -> str | None:
    return sys.intern(str(value)) if value else None


def _time(value: Any) -> datetime | None:
    if not value:
        return None
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
