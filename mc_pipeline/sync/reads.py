"""Reads tables of Odoo, judges whether a read is whole, and reports what may not be the whole truth."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mc_pipeline.domain.completeness import shrunk_because
from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.snapshots import StoredSnapshots
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, TableColumns, schemas
from mc_pipeline.tables.elsewhere import customers_elsewhere_in
from mc_pipeline.tables.parquet import stored_table
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.odoo.changes import Reading
    from mc_pipeline.odoo.reading import OdooRead


def release_of(company: str, table: str) -> str:
    """The command that releases a read of a table that shrank."""
    return f"mc-pipeline approve --read {company}/{table}"


def report_read(systems: Systems, company: CompanySettings, run_id: str, name: str, *reads: Table) -> None:
    """Report what of the reads of a table is in doubt; nothing, when all of them are complete."""
    reasons = dict.fromkeys(read.incomplete_because for read in reads if not read.complete)
    found = [incomplete_read(company.key, name, because) for because in reasons]
    systems.ledger.troubles.report(company.key, name, run_id, found)


def incomplete_read(company: str, name: str, because: str) -> Trouble:
    """A read that may not be the whole truth: it waits for a person, or for a later run."""
    from mc_pipeline.odoo.reading import is_right_missing

    released_by = release_of(company, name)
    if released_by in because:
        return Trouble(
            kind=TroubleKind.WAITS,
            part="table",
            place=name,
            code="shrunk",
            sentence=because,
            what_to_do=(
                "Until then nobody is archived, removed or merged because of it. Find out what was "
                f"deleted; if that is intended, approve it: {released_by}"
            ),
            owner=Owner.DATA_ENGINEERING,
        )
    if is_right_missing(because):
        return Trouble(
            kind=TroubleKind.BROKEN,
            part="table",
            place=name,
            code="right_missing",
            sentence=f"{name} is not complete: {because}",
            what_to_do=(
                "Give the Odoo user that right. Until then nobody is archived, removed or merged because "
                f"of it; mc-pipeline doctor {company} confirms it"
            ),
            owner=Owner.DATA_ENGINEERING,
        )
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="table",
        place=name,
        code="incomplete",
        sentence=f"{name} is not complete: {because}",
        what_to_do=(
            "Until it is, nobody is archived, removed or merged because of it; the next run reads it "
            f"again. If it fails again: mc-pipeline doctor {company}"
        ),
        owner=Owner.DATA_ENGINEERING,
    )


def judge_read(systems: Systems, company: CompanySettings, name: str, table: Table) -> Table:
    """Mark a table incomplete when it shrank too much since its last complete read; remember this read."""
    shrunk = shrunk_since(systems, company, name, len(table.rows))
    if table.complete and shrunk:
        table = Table(table.rows, table.observed_at, complete=False, incomplete_because=shrunk)
    systems.ledger.reads.record_observation(
        company.key, name, table.observed_at, len(table.rows), table.complete, table.incomplete_because
    )
    return table


def shrunk_since(systems: Systems, company: CompanySettings, name: str, rows: int) -> str:
    """Say that a table of so many rows shrank too much since its last complete read; empty: it did not."""
    last = systems.ledger.reads.last_complete(company.key, name)
    shrunk = shrunk_because(rows, last.rows if last else None)
    return f"{name}: {shrunk} ({release_of(company.key, name)})" if shrunk else ""


def table_of(answer: "OdooRead") -> Table:
    """Make a table of what Odoo answered."""
    return Table(answer.rows, answer.observed_at, answer.complete, answer.incomplete_because)


def observe_table(
    systems: Systems, company: CompanySettings, columns: TableColumns, read: Callable[[], "OdooRead"]
) -> Table:
    """Read one table, without people who were erased, and judge with the ledger's memory if it is whole."""
    answer = table_of(read())
    return judge_read(systems, company, columns.name, systems.erased.left_out_of(columns.name, answer))


def remember(systems: Systems, stored: StoredSnapshots, reading: "Reading", table: Table) -> None:
    """Keep a complete read for the next run to build upon; after an incomplete one, that reads whole."""
    if table.complete:
        stored.keep(reading, systems)
    else:
        stored.drop()


def find_customers_elsewhere(systems: Systems, company: CompanySettings) -> tuple[dict[int, str], str]:
    """Customers of the company's orders who belong to another company, and a note of the read.

    Where Odoo cannot be asked, they are those of the last table, and the note says so; empty otherwise.
    """
    from mc_pipeline.odoo.partners_elsewhere import customers_elsewhere

    note = ""
    try:
        found = customers_elsewhere(systems.odoo(company), company.odoo_company_id)
    except OdooError as error:
        last = stored_table(schemas.ODOO_PARTNERS, company.key, names=["partner_id"])
        found = {} if last is None else customers_elsewhere_in(last)
        as_of = (
            "" if last is None else f"; the {len(found)} of {last.observed_at:%Y-%m-%d %H:%M} UTC are used"
        )
        note = f"customers who belong to other companies could not be asked for: {error.message}{as_of}"
    erased = systems.erased.partner_ids
    return {partner: name for partner, name in found.items() if partner not in erased}, note
