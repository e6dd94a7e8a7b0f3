"""Assets of the group ``consent``: opt-outs of Mailchimp, into Odoo, and Odoo's into every audience."""

from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.company_lease import company_lease
from mc_pipeline.defs.presentation import (
    column_schema,
    count_by,
    counts,
    counts_table,
    partners_in_odoo,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    import pandas as pd

MARKETING = "team:marketing-ops"

LAST_DAY, USUAL, FIRST_READ = "opt_outs_in_24_hours", "usual_in_24_hours", "first_read"
"""Facts of the table mailchimp_opt_outs."""

SETTLED, TROUBLE = "settled", "trouble"
"""Facts of the table odoo_opt_outs."""

_WHO = ["action", "cause", "occurred_at", "outcome", "because", "detail"]


def consent_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the consent assets, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        kinds={"mailchimp", "parquet"},
        owners=[MARKETING],
        description="Who unsubscribed, bounced, complained, was archived or came back since the last run, in "
        "every audience of the company, and whose act it was. Nothing holds this back, however many.",
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_OPT_OUTS)},
    )
    def mailchimp_opt_outs(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult:
        from mc_pipeline.defs.consent.polling import poll_company

        company = systems.company(context.partition_key)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            table = poll_company(systems, company, lease, context.log)
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
        # The events: what Mailchimp told, and what the audiences show beyond it.
        deps=["mailchimp_opt_outs", "mailchimp_members"],
        kinds={"odoo", "parquet"},
        owners=[MARKETING],
        description="Whoever unsubscribed, bounced for good or complained in Mailchimp is opted out in Odoo, "
        "if Odoo knows them. Who comes back by their own act is lifted where we made the opt-out. One row "
        "per person of whom Mailchimp told something; opt-outs from before an audience was first read wait "
        "once for a person, nothing else does.",
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_OPT_OUTS)},
    )
    def odoo_opt_outs(
        context: dg.AssetExecutionContext,
        odoo_partners: Table,
        odoo_blacklist: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult:
        from mc_pipeline.defs.consent.opting_out import carry_into_odoo

        company = systems.company(context.partition_key)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            table = carry_into_odoo(
                systems, company, lease, context.run.run_id, odoo_partners, odoo_blacklist, context.log
            )
        rows = table.rows
        conflicts = rows[rows["conflict"] != ""]
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "conflicts": len(conflicts),
                "not_known_to_odoo": int(rows["partner_id"].isna().sum()),
                "settled_from_an_interrupted_run": int(table.facts[SETTLED]),
                **unless_empty(by_action_and_outcome=count_by(rows, "action", "outcome", of="people")),
                **partners_in_odoo(
                    systems.settings,
                    "who",
                    rows.loc[rows["action"] != "none", ["partner_id", "email", *_WHO]],
                ),
                **partners_in_odoo(
                    systems.settings, "to_decide", conflicts[["partner_id", "email", "conflict", "because"]]
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        kinds={"mailchimp", "parquet"},
        owners=[MARKETING],
        description="Whoever opted out in Odoo is unsubscribed in every audience, before anything else is "
        "written. No guard, check or plan holds this back. One row per member, with the outcome.",
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_UNSUBSCRIBES)},
    )
    def mailchimp_unsubscribes(
        context: dg.AssetExecutionContext,
        odoo_partners: Table,
        odoo_blacklist: Table,
        odoo_opt_outs: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult:
        from mc_pipeline.push.unsubscribes import push_unsubscribes
        from mc_pipeline.push.writes import MemberWrites

        company = systems.company(context.partition_key)
        due = unsubscribes_due(
            systems, company, odoo_partners, odoo_blacklist, odoo_opt_outs, mailchimp_members
        )
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            writes = MemberWrites(systems.mailchimp(company), systems.ledger, lease, context.run.run_id)
            done = push_unsubscribes(due, writes)
        table = odoo_blacklist.derive(done, odoo_partners, mailchimp_members)
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

    return [mailchimp_opt_outs, odoo_opt_outs, mailchimp_unsubscribes]


def unsubscribes_due(
    systems: Systems,
    company: CompanySettings,
    partners: Table,
    blacklist: Table,
    opt_outs: Table,
    members: Table,
) -> "pd.DataFrame":
    """Decide who has to be unsubscribed in the company's audiences, from both systems and the ledger.

    ``opt_outs`` is the odoo_opt_outs table: whoever was just opted out in Odoo leaves all audiences now.
    """
    from mc_pipeline.domain.evidence import UsedEvidence, withdrawn_evidence
    from mc_pipeline.domain.former_addresses import addresses_inheriting_opt_outs
    from mc_pipeline.domain.odoo_opt_outs import blacklist_after, company_opt_outs, returned_by_themselves
    from mc_pipeline.domain.opt_outs import members_to_unsubscribe

    list_ids = [audience.list_id for audience in company.audiences.values()]
    records = systems.ledger.members.load(list_ids)
    used = [
        UsedEvidence.of(event.audience, event.email, event.evidence)
        for event in systems.ledger.consent.subscribed_by_us(list_ids)
        if event.evidence
    ]
    rows, of_company, returned = blacklist.rows, {}, {}
    if company.opt_out_scope == "company":
        of_company = company_opt_outs(opt_outs.rows, systems.ledger.odoo_opt_outs.done(), company.key)
        events = systems.ledger.consent.opt_outs_and_returns()
        returned = {
            (list_id, email): at
            for (list_id, email), at in returned_by_themselves(events, company.key).items()
            if email in of_company
        }
    else:
        rows = blacklist_after(rows, opt_outs.rows, opt_outs.observed_at)
    active = rows[rows["active"]]
    opted_out = systems.ledger.consent.ever_opted_out() | set(active["email"])
    return members_to_unsubscribe(
        members.rows,
        rows,
        withdrawn_evidence(used, partners.rows),
        records,
        addresses_inheriting_opt_outs(records, partners.rows, opted_out),
        opted_out_of_company=of_company,
        returned=returned,
    )
