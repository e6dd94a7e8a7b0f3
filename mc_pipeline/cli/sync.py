"""``mc-pipeline sync``: the whole job for some companies, now, at the terminal."""

import logging
import signal
import sys

import click
import dagster as dg
from dagster import DagsterExecutionInterruptedError
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.cli.interrupts import TOLD, interruptible
from mc_pipeline.cli.running import CompanyRun, Outcome, run_company
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline.settings import Settings, load_settings

_log = logging.getLogger(__name__)


@click.command()
@click.argument("companies", nargs=-1, metavar="COMPANY...")
@click.option("--all", "every", is_flag=True, help="Every company of companies.yaml.")
@click.option("--plan", "plan_only", is_flag=True, help="Show what would change and stop before any write.")
@click.option("--changes", is_flag=True, help="Read from Odoo only what changed since the last sync.")
@click.option("--opt-outs", is_flag=True, help="Apply opt-outs in both directions, and nothing else.")
def sync(companies: tuple[str, ...], every: bool, plan_only: bool, changes: bool, opt_outs: bool) -> None:
    """Sync companies: read both systems, apply opt-outs, plan, push.

    Exit code: 0 done, 1 something is broken, 3 something waits for a person (mc-pipeline approve), 130 or 143
    interrupted by SIGINT or SIGTERM. What earlier runs left open elsewhere: mc-pipeline status.
    """
    if opt_outs and plan_only:
        raise click.UsageError("--opt-outs and --plan exclude each other: opt-outs are in no plan")
    settings = load_settings()
    keys = chosen(settings, companies, every)
    console = Console()
    with interruptible() as interruption:
        runs: list[CompanyRun] = []
        try:
            instance = dagster_instance()
            end_what_is_dead(instance, console)
            for company in keys:
                run = run_company(
                    settings,
                    company,
                    instance,
                    console,
                    plan_only=plan_only,
                    only_changes=changes,
                    job_name=OPT_OUTS if opt_outs else SYNC_COMPANY,
                )
                if interruption.signal:
                    break
                runs.append(run)
                report(console, settings, run, plan_only=plan_only)
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            interruption.signal = interruption.signal or signal.SIGINT
        if interruption.signal:
            console.print(TOLD)
            interruption.exit()
    sys.exit(exit_code(runs))


def end_what_is_dead(instance: dg.DagsterInstance, console: Console) -> None:
    """End runs whose process was killed, and say so; without a ledger nobody knows, and the sync says why."""
    from mc_pipeline.defs.dead_runs import end_dead_runs
    from mc_pipeline.ledger import Ledger, LedgerError

    try:
        with Ledger.open() as ledger:
            ended = end_dead_runs(instance, ledger, _log)
    except LedgerError as error:
        _log.warning("could not look for dead runs: %s", error)
        return
    for each in ended:
        console.print(Text(str(each)))


def chosen(settings: Settings, companies: tuple[str, ...], every: bool) -> list[str]:
    """Return the companies to sync.

    Raises:
        click.UsageError: none is named, or one is not in companies.yaml.
    """
    known = list(settings.companies)
    if every:
        return known
    if not companies:
        raise click.UsageError(f"name companies to sync, or --all; companies.yaml has {', '.join(known)}")
    unknown = [company for company in companies if company not in known]
    if unknown:
        raise click.UsageError(f"companies.yaml has no company {unknown[0]!r}; it has {', '.join(known)}")
    return list(companies)


def report(console: Console, settings: Settings, run: CompanyRun, *, plan_only: bool) -> None:
    """Show what came of a run: what is open, one line for each, and what was done."""
    from mc_pipeline.cli.summary import (
        show_open,
        show_opt_outs,
        show_plan,
        show_push,
        show_set_aside,
    )

    company = settings.companies[run.company]
    console.print()
    if run.outcome is Outcome.FAILED and not run.of_this_run:
        for reason in run.reasons:
            console.print(f"[red]Broken:[/] {escape(reason)}", highlight=False)
    show_open(console, run.of_this_run)
    if "audience_push" in run.made:
        show_push(console, company)
    elif "audience_plan" in run.made:
        show_plan(console, company)
        if not plan_only:
            show_opt_outs(console, company)
    elif "odoo_opt_outs" in run.made:
        show_opt_outs(console, company)
    if run.outcome is Outcome.WAITS_FOR_APPROVAL:
        _show_first_loads(console, run.company)
    if "set_aside" in run.made:
        show_set_aside(console, company)
    if earlier := len(run.rows) - len(run.of_this_run):
        console.print(f"Open from earlier runs: {earlier:,} (mc-pipeline status {run.company})")
    console.print()


def _show_first_loads(console: Console, company: str) -> None:
    """Show what a plan that waits means for audiences that were never loaded."""
    from mc_pipeline.cli.summary import show_first_load
    from mc_pipeline.ledger import Ledger

    with Ledger.open() as ledger:
        waiting = ledger.plans.waiting(company)
    for record in waiting:
        show_first_load(console, record.counts.get("first_load", []))


def exit_code(runs: list[CompanyRun]) -> int:
    """Return the worst outcome of several runs: something broken before something that waits."""
    outcomes = {run.outcome for run in runs}
    if Outcome.FAILED in outcomes:
        return Outcome.FAILED.value
    if Outcome.WAITS_FOR_APPROVAL in outcomes:
        return Outcome.WAITS_FOR_APPROVAL.value
    return Outcome.DONE.value
