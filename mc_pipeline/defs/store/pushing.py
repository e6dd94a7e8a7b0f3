"""Assets that write to the stores: the products that orders name, then the orders, month by month.

Orders go only to people who are members, whose first load a person approved (rule 7.3); and an order mails
nobody: a store that is loading runs no automation, and no order says a financial status unless the settings
ask for it. Where more orders of a store than the guard allows would be lowered or deleted, these wait for an
approval (rule 7.2). What is wrong with a store, a month or a product is recorded in the ledger, and holds up
nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.audience.assets import ONLY_WHICH_AUDIENCES
from mc_pipeline.defs.company_lease import company_lease
from mc_pipeline.defs.known_ledger import refuse_another_ledger
from mc_pipeline.defs.odoo.assets import DATA_ENGINEERS
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
from mc_pipeline.defs.store.assets import FINANCE, members_of, said_of_stores
from mc_pipeline.defs.store.left_alone import (
    StoreLeftAlone,
    remember_not_looked_at,
    remember_troubles,
    stores_left_alone,
)
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.ledger import Lease
    from mc_pipeline.mailchimp.client import MailchimpClient
    from mc_pipeline.mailchimp.errors import MailchimpError
    from mc_pipeline.push.order_rows import OrderPush
    from mc_pipeline.push.store_settling import Settled
    from mc_pipeline.push.store_writes import StoreWrites
    from mc_pipeline.push.stores import Store

MARKETING_OPS = "team:marketing-ops"
_WORKERS = 4
_COLUMNS_OF_ORDERS = (
    "order_id", "month", "email", "store_id", "foreign_order_id", "processed_at", "cancelled_at", "currency",
    "order_total", "tax_total", "shipping_total", "lines_json", "excluded_because", "excluded_detail",
    "uncounted_because",
)  # fmt: skip
_COLUMNS_OF_PRODUCTS = ("order_id", "store_id", "email", "lines_json", "excluded_because")
_COLUMNS_OF_RATES = ("order_id", "currency", "company_currency", "currency_rate")
_ONLY_WHICH_LISTS = {COLUMNS: ["list_id"]}
_MONTHS_LISTED = 240


def store_push_assets(companies: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Make the assets that write to the stores, partitioned by company."""

    @dg.asset(
        partitions_def=companies,
        group_name="store",
        kinds={"mailchimp", "parquet"},
        owners=[DATA_ENGINEERS, MARKETING_OPS],
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
    def product_push(
        context: dg.AssetExecutionContext,
        store_orders: Table,
        odoo_products: Table,
        mailchimp_members: Table,
        audience_plan: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        import pandas as pd

        from mc_pipeline.defs.store.troubles import broken_stores, of_failures, of_products
        from mc_pipeline.push.order_rows import StoreFailure
        from mc_pipeline.push.products import push_products
        from mc_pipeline.push.stores import open_stores

        company = systems.company(context.partition_key)
        rows = schemas.PRODUCT_PUSH.empty()
        settled = 0
        by_store: dict[str, MailchimpError] = {}
        closed = _left_alone(systems, company, mailchimp_members, audience_plan)
        if has_stores(systems, company):
            with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
                writes, begun = _begin(systems, company, lease, context.run.run_id)
                settled = begun.count
                due = _due(store_orders.rows)
                named = _stores_in_use(systems, company, due, closed, writes.client)
                failed = open_stores(
                    writes.client,
                    systems.ledger,
                    lease,
                    named.values(),
                    is_erased=systems.erased.includes,
                )
                stores = {name: store for name, store in named.items() if name not in failed}
                due = due[due["store_id"].isin(list(stores))]
                kept_right = _kept_right(systems, company, store_orders.rows)
                kept_right = kept_right[kept_right["store_id"].isin(list(stores))]
                due = pd.concat([due, kept_right]) if len(kept_right) else due
                push = push_products(due, odoo_products.rows, writes, systems.now())
                rows = _with_templates(push.rows, stores)
                by_store = {**begun.failures, **push.failures, **failed}
        failures = [StoreFailure(name, "", error) for name, error in by_store.items()]
        found = [*of_failures(failures), *of_products(rows)]
        systems.ledger.troubles.report(company.key, "product_push", context.run.run_id, found)
        table = replace(store_orders.derive(rows, odoo_products), facts=remember_troubles(found))
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "settled_from_an_interrupted_run": settled,
                "written": int((rows["outcome"] == "applied").sum()),
                **said_of_stores([*closed, *broken_stores(by_store, company)]),
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
        owners=[DATA_ENGINEERS, FINANCE],
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
    def order_push(
        context: dg.AssetExecutionContext,
        store_orders: Table,
        odoo_orders: Table,
        mailchimp_members: Table,
        audience_plan: Table,
        systems: dg.ResourceParam[Systems],
    ) -> dg.MaterializeResult[Table]:
        from mc_pipeline.defs.store.troubles import (
            broken_stores,
            of_failures,
            of_left_alone,
            of_lowered,
            of_orders,
        )
        from mc_pipeline.push.order_rows import StoreFailure
        from mc_pipeline.push.orders import OrderPusher, Orders
        from mc_pipeline.push.stores import end_first_loads, forget_deleted_stores, open_stores
        from mc_pipeline.sync.opt_outs.since import AskedAudiences

        company = systems.company(context.partition_key)
        if not has_stores(systems, company):
            systems.ledger.troubles.report(company.key, "order_push", context.run.run_id, [])
            return _nothing_to_push(store_orders)
        closed = _left_alone(systems, company, mailchimp_members, audience_plan)
        with company_lease(systems, company.key, context.run.run_id, context.log) as lease:
            writes, begun = _begin(systems, company, lease, context.run.run_id)
            gone = [store.store_id for store in closed if store.is_gone]
            # With its audience, Mailchimp deletes a store: what it held may enter another one.
            not_asked = forget_deleted_stores(writes.client, systems.ledger, lease, gone)
            named = _stores_in_use(systems, company, _due(store_orders.rows), closed, writes.client)
            failed = open_stores(
                writes.client, systems.ledger, lease, named.values(), is_erased=systems.erased.includes
            )
            stores = {name: store for name, store in named.items() if name not in failed}
            orders = Orders(
                rows=store_orders.rows,
                members=members_of(systems, company),
                complete=store_orders.complete,
                rates=_rates(odoo_orders.rows),
                states_of=partial(_states_of, systems, company),
                not_there=AskedAudiences(systems, company, context.run.run_id).not_there,
                incomplete_because=store_orders.incomplete_because,
                stores_left_alone=frozenset({store.store_id for store in closed} | failed.keys()),
                lowered_limit=company.guards.orders_lowered.limit,
                approved_row_keys=partial(systems.ledger.plans.approved_row_keys, company.key),
            )
            pusher = OrderPusher(orders, stores.values(), writes, systems.now(), report=context.log.info)
            push = pusher.push()
            _keep_what_waits(systems, company, lease, push)
            unfinished = push.unfinished_stores(stores.values())
            loaded, not_ended = end_first_loads(
                writes.client, systems.ledger, lease, stores.values(), unfinished
            )
        rows = push.rows.assign(audience=push.rows["store_id"].map(_audiences(stores)).fillna(""))
        broken = broken_stores(failed, company)
        about_stores = {**begun.failures, **not_asked, **not_ended, **failed}
        failures = [StoreFailure(name, "", error) for name, error in about_stores.items()] + [*push.failures]
        told = _told_with_the_products(systems, company)
        found = [
            *of_failures([each for each in failures if each.month or each.store_id not in told]),
            *of_left_alone([*closed, *(each for each in broken if each.store_id in told)], "written"),
            *of_orders(rows),
            *of_lowered(push.waiting),
        ]
        systems.ledger.troubles.report(company.key, "order_push", context.run.run_id, found)
        facts = remember_not_looked_at([*closed, *broken]) | remember_troubles(found)
        table = replace(store_orders.derive(rows), facts=facts)
        trouble = _trouble(rows)
        return dg.MaterializeResult(
            value=table,
            metadata=table_metadata(table)
            | {
                "first_load_ended": ", ".join(loaded) or "none",
                "written": int((rows["outcome"] == "applied").sum()),
                **said_of_stores([*closed, *broken]),
                **unless_empty(
                    by_month=_by_month(push, systems.ledger.store_intents.progress(company.key, lease.owner)),
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
                    _lost_their_campaign(systems, company),
                    LISTED_ROWS,
                    "order_id",
                    lambda order_id: order_link(systems.settings, order_id),
                ),
            },
        )

    return [product_push, order_push]


def _lost_their_campaign(systems: Systems, company: CompanySettings) -> "pd.DataFrame":
    """List orders that Mailchimp attributes to no campaign any more, since they left their store once."""
    import pandas as pd

    from mc_pipeline.domain.store.documents import lost_attribution

    lost = systems.ledger.stores.lost_attributions(company.key)
    rows = [{"order_id": order_id, "detail": lost_attribution(lost[order_id])} for order_id in sorted(lost)]
    return pd.DataFrame(rows, columns=["order_id", "detail"])


def _left_alone(
    systems: Systems, company: CompanySettings, members: Table, plan: Table
) -> list[StoreLeftAlone]:
    opened = systems.ledger.plans.opened_audiences(company.key)
    return stores_left_alone(members, company, opened, set(plan.rows["list_id"]))


def _told_with_the_products(systems: Systems, company: CompanySettings) -> set[str]:
    """Return the stores that the products' push reported as broken."""
    return {
        each.trouble.place
        for each in systems.ledger.troubles.open(company.key)
        if (each.step, each.trouble.part) == ("product_push", "store")
    }


def _keep_what_waits(systems: Systems, company: CompanySettings, lease: "Lease", push: "OrderPush") -> None:
    """Keep which orders of which stores wait, so that a person can release them."""
    systems.ledger.store_plans.replace(
        company.key,
        lease.fence,
        [
            (each.plan_id, each.store_id, each.held, [each.row_keys[order] for order in each.waiting])
            for each in push.waiting
        ],
    )


def has_stores(systems: Systems, company: CompanySettings) -> bool:
    """Say whether the company has a store, or had one that still holds something of ours."""
    named = any(audience.store is not None for audience in company.audiences.values())
    return named or bool(systems.ledger.stores.of_company(company.key))


def _begin(
    systems: Systems, company: CompanySettings, lease: "Lease", run_id: str
) -> tuple["StoreWrites", "Settled"]:
    """Settle what an interrupted run left open, and return how to write, and what was settled."""
    from mc_pipeline.push.store_settling import settle_store_writes
    from mc_pipeline.push.store_writes import StoreWrites

    refuse_another_ledger(systems.ledger)
    client = systems.mailchimp(company)
    workers = min(_WORKERS, systems.settings.mailchimp[company.mailchimp].max_connections)
    settled = settle_store_writes(client, systems.ledger, lease, workers=workers)
    return StoreWrites(client, systems.ledger, lease, run_id, workers=workers), settled


def _stores_in_use(
    systems: Systems,
    company: CompanySettings,
    due: "pd.DataFrame",
    closed: Sequence[StoreLeftAlone],
    client: "MailchimpClient",
) -> Mapping[str, "Store"]:
    """Stores that hold something or are about to, by id; one without any order yet is not made.

    Without those that are left alone. A store that the ledger does not know may be there all the same.
    """
    from mc_pipeline.push.stores import Store, stores_there

    named = {audience.store.id for audience in company.audiences.values() if audience.store is not None}
    wanted = set(due["store_id"]) | {
        store.store_id for store in systems.ledger.stores.of_company(company.key)
    }
    wanted |= stores_there(client, named - wanted - {store.store_id for store in closed})
    return {
        audience.store.id: Store(
            store_id=audience.store.id,
            name=audience.store.name,
            currency=audience.store.currency,
            audience=key,
            list_id=audience.list_id,
            order_notifications=audience.store.order_notifications,
        )
        for key, audience in company.audiences.items()
        if audience.store is not None
        and audience.store.id in wanted
        and audience.store.id not in {store.store_id for store in closed}
    }


def _due(orders: "pd.DataFrame") -> "pd.DataFrame":
    return orders[orders["excluded_because"] == ""]


def _kept_right(systems: Systems, company: CompanySettings, orders: "pd.DataFrame") -> "pd.DataFrame":
    """Return the orders that are not due and are kept right in the store that holds them."""
    from mc_pipeline.domain.store.changes import held_though_excluded

    held = systems.ledger.stores.orders_present(company.key)
    found = held_though_excluded(orders, held, members_of(systems, company))
    return found[found["is_member"]]


def _rates(orders: "pd.DataFrame") -> dict[int, float]:
    """Return the rates of orders in another currency than the company's."""
    foreign = orders[(orders["currency"] != orders["company_currency"]) & (orders["currency_rate"] > 0)]
    return dict(zip(foreign["order_id"].tolist(), foreign["currency_rate"].tolist(), strict=True))


def _states_of(systems: Systems, company: CompanySettings, order_ids: Sequence[int]) -> dict[int, str]:
    """Ask Odoo for the states of these orders; those that it has not are missing."""
    from mc_pipeline.ledger.statements import chunks

    client = systems.odoo(company)
    return {
        int(record["id"]): str(record["state"])
        for chunk in chunks(order_ids)
        for record in client.search_read("sale.order", [("id", "in", chunk)], ["state"])
    }


def _nothing_to_push(store_orders: Table) -> dg.MaterializeResult[Table]:
    table = store_orders.derive(schemas.ORDER_PUSH.empty())
    return dg.MaterializeResult(value=table, metadata=table_metadata(table))


def _audiences(stores: Mapping[str, "Store"]) -> dict[str, str]:
    return {store_id: store.audience for store_id, store in stores.items()}


def _with_templates(rows: "pd.DataFrame", stores: Mapping[str, "Store"]) -> "pd.DataFrame":
    """Add the audience, and the template in Odoo; stand-ins have none."""
    import pandas as pd

    template = rows["foreign_product_id"].str.extract(r"^p(\d+)$", expand=False)
    return rows.assign(
        audience=rows["store_id"].map(_audiences(stores)),
        product_template_id=pd.to_numeric(template).astype("Int64"),
    )


def _trouble(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[~rows["outcome"].isin(["applied", "unchanged"])]


def _by_month(push: "OrderPush", requests: "pd.DataFrame") -> dg.MetadataValue:
    """Show the months in order: orders that differed, done and failed, in how many batches, and trouble."""
    batches = requests[requests["batch_id"] != ""].groupby("month")["batch_id"].nunique()
    months = push.months.assign(batches=push.months["month"].map(batches).fillna(0).astype("int64"))
    return records_table(months[["month", "orders", "done", "failed", "batches", "trouble"]], _MONTHS_LISTED)
