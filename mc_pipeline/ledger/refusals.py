"""Which writes may not be recorded any more, because the person is out by now (RULES 4.1 and 7.5).

A plan is made from tables that are minutes old. Here is the last look, inside the transaction that records
the intent of a write: what the ledger knows at that moment of opt-outs in both systems. Only writes that make
somebody reachable, or that create or rename a member, are looked at; fields and tags of members never are.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, RowMapping, or_, select

from mc_pipeline.ledger.changed_addresses import ChangedAddress, open_changes
from mc_pipeline.ledger.consent import REFUSED_FOR_GOOD
from mc_pipeline.ledger.opt_out_questions import with_open_questions
from mc_pipeline.ledger.permissions import LastWords
from mc_pipeline.ledger.schema import consent_event, member, partner_address, rename, standing_opt_out
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.vocabulary import (
    MARKETING_STATUSES,
    OPTED_OUT_EVENTS,
    OUT_OF_AUDIENCE_STATUSES,
    REACHING_OPERATIONS,
    MemberStatus,
    Operation,
)

REACHING = REACHING_OPERATIONS
"""Operations that may make somebody reachable."""

_TAKING_AN_ADDRESS = frozenset({Operation.CREATE, Operation.CHANGE_EMAIL})


@dataclass(frozen=True)
class Refusal:
    """Why a write is not recorded, in words without personal data."""

    because: str


class IntentLike(Protocol):
    """A write that is about to be recorded."""

    @property
    def list_id(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def body(self) -> Mapping[str, Any]: ...
    @property
    def evidence(self) -> Mapping[str, Any] | None: ...


def refusals(connection: Connection, company: str, intents: Sequence[IntentLike]) -> list[Refusal | None]:
    """Judge each write; None: it may be recorded."""
    looked_at = [intent for intent in intents if intent.operation in REACHING]
    if not looked_at:
        return [None] * len(intents)
    known = _Known(connection, company, {address for each in looked_at for address in _addresses(each)})
    return [known.refusal(intent) if intent.operation in REACHING else None for intent in intents]


def out_by_now(connection: Connection, intents: Mapping[int, RowMapping]) -> set[int]:
    """Which writes that were sent are about people who are out by now.

    Nobody was when they were recorded, or they would have been refused: it was written down since.
    """
    return _judged(connection, intents, lambda known, write: known.is_out(write))


def refused_by_now(connection: Connection, intents: Mapping[int, RowMapping]) -> set[int]:
    """Which recorded writes that were not sent yet would be refused if they were recorded now."""
    return _judged(connection, intents, lambda known, write: known.refusal(write) is not None)


def member_after(row: RowMapping) -> tuple[str, str, str]:
    """Company, list id and address of the member whom a recorded write leaves behind."""
    return row["company"], row["list_id"], _addresses(_Recorded(row))[-1]


def _judged(
    connection: Connection,
    intents: Mapping[int, RowMapping],
    judge: "Callable[[_Known, _Recorded], bool]",
) -> set[int]:
    looked_at = {number: row for number, row in intents.items() if row["operation"] in REACHING}
    found: set[int] = set()
    for chunk in chunks(sorted(looked_at)):
        for company in {looked_at[number]["company"] for number in chunk}:
            writes = {
                number: _Recorded(looked_at[number])
                for number in chunk
                if looked_at[number]["company"] == company
            }
            addresses = {address for each in writes.values() for address in _addresses(each)}
            known = _Known(connection, company, addresses)
            found.update(number for number, write in writes.items() if judge(known, write))
    return found


class _Recorded:
    """A recorded write, in the shape of one that is about to be."""

    def __init__(self, row: RowMapping) -> None:
        self.list_id: str = row["list_id"]
        self.email: str = row["email"]
        self.operation: str = row["operation"]
        self.partner_id: int | None = row["partner_id"]
        self.body: Mapping[str, Any] = json.loads(row["body_json"])
        self.evidence: Mapping[str, Any] | None = (
            json.loads(row["evidence_json"]) if row["evidence_json"] else None
        )


class _Known:
    """What the ledger knows of some addresses at this moment."""

    def __init__(self, connection: Connection, company: str, addresses: Iterable[str]) -> None:
        wanted = sorted(set(addresses))
        self._standing = _standing(connection, {company}, wanted)
        self._changed = [
            change
            for chunk in chunks(wanted)
            for change in open_changes(connection, rename.c.company == company, rename.c.old_email.in_(chunk))
        ]
        self._had_it = _who_had_it(connection, self._changed)
        self._last_words = LastWords(connection, company)
        self._ever_out: set[str] = set()
        self._in_question = with_open_questions(connection, wanted)
        self._not_taken_back: set[str] = set()
        self._records: dict[tuple[str, str], Any] = {}
        for chunk in chunks(wanted):
            events = select(consent_event.c.email).where(
                consent_event.c.email.in_(chunk), consent_event.c.event.in_(sorted(OPTED_OUT_EVENTS))
            )
            self._ever_out.update(connection.execute(events).scalars())
            refused = select(consent_event.c.email).where(consent_event.c.email.in_(chunk), *REFUSED_FOR_GOOD)
            self._not_taken_back.update(connection.execute(refused).scalars())
            records = select(
                member.c.list_id, member.c.email, member.c.last_status, member.c.archived_by_us
            ).where(member.c.email.in_(chunk))
            self._records.update(((row.list_id, row.email), row) for row in connection.execute(records))

    def refusal(self, intent: IntentLike) -> Refusal | None:
        """Why this write may not be recorded, if so."""
        if intent.operation in _TAKING_AN_ADDRESS and _addresses(intent)[-1] in self._not_taken_back:
            return Refusal("Mailchimp does not accept the address again: only the person can sign up")
        if intent.operation in _TAKING_AN_ADDRESS and self._is_left_behind(intent):
            return Refusal("changed their e-mail in Mailchimp: never created again under the former one")
        if _unsubscribes(intent):
            return None
        if any(self._stands(address, intent.list_id) for address in _addresses(intent)):
            return Refusal("opted out in Odoo")
        record = self._records.get((intent.list_id, address_key(intent.email)))
        last_status = record.last_status if record is not None else None
        if last_status in OUT_OF_AUDIENCE_STATUSES and not _may_return(intent, record):
            return Refusal(f"{last_status} in Mailchimp by now")
        if self._reaches(intent, last_status) and _addresses(intent)[-1] in self._ever_out:
            return Refusal("opted out of an audience, bounced or complained: no consent counts")
        if self._reaches(intent, last_status) and _addresses(intent)[-1] in self._in_question:
            return Refusal("it is not yet known whether they opted out in between: the next run asks")
        if intent.operation == Operation.PERMIT and self._last_words.forbid(
            address_key(intent.email), intent.body, intent.evidence
        ):
            return Refusal("the permission was given on this evidence before, or withdrawn since")
        return None

    def _is_left_behind(self, intent: IntentLike) -> bool:
        partner_id = getattr(intent, "partner_id", None)
        return any(
            change.former == _addresses(intent)[-1]
            and (
                partner_id is None
                or change.partner_id in (None, partner_id)
                or (change.id, partner_id) in self._had_it
            )
            for change in self._changed
        )

    def is_out(self, intent: IntentLike) -> bool:
        """Whether the person whom this write, by now sent, may have made reachable is out."""
        if _unsubscribes(intent):
            return False
        target = _addresses(intent)[-1]
        record = self._records.get((intent.list_id, target))
        last_status = record.last_status if record is not None else None
        reached = self._reaches(intent, last_status) and target in self._ever_out
        return reached or self._stands(target, intent.list_id)

    def _stands(self, address: str, list_id: str) -> bool:
        return any(row["list_id"] in ("", list_id) for row in self._standing.get(address, ()))

    def _reaches(self, intent: IntentLike, last_status: str | None) -> bool:
        if intent.operation == Operation.CREATE:
            return intent.body.get("status") in MARKETING_STATUSES
        if intent.operation == Operation.CHANGE_EMAIL:
            return last_status == MemberStatus.SUBSCRIBED
        return True


def _who_had_it(connection: Connection, changes: Iterable[ChangedAddress]) -> set[tuple[int, int]]:
    """(id of the change, partner) of partners who had the former address when it was changed."""
    found: set[tuple[int, int]] = set()
    for change in changes:
        query = select(partner_address.c.partner_id).where(
            partner_address.c.email == change.former,
            partner_address.c.first_seen_at < change.changed_at,
            or_(partner_address.c.left_at.is_(None), partner_address.c.left_at > change.changed_at),
        )
        found.update((change.id, number) for number in connection.execute(query).scalars())
    return found


def _unsubscribes(intent: IntentLike) -> bool:
    """A person who inherits an opt-out is created with it."""
    return intent.operation == Operation.CREATE and intent.body.get("status") == MemberStatus.UNSUBSCRIBED


def _may_return(intent: IntentLike, record: Any) -> bool:
    """Whom we archived ourselves may come back, and as transactional only (RULES 6.1)."""
    return (
        intent.operation == Operation.CREATE
        and intent.body.get("status") == MemberStatus.TRANSACTIONAL
        and record.last_status == MemberStatus.ARCHIVED
        and bool(record.archived_by_us)
    )


def _addresses(intent: IntentLike) -> tuple[str, ...]:
    """The member's address, and the one that it would get."""
    own = address_key(intent.email)
    new = intent.body.get("email_address") if intent.operation == Operation.CHANGE_EMAIL else None
    return (own, address_key(str(new))) if new else (own,)


def _standing(
    connection: Connection, companies: Iterable[str], addresses: Iterable[str]
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for chunk in chunks(sorted(set(addresses))):
        query = select(
            standing_opt_out.c.company, standing_opt_out.c.email, standing_opt_out.c.list_id
        ).where(
            standing_opt_out.c.company.in_(sorted(set(companies))),
            standing_opt_out.c.active,
            standing_opt_out.c.email.in_(chunk),
        )
        for row in connection.execute(query).mappings():
            found.setdefault(row["email"], []).append(row)
    return found
