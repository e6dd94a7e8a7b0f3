"""Assets of the group ``store``: the orders as Mailchimp's stores should hold them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.partitions import company_partitions
from mc_pipeline.defs.presentation import (
    LISTED_ROWS,
    column_schema,
    listed,
    order_link,
    records_table,
    table_metadata,
    unless_empty,
)
from mc_pipeline.settings import Settings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.elsewhere import customers_elsewhere_in
from mc_pipeline.tables.parquet import COLUMNS, FEEDS
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.sync.stores import StoreLeftAlone

ORDERS_BY_MONTH = "orders_by_month"
FIRST_MONTH = "2015-01"
"""The first month shown, unless a company's settings say since when its orders count."""

_LINE_COLUMNS = (
    "line_id", "order_id", "product_id", "name", "quantity", "price_subtotal", "price_tax",
    "is_downpayment", "is_delivery", "display_type",
)  # fmt: skip
_REFUND_COLUMNS = (
    "move_id", "move_type", "state", "reversed_entry_id", "currency", "amount_untaxed", "amount_tax",
    "amount_total", "amount_total_company", "payment_state", "line_id", "display_type", "sale_line_ids",
    "price_subtotal", "price_total", "cash_rounding_untaxed", "cash_rounding_tax",
)  # fmt: skip
"""What the rules read of the two largest tables."""


def store_assets(settings: Settings) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Make the assets of the stores, partitioned by company."""
    companies = company_partitions(settings)
    since = [company.orders_since for company in settings.companies.values()]
    first_month = min((month for month in since if month), default=FIRST_MONTH)
    orders_by_month = dg.AssetSpec(
        ORDERS_BY_MONTH,
        group_name="store",
        kinds={"parquet"},
        owners=[Owner.FINANCE.team],
        deps=["store_orders"],
        partitions_def=dg.MultiPartitionsDefinition(
            {
                "company": companies,
                "month": dg.MonthlyPartitionsDefinition(first_month, fmt="%Y-%m", end_offset=1),
            }
        ),
        description=(
            "The orders of each month as last stored, with their sums. For display only: `store_orders` "
            "reports here when a month changed."
        ),
    )

    @dg.asset(
        partitions_def=companies,
        group_name="store",
        kinds={"pandas", "parquet"},
        owners=[Owner.FINANCE.team],
        ins={
            "odoo_order_lines": dg.AssetIn(metadata={COLUMNS: list(_LINE_COLUMNS)}),
            "odoo_refunds": dg.AssetIn(metadata={COLUMNS: list(_REFUND_COLUMNS)}),
        },
        # Members created by this push can have orders in the store from this run on.
        deps=["audience_push"],
        description=(
            "Every confirmed or cancelled order at its kept amounts, as the store of its audience should "
            "hold it; or the one reason why it is in no store."
        ),
        metadata={
            "dagster/column_schema": column_schema(schemas.STORE_ORDERS),
            FEEDS: {"asset": ORDERS_BY_MONTH, "first_month": first_month},
        },
    )
    @shows_failures
    def store_orders(
        context: dg.AssetExecutionContext,
        odoo_orders: Table,
        odoo_order_lines: Table,
        odoo_refunds: Table,
        odoo_products: Table,
        odoo_partners: Table,
        contacts: Table,
        set_aside: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.domain.store.orders import OrderTables
        from mc_pipeline.sync.store_orders import store_orders_of
        from mc_pipeline.sync.stores import members_of

        company = systems.company(context.partition_key)
        tables = OrderTables(
            orders=odoo_orders.rows,
            lines=odoo_order_lines.rows,
            refunds=odoo_refunds.rows,
            products=odoo_products.rows,
            partners=odoo_partners.rows,
            contacts=contacts.rows,
            set_aside=set_aside.rows,
            members=members_of(systems, company),
        )
        rows = store_orders_of(systems, company, tables, customers_elsewhere_in(odoo_partners))
        table = odoo_orders.derive(
            rows, odoo_order_lines, odoo_refunds, odoo_products, odoo_partners, contacts, set_aside
        )
        due = rows[rows["excluded_because"] == ""]
        below = rows[rows["below_zero"]]
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "due": len(due),
                "excluded": len(rows) - len(due),
                **unless_empty(by_store=_sums(due, "store_id"), excluded_because=_sums_excluded(rows)),
                **listed(
                    "below_zero",
                    below[["order_id", "name", "month", "kept_untaxed_company", "currency"]],
                    LISTED_ROWS,
                    "order_id",
                    lambda order_id: order_link(systems.settings, order_id),
                ),
            },
        )

    return [store_orders, orders_by_month]


def said_of_stores(stores: "Sequence[StoreLeftAlone]") -> dict[str, dg.MetadataValue]:
    """Name the stores that are left alone, with the reason; nothing where there are none."""
    import pandas as pd

    shown = [
        {"store": store.store_id, "audience": store.audience, "because": store.because} for store in stores
    ]
    return {"stores_left_alone": records_table(pd.DataFrame(shown))} if shown else {}


def _sums(orders: "pd.DataFrame", by: str) -> dg.MetadataValue:
    sums = orders.groupby(by, as_index=False).agg(
        orders=("order_id", "size"),
        goods=("goods_total", "sum"),
        shipping=("shipping_total", "sum"),
        tax=("tax_total", "sum"),
        currency=("currency", "first"),
    )
    return records_table(sums.round({"goods": 3, "shipping": 3, "tax": 3}))


def _sums_excluded(orders: "pd.DataFrame") -> dg.MetadataValue:
    """Count what no store holds by reason, the largest amount first."""
    from mc_pipeline.domain.store.orders import EXCLUDED

    excluded = orders[orders["excluded_because"] != ""]
    sums = excluded.groupby("excluded_because", as_index=False).agg(
        orders=("order_id", "size"), kept_untaxed=("kept_untaxed_company", "sum")
    )
    sums["in_words"] = sums["excluded_because"].map(EXCLUDED)
    return records_table(sums.sort_values("kept_untaxed", ascending=False).round({"kept_untaxed": 3}))
