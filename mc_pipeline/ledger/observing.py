"""What a read of the audiences says beyond what the ledger knew: a pure comparison of two tables.

``members`` reads and writes; here is only which rows are news, and which consent events they are.
"""

import re
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger.consent import ConsentEvent
from mc_pipeline.ledger.errors import ObservationError
from mc_pipeline.vocabulary import (
    EVENT_OF_STATUS,
    OPTED_OUT_STATUSES,
    OUT_OF_AUDIENCE_STATUSES,
    EventKind,
    EventSource,
    MemberStatus,
    Origin,
)

if TYPE_CHECKING:
    import pandas as pd

OBSERVED_COLUMNS = ("audience", "list_id", "email", "status", "last_changed", "merge_fields_json", "language")

# Mailchimp knows no status for complaints: the reason of the unsubscribe tells them apart.
_COMPLAINT = re.compile(r"abuse|complain|spam", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A member whose status is another one than the ledger knew, before it becomes a consent event.

    status_from     "" at first sight
    changed_at      ``last_changed`` of the member (UTC): the latest moment at which it may have happened
    after_opt_out   the address opted out before, in any audience of any company
    ours            a write of ours whose outcome never came explains it
    """

    audience: str
    list_id: str
    email: str
    status_from: str
    status_to: str
    changed_at: datetime
    reason: str
    after_opt_out: bool
    ours: bool

    def __repr__(self) -> str:
        return f"StatusChange({self.status_from or 'unknown'} → {self.status_to}, list_id={self.list_id!r})"


@dataclass(frozen=True)
class Finding:
    """What was found out about a status change beyond the two statuses: kept with its event.

    ``occurred_at`` (UTC) is known more exactly than by the member's last change, which may be another one.
    """

    origin: Origin
    evidence: dict[str, Any] = field(default_factory=dict)
    is_complaint: bool = False
    occurred_at: datetime | None = None


@dataclass(frozen=True)
class Comparison:
    """News of a read. Every table is indexed by nothing and keyed by list_id and email.

    present      members seen, with what is known about them (columns of both tables, ``known`` bool)
    changed      the rows of ``present`` whose record changes
    first_seen   the rows of ``present`` that have no record yet
    to_fill      the rows of ``present`` where we wrote and never learned what Mailchimp made of it
    events       the rows of ``present`` that are consent events, with ``status_from`` and ``after_opt_out``
    absent       known members that a complete read did not find: list_id, email
    """

    present: "pd.DataFrame"
    changed: "pd.DataFrame"
    first_seen: "pd.DataFrame"
    to_fill: "pd.DataFrame"
    events: "pd.DataFrame"
    absent: "pd.DataFrame"


def checked(observed: "pd.DataFrame") -> "pd.DataFrame":
    """The columns that matter, one row per member. Raises ``ObservationError`` naming what is missing."""
    import pandas as pd

    missing = [column for column in OBSERVED_COLUMNS if column not in observed.columns]
    if missing:
        raise ObservationError(
            f"the observed members have no column {', '.join(missing)}; give the rows of mailchimp_members"
        )
    rows = observed.loc[:, list(OBSERVED_COLUMNS)].copy()
    rows["unsubscribe_reason"] = observed.get("unsubscribe_reason")
    nobody = pd.Series(None, index=observed.index, dtype=object)
    contact_ids = observed.get("contact_id", nobody).astype(object)
    rows["contact_id"] = contact_ids.where(contact_ids.notna() & (contact_ids != ""), None)
    rows["permissions_json"] = observed.get("permissions_json")
    if len(rows) and rows["last_changed"].notna().any():
        if not isinstance(rows["last_changed"].dtype, pd.DatetimeTZDtype):
            raise ObservationError(
                "last_changed of the observed members has no timezone; give UTC timestamps"
            )
    else:
        rows["last_changed"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us, UTC]")
    if rows[["list_id", "email", "status"]].isna().any(axis=None):
        raise ObservationError(
            "some observed members have no list_id, email or status; leave them out and say why"
        )
    rows["email"] = rows["email"].str.strip().str.lower()
    return rows.drop_duplicates(["list_id", "email"], keep="last").reset_index(drop=True)


def compare(
    known: "pd.DataFrame",
    observed: "pd.DataFrame",
    observed_at: datetime,
    complete: Set[str],
    opted_out_ever: Set[str] = frozenset(),
) -> Comparison:
    """Set a read beside what the ledger knows of the same audiences.

    ``complete``: list ids of the audiences that were read completely; the others miss nobody.
    A member that we wrote at or after ``observed_at`` is left out, and so is one whose status was seen to be
    another one after it: the read is older than that.
    ``opted_out_ever``: who opted out of any audience of any company; their coming to a further one is news.
    """
    import pandas as pd

    at = pd.Timestamp(observed_at)
    overtaken = (known["written_at"].notna() & (known["written_at"] >= at)) | (
        known["seen_at"].notna() & (known["seen_at"] > at)
    )
    present = observed.merge(
        known.drop(columns=["written_at", "seen_at"]), on=["list_id", "email"], how="left", indicator=True
    )
    present["known"] = present.pop("_merge") == "both"
    for flag in ("awaits_answer", "ever_subscribed", "opted_out", "archived_by_us", "vanished"):
        present[flag] = present[flag].eq(True).fillna(False).astype(bool)
    present["absent_reads"] = present["absent_reads"].fillna(0).astype("int64")
    keys_overtaken = pd.MultiIndex.from_frame(known.loc[overtaken, ["list_id", "email"]])
    keys_present = pd.MultiIndex.from_frame(present[["list_id", "email"]])
    present = present[~keys_present.isin(keys_overtaken)]

    status = present["status"]
    seen_before = present["last_status"].notna()
    status_changed = ~seen_before | (present["last_status"] != status)
    news = (
        status_changed
        | (present["absent_reads"] > 0)
        | present["vanished"]
        | ((status == MemberStatus.SUBSCRIBED) & ~present["ever_subscribed"])
        | (status.isin(OPTED_OUT_STATUSES) & ~present["opted_out"])
        | (present["archived_by_us"] & (status != MemberStatus.ARCHIVED))
    )
    was_opted_out = present["opted_out"]
    present = present.assign(
        status_from=present["last_status"].where(seen_before, None),
        ever_subscribed=present["ever_subscribed"] | (status == MemberStatus.SUBSCRIBED),
        opted_out=present["opted_out"] | status.isin(OPTED_OUT_STATUSES),
        archived_by_us=present["archived_by_us"] & (status == MemberStatus.ARCHIVED),
    )
    came_back = (status == MemberStatus.SUBSCRIBED) & present["email"].isin(opted_out_ever)
    # At first sight, a status out of the audience says that something happened before anybody looked.
    are_events = status_changed & (seen_before | status.isin(OUT_OF_AUDIENCE_STATUSES) | came_back)
    present = present.assign(after_opt_out=present["email"].isin(opted_out_ever) | was_opted_out)

    candidates = known[known["last_status"].notna() & ~overtaken & ~known["vanished"].astype(bool)]
    keys_known = pd.MultiIndex.from_frame(candidates[["list_id", "email"]])
    absent = candidates.loc[~keys_known.isin(keys_present), ["list_id", "email"]]
    return Comparison(
        present=present,
        changed=present[present["known"] & news],
        first_seen=present[~present["known"]],
        to_fill=present[present["known"] & present["awaits_answer"]],
        events=present[are_events],
        absent=absent[absent["list_id"].isin(complete)],
    )


def change_of(row: Any, observed_at: datetime, *, ours: bool) -> StatusChange:
    """The status change that a row of ``Comparison.events`` is."""
    return StatusChange(
        audience=row.audience,
        list_id=row.list_id,
        email=row.email,
        status_from=row.status_from if isinstance(row.status_from, str) else "",
        status_to=row.status,
        changed_at=moment(row.last_changed) or observed_at,
        reason=row.unsubscribe_reason if isinstance(row.unsubscribe_reason, str) else "",
        after_opt_out=bool(row.after_opt_out),
        ours=ours,
    )


def event_of(
    change: StatusChange,
    company: str,
    observed_at: datetime,
    source: EventSource,
    finding: Finding | None = None,
) -> ConsentEvent:
    """The consent event that a status change is, with what was found out about it."""
    found = finding or Finding(Origin.UNKNOWN)
    evidence: dict[str, Any] = {"observed_at": observed_at.isoformat(), **found.evidence}
    if not change.status_from:
        evidence["first_seen"] = True
    if change.reason:
        evidence["unsubscribe_reason"] = change.reason
    event = EVENT_OF_STATUS.get(change.status_to, change.status_to)
    if event in (EventKind.OPT_OUT, EventKind.CLEAN) and (
        found.is_complaint or _COMPLAINT.search(change.reason)
    ):
        event = EventKind.COMPLAINT
    return ConsentEvent(
        company=company,
        audience=change.audience,
        list_id=change.list_id,
        email=change.email,
        event=event,
        origin=Origin.OURS if change.ours else found.origin,
        status_from=change.status_from,
        status_to=change.status_to,
        occurred_at=found.occurred_at or change.changed_at,
        seen_at=observed_at,
        evidence=evidence,
        source=source,
    )


def returned_json(row: Any) -> str:
    """What Mailchimp has for a member, in the shape of ``returned_json``."""
    language = (
        f',"language":{canonical_json(row.language)}'
        if isinstance(row.language, str) and row.language
        else ""
    )
    fields = row.merge_fields_json if isinstance(row.merge_fields_json, str) else "{}"
    # Both parts are canonical JSON already, and "language" sorts before "merge_fields".
    return "{" + (language[1:] + "," if language else "") + f'"merge_fields":{fields}' + "}"


def moment(value: Any) -> datetime | None:
    """A timestamp of pandas as a datetime; None for NaT."""
    import pandas as pd

    return None if value is None or pd.isna(value) else value.to_pydatetime()
