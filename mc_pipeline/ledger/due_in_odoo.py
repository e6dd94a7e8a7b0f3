"""Opt-outs of Mailchimp that are due in Odoo, wait there, or need a person (RULES 5.3, 5.5).

One row per company and address, made in the transaction that records an event and removed when nothing is
left to do: what a run costs follows from what happened, not from how many people there are.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import due_in_odoo
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_new, insert_or_renew
from mc_pipeline.masking import mask_email

DUE, WAITS, REFUSED, CONFLICT = "due", "waits", "refused", "conflict"


@dataclass(frozen=True, kw_only=True)
class DueInOdoo:
    """One address.

    state      due       the next run decides about it, and applies it; after a failure none is requested for
                         it before ``retry_at`` (UTC)
               waits     an old opt-out of ``list_id``, until a person releases those
               refused   Odoo does not take the address; tried again at ``retry_at`` (UTC)
               conflict  a person has to decide; ``conflict`` is its kind
    """

    company: str
    email: str
    state: str
    since: datetime
    retry_at: datetime | None = None
    list_id: str = ""
    partner_id: int | None = None
    conflict: str = ""
    detail: str = ""

    def __repr__(self) -> str:
        return f"DueInOdoo({self.state}, {mask_email(self.email)})"


class DueInOdooRows:
    """What is open in Odoo, of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, company: str) -> dict[str, int]:
        """The addresses that the next run decides about, with the version of what is known of each.

        Also those that Odoo refused long enough ago.
        """
        now = self._database.now()
        again = and_(due_in_odoo.c.state == REFUSED, due_in_odoo.c.retry_at <= now)
        query = (
            select(due_in_odoo.c.email, due_in_odoo.c.version)
            .where(due_in_odoo.c.company == company, or_(due_in_odoo.c.state == DUE, again))
            .order_by(due_in_odoo.c.email)
        )
        with self._database.read() as connection:
            return {row.email: row.version for row in connection.execute(query)}

    def versions(self, company: str) -> dict[str, int]:
        """The version of what is known of every open address."""
        query = select(due_in_odoo.c.email, due_in_odoo.c.version).where(due_in_odoo.c.company == company)
        with self._database.read() as connection:
            return {row.email: row.version for row in connection.execute(query)}

    def count_due(self, company: str, *, without_failed: bool = False) -> int:
        """How many those are.

        ``without_failed``: not those that Odoo could not take a moment ago: no run is requested for them yet.
        """
        now = self._database.now()
        query = select(func.count()).where(
            due_in_odoo.c.company == company,
            or_(
                due_in_odoo.c.state == DUE,
                and_(due_in_odoo.c.state == REFUSED, due_in_odoo.c.retry_at <= now),
            ),
        )
        if without_failed:
            query = query.where(or_(due_in_odoo.c.retry_at.is_(None), due_in_odoo.c.retry_at <= now))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def of(self, company: str, *states: str) -> list[DueInOdoo]:
        """The rows of a company in these states, by address."""
        query = (
            select(due_in_odoo)
            .where(due_in_odoo.c.company == company, due_in_odoo.c.state.in_(states))
            .order_by(due_in_odoo.c.email)
        )
        with self._database.read() as connection:
            return [
                DueInOdoo(**{name: row[name] for name in DueInOdoo.__dataclass_fields__})
                for row in connection.execute(query).mappings()
            ]

    def decide(self, company: str, decided: Mapping[str, int], still_open: Iterable[DueInOdoo]) -> None:
        """Record the outcome for the addresses that were decided about; those without a row are done with.

        ``decided``: with the version that the decision builds on (0: there was no row). An address of which
        something new was read since then stays due.
        """
        rows = {address_key(row.email): vars(row) for row in still_open}
        versions = {address_key(email): version for email, version in decided.items()}
        this_one = and_(
            due_in_odoo.c.company == company,
            due_in_odoo.c.email == bindparam("key"),
            due_in_odoo.c.version == bindparam("known"),
        )
        with self._database.write() as connection:
            for chunk in chunks(sorted(versions)):
                connection.execute(
                    delete(due_in_odoo).where(this_one),
                    [{"key": email, "known": versions[email]} for email in chunk],
                )
                # Where the row is still there, it is newer than the decision.
                insert_new(connection, due_in_odoo, [rows[email] for email in chunk if email in rows])

    def add(self, company: str, emails: Collection[str]) -> None:
        """Have the next run decide about these addresses (again)."""
        with self._database.write() as connection:
            add_due(connection, [(company, email) for email in emails], self._database.now())


def add_due(connection: Connection, whose: Sequence[tuple[str, str]], now: datetime) -> None:
    """Inside a transaction of another module: something new is known of these (company, address)."""
    rows = [
        {
            "company": company,
            "email": address_key(email),
            "state": DUE,
            "since": now,
            "retry_at": None,
            "list_id": "",
            "partner_id": None,
            "conflict": "",
            "detail": "",
        }
        for company, email in dict.fromkeys(whose)
    ]
    for chunk in chunks(rows):
        insert_or_renew(connection, due_in_odoo, chunk)
