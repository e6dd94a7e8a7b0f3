"""Assets of the group ``consent``: opt-outs told by Mailchimp, and Odoo's carried into every audience."""

from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.company_lease import company_lease
from mc_pipeline.defs.presentation import (
    column_schema,
    count_by,
    counts,
    counts_table,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.defs.systems import Systems
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    import pandas as pd

MARKETING = "team:marketing-ops"

LAST_DAY, USUAL, FIRST_READ = "opt_outs_in_24_hours", "usual_in_24_hours", "first_read"
"""Facts of the table mailchimp_opt_outs."""


def consent_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the consent assets, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="consent",
        kinds={"mailchimp", "parquet"},
        owners=[MARKETING],
        pool="mailchimp",
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
        kinds={"mailchimp", "parquet"},
        owners=[MARKETING],
        pool="mailchimp",
        description="Whoever opted out in Odoo is unsubscribed in every audience, before anything else is "
        "written. No guard, check or plan holds this back. One row per member, with the outcome.",
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_UNSUBSCRIBES)},
    )
    def mailchimp_unsubscribes(
        context: dg.AssetExecutionContext,
        odoo_partners: Table,
        odoo_blacklist: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult:
        from mc_pipeline.push.unsubscribes import push_unsubscribes
        from mc_pipeline.push.writes import MemberWrites

        company = systems.company(context.partition_key)
        due = unsubscribes_due(systems, company.key, odoo_partners, odoo_blacklist, mailchimp_members)
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

    return [mailchimp_opt_outs, mailchimp_unsubscribes]


def unsubscribes_due(
    systems: Systems, company_key: str, partners: Table, blacklist: Table, members: Table
) -> "pd.DataFrame":
    """Decide who has to be unsubscribed in the company's audiences, from both systems and the ledger."""
    from mc_pipeline.domain.evidence import UsedEvidence, withdrawn_evidence
    from mc_pipeline.domain.former_addresses import addresses_inheriting_opt_outs
    from mc_pipeline.domain.opt_outs import members_to_unsubscribe

    company = systems.company(company_key)
    list_ids = [audience.list_id for audience in company.audiences.values()]
    records = systems.ledger.members.load(list_ids)
    used = [
        UsedEvidence.of(event.audience, event.email, event.evidence)
        for event in systems.ledger.consent.subscribed_by_us(list_ids)
        if event.evidence
    ]
    active = blacklist.rows[blacklist.rows["active"]]
    opted_out = systems.ledger.consent.ever_opted_out() | set(active["email"])
    return members_to_unsubscribe(
        members.rows,
        blacklist.rows,
        withdrawn_evidence(used, partners.rows),
        records,
        addresses_inheriting_opt_outs(records, partners.rows, opted_out),
    )
