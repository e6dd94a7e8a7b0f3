"""``mc-pipeline webhooks``: receive webhooks of Mailchimp, and register, list and remove them."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mc_pipeline.cli.at_once import AtOnce, opt_outs_under_way
from mc_pipeline.cli.home import dagster_home, dagster_instance
from mc_pipeline.cli.sync import chosen
from mc_pipeline.settings import CompanySettings, Settings, load_settings

if TYPE_CHECKING:
    from mc_pipeline.sync.systems import Systems
    from mc_pipeline.webhooks.hooks import Hook

PORT = 8071


@click.group()
def webhooks() -> None:
    """Receive opt-outs at once, and who made them: Mailchimp's webhooks.

    Nothing depends on them: what a webhook misses is found by polling. They need
    MC_PIPELINE_WEBHOOK_SECRET: at least 32 random characters, the same for serve and register.
    """


@webhooks.command()
@click.argument("companies", nargs=-1, metavar="[COMPANY...]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@click.option("--apply", "apply_", is_flag=True, help="Apply a company's opt-outs after each delivery.")
def serve(companies: tuple[str, ...], host: str, port: int, apply_: bool) -> None:
    """Receive the webhooks of companies (all without COMPANY), until interrupted.

    Put a TLS proxy in front of it. What is received is in the ledger before it is answered. The sensor
    mailchimp_opt_outs sees it and runs the opt-outs; with --apply, this process does it at once.
    """
    from mc_pipeline.ledger import Ledger
    from mc_pipeline.ledger.database import utc_now
    from mc_pipeline.webhooks.receiver import listen, receiver_app, server

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    # Of libraries only warnings: what else they say fills the log.
    logging.getLogger("mc_pipeline").setLevel(logging.INFO)
    settings = load_settings()
    keys = chosen(settings, companies, every=not companies)
    hooks = _hooks([settings.companies[key] for key in keys])
    dagster_home()
    unsigned = sorted({hook.signing_variable for hook in hooks if not hook.signing_secrets})
    if unsigned:
        click.echo(f"Signatures are not checked where no secret is set: {', '.join(unsigned)}", err=True)
    with Ledger.open() as ledger, ExitStack() as stack:
        at_once = None
        if apply_:
            worker = AtOnce(opt_outs_runner(settings), opt_outs_under_way(ledger.runs))
            at_once = stack.enter_context(worker)

        def on_new(hook: "Hook") -> None:
            if at_once is not None:
                at_once.notice(hook.company)

        for hook in hooks:
            if ledger.inbox.count_waiting([hook.list_id]):
                on_new(hook)
        app = receiver_app(hooks, ledger.inbox.keep, utc_now, on_new=on_new)
        listener = stack.enter_context(listen(host, port))
        place = f"http://{host}:{listener.getsockname()[1]}"
        click.echo(f"Receiving webhooks of {', '.join(keys)} on {place}. Stop with Ctrl-C.", err=True)
        server(app).run(sockets=[listener])


def opt_outs_runner(settings: Settings) -> Callable[[str], None]:
    """Make the function that runs the job ``opt_outs`` of a company, in the Dagster instance of this home."""
    from mc_pipeline.cli.running import Outcome, run_company
    from mc_pipeline.defs.jobs import OPT_OUTS

    console = Console(stderr=True)
    instance = dagster_instance()

    def run(company: str) -> None:
        done = run_company(settings, company, instance, console, only_changes=True, job_name=OPT_OUTS)
        if done.outcome is Outcome.FAILED:
            for reason in done.reasons:
                console.print(Text(f"The opt-outs of {company} failed: {reason}"))
        else:
            console.print(Text(f"The opt-outs of {company} are applied."))

    return run


@webhooks.command()
@click.argument("companies", nargs=-1, required=True, metavar="COMPANY...")
@click.option("--url", required=True, help="The receiver's public address: https://host/path.")
def register(companies: tuple[str, ...], url: str) -> None:
    """Create two webhooks for every audience of COMPANY: for changes by people, and by administrators.

    The receiver must be running: Mailchimp asks it first. Existing webhooks are kept. The signing secret of a
    new one is printed once: put the printed lines into the receiver's environment and start it again.

    Exit code: 0 all exist, 1 one exists with other settings.
    """
    from mc_pipeline.webhooks.hooks import checked_base
    from mc_pipeline.webhooks.registration import register as register_hook

    base = checked_base(url)
    differing = 0
    with _asking(companies) as (systems, chosen_companies):
        for company in chosen_companies:
            for hook in _hooks([company]):
                done = register_hook(systems.mailchimp(company), hook, base)
                about = f"{company.key} / {hook.audience}, what {_WHO[hook.source]} do"
                click.echo(f"{about}: {_OUTCOMES[done.outcome]}", err=True)
                if done.outcome == "differs":
                    differing += 1
                    wrong = ", ".join(done.webhook.differences(hook.source))
                    click.echo(
                        f"  {wrong}. Remove it, and register it again: mc-pipeline webhooks remove "
                        f"{company.key}",
                        err=True,
                    )
                for place in done.elsewhere:
                    click.echo(f"  another webhook of this pipeline points to {place}", err=True)
                if done.webhook.signing_secret:
                    click.echo(f"{hook.signing_variable}={done.webhook.signing_secret}")
    if differing:
        raise SystemExit(1)


@webhooks.command("list")
@click.argument("companies", nargs=-1, metavar="[COMPANY...]")
def list_webhooks(companies: tuple[str, ...]) -> None:
    """Show the webhooks of every audience of companies (all without COMPANY), without their secrets."""
    from mc_pipeline.webhooks.registration import registered

    grid = Grid(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("audience", "whose", "hears", "address", "signature", "to do"):
        grid.add_column(title, overflow="fold")
    with _asking(companies) as (systems, chosen_companies):
        for company in chosen_companies:
            hooks = _hooks([company])
            for audience in company.audiences.values():
                found = list(registered(systems.mailchimp(company), audience.list_id, hooks))
                for each in found:
                    checked = "checked" if each.hook and each.hook.signing_secrets else "not checked"
                    cells = (
                        f"{company.key} / {audience.key}",
                        "ours" if each.hook else "another's",
                        ", ".join(each.webhook.hears),
                        each.place,
                        checked if each.hook else "",
                        f"{', '.join(each.differences)}: remove, and register again"
                        if each.differences
                        else "",
                    )
                    grid.add_row(*(Text(cell) for cell in cells))
                missing = {hook.source for hook in hooks if hook.list_id == audience.list_id} - {
                    each.hook.source for each in found if each.hook
                }
                for source in sorted(missing):
                    grid.add_row(
                        *(Text(cell) for cell in (f"{company.key} / {audience.key}", "ours", source)),
                        "",
                        "",
                        Text("not registered: mc-pipeline webhooks register"),
                    )
    Console().print(grid)


@webhooks.command()
@click.argument("companies", nargs=-1, required=True, metavar="COMPANY...")
def remove(companies: tuple[str, ...]) -> None:
    """Delete the pipeline's webhooks of every audience of COMPANY; others stay.

    The pipeline recognises its own by MC_PIPELINE_WEBHOOK_SECRET: remove them before you change it.
    """
    from mc_pipeline.webhooks.registration import remove as remove_hooks

    with _asking(companies) as (systems, chosen_companies):
        for company in chosen_companies:
            hooks = _hooks([company])
            for audience in company.audiences.values():
                removed = remove_hooks(systems.mailchimp(company), audience.list_id, hooks)
                click.echo(f"{company.key} / {audience.key}: {len(removed)} removed")


_WHO = {"user": "people", "admin": "administrators"}
_OUTCOMES = {"made": "made", "kept": "there already", "differs": "there already, with other settings"}


@contextmanager
def _asking(companies: tuple[str, ...]) -> "Iterator[tuple[Systems, list[CompanySettings]]]":
    from mc_pipeline.sync.systems import Systems

    settings = load_settings()
    keys = chosen(settings, companies, every=not companies)
    dagster_home()
    systems = Systems(settings)
    try:
        yield systems, [settings.companies[key] for key in keys]
    finally:
        systems.close()


def _hooks(companies: list[CompanySettings]) -> "list[Hook]":
    from mc_pipeline.webhooks.hooks import hooks_of

    return hooks_of(companies, os.environ)
