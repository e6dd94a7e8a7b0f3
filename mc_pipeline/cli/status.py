"""``mc-pipeline status``: the state of each company, without a run."""

import json
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.markup import escape

from mc_pipeline.cli.home import dagster_home
from mc_pipeline.cli.sync import chosen
from mc_pipeline.ledger.old_opt_outs import PREFIX
from mc_pipeline.settings import CompanySettings, load_settings

if TYPE_CHECKING:
    from mc_pipeline.domain.company_status import StatusRow
    from mc_pipeline.ledger import Ledger, RunBeat

OLD_AFTER = timedelta(hours=26)
"""A company that was not synced for longer, by its nightly schedule and two hours, is said to be behind."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a company stands.

    state      ok, waits, broken or never_run
    read_at    when a run last reported its state (UTC); None: none has
    synced_at  when the whole sync last ran to its end (UTC); None: it has not
    under_way  what runs now: job and since when
    unfinished a run that began after ``read_at``, is over, and reported nothing: it was interrupted or killed
    rows       what is open, without what a person approved since then
    approved   ids of what a person approved since then: the next sync applies it
    """

    company: str
    state: str
    read_at: datetime | None
    synced_at: datetime | None
    under_way: "tuple[RunBeat, ...]"
    unfinished: "RunBeat | None"
    rows: "tuple[StatusRow, ...]"
    approved: tuple[str, ...] = ()


@click.command()
@click.argument("companies", nargs=-1, metavar="[COMPANY...]")
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON, for machines.")
def status(companies: tuple[str, ...], as_json: bool) -> None:
    """Show the state of companies: what is broken, what waits for a person, what was not checked.

    As of the last run of each; no request is sent to Odoo or Mailchimp. Without COMPANY: of all companies.

    Exit code: 0 nothing is broken and nothing waits, 1 something is broken, 3 something waits for a person;
    of several companies, the worst.
    """
    from mc_pipeline.domain.company_status import EXIT_CODES, worst_of
    from mc_pipeline.ledger import Ledger

    settings = load_settings()
    keys = chosen(settings, companies, every=not companies)
    dagster_home()
    with Ledger.open() as ledger:
        standing = [standing_of(key, ledger) for key in keys]
        now = ledger.now()
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in standing], indent=2, ensure_ascii=False))
    else:
        console = Console()
        for each in standing:
            _show(console, settings.companies[each.company], each, now)
    sys.exit(EXIT_CODES[worst_of(each.state for each in standing)])


def standing_of(company: str, ledger: "Ledger") -> Standing:
    """Say how a company stands by what its last run stored."""
    from mc_pipeline.domain.company_status import NEVER_RUN, approval_ids, state_of
    from mc_pipeline.sync.company_status import SYNCED_AT, rows_of
    from mc_pipeline.sync.stored_status import stored_status

    stored = stored_status(company)
    read_at = stored.observed_at if stored is not None else None
    synced_at = stored.facts.get(SYNCED_AT) if stored is not None else None
    stored_rows = rows_of(stored) if stored is not None else []
    waited = frozenset[str]().union(*(approval_ids(row) for row in stored_rows))
    approved = _approved_since(company, ledger, waited, read_at)
    rows = [row for row in stored_rows if not approval_ids(row) or approval_ids(row) - approved]
    last = ledger.runs.last(company)
    alive = tuple(ledger.runs.alive(company))
    is_alive = last is not None and last.run_id in {run.run_id for run in alive}
    is_unreported = last is not None and (read_at is None or last.started_at > read_at)
    return Standing(
        company=company,
        state=NEVER_RUN if stored is None else state_of(rows),
        read_at=read_at,
        synced_at=datetime.fromisoformat(synced_at) if synced_at else None,
        under_way=alive,
        unfinished=last if is_unreported and not is_alive else None,
        rows=tuple(rows),
        approved=tuple(sorted(approved)),
    )


def _approved_since(
    company: str, ledger: "Ledger", waited: "Set[str]", read_at: datetime | None
) -> "Set[str]":
    """Return which of the ids that waited then are approved by now."""
    if not waited:
        return frozenset()
    old_opt_outs = {each for each in waited if each.startswith(PREFIX)}
    released = old_opt_outs - {each.plan_id for each in ledger.old_opt_outs.waiting(company)}
    return waited & {each.plan_id for each in ledger.plans.approvals(company, since=read_at)} | released


def _show(console: Console, company: CompanySettings, standing: Standing, now: datetime) -> None:
    from mc_pipeline.cli.summary import show_open

    for line in said_first(standing, ZoneInfo(company.timezone), now):
        console.print(escape(line), highlight=False)
    show_open(console, standing.rows)
    console.print()


def said_first(standing: Standing, timezone: ZoneInfo, now: datetime) -> Sequence[str]:
    """Say in a line how a company stands, and in further lines what to know about its runs."""
    from mc_pipeline.domain.company_status import first_line

    def clock(moment: datetime) -> str:
        return f"{moment.astimezone(timezone):%Y-%m-%d %H:%M}"

    key, read_at = standing.company, standing.read_at
    said = [
        first_line(key, standing.rows, clock(read_at))
        if read_at is not None
        else f"{key}: no run has reported its state yet: mc-pipeline sync {key} --plan"
    ]
    if standing.approved:
        said.append(
            f"  Approved since then: {', '.join(standing.approved)}. Apply it: mc-pipeline sync {key}"
        )
    said += [f"  {run.job} is under way since {clock(run.started_at)}." for run in standing.under_way]
    if standing.unfinished is not None:
        said.append(
            f"  The last run ({standing.unfinished.job}, {clock(standing.unfinished.started_at)}) was "
            "interrupted or killed; the next run continues from there."
        )
    if read_at is not None and (standing.synced_at is None or now - standing.synced_at > OLD_AFTER):
        when = f"since {clock(standing.synced_at)}" if standing.synced_at else "yet"
        said.append(f"  Not synced {when}: mc-pipeline sync {key}, or switch on the schedule nightly_{key}.")
    return said


def _as_json(standing: Standing) -> dict[str, Any]:
    def moment(value: datetime | None) -> str | None:
        return value.isoformat() if value is not None else None

    return {
        "company": standing.company,
        "state": standing.state,
        "read_at": moment(standing.read_at),
        "synced_at": moment(standing.synced_at),
        "under_way": [
            {"run_id": run.run_id, "job": run.job, "since": moment(run.started_at)}
            for run in standing.under_way
        ],
        "approved": list(standing.approved),
        "interrupted_run": standing.unfinished.run_id if standing.unfinished else None,
        "rows": [
            {
                "kind": row.kind,
                "part": row.part,
                "place": row.place,
                "code": row.code,
                "sentence": row.sentence,
                "what_to_do": row.what_to_do,
                "owner": row.owner,
                "step": row.step,
                "since": moment(row.since),
                "seen_at": moment(row.seen_at),
                "new": row.new,
                "of_this_run": row.of_this_run,
            }
            for row in standing.rows
        ],
    }
