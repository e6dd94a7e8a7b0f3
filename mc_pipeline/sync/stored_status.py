"""Stores the table ``company_status``, and finds it again.

Not through the I/O manager of the other tables: that one asks the ledger who was erased, and this table is
stored also where the ledger cannot be opened. Its sentences name nobody.
"""

from mc_pipeline.domain.company_status import BROKEN, StatusRow
from mc_pipeline.masking import mask_text
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import storage_folder, stored_table, write_table
from mc_pipeline.vocabulary import Owner


def store_status(company: str, table: Table) -> list[StatusRow]:
    """Store the table; return why that failed as a further row, or nothing."""
    try:
        write_table(
            schemas.COMPANY_STATUS,
            table,
            storage_folder() / schemas.COMPANY_STATUS.name / f"{company}.parquet",
        )
    except Exception as error:
        words = mask_text(str(error)) or type(error).__name__
        return [
            StatusRow(
                kind=BROKEN,
                part="tables",
                place=schemas.COMPANY_STATUS.name,
                code="not_stored",
                sentence=f"The status of the company cannot be stored: {words}",
                what_to_do="Free some space in the tables' folder, and check that it can be written.",
                owner=Owner.DATA_ENGINEERING,
                step=schemas.COMPANY_STATUS.name,
                since=table.observed_at,
                seen_at=table.observed_at,
                new=True,
                of_this_run=True,
            )
        ]
    return []


def stored_status(company: str) -> Table | None:
    """Return the company's table as it was last stored; None when it never was, or is damaged."""
    try:
        return stored_table(schemas.COMPANY_STATUS, company)
    except (ValueError, KeyError, OSError):
        return None
