"""Runs a company's sync through Dagster and says what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import dagster as dg
from rich.console import Console

from mc_pipeline.cli.progress import progress_logger
from mc_pipeline.defs.jobs import SYNC_COMPANY, WRITING_ASSETS
from mc_pipeline.defs.partitions import CHANGES, COMPANY_TAG, READ_TAG
from mc_pipeline.masking import mask_text
from mc_pipeline.settings import Settings

if TYPE_CHECKING:
    from mc_pipeline.ledger.old_opt_outs import OldOptOutsRecord


class Outcome(Enum):
    """What came of a sync; the value is the exit code of the command, unless old opt-outs wait."""

    DONE = 0
    FAILED = 1
    WAITS_FOR_APPROVAL = 3


@dataclass(frozen=True)
class CompanyRun:
    """One run of one company. ``reasons`` say, in one line each, what failed.

    ``rest`` is what came of everything else: a part that failed (an audience) holds back only what depends
    on it. ``old_opt_outs``: opt-outs from before an audience was first read that wait for a release after the
    run; none where the run was to stop before any write.
    """

    company: str
    run_id: str
    outcome: Outcome
    reasons: tuple[str, ...]
    old_opt_outs: "tuple[OldOptOutsRecord, ...]" = ()
    rest: Outcome = Outcome.FAILED


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
    if not result.success:
        rest = Outcome.FAILED
    elif _waits_for_approval(result):
        rest = Outcome.WAITS_FOR_APPROVAL
    else:
        rest = Outcome.DONE
    failed = failed_steps(result.all_events) if rest is Outcome.FAILED else []
    reasons = _told_once(failed + failed_parts(result))
    outcome = Outcome.FAILED if reasons else rest
    old_opt_outs = () if plan_only else _old_opt_outs(company)
    return CompanyRun(company, result.run_id, outcome, tuple(reasons), old_opt_outs, rest)


def _old_opt_outs(company: str) -> "tuple[OldOptOutsRecord, ...]":
    """Return what waits; nothing where the ledger cannot be opened, which the run itself then told."""
    from mc_pipeline.ledger import Ledger, LedgerError

    try:
        with Ledger.open() as ledger:
            return tuple(ledger.old_opt_outs.waiting(company))
    except LedgerError:
        return ()


def _told_once(failed: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line for each reason, naming everything that failed for it (Odoo refused a login)."""
    parts_of: dict[str, dict[str, None]] = {}
    for part, text in failed:
        parts_of.setdefault(text, {})[part] = None
    return [f"{', '.join(parts)}: {text}" for text, parts in parts_of.items()]


def failed_parts(result: dg.ExecuteInProcessResult) -> list[tuple[str, str]]:
    """Say which assets failed a check of severity ERROR, though their steps did not fail, and why.

    A leak is none of them: it fails its step.
    """
    from mc_pipeline.defs.audience.checks import NO_LEAKS

    return [
        (evaluation.asset_key.to_user_string(), mask_text(str(evaluation.description)))
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
        and evaluation.severity == dg.AssetCheckSeverity.ERROR
        and evaluation.check_name != NO_LEAKS
    ]


def failed_steps(events: Sequence[dg.DagsterEvent]) -> list[tuple[str, str]]:
    """Say which steps failed, and why: the message of the error that started it, without its traceback."""
    failed: list[tuple[str, str]] = []
    for event in events:
        if not event.is_step_failure:
            continue
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        failure = event.step_failure_data.user_failure_data
        text = failure.description if failure and failure.description else error.message if error else ""
        # Dagster puts the class in front of the message of an error.
        text = text.strip().partition(": ")[2] if error and not failure else text.strip()
        failed.append((str(event.step_key), mask_text(text)))
    return failed


def _assets_up_to_the_plan(job: dg.JobDefinition) -> list[dg.AssetKey]:
    layer = job.asset_layer
    before = dg.AssetSelection.assets("audience_plan").upstream().resolve(layer.asset_graph)
    # What comes after the writes, such as the orders of new members, has nothing to build upon either.
    return [
        key for key in layer.executable_asset_keys if key in before and key.path[-1] not in WRITING_ASSETS
    ]


def _waits_for_approval(result: dg.ExecuteInProcessResult) -> bool:
    """Tell whether something of the plan waits for a person."""
    from mc_pipeline.defs.audience.checks import WITHIN_GUARDS

    return any(
        not evaluation.passed and evaluation.check_name == WITHIN_GUARDS
        for evaluation in result.get_asset_check_evaluations()
    )
