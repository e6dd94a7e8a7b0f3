"""Who was erased, and the removal of their identity from everything that the ledger keeps (RULES 10.1).

A tombstone holds a pseudonym in place of the address: it is what stops a person from coming back by the next
read. History stays, under the pseudonym, so that counts and outcomes remain true.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    true,
    update,
)

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger import schema
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import LedgerError
from mc_pipeline.ledger.schema import erasure, rename
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_new, insert_or_replace
from mc_pipeline.ledger.tombstones import Tombstone, TombstoneFile
from mc_pipeline.vocabulary import OutcomeKind

__all__ = ["PERSONAL_COLUMNS", "Erasures", "PersonalColumns", "Tombstone"]

_ALL: ColumnElement[bool] = true()

OF_PARTNERS = (schema.company_record,)
"""Tables that hold partners by their id alone; the rows of somebody erased are deleted."""


@dataclass(frozen=True)
class PersonalColumns:
    """Where a table of the ledger holds who somebody is.

    ``addresses`` name the person: they become the pseudonym. ``about`` is what else may show who it was, and
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
    # Moved to the pseudonym: what Odoo said of the person is known when it says the same again.
    "ledger_standing_opt_out": PersonalColumns(("email",), {"because": ""}),
    "ledger_unsubscribe_due": PersonalColumns(("email",), {}, is_state=True),
    "ledger_used_evidence": PersonalColumns(("email",), {}, is_state=True),
    "ledger_partner_address": PersonalColumns(("email",), {}, is_state=True),
    "ledger_webhook_delivery": PersonalColumns(("email", "new_email"), {}, is_state=True),
    # The row stays: it is what takes the customer, who is due no more, out of the store.
    "ledger_store_customer": PersonalColumns(("email",), {"refused_digest": None, "refused_detail": None}),
}
"""By name of the table; a test holds that no table with an address is missing."""

_STILL_OPEN: Mapping[str, ColumnElement[bool]] = {
    "ledger_intent": schema.intent.c.settled_at.is_(None),
    "ledger_odoo_opt_out": schema.odoo_opt_out.c.settled_at.is_(None),
    "ledger_due_in_odoo": schema.due_in_odoo.c.state != "conflict",
    "ledger_unsubscribe_due": true(),
    "ledger_webhook_delivery": schema.webhook_delivery.c.processed_at.is_(None),
}
"""What still has to be applied, by name of the table: it needs the address. A conflict is for a person to
decide, and nobody is asked to decide about somebody who was erased."""

_NEEDED_WHILE_OPEN = frozenset({"ledger_standing_opt_out"})

_RESTORED = "restored"
"""In the report of a tombstone: the ledger was replaced by a copy from before the erasure."""


class Erasures:
    """The tombstones, and the erasing."""

    def __init__(self, database: Database, beside: TombstoneFile | None = None) -> None:
        self._database = database
        self._beside = beside

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
            asked = {
                "partner_ids_json": canonical_json(
                    sorted({*partner_ids, *(json.loads(known) if known else ())})
                ),
                "reason": reason.strip(),
                "requested_by": by.strip(),
                # Of a second request as well: consent given between the two counts for nothing either.
                "requested_at": self._database.now(),
                "completed_at": None,
            }
            if known is not None:
                connection.execute(update(erasure).where(erasure.c.pseudonym == pseudonym).values(asked))
            else:
                row = {"pseudonym": pseudonym, "key_id": key_id, "report_json": "{}", **asked}
                insert_new(connection, erasure, [row])
        self._keep_beside()

    def complete(self, pseudonym: str, report: Mapping[str, Any]) -> None:
        """Remember that everything is done, and what it was."""
        with self._database.write() as connection:
            connection.execute(
                update(erasure)
                .where(erasure.c.pseudonym == pseudonym)
                .values(completed_at=self._database.now(), report_json=canonical_json(report))
            )
        self._keep_beside()

    def tombstones(self) -> list[Tombstone]:
        """Everybody who was erased, in order."""
        with self._database.read() as connection:
            return _tombstones(connection)

    def version(self) -> tuple[int, datetime | None]:
        """Changes whenever somebody is erased: a cheap question whether ``tombstones`` are still the same."""
        query = select(func.count(), func.max(erasure.c.requested_at))
        with self._database.read() as connection:
            count, latest = connection.execute(query).one()
        return int(count), latest

    def is_any_due(self, since: datetime) -> bool:
        """Whether ``forget_again`` may find something of people whose erasure was completed since a moment.

        Or that an older copy of the ledger brought back, whenever they were erased.
        """
        brought_back = erasure.c.report_json.contains(f'"{_RESTORED}":true')
        recent = or_(erasure.c.completed_at >= since, brought_back)
        with self._database.read() as connection:
            return connection.execute(select(erasure.c.pseudonym).where(recent).limit(1)).first() is not None

    def merge_beside(self) -> None:
        """Take over what the file beside the ledger knows and the ledger does not, and the other way round.

        So the tombstones survive when an older copy of the ledger is restored, and the file is rebuilt when
        it is lost. What such a copy holds of these people is forgotten by the next run (``forget_again``):
        until then their erasure is not complete. Raises ``LedgerError`` when the file is damaged.
        """
        if self._beside is None:
            return
        kept = {each.pseudonym: each for each in self._beside.read()}
        with self._database.read() as connection:
            here = {each.pseudonym: each for each in _tombstones(connection)}
        together = {name: _together(kept.get(name), here.get(name)) for name in kept.keys() | here.keys()}
        news = {
            name: replace(each, completed_at=None, report={**each.report, _RESTORED: True})
            for name, each in together.items()
            if each != here.get(name)
        }
        if news:
            with self._database.write() as connection:
                insert_or_replace(connection, erasure, [_row(each) for each in news.values()])
        if together != kept or news:
            self._keep_beside()

    def _keep_beside(self) -> None:
        if self._beside is not None:
            self._beside.write(self.tombstones())

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
            partners = _partners_at(connection, key)
            for table in OF_PARTNERS:
                held = table.c.partner_id.in_(sorted(partners))
                found[table.name] = connection.execute(
                    select(func.count()).select_from(table).where(held)
                ).scalar_one()
        return {name: count for name, count in found.items() if count}

    def forget(self, email: str, pseudonym: str) -> dict[str, int]:
        """Put the pseudonym in place of the address, everywhere; return how many rows changed, by table.

        A write with an unknown outcome is given up: the person is gone from Mailchimp.
        """
        key = address_key(email)
        now = self._database.now()
        changed: dict[str, int] = {}
        with self._database.write() as connection:
            connection.execute(
                update(schema.intent)
                .where(schema.intent.c.email == key, schema.intent.c.settled_at.is_(None))
                .values(outcome=OutcomeKind.HELD_BACK, settled_at=now, title="the person was erased")
            )
            _blank_words_about_customers(connection, key)
            partners = _partners_at(connection, key) | _partners_of(connection, pseudonym)
            for table in OF_PARTNERS:
                count = _forget_partners(connection, table, partners)
                if count:
                    changed[table.name] = count
            for name, personal in PERSONAL_COLUMNS.items():
                count = _forget_in(connection, _table(name), personal, key, pseudonym)
                if count:
                    changed[name] = count
        return changed

    def forget_again(self, pseudonym_of: Callable[[str], str | None]) -> int:
        """Forget what was recorded about erased people after their erasure; return how many people.

        ``pseudonym_of`` knows the erased: their pseudonym, None for everybody else. What has to be applied
        yet (an opt-out in either direction) keeps the address until that is done, and nothing else does.

        Whose erasure is not complete is left to it: until its end it needs what the ledger knows of them.
        """
        found = 0
        complete = {
            each.pseudonym
            for each in self.tombstones()
            if each.completed_at is not None or each.report.get(_RESTORED)
        }
        for email in self._addresses() if complete else ():
            pseudonym = pseudonym_of(email)
            if pseudonym is not None and pseudonym in complete:
                found += self.forget_what_is_done(email, pseudonym)
        found += self._forget_partners_again(complete)
        if found:
            self._database.tidy()
        for tombstone in self.tombstones():
            if tombstone.completed_at is None and tombstone.report.get(_RESTORED):
                report = {name: each for name, each in tombstone.report.items() if name != _RESTORED}
                self.complete(tombstone.pseudonym, report)
        return found

    def forget_what_is_done(self, email: str, pseudonym: str) -> bool:
        """Forget an address except for what still has to be applied; return whether there was anything."""
        key = address_key(email)
        changed = 0
        with self._database.write() as connection:
            open_in = {
                name
                for name, is_open in _STILL_OPEN.items()
                if _is_there(connection, _table(name), PERSONAL_COLUMNS[name], key, is_open)
            }
            _blank_words_about_customers(connection, key)
            partners = _partners_at(connection, key) | _partners_of(connection, pseudonym)
            changed += sum(_forget_partners(connection, table, partners) for table in OF_PARTNERS)
            for name, personal in PERSONAL_COLUMNS.items():
                if open_in and name in _NEEDED_WHILE_OPEN:
                    continue
                these = not_(_STILL_OPEN[name]) if name in open_in else true()
                changed += _forget_in(connection, _table(name), personal, key, pseudonym, these)
        return changed > 0

    def _forget_partners_again(self, pseudonyms: Collection[str]) -> int:
        """Forget what was recorded by the ids of these people's partners; return of how many people."""
        found = 0
        with self._database.write() as connection:
            for pseudonym in sorted(pseudonyms):
                partners = _partners_of(connection, pseudonym)
                rows = sum(_forget_partners(connection, table, partners) for table in OF_PARTNERS)
                found += rows > 0
        return found

    def wipe(self) -> None:
        """Have the database's file hold nothing any more of what was replaced; after ``forget``."""
        self._database.compact()

    def _addresses(self) -> list[str]:
        """Every address that a table names; pseudonyms are none."""
        found: set[str] = set()
        with self._database.read() as connection:
            for name, personal in PERSONAL_COLUMNS.items():
                for column in (_table(name).c[each] for each in personal.addresses):
                    query = select(column).where(column.contains("@")).distinct()
                    found.update(connection.execute(query).scalars())
        return sorted(found)


def _blank_words_about_customers(connection: Connection, key: str) -> None:
    """Empty what Mailchimp said about the person's customers: it quotes addresses."""
    intent, customer = schema.store_intent, schema.store_customer
    theirs = select(customer.c.object_id).where(customer.c.email == key)
    connection.execute(
        update(intent).where(intent.c.kind == "customer", intent.c.object_id.in_(theirs)).values(detail="")
    )


def _partners_at(connection: Connection, key: str) -> set[int]:
    """The partners who have an address, or had it until they were gone from Odoo."""
    address, gone = schema.partner_address, schema.partner_gone
    is_gone = address.c.partner_id.in_(select(gone.c.partner_id))
    query = select(address.c.partner_id).where(
        address.c.email == key, or_(address.c.left_at.is_(None), is_gone)
    )
    return set(connection.execute(query).scalars())


def _partners_of(connection: Connection, pseudonym: str) -> set[int]:
    """The partners that a tombstone names."""
    query = select(erasure.c.partner_ids_json).where(erasure.c.pseudonym == pseudonym)
    partner_ids = connection.execute(query).scalar()
    return set(json.loads(partner_ids)) if partner_ids else set()


def _forget_partners(connection: Connection, table: Table, partners: Collection[int]) -> int:
    return sum(
        connection.execute(delete(table).where(table.c.partner_id.in_(chunk))).rowcount
        for chunk in chunks(sorted(partners))
    )


def _is_there(
    connection: Connection, table: Table, personal: PersonalColumns, key: str, these: ColumnElement[bool]
) -> bool:
    held = or_(*(table.c[column] == key for column in personal.addresses))
    return connection.execute(select(table.c[personal.addresses[0]]).where(held, these)).first() is not None


def _forget_in(
    connection: Connection,
    table: Table,
    personal: PersonalColumns,
    key: str,
    pseudonym: str,
    these: ColumnElement[bool] = _ALL,
) -> int:
    held = or_(*(table.c[column] == key for column in personal.addresses))
    if personal.is_state:
        return connection.execute(delete(table).where(held, these)).rowcount
    if table is schema.standing_opt_out:
        return _move_standing(connection, key, pseudonym)
    changed = 0
    for column in personal.addresses:
        # Reported once more after an earlier erasure, the same event would be there twice.
        for row in _twins(connection, table, table.c[column], key, pseudonym):
            connection.execute(
                update(table)
                .where(table.c.id == row, these)
                .values({column: f"{pseudonym}#{row}", **personal.about})
            )
            changed += 1
        changed += connection.execute(
            update(table).where(table.c[column] == key, these).values({column: pseudonym, **personal.about})
        ).rowcount
    return changed


def _move_standing(connection: Connection, key: str, pseudonym: str) -> int:
    """Put what Odoo says of the person under the pseudonym, in place of what stood there before."""
    table = schema.standing_opt_out
    rows = [dict(row) for row in connection.execute(select(table).where(table.c.email == key)).mappings()]
    insert_or_replace(connection, table, [{**row, "email": pseudonym, "because": ""} for row in rows])
    connection.execute(delete(table).where(table.c.email == key))
    return len(rows)


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


def _tombstones(connection: Connection) -> list[Tombstone]:
    rows = connection.execute(select(erasure).order_by(erasure.c.requested_at, erasure.c.pseudonym))
    return [_tombstone(row) for row in rows.mappings()]


def _together(kept: Tombstone | None, here: Tombstone | None) -> Tombstone:
    """One tombstone of two that are about the same person: the later request, and all partners of both."""
    if kept is None or here is None:
        found = kept or here
        assert found is not None
        return found
    later = max(kept, here, key=lambda each: (each.requested_at, each.completed_at is not None))
    return replace(later, partner_ids=sorted({*kept.partner_ids, *here.partner_ids}))


def _row(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "pseudonym": tombstone.pseudonym,
        "key_id": tombstone.key_id,
        "partner_ids_json": canonical_json(tombstone.partner_ids),
        "reason": tombstone.reason,
        "requested_by": tombstone.requested_by,
        "requested_at": tombstone.requested_at,
        "completed_at": tombstone.completed_at,
        "report_json": canonical_json(tombstone.report),
    }


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
