"""The asset ``company_status``, the last step of every run of a company.

It alone makes a run fail for the trouble of a part: steps that others depend on report it and continue.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.jobs import SYNC_COMPANY
from mc_pipeline.defs.partitions import COMPANY_STATUS
from mc_pipeline.defs.presentation import column_schema, records_table, table_metadata, unless_empty
from mc_pipeline.defs.status.run_events import events_of
from mc_pipeline.domain.company_status import KINDS, StatusRow, failure_sentences, first_line
from mc_pipeline.sync.company_status import JOB, RUN_ID, SYNCED_AT, as_table, find_status
from mc_pipeline.sync.stored_status import store_status, stored_status
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.vocabulary import Owner

LAST = {"dagster/priority": "-100"}
"""Nothing else of a run can run any more: also after steps that failed, and those held up by them."""

_LAST_WRITTEN = "order_push"
"""A run without it stopped before, as one up to the plan does."""

_SHOWN = ("kind", "sentence", "what_to_do", "owner", "place", "step", "since", "new")


def status_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the asset, partitioned by company."""

    @dg.asset(
        name=COMPANY_STATUS,
        partitions_def=companies,
        group_name="status",
        kinds={"parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        op_tags=LAST,
        description=(
            "The state of the company after the run: one row for each thing that is broken, waits for a "
            "person, or was not checked, with what to do about it. Every run makes this table last, even "
            "if steps failed. The run fails if a row is broken."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.COMPANY_STATUS)},
    )
    @shows_failures
    def company_status(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.MaterializeResult[Table]]:
        company = context.partition_key
        now = systems.now()
        events = events_of(context.instance, context.run.run_id, context.job_def)
        rows = find_status(company, context.run.run_id, events, lambda: systems.ledger, now)
        table = as_table(rows, now, _facts_of(context.run, company, now))
        not_stored = store_status(company, table)
        rows += not_stored
        line = first_line(company, rows, _by_the_clock_of(systems, company, now))
        context.log.info(line)
        yield dg.MaterializeResult(
            metadata={
                "status": line,
                **table_metadata(table),
                **{kind: sum(row.kind == kind for row in rows) for kind in _kinds()},
                **unless_empty(open=_open_table(rows)),
            }
        )
        if broken := failure_sentences(rows):
            raise dg.Failure("\n".join([line, *broken]), allow_retries=False)

    return [company_status]


def _kinds() -> Sequence[str]:
    return KINDS


def _open_table(rows: Sequence[StatusRow]) -> dg.MetadataValue:
    import pandas as pd

    shown = [
        {**{name: getattr(row, name) for name in _SHOWN}, "sentence": row.sentence_with_age} for row in rows
    ]
    return records_table(pd.DataFrame(shown, columns=list(_SHOWN), dtype=object))


def _by_the_clock_of(systems: Systems, company: str, moment: datetime) -> str:
    settings = systems.settings.companies.get(company)
    return f"{moment.astimezone(ZoneInfo(settings.timezone)) if settings else moment:%H:%M}"


def _facts_of(run: dg.DagsterRun, company: str, now: datetime) -> Mapping[str, str]:
    """Say by which run the table is made, and when everything of the company was last looked at."""
    before = stored_status(company)
    chosen = run.asset_selection
    is_whole = run.job_name == SYNC_COMPANY and (not chosen or dg.AssetKey(_LAST_WRITTEN) in chosen)
    synced_at = now.isoformat() if is_whole else before.facts.get(SYNCED_AT, "") if before else ""
    return {RUN_ID: run.run_id, JOB: run.job_name, SYNCED_AT: synced_at}
