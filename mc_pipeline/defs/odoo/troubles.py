"""What the steps that read Odoo report: a read that may not be the whole truth."""

from typing import TYPE_CHECKING

from mc_pipeline.defs.systems import Systems
from mc_pipeline.tables import Table

if TYPE_CHECKING:
    import dagster as dg

    from mc_pipeline.ledger.troubles import Trouble
    from mc_pipeline.settings import CompanySettings


def release_of(company: str, table: str) -> str:
    """The command that releases a read of a table that shrank."""
    return f"mc-pipeline approve --read {company}/{table}"


def report_read(
    context: "dg.AssetExecutionContext",
    systems: Systems,
    company: "CompanySettings",
    name: str,
    *reads: Table,
) -> None:
    """Report what of the reads of a table is in doubt; nothing, when all of them are complete."""
    reasons = dict.fromkeys(read.incomplete_because for read in reads if not read.complete)
    found = [incomplete_read(company.key, name, because) for because in reasons]
    systems.ledger.troubles.report(company.key, name, context.run.run_id, found)


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
            owner="data engineering",
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
            owner="data engineering",
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
        owner="data engineering",
    )
