"""Our record of every member of an audience: what we did to it, and what it last looked like.

The record changes by the outcomes of our writes (``intents.settle``, decided in ``projection``) and by
observing Mailchimp (``observe``, decided in ``observing``). What should be done about a member does
not belong here.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, bindparam, func, insert, or_, select, true, tuple_, update
from sqlalchemy.sql import ColumnElement

from mc_pipeline.ledger.changed_addresses import record_change
from mc_pipeline.ledger.consent import ConsentEvent, add_events, events_where
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import LedgerError
from mc_pipeline.ledger.leases import lock, lock_members, require
from mc_pipeline.ledger.moves import find_moves, inheritance, inherited_events, record_moves
from mc_pipeline.ledger.observing import (
    Comparison,
    Finding,
    StatusChange,
    change_of,
    checked,
    compare,
    event_of,
    moment,
    returned_json,
)
from mc_pipeline.ledger.permissions import keep_under_new_address, see
from mc_pipeline.ledger.schema import audience_read, consent_event, intent, member, rename
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import CHUNK, chunks, insert_or_replace
from mc_pipeline.masking import mask_email
from mc_pipeline.vocabulary import (
    OPTED_OUT_EVENTS,
    OUT_OF_AUDIENCE_STATUSES,
    EventKind,
    EventSource,
    MemberStatus,
    Operation,
    Origin,
)

if TYPE_CHECKING:
    import pandas as pd

# Absent from this many complete reads, each confirmed by asking for the member itself (RULES 1.3).
ABSENCES_UNTIL_VANISHED = 2

_LOADED = (
    "list_id",
    "email",
    "company",
    "audience",
    "created_by_us",
    "created_status",
    "created_at",
    "sent_json",
    "returned_json",
    "tags_json",
    "archived_by_us",
    "ever_subscribed",
    "opted_out",
    "permitted",
    "partner_id",
    "name_sent",
    "last_status",
    "absent_reads",
    "vanished",
    "rejection_operation",
    "rejection_key",
    "rejection_detail",
    "rejection_title",
    "rejection_cause",
    "rejection_field",
    "rejected_at",
    "retry_at",
)
_TEXTS = (
    "list_id email company audience created_status sent_json returned_json name_sent last_status "
    "rejection_operation rejection_key rejection_detail rejection_title rejection_cause rejection_field"
).split()
Key = tuple[str, str]  # (list_id, email)
Find = Callable[[Sequence[StatusChange]], Mapping[Key, Finding]]

# The write of ours that would give a member this status.
_EXPLAINING_OPERATIONS: Mapping[str, tuple[Operation, ...]] = {
    MemberStatus.UNSUBSCRIBED: (Operation.UNSUBSCRIBE, Operation.CREATE),
    MemberStatus.ARCHIVED: (Operation.ARCHIVE,),
    MemberStatus.SUBSCRIBED: (Operation.UPGRADE, Operation.CREATE),
    MemberStatus.PENDING: (Operation.CREATE,),
    MemberStatus.TRANSACTIONAL: (Operation.CREATE,),
}
# Mailchimp's clock and ours may differ by this much.
_CLOCKS_DIFFER = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class ObservationSummary:
    """What an observation found: members never seen before, consent events by kind, members not found,
    members found again, records for which Mailchimp's version of our data was learned, and marketing
    permissions that were taken back."""

    first_seen: int = 0
    events: dict[str, int]
    absent: int = 0
    found_again: int = 0
    answers_learned: int = 0
    permissions_withdrawn: int = 0


@dataclass(frozen=True, kw_only=True)
class KnownState:
    """How a member was when it was last looked at or written by us.

    ``last_changed`` is Mailchimp's date of what is known (UTC); ``written_at`` our last write, by our clock.
    """

    status: str | None
    last_changed: datetime | None
    written_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One thing that happened to a member: a write of ours, a consent event, or a rename.

    kind      write | consent | rename
    what      operation, consent event, "renamed" (by us) or "address changed in Mailchimp"
    outcome   of a write ("open" while unknown); origin of a consent event; "" for a rename
    event     the whole consent event
    """

    at: datetime
    email: str
    company: str
    audience: str
    list_id: str
    kind: str
    what: str
    outcome: str
    detail: str
    event: ConsentEvent | None = None

    def __repr__(self) -> str:
        return f"HistoryEntry({self.at}, {self.what} {self.outcome}, email={mask_email(self.email)!r})"


class Members:
    """The records of all audiences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, list_ids: Collection[str]) -> "pd.DataFrame":
        """Every record of these audiences, sorted by list_id and email.

        list_id, email, company, audience
        created_by_us     we created it; created_status and created_at (UTC) say how and when
        sent_json         {"merge_fields": {…}, "language": …}: last sent and accepted, field by field
        returned_json     the same shape: everything Mailchimp had after it; None while not known
        tags              list of tags that we added and did not remove
        archived_by_us    archived by us, and not seen otherwise since
        ever_subscribed   was subscribed at any time that we know of; never cleared
        opted_out         was unsubscribed or cleaned at any time that we know of; never cleared
        permitted         an earlier version gave it marketing permissions and kept no more: all of the
                          audience count as given; those of this version are in ``ledger.permissions``
        partner_id        Odoo partner last sent (Int64); name_sent its name then
        last_status       Mailchimp status last seen or set by us; None: never there as far as we know
        absent_reads      complete reads in a row that did not find it; vanished: confirmed gone
        rejection_key     SHA-256 of the body that Mailchimp refused; rejection_operation what it was to do,
                          rejection_title and _detail Mailchimp's words; rejection_cause whose fault it is
                          (``domain.plan.refusal_causes``), rejection_field the merge field; rejected_at (UTC)
        retry_at          when a deferred one may be tried again (UTC); None with a key: not before it changes
        """
        return self._frame(member.c.list_id.in_(sorted(set(list_ids))))

    def of_email(self, email: str) -> "pd.DataFrame":
        """The records of one address in all audiences, in the columns of ``load``."""
        return self._frame(member.c.email == address_key(email))

    def changes(self, observed: "pd.DataFrame", observed_at: datetime) -> list[StatusChange]:
        """Which of these members have another status than the ledger knows; nothing is recorded.

        For callers that want to find out more about a change before ``observe`` or ``observe_some`` records
        it.
        """
        rows = checked(observed)
        with self._database.read() as connection:
            news = _compared(connection, rows, observed_at, emails=rows["email"])
            return _changes(connection, news.events, observed_at)

    def observe_some(
        self,
        company: str,
        observed: "pd.DataFrame",
        observed_at: datetime,
        *,
        find: Find | None = None,
        lease: str | None = None,
        fence: int | None = None,
        source: EventSource = EventSource.POLL,
    ) -> list[ConsentEvent]:
        """Take over some members as they are now (rows of ``mailchimp_members``); return the events recorded.

        Members who are not among them are as before. A change that ``observe`` recorded is none here, nor the
        other way round. ``find`` says more about changes, by list and address, and must not take long;
        ``source`` says how they were learned of. ``lease`` names the one that ``fence`` is of, by default the
        company's for its changes. Raises ``ObservationError`` and, with a ``fence``, ``LeaseLostError``.
        """
        rows = checked(observed)
        with self._database.write() as connection:
            if fence is None:
                lock(connection, lease or company)
            else:
                require(connection, lease or company, fence, self._database.now())
            lock_members(connection, rows["list_id"])
            rows = _without_moved(connection, company, rows, observed_at, source)
            news = _compared(connection, rows, observed_at, emails=rows["email"])
            _learn_contacts(connection, news.present, ())
            return _take_over(connection, company, news, observed_at, source, find)

    def record_past(self, events: Sequence[ConsentEvent], *, lease: str, fence: int) -> None:
        """Record what happened to members and left no trace in their status, under the lease named.

        Who opted out and came back has the old status, but earlier consent is void permanently. Raises
        ``LeaseLostError``.
        """
        if not events:
            return
        with self._database.write() as connection:
            require(connection, lease, fence, self._database.now())
            lock_members(connection, (event.list_id for event in events))
            add_events(connection, events)
            for event in events:
                if event.event in OPTED_OUT_EVENTS:
                    this_one = and_(
                        member.c.list_id == event.list_id, member.c.email == address_key(event.email)
                    )
                    connection.execute(update(member).where(this_one).values(opted_out=True))

    def observe(
        self,
        company: str,
        observed: "pd.DataFrame",
        complete: bool | Collection[str],
        observed_at: datetime,
        *,
        list_ids: Collection[str] | None = None,
        find: Find | None = None,
        fence: int | None = None,
    ) -> ObservationSummary:
        """Take over a read of the company's audiences (rows of ``mailchimp_members``), in one transaction.

        Records consent events for statuses that changed since the last read, and at first sight for
        people who are unsubscribed, cleaned or archived; counts absences where the read was complete
        (``complete``: of all audiences, of none, or the list ids of those that were read completely);
        learns what Mailchimp made of our data where its answer never came, and which marketing permissions
        were taken back. A read not newer than the
        last one of an audience is left out, so that a retried step counts nothing twice.

        ``list_ids`` names the audiences that were read; without it, those that have rows: an audience
        without members must be named. ``find`` says more about changes, by list and address, and must
        not take long. Raises ``ObservationError`` and, with a ``fence``, ``LeaseLostError``.
        """
        import pandas as pd

        rows = checked(observed)
        lists = sorted(set(rows["list_id"]) if list_ids is None else set(list_ids))
        with self._database.write() as connection:
            if fence is None:
                lock(connection, company)
            else:
                require(connection, company, fence, self._database.now())
            lock_members(connection, lists)
            lists = _not_yet_read(connection, lists, observed_at)
            rows = rows[rows["list_id"].isin(lists)]
            if isinstance(complete, bool):
                complete = lists if complete else ()
            rows = _without_moved(connection, company, rows, observed_at, EventSource.OBSERVATION)
            news = _compared(connection, rows, observed_at, lists=lists, complete=complete)
            _learn_contacts(connection, news.present, complete)
            # First: who is not there any more has no address that could be another person's.
            _count_absent(connection, news.absent)
            events = _take_over(connection, company, news, observed_at, EventSource.OBSERVATION, find)
            withdrawn = see(connection, company, rows, observed_at)
            insert_or_replace(
                connection,
                audience_read,
                [
                    {
                        "list_id": list_id,
                        "company": company,
                        "observed_at": observed_at,
                        "complete": list_id in complete,
                        "not_found_runs": 0,
                        "not_found_run_id": None,
                    }
                    for list_id in lists
                ],
            )
        kinds = pd.Series([event.event for event in events], dtype="object").value_counts()
        return ObservationSummary(
            first_seen=len(news.first_seen),
            events={str(kind): int(count) for kind, count in kinds.items()},
            absent=len(news.absent),
            found_again=int((news.changed["absent_reads"] > 0).sum()),
            answers_learned=len(news.to_fill),
            permissions_withdrawn=len(withdrawn),
        )

    def last_complete_read(self, list_id: str) -> datetime | None:
        """When the whole audience was last read, if its last read was complete."""
        query = select(audience_read.c.observed_at).where(
            audience_read.c.list_id == list_id, audience_read.c.complete
        )
        with self._database.read() as connection:
            moment_of_read: datetime | None = connection.execute(query).scalar()
            return moment_of_read

    def load_some(self, list_ids: Collection[str], emails: Collection[str]) -> "pd.DataFrame":
        """The records of these addresses in these audiences, in the columns of ``load``."""
        import pandas as pd

        parts = [
            self._frame(and_(member.c.list_id.in_(sorted(set(list_ids))), member.c.email.in_(chunk)))
            for chunk in chunks(sorted({address_key(email) for email in emails}))
        ]
        return pd.concat(parts, ignore_index=True) if parts else self._frame(member.c.email.in_([]))

    def counts(self, list_ids: Collection[str], *, with_archived: bool = False) -> dict[str, int]:
        """How many members each of these audiences has, as far as we know."""
        query = (
            select(member.c.list_id, func.count())
            .where(
                member.c.list_id.in_(sorted(set(list_ids))),
                member.c.last_status.is_not(None),
                true() if with_archived else member.c.last_status != MemberStatus.ARCHIVED,
                member.c.absent_reads == 0,
                ~member.c.vanished,
            )
            .group_by(member.c.list_id)
        )
        with self._database.read() as connection:
            return {str(list_id): int(count) for list_id, count in connection.execute(query)}

    def last_statuses(self, list_id: str, emails: Collection[str]) -> dict[str, str]:
        """The last known Mailchimp status of these addresses in an audience; none for unknown ones."""
        query = select(member.c.email, member.c.last_status).where(
            member.c.list_id == list_id, member.c.last_status.is_not(None)
        )
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = query.where(member.c.email.in_(chunk))
                found.update((row.email, row.last_status) for row in connection.execute(these))
        return found

    def known_states(self, list_id: str, emails: Collection[str]) -> dict[str, KnownState]:
        """What is known of these members of an audience, by address; none for unknown ones."""
        columns = (member.c.email, member.c.last_status, member.c.last_changed, member.c.written_at)
        query = select(*columns).where(member.c.list_id == list_id)
        found: dict[str, KnownState] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                for row in connection.execute(query.where(member.c.email.in_(chunk))):
                    found[row.email] = KnownState(
                        status=row.last_status, last_changed=row.last_changed, written_at=row.written_at
                    )
        return found

    def with_opt_outs(self, list_id: str, emails: Collection[str]) -> set[str]:
        """Which of these addresses opted out of any audience, or were in this one without being mailed."""
        quiet = or_(member.c.opted_out, member.c.last_status.in_(sorted(OUT_OF_AUDIENCE_STATUSES)))
        query = select(member.c.email).where(member.c.list_id == list_id, quiet)
        with self._database.read() as connection:
            found = _opted_out_ever(connection, emails)
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                found.update(connection.execute(query.where(member.c.email.in_(chunk))).scalars())
        return found

    def absent(self, company: str) -> "pd.DataFrame":
        """Members missed by a complete read, to be confirmed one by one: list_id, email, absent_reads."""
        import pandas as pd

        columns = [member.c.list_id, member.c.email, member.c.absent_reads]
        query = (
            select(*columns)
            .where(
                member.c.company == company,
                member.c.absent_reads > member.c.absent_confirmed_read,
                ~member.c.vanished,
            )
            .order_by(member.c.list_id, member.c.email)
        )
        with self._database.read() as connection:
            return pd.DataFrame(connection.execute(query).all(), columns=[column.name for column in columns])

    def confirm_absent(self, list_id: str, emails: Collection[str]) -> list[str]:
        """Mailchimp was asked for these members themselves, and has none (404).

        Counts once per complete read; with the second one a member is vanished (RULES 1.3). Returns
        the addresses that vanished by this call. Addresses that no read missed are left alone.
        """
        now = self._database.now()
        vanished: list[str] = []
        counts = member.c.absent_reads > member.c.absent_confirmed_read
        gone = and_(
            member.c.absent_reads >= ABSENCES_UNTIL_VANISHED,
            member.c.absent_confirmations >= ABSENCES_UNTIL_VANISHED,
            ~member.c.vanished,
        )
        with self._database.write() as connection:
            events = []
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = and_(member.c.list_id == list_id, member.c.email.in_(chunk))
                connection.execute(
                    update(member)
                    .where(these, counts)
                    .values(
                        absent_confirmations=member.c.absent_confirmations + 1,
                        absent_confirmed_read=member.c.absent_reads,
                    )
                )
                found = connection.execute(
                    select(member.c.company, member.c.audience, member.c.email, member.c.last_status).where(
                        these, gone
                    )
                ).all()
                connection.execute(update(member).where(these, gone).values(vanished=True))
                for row in found:
                    vanished.append(row.email)
                    events.append(
                        ConsentEvent(
                            company=row.company,
                            audience=row.audience,
                            list_id=list_id,
                            email=row.email,
                            event=EventKind.VANISH,
                            origin=Origin.UNKNOWN,
                            status_from=row.last_status or "",
                            occurred_at=now,
                            seen_at=now,
                            source=EventSource.OBSERVATION,
                        )
                    )
            add_events(connection, events)
        return vanished

    def refused(self, list_ids: Collection[str]) -> "pd.DataFrame":
        """The records of these audiences with a refusal that is open, in the columns of ``load``."""
        return self._frame(
            and_(member.c.list_id.in_(sorted(set(list_ids))), member.c.rejection_key.is_not(None))
        )

    def history(self, email: str, also: Collection[str] = ()) -> list[HistoryEntry]:
        """Everything known about an address, and about those it was renamed from or to, in order of time.

        ``also``: further addresses of the same person, whose history is theirs too.
        """
        with self._database.read() as connection:
            addresses = _linked_addresses(connection, {address_key(each) for each in (email, *also)})
            entries = [
                *_writes(connection, addresses),
                *_consent_history(connection, addresses),
                *_renames(connection, addresses),
            ]
        return sorted(entries, key=lambda entry: entry.at)

    def renames(self, list_ids: Collection[str]) -> list[tuple[str, str, str, datetime]]:
        """Members of these audiences that got another address: list id, old and new address, when (UTC)."""
        query = (
            select(rename.c.list_id, rename.c.old_email, rename.c.new_email, rename.c.renamed_at)
            .where(rename.c.list_id.in_(sorted(set(list_ids))))
            .order_by(rename.c.renamed_at, rename.c.id)
        )
        with self._database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def record_change_of_address(
        self,
        company: str,
        list_id: str,
        old_email: str,
        new_email: str,
        at: datetime,
        *,
        audience: str = "",
        contact_id: str | None = None,
    ) -> None:
        """Remember that a member of an audience changed their address in Mailchimp; recorded twice, it is
        one.

        For a change of which no record shows whose it is: what reading finds is recorded separately. The two
        addresses know of each other's opt-outs from here on.
        """
        old, new = address_key(old_email), address_key(new_email)
        with self._database.write() as connection:
            lock_members(connection, [list_id])
            if record_change(connection, company, list_id, old, new, at, contact_id=contact_id):
                inherited = inheritance(
                    company, audience, list_id, new, at, self._database.now(), EventSource.WEBHOOK
                )
                add_events(connection, inherited_events(connection, inherited, old))
                keep_under_new_address(connection, company, list_id, old, new)

    def at_another_address(self, observed: "pd.DataFrame") -> set[str]:
        """Which of these (rows of ``mailchimp_members``) are contacts that are known by another address."""
        rows = checked(observed)
        with self._database.read() as connection:
            moves, _ = find_moves(connection, _contacts(rows, self._database.now()), self._database.now())
        return {move.new for move in moves}

    def displaced(self, observed: "pd.DataFrame") -> dict[str, str]:
        """Members at whose known address these rows show another contact: contact id to that address.

        Who is among the rows is left out; the others are somewhere else.
        """
        rows = checked(observed)
        seen = {(each.list_id, each.email): each.contact_id for each in _contacts(rows, self._database.now())}
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted(seen)):
                query = select(member.c.list_id, member.c.email, member.c.contact_id).where(
                    tuple_(member.c.list_id, member.c.email).in_(chunk), member.c.contact_id.is_not(None)
                )
                found.update(
                    (row.contact_id, row.email)
                    for row in connection.execute(query)
                    if row.contact_id != seen[row.list_id, row.email]
                )
        there = set(seen.values())
        return {contact_id: email for contact_id, email in sorted(found.items()) if contact_id not in there}

    def _frame(self, condition: ColumnElement[bool]) -> "pd.DataFrame":
        query = (
            select(*(member.c[name] for name in _LOADED))
            .where(condition)
            .order_by(member.c.list_id, member.c.email)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return _member_frame(rows)


def _member_frame(rows: Sequence[Any]) -> "pd.DataFrame":
    import pandas as pd

    values: dict[str, list[Any]] = {name: [row[place] for row in rows] for place, name in enumerate(_LOADED)}
    columns: dict[str, Any] = {}
    for name in _LOADED:
        if name == "tags_json":
            parsed = [json.loads(text) if text != "[]" else [] for text in values[name]]
            columns["tags"] = pd.Series(parsed, dtype="object")
        elif name in _TEXTS:
            columns[name] = pd.Series(values[name], dtype="str")
        elif name in ("created_at", "rejected_at", "retry_at"):
            columns[name] = pd.Series(values[name], dtype="datetime64[us, UTC]")
        elif name == "partner_id":
            columns[name] = pd.Series(values[name], dtype="Int64")
        elif name == "absent_reads":
            columns[name] = pd.Series(values[name], dtype="int64")
        else:
            columns[name] = pd.Series(values[name], dtype="bool")
    return pd.DataFrame(columns)


def _not_yet_read(connection: Connection, lists: Sequence[str], observed_at: datetime) -> list[str]:
    if observed_at.tzinfo is None:
        raise LedgerError("observed_at has no timezone; give UTC")
    query = select(audience_read.c.list_id).where(
        audience_read.c.list_id.in_(lists), audience_read.c.observed_at >= observed_at
    )
    seen = set(connection.execute(query).scalars())
    return [list_id for list_id in lists if list_id not in seen]


@dataclass(frozen=True)
class _Contact:
    """Where a read found a contact, and since when at the latest."""

    list_id: str
    email: str
    contact_id: str
    changed_at: datetime


def _contacts(rows: "pd.DataFrame", observed_at: datetime) -> list[_Contact]:
    named = rows[rows["contact_id"].notna()]
    return [
        _Contact(list_id, email, contact_id, min(moment(changed) or observed_at, observed_at))
        for list_id, email, contact_id, changed in zip(
            named["list_id"], named["email"], named["contact_id"], named["last_changed"], strict=True
        )
    ]


def _without_moved(
    connection: Connection, company: str, rows: "pd.DataFrame", observed_at: datetime, source: EventSource
) -> "pd.DataFrame":
    """Move the records of contacts that are at another address; return the rows but those older than that."""
    import pandas as pd

    moves, overtaken = find_moves(connection, _contacts(rows, observed_at), observed_at)
    record_moves(connection, company, moves, observed_at, source)
    if not overtaken:
        return rows
    stale = [key in overtaken for key in zip(rows["list_id"], rows["email"], strict=True)]
    return rows[~pd.Series(stale, index=rows.index, dtype=bool)]


def _learn_contacts(connection: Connection, present: "pd.DataFrame", complete: Collection[str]) -> None:
    """Remember which contact has each address.

    Another contact than the known one counts in a complete read alone: that has shown the known one nowhere.
    """
    identified = present[present["known"] & present["contact_id"].notna()]
    unknown = identified["known_contact_id"].isna()
    another = identified["known_contact_id"] != identified["contact_id"]
    another &= identified["list_id"].isin(list(complete))
    statement = (
        update(member)
        .where(member.c.list_id == bindparam("key_list"), member.c.email == bindparam("key_email"))
        .values(contact_id=bindparam("contact"))
    )
    for chunk in chunks(identified[unknown | another].itertuples(index=False)):
        connection.execute(
            statement,
            [{"key_list": row.list_id, "key_email": row.email, "contact": row.contact_id} for row in chunk],
        )


def _compared(
    connection: Connection,
    rows: "pd.DataFrame",
    observed_at: datetime,
    *,
    lists: Sequence[str] | None = None,
    emails: Iterable[str] | None = None,
    complete: Collection[str] = (),
) -> Comparison:
    """Compare rows with the records of whole audiences (``lists``), or of some addresses in them."""
    known = _known(connection, sorted(set(rows["list_id"])) if lists is None else lists, emails)
    came = rows.loc[rows["status"] == MemberStatus.SUBSCRIBED, "email"]
    return compare(known, rows, observed_at, frozenset(complete), _opted_out_ever(connection, list(came)))


def _take_over(
    connection: Connection,
    company: str,
    news: Comparison,
    observed_at: datetime,
    source: EventSource,
    find: Find | None,
) -> list[ConsentEvent]:
    """Record what a comparison found: new members, other statuses, and their events."""
    changes = _changes(connection, news.events, observed_at)
    findings = find(changes) if find is not None else {}
    events = [
        event_of(change, company, observed_at, source, findings.get((change.list_id, change.email)))
        for change in changes
    ]
    _insert_first_seen(connection, company, news.first_seen, observed_at)
    _update_changed(connection, news, observed_at)
    add_events(connection, events)
    return events


def _opted_out_ever(connection: Connection, emails: Collection[str]) -> set[str]:
    query = (
        select(consent_event.c.email).where(consent_event.c.event.in_(sorted(OPTED_OUT_EVENTS))).distinct()
    )
    if len(emails) > 10 * CHUNK:
        return set(connection.execute(query).scalars())
    found: set[str] = set()
    for chunk in chunks(emails):
        found.update(connection.execute(query.where(consent_event.c.email.in_(chunk))).scalars())
    return found


def _known(
    connection: Connection, lists: Sequence[str], emails: Iterable[str] | None = None
) -> "pd.DataFrame":
    import pandas as pd

    awaits_answer = and_(member.c.sent_json.is_not(None), member.c.returned_json.is_(None)).label(
        "awaits_answer"
    )
    columns = [
        member.c.list_id,
        member.c.email,
        member.c.last_status,
        member.c.written_at,
        member.c.seen_at,
        member.c.absent_reads,
        member.c.vanished,
        member.c.ever_subscribed,
        member.c.opted_out,
        member.c.archived_by_us,
        member.c.contact_id.label("known_contact_id"),
        awaits_answer,
    ]
    query = select(*columns).where(member.c.list_id.in_(lists))
    if emails is None:
        rows = connection.execute(query).all()
    else:
        rows = [
            row
            for chunk in chunks(sorted(set(emails)))
            for row in connection.execute(query.where(member.c.email.in_(chunk)))
        ]
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return frame.assign(
        **{name: frame[name].astype("str") for name in ("list_id", "email", "last_status")},
        written_at=pd.Series(list(frame["written_at"]), dtype="datetime64[us, UTC]"),
        seen_at=pd.Series(list(frame["seen_at"]), dtype="datetime64[us, UTC]"),
        absent_reads=frame["absent_reads"].astype("int64"),
        **{
            name: frame[name].astype("bool")
            for name in ("vanished", "ever_subscribed", "opted_out", "archived_by_us", "awaits_answer")
        },
    )


def _changes(connection: Connection, events: "pd.DataFrame", observed_at: datetime) -> list[StatusChange]:
    explained = _explained_by_us(connection, events, observed_at)
    return [
        change_of(row, observed_at, ours=(row.list_id, row.email) in explained)
        for row in events.itertuples(index=False)
    ]


def _explained_by_us(
    connection: Connection, events: "pd.DataFrame", observed_at: datetime
) -> set[tuple[str, str]]:
    """The changes that a write of ours with unknown outcome has made.

    A write with a known outcome moved ``last_status`` when it was settled: what differs from that was
    done by somebody else. So was what Mailchimp dates earlier than our write.
    """
    explained: set[tuple[str, str]] = set()
    for list_id, rows in events.groupby("list_id"):
        by_email = {row.email: row for row in rows.itertuples(index=False)}
        for chunk in chunks(by_email):
            query = select(
                intent.c.email, intent.c.operation, intent.c.recorded_at, intent.c.body_json
            ).where(
                intent.c.email.in_(chunk),
                intent.c.list_id == list_id,
                intent.c.settled_at.is_(None),
                intent.c.recorded_at <= observed_at,
            )
            for write in connection.execute(query):
                row: Any = by_email[write.email]
                changed_at = moment(row.last_changed)
                fits = write.operation in _EXPLAINING_OPERATIONS.get(row.status, ())
                if write.operation == Operation.CREATE:
                    # With another status than we sent, it is somebody else's doing since.
                    fits = fits and json.loads(write.body_json).get("status") == row.status
                if fits and (changed_at is None or changed_at >= write.recorded_at - _CLOCKS_DIFFER):
                    explained.add((str(list_id), write.email))
    return explained


def _insert_first_seen(
    connection: Connection, company: str, rows: "pd.DataFrame", observed_at: datetime
) -> None:
    for chunk in chunks(rows.itertuples(index=False)):
        connection.execute(
            insert(member),
            [
                {
                    "list_id": row.list_id,
                    "email": row.email,
                    "company": company,
                    "audience": row.audience,
                    "last_status": row.status,
                    "last_changed": moment(row.last_changed),
                    "seen_at": observed_at,
                    "contact_id": row.contact_id if isinstance(row.contact_id, str) else None,
                    "ever_subscribed": row.ever_subscribed,
                    "opted_out": row.opted_out,
                }
                for row in chunk
            ],
        )


def _update_changed(connection: Connection, news: Comparison, observed_at: datetime) -> None:
    this_one = and_(member.c.list_id == bindparam("key_list"), member.c.email == bindparam("key_email"))
    statement = (
        update(member)
        .where(this_one)
        .values(
            last_status=bindparam("last_status"),
            # The date of what is known: of the same status, a change may still be one to ask about.
            last_changed=func.coalesce(bindparam("last_changed"), member.c.last_changed),
            seen_at=observed_at,
            ever_subscribed=bindparam("ever_subscribed"),
            opted_out=bindparam("opted_out"),
            archived_by_us=bindparam("archived_by_us"),
            absent_reads=0,
            absent_confirmations=0,
            absent_confirmed_read=0,
            vanished=False,
        )
    )
    for chunk in chunks(news.changed.itertuples(index=False)):
        values = [
            {
                "key_list": row.list_id,
                "key_email": row.email,
                "last_status": row.status,
                "last_changed": moment(row.last_changed) if str(row.status_from) != row.status else None,
                "ever_subscribed": bool(row.ever_subscribed),
                "opted_out": bool(row.opted_out),
                "archived_by_us": bool(row.archived_by_us),
            }
            for row in chunk
        ]
        connection.execute(statement, values)
    fill = update(member).where(this_one).values(returned_json=bindparam("answer"))
    for chunk in chunks(news.to_fill.itertuples(index=False)):
        connection.execute(
            fill,
            [
                {"key_list": row.list_id, "key_email": row.email, "answer": returned_json(row)}
                for row in chunk
            ],
        )


def _count_absent(connection: Connection, absent: "pd.DataFrame") -> None:
    for list_id, rows in absent.groupby("list_id"):
        for chunk in chunks(rows["email"]):
            connection.execute(
                update(member)
                .where(member.c.list_id == list_id, member.c.email.in_(chunk))
                .values(absent_reads=member.c.absent_reads + 1)
            )


def _linked_addresses(connection: Connection, emails: Collection[str]) -> list[str]:
    found, pending = set(emails), set(emails)
    while pending:
        links = select(rename.c.old_email, rename.c.new_email).where(
            or_(rename.c.old_email.in_(pending), rename.c.new_email.in_(pending))
        )
        pending = {address for row in connection.execute(links) for address in row} - found
        found |= pending
    return sorted(found)


def _writes(connection: Connection, addresses: Sequence[str]) -> Iterable[HistoryEntry]:
    for row in connection.execute(select(intent).where(intent.c.email.in_(addresses))):
        yield HistoryEntry(
            at=row.recorded_at,
            email=row.email,
            company=row.company,
            audience=row.audience,
            list_id=row.list_id,
            kind="write",
            what=row.operation,
            outcome=row.outcome if row.settled_at else "open",
            detail=": ".join(part for part in (row.title, row.detail) if part),
        )


def _consent_history(connection: Connection, addresses: Sequence[str]) -> Iterable[HistoryEntry]:
    for event in events_where(connection, consent_event.c.email.in_(addresses)):
        yield HistoryEntry(
            at=event.occurred_at,
            email=event.email,
            company=event.company,
            audience=event.audience,
            list_id=event.list_id,
            kind="consent",
            what=event.event,
            outcome=event.origin,
            detail=f"{event.status_from or 'unknown'} → {event.status_to or 'none'}",
            event=event,
        )


def _renames(connection: Connection, addresses: Sequence[str]) -> Iterable[HistoryEntry]:
    query = (
        select(rename, member.c.audience)
        .select_from(
            rename.outerjoin(
                member, and_(member.c.list_id == rename.c.list_id, member.c.email == rename.c.new_email)
            )
        )
        .where(or_(rename.c.old_email.in_(addresses), rename.c.new_email.in_(addresses)))
    )
    for row in connection.execute(query):
        yield HistoryEntry(
            at=row.renamed_at,
            email=row.new_email,
            company=row.company,
            audience=row.audience or "",
            list_id=row.list_id,
            kind="rename",
            what="renamed" if row.intent_id is not None else "address changed in Mailchimp",
            outcome="",
            detail=f"from {row.old_email}{_until(row.ended_at)}",
        )


def _until(ended_at: datetime | None) -> str:
    """From when on the former address was somebody else's, as far as is known."""
    return f"; Odoo has another address for the person since {ended_at:%Y-%m-%d}" if ended_at else ""
