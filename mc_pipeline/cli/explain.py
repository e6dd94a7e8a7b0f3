"""``mc-pipeline explain``: why a person is or is not in an audience, step by step."""

import sys

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from mc_pipeline.cli.home import dagster_home
from mc_pipeline.cli.sync import chosen
from mc_pipeline.domain.consent.history import how_it_is_known, what_happened
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.members import HistoryEntry
from mc_pipeline.masking import mask_email, mask_text
from mc_pipeline.settings import load_settings


@click.command()
@click.argument("email")
@click.option("--company", metavar="COMPANY", help="Only this company; by default all.")
def explain(email: str, company: str | None) -> None:
    """Explain why the person with EMAIL is, or is not, in an audience.

    It uses what the last sync read, and what was ever sent. Exit code: 0 known, 1 not known.
    """
    from mc_pipeline.sync.person import history, tell_story

    settings = load_settings()
    keys = chosen(settings, (company,) if company else (), every=not company)
    address = email.strip().lower()
    if "@" not in address:
        raise click.UsageError("EMAIL is not an e-mail address: it has no @")
    dagster_home()
    console = Console()
    console.print(mask_email(address), style="bold", highlight=False)
    with Ledger.open() as ledger:
        stories = [tell_story(ledger, settings.companies[key], address) for key in keys]
        past = history(ledger, set(keys), address)
    for story in stories:
        console.print()
        console.print(Text(story.company, style="bold").append(f"  {story.verdict}"))
        console.print(Text(story.read, style="dim"))
        for chapter in story.chapters:
            console.print(f" {chapter.title}", highlight=False)
            grid = _grid()
            for step in chapter.steps:
                grid.add_row(Text(step.step), Text(step.outcome), Text(mask_text(step.sentence)))
            console.print(grid)
    if past:
        _show_history(console, past)
    if not past and not any(story.known for story in stories):
        _say_unknown(console, keys)
        sys.exit(1)


def _show_history(console: Console, past: list[HistoryEntry]) -> None:
    console.print()
    console.print("History", style="bold")
    for entry in past:
        place = f"{entry.company} / {entry.audience}" if entry.audience else entry.company
        heading = f"{entry.what.replace('_', ' ')} {entry.outcome}".strip()
        detail = entry.detail
        if entry.event is not None:
            heading, detail = what_happened(entry.event), how_it_is_known(entry.event)
        moment = f"{entry.at:%Y-%m-%d %H:%M:%S} UTC"
        console.print(Text(f" {moment}  {place}  {mask_email(entry.email)}  {heading}"))
        if detail:
            console.print(Padding(Text(mask_text(detail), style="dim"), (0, 0, 0, 4)))


def _say_unknown(console: Console, keys: list[str]) -> None:
    console.print()
    console.print("Unknown address: not in Odoo, not in Mailchimp, never sent to.")
    console.print("Check:")
    for advice in (
        "that it is spelled as in Odoo (the contact's e-mail field);",
        "that the contact belongs to one of the companies, or to none: "
        f"companies.yaml has {', '.join(keys)} here;",
        "that it was in Odoo when Odoo was read (times above); read again with: "
        f"mc-pipeline sync {keys[0]} --plan",
    ):
        console.print(Text(f"  - {advice}"))


def _grid() -> Grid:
    grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
