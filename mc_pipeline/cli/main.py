"""The command itself: its sub-commands, and how errors are shown."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from dotenv import load_dotenv

from mc_pipeline import __version__
from mc_pipeline.masking import mask_text

_HELP = {
    "approve": "List what waits for an approval, or approve it.",
    "demo": "Run the whole job on sandbox servers, with invented people.",
    "doctor": "Check settings, rights and audiences; changes nothing.",
    "explain": "Explain why a person is, or is not, in an audience.",
    "leases": "Show runs and leases; end a lease of a dead run.",
    "ledger": "Back up the ledger, or accept another one.",
    "reconcile": "Compare Odoo's kept revenue with Mailchimp's.",
    "sandbox": "Run sandbox servers of Odoo and Mailchimp.",
    "status": "Show what is broken, waits or was not checked.",
    "sync": "Sync companies: read both systems, apply opt-outs, plan, push.",
    "webhooks": "Receive opt-outs at once, with who made them.",
}
"""The short help of each command. Its module has its name, and is loaded when it is called."""


class CommandsOnDemand(click.Group):
    """A group that loads a command when it is called: opt-outs do not wait for what the others import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return list(_HELP)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None when there is none of that name."""
        if cmd_name not in _HELP:
            return None
        with _nothing_collected():
            module = importlib.import_module(f"mc_pipeline.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        command.short_help = _HELP[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of the commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep the garbage collector from what is loaded: it would go through all of it, again and again.

    That takes half a second of processor time until the first request.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=CommandsOnDemand, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mc-pipeline")
def commands() -> None:
    """Keeps each Odoo company's Mailchimp audiences in sync.

    MC_PIPELINE_CONFIG names companies.yaml; DAGSTER_HOME is where runs, tables and the ledger are kept
    (.dagster_home in the working directory when it is not set). Both, and the secrets that companies.yaml
    refers to, may be in a file .env of the working directory.
    """


def main() -> None:
    """Run the command; what is wrong with settings or systems is one clear message, and exit code 1."""
    # As Dagster's own commands do; what the environment has already wins.
    load_dotenv(Path.cwd() / ".env")
    try:
        commands()
    except Exception as error:
        said = mask_text(str(error)) if _is_ours(error) else _about_storage(error)
        if not said:
            raise
        click.echo(f"Error: {said}", err=True)
        sys.exit(1)


def _about_storage(error: Exception) -> str:
    from mc_pipeline.cli.storage_trouble import storage_trouble

    return storage_trouble(error)


def _is_ours(error: Exception) -> bool:
    """Distinguish errors that explain themselves from bugs, whose traceback is needed."""
    return type(error).__module__.startswith("mc_pipeline.")
