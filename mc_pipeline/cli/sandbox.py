"""``mc-pipeline sandbox``: sandbox servers of both systems, alone or with the Dagster UI."""

import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import click
from rich.console import Console

from mc_pipeline.cli.dagster_dev import dagster_dev, last_words, wait_until_ready
from mc_pipeline.cli.stand_ins import StandIns, stand_ins
from mc_pipeline.home import HOME_VARIABLE

_ODOO_PORT, _MAILCHIMP_PORT, _DAGSTER_PORT = 8069, 8070, 3000
_POLL_SECONDS = 0.5


@click.command()
@click.option("--with-dagster", is_flag=True, help="Open the Dagster UI on the sandbox too.")
@click.option("--odoo-port", type=int, help=f"{_ODOO_PORT} by default, or a free one.")
@click.option("--mailchimp-port", type=int, help=f"{_MAILCHIMP_PORT} by default, or a free one.")
@click.option("--dagster-port", type=int, help=f"{_DAGSTER_PORT} by default, or a free one.")
@click.option(
    "--partners",
    type=click.IntRange(min=300),
    default=2000,
    show_default=True,
    help="Approximate number of partners in Odoo.",
)
def sandbox(
    with_dagster: bool,
    odoo_port: int | None,
    mailchimp_port: int | None,
    dagster_port: int | None,
    partners: int,
) -> None:
    """Run sandbox servers of Odoo and Mailchimp with invented people, until interrupted.

    Both have pages where you can look at the data and act as a person. Nothing leaves this machine, no real
    installation is used, and all data is gone at the end.
    """
    console = Console()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    ports = {
        "odoo_port": _port("--odoo-port", odoo_port, _ODOO_PORT),
        "mailchimp_port": _port("--mailchimp-port", mailchimp_port, _MAILCHIMP_PORT),
    }
    ui = _port("--dagster-port", dagster_port, _DAGSTER_PORT)
    with tempfile.TemporaryDirectory(prefix="mc_pipeline_sandbox_") as folder:
        home = Path(folder)
        with stand_ins(home, partners=partners, **ports) as servers:
            _say(console, servers, home)
            if with_dagster and not stopped.is_set():
                sys.exit(_with_dagster(console, home, ui, stopped))
            console.print("Stop with Ctrl-C.")
            stopped.wait()


def _port(option: str, asked: int | None, usual: int) -> int:
    """Return the port asked for, the usual one, or a free one where somebody else has that.

    Raises:
        click.BadParameter: the port asked for is taken.
    """
    for port in (usual, 0) if asked is None else (asked,):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(attempt.getsockname()[1])
    raise click.BadParameter(
        f"another program listens on port {asked}: choose another one, or none", param_hint=option
    )


def _say(console: Console, servers: StandIns, home: Path) -> None:
    world = servers.world
    console.print(f"Odoo       {servers.odoo.url}", highlight=False)
    console.print(f"Mailchimp  {servers.mailchimp.url}", highlight=False)
    console.print(
        f"{world.partners:,} invented partners of {' and '.join(world.companies)}. "
        "To sync them from another terminal:",
        highlight=False,
        soft_wrap=True,
    )
    settings = {
        "MC_PIPELINE_CONFIG": str(servers.config),
        HOME_VARIABLE: str(home),
        **world.environment(),
    }
    for name, value in settings.items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)
    console.print(f"  mc-pipeline sync {next(iter(world.companies))}", highlight=False)


def _with_dagster(console: Console, home: Path, port: int, stopped: threading.Event) -> int:
    """Run ``dagster dev`` until we are stopped, or until it ends by itself, which is a failure."""
    console.print(f"Dagster    http://127.0.0.1:{port} is starting, about 20 seconds", highlight=False)
    with dagster_dev(home, port) as process:
        if wait_until_ready(process, port, give_up=stopped.is_set):
            console.print(
                f"Dagster    http://127.0.0.1:{port} is ready: Jobs › sync_company › Materialize all…, "
                "choose a company. Stop with Ctrl-C.",
                highlight=False,
                soft_wrap=True,
            )
        while not stopped.wait(_POLL_SECONDS):
            if process.poll() is not None:
                console.print(last_words(home), markup=False, highlight=False)
                console.print(f"[red]Dagster ended unexpectedly[/] (exit code {process.returncode}).")
                return 1
        console.print("Stopping Dagster …")
    return 0
