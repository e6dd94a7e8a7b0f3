"""Opt-outs of Mailchimp that are due in Odoo, wait there, or need a person (RULES 5.3, 5.5).

One row per company and address, made in the transaction that records an event and removed when nothing is
left to do: what a run costs follows from what happened, not from how many people there are.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import due_in_odoo
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_or_replace
from mc_pipeline.masking import mask_email

DUE, WAITS, REFUSED, CONFLICT = "due", "waits", "refused", "conflict"


@dataclass(frozen=True, kw_only=True)
class DueInOdoo:
    """One address.

    state      due       the next run decides about it, and carries it
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

    def due(self, company: str) -> list[str]:
        """The addresses that the next run decides about, also those that Odoo refused long enough ago."""
        query = (
            select(due_in_odoo.c.email)
            .where(due_in_odoo.c.company == company, self._is_due())
            .order_by(due_in_odoo.c.email)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def count_due(self, company: str) -> int:
        """How many those are: for a sensor."""
        query = select(func.count()).where(due_in_odoo.c.company == company, self._is_due())
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
            return [DueInOdoo(**row) for row in connection.execute(query).mappings()]

    def decide(
        self, company: str, decided: Collection[str], still_open: Iterable[DueInOdoo], *, as_of: datetime
    ) -> None:
        """Remember what became of the addresses that were decided about; those without a row are done with.

        ``as_of`` is when the events were read that the decision builds on: an address of which something
        new was heard since then stays due.
        """
        rows = {address_key(row.email): vars(row) for row in still_open}
        with self._database.write() as connection:
            for chunk in chunks(sorted({address_key(email) for email in decided} | rows.keys())):
                these = and_(due_in_odoo.c.company == company, due_in_odoo.c.email.in_(chunk))
                newer = set(
                    connection.execute(
                        select(due_in_odoo.c.email).where(these, due_in_odoo.c.since > as_of)
                    ).scalars()
                )
                connection.execute(delete(due_in_odoo).where(these, due_in_odoo.c.since <= as_of))
                insert_or_replace(
                    connection,
                    due_in_odoo,
                    [rows[email] for email in chunk if email in rows and email not in newer],
                )

    def add(self, company: str, emails: Collection[str]) -> None:
        """Have the next run decide about these addresses (again)."""
        with self._database.write() as connection:
            add_due(connection, [(company, email) for email in emails], self._database.now())

    def _is_due(self) -> Any:
        again = and_(due_in_odoo.c.state == REFUSED, due_in_odoo.c.retry_at <= self._database.now())
        return or_(due_in_odoo.c.state == DUE, again)


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
        insert_or_replace(connection, due_in_odoo, chunk)
