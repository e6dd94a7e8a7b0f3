"""What an outcome makes of our record of a member: pure functions, no database.

A record is one address in one audience. Its evolution is decided here and nowhere else: by the
outcomes of our own writes (``after_outcome``) and by renames (``renamed_over``). What observation of
Mailchimp adds is in ``members``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from mc_pipeline.digests import body_digest, canonical_json
from mc_pipeline.ledger.consent import ConsentEvent
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.vocabulary import (
    DATA_OPERATIONS,
    EVENT_OF_STATUS,
    OPTED_OUT_STATUSES,
    REACHING_OPERATIONS,
    EventKind,
    EventSource,
    MemberStatus,
    Operation,
    Origin,
    OutcomeKind,
)

OPERATIONS: frozenset[str] = frozenset(Operation)
OUTCOMES: frozenset[str] = frozenset(OutcomeKind)

# "has signed up to a lot of lists very recently": reported to pass after a while. After the fourth
# wait it counts as a rejection. Source: Mailchimp users' reports, no documentation.
DEFERRALS = (timedelta(minutes=5), timedelta(days=1), timedelta(days=2), timedelta(days=7))

Changes = dict[str, Any]  # columns of a record and their new values

_FOUND: Changes = {
    "absent_reads": 0,
    "absent_confirmations": 0,
    "absent_confirmed_read": 0,
    "vanished": False,
}
_NO_REJECTION: Changes = {
    "rejection_operation": None,
    "rejection_key": None,
    "rejection_detail": None,
    "rejection_title": None,
    "rejection_attempts": 0,
    "rejection_cause": None,
    "rejection_field": None,
    "rejected_at": None,
    "retry_at": None,
}
_OUTSIDE_THE_PERSON = frozenset({"required_field", "phone_format", "field_definition", "contact_limit"})


@dataclass(frozen=True)
class MemberRecord:
    """One row of ``ledger_member``; the columns are explained at ``Members.load``."""

    list_id: str
    email: str
    company: str
    audience: str
    partner_id: int | None = None
    name_sent: str | None = None
    created_by_us: bool = False
    created_status: str | None = None
    created_at: datetime | None = None
    sent_json: str | None = None
    returned_json: str | None = None
    tags_json: str = "[]"
    archived_by_us: bool = False
    ever_subscribed: bool = False
    opted_out: bool = False
    permitted: bool = False
    last_status: str | None = None
    last_changed: datetime | None = None
    written_at: datetime | None = None
    absent_reads: int = 0
    absent_confirmations: int = 0
    absent_confirmed_read: int = 0
    vanished: bool = False
    rejection_operation: str | None = None
    rejection_key: str | None = None
    rejection_detail: str | None = None
    rejection_title: str | None = None
    rejection_attempts: int = 0
    rejection_cause: str | None = None
    rejection_field: str | None = None
    rejected_at: datetime | None = None
    retry_at: datetime | None = None
    contact_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class SettledWrite:
    """A write and its outcome. ``body`` is what was sent, ``returned`` the member as answered."""

    intent_id: int
    company: str
    audience: str
    list_id: str
    email: str
    operation: Operation
    body: Mapping[str, Any]
    body_json: str
    partner_id: int | None
    name_sent: str | None
    evidence: Mapping[str, Any] | None = None
    outcome: OutcomeKind
    at: datetime
    detail: str = ""
    title: str = ""
    returned: Mapping[str, Any] | None = None
    refusal: str = ""
    cause: str = ""
    field: str = ""
    retry_at: datetime | None = None


def fields_of(member: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a member that we compare: its merge fields, and its language where it has one."""
    fields: dict[str, Any] = {"merge_fields": dict(member.get("merge_fields") or {})}
    if member.get("language"):
        fields["language"] = member["language"]
    return fields


def after_outcome(record: MemberRecord, write: SettledWrite) -> MemberRecord:
    """The record after a write to it: what was accepted is merged in, what was refused is remembered."""
    changes: Changes = {}
    match write.outcome:
        case OutcomeKind.REJECTED | OutcomeKind.DEFERRED:
            changes = _refused(record, write)
        case OutcomeKind.APPLIED:
            changes = {"written_at": write.at, **_no_rejection(record, write), **_accepted(record, write)}
        case OutcomeKind.UNCHANGED if write.operation == Operation.UNTAG:
            changes = {"tags_json": _tags(record, remove=tags_of(write.body))}
        case OutcomeKind.UNCHANGED if write.operation == Operation.UPDATE:
            changes = {**_no_rejection(record, write), **_fields(record.sent_json, write), **_partner(write)}
        case OutcomeKind.UNCHANGED | OutcomeKind.HELD_BACK | OutcomeKind.NOT_SENT:
            pass
        case OutcomeKind.UNKNOWN | OutcomeKind.LOST:
            pass
        case never:
            assert_never(never)
    return replace(record, **changes) if changes else record


def renamed_over(moving: MemberRecord, present: MemberRecord | None, new_email: str) -> MemberRecord:
    """The record of the old address under the new one; what the new address did before is not forgotten."""
    moved = replace(moving, email=new_email, **_FOUND)
    if present is None:
        return moved
    return replace(
        moved,
        ever_subscribed=moving.ever_subscribed or present.ever_subscribed,
        opted_out=moving.opted_out or present.opted_out,
        permitted=moving.permitted or present.permitted,
    )


def consent_event_of(before: MemberRecord, write: SettledWrite) -> ConsentEvent | None:
    """The consent event that a write of ours is.

    An accepted one that changed a status is ours. That Mailchimp refuses a person permanently is an opt-out
    that somebody made before, nobody knows who (RULES 6.6).
    """
    if write.outcome == OutcomeKind.REJECTED and write.refusal and write.operation in REACHING_OPERATIONS:
        return _refused_for_good(before, write)
    if write.outcome != OutcomeKind.APPLIED:
        return None
    status = _status_after(write)
    if status is None or status == before.last_status or status == MemberStatus.TRANSACTIONAL:
        return None
    evidence: dict[str, Any] = {
        **(write.evidence or {}),
        "operation": write.operation,
        "intent": write.intent_id,
    }
    if write.evidence and write.partner_id is not None:
        # Whose consent it was, whatever address they have when they take it back.
        evidence["partner_id"] = write.partner_id
    at = changed_at(write.returned)
    if at is not None:
        evidence["mailchimp_at"] = at.isoformat()
    evidence.update(
        {key: write.body[key] for key in ("timestamp_opt", "timestamp_signup") if key in write.body}
    )
    return ConsentEvent(
        company=write.company,
        audience=write.audience,
        list_id=write.list_id,
        email=write.email,
        event=EVENT_OF_STATUS.get(status, status),
        origin=Origin.OURS,
        status_from=before.last_status or "",
        status_to=status,
        occurred_at=write.at,
        seen_at=write.at,
        evidence=evidence,
        source=EventSource.WRITE,
    )


def changed_at(returned: Mapping[str, Any] | None) -> datetime | None:
    """When the member changed by a write of ours, by Mailchimp's clock; None where it does not say."""
    try:
        at = datetime.fromisoformat(str((returned or {}).get("last_changed")))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _refused_for_good(before: MemberRecord, write: SettledWrite) -> ConsentEvent:
    email = write.email
    if write.operation == Operation.CHANGE_EMAIL:
        # Mailchimp's text begins with the address that it refuses: as a rule the new one.
        refused = address_key(write.detail.split(maxsplit=1)[0]) if write.detail.strip() else ""
        email = write.email if refused == write.email else address_key(write.body["email_address"])
    return ConsentEvent(
        company=write.company,
        audience=write.audience,
        list_id=write.list_id,
        email=email,
        event=EventKind.OPT_OUT,
        origin=Origin.UNKNOWN,
        status_from=(before.last_status or "") if email == write.email else "",
        occurred_at=write.at,
        seen_at=write.at,
        evidence={
            "refused": write.refusal,
            "title": write.title,
            "operation": write.operation,
            "intent": write.intent_id,
        },
        source=EventSource.WRITE,
    )


def tags_of(body: Mapping[str, Any]) -> list[str]:
    """The tags that a tag or untag body names, as ``{"tag": name}`` or ``{"tags": [name, …]}``."""
    return [body["tag"]] if "tag" in body else list(body.get("tags", ()))


def _accepted(record: MemberRecord, write: SettledWrite) -> Changes:
    changes: Changes = {}
    status = _status_after(write)
    contact_id = (write.returned or {}).get("contact_id") or None
    if write.operation == Operation.CREATE and record.last_status != MemberStatus.ARCHIVED:
        # Bulk creation does not return it; the earlier owner of the address was somebody else.
        changes["contact_id"] = contact_id
    elif contact_id and not record.contact_id:
        changes["contact_id"] = contact_id
    match write.operation:
        case Operation.CREATE:
            changes |= {
                "created_by_us": True,
                "created_status": status,
                "created_at": write.at,
                "archived_by_us": False,
                **_FOUND,
                # An archived address comes back with its old fields and tags: those we wrote stay ours.
                **_fields(record.sent_json, write),
                **_partner(write),
            }
        case Operation.UPDATE | Operation.CHANGE_EMAIL:
            changes |= {**_fields(record.sent_json, write), **_partner(write)}
        case Operation.ARCHIVE:
            changes |= {"archived_by_us": True}
        case Operation.TAG:
            changes |= {"tags_json": _tags(record, add=tags_of(write.body))}
        case Operation.UNTAG:
            changes |= {"tags_json": _tags(record, remove=tags_of(write.body))}
        case Operation.UPGRADE:
            changes |= _partner(write)
        case Operation.PERMIT | Operation.UNSUBSCRIBE:
            pass
        case never:
            assert_never(never)
    if status is not None:
        changes["last_status"] = status
        changes["ever_subscribed"] = record.ever_subscribed or status == MemberStatus.SUBSCRIBED
        changes["opted_out"] = record.opted_out or status in OPTED_OUT_STATUSES
        at = changed_at(write.returned)
        if at is not None:
            # What this write changed is no news to who asks what changed since.
            changes["last_changed"] = at
    return changes


def _status_after(write: SettledWrite) -> str | None:
    """The status that this write gave the member; ``None`` if it had none."""
    match write.operation:
        case Operation.CREATE:
            return (write.returned or {}).get("status") or write.body.get("status")
        case Operation.ARCHIVE:
            return MemberStatus.ARCHIVED
        case Operation.UNSUBSCRIBE:
            return MemberStatus.UNSUBSCRIBED
        case Operation.UPGRADE:
            return (write.returned or {}).get("status") or MemberStatus.SUBSCRIBED
        case Operation.UPDATE | Operation.CHANGE_EMAIL | Operation.TAG | Operation.UNTAG | Operation.PERMIT:
            return None
        case never:
            assert_never(never)


def _fields(sent_json: str | None, write: SettledWrite) -> Changes:
    sent: dict[str, Any] = json.loads(sent_json) if sent_json else {}
    new = fields_of(write.body)
    sent.update({**new, "merge_fields": {**sent.get("merge_fields", {}), **new["merge_fields"]}})
    return {
        "sent_json": canonical_json(sent),
        # Without an answer it is unknown what Mailchimp made of it: the next observation fills it in.
        "returned_json": None if write.returned is None else canonical_json(fields_of(write.returned)),
    }


def _partner(write: SettledWrite) -> Changes:
    named = {"partner_id": write.partner_id, "name_sent": write.name_sent}
    return {column: value for column, value in named.items() if value is not None}


def _tags(record: MemberRecord, add: list[str] | None = None, remove: list[str] | None = None) -> str:
    """Mailchimp compares tags without regard to case; the spelling first used stays."""
    tags: list[str] = json.loads(record.tags_json)
    gone = {tag.casefold() for tag in remove or ()}
    present = {tag.casefold() for tag in tags}
    tags = [tag for tag in tags if tag.casefold() not in gone]
    tags += [tag for tag in add or () if tag.casefold() not in present]
    return canonical_json(sorted(set(tags)))


def _refused(record: MemberRecord, write: SettledWrite) -> Changes:
    if record.rejection_operation in DATA_OPERATIONS and write.operation not in DATA_OPERATIONS:
        return {}
    attempts, retry_at = 0, write.retry_at
    if write.outcome == OutcomeKind.DEFERRED and write.cause not in _OUTSIDE_THE_PERSON:
        # Counted over changes of the data too: the reason is the address, not what was sent with it.
        attempts = record.rejection_attempts + 1
        if attempts <= len(DEFERRALS):
            retry_at = write.at + DEFERRALS[attempts - 1]
    return {
        "rejection_operation": write.operation,
        "rejection_key": body_digest(write.body_json),
        "rejection_detail": write.detail,
        "rejection_title": write.title,
        "rejection_attempts": attempts,
        "rejection_cause": write.cause or None,
        "rejection_field": write.field or None,
        "rejected_at": write.at,
        "retry_at": retry_at,
    }


def _no_rejection(record: MemberRecord, write: SettledWrite) -> Changes:
    of_data = record.rejection_operation in DATA_OPERATIONS and write.operation in DATA_OPERATIONS
    return _NO_REJECTION if of_data or record.rejection_operation == write.operation else {}
