"""Turns the runner's results into what Dagster shows people: a sentence, what to do, and who is concerned."""

from collections.abc import Callable

import dagster as dg

from mc_pipeline.quality.runner import ExpectationResult

SHOWN_OFFENDERS = 100
"""Rows listed with a check: enough to work on, few enough for the event log."""

OFFENDER_COLUMNS = [
    dg.TableColumn("id", "int", description="id in Odoo"),
    dg.TableColumn("email", "string", description="address, masked"),
]


def check_result(
    result: ExpectationResult,
    asset: str,
    masked_email: Callable[[int], str],
    link: Callable[[int], str],
) -> dg.AssetCheckResult:
    """Make the check result of one expectation.

    ``masked_email`` and ``link`` say how an offender (by id) is shown; the caller keeps personal data out.
    """
    expectation = result.expectation
    severity = (
        dg.AssetCheckSeverity.ERROR if expectation.severity == "critical" else dg.AssetCheckSeverity.WARN
    )
    if result.could_not_run:
        description = f"Could not be checked: {result.could_not_run}."
        return dg.AssetCheckResult(
            check_name=expectation.name,
            asset_key=asset,
            passed=False,
            severity=severity,
            description=description,
        )
    count = len(result.offenders)
    description = (
        f"{expectation.description} {result.checked:,} rows checked."
        if result.passed
        else f"{count:,} of {result.checked:,} rows fail. {expectation.what_to_do}"
    )
    metadata: dict[str, dg.MetadataValue] = {
        "owner": dg.MetadataValue.text(str(expectation.owner)),
        "checked": dg.MetadataValue.int(result.checked),
        "offenders": dg.MetadataValue.int(count),
    }
    if count:
        shown = result.offenders[:SHOWN_OFFENDERS]
        metadata["who"] = dg.MetadataValue.table(
            records=[dg.TableRecord({"id": identity, "email": masked_email(identity)}) for identity in shown],
            schema=dg.TableSchema(columns=OFFENDER_COLUMNS),
        )
        # Links in a table cannot be clicked.
        metadata["who_in_odoo"] = dg.MetadataValue.md(
            "\n".join(f"- [{identity}]({link(identity)}) `{masked_email(identity)}`" for identity in shown)
        )
    return dg.AssetCheckResult(
        check_name=expectation.name,
        asset_key=asset,
        passed=result.passed,
        severity=severity,
        description=description,
        metadata=metadata,
    )
