"""The addresses that partners have and had in Odoo, and what happened to partners that are gone (rule 6.3).

An address is a partner's from the read that first showed it there; that they left it is known from the read
that showed another one, or none. What follows from it for opt-outs is decided in
``domain.consent.held_addresses``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, or_, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import partner_address, partner_gone
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_new, insert_or_replace
from mc_pipeline.masking import mask_email


@dataclass(frozen=True, kw_only=True)
class PartnerAddress:
    """One address of one partner; times are ours, UTC. ``left_at`` None: they have it as far as is known."""

    partner_id: int
    email: str
    first_seen_at: datetime
    left_at: datetime | None = None

    def __repr__(self) -> str:
        return f"PartnerAddress({self.partner_id}, {mask_email(self.email)}, left_at={self.left_at})"


class PartnerAddresses:
    """The addresses of the partners of one Odoo; partners have one id in all its companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def observe(self, present: Mapping[int, str], seen_at: datetime) -> None:
        """Take over the address that each of these partners has now; an empty one: none.

        Nothing is said about partners that are not among them.
        """
        now = {partner: address_key(email) for partner, email in present.items()}
        with self._database.write() as connection:
            query = select(
                partner_address.c.partner_id, partner_address.c.email, partner_address.c.first_seen_at
            ).where(partner_address.c.left_at.is_(None))
            held = {(row.partner_id, row.email): row.first_seen_at for row in connection.execute(query)}
            # Two companies read a shared partner: what the later read showed stays.
            left = [
                key
                for key, since in held.items()
                if key[0] in now and now[key[0]] != key[1] and since <= seen_at
            ]
            new = sorted(
                (partner, email) for partner, email in now.items() if email and (partner, email) not in held
            )
            this_one = and_(
                partner_address.c.partner_id == bindparam("partner"),
                partner_address.c.email == bindparam("address"),
            )
            returned = and_(this_one, partner_address.c.left_at <= seen_at)
            for keys, which, left_at in ((left, this_one, seen_at), (new, returned, None)):
                for chunk in chunks(sorted(keys)):
                    connection.execute(
                        update(partner_address).where(which).values(left_at=left_at),
                        [{"partner": partner, "address": email} for partner, email in chunk],
                    )
            for chunk in chunks(new):
                insert_new(
                    connection,
                    partner_address,
                    [
                        {"partner_id": partner, "email": email, "first_seen_at": seen_at, "left_at": None}
                        for partner, email in chunk
                    ],
                )
            gone = set(connection.execute(select(partner_gone.c.partner_id)).scalars())
            for chunk in chunks(sorted(gone & now.keys())):
                # They were hidden, not gone.
                connection.execute(delete(partner_gone).where(partner_gone.c.partner_id.in_(chunk)))

    def all(self) -> list[PartnerAddress]:
        """Every address that any partner has or had."""
        query = select(partner_address).order_by(partner_address.c.partner_id, partner_address.c.email)
        with self._database.read() as connection:
            return [PartnerAddress(**row) for row in connection.execute(query).mappings()]

    def of(self, emails: Collection[str]) -> list[PartnerAddress]:
        """Who has or had these addresses."""
        found: list[PartnerAddress] = []
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                query = select(partner_address).where(partner_address.c.email.in_(chunk))
                found += [PartnerAddress(**row) for row in connection.execute(query).mappings()]
        return found

    def around(self, emails: Collection[str], partner_ids: Collection[int] = ()) -> list[PartnerAddress]:
        """All addresses of everyone who has or had one of these, or is one of these partners; and who shares
        them.

        Partners that were merged count as the one that they were merged into.
        """
        found: dict[tuple[int, str], PartnerAddress] = {}
        asked_partners: set[int] = set()
        asked_emails: set[str] = set()
        emails_due = {address_key(email) for email in emails if email}
        partners_due = set(partner_ids)
        # The second round finds the other addresses of the partners, the third who shares those.
        for _ in range(3):
            for column, due in (
                (partner_address.c.email, emails_due),
                (partner_address.c.partner_id, partners_due),
            ):
                for chunk in chunks(sorted(due)):
                    with self._database.read() as connection:
                        rows = connection.execute(select(partner_address).where(column.in_(chunk))).mappings()
                        found.update(
                            ((row["partner_id"], row["email"]), PartnerAddress(**row)) for row in rows
                        )
            asked_emails |= emails_due
            asked_partners |= partners_due
            partners_due = self._together({partner for partner, _ in found} | asked_partners) - asked_partners
            emails_due = {email for _, email in found} - asked_emails
            if not partners_due and not emails_due:
                break
        return list(found.values())

    def remember_gone(self, successors: Mapping[int, int | None], found_at: datetime) -> None:
        """Partners that are not in Odoo any more, and the one that each was merged into (None: in no one).

        Only for partners for whose merge was looked: what is not known is asked again. A successor that is
        known stays where a later look finds none. They left their addresses: a partner who takes one up from
        here on is somebody else.
        """
        with self._database.write() as connection:
            known: set[int] = set()
            for partners in chunks(sorted(partner for partner, into in successors.items() if into is None)):
                query = select(partner_gone.c.partner_id).where(
                    partner_gone.c.partner_id.in_(partners), partner_gone.c.successor_id.is_not(None)
                )
                known |= set(connection.execute(query).scalars())
            rows = [
                {"partner_id": partner, "successor_id": successor, "found_at": found_at}
                for partner, successor in sorted(successors.items())
                if partner not in known
            ]
            for chunk in chunks(rows):
                insert_or_replace(connection, partner_gone, chunk)
                gone = partner_address.c.partner_id.in_([row["partner_id"] for row in chunk])
                connection.execute(
                    update(partner_address)
                    .where(gone, partner_address.c.left_at.is_(None))
                    .values(left_at=found_at)
                )

    def successors(self) -> dict[int, int | None]:
        """What is known of partners that are gone: the one that each was merged into; None: not known."""
        query = select(partner_gone.c.partner_id, partner_gone.c.successor_id)
        with self._database.read() as connection:
            return {row.partner_id: row.successor_id for row in connection.execute(query)}

    def _together(self, partners: Collection[int]) -> set[int]:
        """These partners, those merged into them, and those that they were merged into."""
        together, due = set(partners), set(partners)
        while due:
            more: set[int] = set()
            with self._database.read() as connection:
                for chunk in chunks(sorted(due)):
                    query = select(partner_gone.c.partner_id, partner_gone.c.successor_id).where(
                        partner_gone.c.successor_id.is_not(None),
                        or_(partner_gone.c.partner_id.in_(chunk), partner_gone.c.successor_id.in_(chunk)),
                    )
                    for row in connection.execute(query):
                        more |= {row.partner_id, row.successor_id}
            due = more - together
            together |= more
        return together
