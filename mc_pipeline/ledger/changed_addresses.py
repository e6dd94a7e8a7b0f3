"""Members who changed their address in Mailchimp, while Odoo has the former one (RULES 6.6).

Mailchimp keeps a ``contact_id`` over a change of address. A contact that is read under another address than
we know was changed by its owner, or by an administrator; our own renames move the record when they settle.
The record of the member moves to the present address with all that is known, and an opt-out follows the
person both ways: to the address in Mailchimp, and to the one that Odoo still has.

A change is open until Odoo has another address for the person. A person who has the former address by then is
somebody else; so is one who has it in the audience, and neither's opt-outs are the other's.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, tuple_, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import member, rename
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.masking import mask_email

# Mailchimp's clock and ours may differ by this much.
CLOCKS_DIFFER = timedelta(minutes=2)

Key = tuple[str, str]  # (list_id, address)


@dataclass(frozen=True, kw_only=True)
class ChangedAddress:
    """A change that a member made in Mailchimp.

    former      the address that Odoo has, as far as we know
    email       the member's present one, after later changes too
    partner_id  whose it is; None: nobody was known, so it is the partner that has ``former`` in Odoo
    changed_at  when (UTC); of a change found by reading, the latest moment at which it may have happened
    """

    id: int
    company: str
    list_id: str
    former: str
    email: str
    contact_id: str
    partner_id: int | None
    changed_at: datetime

    def __repr__(self) -> str:
        return f"ChangedAddress({self.id}, {mask_email(self.former)!r} → {mask_email(self.email)!r})"


class ChangedAddresses:
    """The open changes of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, company: str) -> list[ChangedAddress]:
        """The open changes of a company, oldest first."""
        with self._database.read() as connection:
            return open_changes(connection, rename.c.company == company)

    def open_everywhere(self) -> list[ChangedAddress]:
        """The open changes of all companies."""
        with self._database.read() as connection:
            return open_changes(connection)

    def ever_of(self, partner_ids: Collection[int]) -> list[ChangedAddress]:
        """The changes of these partners in all companies, those that ended too."""
        found: list[ChangedAddress] = []
        with self._database.read() as connection:
            for chunk in chunks(sorted(set(partner_ids))):
                found += _changes(connection, rename.c.partner_id.in_(chunk))
        return found

    def left_behind(self, list_id: str, emails: Collection[str]) -> set[str]:
        """Which of these addresses a member of the audience had before they changed it."""
        wanted = {address_key(email) for email in emails}
        with self._database.read() as connection:
            found = open_changes(connection, rename.c.list_id == list_id)
        return {change.former for change in found} & wanted

    def learn_partners(self, partner_of: Mapping[int, int]) -> None:
        """Remember whose changes these are, by id; nothing is said of people who were erased meanwhile."""
        with self._database.write() as connection:
            for number, partner_id in sorted(partner_of.items()):
                connection.execute(
                    update(rename)
                    .where(rename.c.id == number, rename.c.contact_id.is_not(None))
                    .values(partner_id=partner_id)
                )

    def end(self, ids: Collection[int]) -> None:
        """Odoo has another address for these people: the owner of the former one is somebody else."""
        with self._database.write() as connection:
            _end(connection, rename.c.id.in_(sorted(ids)), self._database.now())

    def learn_contact(self, list_id: str, email: str, contact_id: str) -> None:
        """A webhook reported that the contact had this address, and the record does not name one yet."""
        this_one = and_(member.c.list_id == list_id, member.c.email == address_key(email))
        with self._database.write() as connection:
            connection.execute(
                update(member).where(this_one, member.c.contact_id.is_(None)).values(contact_id=contact_id)
            )


def open_changes(connection: Connection, *these: ColumnElement[bool]) -> list[ChangedAddress]:
    """Open changes, inside a transaction of another module."""
    return _changes(connection, rename.c.ended_at.is_(None), *these)


def _changes(connection: Connection, *these: ColumnElement[bool]) -> list[ChangedAddress]:
    query = (
        select(rename, member.c.email.label("present"))
        .select_from(
            rename.outerjoin(
                member,
                and_(member.c.list_id == rename.c.list_id, member.c.contact_id == rename.c.contact_id),
            )
        )
        .where(
            rename.c.intent_id.is_(None),
            # If a change was reported, and nobody has seen its contact, only the history shows it.
            rename.c.contact_id.is_not(None),
            *these,
        )
        .order_by(rename.c.id)
    )
    found: dict[int, ChangedAddress] = {}
    for row in connection.execute(query).mappings():
        email = row["present"] or row["new_email"]
        if email != row["old_email"]:
            found[row["id"]] = ChangedAddress(
                id=row["id"],
                company=row["company"],
                list_id=row["list_id"],
                former=row["old_email"],
                email=email,
                contact_id=row["contact_id"],
                partner_id=row["partner_id"],
                changed_at=row["renamed_at"],
            )
    return list(found.values())


def record_change(
    connection: Connection,
    company: str,
    list_id: str,
    old: str,
    new: str,
    at: datetime,
    *,
    contact_id: str | None = None,
    partner_id: int | None = None,
) -> bool:
    """Remember a change made in Mailchimp; reported again, or found as well, it is one. Whether it was
    new."""
    same = (
        rename.c.company == company,
        rename.c.list_id == list_id,
        rename.c.old_email == old,
        rename.c.new_email == new,
        rename.c.renamed_at >= at - CLOCKS_DIFFER,
    )
    known = connection.execute(select(rename.c.id, rename.c.contact_id).where(*same)).first()
    if known is not None and (known.contact_id or not contact_id):
        return False
    if contact_id:
        # Back at an address that they had: Odoo, which has it still, is right again.
        back = (rename.c.list_id == list_id, rename.c.contact_id == contact_id, rename.c.old_email == new)
        _end(connection, and_(*back), at)
    whose = {"contact_id": contact_id, "partner_id": partner_id}
    if known is not None:
        connection.execute(update(rename).where(rename.c.id == known.id).values(whose))
        return True
    connection.execute(
        insert(rename).values(
            company=company, list_id=list_id, old_email=old, new_email=new, renamed_at=at, **whose
        )
    )
    return True


def _end(connection: Connection, these: ColumnElement[bool], at: datetime) -> None:
    connection.execute(
        update(rename)
        .where(these, rename.c.intent_id.is_(None), rename.c.ended_at.is_(None))
        .values(ended_at=at)
    )


def present_addresses(connection: Connection, company: str, emails: Iterable[str]) -> dict[str, set[str]]:
    """By address that Odoo has, of these: the addresses that its owners have in Mailchimp now."""
    wanted = {address_key(email) for email in emails}
    found: dict[str, set[str]] = {}
    for change in open_changes(connection, rename.c.company == company):
        if change.former in wanted:
            found.setdefault(change.former, set()).add(change.email)
    return found


def is_anybodys(connection: Connection, changes: Collection[ChangedAddress]) -> set[int]:
    """Of which of these changes, by id, another member has the former address in the audience.

    What is left of the person's own record is none, nor one whom the last complete read did not find.
    """
    there: dict[Key, str | None] = {}
    for chunk in chunks(sorted({(change.list_id, change.former) for change in changes})):
        query = select(member.c.list_id, member.c.email, member.c.contact_id).where(
            tuple_(member.c.list_id, member.c.email).in_(chunk),
            or_(member.c.last_status.is_not(None), member.c.created_by_us),
            member.c.absent_reads == 0,
            ~member.c.vanished,
        )
        there.update(((row.list_id, row.email), row.contact_id) for row in connection.execute(query))
    return {
        change.id
        for change in changes
        if (place := (change.list_id, change.former)) in there and there[place] != change.contact_id
    }
