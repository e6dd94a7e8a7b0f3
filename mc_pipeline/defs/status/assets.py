"""The asset ``company_status``, the last step of every run of a company.

It alone makes a run fail for the trouble of a part: steps that others depend on report it and continue.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg

from mc_pipeline.defs.odoo.assets import DATA_ENGINEERS
from mc_pipeline.defs.partitions import COMPANY_STATUS
from mc_pipeline.defs.presentation import column_schema, records_table, table_metadata, unless_empty
from mc_pipeline.defs.systems import Systems
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    from mc_pipeline.domain.company_status import StatusRow

LAST = {"dagster/priority": "-100"}
"""Nothing else of a run can run any more: also after steps that failed, and those held up by them."""

_SHOWN = ("kind", "sentence", "what_to_do", "owner", "place", "step", "since", "new")


def status_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the asset, partitioned by company."""

    @dg.asset(
        name=COMPANY_STATUS,
        partitions_def=companies,
        group_name="status",
        kinds={"parquet"},
        owners=[DATA_ENGINEERS],
        op_tags=LAST,
        description=(
            "The state of the company after the run: one row for each thing that is broken, waits for a "
            "person, or was not checked, with what to do about it. Every run makes this table last, even "
            "if steps failed. The run fails if a row is broken."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.COMPANY_STATUS)},
    )
    def company_status(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.MaterializeResult[Table]]:
        from mc_pipeline.defs.status.reading import as_table, find_status
        from mc_pipeline.defs.status.run_events import events_of
        from mc_pipeline.defs.status.storing import facts_of, store_status
        from mc_pipeline.domain.company_status import failure_sentences, first_line

        company = context.partition_key
        now = systems.now()
        events = events_of(context.instance, context.run.run_id, context.job_def)
        rows = find_status(company, context.run.run_id, events, lambda: systems.ledger, now)
        table = as_table(rows, now, facts_of(context.run, company, now))
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
    from mc_pipeline.domain.company_status import KINDS

    return KINDS


def _open_table(rows: "Sequence[StatusRow]") -> dg.MetadataValue:
    import pandas as pd

    shown = [{**{name: getattr(row, name) for name in _SHOWN}, "sentence": row.told} for row in rows]
    return records_table(pd.DataFrame(shown, columns=list(_SHOWN), dtype=object))


def _by_the_clock_of(systems: Systems, company: str, moment: datetime) -> str:
    settings = systems.settings.companies.get(company)
    return f"{moment.astimezone(ZoneInfo(settings.timezone)) if settings else moment:%H:%M}"
