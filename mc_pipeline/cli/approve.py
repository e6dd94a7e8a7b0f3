"""``mc-pipeline approve``: a person approves what waits: a plan, orders, old opt-outs, a smaller read."""

import getpass
from collections.abc import Sequence

import click
from rich.console import Console

from mc_pipeline.cli.home import dagster_home
from mc_pipeline.domain.store import guards as store_guards
from mc_pipeline.ledger import Ledger, LedgerError, PlanRecord
from mc_pipeline.ledger.old_opt_outs import PREFIX, OldOptOutsRecord
from mc_pipeline.ledger.store_plans import StorePlan
from mc_pipeline.sync.known_ledger import what_to_do


@click.command()
@click.argument("plan_id", required=False)
@click.option(
    "--read", "read", metavar="COMPANY/TABLE", help="Approve a read that became smaller, instead of a plan."
)
@click.option(
    "--reason", default="looked at the plan", show_default=True, help="Why; stored with the approval."
)
@click.option("--by", default=None, help="Who; by default the name of the logged-in user.")
def approve(plan_id: str | None, read: str | None, reason: str, by: str | None) -> None:
    """Approve PLAN_ID; without one, list what waits for an approval, and what each approval does.

    The approval of a plan, or of a store's orders, holds for 24 hours: the next sync applies what was shown.
    Old opt-outs, of people who opted out of an audience before it was first read, are approved once.
    """
    if plan_id and read:
        raise click.UsageError("give a plan or --read, not both")
    dagster_home()
    console = Console()
    who = by or getpass.getuser()
    with Ledger.open() as ledger:
        if plan_id or read:
            _refuse_another(ledger)
        if read:
            company, slash, table = read.partition("/")
            if not slash:
                raise click.UsageError(
                    f"--read is {read!r}; give it as COMPANY/TABLE, such as acme/odoo_partners"
                )
            observation = ledger.reads.approve_read(company, table, by=who, reason=reason)
            console.print(
                f"The read of {table} of {company} with {observation.rows:,} rows is approved by {who}. "
                f"Sync the company: mc-pipeline sync {company}"
            )
        elif plan_id and plan_id.startswith(PREFIX):
            released = ledger.old_opt_outs.approve(plan_id, by=who, reason=reason)
            console.print(
                f"The opt-outs of {released.audience} of {released.company} from before its first read are "
                f"approved by {who}: {released.people:,} people. Opt them out in Odoo: mc-pipeline sync "
                f"--opt-outs {released.company}"
            )
        elif plan_id and plan_id.startswith(store_guards.PREFIX):
            orders = ledger.store_plans.approve(plan_id, by=who, reason=reason)
            console.print(
                f"{orders.orders:,} orders of store {orders.store_id} may be lowered or deleted, approved by "
                f"{who}. Apply them: mc-pipeline sync {orders.company}"
            )
        elif plan_id:
            approval = ledger.plans.approve(plan_id, by=who, reason=reason)
            console.print(
                f"Plan {plan_id} of {approval.company} is approved by {who}: {approval.row_count:,} changes. "
                f"Apply them: mc-pipeline sync {approval.company}"
            )
        else:
            _list_what_waits(
                console,
                ledger.plans.waiting(),
                ledger.old_opt_outs.waiting(),
                ledger.store_plans.waiting(),
            )


def _refuse_another(ledger: Ledger) -> None:
    """Release nothing in a ledger whose history is not whole.

    Raises:
        LedgerError: it is not the one that the stored tables were made with.
    """
    if sentence := what_to_do(ledger):
        raise LedgerError(sentence)


def _list_what_waits(
    console: Console,
    plans: Sequence[PlanRecord],
    old_opt_outs: Sequence[OldOptOutsRecord],
    orders: Sequence[StorePlan],
) -> None:
    """Show company by company what a person can release, each with what its release does."""
    from mc_pipeline.cli.summary import show_waiting_opt_outs, show_waiting_orders, show_waiting_plan

    if not plans and not old_opt_outs and not orders:
        console.print("No plan and no old opt-out waits for approval.")
    waiting: list[PlanRecord | OldOptOutsRecord | StorePlan] = [*plans, *old_opt_outs, *orders]
    for company in sorted({each.company for each in waiting}):
        for record in plans:
            if record.company == company:
                show_waiting_plan(console, record)
        for each in old_opt_outs:
            if each.company == company:
                show_waiting_opt_outs(console, each)
        for store_plan in orders:
            if store_plan.company == company:
                show_waiting_orders(console, store_plan)
