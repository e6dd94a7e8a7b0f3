"""Runs a company's sync through Dagster and says what came of it."""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import dagster as dg
from rich.console import Console

from mc_pipeline.cli.progress import progress_logger
from mc_pipeline.defs.jobs import SYNC_COMPANY, WRITING_ASSETS
from mc_pipeline.defs.partitions import CHANGES, COMPANY_STATUS, COMPANY_TAG, READ_TAG
from mc_pipeline.domain.company_status import (
    BROKEN,
    EXIT_CODES,
    OK,
    WAITS,
    StatusRow,
    failure_sentences,
    state_of,
)
from mc_pipeline.settings import Settings


class Outcome(Enum):
    """What came of a sync; the value is the exit code of the command."""

    DONE = EXIT_CODES[OK]
    FAILED = EXIT_CODES[BROKEN]
    WAITS_FOR_APPROVAL = EXIT_CODES[WAITS]


_OUTCOMES = {OK: Outcome.DONE, BROKEN: Outcome.FAILED, WAITS: Outcome.WAITS_FOR_APPROVAL}


@dataclass(frozen=True)
class CompanyRun:
    """One run of one company.

    ``rows``: what is open in the company after it, as the table ``company_status`` has it; ``made``: the
    assets that it made.
    """

    company: str
    run_id: str
    succeeded: bool
    rows: tuple[StatusRow, ...]
    made: frozenset[str]

    @cached_property
    def of_this_run(self) -> tuple[StatusRow, ...]:
        """What this run found; what earlier runs left open elsewhere does not count against it."""
        return tuple(row for row in self.rows if row.of_this_run)

    @property
    def outcome(self) -> Outcome:
        """Broken, waiting, or done: the worst of what this run found."""
        outcome = _OUTCOMES[state_of(self.of_this_run)]
        return outcome if self.succeeded else Outcome.FAILED

    @property
    def reasons(self) -> list[str]:
        """What is broken, a sentence for each cause, and what to do about it."""
        found = failure_sentences(self.rows)
        if not found and self.outcome is Outcome.FAILED:
            return [f"Run {self.run_id} failed; its log in Dagster says why."]
        return found


def run_company(
    settings: Settings,
    company: str,
    instance: dg.DagsterInstance,
    console: Console,
    *,
    plan_only: bool = False,
    only_changes: bool = False,
    job_name: str = SYNC_COMPANY,
) -> CompanyRun:
    """Sync one company in this process, or stop before anything is written.

    ``only_changes``: of Odoo, read what changed since the last sync. ``job_name``: another job of companies,
    such as the opt-outs alone.
    """
    from mc_pipeline.definitions import build_defs

    definitions = build_defs(settings, loggers={"console": progress_logger(console)})
    job = definitions.resolve_job_def(job_name)
    result = job.execute_in_process(
        partition_key=company,
        instance=instance,
        raise_on_error=False,
        tags={COMPANY_TAG: company} | ({READ_TAG: CHANGES} if only_changes else {}),
        # Without naming it, Dagster adds its own console log beside ours.
        run_config={"loggers": {"console": {}}},
        asset_selection=_assets_up_to_the_plan(job) if plan_only else None,
    )
    made = {
        event.asset_key.to_user_string()
        for event in result.all_events
        if event.is_step_materialization and event.asset_key is not None
    }
    rows = _status_of(company, result.run_id, instance, job)
    return CompanyRun(company, result.run_id, result.success, tuple(rows), frozenset(made))


def _status_of(
    company: str, run_id: str, instance: dg.DagsterInstance, job: dg.JobDefinition
) -> list[StatusRow]:
    """Return what the run stored about the company; where it could not, what is found now."""
    from mc_pipeline.defs.status.run_events import events_of
    from mc_pipeline.ledger import Ledger
    from mc_pipeline.sync.company_status import RUN_ID, find_status, rows_of
    from mc_pipeline.sync.stored_status import stored_status
    from mc_pipeline.sync.systems import utc_now

    stored = stored_status(company)
    if stored is not None and stored.facts.get(RUN_ID) == run_id:
        return rows_of(stored)
    opened: list[Ledger] = []

    def ledger() -> Ledger:
        opened.append(Ledger.open())
        return opened[0]

    try:
        return find_status(company, run_id, events_of(instance, run_id, job), ledger, utc_now())
    finally:
        for each in opened:
            each.close()


def _assets_up_to_the_plan(job: dg.JobDefinition) -> list[dg.AssetKey]:
    layer = job.asset_layer
    before = dg.AssetSelection.assets("audience_plan").upstream().resolve(layer.asset_graph)
    # What comes after the writes, such as the orders of new members, has nothing to build upon either.
    return [
        key
        for key in layer.executable_asset_keys
        if key.path[-1] == COMPANY_STATUS or (key in before and key.path[-1] not in WRITING_ASSETS)
    ]
