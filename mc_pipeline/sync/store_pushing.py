"""Sends products and orders to the stores of a company: one step of a run each, under its lease.

What is wrong with a store, a month or a product is recorded in the ledger, and delays nothing else.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from mc_pipeline.domain.store.documents import lost_attribution
from mc_pipeline.domain.store.held_orders import orders_to_supply
from mc_pipeline.ledger import Lease, Trouble
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.push.orders import OrderPush, OrderPusher, Orders, StoreFailure
from mc_pipeline.push.products import push_products
from mc_pipeline.push.store_settling import Settled, settle_store_writes
from mc_pipeline.push.store_writes import StoreWrites
from mc_pipeline.push.stores import Store, end_first_loads, forget_deleted_stores, open_stores
from mc_pipeline.push.writer import Writer
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.company_lease import company_lease
from mc_pipeline.sync.known_ledger import refuse_another_ledger
from mc_pipeline.sync.opt_outs.since import AskedAudiences
from mc_pipeline.sync.store_troubles import (
    broken_stores,
    of_failures,
    of_left_alone,
    of_lowered,
    of_orders,
    of_products,
)
from mc_pipeline.sync.stores import StoreLeftAlone, has_stores, members_of, stores_in_use
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas

_WORKERS = 4


@dataclass(frozen=True)
class PushedProducts:
    """The result of sending products to the stores.

    Attributes:
        rows: of the table ``product_push``.
        settled: how many writes of an interrupted run were settled.
        left_alone: stores that were not looked at, or could not be written.
        troubles: what is wrong, as reported to the ledger.
    """

    rows: pd.DataFrame
    settled: int
    left_alone: Sequence[StoreLeftAlone]
    troubles: Sequence[Trouble]


@dataclass(frozen=True)
class PushedOrders:
    """The result of sending orders to the stores.

    Attributes:
        rows: of the table ``order_push``.
        push: the same by month; None: the company has no store.
        requests: the writes by batch, with their months (``StoreIntents.progress``).
        loaded: ids of the stores whose first load ended.
        left_alone: stores that were not looked at, or could not be opened.
        troubles: what is wrong, as reported to the ledger.
    """

    rows: pd.DataFrame
    push: OrderPush | None = None
    requests: pd.DataFrame | None = None
    loaded: Sequence[str] = ()
    left_alone: Sequence[StoreLeftAlone] = ()
    troubles: Sequence[Trouble] = field(default_factory=list)


def push_products_of(
    systems: Systems,
    company: CompanySettings,
    run_id: str,
    log: logging.Logger,
    *,
    orders: pd.DataFrame,
    products: pd.DataFrame,
    closed: Sequence[StoreLeftAlone],
) -> PushedProducts:
    """Send the products to the stores whose orders name them; create missing stores first.

    Args:
        systems: of this run.
        company: the company.
        run_id: the run.
        log: for people.
        orders: rows of ``store_orders``.
        products: rows of ``odoo_products``.
        closed: the stores that are left alone.

    Raises:
        SyncError: another run is syncing the company, or the ledger is not the one of the tables.
    """
    rows = schemas.PRODUCT_PUSH.empty()
    settled = 0
    by_store: dict[str, MailchimpError] = {}
    if has_stores(systems, company):
        with company_lease(systems, company.key, run_id, log) as lease:
            writes, begun = _begin(systems, company, lease, run_id)
            settled = begun.count
            stores, failed = _open(systems, company, orders, closed, writes)
            supplied = orders_to_supply(
                orders,
                systems.ledger.stores.orders_present(company.key),
                members_of(systems, company),
                stores,
            )
            push = push_products(supplied, products, writes, systems.now())
            rows = _with_templates(push.rows, stores)
            by_store = {**begun.failures, **push.failures, **failed}
    failures = [StoreFailure(name, "", error) for name, error in by_store.items()]
    found = [*of_failures(failures), *of_products(rows)]
    systems.ledger.troubles.report(company.key, "product_push", run_id, found)
    return PushedProducts(rows, settled, [*closed, *broken_stores(by_store, company)], found)


def push_orders_of(
    systems: Systems,
    company: CompanySettings,
    run_id: str,
    log: logging.Logger,
    *,
    orders: Table,
    odoo_orders: pd.DataFrame,
    closed: Sequence[StoreLeftAlone],
) -> PushedOrders:
    """Send the orders to the stores, and end the first load of those that hold all of theirs.

    Args:
        systems: of this run.
        company: the company.
        run_id: the run.
        log: for people.
        orders: the table ``store_orders``.
        odoo_orders: rows of ``odoo_orders``.
        closed: the stores that are left alone.

    Raises:
        SyncError: another run is syncing the company, or the ledger is not the one of the tables.
    """
    if not has_stores(systems, company):
        systems.ledger.troubles.report(company.key, "order_push", run_id, [])
        return PushedOrders(schemas.ORDER_PUSH.empty())
    with company_lease(systems, company.key, run_id, log) as lease:
        writes, begun = _begin(systems, company, lease, run_id)
        gone = [store.store_id for store in closed if store.is_gone]
        # With its audience, Mailchimp deletes a store: what it held may enter another one.
        not_asked = forget_deleted_stores(writes.writer, gone)
        stores, failed = _open(systems, company, orders.rows, closed, writes)
        wanted = Orders(
            rows=orders.rows,
            members=members_of(systems, company),
            complete=orders.complete,
            rates=_rates(odoo_orders),
            states_of=partial(_states_of, systems, company),
            not_there=AskedAudiences(systems, company, run_id).not_there,
            incomplete_because=orders.incomplete_because,
            stores_left_alone=frozenset({store.store_id for store in closed} | failed.keys()),
            lowered_limit=company.guards.orders_lowered.limit,
            approved_row_keys=partial(systems.ledger.plans.approved_row_keys, company.key),
        )
        push = OrderPusher(wanted, stores.values(), writes, systems.now(), report=log.info).push()
        _keep_what_waits(systems, lease, push)
        unfinished = push.unfinished_stores(stores.values())
        loaded, not_ended = end_first_loads(writes.writer, stores.values(), unfinished)
    rows = push.rows.assign(audience=push.rows["store_id"].map(_audiences(stores)).fillna(""))
    broken = broken_stores(failed, company)
    about_stores = {**begun.failures, **not_asked, **not_ended, **failed}
    failures = [StoreFailure(name, "", error) for name, error in about_stores.items()] + [*push.failures]
    reported_before = _reported_with_the_products(systems, company)
    found = [
        *of_failures([each for each in failures if each.month or each.store_id not in reported_before]),
        *of_left_alone([*closed, *(each for each in broken if each.store_id in reported_before)], "written"),
        *of_orders(rows),
        *of_lowered(push.waiting),
    ]
    systems.ledger.troubles.report(company.key, "order_push", run_id, found)
    requests = systems.ledger.store_intents.progress(company.key, run_id)
    return PushedOrders(rows, push, requests, loaded, [*closed, *broken], found)


def orders_without_their_campaign(systems: Systems, company: CompanySettings) -> pd.DataFrame:
    """List orders that Mailchimp attributes to no campaign any more, since they left their store once.

    Columns: order_id, detail.
    """
    lost = systems.ledger.stores.lost_attributions(company.key)
    rows = [{"order_id": order_id, "detail": lost_attribution(lost[order_id])} for order_id in sorted(lost)]
    return pd.DataFrame(rows, columns=["order_id", "detail"])


def _begin(
    systems: Systems, company: CompanySettings, lease: Lease, run_id: str
) -> tuple[StoreWrites, Settled]:
    """Settle what an interrupted run left open, and return how to write, and what was settled."""
    refuse_another_ledger(systems.ledger)
    workers = min(_WORKERS, systems.settings.mailchimp[company.mailchimp].max_connections)
    writer = Writer(systems.mailchimp(company), systems.ledger, lease, run_id, workers)
    return StoreWrites(writer), settle_store_writes(writer)


def _open(
    systems: Systems,
    company: CompanySettings,
    orders: pd.DataFrame,
    closed: Sequence[StoreLeftAlone],
    writes: StoreWrites,
) -> tuple[dict[str, Store], dict[str, MailchimpError]]:
    """Make the stores in use that are missing; return those that can be written, and why others cannot."""
    named = stores_in_use(systems, company, orders, closed, writes.writer.client)
    failed = open_stores(writes.writer, named.values(), is_erased=systems.erased.includes)
    return {name: store for name, store in named.items() if name not in failed}, failed


def _reported_with_the_products(systems: Systems, company: CompanySettings) -> set[str]:
    """Return the stores that the products' push reported as broken."""
    return {
        each.trouble.place
        for each in systems.ledger.troubles.open(company.key)
        if (each.step, each.trouble.part) == ("product_push", "store")
    }


def _keep_what_waits(systems: Systems, lease: Lease, push: OrderPush) -> None:
    """Keep which orders of which stores wait, so that a person can release them."""
    systems.ledger.store_plans.replace(
        lease.company,
        lease.fence,
        [
            (each.plan_id, each.store_id, each.held, [each.row_keys[order] for order in each.waiting])
            for each in push.waiting
        ],
    )


def _rates(orders: pd.DataFrame) -> dict[int, float]:
    """Return the rates of orders in another currency than the company's."""
    foreign = orders[(orders["currency"] != orders["company_currency"]) & (orders["currency_rate"] > 0)]
    return dict(zip(foreign["order_id"].tolist(), foreign["currency_rate"].tolist(), strict=True))


def _states_of(systems: Systems, company: CompanySettings, order_ids: Sequence[int]) -> dict[int, str]:
    """Ask Odoo for the states of these orders; those that it has not are missing."""
    client = systems.odoo(company)
    return {
        int(record["id"]): str(record["state"])
        for chunk in chunks(order_ids)
        for record in client.search_read("sale.order", [("id", "in", chunk)], ["state"])
    }


def _audiences(stores: Mapping[str, Store]) -> dict[str, str]:
    return {store_id: store.audience for store_id, store in stores.items()}


def _with_templates(rows: pd.DataFrame, stores: Mapping[str, Store]) -> pd.DataFrame:
    """Add the audience, and the template in Odoo; stand-ins have none."""
    template = rows["foreign_product_id"].str.extract(r"^p(\d+)$", expand=False)
    return rows.assign(
        audience=rows["store_id"].map(_audiences(stores)),
        product_template_id=pd.to_numeric(template).astype("Int64"),
    )
