"""The summary after a sync: what is open in the company; per audience, what was done; who was set aside."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from mc_pipeline.domain.company_status import BROKEN, NOT_LOOKED_AT, WAITS, StatusRow
from mc_pipeline.domain.contacts.rejections import NOT_THERE
from mc_pipeline.domain.plan.not_taken_back import NOT_TAKEN_BACK
from mc_pipeline.domain.plan.waiting_rows import WAITS as WAITING
from mc_pipeline.ledger import PlanRecord
from mc_pipeline.ledger.old_opt_outs import OldOptOutsRecord
from mc_pipeline.ledger.store_plans import StorePlan
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.stored import read_stored

_COLUMNS = (
    "created",
    "updated",
    "archived",
    "tags",
    "addresses",
    "waits",
    "failed",
    "unchanged",
)
_ALWAYS_SHOWN = ("created", "updated", "unchanged")
_FAILED = ("rejected", "deferred", "unknown", "not_sent")
_OPERATIONS = {
    "create": "created",
    "update": "updated",
    "upgrade": "updated",
    "permit": "updated",
    "archive": "archived",
    "tag": "tags",
    "untag": "tags",
    "change_email": "addresses",
}


_KINDS = {
    BROKEN: "[red]Broken:[/]",
    WAITS: "[yellow]Waits:[/]",
    NOT_LOOKED_AT: "[yellow]Not checked:[/]",
}


def show_plan(console: Console, company: CompanySettings) -> None:
    """Show what the stored plan would do, per audience."""
    plan = read_stored("audience_plan", company.key)
    if plan is not None:
        is_sent = plan.rows["held_back_because"] == ""
        outcome = is_sent.map({True: "applied", False: "held_back"})
        _show(console, company, plan.rows.assign(outcome=outcome), f"{company.key}: planned")


def show_first_load(console: Console, first_load: Sequence[Mapping[str, Any]]) -> None:
    """Show what the first load of an audience means: who with which status, tags, and who is greeted."""
    for audience in first_load:
        facts = "; ".join(
            f"{name} {value:,}" if isinstance(value, int) else f"{name}: {value}"
            for name, value in audience.items()
            if name != "audience" and value not in (0, "", None)
        )
        console.print(f"First load of {audience['audience']}: {facts}", highlight=False)


def show_waiting_plan(console: Console, plan: PlanRecord) -> None:
    """Show a plan that waits: its id, why it waits, whom it would have mailed, what a first load means."""
    console.print(f"{plan.plan_id}  {plan.company}  {plan.row_count:,} changes", highlight=False)
    for said in (plan.counts.get("verdict"), plan.counts.get("greetings")):
        if said:
            console.print(f"    {escape(str(said))}", highlight=False)
    console.print(f"    Once approved, the next sync of {plan.company} makes these changes.", highlight=False)


def show_waiting_opt_outs(console: Console, waiting: OldOptOutsRecord) -> None:
    """Show old opt-outs that wait: their id, how many people, and what a release does."""
    console.print(
        f"{waiting.plan_id}  {waiting.company}  {waiting.people:,} people who opted out of "
        f"{waiting.audience} before it was first read",
        highlight=False,
    )
    console.print(
        "    Once approved, the next sync opts them out in Odoo and in every audience of the company. "
        "Until then Odoo may mail them.",
        highlight=False,
    )


def show_waiting_orders(console: Console, waiting: StorePlan) -> None:
    """Show orders of a store that wait: their id, how many, and what a release does."""
    console.print(
        f"{waiting.plan_id}  {waiting.company}  {waiting.orders:,} of {waiting.held:,} orders of store "
        f"{waiting.store_id} would be lowered or deleted",
        highlight=False,
    )
    console.print(
        f"    Once approved, the next sync of {waiting.company} writes them. Until then Mailchimp reports "
        "more revenue than Odoo kept.",
        highlight=False,
    )


def show_push(console: Console, company: CompanySettings) -> None:
    """Show what the last push did, per audience, and who was set aside."""
    push = read_stored("audience_push", company.key)
    if push is not None:
        _show(console, company, push.rows, f"{company.key}: done")
    show_opt_outs(console, company)


def show_opt_outs(console: Console, company: CompanySettings) -> None:
    """Show how many opt-outs were applied to each system, and what a person has to decide.

    Old opt-outs that wait are not counted here: they are among what is open.
    """
    opted_out = read_stored("odoo_opt_outs", company.key)
    if opted_out is not None:
        rows = opted_out.rows
        for action, words in (
            ("opt_out", "Opted out in Odoo because of Mailchimp"),
            ("lift", "Removed from Odoo's blacklist"),
        ):
            wanted = rows[(rows["action"] == action) & (rows["outcome"] != "held_back")]
            if len(wanted):
                applied = int(wanted["outcome"].isin(["applied", "unchanged"]).sum())
                console.print(f"  {words}: {applied:,} of {len(wanted):,}")
        conflicts = int(rows["conflict"].fillna("").ne("").sum())
        if conflicts:
            console.print(f"  Opt-outs that need a decision: {conflicts:,} (odoo_opt_outs)")
    unsubscribed = read_stored("mailchimp_unsubscribes", company.key)
    if unsubscribed is not None and len(unsubscribed.rows):
        applied = int((unsubscribed.rows["outcome"] == "applied").sum())
        console.print(
            f"  Unsubscribed in Mailchimp because of Odoo: {applied:,} of {len(unsubscribed.rows):,}"
        )


def show_open(console: Console, rows: Sequence[StatusRow]) -> None:
    """Show what is open, one line for each, and below it what to do."""
    for row in rows:
        console.print(f"{_KINDS[row.kind]} {escape(row.sentence_with_age)}", highlight=False)
        if row.what_to_do:
            console.print(f"    {escape(row.what_to_do)}", highlight=False)


def show_set_aside(console: Console, company: CompanySettings) -> None:
    """Show how many partners were set aside, by reason."""
    aside = read_stored("set_aside", company.key)
    if aside is None or aside.rows.empty:
        return
    grid = Grid(title=f"{company.key}: set aside", title_justify="left", box=None, pad_edge=False)
    grid.add_column("reason")
    grid.add_column("partners", justify="right")
    grid.add_column("what to do")
    for reason, rows in sorted(aside.rows.groupby("reason"), key=lambda group: -len(group[1])):
        grid.add_row(str(reason), f"{len(rows):,}", rows["fix"].iloc[0])
    console.print(grid)


def _show(console: Console, company: CompanySettings, rows: pd.DataFrame, title: str) -> None:
    contacts = read_stored("contacts", company.key)
    refused = _refused(company)
    counted = {}
    for key in company.audiences:
        wanted = (
            set() if contacts is None else set(contacts.rows.loc[contacts.rows["audience"] == key, "email"])
        )
        counted[key] = _counted(rows[rows["audience"] == key], wanted, refused)
    # Only what there is: all columns at once do not fit into a terminal of 80 characters.
    shown = [
        column
        for column in _COLUMNS
        if column in _ALWAYS_SHOWN or any(numbers.get(column) for numbers in counted.values())
    ]
    grid = Grid(title=title, title_justify="left", box=None, pad_edge=False)
    grid.add_column("audience")
    for column in shown:
        grid.add_column(column, justify="right")
    for key, numbers in counted.items():
        grid.add_row(key, *(f"{int(numbers.get(column, 0)):,}" for column in shown))
    console.print(grid)


def _counted(rows: pd.DataFrame, wanted: set[str], refused: set[str]) -> dict[str, int]:
    """Count the rows of an audience by what was done, and its people without any write by reason."""
    applied = rows[rows["outcome"] == "applied"]
    done = {
        str(name): int(count) for name, count in applied["operation"].map(_OPERATIONS).value_counts().items()
    }
    failed = _people(rows[rows["outcome"].isin(_FAILED)]) | (wanted & refused - _people(applied))
    waiting = _people(rows[rows["outcome"].isin([WAITING, "held_back"])]) - failed
    unchanged = wanted - _people(rows) - failed
    return {**done, "waits": len(waiting), "failed": len(failed), "unchanged": len(unchanged)}


def _people(rows: pd.DataFrame) -> set[str]:
    return set(rows["email"]) | set(rows["new_email"].dropna())


def _refused(company: CompanySettings) -> set[str]:
    """Addresses that Mailchimp refused in this run or before, and that are not there."""
    aside = read_stored("set_aside", company.key)
    if aside is None:
        return set()
    is_refused = aside.rows["reason"].isin([*NOT_THERE, NOT_TAKEN_BACK])
    return set(aside.rows.loc[is_refused, "person_email"].dropna())
