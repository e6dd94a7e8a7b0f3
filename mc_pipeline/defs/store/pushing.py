"""Assets that write to the stores: the products that orders name, then the orders, month by month.

Orders go only to people who are members, whose first load a person approved (rule 7.3); and an order mails
nobody: a store that is loading runs no automation, and no order says a financial status unless the settings
ask for it. Where more orders of a store than the guard allows would be lowered or deleted, these wait for an
approval (rule 7.2). What is wrong with a store, a month or a product is recorded in the ledger, and holds up
nothing else.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.audience.assets import ONLY_WHICH_AUDIENCES
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import (
    LISTED_ROWS,
    column_schema,
    count_by,
    listed,
    order_link,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.defs.store.assets import said_of_stores
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import COLUMNS
from mc_pipeline.vocabulary import DONE, OutcomeKind, Owner

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.push.orders import OrderPush

_COLUMNS_OF_ORDERS = (
    "order_id", "month", "email", "store_id", "foreign_order_id", "processed_at", "cancelled_at", "currency",
    "order_total", "tax_total", "shipping_total", "lines_json", "excluded_because", "excluded_detail",
    "uncounted_because",
)  # fmt: skip
_COLUMNS_OF_PRODUCTS = (
    "order_id", "store_id", "email", "lines_json", "excluded_because", "uncounted_because",
)  # fmt: skip
_COLUMNS_OF_RATES = ("order_id", "currency", "company_currency", "currency_rate")
_ONLY_WHICH_LISTS = {COLUMNS: ["list_id"]}
_MONTHS_LISTED = 240


def store_push_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the assets that write to the stores, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="store",
        kinds={"mailchimp", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team, Owner.MARKETING_OPS.team],
        ins={
            "store_orders": dg.AssetIn(metadata={COLUMNS: list(_COLUMNS_OF_PRODUCTS)}),
            "mailchimp_members": dg.AssetIn(metadata=ONLY_WHICH_AUDIENCES),
            "audience_plan": dg.AssetIn(metadata=_ONLY_WHICH_LISTS),
        },
        description=(
            "The products and variants that a store's orders name, sent to the store. First creates the "
            "store if it is missing, for its audience, with syncing on. Settles what an interrupted run "
            "left open."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.PRODUCT_PUSH)},
    )
    @shows_failures
    def product_push(
        context: dg.AssetExecutionContext,
        store_orders: Table,
        odoo_products: Table,
        mailchimp_members: Table,
        audience_plan: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.store_pushing import push_products_of
        from mc_pipeline.sync.stores import remember_troubles, stores_left_alone

        company = systems.company(context.partition_key)
        done = push_products_of(
            systems,
            company,
            context.run.run_id,
            context.log,
            orders=store_orders.rows,
            products=odoo_products.rows,
            closed=stores_left_alone(systems, company, mailchimp_members, audience_plan),
        )
        rows = done.rows
        table = replace(store_orders.derive(rows, odoo_products), facts=remember_troubles(done.troubles))
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "settled_from_an_interrupted_run": done.settled,
                "written": int((rows["outcome"] == OutcomeKind.APPLIED).sum()),
                **said_of_stores(done.left_alone),
                **unless_empty(
                    by_outcome=count_by(rows, "store_id", "operation", "outcome", of="products"),
                    not_applied=records_table(_trouble(rows)),
                ),
            },
        )

    @dg.asset(
        partitions_def=companies,
        group_name="store",
        kinds={"mailchimp", "parquet"},
        owners=[Owner.DATA_ENGINEERING.team, Owner.FINANCE.team],
        ins={
            "store_orders": dg.AssetIn(metadata={COLUMNS: list(_COLUMNS_OF_ORDERS)}),
            "odoo_orders": dg.AssetIn(metadata={COLUMNS: list(_COLUMNS_OF_RATES)}),
            "mailchimp_members": dg.AssetIn(metadata=ONLY_WHICH_AUDIENCES),
            "audience_plan": dg.AssetIn(metadata=_ONLY_WHICH_LISTS),
        },
        deps=["product_push"],
        description=(
            "The orders sent to the stores, month by month, with one outcome per order that differed. A "
            "month that fails stays due and the others continue; the next run continues a cancelled one."
        ),
        metadata={"dagster/column_schema": column_schema(schemas.ORDER_PUSH)},
    )
    @shows_failures
    def order_push(
        context: dg.AssetExecutionContext,
        store_orders: Table,
        odoo_orders: Table,
        mailchimp_members: Table,
        audience_plan: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.sync.store_pushing import orders_without_their_campaign, push_orders_of
        from mc_pipeline.sync.stores import remember_not_looked_at, remember_troubles, stores_left_alone

        company = systems.company(context.partition_key)
        done = push_orders_of(
            systems,
            company,
            context.run.run_id,
            context.log,
            orders=store_orders,
            odoo_orders=odoo_orders.rows,
            closed=stores_left_alone(systems, company, mailchimp_members, audience_plan),
        )
        rows = done.rows
        table = store_orders.derive(rows)
        if done.push is None or done.requests is None:
            return dg.MaterializeResult(value=table, metadata=table_metadata(table))
        facts = remember_not_looked_at(done.left_alone) | remember_troubles(done.troubles)
        table = replace(table, facts=facts)
        trouble = _trouble(rows)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "first_load_ended": ", ".join(done.loaded) or "none",
                "written": int((rows["outcome"] == OutcomeKind.APPLIED).sum()),
                **said_of_stores(done.left_alone),
                **unless_empty(
                    by_month=_by_month(done.push, done.requests),
                    by_outcome=count_by(rows, "store_id", "operation", "outcome", of="orders"),
                ),
                **listed(
                    "not_applied",
                    trouble[["order_id", "store_id", "month", "operation", "because", "outcome", "detail"]],
                    LISTED_ROWS,
                    "order_id",
                    lambda order_id: order_link(systems.settings, order_id),
                ),
                **listed(
                    "lost_their_campaign",
                    orders_without_their_campaign(systems, company),
                    LISTED_ROWS,
                    "order_id",
                    lambda order_id: order_link(systems.settings, order_id),
                ),
            },
        )

    return [product_push, order_push]


def _trouble(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[~rows["outcome"].isin(DONE)]


def _by_month(push: "OrderPush", requests: "pd.DataFrame") -> dg.MetadataValue:
    """Show the months in order: orders that differed, done and failed, in how many batches, and trouble."""
    batches = requests[requests["batch_id"] != ""].groupby("month")["batch_id"].nunique()
    months = push.months.assign(batches=push.months["month"].map(batches).fillna(0).astype("int64"))
    return records_table(months[["month", "orders", "done", "failed", "batches", "trouble"]], _MONTHS_LISTED)
