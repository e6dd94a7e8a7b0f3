"""Who is out by Odoo's word, and who has still to be unsubscribed in Mailchimp because of it (RULES 7.5).

An opt-out is written down here before Mailchimp is asked about it. A write of the other path that would make
somebody reachable is refused in the transaction that records it (``intents.record_unless_out``), so that
whichever of the two comes first, the person ends unsubscribed.

Odoo's rows are read in any order, by several runs: the one with Odoo's later date counts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, tuple_, update

from mc_pipeline.chunks import chunks_of
from mc_pipeline.ledger.changed_addresses import open_changes, present_addresses
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.leases import lease_name, lock
from mc_pipeline.ledger.schema import intent, rename, standing_opt_out, unsubscribe_due
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_or_renew, insert_or_replace
from mc_pipeline.masking import mask_email

_AT_A_TIME = 5_000

RETRIED_AFTER = timedelta(minutes=5)
"""So long no run is requested for what failed; runs that start for another reason try it at once."""

BLACKLISTED, OPTED_OUT_OF_COMPANY, EVIDENCE_WITHDRAWN, OPTED_OUT_MEANWHILE = (
    "blacklisted",
    "opted_out_of_company",
    "evidence_withdrawn",
    "opted_out_meanwhile",
)


@dataclass(frozen=True, kw_only=True)
class StandingOptOut:
    """One opt-out that Odoo says, or that we are about to say in Odoo.

    list_id   the audience concerned; empty: every audience of the company
    cause     blacklisted | opted_out_of_company | evidence_withdrawn | opted_out_meanwhile (found while a
              write of ours that made the member reachable was under way)
    active    false: it was removed
    said_at   Odoo's date of it, or when it happened in Mailchimp (UTC)
    """

    company: str
    email: str
    cause: str
    said_at: datetime
    list_id: str = ""
    active: bool = True
    because: str = ""

    def __repr__(self) -> str:
        return f"StandingOptOut({self.cause}, active={self.active}, email={mask_email(self.email)!r})"


class StandingOptOuts:
    """The standing opt-outs of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def say(self, said: Iterable[StandingOptOut], list_ids: Collection[str]) -> list[StandingOptOut]:
        """Write down what Odoo says now; return those that are news.

        Who is newly out is due in every audience concerned, of ``list_ids``, in the same transaction. What is
        dated earlier than what is known changes nothing.
        """
        latest = _latest(said)
        news: list[StandingOptOut] = []
        # Others write between the parts of a long blacklist.
        for keys in chunks_of(_AT_A_TIME, sorted(latest)):
            news += self._say({key: latest[key] for key in keys}, list_ids)
        return news

    def _say(self, said: Mapping["Key", StandingOptOut], list_ids: Collection[str]) -> list[StandingOptOut]:
        news: list[StandingOptOut] = []
        with self._database.write() as connection:
            now = self._database.now()
            # A write that is just being recorded sees this, or its outcome is looked at after this.
            for company in sorted({each.company for each in said.values()}):
                lock(connection, lease_name(company))
            for keys in chunks(sorted(said)):
                known = _known(connection, keys)
                changed = [said[key] for key in keys if _is_news(known.get(key), said[key])]
                turned = [each for each in changed if _is_turned(known.get(_key(each)), each)]
                insert_or_replace(connection, standing_opt_out, [_row(each, now) for each in changed])
                _keep_first_date(connection, changed)
                newly_out = [each for each in turned if each.active]
                newly_out += _at_their_present_addresses(connection, newly_out)
                _add_due(connection, _due_rows(newly_out, list_ids, now))
                news += turned
        return news

    def count_news(self, said: Iterable[StandingOptOut]) -> int:
        """How many of these ``say`` would return now; writes nothing."""
        latest = _latest(said)
        with self._database.read() as connection:
            return sum(
                _is_news(row := known.get(key), latest[key]) and _is_turned(row, latest[key])
                for keys in chunks(sorted(latest))
                for known in [_known(connection, keys)]
                for key in keys
            )

    def is_news(self, said: StandingOptOut) -> bool:
        """Whether ``say`` would return this one now; writes nothing."""
        return self.count_news([said]) == 1

    def of(
        self, company: str, emails: Collection[str] | None = None, *, until: datetime | None = None
    ) -> list[StandingOptOut]:
        """The active ones of a company, of these addresses or of everybody.

        ``until`` leaves out those that were written down later.
        """
        query = select(standing_opt_out).where(
            standing_opt_out.c.company == company, standing_opt_out.c.active
        )
        if until is not None:
            query = query.where(standing_opt_out.c.recorded_at <= until)
        with self._database.read() as connection:
            if emails is None:
                return [_said(row) for row in connection.execute(query).mappings()]
            found: list[StandingOptOut] = []
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = query.where(standing_opt_out.c.email.in_(chunk))
                found += [_said(row) for row in connection.execute(these).mappings()]
            return found

    def first_blacklisted(self, emails: Collection[str]) -> dict[str, datetime]:
        """When (UTC) each of these addresses was first said to be on Odoo's blacklist, as far as is known."""
        query = (
            select(standing_opt_out.c.email, func.min(standing_opt_out.c.first_said_at).label("at"))
            .where(standing_opt_out.c.cause == BLACKLISTED, standing_opt_out.c.first_said_at.is_not(None))
            .group_by(standing_opt_out.c.email)
        )
        found: dict[str, datetime] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = query.where(standing_opt_out.c.email.in_(chunk))
                found.update((row.email, row.at) for row in connection.execute(these))
        return found

    def lift(self, company: str, lifted: Mapping[str, datetime]) -> None:
        """Who was taken off Odoo's blacklist by us is out no longer by that cause; at Odoo's date of it."""
        with self._database.write() as connection:
            for email, at in sorted(lifted.items()):
                connection.execute(
                    update(standing_opt_out)
                    .where(
                        standing_opt_out.c.company == company,
                        standing_opt_out.c.cause == BLACKLISTED,
                        standing_opt_out.c.email == address_key(email),
                        standing_opt_out.c.said_at <= at,
                    )
                    .values(active=False, said_at=at, recorded_at=self._database.now())
                )

    def replace_all(
        self,
        company: str,
        cause: str,
        said: Iterable[StandingOptOut],
        observed_at: datetime,
        *,
        due_in: Collection[str],
        not_shown: Callable[[str], bool] = lambda email: False,
    ) -> None:
        """Take over a complete read of Odoo: what it does not show, and was said before it, stands no longer.

        Who is newly out is due in the audiences ``due_in``: those that the caller cannot compare as a whole.
        Of people ``not_shown`` by any read, because they were erased, nothing changes.
        """
        shown = list(said)
        keep = {_key(each) for each in shown if each.active}
        self.say(shown, due_in)
        with self._database.write() as connection:
            query = select(standing_opt_out).where(
                standing_opt_out.c.company == company,
                standing_opt_out.c.cause == cause,
                standing_opt_out.c.active,
                standing_opt_out.c.recorded_at < observed_at,
            )
            gone = [
                row
                for row in connection.execute(query).mappings()
                if _key(_said(row)) not in keep and "@" in row["email"] and not not_shown(row["email"])
            ]
            for chunk in chunks([(row["email"], row["list_id"]) for row in gone]):
                connection.execute(
                    update(standing_opt_out)
                    .where(
                        standing_opt_out.c.company == company,
                        standing_opt_out.c.cause == cause,
                        standing_opt_out.c.recorded_at < observed_at,
                        tuple_(standing_opt_out.c.email, standing_opt_out.c.list_id).in_(chunk),
                    )
                    .values(active=False)
                )

    def due(self, company: str, list_id: str) -> dict[str, int]:
        """Whom Mailchimp has to be asked about in an audience, with the version of what is known of each."""
        query = (
            select(unsubscribe_due.c.email, unsubscribe_due.c.version)
            .where(unsubscribe_due.c.company == company, unsubscribe_due.c.list_id == list_id)
            .order_by(unsubscribe_due.c.email)
        )
        with self._database.read() as connection:
            return {row.email: row.version for row in connection.execute(query)}

    def count_due(self, company: str, list_ids: Collection[str], *, without_failed: bool = False) -> int:
        """How many members that are; ``without_failed``: not those that failed a moment ago."""
        query = select(func.count()).where(
            unsubscribe_due.c.company == company, unsubscribe_due.c.list_id.in_(sorted(set(list_ids)))
        )
        if without_failed:
            now = self._database.now()
            query = query.where(or_(unsubscribe_due.c.retry_at.is_(None), unsubscribe_due.c.retry_at <= now))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def add_due(self, company: str, list_id: str, emails: Collection[str]) -> None:
        """These members have to be looked at (again)."""
        now = self._database.now()
        with self._database.write() as connection:
            _add_due(connection, [_due_row(company, list_id, address_key(email), now) for email in emails])

    def done(self, company: str, list_id: str, looked_at: Mapping[str, int]) -> None:
        """These were seen to be unsubscribed or not reachable in this audience.

        ``looked_at``: with the version known before the look. Who has a write of the other path under way
        there stays due, for it may yet make them reachable; so does who came back after the look.
        """
        this_one = and_(
            unsubscribe_due.c.company == company,
            unsubscribe_due.c.list_id == list_id,
            unsubscribe_due.c.email == bindparam("key"),
            unsubscribe_due.c.version == bindparam("known"),
        )
        versions = {address_key(email): version for email, version in looked_at.items()}
        for part in chunks_of(_AT_A_TIME, sorted(versions)):
            with self._database.write() as connection:
                for chunk in chunks(part):
                    under_way = select(intent.c.email).where(
                        intent.c.company == company,
                        intent.c.list_id == list_id,
                        intent.c.path == "changes",
                        intent.c.settled_at.is_(None),
                        intent.c.email.in_(chunk),
                    )
                    stay = set(connection.execute(under_way).scalars())
                    gone = [{"key": each, "known": versions[each]} for each in chunk if each not in stay]
                    if gone:
                        connection.execute(delete(unsubscribe_due).where(this_one), gone)
                        connection.execute(
                            update(standing_opt_out)
                            .where(
                                standing_opt_out.c.company == company,
                                standing_opt_out.c.list_id == list_id,
                                standing_opt_out.c.cause == OPTED_OUT_MEANWHILE,
                                standing_opt_out.c.email.in_([each["key"] for each in gone]),
                            )
                            .values(active=False)
                        )
                    _postpone(connection, company, list_id, sorted(stay), self._database.now())

    def postpone(self, company: str, list_id: str, emails: Collection[str]) -> None:
        """These could not be applied: a further run is requested for them in a few minutes only."""
        with self._database.write() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                _postpone(connection, company, list_id, chunk, self._database.now())


def out_meanwhile(connection: Connection, members: Collection[tuple[str, str, str]], now: datetime) -> None:
    """Inside a transaction of another module: (company, list id, address) whom a write of ours made reachable
    and who are out by now. Whatever comes of this process, they are unsubscribed."""
    rows = [
        _row(
            StandingOptOut(
                company=company,
                email=email,
                list_id=list_id,
                cause=OPTED_OUT_MEANWHILE,
                said_at=now,
                because="opted out while they were being made a member, or subscribed",
            ),
            now,
        )
        for company, list_id, email in sorted(set(members))
    ]
    for chunk in chunks(rows):
        insert_or_replace(connection, standing_opt_out, chunk)
    _add_due(connection, [_due_row(row["company"], row["list_id"], row["email"], now) for row in rows])


def due_again(
    connection: Connection, company: str, list_id: str, emails: Collection[str], now: datetime
) -> None:
    """Inside a transaction of another module: members who came back although Odoo says that they are out."""
    for chunk in chunks(sorted(set(emails))):
        query = (
            select(standing_opt_out.c.email)
            .where(
                standing_opt_out.c.company == company,
                standing_opt_out.c.active,
                standing_opt_out.c.email.in_(chunk),
                standing_opt_out.c.list_id.in_(("", list_id)),
            )
            .distinct()
        )
        back = list(connection.execute(query).scalars())
        # Who changed their address in Mailchimp may be out under the one that Odoo has.
        changes = open_changes(connection, rename.c.company == company)
        back += [change.email for change in changes if change.email in set(chunk)]
        _add_due(connection, [_due_row(company, list_id, email, now) for email in back])


def _at_their_present_addresses(
    connection: Connection, out: Sequence[StandingOptOut]
) -> list[StandingOptOut]:
    """The same opt-outs, of the addresses that these people have in Mailchimp now: to be looked at too."""
    found: list[StandingOptOut] = []
    for company in sorted({each.company for each in out}):
        of_company = [each for each in out if each.company == company]
        present = present_addresses(connection, company, [each.email for each in of_company])
        found += [
            replace(each, email=email)
            for each in of_company
            for email in sorted(present.get(address_key(each.email), ()))
        ]
    return found


Key = tuple[str, str, str, str]


def _key(each: StandingOptOut) -> Key:
    return (each.company, address_key(each.email), each.list_id, each.cause)


def _latest(said: Iterable[StandingOptOut]) -> dict[Key, StandingOptOut]:
    return {_key(each): each for each in sorted(said, key=lambda each: each.said_at)}


def _known(connection: Connection, keys: Sequence[Key]) -> dict[Key, Any]:
    emails = sorted({email for _, email, _, _ in keys})
    query = select(standing_opt_out).where(standing_opt_out.c.email.in_(emails))
    return {
        (row["company"], row["email"], row["list_id"], row["cause"]): row
        for row in connection.execute(query).mappings()
    }


def _is_news(known: Any, said: StandingOptOut) -> bool:
    if known is None:
        return said.active
    if said.cause == EVIDENCE_WITHDRAWN and said.active and known["active"]:
        # Later edits of the record move its date, and are no new word.
        return False
    # Odoo returns whole seconds: of two statements of one second, the one that was read last counts.
    known_at: datetime = known["said_at"]
    return said.said_at > known_at or (said.said_at == known_at and said.active != known["active"])


def _is_turned(known: Any, said: StandingOptOut) -> bool:
    return known is None or bool(known["active"] != said.active)


def _row(each: StandingOptOut, now: datetime) -> dict[str, Any]:
    return {
        "company": each.company,
        "email": address_key(each.email),
        "list_id": each.list_id,
        "cause": each.cause,
        "active": each.active,
        "said_at": each.said_at,
        "because": each.because,
        "recorded_at": now,
    }


def _keep_first_date(connection: Connection, said: Iterable[StandingOptOut]) -> None:
    """Of several dates of one row, the first one stays: whose opt-out it was depends on it."""
    for chunk in chunks(sorted({address_key(each.email) for each in said})):
        connection.execute(
            update(standing_opt_out)
            .where(standing_opt_out.c.email.in_(chunk), standing_opt_out.c.first_said_at.is_(None))
            .values(first_said_at=standing_opt_out.c.said_at)
        )


def _due_rows(
    out: Iterable[StandingOptOut], list_ids: Collection[str], now: datetime
) -> list[dict[str, Any]]:
    return [
        _due_row(each.company, list_id, address_key(each.email), now)
        for each in out
        for list_id in ([each.list_id] if each.list_id else list_ids)
    ]


def _due_row(company: str, list_id: str, email: str, now: datetime) -> dict[str, Any]:
    return {"company": company, "list_id": list_id, "email": email, "since": now, "retry_at": None}


def _add_due(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    unique = {(row["company"], row["list_id"], row["email"]): row for row in rows}
    for chunk in chunks(unique.values()):
        insert_or_renew(connection, unsubscribe_due, chunk)


def _postpone(
    connection: Connection, company: str, list_id: str, emails: Collection[str], now: datetime
) -> None:
    connection.execute(
        update(unsubscribe_due)
        .where(
            unsubscribe_due.c.company == company,
            unsubscribe_due.c.list_id == list_id,
            unsubscribe_due.c.email.in_(list(emails)),
        )
        .values(retry_at=now + RETRIED_AFTER)
    )


def _said(row: Any) -> StandingOptOut:
    return StandingOptOut(**{name: row[name] for name in StandingOptOut.__dataclass_fields__})
