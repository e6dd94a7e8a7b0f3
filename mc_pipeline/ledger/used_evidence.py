"""Evidence of consent that people were made subscribed or pending on, each by its own record (RULES 5.6).

Written in the transaction that records the event. People who withdraw it are found by the record in Odoo (the
mailing subscription, the partner with the field), whatever address the person has by then.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import used_evidence
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_or_replace
from mc_pipeline.masking import mask_email
from mc_pipeline.vocabulary import MARKETING_STATUSES, EventKind, Origin, OutcomeKind

BOOLEAN_FIELD = "boolean_field"


@dataclass(frozen=True, kw_only=True)
class UsedEvidence:
    """One piece of evidence and the member of an audience who was subscribed, or asked to confirm, on it.

    kind          mailing_list | boolean_field
    source        the mailing list's name, or the field's technical name
    source_id     the mailing list; 0 for a field
    record_id     the mailing subscription, or the partner with the field; 0: not known (older versions)
    partner_id    the partner behind the member then
    consented_at  the evidence's own date (UTC), None when it has none
    used_at       when we wrote the status (UTC)
    """

    company: str
    list_id: str
    email: str
    kind: str
    source: str
    source_id: int
    record_id: int
    partner_id: int | None
    consented_at: datetime | None
    used_at: datetime

    def __repr__(self) -> str:
        return (
            f"UsedEvidence({self.kind} {self.source!r}, list_id={self.list_id!r}, {mask_email(self.email)})"
        )


class EventLike(Protocol):
    """A consent event."""

    @property
    def company(self) -> str: ...
    @property
    def list_id(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def evidence(self) -> dict[str, Any] | None: ...


class WriteLike(Protocol):
    """A write of ours that was settled."""

    @property
    def company(self) -> str: ...
    @property
    def list_id(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def body(self) -> Mapping[str, Any]: ...
    @property
    def partner_id(self) -> int | None: ...
    @property
    def evidence(self) -> Mapping[str, Any] | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class UsedEvidenceRows:
    """The used evidence of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, list_ids: Collection[str]) -> list[UsedEvidence]:
        """All that was used in these audiences."""
        with self._database.read() as connection:
            return _where(connection, used_evidence.c.list_id.in_(sorted(set(list_ids))))

    def concerned(
        self,
        list_ids: Collection[str],
        *,
        emails: Collection[str] = (),
        record_ids: Collection[int] = (),
        partner_ids: Collection[int] = (),
    ) -> list[UsedEvidence]:
        """What was used in these audiences, of these addresses, by these records, or of these partners."""
        of_lists = used_evidence.c.list_id.in_(sorted(set(list_ids)))
        found: dict[UsedEvidence, None] = {}
        with self._database.read() as connection:
            for column, wanted in (
                (used_evidence.c.email, {address_key(email) for email in emails}),
                (used_evidence.c.record_id, set(record_ids)),
                (used_evidence.c.partner_id, set(partner_ids)),
            ):
                for chunk in chunks(sorted(wanted)):
                    found.update(dict.fromkeys(_where(connection, of_lists, column.in_(chunk))))
        return list(found)


def keep_used_evidence(connection: Connection, events: Iterable[EventLike]) -> None:
    """Inside a transaction of another module: keep what these events of ours rest on."""
    _keep(
        connection,
        [
            _row(event.company, event.list_id, event.email, event.evidence, event.occurred_at)
            for event in events
            if event.origin == Origin.OURS
            and event.event in (EventKind.SUBSCRIBE, EventKind.PENDING)
            and event.evidence
        ],
    )


def keep_evidence_of_lost(connection: Connection, writes: Iterable[WriteLike]) -> None:
    """Inside a transaction of another module: keep what writes rest on whose answer was lost.

    People who were asked to confirm because of one may have done so since: no event of ours shows it.
    """
    _keep(
        connection,
        [
            _row(
                write.company,
                write.list_id,
                write.email,
                {**write.evidence, "partner_id": write.partner_id},
                write.at,
            )
            for write in writes
            if write.outcome == OutcomeKind.LOST
            and write.evidence
            and write.body.get("status") in MARKETING_STATUSES
        ],
    )


def _row(
    company: str, list_id: str, email: str, evidence: Mapping[str, Any] | None, used_at: datetime
) -> dict[str, Any] | None:
    if evidence is None or "source" not in evidence or "kind" not in evidence:
        return None
    of_field = evidence["kind"] == BOOLEAN_FIELD
    at = evidence.get("at")
    return {
        "company": company,
        "list_id": list_id,
        "email": address_key(email),
        "kind": evidence["kind"],
        "source": evidence["source"],
        "source_id": 0 if of_field else evidence.get("record_id") or 0,
        "record_id": evidence.get("record_id" if of_field else "subscription_id") or 0,
        "partner_id": evidence.get("partner_id"),
        "consented_at": _moment(at) if at else None,
        "used_at": used_at,
    }


def _keep(connection: Connection, rows: Iterable[dict[str, Any] | None]) -> None:
    key = [column.name for column in used_evidence.primary_key]
    latest = {tuple(row[name] for name in key): row for row in rows if row is not None}
    for chunk in chunks(latest.values()):
        insert_or_replace(connection, used_evidence, chunk)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _where(connection: Connection, *these: ColumnElement[bool]) -> list[UsedEvidence]:
    query = select(used_evidence).where(*these).order_by(used_evidence.c.used_at, used_evidence.c.email)
    return [UsedEvidence(**row) for row in connection.execute(query).mappings()]
