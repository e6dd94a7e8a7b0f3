"""Consent events: who opted out, bounced, complained, subscribed; when, and who made the change (RULES 5.2).

The history is append-only: nothing here changes or removes an event, and the database refuses it too.
What follows from an event is decided elsewhere (``mc_pipeline.domain``).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, or_, select

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger.changed_addresses import CLOCKS_DIFFER, is_anybodys, open_changes
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.due_in_odoo import add_due
from mc_pipeline.ledger.errors import LedgerError
from mc_pipeline.ledger.schema import consent_event, consent_origin, member, rename
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.standing_opt_outs import due_again
from mc_pipeline.ledger.statements import chunks, insert_new
from mc_pipeline.ledger.used_evidence import keep_used_evidence
from mc_pipeline.vocabulary import OPTED_OUT_EVENTS, EventKind, EventSource, Origin


@dataclass(frozen=True, kw_only=True)
class ConsentEvent:
    """One thing that happened to a person's consent.

    event         opt_out | clean | complaint | subscribe | archive | pending | transactional | vanish | …;
                  in Odoo: odoo_opt_out, odoo_lift
    origin        ours | person | admin | unknown; unknown restricts like person, and never removes an opt-out
    status_from   Mailchimp status before; "" when it was never seen before or is no status
    status_to     Mailchimp status after; "" when the event is no status (in Odoo, for example)
    occurred_at   when it happened, as its source says
    seen_at       when this pipeline learned of it
    source        how: poll (read for opt-outs), webhook, observation (an audience read whole) or write (by
                  us); "" in ledgers of earlier versions
    list_id       "" for an event that belongs to no audience
    """

    company: str
    audience: str
    list_id: str
    email: str
    event: str
    origin: Origin
    status_from: str = ""
    status_to: str = ""
    occurred_at: datetime
    seen_at: datetime
    evidence: dict[str, Any] | None = None
    source: EventSource = EventSource.NOT_KEPT

    def __repr__(self) -> str:
        return f"ConsentEvent({self.event}, {self.origin}, list_id={self.list_id!r}, at={self.occurred_at})"


class Consent:
    """The history of consent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, events: Sequence[ConsentEvent]) -> None:
        """Add events; one that is known already (list, address, event, time, status) is kept once."""
        with self._database.write() as connection:
            add_events(connection, events)

    def record_of_erased(self, events: Sequence[ConsentEvent], addresses: Mapping[str, str]) -> None:
        """Add opt-outs of people who were erased: under their pseudonyms, and due in Odoo by address.

        ``addresses``: pseudonym to address, which is kept only until the opt-out is applied.
        """
        with self._database.write() as connection:
            news = [event for chunk in chunks(events) for event in _unknown(connection, chunk)]
            add_events(connection, events)
            now = self._database.now()
            add_due(connection, [(event.company, addresses[event.email]) for event in news], now)

    def events(
        self, *, email: str | None = None, company: str | None = None, since: datetime | None = None
    ) -> list[ConsentEvent]:
        """Events in the order in which they happened: of an address, of a company, seen since a moment."""
        these: list[ColumnElement[bool]] = []
        if email is not None:
            these.append(consent_event.c.email == address_key(email))
        if company is not None:
            these.append(consent_event.c.company == company)
        if since is not None:
            these.append(consent_event.c.seen_at >= since)
        with self._database.read() as connection:
            return events_where(connection, *these)

    def learn_origin(
        self, event: ConsentEvent, origin: Origin, *, source: EventSource, seen_at: datetime
    ) -> None:
        """Remember who made a recorded event of unknown origin: a later proof, no second event.

        ``events`` show the origin then. If both the person and an administrator are reported, it stays
        unknown.
        """
        email = address_key(event.email)
        same_person = select(rename.c.old_email).where(
            rename.c.list_id == event.list_id, rename.c.new_email == email, rename.c.intent_id.is_(None)
        )
        this_one = select(consent_event.c.id).where(
            consent_event.c.list_id == event.list_id,
            or_(consent_event.c.email == email, consent_event.c.email.in_(same_person)),
            consent_event.c.event == event.event,
            consent_event.c.occurred_at == event.occurred_at,
            consent_event.c.status_to == event.status_to,
            consent_event.c.origin == Origin.UNKNOWN,
        )
        with self._database.write() as connection:
            rows = [
                {"event_id": event_id, "origin": origin, "source": source, "seen_at": seen_at}
                for event_id in connection.execute(this_one).scalars()
            ]
            insert_new(connection, consent_origin, rows)
            if rows:
                add_due(connection, [(event.company, event.email)], seen_at)

    def ever_opted_out(
        self, emails: Collection[str] | None = None, *, up_to_event: int | None = None
    ) -> set[str]:
        """Addresses that ever unsubscribed, bounced hard or complained, in any audience of any company.

        ``emails`` limits the answer to these; ``None`` asks for all of them. ``up_to_event`` leaves out what
        was recorded after the event of that number (``last_event_id``).
        """
        query = (
            select(consent_event.c.email)
            .where(consent_event.c.event.in_(sorted(OPTED_OUT_EVENTS)))
            .distinct()
        )
        if up_to_event is not None:
            query = query.where(consent_event.c.id <= up_to_event)
        with self._database.read() as connection:
            if emails is None:
                return set(connection.execute(query).scalars())
            found: set[str] = set()
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                found.update(connection.execute(query.where(consent_event.c.email.in_(chunk))).scalars())
            return found

    def opt_outs_and_returns(self) -> list[ConsentEvent]:
        """Opt-outs that we did not make, and subscriptions, of all audiences and companies, oldest first."""
        with self._database.read() as connection:
            return events_where(connection, *_OPT_OUTS_AND_RETURNS)

    def opt_outs_and_returns_of(self, emails: Collection[str]) -> list[ConsentEvent]:
        """Those of these addresses alone, of all audiences and companies, oldest first."""
        events: list[ConsentEvent] = []
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                events += events_where(connection, *_OPT_OUTS_AND_RETURNS, consent_event.c.email.in_(chunk))
        return events

    def refused_for_good(self, emails: Collection[str] | None = None) -> dict[str, ConsentEvent]:
        """Whom Mailchimp refused permanently when we wrote about them, in any audience: the latest refusal.

        ``evidence["refused"]`` says how: compliance or forgotten. ``emails`` limits the answer to these.
        """
        found: dict[str, ConsentEvent] = {}
        with self._database.read() as connection:
            if emails is None:
                found = {event.email: event for event in events_where(connection, *REFUSED_FOR_GOOD)}
            for chunk in chunks(sorted({address_key(email) for email in emails or ()})):
                these = events_where(connection, *REFUSED_FOR_GOOD, consent_event.c.email.in_(chunk))
                found.update((event.email, event) for event in these)
        return found

    def last_event_id(self) -> int:
        """The number of the newest event; later ones have higher numbers."""
        with self._database.read() as connection:
            return int(
                connection.execute(select(func.coalesce(func.max(consent_event.c.id), 0))).scalar_one()
            )

    def inherited_since(self, event_id: int, list_id: str) -> list[ConsentEvent]:
        """Events of an audience, recorded after that one, that addresses have from their owners' others."""
        with self._database.read() as connection:
            events = events_where(
                connection, consent_event.c.id > event_id, consent_event.c.list_id == list_id
            )
        return [event for event in events if (event.evidence or {}).get("inherited")]

    def last_opt_outs(self, emails: Collection[str]) -> dict[str, datetime]:
        """When (UTC) each of these addresses last opted out of any audience; none for who never did."""
        query = (
            select(consent_event.c.email, func.max(consent_event.c.occurred_at).label("at"))
            .where(consent_event.c.event.in_(sorted(OPTED_OUT_EVENTS)))
            .group_by(consent_event.c.email)
        )
        found: dict[str, datetime] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = query.where(consent_event.c.email.in_(chunk))
                found.update((row.email, row.at) for row in connection.execute(these))
        return found

    def first_opt_outs(self, *, up_to_event: int | None = None) -> dict[str, datetime]:
        """When (UTC) everybody who ever opted out of any audience first did; ``up_to_event`` as above."""
        query = (
            select(consent_event.c.email, func.min(consent_event.c.occurred_at).label("at"))
            .where(consent_event.c.event.in_(sorted(OPTED_OUT_EVENTS)))
            .group_by(consent_event.c.email)
        )
        if up_to_event is not None:
            query = query.where(consent_event.c.id <= up_to_event)
        with self._database.read() as connection:
            return {row.email: row.at for row in connection.execute(query)}

    def complaints(self, list_id: str) -> dict[str, list[ConsentEvent]]:
        """The complaints about an audience, by address."""
        with self._database.read() as connection:
            return _by_address(
                events_where(
                    connection,
                    consent_event.c.list_id == list_id,
                    consent_event.c.event == EventKind.COMPLAINT,
                )
            )

    def events_of_members(self, list_id: str, emails: Collection[str]) -> dict[str, list[ConsentEvent]]:
        """What happened to these members of an audience, by address, in the order in which it did."""
        events = []
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                events += events_where(
                    connection, consent_event.c.list_id == list_id, consent_event.c.email.in_(chunk)
                )
        return _by_address(events)

    def opt_outs_by_day(self, company: str, until: datetime, days: int) -> list[int]:
        """How many opt-outs that we did not make happened in each 24 hours before ``until``, newest first."""
        happened = consent_event.c.occurred_at
        query = select(happened).where(
            consent_event.c.company == company,
            consent_event.c.event.in_(sorted(OPTED_OUT_EVENTS)),
            consent_event.c.origin != Origin.OURS,
            # A refusal by Mailchimp shows an earlier opt-out.
            consent_event.c.source != EventSource.WRITE,
            happened > until - timedelta(days=days),
            happened <= until,
        )
        counted = [0] * days
        with self._database.read() as connection:
            for at in connection.execute(query).scalars():
                counted[(until - at) // timedelta(days=1)] += 1
        return counted

    def subscribed_by_us(
        self, list_ids: Collection[str], emails: Collection[str] | None = None
    ) -> list[ConsentEvent]:
        """The latest event per member by which we subscribed them on evidence of Odoo (in ``evidence``).

        ``emails`` limits the answer to these addresses.
        """
        query = (
            select(consent_event)
            .where(
                consent_event.c.list_id.in_(sorted(set(list_ids))),
                consent_event.c.event == EventKind.SUBSCRIBE,
                consent_event.c.origin == Origin.OURS,
            )
            .order_by(consent_event.c.occurred_at, consent_event.c.id)
        )
        events: list[ConsentEvent] = []
        with self._database.read() as connection:
            if emails is None:
                events = [_event(row) for row in connection.execute(query).mappings()]
            for chunk in chunks(sorted({address_key(email) for email in emails or ()})):
                these = query.where(consent_event.c.email.in_(chunk))
                events += [_event(row) for row in connection.execute(these).mappings()]
        latest = {(event.list_id, event.email): event for event in events}
        return [event for event in latest.values() if event.evidence and "source" in event.evidence]

    def last_status(self, list_id: str) -> dict[str, str]:
        """The last known Mailchimp status of every address of an audience."""
        query = select(member.c.email, member.c.last_status).where(
            member.c.list_id == list_id, member.c.last_status.is_not(None)
        )
        with self._database.read() as connection:
            return {row.email: row.last_status for row in connection.execute(query)}


_OPT_OUTS_AND_RETURNS = (
    consent_event.c.list_id != "",
    consent_event.c.event.in_([*sorted(OPTED_OUT_EVENTS), EventKind.SUBSCRIBE]),
    consent_event.c.origin != Origin.OURS,
)

_CARRIED = frozenset({*OPTED_OUT_EVENTS, EventKind.SUBSCRIBE})
# An opt-out that we learned of by a write, and did not make.
REFUSED_FOR_GOOD = (
    consent_event.c.event == EventKind.OPT_OUT,
    consent_event.c.source == EventSource.WRITE,
    consent_event.c.origin == Origin.UNKNOWN,
)


def events_where(connection: Connection, *these: ColumnElement[bool]) -> list[ConsentEvent]:
    """Events, in the order in which they happened, inside a transaction of another module."""
    query = select(consent_event).where(*these).order_by(consent_event.c.occurred_at, consent_event.c.id)
    learned = _learned_origins(connection, *these)
    return [_event(row, learned.get(row["id"])) for row in connection.execute(query).mappings()]


def add_events(connection: Connection, events: Sequence[ConsentEvent]) -> None:
    """Add events inside a transaction of another module, so that state and history never part.

    What they ask for in Odoo, and in Mailchimp of somebody whom Odoo says to be out, is due from here on. Of
    a member who changed their address in Mailchimp they are events of the address that Odoo has as well.
    """
    news: list[ConsentEvent] = []
    for chunk in chunks([*events, *_of_former_addresses(connection, events)]):
        news += _unknown(connection, chunk)
        insert_new(connection, consent_event, [_row(event) for event in chunk])
    keep_used_evidence(connection, news)
    not_ours = [event for event in news if event.list_id and event.origin != Origin.OURS]
    returns = [event for event in not_ours if event.event == EventKind.SUBSCRIBE]
    asking = [event for event in not_ours if event.event in OPTED_OUT_EVENTS] + returns
    if asking:
        now = max(event.seen_at for event in asking)
        add_due(connection, [(event.company, event.email) for event in asking if "@" in event.email], now)
    for company, list_id in {(event.company, event.list_id) for event in returns}:
        of_list = [event for event in returns if (event.company, event.list_id) == (company, list_id)]
        emails = [address_key(event.email) for event in of_list]
        due_again(connection, company, list_id, emails, max(event.seen_at for event in of_list))


def of_former_address(event: ConsentEvent, company: str, former: str) -> ConsentEvent:
    """What the owner of an address did in Mailchimp, as an event of the address that Odoo has of them."""
    evidence = {
        **(event.evidence or {}),
        "inherited": "under the address that the person has in Mailchimp now",
    }
    return replace(event, company=company, email=former, evidence=evidence)


def _of_former_addresses(connection: Connection, events: Sequence[ConsentEvent]) -> list[ConsentEvent]:
    """The same events of the addresses that Odoo has of these people, while nobody else has them there."""
    concerning_odoo = [
        event for event in events if event.list_id and event.origin != Origin.OURS and event.event in _CARRIED
    ]
    if not concerning_odoo:
        return []
    lists = sorted({event.list_id for event in concerning_odoo})
    changes = open_changes(connection, rename.c.list_id.in_(lists))
    taken = is_anybodys(connection, changes)
    return [
        of_former_address(event, change.company, change.former)
        for event in concerning_odoo
        for change in changes
        if (change.list_id, change.email) == (event.list_id, address_key(event.email))
        and event.occurred_at >= change.changed_at - CLOCKS_DIFFER
        and change.id not in taken
    ]


def _unknown(connection: Connection, events: Sequence[ConsentEvent]) -> list[ConsentEvent]:
    """Those of these events that are not in the history yet."""
    columns = [consent_event.c[name] for name in ("list_id", "email", "event", "occurred_at", "status_to")]
    query = select(*columns).where(consent_event.c.email.in_({address_key(event.email) for event in events}))
    known = {tuple(row) for row in connection.execute(query)}
    return [
        event
        for event in events
        if (event.list_id, address_key(event.email), event.event, event.occurred_at, event.status_to)
        not in known
    ]


def _by_address(events: Sequence[ConsentEvent]) -> dict[str, list[ConsentEvent]]:
    found: dict[str, list[ConsentEvent]] = {}
    for event in events:
        found.setdefault(event.email, []).append(event)
    return found


def _row(event: ConsentEvent) -> dict[str, Any]:
    if event.origin not in tuple(Origin):
        raise LedgerError(f"origin of a consent event is {event.origin!r}; use one of {', '.join(Origin)}")
    return {
        "company": event.company,
        "audience": event.audience,
        "list_id": event.list_id,
        "email": address_key(event.email),
        "event": event.event,
        "origin": event.origin,
        "status_from": event.status_from,
        "status_to": event.status_to,
        "occurred_at": event.occurred_at,
        "seen_at": event.seen_at,
        "evidence_json": None if event.evidence is None else canonical_json(event.evidence),
        "source": event.source,
    }


def _learned_origins(connection: Connection, *these: ColumnElement[bool]) -> dict[int, Origin]:
    """What was learned later of the origins of these events, by their id."""
    query = (
        select(consent_origin.c.event_id, consent_origin.c.origin)
        .join(consent_event, consent_event.c.id == consent_origin.c.event_id)
        .where(*these)
    )
    found: dict[int, Origin] = {}
    for event_id, origin in connection.execute(query):
        found[event_id] = Origin.UNKNOWN if event_id in found else Origin(origin)
    return found


def _event(row: RowMapping, learned: Origin | None = None) -> ConsentEvent:
    return ConsentEvent(
        company=row["company"],
        audience=row["audience"],
        list_id=row["list_id"],
        email=row["email"],
        event=row["event"],
        origin=learned or Origin(row["origin"]),
        status_from=row["status_from"],
        status_to=row["status_to"],
        occurred_at=row["occurred_at"],
        seen_at=row["seen_at"],
        evidence=None if row["evidence_json"] is None else json.loads(row["evidence_json"]),
        source=EventSource(row["source"]),
    )
