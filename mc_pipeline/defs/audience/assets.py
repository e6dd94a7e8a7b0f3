"""Assets of the group ``audience``: the audiences as they are, who should be in them, the plan, the push."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from mc_pipeline.defs.company_lease import company_lease
from mc_pipeline.defs.consent.assets import MARKETING
from mc_pipeline.defs.odoo.assets import DATA_ENGINEERS, judge_read
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
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    import pandas as pd

CONFIRMED_ABSENCES = 200
"""Members asked for one by one in a run, when they have disappeared from an audience (rule 1.3)."""


def audience_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the audience assets, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="audience",
        # Whose act an opt-out was is found out there; seen here first, its origin would stay unknown.
        deps=["mailchimp_opt_outs"],
        kinds={"mailchimp", "parquet"},
        owners=[DATA_ENGINEERS],
        description="The company's audiences as they are: every member in every status, archived and cleaned "
        "ones too. Settles first what an interrupted run left open, and records opt-outs as events.",
        metadata={"dagster/column_schema": column_schema(schemas.MAILCHIMP_MEMBERS)},
    )
    def mailchimp_members(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult:
        from mc_pipeline.defs.consent.polling import find_origins_of_returns
        from mc_pipeline.push.settling import settle_batches, settle_by_observation

        company = systems.company(context.partition_key)
        client = systems.mailchimp(company)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            from_batches = settle_batches(client, systems.ledger, lease)
            table = _observe_audiences(systems, company)
            from_observation = settle_by_observation(
                table.rows, table.complete, systems.ledger, lease, from_batches.under_way
            )
            origins = find_origins_of_returns(systems, company, table)
            summary = systems.ledger.members.observe(
                company.key,
                table.rows,
                table.complete,
                table.observed_at,
                list_ids=[audience.list_id for audience in company.audiences.values()],
                find=lambda _: origins,
                fence=lease.fence,
            )
            vanished = _confirm_absences(systems, company)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "by_audience_and_status": count_by(table.rows, "audience", "status", of="members"),
                **unless_empty(new_consent_events=counts_table(summary.events, "event")),
                "settled_from_an_interrupted_run": from_batches.settled + from_observation,
                "still_under_way_in_batches": len(from_batches.under_way),
                "vanished": vanished,
                **{
                    f"{key}_in_mailchimp": dg.MetadataValue.url(
                        audience_link(
                            systems.settings,
                            company,
                            audience.list_id,
                            systems.audience(company, audience.list_id).web_id,
                        )
                    )
                    for key, audience in company.audiences.items()
                },
            },
        )

    @dg.multi_asset(
        name="contacts",
        group_name="audience",
        outs={
            "contacts": dg.AssetOut(
                kinds={"pandas", "parquet"},
                owners=[MARKETING],
                description="One row per address that should be in an audience: the partner who speaks for "
                "it, its purchases, which audience and why, and the status it would be created with and why.",
                metadata={"dagster/column_schema": column_schema(schemas.CONTACTS)},
            ),
            "set_aside": dg.AssetOut(
                kinds={"pandas", "parquet"},
                owners=[MARKETING],
                description="Partners left out of every audience, with the reason and what to do about it. "
                "The rest goes on without them.",
                metadata={"dagster/column_schema": column_schema(schemas.SET_ASIDE)},
            ),
        },
        # The audiences are observed first: who ever opted out is known to the ledger from there.
        deps=["mailchimp_members"],
        partitions_def=companies,
    )
    def contacts(
        context: dg.AssetExecutionContext,
        odoo_partners: Table,
        odoo_orders: Table,
        systems: dg.ResourceParam[Systems],
    ) -> Iterator[dg.MaterializeResult]:
        import pandas as pd

        from mc_pipeline.domain.contacts import build_contacts
        from mc_pipeline.domain.rejections import rejected_contacts
        from mc_pipeline.odoo.tags import read_tag_paths

        company = systems.company(context.partition_key)
        result = build_contacts(
            odoo_partners.rows,
            odoo_orders.rows,
            company,
            opted_out_emails=systems.ledger.consent.ever_opted_out(),
            double_optin_audiences=double_optin_audiences(systems, company),
            # A tag that is misspelt in no_tag would exclude nobody.
            known_tags=read_tag_paths(systems.odoo(company)),
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
        lists = {key: audience.list_id for key, audience in company.audiences.items()}
        rejected = rejected_contacts(rows, systems.ledger.members.load(lists.values()), lists)
        aside = (
            pd.concat([result.set_aside, rejected], ignore_index=True) if len(rejected) else result.set_aside
        )
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
        owners=[MARKETING],
        # Opt-outs go first; nothing of the plan depends on how many there were.
        deps=["mailchimp_unsubscribes"],
        description="What has to change for the audiences to be as they should be, row by row, with before, "
        "after and why. Nothing is sent here.",
        metadata={"dagster/column_schema": column_schema(schemas.AUDIENCE_PLAN)},
    )
    def audience_plan(
        context: dg.AssetExecutionContext,
        contacts: Table,
        set_aside: Table,
        odoo_partners: Table,
        odoo_blacklist: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult:
        from mc_pipeline.defs.audience.planning import make_plan

        company = systems.company(context.partition_key)
        made = make_plan(
            systems, company, contacts, set_aside, odoo_partners, odoo_blacklist, mailchimp_members
        )
        plan = made.table.rows
        if not made.report.needs_approval:
            # Otherwise the check says so, with what to do.
            context.log.info(made.report.sentence)
        sent = plan[plan["held_back_because"] == ""]
        return dg.MaterializeResult(
            value=made.table,
            metadata=table_metadata(made.table)
            | {
                "plan_id": made.plan_id,
                "verdict": made.report.sentence,
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
        owners=[DATA_ENGINEERS],
        description="The plan applied to Mailchimp, with one outcome per row. Refuses a plan that is old, "
        "replaced, applied already, or waits for approval, whoever starts it.",
        metadata={"dagster/column_schema": column_schema(schemas.AUDIENCE_PUSH)},
    )
    def audience_push(
        context: dg.AssetExecutionContext,
        audience_plan: Table,
        mailchimp_members: Table,
        contacts: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult:
        from mc_pipeline.defs.audience.pushing import apply_plan

        company = systems.company(context.partition_key)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            outcome = apply_plan(systems, company, audience_plan, mailchimp_members, contacts, lease, context)
        table = audience_plan.derive(outcome)
        trouble = outcome[~outcome["outcome"].isin(["applied", "unchanged"])]
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
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


def double_optin_audiences(systems: Systems, company: CompanySettings) -> frozenset[str]:
    """Return the names of the company's audiences that ask people to confirm their subscription."""
    return frozenset(
        key
        for key, audience in company.audiences.items()
        if systems.audience(company, audience.list_id).double_optin
    )


def _observe_audiences(systems: Systems, company: CompanySettings) -> Table:
    import pandas as pd

    from mc_pipeline.mailchimp.members import read_members

    parts, reasons, observed = [], [], []
    for key, audience in company.audiences.items():
        read = read_members(systems.mailchimp(company), audience.list_id)
        parts.append(read.rows.assign(audience=key))
        observed.append(read.observed_at)
        if not read.complete:
            reasons.append(f"{key}: {read.incomplete_because}")
    rows = systems.erased.without(pd.concat(parts, ignore_index=True))
    table = Table(rows, min(observed), complete=not reasons, incomplete_because="; ".join(reasons))
    return judge_read(systems, company, schemas.MAILCHIMP_MEMBERS.name, table)


def _confirm_absences(systems: Systems, company: CompanySettings) -> int:
    """Ask for members that disappeared from a complete read; whoever is gone twice has vanished."""
    from mc_pipeline.domain.plan_rows import subscriber_hash
    from mc_pipeline.mailchimp.members import get_member

    absent = systems.ledger.members.absent(company.key).head(CONFIRMED_ABSENCES)
    client = systems.mailchimp(company)
    vanished = 0
    for list_id, rows in absent.groupby("list_id"):
        gone = [
            email
            for email in rows["email"]
            if get_member(client, str(list_id), subscriber_hash(email)) is None
        ]
        vanished += len(systems.ledger.members.confirm_absent(str(list_id), gone))
    return vanished


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
