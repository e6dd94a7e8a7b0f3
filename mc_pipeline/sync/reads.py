"""Judges whether a read of Odoo is whole, remembers it, and reports what may not be the whole truth."""

from typing import TYPE_CHECKING

from mc_pipeline.domain.completeness import shrunk_because
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.ledger.troubles import Trouble
    from mc_pipeline.settings import CompanySettings


def release_of(company: str, table: str) -> str:
    """The command that releases a read of a table that shrank."""
    return f"mc-pipeline approve --read {company}/{table}"


def report_read(systems: Systems, company: "CompanySettings", run_id: str, name: str, *reads: Table) -> None:
    """Report what of the reads of a table is in doubt; nothing, when all of them are complete."""
    reasons = dict.fromkeys(read.incomplete_because for read in reads if not read.complete)
    found = [incomplete_read(company.key, name, because) for because in reasons]
    systems.ledger.troubles.report(company.key, name, run_id, found)


def incomplete_read(company: str, name: str, because: str) -> "Trouble":
    """A read that may not be the whole truth: it waits for a person, or for a later run."""
    from mc_pipeline.ledger.troubles import Trouble, TroubleKind
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


def judge_read(systems: Systems, company: "CompanySettings", name: str, table: Table) -> Table:
    """Mark a table incomplete when it shrank too much since its last complete read; remember this read."""
    shrunk = shrunk_since(systems, company, name, len(table.rows))
    if table.complete and shrunk:
        table = Table(table.rows, table.observed_at, complete=False, incomplete_because=shrunk)
    systems.ledger.reads.record_observation(
        company.key, name, table.observed_at, len(table.rows), table.complete, table.incomplete_because
    )
    return table


def shrunk_since(systems: Systems, company: "CompanySettings", name: str, rows: int) -> str:
    """Say that a table of so many rows shrank too much since its last complete read; empty: it did not."""
    last = systems.ledger.reads.last_complete(company.key, name)
    shrunk = shrunk_because(rows, last.rows if last else None)
    return f"{name}: {shrunk} ({release_of(company.key, name)})" if shrunk else ""
