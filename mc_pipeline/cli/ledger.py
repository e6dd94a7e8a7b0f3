"""``mc-pipeline ledger``: copy the ledger, or accept one in place of another."""

import getpass
from pathlib import Path

import click

from mc_pipeline.cli.home import dagster_home


@click.group()
def ledger() -> None:
    """Back up the ledger, or accept one whose history is incomplete."""


@ledger.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Copy the ledger to FILE while syncs continue; a second file beside it keeps who was erased.

    Copying the ledger's own file with other programs gives an outdated or damaged copy.
    """
    from mc_pipeline.ledger.backup import back_up

    dagster_home()
    for made in back_up(file):
        click.echo(str(made))


@ledger.command()
@click.option("--reason", required=True, help="Why; kept in the ledger.")
@click.option("--by", default=None, help="Who; by default the name of the logged-in user.")
def accept(reason: str, by: str | None) -> None:
    """Continue with this ledger, although the stored tables were made with another or a newer one.

    Only if the correct one is lost permanently. What happened in between is no longer known: so consent that
    Odoo recorded before this moment makes nobody subscribed, and old opt-outs and first loads wait for a
    person if the ledger does not know that they were approved. Opt-outs are read from Mailchimp again.
    """
    from mc_pipeline.ledger import Ledger
    from mc_pipeline.sync.known_ledger import accept as accept_ledger
    from mc_pipeline.sync.known_ledger import note_tables_of_before, why_not_this_ledger

    dagster_home()
    with Ledger.open() as opened:
        note_tables_of_before(opened)
        if not why_not_this_ledger(opened):
            click.echo(
                "This is the ledger that the stored tables were made with: there is nothing to accept."
            )
            return
        who = by or getpass.getuser()
        accept_ledger(opened, by=who, reason=reason)
        click.echo(
            f"The ledger at {opened.location} is accepted by {who}. Consent that Odoo recorded before now "
            "makes nobody subscribed. Look at what waits: mc-pipeline sync COMPANY, then mc-pipeline approve"
        )
