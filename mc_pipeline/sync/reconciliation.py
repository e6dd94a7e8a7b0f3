"""Compares what Odoo kept of a company's orders with its stores in Mailchimp, and with the general ledger."""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd

from mc_pipeline.domain.plan.waiting_rows import WAITS as WAITS_FOR_APPROVAL
from mc_pipeline.domain.reconciliation.by_order import (
    LEFT_ALONE,
    WAITS,
    by_month,
    differing,
    left_out,
    reconcile,
    with_waiting_members,
    without_stores,
)
from mc_pipeline.domain.reconciliation.ledger_bridge import bridge_to_ledger, documents_without_order
from mc_pipeline.ledger import AboutOrder
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpNotFoundError
from mc_pipeline.mailchimp.store_reading import ORDER_COLUMNS, read_store_orders
from mc_pipeline.odoo.income import read_income
from mc_pipeline.push.orders.rows import StoreFailure
from mc_pipeline.push.store_settling import read_back
from mc_pipeline.push.writer import Writer
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.company_lease import company_lease
from mc_pipeline.sync.store_troubles import broken_stores, of_differences, of_failures, of_left_alone
from mc_pipeline.sync.stores import StoreLeftAlone, not_looked_at
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import stored_table
from mc_pipeline.vocabulary import Operation

_READ_AGAIN_AT_MOST = 1000
_STEP_COLUMNS = {"month": "month", "books": "books"}
_CURRENCY, _DECIMAL_PLACES, _BRIDGE = "currency", "decimal_places", "bridge"
_UNSEEN, _WAITS = "stores_not_looked_at", "waits"


@dataclass(frozen=True)
class Reconciliation:
    """One company's reconciliation: rows of ``revenue_reconciliation`` and of the bridge.

    ``not_looked_at``: stores that were not compared, each with the reason. ``waits``: what of the company
    waits for a person.
    """

    rows: pd.DataFrame
    bridge: pd.DataFrame
    currency: str
    decimal_places: int
    not_looked_at: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table) -> Self:
        """Take it from the stored table."""
        facts = table.facts
        bridge = pd.DataFrame(json.loads(facts[_BRIDGE]))
        amounts = bridge.columns.drop("month")
        bridge[amounts] = bridge[amounts].astype("float64")
        unseen, waits = (tuple(json.loads(facts.get(name, "[]"))) for name in (_UNSEEN, _WAITS))
        return cls(table.rows, bridge, facts[_CURRENCY], int(facts[_DECIMAL_PLACES]), unseen, waits)

    @property
    def facts(self) -> dict[str, str]:
        """What is stored with the table, besides its rows."""
        return {
            _CURRENCY: self.currency,
            _DECIMAL_PLACES: str(self.decimal_places),
            _BRIDGE: json.dumps(self.bridge.to_dict("list")),
            _UNSEEN: json.dumps(self.not_looked_at),
            _WAITS: json.dumps(self.waits),
        }

    @property
    def months(self) -> pd.DataFrame:
        """By month of the order, the earliest first."""
        return by_month(self.rows, self.decimal_places)

    @property
    def left_out(self) -> pd.DataFrame:
        """By reason, what is kept by Odoo and in no store."""
        return left_out(self.rows, self.decimal_places)

    @property
    def differing(self) -> pd.DataFrame:
        """The orders whose store is not as it should be, the latest month first."""
        return _latest_first(self.rows[differing(self.rows)])

    @property
    def waiting(self) -> pd.DataFrame:
        """The orders whose correction waits for a person, the latest month first."""
        return _latest_first(self.rows[self.rows["differs_because"] == WAITS])

    @property
    def left_alone(self) -> pd.DataFrame:
        """The orders that stay in a store though they are due no more, the latest month first."""
        return _latest_first(self.rows[self.rows["differs_because"] == LEFT_ALONE])

    @property
    def not_explained(self) -> pd.DataFrame:
        """The months in which the general ledger holds something that no step leads to."""
        gap = self.bridge["not_explained"].round(self.decimal_places)
        return self.bridge.loc[gap != 0, ["month", "not_explained", "books"]]

    def months_with_books(self) -> pd.DataFrame:
        """By month: the reconciliation, then the steps to the general ledger; for a spreadsheet."""
        both = self.months.merge(
            self.bridge.drop(columns="kept").rename(
                columns=lambda name: _STEP_COLUMNS.get(name, f"step_{name}")
            ),
            how="outer",
            on="month",
        )
        counts = ["orders", "orders_held", "orders_differing"]
        both[counts] = both[counts].fillna(0).astype("int64")
        rest = both.select_dtypes("number").columns.difference(counts)
        both[rest] = both[rest].fillna(0.0)
        both.insert(1, "currency", self.currency)
        return both.sort_values("month", ignore_index=True)


@dataclass(frozen=True, kw_only=True)
class ReconciledTables:
    """The tables of a company that its revenue is reconciled from."""

    store_orders: Table
    order_push: Table
    orders: Table
    order_lines: Table
    refunds: Table


@dataclass(frozen=True)
class Reconciled:
    """What came of reconciling a company.

    Attributes:
        found: the reconciliation.
        table: ``revenue_reconciliation``, with the facts of the reconciliation.
        documents_without_order: invoices and credit notes that belong to no order.
        unseen: stores that were not compared.
        read_again: how many orders that differ were read back, so that the next push corrects them.
        notes: what Odoo could not say of the general ledger.
    """

    found: Reconciliation
    table: Table
    documents_without_order: pd.DataFrame
    unseen: Sequence[StoreLeftAlone]
    read_again: int
    notes: Sequence[str]


def reconcile_company(
    systems: Systems, company: CompanySettings, tables: ReconciledTables, run_id: str, log: logging.Logger
) -> Reconciled:
    """Compare order by order, and bridge to the general ledger; tell the ledger what is wrong.

    A store that cannot be read is not compared, and holds up no other.

    Raises:
        OdooError: the general ledger cannot be read.
        SyncError: another run is syncing the company.
    """
    currency, decimal_places = _currency(company, tables.orders.rows)
    closed = not_looked_at(tables.order_push)
    held, failures = _held(systems, company, {store.store_id for store in closed})
    unseen = [*closed, *broken_stores({each.store_id: each.error for each in failures}, company)]
    books = read_income(systems.odoo(company), company.odoo_company_id)
    of_odoo = (tables.orders.rows, tables.order_lines.rows, tables.refunds.rows)
    found = Reconciliation(
        reconcile(
            without_stores(
                with_waiting_members(tables.store_orders.rows, _waiting_members(company)),
                {store.store_id for store in unseen},
            ),
            held,
            tables.order_push.rows,
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
    read_again, not_read = _read_again(systems, company, found, run_id, log)
    troubles = [
        *of_failures([*failures, *not_read]),
        *of_left_alone(closed, "compared"),
        *of_differences(found.differing),
    ]
    systems.ledger.troubles.report(company.key, "revenue_reconciliation", run_id, troubles)
    derived = tables.store_orders.derive(found.rows, tables.orders, tables.order_lines, tables.refunds)
    return Reconciled(
        found=found,
        table=Table(
            derived.rows, derived.observed_at, derived.complete, derived.incomplete_because, found.facts
        ),
        documents_without_order=documents_without_order(*of_odoo, decimal_places),
        unseen=unseen,
        read_again=read_again,
        notes=books.notes,
    )


def _currency(company: CompanySettings, orders: pd.DataFrame) -> tuple[str, int]:
    """Return the company's currency and its decimal places; without an order, those of its stores."""
    if len(orders):
        first = orders.iloc[0]
        return str(first["company_currency"]), int(first["company_decimal_places"])
    stores = [audience.store.currency for audience in company.audiences.values() if audience.store]
    return (stores[0] if stores else ""), 2


def _held(
    systems: Systems, company: CompanySettings, left_alone: Collection[str]
) -> tuple[pd.DataFrame, list[StoreFailure]]:
    """Read back what the company's stores hold, those too that the settings name no longer.

    Not those that are left alone, nor those that cannot be read: their orders count as not looked at. A store
    that is not there yet holds nothing.
    """
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
    pushed = stored_table(schemas.AUDIENCE_PUSH, company.key, names=["operation", "email", "outcome"])
    if pushed is None:
        return frozenset()
    rows = pushed.rows
    return frozenset(
        rows.loc[(rows["operation"] == Operation.CREATE) & (rows["outcome"] == WAITS_FOR_APPROVAL), "email"]
    )


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
    systems: Systems, company: CompanySettings, found: Reconciliation, run_id: str, log: logging.Logger
) -> tuple[int, list[StoreFailure]]:
    """Let the ledger know how the orders that differ really are, so that the next push puts them right.

    Somebody edited or deleted them in Mailchimp, or the ledger was replaced by an older copy: the push
    compares with what it remembers. Returns how many were read, and which stores could not be.
    """
    orders = found.differing.dropna(subset=["order_id"]).head(_READ_AGAIN_AT_MOST)
    read, failures = 0, []
    for store_id, of_store in orders.groupby("store_id", sort=True):
        about: dict[tuple[str, str, str], AboutOrder | None] = {
            ("order", str(store_id), str(foreign)): AboutOrder(order_id=int(order), month=str(month))
            for foreign, order, month in zip(
                of_store["foreign_order_id"], of_store["order_id"], of_store["month"], strict=True
            )
        }
        with company_lease(systems, company.key, run_id, log) as lease:
            try:
                writer = Writer(systems.mailchimp(company), systems.ledger, lease, run_id)
                read_back(writer, about.keys(), about=about)
                read += len(about)
            except MailchimpError as error:
                failures.append(StoreFailure(str(store_id), "", error))
    return read, failures


def _latest_first(orders: pd.DataFrame) -> pd.DataFrame:
    return orders.sort_values(["month", "order_id"], ascending=[False, True], ignore_index=True)
