"""The job ``erase_person``: takes people out of every audience, table and record that we keep (rule 10.1).

What it does, and in which order, is in ``sync.erasing``. Odoo is not changed: its administrator decides
there, and an opt-out in Odoo's blacklist stays.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import partner_link, records_table
from mc_pipeline.sync.erasing import ErasureRequest, PersonToErase, erase
from mc_pipeline.sync.systems import Systems

ERASE_PERSON = "erase_person"
FORGET_ERASURE_RUNS = "forget_erasure_runs"


class ErasePerson(dg.Config):
    """Whom to erase, and why. At first only looks: set ``dry_run`` to false to erase."""

    partner_ids: list[int] = Field(
        default=[],
        description=("Ids of contacts in Odoo. Better than addresses, because a run stores what is typed."),
    )
    emails: list[str] = Field(
        default=[],
        description="Addresses of people whom Odoo no longer has. The run is deleted afterwards.",
    )
    reason: str = Field(description="Why, such as the date of the request. It is stored, so name nobody.")
    requested_by: str = Field(description="Your name. It is stored.")
    dry_run: bool = Field(default=True, description="True: only show what would be deleted, and where.")


@dg.op(description="Erases people from Mailchimp, the tables and the ledger, or says what would be erased.")
@shows_failures
def erase_people(
    context: dg.OpExecutionContext, config: ErasePerson, systems: dg.ResourceParam[Systems]
) -> None:
    """Erase the people of the config everywhere; done again, it finds nothing and changes nothing.

    Raises:
        dagster.Failure: the config names nobody or somebody unknown, the key is missing, or a company is
            being synced. What was begun is finished by running the job again.
    """
    request = ErasureRequest(
        partner_ids=config.partner_ids,
        emails=config.emails,
        reason=config.reason,
        requested_by=config.requested_by,
        dry_run=config.dry_run,
    )
    people = erase(systems, request, context.run_id, context.log)
    _report(context, systems, people, config.dry_run)


def _report(
    context: dg.OpExecutionContext, systems: Systems, people: Sequence[PersonToErase], dry_run: bool
) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        [{"email": person.email, **entry} for person in people for entry in person.done],
        columns=["email", "where", "what", "count"],
    )
    partners = sorted({partner for person in people for partner in person.partner_ids})
    links = "\n".join(f"- [{partner}]({partner_link(systems.settings, partner)})" for partner in partners)
    context.add_output_metadata(
        {
            "dry_run": dry_run,
            "people": len(people),
            "report": records_table(rows),
            "still_in_odoo": dg.MetadataValue.md(
                f"Odoo is not changed. Anonymise or delete there:\n\n{links}"
                if partners
                else "Odoo has no contact with these addresses."
            ),
        }
    )
    context.log.info(
        f"{len(people)} addresses {'would be' if dry_run else 'are'} erased, {int(rows['count'].sum()):,} "
        f"traces; {len(partners)} contacts are still in Odoo."
    )


@dg.job(
    name=ERASE_PERSON,
    description=(
        "Erase people from every audience and store, from the tables and the ledger, permanently.\n\nIn the "
        "launchpad name the contacts (`partner_ids`), the reason and yourself. `dry_run: true` only shows "
        "what would be deleted, and where; look at it, then run with `dry_run: false`. Odoo itself is not "
        "changed; an opt-out there stays. `MC_PIPELINE_ERASURE_KEY` must be set, and must never change."
    ),
    config={
        "ops": {
            "erase_people": {
                "config": {
                    "partner_ids": [],
                    "emails": [],
                    "reason": "",
                    "requested_by": "",
                    "dry_run": True,
                }
            }
        }
    },
)
def erase_person() -> None:
    """Erase people, or say what would be erased."""
    erase_people()


@dg.run_status_sensor(
    name=FORGET_ERASURE_RUNS,
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[erase_person],
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Deletes finished runs of erase_person whose config contains addresses, because a run stores what "
        "was typed. The ledger still records what was done."
    ),
)
def forget_erasure_runs(context: dg.RunStatusSensorContext) -> None:
    """Delete the run if its config contains addresses and it erased them."""
    config: Any = context.dagster_run.run_config
    given = config["ops"]["erase_people"]["config"]
    if given.get("emails") and not given.get("dry_run", True):
        context.instance.delete_run(context.dagster_run.run_id)
