"""Who was erased, and the removal of their identity from everything that the ledger keeps (RULES 10.1).

A tombstone holds a pseudonym in place of the address: it is what stops a person from coming back by the next
read. History stays, under the pseudonym, so that counts and outcomes remain true.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, RowMapping, Table, and_, delete, exists, func, or_, select, update

from mc_pipeline.ledger import schema
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import LedgerError
from mc_pipeline.ledger.schema import erasure, rename
from mc_pipeline.ledger.serialization import address_key, canonical_json
from mc_pipeline.ledger.statements import insert_new


@dataclass(frozen=True)
class PersonalColumns:
    """Where a table of the ledger holds who somebody is.

    ``addresses`` name the person: they become the pseudonym. ``about`` is what else may tell who it was, and
    becomes the value given. ``is_state``: rows are deleted, as they say how somebody is, not what happened.
    """

    addresses: tuple[str, ...]
    about: Mapping[str, Any]
    is_state: bool = False


PERSONAL_COLUMNS: Mapping[str, PersonalColumns] = {
    "ledger_intent": PersonalColumns(
        ("email",),
        {"body_json": "{}", "name_sent": None, "evidence_json": None, "detail": "", "returned_json": None},
    ),
    "ledger_member": PersonalColumns(("email",), {}, is_state=True),
    "ledger_confirmation": PersonalColumns(("email",), {}, is_state=True),
    "ledger_permission": PersonalColumns(("email",), {}, is_state=True),
    "ledger_rename": PersonalColumns(("old_email", "new_email"), {"contact_id": None, "partner_id": None}),
    "ledger_consent_event": PersonalColumns(("email",), {"evidence_json": None}),
    "ledger_odoo_opt_out": PersonalColumns(("email",), {"address": "", "detail": ""}),
    "ledger_opt_out_question": PersonalColumns(("email",), {}, is_state=True),
    "ledger_due_in_odoo": PersonalColumns(("email",), {}, is_state=True),
    "ledger_standing_opt_out": PersonalColumns(("email",), {}, is_state=True),
    "ledger_unsubscribe_due": PersonalColumns(("email",), {}, is_state=True),
    "ledger_used_evidence": PersonalColumns(("email",), {}, is_state=True),
    "ledger_partner_address": PersonalColumns(("email",), {}, is_state=True),
    "ledger_webhook_delivery": PersonalColumns(("email", "new_email"), {}, is_state=True),
    # The row stays: it is what takes the customer, who is due no more, out of the store.
    "ledger_store_customer": PersonalColumns(("email",), {"refused_digest": None, "refused_detail": None}),
}
"""By name of the table; a test holds that no table with an address is missing."""


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """One erased person. ``report`` says what was done where, and names nobody.

    ``partner_ids`` are the Odoo partners who had the address; ``completed_at`` is None while something of the
    erasure is still to be done.
    """

    pseudonym: str
    key_id: str
    partner_ids: list[int]
    reason: str
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    report: dict[str, Any]


class Erasures:
    """The tombstones, and the erasing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(
        self, pseudonym: str, key_id: str, partner_ids: Collection[int], *, reason: str, by: str
    ) -> None:
        """Set a tombstone; from now on nobody with this pseudonym is read. Asked again, partners are added.

        Raises LedgerError when there is no reason, or nobody who asks.
        """
        if not reason.strip() or not by.strip():
            raise LedgerError("an erasure says why and who asked for it: give reason and requested_by")
        with self._database.write() as connection:
            known = connection.execute(
                select(erasure.c.partner_ids_json).where(erasure.c.pseudonym == pseudonym)
            ).scalar()
            partners = sorted({*partner_ids, *(json.loads(known) if known else ())})
            if known is not None:
                connection.execute(
                    update(erasure)
                    .where(erasure.c.pseudonym == pseudonym)
                    .values(partner_ids_json=canonical_json(partners), completed_at=None)
                )
                return
            insert_new(
                connection,
                erasure,
                [
                    {
                        "pseudonym": pseudonym,
                        "key_id": key_id,
                        "partner_ids_json": canonical_json(partners),
                        "reason": reason.strip(),
                        "requested_by": by.strip(),
                        "requested_at": self._database.now(),
                        "report_json": "{}",
                    }
                ],
            )

    def complete(self, pseudonym: str, report: Mapping[str, Any]) -> None:
        """Remember that everything is done, and what it was."""
        with self._database.write() as connection:
            connection.execute(
                update(erasure)
                .where(erasure.c.pseudonym == pseudonym)
                .values(completed_at=self._database.now(), report_json=canonical_json(report))
            )

    def tombstones(self) -> list[Tombstone]:
        """Everybody who was erased, in order."""
        with self._database.read() as connection:
            rows = connection.execute(select(erasure).order_by(erasure.c.requested_at, erasure.c.pseudonym))
            return [_tombstone(row) for row in rows.mappings()]

    def renames(self) -> list[tuple[str, str]]:
        """Every change of an address that is known: the old and the new one."""
        with self._database.read() as connection:
            return [tuple(row) for row in connection.execute(select(rename.c.old_email, rename.c.new_email))]

    def traces(self, email: str) -> dict[str, int]:
        """How many rows hold the address, by table; tables without any are left out."""
        key = address_key(email)
        with self._database.read() as connection:
            found = {
                name: connection.execute(
                    select(func.count())
                    .select_from(_table(name))
                    .where(or_(*(_table(name).c[column] == key for column in personal.addresses)))
                ).scalar_one()
                for name, personal in PERSONAL_COLUMNS.items()
            }
        return {name: count for name, count in found.items() if count}

    def forget(self, email: str, pseudonym: str) -> dict[str, int]:
        """Put the pseudonym in place of the address, everywhere; return how many rows changed, by table.

        A write of which nobody knows what became of it is given up: the person is gone from Mailchimp.
        """
        key = address_key(email)
        now = self._database.now()
        changed: dict[str, int] = {}
        with self._database.write() as connection:
            connection.execute(
                update(schema.intent)
                .where(schema.intent.c.email == key, schema.intent.c.settled_at.is_(None))
                .values(outcome="held_back", settled_at=now, title="the person was erased")
            )
            _blank_words_about_customers(connection, key)
            for name, personal in PERSONAL_COLUMNS.items():
                count = _forget_in(connection, _table(name), personal, key, pseudonym)
                if count:
                    changed[name] = count
        return changed

    def wipe(self) -> None:
        """Have the database's file hold nothing any more of what was replaced; after ``forget``."""
        self._database.compact()


def _blank_words_about_customers(connection: Connection, key: str) -> None:
    """Empty what Mailchimp said about the person's customers: it quotes addresses."""
    intent, customer = schema.store_intent, schema.store_customer
    theirs = select(customer.c.object_id).where(customer.c.email == key)
    connection.execute(
        update(intent).where(intent.c.kind == "customer", intent.c.object_id.in_(theirs)).values(detail="")
    )


def _forget_in(
    connection: Connection, table: Table, personal: PersonalColumns, key: str, pseudonym: str
) -> int:
    if personal.is_state:
        held = or_(*(table.c[column] == key for column in personal.addresses))
        return connection.execute(delete(table).where(held)).rowcount
    changed = 0
    for column in personal.addresses:
        # Told once more after an earlier erasure, the same event would be there twice.
        for row in _twins(connection, table, table.c[column], key, pseudonym):
            connection.execute(
                update(table)
                .where(table.c.id == row)
                .values({column: f"{pseudonym}#{row}", **personal.about})
            )
            changed += 1
        changed += connection.execute(
            update(table).where(table.c[column] == key).values({column: pseudonym, **personal.about})
        ).rowcount
    return changed


def _twins(
    connection: Connection, table: Table, column: Column[str], key: str, pseudonym: str
) -> Sequence[int]:
    """Rows that would be equal to one that the pseudonym has already, by a unique index of the table."""
    found: set[int] = set()
    for index in table.indexes:
        if not index.unique or column.name not in index.columns:
            continue
        other = table.alias()
        same = and_(
            *(table.c[part.name] == other.c[part.name] for part in index.columns if part.name != column.name)
        )
        query = select(table.c.id).where(
            column == key, exists().where(other.c[column.name] == pseudonym, same)
        )
        found.update(connection.execute(query).scalars())
    return sorted(found)


def _table(name: str) -> Table:
    return schema.metadata.tables[name]


def _tombstone(row: RowMapping) -> Tombstone:
    return Tombstone(
        pseudonym=row["pseudonym"],
        key_id=row["key_id"],
        partner_ids=json.loads(row["partner_ids_json"]),
        reason=row["reason"],
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        completed_at=row["completed_at"],
        report=json.loads(row["report_json"]),
    )
