"""Assets of the group ``audience``: the audiences as they are, who should be in them, the plan, the push."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import (
    SAMPLE_ROWS,
    audience_link,
    column_schema,
    count_by,
    counts,
    counts_table,
    partners_in_odoo,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.sync.company_lease import company_lease
from mc_pipeline.sync.company_records import require_company_if
from mc_pipeline.sync.known_ledger import refuse_another_ledger
from mc_pipeline.sync.observing import Audiences, confirm_absences, observe_audiences, troubles_of_audiences
from mc_pipeline.sync.systems import Systems
from mc_pipeline.sync.waiting import what_waits
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.elsewhere import customers_elsewhere_in
from mc_pipeline.tables.parquet import COLUMNS
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    import pandas as pd


ONLY_WHICH_AUDIENCES: Mapping[str, Any] = {COLUMNS: ["list_id", "status"]}
"""Metadata of the input mailchimp_members where it is needed for which audiences were read, and whether
anybody is in them, not for who."""
TROUBLE = "trouble"
"""Fact of the table audience_push: which audiences took nothing, and why."""
PUSHED_PLAN = "plan_id"
"""Fact of the table audience_push: the plan that a person may approve for what waits."""


def audience_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the audience assets, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="audience",
        # It is found out there who made an opt-out; seen here first, its origin would stay unknown.
        deps=["mailchimp_opt_outs"],
        kinds={"mailchimp", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description=(
            "The company's audiences as they are: every member in every status, archived and cleaned ones "
            "too. First settles what an interrupted run left open, and records opt-outs as events."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_MEMBERS)},
    )
    @shows_failures
    def mailchimp_members(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.push.member_settling import settle_batches, settle_by_observation
        from mc_pipeline.push.writer import Writer

        company = systems.company(context.partition_key)
        client = systems.mailchimp(company)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            writer = Writer(client, systems.ledger, lease, context.run.run_id)
            from_batches = settle_batches(writer)
            observed = observe_audiences(systems, company, lease, context.run.run_id, context.log)
            table = observed.table
            systems.ledger.troubles.report(
                company.key,
                "mailchimp_members",
                context.run.run_id,
                troubles_of_audiences(company, observed.audiences),
            )
            from_observation = settle_by_observation(
                table.rows, observed.nobody_left, writer, from_batches.under_way
            )
            summary = systems.ledger.members.observe(
                company.key,
                table.rows,
                observed.read_whole,
                table.observed_at,
                list_ids=observed.read,
                find=lambda _: observed.origins,
                fence=lease.fence,
            )
            vanished = confirm_absences(systems, company, observed.read, context.log)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "by_audience_and_status": count_by(table.rows, "audience", "status", of="members"),
                **unless_empty(
                    new_consent_events=counts_table(summary.events, "event"),
                    not_read=unread_table(observed.audiences),
                ),
                "settled_from_an_interrupted_run": from_batches.settled + from_observation,
                "still_under_way_in_batches": len(from_batches.under_way),
                "vanished": vanished,
                "marketing_permissions_taken_back": summary.permissions_withdrawn,
                **{
                    f"{each.name}_in_mailchimp": dg.MetadataValue.url(
                        audience_link(systems.settings, company, each.list_id, each.described.web_id)
                    )
                    for each in observed.audiences.all
                    if each.described is not None
                },
            },
        )

    @dg.multi_asset(
        name="contacts",
        group_name="audience",
        outs={
            "contacts": dg.AssetOut(
                kinds={"pandas", "parquet"},
                owners=[Owner.MARKETING_OPS.team],
                description=(
                    "One row per address that should be in an audience: the winning partner, the "
                    "purchases, which audience and why, and which status it would be created with and why."
                ),
                metadata={"dagster/column_schema": column_schema(schemas.CONTACTS)},
            ),
            "set_aside": dg.AssetOut(
                kinds={"pandas", "parquet"},
                owners=[Owner.MARKETING_OPS.team],
                description=(
                    "Partners left out of every audience, with the reason and what to do about it. The "
                    "others continue without them."
                ),
                metadata={"dagster/column_schema": column_schema(schemas.SET_ASIDE)},
            ),
        },
        # The audiences are observed first: who ever opted out is known to the ledger from there.
        ins={"mailchimp_members": dg.AssetIn(metadata=ONLY_WHICH_AUDIENCES)},
        partitions_def=companies,
    )
    @shows_failures
    def contacts(
        context: dg.AssetExecutionContext,
        odoo_partners: Table,
        odoo_orders: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> Iterator[dg.MaterializeResult[Table]]:
        from mc_pipeline.domain.contacts.contacts import build_contacts
        from mc_pipeline.odoo.tags import read_tag_paths
        from mc_pipeline.sync.contact_inputs import contact_inputs
        from mc_pipeline.sync.opt_outs.hearing import hear_other_companies
        from mc_pipeline.sync.set_aside import list_set_aside

        company = systems.company(context.partition_key)
        require_company_if(odoo_partners)
        hear_other_companies(systems, company, context.run.run_id, context.log)
        result = build_contacts(
            contact_inputs(
                systems.ledger,
                company,
                odoo_partners.rows,
                odoo_orders.rows,
                elsewhere=customers_elsewhere_in(odoo_partners),
                double_optin_audiences=Audiences.of(mailchimp_members, company).double_optin,
                # A tag that is misspelt in no_tag would exclude nobody.
                known_tags=read_tag_paths(systems.odoo(company)),
            )
        )
        for note in result.notes:
            context.log.warning(note)
        contact_table = odoo_partners.derive(result.contacts, odoo_orders)
        rows = result.contacts
        yield dg.MaterializeResult(
            asset_key="contacts",
            value=contact_table,
            metadata=table_metadata(contact_table)
            | {
                "by_audience_and_status_if_new": count_by(
                    rows.assign(status_if_new=rows["status_for_new"].replace("", "not created")),
                    "audience",
                    "status_if_new",
                    of="contacts",
                ),
                "orders_without_a_person": len(result.unattributed_orders),
                **(
                    {"notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in result.notes))}
                    if result.notes
                    else {}
                ),
                **partners_in_odoo(
                    systems.settings,
                    "sample",
                    rows[
                        ["partner_id", "email", "audience", "order_count", "total_spent", "audience_because"]
                    ],
                    SAMPLE_ROWS,
                ),
            },
        )
        aside = list_set_aside(systems, company, odoo_partners, result, context.run.run_id, context.log)
        aside_table = odoo_partners.derive(aside, odoo_orders)
        yield dg.MaterializeResult(
            asset_key="set_aside",
            value=aside_table,
            metadata=table_metadata(aside_table)
            | {
                **unless_empty(by_reason=_reasons(aside)),
                **partners_in_odoo(
                    systems.settings,
                    "to_do",
                    aside.loc[
                        ~aside["fix"].str.startswith("Nothing to do"),
                        ["partner_id", "email", "reason", "detail"],
                    ],
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="audience",
        kinds={"pandas", "parquet"},
        owners=[Owner.MARKETING_OPS.team],
        # Opt-outs go first; nothing of the plan depends on how many there were.
        deps=["missed_opt_outs"],
        description=(
            "The changes that the audiences need, row by row, with before, after and why. Nothing is sent "
            "here."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.AUDIENCE_PLAN)},
    )
    @shows_failures
    def audience_plan(
        context: dg.AssetExecutionContext,
        contacts: Table,
        set_aside: Table,
        odoo_partners: Table,
        odoo_blacklist: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.planning import PlanTables, make_plan

        refuse_another_ledger(systems.ledger)
        company = systems.company(context.partition_key)
        tables = PlanTables(
            contacts=contacts,
            set_aside=set_aside,
            partners=odoo_partners,
            blacklist=odoo_blacklist,
            members=mailchimp_members,
        )
        made = make_plan(systems, company, tables)
        plan = made.table.rows
        if not made.report.needs_approval:
            # Otherwise the check says so, with what to do.
            context.log.info(made.verdict)
        sent = plan[plan["held_back_because"] == ""]
        return dg.MaterializeResult(
            value=made.table,
            metadata=table_metadata(made.table)
            | {
                "plan_id": made.plan_id,
                "verdict": made.verdict,
                **unless_empty(
                    by_audience_and_operation=count_by(sent, "audience", "operation", of="rows"),
                    created_by_status=counts_table(
                        counts(sent.loc[sent["operation"] == "create", "status"]), "status"
                    ),
                    held_back=counts_table(
                        counts(plan.loc[plan["held_back_because"] != "", "held_back_because"]), "because"
                    ),
                    first_load=_first_load_table(made.first_load),
                ),
                "consented_not_subscribed": len(made.changes.consented_not_subscribed),
                "not_written": counts_table(counts(made.changes.not_written["reason"]), "reason"),
                **partners_in_odoo(
                    systems.settings,
                    "sample",
                    sent.groupby(["audience", "operation"]).head(1)[
                        ["partner_id", "email", "audience", "operation", "status", "tag", "because"]
                    ],
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="audience",
        kinds={"mailchimp", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description="The plan applied to Mailchimp, with one outcome per row. Rows that need an approval "
        "wait, and the others are applied. Refuses a plan that is old, replaced or applied already.",
        metadata={"dagster/column_schema": column_schema(schemas.AUDIENCE_PUSH)},
    )
    @shows_failures
    def audience_push(
        context: dg.AssetExecutionContext,
        audience_plan: Table,
        mailchimp_members: Table,
        contacts: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.applying import apply_plan, what_is_broken

        refuse_another_ledger(systems.ledger)
        company = systems.company(context.partition_key)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            pushed = apply_plan(
                systems,
                company,
                audience_plan,
                mailchimp_members,
                contacts,
                lease,
                context.run.run_id,
                context.log,
            )
            found = what_is_broken(systems, company, contacts, pushed)
        systems.ledger.troubles.report(
            company.key,
            "audience_push",
            context.run.run_id,
            [*found, *what_waits(pushed.report, pushed.plan_id, company.key)],
        )
        outcome = pushed.rows
        table = replace(
            audience_plan.derive(outcome),
            facts={TROUBLE: " ".join(each.sentence for each in found), PUSHED_PLAN: pushed.plan_id},
        )
        if found:
            context.log.error(table.facts[TROUBLE])
        trouble = not_applied(outcome)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "written": int((outcome["outcome"] == "applied").sum()),
                **unless_empty(
                    by_outcome=count_by(outcome, "audience", "operation", "outcome", of="rows"),
                    requests=_progress(systems.ledger.intents.progress(company.key, context.run.run_id)),
                ),
                **partners_in_odoo(
                    systems.settings,
                    "not_applied",
                    trouble[["partner_id", "email", "audience", "operation", "outcome", "detail"]],
                ),
            },
        )

    return [mailchimp_members, contacts, audience_plan, audience_push]


def not_applied(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of ``audience_push`` that failed or were held back; what waits is none of them."""
    from mc_pipeline.domain.plan.waiting_rows import WAITS

    return rows[~rows["outcome"].isin(["applied", "unchanged", WAITS])]


def unread_table(audiences: Audiences) -> dg.MetadataValue:
    """List the audiences that were not read, or not completely, with the reason."""
    import pandas as pd

    rows = [
        {
            "audience": each.name,
            "list_id": each.list_id,
            "read": "in part" if each.described is not None else "gone" if each.gone else "no",
            "because": each.because,
        }
        for each in audiences.all
        if each.because
    ]
    return records_table(pd.DataFrame(rows, columns=["audience", "list_id", "read", "because"]))


def _reasons(aside: "pd.DataFrame") -> dg.MetadataValue:
    """Count by reason, the most frequent first, with what is usually to be done about it."""
    by_reason = aside.groupby("reason").agg(partners=("reason", "size"), what_to_do=("fix", "first"))
    return records_table(by_reason.sort_values("partners", ascending=False).reset_index())


def _first_load_table(first_load: list[dict[str, Any]]) -> dg.MetadataValue:
    """Show the facts of a first load one below the other: an audience a column."""
    import pandas as pd

    audiences = {load["audience"]: load for load in first_load}
    facts = [fact for load in first_load[:1] for fact in load if fact != "audience"]
    rows = [{"fact": fact, **{key: load[fact] for key, load in audiences.items()}} for fact in facts]
    return records_table(pd.DataFrame(rows, dtype=object))


def _progress(requests: "pd.DataFrame") -> dg.MetadataValue:
    import pandas as pd

    shown: Mapping[str, Any] = {
        "batch": requests["batch_id"].fillna("single calls"),
        "audience": requests["audience"],
        "operation": requests["operation"],
        "outcome": requests["outcome"].fillna("open"),
        "rows": requests["intents"],
    }
    return records_table(pd.DataFrame(shown))
