"""The command itself: its sub-commands, and how errors are told."""

import sys
from pathlib import Path

import click
from dotenv import load_dotenv

from mc_pipeline.cli.approve import approve
from mc_pipeline.cli.demo import demo
from mc_pipeline.cli.doctor import doctor
from mc_pipeline.cli.explain import explain
from mc_pipeline.cli.reconcile import reconcile
from mc_pipeline.cli.sandbox import sandbox
from mc_pipeline.cli.sync import sync
from mc_pipeline.cli.webhooks import webhooks
from mc_pipeline.masking import mask_text


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mc-pipeline")
def commands() -> None:
    """Keeps each Odoo company's Mailchimp audience right.

    MC_PIPELINE_CONFIG names companies.yaml; DAGSTER_HOME is where runs, tables and the ledger are kept
    (.dagster_home in the working directory when it is not set). Both, and the secrets that companies.yaml
    refers to, may stand in a file .env of the working directory.
    """


for command in (sync, approve, doctor, explain, reconcile, webhooks, sandbox, demo):
    commands.add_command(command)


def main() -> None:
    """Run the command; what is wrong with settings or systems is one clear message, and exit code 1."""
    # As Dagster's own commands do; what the environment has already wins.
    load_dotenv(Path.cwd() / ".env")
    try:
        commands()
    except Exception as error:
        if not _is_ours(error):
            raise
        click.echo(f"Error: {mask_text(str(error))}", err=True)
        sys.exit(1)


def _is_ours(error: Exception) -> bool:
    """Tell errors that explain themselves from faults of the program, whose traceback is needed."""
    return type(error).__module__.startswith("mc_pipeline.")
