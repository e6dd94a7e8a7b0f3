"""Assets of the group ``odoo``: what Odoo holds, without judgement."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.odoo.months import MonthsAgain
from mc_pipeline.defs.partitions import CHANGES, READ_TAG
from mc_pipeline.defs.presentation import (
    SAMPLE_ROWS,
    column_schema,
    counts,
    counts_table,
    partners_in_odoo,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.company_records import read_and_judge
from mc_pipeline.sync.opt_outs.erased import due_since_known
from mc_pipeline.sync.reads import find_customers_elsewhere, observe_table, remember, report_read, table_of
from mc_pipeline.sync.snapshots import StoredSnapshots
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.elsewhere import fact_of_customers_elsewhere
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.odoo.changes import Reading
    from mc_pipeline.odoo.reading import OdooRead


def odoo_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the assets that read Odoo, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="odoo",
        kinds={"odoo", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description=(
            "Every partner of the company, of its parent companies and every shared one, archived ones "
            "included, with its opt-out state and the evidence of consent that Odoo holds. One row each."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_PARTNERS)},
    )
    @shows_failures
    def odoo_partners(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.odoo.partners import read_partners

        company = systems.company(context.partition_key)
        consent_fields = {
            audience.consent.boolean_field
            for audience in company.audiences.values()
            if audience.consent and audience.consent.boolean_field
        }
        stored = StoredSnapshots(company.key, schemas.ODOO_PARTNERS.name)
        reading = _reading(context, systems, stored)

        facts: dict[str, str] = {}

        def read() -> "OdooRead":
            answer, said = read_and_judge(
                systems,
                company,
                lambda company_if_field: read_partners(
                    systems.odoo(company),
                    company.odoo_company_id,
                    boolean_fields=sorted(consent_fields),
                    company_if_field=company_if_field,
                    reading=reading,
                ),
            )
            facts.update(said)
            # The table is without them; this is where it is seen that Odoo knows an address of theirs.
            theirs = systems.erased.split(answer.rows)[1]
            known = theirs["email_normalized"].dropna()
            due_since_known(systems.ledger, systems.erased, company.key, known)
            return answer

        table = observe_table(systems, company, schemas.ODOO_PARTNERS, read)
        elsewhere, note = find_customers_elsewhere(systems, company)
        table = replace(table, facts=fact_of_customers_elsewhere(elsewhere) | facts)
        report_read(systems, company, context.run.run_id, schemas.ODOO_PARTNERS.name, table)
        if note:
            context.log.warning(note)
            reading.notes.append(note)
        remember(systems, stored, reading, table)
        rows = table.rows
        return dg.MaterializeResult(
            value=table,
            metadata=_metadata(systems, company, table)
            | {
                "read": _how(reading),
                "archived": int((~rows["active"]).sum()),
                "opted_out_in_odoo": int(rows["is_blacklisted"].sum()),
                "by_type": counts_table(counts(rows["type"]), "type"),
                "company_known_by": counts_table(counts(rows["company_known_by"]), "company_known_by"),
                "customers_of_other_companies": len(elsewhere),
                **partners_in_odoo(
                    systems.settings,
                    "sample",
                    rows[["partner_id", "email", "type", "is_company", "country_code", "tag_names"]],
                    SAMPLE_ROWS,
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="odoo",
        kinds={"odoo", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description="Every line of the company's posted invoices and credit notes, with the order lines that "
        "it belongs to; drafts count when they are posted.",
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_REFUNDS)},
    )
    @shows_failures
    def odoo_refunds(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.domain.revenue.documents import (
            CREDIT_NOTE,
            lines_of_credited_orders,
            match_credits,
            unmatched_credits,
        )
        from mc_pipeline.odoo.orders import read_order_lines
        from mc_pipeline.odoo.refunds import read_refunds

        company = systems.company(context.partition_key)
        odoo = systems.odoo(company)
        stored = StoredSnapshots(company.key, schemas.ODOO_REFUNDS.name)
        reading = _reading(context, systems, stored)
        read = observe_table(
            systems,
            company,
            schemas.ODOO_REFUNDS,
            lambda: read_refunds(odoo, company.odoo_company_id, reading=reading),
        )
        order_lines = table_of(
            read_order_lines(
                odoo,
                company.odoo_company_id,
                line_ids=lines_of_credited_orders(read.rows),
                reading=reading,
            )
        )
        report_read(systems, company, context.run.run_id, schemas.ODOO_REFUNDS.name, read, order_lines)
        table = read.derive(match_credits(read.rows, order_lines.rows), order_lines)
        remember(systems, stored, reading, table)
        documents = table.rows.drop_duplicates("move_id")
        unmatched = unmatched_credits(table.rows)
        return dg.MaterializeResult(
            value=table,
            metadata=_metadata(systems, company, table)
            | {
                "read": _how(reading),
                "by_type": counts_table(counts(documents["move_type"]), "type"),
                "credited_orders": int(table.rows["order_id"].nunique()),
                "credit_notes": int((documents["move_type"] == CREDIT_NOTE).sum()),
                "unmatched_credit_notes": int(unmatched["move_id"].nunique()),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="odoo",
        kinds={"odoo", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description=(
            "Every confirmed or cancelled sale order of the company, ever, with what was ordered and what "
            "is kept after posted credit notes."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_ORDERS)},
    )
    @shows_failures
    def odoo_orders(
        context: dg.AssetExecutionContext,
        odoo_refunds: Table,
        systems: dg.ResourceParam[Systems],
        months: MonthsAgain,
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.domain.revenue.kept import kept_by_order
        from mc_pipeline.odoo.orders import read_order_lines, read_orders

        company = systems.company(context.partition_key)
        odoo = systems.odoo(company)
        stored = StoredSnapshots(company.key, schemas.ODOO_ORDERS.name)
        reading = _reading(context, systems, stored, months)
        read = observe_table(
            systems,
            company,
            schemas.ODOO_ORDERS,
            lambda: read_orders(
                odoo,
                company.odoo_company_id,
                company.timezone,
                reading=reading,
                months_again=months.only,
            ),
        )
        credited = odoo_refunds.rows["order_id"].dropna().unique()
        lines = table_of(read_order_lines(odoo, company.odoo_company_id, map(int, credited), reading=reading))
        report_read(systems, company, context.run.run_id, schemas.ODOO_ORDERS.name, read, lines)
        remember(systems, stored, reading, read.derive(read.rows, lines))
        kept = kept_by_order(read.rows, lines.rows, odoo_refunds.rows)
        table = read.derive(read.rows.join(kept.drop(columns="order_id")), lines, odoo_refunds)
        rows = table.rows
        confirmed = rows[rows["state"] == "sale"]
        return dg.MaterializeResult(
            value=table,
            metadata=_metadata(systems, company, table)
            | {
                "read": _how(reading),
                "by_state": counts_table(counts(rows["state"]), "state"),
                "ordered_untaxed": round(float(confirmed["amount_untaxed_company"].sum()), 2),
                "kept_untaxed": round(float(rows["kept_untaxed_company"].sum()), 2),
                "currency": ", ".join(sorted(rows["company_currency"].unique())),
                "orders_below_zero": int(rows["below_zero"].sum()),
                **unless_empty(by_month=_months_table(rows)),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="odoo",
        kinds={"odoo", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description="Every line of the confirmed and cancelled orders of the company, ever.",
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_ORDER_LINES)},
    )
    @shows_failures
    def odoo_order_lines(
        context: dg.AssetExecutionContext,
        odoo_orders: Table,
        systems: dg.ResourceParam[Systems],
        months: MonthsAgain,
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.odoo.orders import read_order_lines

        company = systems.company(context.partition_key)
        stored = StoredSnapshots(company.key, schemas.ODOO_ORDER_LINES.name)
        reading = _reading(context, systems, stored, months)
        of_months = odoo_orders.rows.loc[odoo_orders.rows["month"].isin(months.only), "order_id"]
        read = observe_table(
            systems,
            company,
            schemas.ODOO_ORDER_LINES,
            lambda: read_order_lines(
                systems.odoo(company),
                company.odoo_company_id,
                reading=reading,
                orders_again=of_months.tolist(),
            ),
        )
        report_read(systems, company, context.run.run_id, schemas.ODOO_ORDER_LINES.name, read)
        remember(systems, stored, reading, read)
        # An order confirmed after the orders were read is none of theirs yet.
        rows = read.rows.merge(odoo_orders.rows[["order_id", "month"]], on="order_id")
        table = read.derive(rows, odoo_orders)
        return dg.MaterializeResult(
            value=table,
            metadata=_metadata(systems, company, table)
            | {
                "read": _how(reading),
                "orders_without_lines": len(set(odoo_orders.rows["order_id"]) - set(rows["order_id"])),
                "free_text_lines": int((rows["product_id"].isna() & rows["display_type"].isna()).sum()),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="odoo",
        kinds={"odoo", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description="Every product that was ever ordered, archived ones included: one row per variant.",
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_PRODUCTS)},
    )
    @shows_failures
    def odoo_products(
        context: dg.AssetExecutionContext, odoo_order_lines: Table, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.odoo.products import read_products

        company = systems.company(context.partition_key)
        ordered = odoo_order_lines.rows["product_id"].dropna().unique()
        read = observe_table(
            systems,
            company,
            schemas.ODOO_PRODUCTS,
            lambda: read_products(systems.odoo(company), company.odoo_company_id, map(int, ordered)),
        )
        report_read(systems, company, context.run.run_id, schemas.ODOO_PRODUCTS.name, read)
        table = read.derive(read.rows, odoo_order_lines)
        rows = table.rows
        return dg.MaterializeResult(
            value=table,
            metadata=_metadata(systems, company, table)
            | {
                "templates": int(rows["product_template_id"].nunique()),
                "archived": int((~rows["active"]).sum()),
                "deleted": len(ordered) - len(rows),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="odoo",
        kinds={"odoo", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team],
        description=(
            "Every address that was ever opted out in Odoo (mail.blacklist), removed entries included. "
            "Odoo keeps one list for all companies."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.ODOO_BLACKLIST)},
    )
    @shows_failures
    def odoo_blacklist(
        context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.odoo.blacklist import read_blacklist

        company = systems.company(context.partition_key)
        table = observe_table(
            systems, company, schemas.ODOO_BLACKLIST, lambda: read_blacklist(systems.odoo(company))
        )
        report_read(systems, company, context.run.run_id, schemas.ODOO_BLACKLIST.name, table)
        return dg.MaterializeResult(
            value=table,
            metadata=_metadata(systems, company, table) | {"active": int(table.rows["active"].sum())},
        )

    return [odoo_partners, odoo_refunds, odoo_orders, odoo_order_lines, odoo_products, odoo_blacklist]


def _reading(
    context: dg.AssetExecutionContext,
    systems: Systems,
    stored: StoredSnapshots,
    months: MonthsAgain | None = None,
) -> "Reading":
    """Read whole, or, if the run's tag or config says so, update the last complete read."""
    from mc_pipeline.odoo.changes import Reading

    odoo = systems.settings.odoo
    builds_upon = context.run.tags.get(READ_TAG) == CHANGES or (months is not None and bool(months.only))
    return Reading(stored.load if builds_upon else None, source=f"{odoo.url} {odoo.database} {odoo.user}")


def _metadata(systems: Systems, company: CompanySettings, table: Table) -> dict[str, Any]:
    """Say what every table says, and over which of Odoo's APIs it was read and why."""
    return table_metadata(table) | {"connection": systems.odoo(company).transport_note}


def _how(reading: "Reading") -> dg.MetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {note}" for note in reading.notes))


def _months_table(orders: "pd.DataFrame") -> dg.MetadataValue:
    """Show orders and what is kept of them by month, the latest first."""
    months = orders.groupby("month", as_index=False).agg(
        orders=("order_id", "size"), kept_untaxed=("kept_untaxed_company", "sum")
    )
    return records_table(months.sort_values("month", ascending=False).round({"kept_untaxed": 2}))
