"""Asset of the group ``revenue``: Odoo's kept revenue compared with Mailchimp's stores."""

from collections.abc import Collection
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
from mc_pipeline.defs.revenue.report import Reconciliation, bridge_steps, report_markdown
from mc_pipeline.defs.store.assets import said_of_stores
from mc_pipeline.ledger import AboutOrder
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpNotFoundError
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.company_lease import company_lease
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.csv_files import write_csv
from mc_pipeline.tables.parquet import storage_folder, stored_table
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.push.orders.rows import StoreFailure

_READ_AGAIN_AT_MOST = 1000

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
        from mc_pipeline.domain.reconciliation.by_order import reconcile, with_waiting_members, without_stores
        from mc_pipeline.domain.reconciliation.ledger_bridge import bridge_to_ledger, documents_without_order
        from mc_pipeline.odoo.income import read_income
        from mc_pipeline.sync.store_troubles import (
            broken_stores,
            of_differences,
            of_failures,
            of_left_alone,
        )
        from mc_pipeline.sync.stores import not_looked_at

        company = systems.company(context.partition_key)
        currency, decimal_places = _currency(company, odoo_orders.rows)
        closed = not_looked_at(order_push)
        held, failures = _held(systems, company, {store.store_id for store in closed})
        unseen = [*closed, *broken_stores({each.store_id: each.error for each in failures}, company)]
        books = read_income(systems.odoo(company), company.odoo_company_id)
        of_odoo = (odoo_orders.rows, odoo_order_lines.rows, odoo_refunds.rows)
        found = Reconciliation(
            reconcile(
                without_stores(
                    with_waiting_members(store_orders.rows, _waiting_members(company)),
                    {store.store_id for store in unseen},
                ),
                held,
                order_push.rows,
                currency=currency,
                decimal_places=decimal_places,
                timezone=company.timezone,
            ),
            bridge_to_ledger(*of_odoo, books.rows, decimal_places),
            currency,
            decimal_places,
            tuple(f"{store.store_id}: {store.because}" for store in unseen),
            tuple(_what_waits(systems, company)),
        )
        read_again, not_read = _read_again(context, systems, company, found)
        reported = [
            *of_failures([*failures, *not_read]),
            *of_left_alone(closed, "compared"),
            *of_differences(found.differing),
        ]
        systems.ledger.troubles.report(company.key, "revenue_reconciliation", context.run.run_id, reported)
        derived = store_orders.derive(found.rows, odoo_orders, odoo_order_lines, odoo_refunds)
        table = Table(
            derived.rows, derived.observed_at, derived.complete, derived.incomplete_because, found.facts
        )
        loose = documents_without_order(*of_odoo, decimal_places)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | _metadata(systems, found)
            | listed(
                "documents_without_order",
                loose,
                LISTED_ROWS,
                "move_id",
                lambda move_id: document_link(systems.settings, move_id),
            )
            | said_of_stores(unseen)
            | {"read_again_for_the_next_push": read_again, "notes": "; ".join(books.notes) or "none"}
            | _csv_files(company, found),
        )

    return [revenue_reconciliation]


def differing_orders(systems: Systems, found: Reconciliation) -> dict[str, dg.MetadataValue]:
    """List the orders that differ, with links into Odoo."""
    return listed(
        "differing_orders",
        found.differing[DIFFERING_COLUMNS],
        LISTED_ROWS,
        "order_id",
        lambda order_id: order_link(systems.settings, order_id),
    )


def _metadata(systems: Systems, found: Reconciliation) -> dict[str, Any]:
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


def _currency(company: CompanySettings, orders: "pd.DataFrame") -> tuple[str, int]:
    """Return the company's currency and its decimal places; without an order, those of its stores."""
    if len(orders):
        first = orders.iloc[0]
        return str(first["company_currency"]), int(first["company_decimal_places"])
    stores = [audience.store.currency for audience in company.audiences.values() if audience.store]
    return (stores[0] if stores else ""), 2


def _held(
    systems: Systems, company: CompanySettings, left_alone: Collection[str]
) -> "tuple[pd.DataFrame, list[StoreFailure]]":
    """Read back what the company's stores hold, those too that the settings name no longer.

    Not those that are left alone, nor those that cannot be read: their orders count as not looked at. A store
    that is not there yet holds nothing.
    """
    import pandas as pd

    from mc_pipeline.mailchimp.store_reading import ORDER_COLUMNS, read_store_orders
    from mc_pipeline.push.orders.rows import StoreFailure

    named = [audience.store.id for audience in company.audiences.values() if audience.store]
    known = [store.store_id for store in systems.ledger.stores.of_company(company.key)]
    found, failures = [], []
    for store_id in dict.fromkeys([*named, *known]):
        if store_id in left_alone:
            continue
        try:
            found.append(read_store_orders(systems.mailchimp(company), store_id))
        except MailchimpNotFoundError:
            continue
        except MailchimpError as error:
            failures.append(StoreFailure(store_id, "", error))
    full = [rows for rows in found if len(rows)]
    held = pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=list(ORDER_COLUMNS))
    return held, failures


def _waiting_members(company: CompanySettings) -> frozenset[str]:
    """Return the addresses of people whose creation waits for an approval, as the last push left them."""
    from mc_pipeline.domain.plan.waiting_rows import WAITS

    pushed = stored_table(schemas.AUDIENCE_PUSH, company.key, names=["operation", "email", "outcome"])
    if pushed is None:
        return frozenset()
    rows = pushed.rows
    return frozenset(rows.loc[(rows["operation"] == "create") & (rows["outcome"] == WAITS), "email"])


def _what_waits(systems: Systems, company: CompanySettings) -> list[str]:
    """Say what of the company waits for a person: for that, a store may hold too little or too much."""
    plans = [
        f"plan {plan.plan_id} ({plan.row_count:,} changes): orders of people whom it would make members "
        "wait too"
        for plan in systems.ledger.plans.waiting(company.key)
    ]
    return plans + [
        f"{each.plan_id}: {each.orders:,} orders of store {each.store_id} would be lowered or deleted"
        for each in systems.ledger.store_plans.waiting(company.key)
    ]


def _read_again(
    context: dg.AssetExecutionContext, systems: Systems, company: CompanySettings, found: Reconciliation
) -> "tuple[int, list[StoreFailure]]":
    """Let the ledger know how the orders that differ really are, so that the next push puts them right.

    Somebody edited or deleted them in Mailchimp, or the ledger was replaced by an older copy: the push
    compares with what it remembers. Returns how many were read, and which stores could not be.
    """
    from mc_pipeline.push.orders.rows import StoreFailure
    from mc_pipeline.push.store_settling import read_back
    from mc_pipeline.push.writer import Writer

    orders = found.differing.dropna(subset=["order_id"]).head(_READ_AGAIN_AT_MOST)
    read, failures = 0, []
    for store_id, of_store in orders.groupby("store_id", sort=True):
        about: dict[tuple[str, str, str], AboutOrder | None] = {
            ("order", str(store_id), str(foreign)): AboutOrder(order_id=int(order), month=str(month))
            for foreign, order, month in zip(
                of_store["foreign_order_id"], of_store["order_id"], of_store["month"], strict=True
            )
        }
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            try:
                writer = Writer(systems.mailchimp(company), systems.ledger, lease, context.run.run_id)
                read_back(writer, about.keys(), about=about)
                read += len(about)
            except MailchimpError as error:
                failures.append(StoreFailure(str(store_id), "", error))
    return read, failures


def _csv_files(company: CompanySettings, found: Reconciliation) -> dict[str, dg.MetadataValue]:
    """Write the months and the orders beside the table, for a spreadsheet."""
    folder = storage_folder() / schemas.REVENUE_RECONCILIATION.name
    paths = {
        "csv_by_month": (folder / f"{company.key}-by-month.csv", found.months_with_books()),
        "csv_by_order": (folder / f"{company.key}-by-order.csv", found.rows),
    }
    for path, rows in paths.values():
        write_csv(rows, found.decimal_places, path)
    return {name: dg.MetadataValue.path(str(path)) for name, (path, _) in paths.items()}
