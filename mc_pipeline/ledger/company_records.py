"""Who was a company in Odoo, and whose commercial partner, when Odoo last had company types (rule 3.1).

What follows from it in an Odoo without them is decided in ``domain.contacts.company_records``. Partners have
one id in all companies of a database, and what Odoo says of one is the same whichever company's run reads it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import func, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import company_record
from mc_pipeline.ledger.statements import chunks, insert_or_replace


@dataclass(frozen=True, slots=True)
class RememberedPartner:
    """A partner as last read from an Odoo with company types.

    ``tax_id_mark``: by which a change of its tax id is seen, "" for none. ``company_name``: typed on the
    contact itself, "" for none.
    """

    is_company: bool
    commercial_partner_id: int
    parent_id: int | None
    tax_id_mark: str
    company_name: str = ""

    def __repr__(self) -> str:
        return (
            f"RememberedPartner(is_company={self.is_company}, "
            f"commercial_partner_id={self.commercial_partner_id}, parent_id={self.parent_id})"
        )


class CompanyRecords:
    """The memory of partners, by database of Odoo (``odoo`` is its mark)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, odoo: str, partners: Mapping[int, RememberedPartner], seen_at: datetime) -> int:
        """Take over what a read showed; return how many partners are new or were other.

        What a later read showed of a partner stays.
        """
        query = select(company_record).where(company_record.c.odoo == odoo)
        with self._database.read() as connection:
            known = {row["partner_id"]: row for row in connection.execute(query).mappings()}
        rows = [
            {"odoo": odoo, "partner_id": partner, **values, "seen_at": seen_at}
            for partner, values in ((each, asdict(partners[each])) for each in sorted(partners))
            if partner not in known or any(known[partner][name] != value for name, value in values.items())
        ]
        if rows:
            with self._database.write() as connection:
                for chunk in chunks(rows):
                    insert_or_replace(connection, company_record, chunk, unless_later="seen_at")
        return len(rows)

    def of(self, odoo: str) -> dict[int, RememberedPartner]:
        """What is remembered of the partners of one database, by id."""
        query = select(company_record).where(company_record.c.odoo == odoo)
        with self._database.read() as connection:
            return {
                row.partner_id: RememberedPartner(
                    row.is_company,
                    row.commercial_partner_id,
                    row.parent_id,
                    row.tax_id_mark,
                    row.company_name,
                )
                for row in connection.execute(query)
            }

    def count(self, odoo: str) -> int:
        """How many partners of one database are remembered."""
        query = select(func.count()).where(company_record.c.odoo == odoo)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())
