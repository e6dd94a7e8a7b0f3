"""``mc-pipeline leases``: who writes for a company now, who is alive, and how to end what a dead run left."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from mc_pipeline.cli.home import dagster_home

if TYPE_CHECKING:
    from mc_pipeline.ledger import RunBeat
    from mc_pipeline.ledger.leases import LeaseState
    from mc_pipeline.ledger.ledger import Ledger


@click.command()
@click.option("--end", "company", metavar="COMPANY", help="End the leases of COMPANY that a dead run left.")
def leases(company: str | None) -> None:
    """Show leases and runs in progress: since when, and whether they are alive.

    A lease lets one run at a time write for a company; it ends with its run, or three minutes after the run's
    last sign of life. Ending one by hand is safe: if its run is alive after all, its further writes are
    refused.

    Exit code: 0, or 1 when a lease is not ended because its run is alive.
    """
    from mc_pipeline.ledger import Ledger

    dagster_home()
    with Ledger.open() as ledger:
        if company is not None:
            sys.exit(_end(ledger, company))
        held, runs = ledger.leases.held(), ledger.runs.unfinished()
        beats = ledger.runs.known([lease.owner for lease in held])
        for lease in held:
            click.echo(_line(lease, beats, ledger.now()))
        for run in runs:
            of = f" of {run.company}" if run.company else ""
            click.echo(
                f"Run {run.run_id} ({run.job}{of}, process {run.owner}) started {_moment(run.started_at)}; "
                f"{_sign_of(run, ledger.now())}"
            )
        if not held and not runs:
            click.echo("No run is in progress, and no lease is held.")


def _end(ledger: "Ledger", company: str) -> int:
    from mc_pipeline.ledger.leases import CHANGES, OPT_OUTS, lease_name
    from mc_pipeline.ledger.runs import LONGEST_SILENCE

    names = {lease_name(company, CHANGES), lease_name(company, OPT_OUTS)}
    held = [lease for lease in ledger.leases.held() if lease.name in names]
    if not held:
        click.echo(f"Nobody holds a lease of {company}.")
        return 0
    beats = ledger.runs.known([lease.owner for lease in held])
    refused = 0
    for lease in held:
        beat = beats.get(lease.owner)
        last_sign = beat.beat_at if beat else lease.since
        ends_at = last_sign + LONGEST_SILENCE
        if (beat is None or beat.ended_at is None) and ledger.now() <= ends_at:
            refused += 1
            click.echo(
                f"The lease of {_what(lease.name)} is not ended: run {lease.owner} was last alive at "
                f"{_moment(last_sign)}. End that run first (in Dagster: Terminate; at a terminal: Ctrl-C), "
                f"or, if its process is gone, try again after {_moment(ends_at)}."
            )
        elif ledger.leases.end(lease):
            click.echo(f"The lease of {_what(lease.name)} is ended; run {lease.owner} had it.")
    return 1 if refused else 0


def _line(lease: "LeaseState", beats: "Mapping[str, RunBeat]", now: datetime) -> str:
    beat = beats.get(lease.owner)
    sign = _sign_of(beat, now) if beat else "it has no heartbeat"
    return (
        f"The lease of {_what(lease.name)} is held by run {lease.owner} since {_moment(lease.since)}, until "
        f"{_moment(lease.expires_at)} unless it is renewed; {sign}"
    )


def _sign_of(beat: "RunBeat", now: datetime) -> str:
    from mc_pipeline.ledger.runs import LONGEST_SILENCE

    if beat.ended_at is not None:
        return f"the run ended at {_moment(beat.ended_at)}"
    alive = now - beat.beat_at <= LONGEST_SILENCE
    return f"it is {'alive' if alive else 'dead'}: its last heartbeat was at {_moment(beat.beat_at)}"


def _what(name: str) -> str:
    owner, _, part = name.partition("/")
    if owner == "list" and part:
        return f"reading audience {part} for opt-outs"
    return f"{owner} for opt-outs" if part else f"{owner} for changes"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
