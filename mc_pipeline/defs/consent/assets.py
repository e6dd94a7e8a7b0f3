"""Assets of the group ``consent``: opt-outs of Mailchimp, into Odoo, and Odoo's into every audience.

None of the three on the path takes a table of partners or members, and none of them fails because of what it
cannot read or apply: that is in its check, and the rest is applied.
"""

from contextlib import suppress

import dagster as dg

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import (
    column_schema,
    count_by,
    counts,
    counts_table,
    old_opt_outs_metadata,
    partners_in_odoo,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.domain.consent.old_opt_outs import people_that_wait
from mc_pipeline.domain.consent.usual_numbers import carried_numbers
from mc_pipeline.ledger import LeaseHeldError, LeaseLostError
from mc_pipeline.ledger.due_in_odoo import CONFLICT
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.sync.observing import Audiences
from mc_pipeline.sync.opt_outs.lease import opt_out_lease
from mc_pipeline.sync.opt_outs.tables import LAST_DAY, SETTLED, USUAL, carried_table, heard_table, undone
from mc_pipeline.sync.opt_outs.troubles import (
    BOTH,
    ODOO,
    not_carried,
    not_heard,
    not_unsubscribed,
    waiting_for_a_release,
)
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.vocabulary import OdooAction, Owner

FIRST = {"dagster/priority": "100"}
"""Opt-outs run before anything else of a run that could run now (rule 5.1)."""

CARRIED, WAITING, MISSING = "carried_into_odoo", "wait_for_a_release", "not_in_odoo_yet"
"""Metadata of odoo_opt_outs: people, by what came of their opt-out or return."""

_WHO = ["action", "cause", "occurred_at", "outcome", "because", "detail"]


def consent_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the consent assets, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        kinds={"mailchimp", "parquet"},
        owners=[Owner.MARKETING_OPS.team],
        op_tags=FIRST,
        description=(
            "Contacts who unsubscribed, bounced, complained, were archived or resubscribed since the last "
            "run, in every audience of the company, and who made the change. Each audience is read "
            "separately."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_OPT_OUTS)},
    )
    @shows_failures
    def mailchimp_opt_outs(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.opt_outs.hearing import Hearing

        company = systems.company(context.partition_key)
        began = systems.now()
        heard = Hearing(systems, context.run.run_id).hear_company(company)
        for each in heard:
            for reason in each.reasons:
                context.log.error(f"Opt-outs cannot be read in {reason}")
        systems.ledger.troubles.report(
            company.key, "mailchimp_opt_outs", context.run.run_id, not_heard(company, heard)
        )
        # Before a table is made: loading what makes tables takes a second. The next user says what failed.
        with suppress(OdooError):
            systems.odoo(company)
        table = heard_table(systems, company, heard, began)
        rows = table.rows
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "opt_outs_in_24_hours": int(table.facts[LAST_DAY]),
                "usual_in_24_hours": float(table.facts[USUAL]),
                **unless_empty(
                    by_event_and_origin=count_by(rows, "audience", "event", "origin", of="events"),
                    who=records_table(
                        rows[["audience", "email", "event", "origin", "status_from", "occurred_at", "source"]]
                    ),
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        # The events are in the ledger.
        deps=["mailchimp_opt_outs"],
        kinds={"odoo", "parquet"},
        owners=[Owner.MARKETING_OPS.team],
        op_tags=FIRST,
        description=(
            "Contacts who unsubscribed, hard bounced or complained in Mailchimp are opted out in Odoo, if "
            "Odoo knows them. Contacts who resubscribe themselves come off Odoo's blacklist if the "
            "pipeline put them there. A note in Odoo says why. One row per person with something to apply. "
            "Only opt-outs from before an audience was first read wait for an approval, once."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_OPT_OUTS)},
    )
    @shows_failures
    def odoo_opt_outs(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.opt_outs.into_odoo import CarriedIntoOdoo, carry_into_odoo, nothing_carried

        company = systems.company(context.partition_key)
        began = systems.now()
        try:
            with opt_out_lease(systems, company.key, context.run.run_id, say=context.log.warning) as lease:
                done: CarriedIntoOdoo = carry_into_odoo(systems, company, lease, context.run.run_id)
        except (LeaseHeldError, LeaseLostError) as held:
            done = nothing_carried(str(held))
        for trouble in done.troubles:
            context.log.error(f"Not all Mailchimp opt-outs are in Odoo; the next run tries again. {trouble}")
        if done.without_note:
            context.log.warning(done.without_note)
        rows = done.rows
        table = carried_table(rows, began, done.troubles, {SETTLED: str(done.settled)})
        conflicts = systems.ledger.due_in_odoo.of(company.key, CONFLICT)
        numbers = carried_numbers(rows)
        waiting = systems.ledger.old_opt_outs.waiting(company.key)
        systems.ledger.troubles.report(
            company.key,
            "odoo_opt_outs",
            context.run.run_id,
            [*not_carried(company, ODOO, done.troubles, undone(rows)), *waiting_for_a_release(waiting)],
        )
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                CARRIED: numbers.carried,
                WAITING: people_that_wait(waiting),
                MISSING: numbers.missing,
                **old_opt_outs_metadata(waiting),
                "conflicts": len(conflicts),
                "not_known_to_odoo": int(rows["partner_id"].isna().sum()),
                "settled_from_an_interrupted_run": done.settled,
                **unless_empty(by_action_and_outcome=count_by(rows, "action", "outcome", of="people")),
                **partners_in_odoo(
                    systems.settings,
                    "who",
                    rows.loc[rows["action"] != "none", ["partner_id", "email", *_WHO]],
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        kinds={"mailchimp", "parquet"},
        owners=[Owner.MARKETING_OPS.team],
        op_tags=FIRST,
        description="People who opted out in Odoo are unsubscribed in every audience, before anything else "
        "is written. No guard, check or plan holds this back. One row per member, with the outcome.",
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_UNSUBSCRIBES)},
    )
    @shows_failures
    def mailchimp_unsubscribes(
        context: dg.AssetExecutionContext, odoo_opt_outs: Table, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.opt_outs.into_mailchimp import (
            CarriedIntoMailchimp,
            carry_into_mailchimp,
            nothing_carried,
        )

        company = systems.company(context.partition_key)
        began = systems.now()
        lifted = odoo_opt_outs.rows.loc[odoo_opt_outs.rows["action"] == OdooAction.LIFT, "email"]
        carried = CarriedIntoMailchimp.none()
        more = True
        while more:
            try:
                with opt_out_lease(
                    systems, company.key, context.run.run_id, say=context.log.warning
                ) as lease:
                    part = carry_into_mailchimp(
                        systems,
                        company,
                        lease,
                        context.run.run_id,
                        lifted=set(lifted),
                        without=carried.troubles,
                    )
            except (LeaseHeldError, LeaseLostError) as held:
                part = nothing_carried(str(held))
            carried, more = carried.followed_by(part), part.more
        troubles = [f"{audience}: {why}" for audience, why in carried.troubles.items()]
        for trouble in troubles:
            context.log.error(f"Not everybody is unsubscribed yet; the next run tries again. {trouble}")
        done = carried.rows
        systems.ledger.troubles.report(
            company.key,
            "mailchimp_unsubscribes",
            context.run.run_id,
            not_unsubscribed(company, carried.troubles, undone(done)),
        )
        table = carried_table(done, began, troubles)
        conflicts = done[done["cause"] == "resubscribed_unproven"]
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "conflicts": len(conflicts),
                **unless_empty(
                    by_outcome=counts_table(counts(done["outcome"]), "outcome"),
                    by_cause=counts_table(counts(done["cause"]), "cause"),
                    who=records_table(
                        done[["audience", "email", "status_before", "cause", "outcome", "detail"]]
                    ),
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        deps=["mailchimp_unsubscribes"],
        kinds={"odoo", "mailchimp", "parquet"},
        owners=[Owner.MARKETING_OPS.team],
        description=(
            "Both systems compared as a whole, and every opt-out applied that the steps before could not "
            "see: an address that Odoo knows only now, consent withdrawn earlier, a person who opted out "
            "under a former address. One row per opt-out, with the outcome."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.MISSED_OPT_OUTS)},
    )
    @shows_failures
    def missed_opt_outs(
        context: dg.AssetExecutionContext,
        odoo_partners: Table,
        odoo_blacklist: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.opt_outs.comparing import Observed, carry_what_was_missed, nothing_compared

        company = systems.company(context.partition_key)
        observed = Observed(
            odoo_partners.rows,
            odoo_partners.observed_at,
            odoo_partners.complete,
            odoo_blacklist.rows,
            odoo_blacklist.observed_at,
            odoo_blacklist.complete,
            mailchimp_members.rows,
            tuple(each.list_id for each in Audiences.of(mailchimp_members, company).unread),
        )
        try:
            with opt_out_lease(systems, company.key, context.run.run_id, say=context.log.warning) as lease:
                missed = carry_what_was_missed(systems, company, lease, context.run.run_id, observed)
        except (LeaseHeldError, LeaseLostError) as held:
            missed = nothing_compared(str(held))
        for trouble in missed.troubles:
            context.log.error(f"An opt-out could not be applied; the next run tries again. {trouble}")
        if missed.without_note:
            context.log.warning(missed.without_note)
        systems.ledger.troubles.report(
            company.key,
            "missed_opt_outs",
            context.run.run_id,
            not_carried(company, BOTH, missed.troubles, undone(missed.rows)),
        )
        table = carried_table(missed.rows, odoo_blacklist.observed_at, missed.troubles)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                **unless_empty(
                    by_system_and_cause=count_by(missed.rows, "system", "cause", "outcome", of="opt-outs")
                ),
                **partners_in_odoo(
                    systems.settings,
                    "who",
                    missed.rows[["partner_id", "email", "system", "audience", "action", "cause", "outcome"]],
                ),
            },
        )

    return [mailchimp_opt_outs, odoo_opt_outs, mailchimp_unsubscribes, missed_opt_outs]
