"""``mc-pipeline doctor``: does everything that companies.yaml names exist, and may the pipeline use it?"""

import json
import sys
from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mc_pipeline.cli.home import dagster_home
from mc_pipeline.cli.sync import chosen
from mc_pipeline.settings import Problem, SettingsError, load_settings

if TYPE_CHECKING:
    from mc_pipeline.doctor.findings import Finding

_MARKS = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "red"),
    "not checked": ("–", "dim"),
}


@click.command()
@click.argument("companies", nargs=-1, metavar="[COMPANY...]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, for machines.")
@click.option("--people", is_flag=True, help="Count the people of each audience in a large Odoo too.")
def doctor(companies: tuple[str, ...], as_json: bool, people: bool) -> None:
    """Check settings, rights and audiences of companies (all without COMPANY), and say what to fix.

    Nothing is written to Odoo or Mailchimp. Exit code: 0 no problem, 1 problems.
    """
    with Console(stderr=True).status("Asking Odoo and Mailchimp"):
        findings = _findings(companies, people)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        _show(Console(), findings)
    sys.exit(1 if any(finding.status == "problem" for finding in findings) else 0)


def _findings(companies: tuple[str, ...], count_people: bool) -> "list[Finding]":
    from mc_pipeline.doctor.checkup import examine
    from mc_pipeline.doctor.findings import Finding, Status

    try:
        settings = load_settings()
    except SettingsError as error:
        return [
            Finding(
                str(error.file or "settings"), problem.key, Status.PROBLEM, "not usable", _in_file(problem)
            )
            for problem in error.problems
        ]
    wanted = chosen(settings, companies, every=not companies)
    read = Finding(
        "settings", "companies.yaml", Status.OK, f"{settings.path}: {', '.join(settings.companies)}"
    )
    chosen_companies = [settings.companies[key] for key in wanted]
    return [read, *examine(settings, chosen_companies, dagster_home, count_people=count_people)]


def _in_file(problem: Problem) -> str:
    sentence = f"{problem.message[:1].upper()}{problem.message[1:]}."
    return sentence if problem.line is None else f"Line {problem.line}: {sentence}"


def _show(console: Console, findings: "list[Finding]") -> None:
    for where, group in groupby(findings, lambda finding: finding.where):
        grid = Grid(title=where, title_justify="left", title_style="bold", box=None, show_header=False)
        grid.add_column()
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for finding in group:
            mark, colour = _MARKS[finding.status]
            said = Text(finding.found)
            if finding.fix:
                said.append(f"\n→ {finding.fix}", style=colour)
            # Text, not markup: what systems say may hold brackets.
            grid.add_row(Text(mark, style=colour), Text(finding.check), said)
        console.print(grid)
        console.print()
    counts = Counter(str(finding.status) for finding in findings)
    console.print(
        f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} checks are fine.",
        highlight=False,
    )
