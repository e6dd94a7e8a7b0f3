"""Asset of the group ``revenue``: Odoo's kept revenue compared with Mailchimp's stores."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import (
    LISTED_ROWS,
    column_schema,
    document_link,
    listed,
    order_link,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.defs.revenue.report import bridge_steps, report_markdown
from mc_pipeline.defs.store.assets import said_of_stores
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.csv_files import write_csv
from mc_pipeline.tables.parquet import storage_folder
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.sync.reconciliation import Reconciliation

DIFFERING_COLUMNS = [
    "order_id", "name", "month", "store_id", "foreign_order_id", "differs_because", "differs_detail",
    "difference_goods", "difference_shipping", "difference_tax", "push_outcome", "push_detail",
]  # fmt: skip


def revenue_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the reconciliation, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="revenue",
        kinds={"mailchimp", "pandas", "parquet"},
        owners=[Owner.FINANCE.team],
        description=(
            "Odoo's kept revenue compared with Mailchimp's stores, order by order and month by month, and "
            "the bridge to the revenue in the general ledger.\n\n*report*, in the metadata, has the chart "
            "and the tables of the months."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.REVENUE_RECONCILIATION)},
    )
    @shows_failures
    def revenue_reconciliation(
        context: dg.AssetExecutionContext,
        store_orders: Table,
        order_push: Table,
        odoo_orders: Table,
        odoo_order_lines: Table,
        odoo_refunds: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.reconciliation import ReconciledTables, reconcile_company

        company = systems.company(context.partition_key)
        tables = ReconciledTables(
            store_orders=store_orders,
            order_push=order_push,
            orders=odoo_orders,
            order_lines=odoo_order_lines,
            refunds=odoo_refunds,
        )
        reconciled = reconcile_company(systems, company, tables, context.run.run_id, context.log)
        return dg.MaterializeResult(
            value=reconciled.table,
            metadata=table_metadata(reconciled.table)
            | _metadata(systems, reconciled.found)
            | listed(
                "documents_without_order",
                reconciled.documents_without_order,
                LISTED_ROWS,
                "move_id",
                lambda move_id: document_link(systems.settings, move_id),
            )
            | said_of_stores(reconciled.unseen)
            | {
                "read_again_for_the_next_push": reconciled.read_again,
                "notes": "; ".join(reconciled.notes) or "none",
            }
            | _csv_files(company, reconciled.found),
        )

    return [revenue_reconciliation]


def differing_orders(systems: Systems, found: "Reconciliation") -> dict[str, dg.MetadataValue]:
    """List the orders that differ, with links into Odoo."""
    return listed(
        "differing_orders",
        found.differing[DIFFERING_COLUMNS],
        LISTED_ROWS,
        "order_id",
        lambda order_id: order_link(systems.settings, order_id),
    )


def _metadata(systems: Systems, found: "Reconciliation") -> dict[str, Any]:
    months, places = found.months, found.decimal_places
    sums = months.select_dtypes("number").sum()
    held = sums["mailchimp_goods"] + sums["mailchimp_shipping"]
    return {
        "report": dg.MetadataValue.md(report_markdown(found)),
        "orders_that_differ": len(found.differing),
        "ordered": round(float(sums["ordered"]), places),
        "kept": round(float(sums["kept"]), places),
        "in_no_store": round(float(sums["left_out"]), places),
        "mailchimp_goods": round(float(sums["mailchimp_goods"]), places),
        "mailchimp_shipping": round(float(sums["mailchimp_shipping"]), places),
        "mailchimp": round(float(held), places),
        "difference": round(float(sums["difference"]), places),
        "currency": found.currency,
        **unless_empty(
            by_month=records_table(months[::-1]),
            left_out=records_table(found.left_out),
            bridge=records_table(bridge_steps(found)),
        ),
        **differing_orders(systems, found),
        **listed(
            "held_though_not_due",
            found.left_alone[["order_id", "name", "month", "store_id", "held_goods", "differs_detail"]],
            LISTED_ROWS,
            "order_id",
            lambda order_id: order_link(systems.settings, order_id),
        ),
    }


def _csv_files(company: CompanySettings, found: "Reconciliation") -> dict[str, dg.MetadataValue]:
    """Write the months and the orders beside the table, for a spreadsheet."""
    folder = storage_folder() / schemas.REVENUE_RECONCILIATION.name
    paths = {
        "csv_by_month": (folder / f"{company.key}-by-month.csv", found.months_with_books()),
        "csv_by_order": (folder / f"{company.key}-by-order.csv", found.rows),
    }
    for path, rows in paths.values():
        write_csv(rows, found.decimal_places, path)
    return {name: dg.MetadataValue.path(str(path)) for name, (path, _) in paths.items()}
