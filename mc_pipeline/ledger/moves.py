"""Finds contacts that are at another address than the ledger has them, and moves their records (RULES 6.6).

Everything happens inside the transaction that takes over a read of Mailchimp. Several contacts may pass their
addresses on at once: all leave before any arrives.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_

from mc_pipeline.ledger.changed_addresses import CLOCKS_DIFFER, record_change
from mc_pipeline.ledger.consent import (
    ConsentEvent,
    add_events,
    events_where,
    of_former_address,
)
from mc_pipeline.ledger.permissions import keep_under_new_address
from mc_pipeline.ledger.projection import MemberRecord, renamed_over
from mc_pipeline.ledger.schema import consent_event, intent, member
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.vocabulary import OPTED_OUT_EVENTS, EventKind, EventSource, Operation, Origin

_ALL_AT_ONCE = 5_000

Key = tuple[str, str]  # (list_id, address or contact_id)


@dataclass(frozen=True)
class Move:
    """A contact that is at another address than the ledger has it."""

    list_id: str
    contact_id: str
    old: str
    new: str
    at: datetime


def find_moves(
    connection: Connection, rows: Iterable[Any], observed_at: datetime
) -> tuple[list[Move], set[Key]]:
    """Find the contacts of a read that are at another address than the ledger has them.

    ``rows`` have list_id, email, contact_id and changed_at. Returned are also (list id, address) of rows that
    are older than what the ledger knows of the contact: the address is not theirs any more.
    """
    seen = {
        (row.list_id, row.contact_id): row
        for row in rows
        if isinstance(row.contact_id, str) and row.contact_id
    }
    known: dict[Key, list[Any]] = {}
    for record in _records_of(connection, seen):
        known.setdefault((record.list_id, record.contact_id), []).append(record)
    moves: list[Move] = []
    overtaken: set[Key] = set()
    for key, records in known.items():
        row = seen[key]
        if any(record.email == row.email for record in records):
            continue
        record = records[-1]
        if _is_later(record.written_at, observed_at, equal=True) or _is_later(record.seen_at, observed_at):
            overtaken.add((row.list_id, row.email))
        else:
            moves.append(Move(*key, record.email, row.email, row.changed_at))
    ours = _renamed_by_us(connection, moves)
    return [move for move in moves if (move.list_id, move.old, move.new) not in ours], overtaken


def record_moves(
    connection: Connection, company: str, moves: Sequence[Move], observed_at: datetime, source: EventSource
) -> None:
    """Move the records of these contacts to their present addresses, all at once; remember the changes."""
    if not moves:
        return
    columns = [member.c[field.name] for field in fields(MemberRecord)]
    places = {(move.list_id, address) for move in moves for address in (move.old, move.new)}
    records = {
        (row.list_id, row.email): MemberRecord(*row)
        for chunk in chunks(sorted(places))
        for row in connection.execute(
            select(*columns).where(tuple_(member.c.list_id, member.c.email).in_(chunk))
        )
    }
    leaving = {(move.list_id, move.old) for move in moves}
    for chunk in chunks(sorted(places)):
        connection.execute(delete(member).where(tuple_(member.c.list_id, member.c.email).in_(chunk)))
    moved = {}
    for move in moves:
        place = (move.list_id, move.new)
        there = None if place in leaving else records.get(place)
        after = renamed_over(records[move.list_id, move.old], there, move.new)
        moved[place] = replace(after, contact_id=move.contact_id)
    rows = [{**vars(record), "seen_at": observed_at} for record in moved.values()]
    for part in chunks(rows):
        connection.execute(insert(member), part)
    for move in moves:
        record_change(
            connection,
            company,
            move.list_id,
            move.old,
            move.new,
            move.at,
            contact_id=move.contact_id,
            partner_id=records[move.list_id, move.old].partner_id,
        )
        keep_under_new_address(connection, company, move.list_id, move.old, move.new)
        audience = records[move.list_id, move.old].audience
        add_events(
            connection,
            inherited_events(
                connection,
                inheritance(company, audience, move.list_id, move.new, move.at, observed_at, source),
                move.old,
            ),
        )


def inherited_events(connection: Connection, inherited: ConsentEvent, old: str) -> list[ConsentEvent]:
    """What two addresses of one person have to know of each other: an opt-out of either restricts them.

    Args:
        inherited: the opt-out of the present address, dated at the change: it is returned with the time at
            which the former one opted out, if that still stands.
        old: the former address. It gets what the present one did in this audience since the change.
    """
    found: list[ConsentEvent] = []
    new, at = inherited.email, inherited.occurred_at
    standing = standing_opt_out(events_where(connection, consent_event.c.email == old))
    if standing is not None:
        origin = Origin.OURS if standing.origin == Origin.OURS else inherited.origin
        found.append(replace(inherited, occurred_at=standing.occurred_at, origin=origin))
    since = events_where(
        connection,
        consent_event.c.email == new,
        consent_event.c.list_id == inherited.list_id,
        consent_event.c.origin != Origin.OURS,
        consent_event.c.occurred_at >= at - CLOCKS_DIFFER,
        consent_event.c.event.in_([*sorted(OPTED_OUT_EVENTS), EventKind.SUBSCRIBE]),
    )
    return found + [of_former_address(event, inherited.company, old) for event in since]


def inheritance(
    company: str,
    audience: str,
    list_id: str,
    email: str,
    changed_at: datetime,
    seen_at: datetime,
    source: EventSource,
) -> ConsentEvent:
    """The opt-out that an address has from its owner's former one; ``changed_at`` stands for its time."""
    return ConsentEvent(
        company=company,
        audience=audience,
        list_id=list_id,
        email=email,
        event=EventKind.OPT_OUT,
        origin=Origin.UNKNOWN,
        occurred_at=changed_at,
        seen_at=seen_at,
        evidence={"inherited": "opted out under the former address"},
        source=source,
    )


def standing_opt_out(events: Iterable[ConsentEvent]) -> ConsentEvent | None:
    """The last opt-out of an address whose owner did not resubscribe themselves since, if there is one.

    One that we made ourselves is it only where no other stands, for the others ask for one in Odoo as well.
    ``events`` are everything known of it, in the order in which it happened.
    """
    standing: ConsentEvent | None = None
    for event in events:
        if event.event in OPTED_OUT_EVENTS:
            if standing is None or standing.origin == Origin.OURS or event.origin != Origin.OURS:
                standing = event
        elif event.event == EventKind.SUBSCRIBE and event.origin == Origin.PERSON:
            standing = None
    return standing


def _records_of(connection: Connection, contacts: Collection[Key]) -> list[Any]:
    """Records of these (list id, contact id)."""
    columns = [member.c[name] for name in ("list_id", "email", "contact_id", "written_at", "seen_at")]
    query = select(*columns).where(member.c.contact_id.is_not(None)).order_by(member.c.email)
    lists = sorted({list_id for list_id, _ in contacts})
    if len(contacts) > _ALL_AT_ONCE:
        rows = connection.execute(query.where(member.c.list_id.in_(lists)))
        return [row for row in rows if (row.list_id, row.contact_id) in contacts]
    found: list[Any] = []
    for list_id in lists:
        for chunk in chunks(sorted(contact for of_list, contact in contacts if of_list == list_id)):
            these = query.where(member.c.list_id == list_id, member.c.contact_id.in_(chunk))
            found += connection.execute(these).all()
    return found


def _renamed_by_us(connection: Connection, moves: Sequence[Move]) -> set[tuple[str, str, str]]:
    """Changes that a rename of ours, whose outcome is not known yet, has made."""
    found: set[tuple[str, str, str]] = set()
    for chunk in chunks(sorted({move.old for move in moves})):
        query = select(intent.c.list_id, intent.c.email, intent.c.body_json).where(
            intent.c.operation == Operation.CHANGE_EMAIL,
            intent.c.settled_at.is_(None),
            intent.c.email.in_(chunk),
        )
        for row in connection.execute(query):
            for move in moves:
                new = address_key(json.loads(row.body_json)["email_address"])
                if (row.list_id, row.email, new) == (move.list_id, move.old, move.new):
                    found.add((move.list_id, move.old, move.new))
    return found


def _is_later(at: datetime | None, than: datetime, *, equal: bool = False) -> bool:
    return at is not None and (at > than or (equal and at == than))
