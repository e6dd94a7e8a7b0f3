"""Marketing permissions (GDPR) by person and purpose: given by us, seen, taken back (RULES 4.5).

A purpose is the permission's text in small letters, as the ids differ from audience to audience. There is a
row for each audience in which a person was seen with a permission, or was given one; what follows for the
whole company is a rule (``mc_pipeline.domain.plan.permissions``). A member who gets another address
keeps the rows under both.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, or_, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.projection import SettledWrite
from mc_pipeline.ledger.schema import intent as intent_table
from mc_pipeline.ledger.schema import member, permission
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_or_replace
from mc_pipeline.vocabulary import DONE, MemberStatus, Operation, OutcomeKind

if TYPE_CHECKING:
    import pandas as pd

_GIVEN = DONE | {OutcomeKind.LOST}
Key = tuple[str, str, str, str]  # company, list id, address, purpose


@dataclass(frozen=True, kw_only=True)
class PermissionRecord:
    """What is known of one permission of one member.

    enabled          whether the member has it, as last seen in Mailchimp or given by us
    given_at         when we gave it last; None: never
    evidence_at, evidence_source   the evidence on which we gave it last; none is known of what earlier
                     versions gave
    withdrawn_at     when it was last seen to be taken back: it was there at the read before
    lost_at          when we found that the outcome of our giving it will stay unknown; None again when the
                     member is seen with it, or is given it again
    """

    company: str
    list_id: str
    email: str
    permission: str
    enabled: bool = False
    given_at: datetime | None = None
    evidence_at: datetime | None = None
    evidence_source: str = ""
    withdrawn_at: datetime | None = None
    lost_at: datetime | None = None

    def __repr__(self) -> str:
        return f"PermissionRecord({self.permission!r}, list_id={self.list_id!r}, enabled={self.enabled})"

    @property
    def last_word(self) -> datetime | None:
        """The moment that evidence must be later than for the permission to be given (again)."""
        moments = [self.evidence_at or self.given_at, self.withdrawn_at, self.lost_at]
        return max((moment for moment in moments if moment is not None), default=None)


_COLUMNS = tuple(PermissionRecord.__dataclass_fields__)


class Permissions:
    """The marketing permissions of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_words(self, company: str) -> dict[tuple[str, str], datetime]:
        """By address and purpose: the moment that evidence must be later than for it to be given (again).

        That is the latest of the evidence on which it was given, a withdrawal, and a lost answer, in any
        audience of the company. What is being given just now, with nobody knowing yet whether it was
        applied, counts as given.
        """
        these = permission.c.company == company
        something = or_(
            permission.c.given_at.is_not(None),
            permission.c.withdrawn_at.is_not(None),
            permission.c.lost_at.is_not(None),
        )
        still_open = select(intent_table).where(
            intent_table.c.company == company,
            intent_table.c.settled_at.is_(None),
            intent_table.c.operation == Operation.PERMIT,
        )
        found: dict[tuple[str, str], datetime] = {}
        with self._database.read() as connection:
            words = [
                (record.email, record.permission, record.last_word)
                for record in _records(connection, and_(these, something))
            ]
            for row in connection.execute(still_open).mappings():
                # Evidence is never later than what is done on it.
                words += [
                    (row["email"], purpose(text), row["recorded_at"])
                    for text in json.loads(row["body_json"]).get("marketing_permissions", ())
                ]
        for email, text, moment in words:
            if moment is not None and moment > found.get((email, text), datetime.min.replace(tzinfo=UTC)):
                found[email, text] = moment
        return found

    def of_email(self, company: str, email: str) -> list[PermissionRecord]:
        """What is known of one address, in all audiences of a company."""
        with self._database.read() as connection:
            return list(
                _records(
                    connection,
                    and_(permission.c.company == company, permission.c.email == address_key(email)),
                )
            )

    def lost(self, company: str) -> "pd.DataFrame":
        """Permissions of subscribed members of which nobody knows whether they were given.

        Columns: list_id, audience, email, partner_id (Int64), permission, lost_at (UTC).
        """
        import pandas as pd

        columns = [
            permission.c.list_id,
            member.c.audience,
            permission.c.email,
            member.c.partner_id,
            permission.c.permission,
            permission.c.lost_at,
        ]
        query = (
            select(*columns)
            .join(
                member,
                and_(member.c.list_id == permission.c.list_id, member.c.email == permission.c.email),
            )
            .where(
                permission.c.company == company,
                permission.c.lost_at.is_not(None),
                member.c.last_status == MemberStatus.SUBSCRIBED,
            )
            .order_by(permission.c.lost_at, permission.c.list_id, permission.c.email)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        frame = pd.DataFrame(rows, columns=[column.name for column in columns])
        return frame.astype({"partner_id": "Int64"})


def purpose(text: str) -> str:
    """The purpose that a permission's text stands for: Mailchimp's words without regard to case."""
    return text.casefold()


def note_given(connection: Connection, writes: Iterable[SettledWrite]) -> None:
    """Record the outcome of giving permissions; the other writes are passed over."""
    given = [each for each in writes if each.operation == Operation.PERMIT and each.outcome in _GIVEN]
    if not given:
        return
    known = _known(connection, {each.email for each in given})
    changed: dict[Key, PermissionRecord] = {}
    for write in given:
        evidence_at, source = _evidence(write)
        for text in write.body.get("marketing_permissions", ()):
            key = (write.company, write.list_id, write.email, purpose(text))
            before = changed.get(key) or known.get(key) or _empty(key)
            lost = write.outcome == OutcomeKind.LOST
            changed[key] = replace(
                before,
                enabled=not lost,
                given_at=write.at,
                evidence_at=evidence_at,
                evidence_source=source,
                lost_at=write.at if lost else None,
            )
    _save(connection, changed)


def keep_under_new_address(
    connection: Connection, company: str, list_id: str, old_email: str, new_email: str
) -> None:
    """A member has another address: what is known under the old one is known under the new one too."""
    old, new = address_key(old_email), address_key(new_email)
    if old == new:
        return
    known = _known(connection, {old, new})
    changed: dict[Key, PermissionRecord] = {}
    for (owner, of_list, email, text), record in known.items():
        if (owner, of_list, email) == (company, list_id, old):
            key = (company, list_id, new, text)
            there = known.get(key)
            changed[key] = replace(record, email=new) if there is None else _together(record, there)
    _save(connection, changed)


def see(
    connection: Connection, company: str, observed: "pd.DataFrame", observed_at: datetime
) -> list[PermissionRecord]:
    """Take over which permissions members have in a read of audiences; return those seen to be taken back.

    ``observed`` has list_id, email and permissions_json (missing: the audience asks for none). One that we
    gave, or that were marked as unknown, at or after ``observed_at`` is left alone: the read is older than
    that.
    """
    rows = observed[observed["permissions_json"].notna()]
    if rows.empty:
        return []
    lists = sorted(set(rows["list_id"]))
    known = {
        _key(record): record
        for record in _records(
            connection, and_(permission.c.company == company, permission.c.list_id.in_(lists))
        )
    }
    # Few combinations of permissions are shared by all members.
    read = {text: _read(text) for text in rows["permissions_json"].unique()}
    changed: dict[Key, PermissionRecord] = {}
    withdrawn = []
    for list_id, email, text in zip(rows["list_id"], rows["email"], rows["permissions_json"], strict=True):
        for name, enabled in read[text].items():
            key = (company, list_id, email, name)
            before = known.get(key)
            if before is None:
                if enabled:
                    changed[key] = replace(_empty(key), enabled=True)
            elif enabled and (not before.enabled or before.lost_at is not None):
                changed[key] = replace(before, enabled=True, lost_at=None)
            elif before.enabled and not enabled and not _is_older(observed_at, before.given_at):
                changed[key] = replace(before, enabled=False, withdrawn_at=observed_at)
                withdrawn.append(changed[key])
    _save(connection, changed)
    return withdrawn


class LastWords:
    """What was said of permissions by now, inside the transaction that records a write."""

    def __init__(self, connection: Connection, company: str) -> None:
        self._connection = connection
        self._company = company

    def forbid(self, email: str, body: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> bool:
        """Whether one of the permissions to give was given or taken back since this evidence."""
        at = _moment((evidence or {}).get("at"))
        purposes = {purpose(text) for text in body.get("marketing_permissions", ())}
        said = [
            record.last_word
            for (company, _, _, text), record in _known(self._connection, {email}).items()
            if company == self._company and text in purposes
        ]
        return any(word is not None and (at is None or at <= word) for word in said)


def _is_older(observed_at: datetime, moment: datetime | None) -> bool:
    return moment is not None and observed_at <= moment


def _together(moving: PermissionRecord, there: PermissionRecord) -> PermissionRecord:
    """Two records of one member: the later giving, with the latest word against it."""
    latest = max(moving, there, key=lambda each: each.given_at or datetime.min.replace(tzinfo=UTC))
    return replace(
        latest,
        email=there.email,
        enabled=moving.enabled,
        withdrawn_at=_later(moving.withdrawn_at, there.withdrawn_at),
        lost_at=_later(moving.lost_at, there.lost_at),
        evidence_at=_later(moving.evidence_at, there.evidence_at),
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _evidence(write: SettledWrite) -> tuple[datetime | None, str]:
    evidence = write.evidence or {}
    return _moment(evidence.get("at")), str(evidence.get("source") or "")


def _moment(text: Any) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read(permissions_json: str) -> dict[str, bool]:
    return {purpose(text): bool(enabled) for text, enabled in json.loads(permissions_json).items()}


def _key(record: PermissionRecord) -> Key:
    return record.company, record.list_id, record.email, record.permission


def _empty(key: Key) -> PermissionRecord:
    company, list_id, email, text = key
    return PermissionRecord(company=company, list_id=list_id, email=email, permission=text)


def _record(row: Row[Any]) -> PermissionRecord:
    return PermissionRecord(**row._mapping)


def _records(connection: Connection, these: Any) -> Iterable[PermissionRecord]:
    query = (
        select(*(permission.c[name] for name in _COLUMNS))
        .where(these)
        .order_by(permission.c.list_id, permission.c.email, permission.c.permission)
    )
    return [_record(row) for row in connection.execute(query)]


def _known(connection: Connection, emails: Collection[str]) -> dict[Key, PermissionRecord]:
    found: dict[Key, PermissionRecord] = {}
    for chunk in chunks(sorted(set(emails))):
        found.update((_key(each), each) for each in _records(connection, permission.c.email.in_(chunk)))
    return found


def _save(connection: Connection, records: Mapping[Key, PermissionRecord]) -> None:
    in_order: Sequence[Key] = sorted(records)
    for chunk in chunks(in_order):
        insert_or_replace(connection, permission, [dict(vars(records[key])) for key in chunk])
