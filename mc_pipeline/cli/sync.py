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
@click.option("--opt-outs", is_flag=True, help="Carry opt-outs between both systems, and nothing else.")
def sync(companies: tuple[str, ...], every: bool, plan_only: bool, changes: bool, opt_outs: bool) -> None:
    """Sync companies: read both systems, apply opt-outs, plan, push.

    Exit code: 0 done, 1 something failed, 3 a plan or old opt-outs wait for approval (mc-pipeline approve),
    130 or 143 interrupted by SIGINT or SIGTERM.
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
                _tell(console, settings, run, plan_only=plan_only, opt_outs=opt_outs)
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
        _log.warning("dead runs were not looked for: %s", error)
        return
    for each in ended:
        console.print(Text(str(each)))


def _tell(console: Console, settings: Settings, run: CompanyRun, *, plan_only: bool, opt_outs: bool) -> None:
    from mc_pipeline.cli.summary import show_old_opt_outs, show_opt_outs

    if opt_outs and run.outcome is Outcome.DONE:
        show_opt_outs(console, settings.companies[run.company])
        show_old_opt_outs(console, run.old_opt_outs)
    else:
        report(console, settings, run, plan_only=plan_only)


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
    """Show what came of a run."""
    from mc_pipeline.cli.summary import (
        show_first_load,
        show_old_opt_outs,
        show_plan,
        show_push,
        show_set_aside,
    )
    from mc_pipeline.ledger import Ledger

    company = settings.companies[run.company]
    console.print()
    if run.outcome is Outcome.FAILED:
        for reason in run.reasons:
            console.print(f"[red]Failed:[/] {escape(reason)}", highlight=False)
        console.print(f"Check the set-up: mc-pipeline doctor {run.company}")
    match run.rest:
        case Outcome.WAITS_FOR_APPROVAL:
            show_plan(console, company)
            with Ledger.open() as ledger:
                waiting = ledger.plans.waiting(run.company)
            for record in waiting:
                show_first_load(console, record.counts["first_load"])
            show_set_aside(console, company)
        case Outcome.DONE if plan_only:
            show_plan(console, company)
            show_set_aside(console, company)
        case Outcome.DONE:
            show_push(console, company)
            show_set_aside(console, company)
    show_old_opt_outs(console, run.old_opt_outs)
    console.print()


def exit_code(runs: list[CompanyRun]) -> int:
    """Return the worst outcome of several runs: a failure before a plan, or old opt-outs, that wait."""
    outcomes = {run.outcome for run in runs}
    if Outcome.FAILED in outcomes:
        return Outcome.FAILED.value
    if Outcome.WAITS_FOR_APPROVAL in outcomes or any(run.old_opt_outs for run in runs):
        return Outcome.WAITS_FOR_APPROVAL.value
    return Outcome.DONE.value
