"""``mc-pipeline reconcile``: Odoo's kept revenue compared with Mailchimp's, in the terminal and as CSV."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mc_pipeline.cli.home import dagster_home
from mc_pipeline.cli.sync import chosen
from mc_pipeline.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.domain.company_status import StatusRow
    from mc_pipeline.sync.reconciliation import Reconciliation

_SHOWN = 50
_NOT_OF_MONEY = ("opt_outs", "tag")
_OF_OPT_OUTS = ("old_opt_outs", "not_heard")
_ITS_CHECKS = "revenue_reconciliation_checks"
"""What they find is in the figures."""
_MONTHS = {
    "month": "month",
    "orders": "orders",
    "ordered": "ordered",
    "given_back": "credited",
    "kept": "kept",
    "left_out": "in no store",
    "due_goods": "due goods",
    "due_shipping": "due shipping",
    "mailchimp_goods": "Mailchimp goods",
    "mailchimp_shipping": "Mailchimp shipping",
    "left_alone": "not due",
    "waiting": "waits",
    "difference": "difference",
    "orders_differing": "differ",
}
_ORDERS = {"name": "order", "order_id": "id in Odoo", "month": "month", "store_id": "store"}


@click.command()
@click.argument("company")
@click.option("--month", metavar="YYYY-MM", help="Only this month.")
@click.option("--orders", is_flag=True, help="Show the orders that differ; a CSV file has every order.")
@click.option(
    "--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a CSV file too."
)
def reconcile(company: str, month: str | None, orders: bool, csv_file: Path | None) -> None:
    """Compare Odoo's kept revenue of COMPANY with what Mailchimp holds.

    As of the last sync, by month of the order, without tax. The CSV file also has the steps to the general
    ledger; only its owner can read it, and it is safe to open in a spreadsheet.

    Exit code: 0 nothing differs, 1 an order differs, or something that the figures depend on waits, is broken
    or was not checked, 2 nothing to show.
    """
    from mc_pipeline.cli.summary import show_open
    from mc_pipeline.defs.revenue.report import orders_differ
    from mc_pipeline.sync.reconciliation import Reconciliation
    from mc_pipeline.tables import schemas
    from mc_pipeline.tables.parquet import stored_table

    settings = load_settings()
    (key,) = chosen(settings, (company,), every=False)
    dagster_home()
    table = stored_table(schemas.REVENUE_RECONCILIATION, key)
    if table is None:
        raise click.UsageError(f"{key} was not reconciled yet: mc-pipeline sync {key}")
    found = Reconciliation.of(table)
    rows, months, differing = found.rows, found.months_with_books(), found.differing
    if month:
        rows, months, differing = (part[part["month"] == month] for part in (rows, months, differing))
        if rows.empty and months.empty:
            raise click.UsageError(f"there is no data for month {month!r}; write it like 2026-03")
    console = Console()
    console.print(
        f"{key}, read {table.observed_at:%Y-%m-%d %H:%M} UTC; without tax, in {found.currency}",
        highlight=False,
    )
    if not table.complete:
        console.print(f"Not complete: {table.incomplete_because}", style="yellow", highlight=False)
    if orders and not differing.empty:
        _show_orders(console, differing, found)
    elif not orders:
        _show_months(console, months, found)
    said = "nothing differs" if differing.empty else orders_differ(len(differing))
    in_doubt = _open_in_stores(key)
    not_known = [*found.not_looked_at, *found.waits]
    if differing.empty and (in_doubt or not_known):
        said = "nothing differs in what was checked"
    style = "red" if not differing.empty else "yellow" if in_doubt or not_known else "green"
    console.print(said[0].upper() + said[1:] + ".", style=style)
    show_open(console, in_doubt)
    # What is open says it with what to do; without such a row, the reconciliation itself does.
    for word, named in (("Not checked", found.not_looked_at), ("Waits for approval", found.waits)):
        for each in named if not in_doubt else ():
            console.print(f"{word}: {each}", style="yellow", highlight=False)
    if csv_file:
        _write(csv_file, rows if orders else months, found)
        console.print(f"Written: {csv_file}", highlight=False, soft_wrap=True)
    sys.exit(0 if differing.empty and not in_doubt and not not_known else 1)


def _open_in_stores(company: str) -> "list[StatusRow]":
    """What is open that the figures may depend on: broken, waiting, or not looked at."""
    from mc_pipeline.ledger import Ledger
    from mc_pipeline.sync.company_status import status_of

    with Ledger.open() as ledger:
        found = status_of(company, "", ledger)
    return [
        row
        for row in found
        if not (row.part in _NOT_OF_MONEY or row.code.startswith(_OF_OPT_OUTS) or row.step == _ITS_CHECKS)
    ]


def _write(file: Path, rows: "pd.DataFrame", found: "Reconciliation") -> None:
    from upath import UPath

    from mc_pipeline.tables.csv_files import write_csv

    if not file.resolve().parent.is_dir():
        raise click.UsageError(f"there is no folder {file.resolve().parent}")
    write_csv(rows, found.decimal_places, UPath(file.resolve()))


def _show_months(console: Console, months: "pd.DataFrame", found: "Reconciliation") -> None:
    """Show the months that have an order; those with bookings alone are in the CSV file."""
    shown = months[(months["orders"] > 0) | (months["orders_held"] > 0)]
    grid = Grid(box=None, padding=(0, 1))
    for name, heading in _MONTHS.items():
        grid.add_column(heading, justify="left" if name == "month" else "right", overflow="fold")
    for row in shown[list(_MONTHS)].to_dict("records"):
        grid.add_row(*(Text(_cell(value, found.decimal_places)) for value in row.values()))
    sums = shown[list(_MONTHS)[1:]].sum().to_dict()
    counts = ("orders", "orders_differing")
    total = [int(value) if name in counts else float(value) for name, value in sums.items()]
    grid.add_row("in all", *(Text(_cell(value, found.decimal_places)) for value in total), style="bold")
    console.print(grid)


def _show_orders(console: Console, differing: "pd.DataFrame", found: "Reconciliation") -> None:
    grid = Grid(box=None, padding=(0, 1))
    for heading in (*_ORDERS.values(), "how it differs", "last push"):
        grid.add_column(heading, overflow="fold")
    for row in differing.head(_SHOWN).to_dict("records"):
        push = " ".join(str(row[name]) for name in ("push_outcome", "push_detail") if row[name])
        cells = [_cell(row[name], found.decimal_places) for name in _ORDERS]
        grid.add_row(*map(Text, [*cells, str(row["differs_detail"]), push]))
    console.print(grid)
    if len(differing) > _SHOWN:
        console.print(f"… and {len(differing) - _SHOWN:,} more: --csv FILE has every order", highlight=False)


def _cell(value: object, decimal_places: int) -> str:
    import pandas as pd

    if value is None or value is pd.NA:
        return ""
    return f"{value + 0.0:,.{decimal_places}f}" if isinstance(value, float) else str(value)
