"""Pushes the orders of one company in one run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.guards import LoweredOrders, judge_lowered, row_key
from mc_pipeline.domain.store.held_orders import (
    Departure,
    departures,
    former_customers,
    held_though_excluded,
    kept_right,
    not_left_alone,
    orders_to_write,
)
from mc_pipeline.push.orders.customers import Customers
from mc_pipeline.push.orders.departures import Departures
from mc_pipeline.push.orders.due import Due
from mc_pipeline.push.orders.mending import Mending
from mc_pipeline.push.orders.month import MonthPush
from mc_pipeline.push.orders.prepared import Preparing
from mc_pipeline.push.orders.rows import PROGRESS, ROW, Month, OrderPush
from mc_pipeline.push.orders.run import OrderRun, Orders
from mc_pipeline.push.store_writes import StoreWrites
from mc_pipeline.push.stores import Store


class OrderPusher:
    """Pushes the orders of one company in one run."""

    def __init__(
        self,
        orders: Orders,
        stores: Iterable[Store],
        writes: StoreWrites,
        now: datetime,
        *,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        by_id = {store.store_id: store for store in stores}
        self._run = OrderRun(orders, by_id, writes, now, report, Mending(writes, now))

    def push(self) -> OrderPush:
        """Push everything that differs; what fails of a store or month stays due, and the rest continues."""
        rows = self._run.orders.rows
        present = self._run.ledger.stores.orders_present(self._run.company)
        held = not_left_alone(rows, present, self._run.orders.stores_left_alone)
        staying: dict[str, Month] = {}
        excluded = held_though_excluded(rows, held, self._run.orders.members)
        right = kept_right(excluded)
        due = orders_to_write(rows, held, excluded[right], self._run.stores)
        preparing = Preparing(self._run, former_customers(due, held))
        customers = Customers(self._run)
        departing = Departures(self._run, preparing, customers)
        months = MonthPush(self._run, preparing, customers, departing)
        differing, lowered = Due(self._run).differing(due)
        given_back = departing.given_back(excluded[~right], staying)
        leaving = departing.leaving([*departures(rows, held), *given_back], staying)
        guards = self._judge(lowered, leaving, held)
        leaving = departing.not_waiting(leaving, staying)
        by_month = {str(name): of_month for name, of_month in differing.groupby("month")}
        month_due = dict(zip(due["order_id"], due["month"], strict=True))
        leaving_by_month: dict[str, list[Departure]] = {}
        for departure in leaving:
            # What moves to another store leaves the one right before it enters the other.
            name = str(month_due.get(departure.order_id, departure.month))
            leaving_by_month.setdefault(name, []).append(departure)
        nothing = due.iloc[:0]
        pushed: list[Month] = []
        for name in sorted({*by_month, *leaving_by_month, *(month.month for month in staying.values())}):
            month = staying.get(name) or Month(name)
            pushed.append(month)
            months.push(month, leaving_by_month.get(name, []), by_month.get(name, nothing))
        pushed += self._bring_back_deleted(due, months)
        customers.remove_idle(due)
        return self._result(pushed, guards)

    def _judge(
        self, lowered: Mapping[str, Mapping[int, str]], leaving: Sequence[Departure], held: pd.DataFrame
    ) -> list[LoweredOrders]:
        """Judge the guard of every store that would lose something, and note what waits."""
        changes = {store_id: dict(keys) for store_id, keys in lowered.items()}
        for departure in leaving:
            if departure.lowers:
                foreign = store_ids.order_id(departure.order_id)
                key = row_key(departure.store_id, foreign, None)
                changes.setdefault(departure.store_id, {})[departure.order_id] = key
        sizes = held["store_id"].value_counts().to_dict()
        guards = []
        for store_id, keys in sorted(changes.items()):
            size = int(sizes.get(store_id, 0))
            guard = judge_lowered(
                store_id, keys, size, self._run.orders.lowered_limit(size), self._run.orders.approved_row_keys
            )
            guards.append(guard)
            self._run.waits |= {(store_id, order): guard.because for order in guard.waiting}
        return guards

    def _bring_back_deleted(self, due: pd.DataFrame, months: MonthPush) -> list[Month]:
        """Restore the orders that were found to be deleted together with their customer."""
        deleted = self._run.mending.deleted
        if not deleted:
            return []
        places = zip(due["store_id"], due["order_id"], strict=True)
        rows = due[[(str(store_id), int(order_id)) in deleted for store_id, order_id in places]]
        pushed = []
        for name, of_month in rows.groupby("month", sort=True):
            pushed.append(Month(str(name)))
            months.push(pushed[-1], [], of_month)
        return pushed

    def _result(self, months: Sequence[Month], guards: Sequence[LoweredOrders]) -> OrderPush:
        rows = pd.DataFrame([row for month in months for row in month.rows], columns=list(ROW))
        progress = []
        for month in months:
            if month.rows or month.trouble:
                name, orders, done, failed, _ = of_month = month.progress()
                progress.append(of_month)
                self._run.report(f"{name}: {done:,} of {orders:,} orders are done, {failed:,} failed.")
        return OrderPush(rows, pd.DataFrame(progress, columns=list(PROGRESS)), self._run.failures, guards)
