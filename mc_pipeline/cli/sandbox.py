"""``mc-pipeline sandbox``: stand-ins of both systems to play with, alone or with the Dagster UI."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
from rich.console import Console

from mc_pipeline.cli.home import dagster_home
from mc_pipeline.cli.stand_ins import StandIns, stand_ins


@click.command()
@click.option("--with-dagster", is_flag=True, help="Open the Dagster UI on the stand-ins too.")
@click.option("--odoo-port", default=8069, show_default=True)
@click.option("--mailchimp-port", default=8070, show_default=True)
@click.option("--dagster-port", default=3000, show_default=True)
@click.option("--partners", default=2000, show_default=True, help="About so many partners in Odoo.")
def sandbox(
    with_dagster: bool, odoo_port: int, mailchimp_port: int, dagster_port: int, partners: int
) -> None:
    """Serve stand-ins of Odoo and Mailchimp with invented people, until interrupted.

    Both have a page to look at the data and to act as a person. Nothing leaves this machine.
    """
    console = Console()
    home = dagster_home()
    with stand_ins(home, partners=partners, odoo_port=odoo_port, mailchimp_port=mailchimp_port) as servers:
        _say(console, servers)
        if with_dagster:
            sys.exit(_dagster_dev(console, dagster_port))
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()


def _say(console: Console, servers: StandIns) -> None:
    console.print(f"Odoo       {servers.odoo.url}", highlight=False)
    console.print(f"Mailchimp  {servers.mailchimp.url}", highlight=False)
    console.print("To use them from another terminal:", highlight=False)
    settings = {
        "MC_PIPELINE_CONFIG": str(servers.config),
        "DAGSTER_HOME": os.environ["DAGSTER_HOME"],
        **servers.world.environment(),
    }
    for name, value in settings.items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)


def _dagster_dev(console: Console, port: int) -> int:
    """Run ``dagster dev`` until it ends or we are interrupted; its processes end with it."""
    console.print(f"Dagster    http://127.0.0.1:{port} (starting, about 20 seconds)", highlight=False)
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "dev",
        "--module-name",
        "mc_pipeline.definitions",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    # In a session of its own: an interrupt at the terminal reaches us, and we pass it on once.
    process = subprocess.Popen(command, start_new_session=True)

    def pass_on(*_: object) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    return process.wait()
