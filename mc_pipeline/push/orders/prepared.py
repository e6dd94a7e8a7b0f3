"""Decides the writes of orders, with what the ledger and the stores are asked for that."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from mc_pipeline.domain.store.announcements import announcement
from mc_pipeline.domain.store.changes import Steps, missing_products, order_steps
from mc_pipeline.domain.store.documents import Document, kept_document, text_of
from mc_pipeline.domain.store.held_orders import KEPT_RIGHT
from mc_pipeline.domain.store.not_written import OrderInTheWay, why_not_written
from mc_pipeline.ledger import StoreRecord
from mc_pipeline.push.orders.attributions import attributions_of
from mc_pipeline.push.orders.rows import Month
from mc_pipeline.push.orders.run import OrderRun
from mc_pipeline.push.store_writes import StoreChange, StoreResult
from mc_pipeline.vocabulary import OutcomeKind, StoreChangeKind

NOT_SENT = StoreResult(OutcomeKind.NOT_SENT, "the push ended before")


@dataclass(frozen=True)
class Prepared:
    """An order that is about to be written."""

    row: Any
    order_id: int
    customer: StoreRecord
    wanted: Document
    steps: Steps
    change: StoreChange

    @property
    def operation(self) -> StoreChangeKind:
        return self.steps.operation

    @property
    def because(self) -> str:
        return self.steps.because

    def losing(self, attribution: Document) -> "Prepared":
        """The same, with what Mailchimp attributes it to until it is replaced."""
        return replace(self, change=replace(self.change, attribution=text_of(attribution)))


class Preparing:
    """Decides the writes of one run.

    ``former``: store and address to the customer that the same person is there by now, under another address.
    """

    def __init__(self, run: OrderRun, former: Mapping[tuple[str, str], str]) -> None:
        self._run = run
        self._former = former
        self._products: dict[str, dict[str, set[str]]] = {}

    def prepare(self, month: Month, due: pd.DataFrame, *, leaves_elsewhere: bool = False) -> list[Prepared]:
        """Decide the writes of rows; list in ``month`` what is not written, and why.

        ``leaves_elsewhere``: another store holds these orders still, which they leave before they come.
        """
        known: dict[int, list[StoreRecord]] = {}
        for record in self._run.ledger.stores.orders(self._run.company, due["order_id"].tolist()):
            assert record.order_id is not None
            known.setdefault(record.order_id, []).append(record)
        stores = self._run.stores
        # An order of somebody who was archived meanwhile would bring them back as a contact (rule 9.1).
        not_there = {
            str(store_id): self._run.orders.not_there(stores[str(store_id)].list_id, set(rows["email"]))
            for store_id, rows in due.groupby("store_id")
            if str(store_id) in stores
        }
        customers = {
            str(store_id): self._run.ledger.stores.name_customers(
                self._run.company,
                self._run.writer.fence,
                str(store_id),
                {email: self._former.get((str(store_id), email)) for email in rows["email"]},
            )
            for store_id, rows in due.groupby("store_id")
        }
        announces = {store_id: self._announces(store_id) for store_id in customers}
        prepared = []
        row: Any
        for row in due.itertuples():
            order_id = int(row.order_id)
            customer = customers[row.store_id][row.email]
            records = known.get(order_id, [])
            held = next((record for record in records if record.store_id == row.store_id), None)
            if row.as_held and (held is None or not held.present):
                if order_id in month.read_back:
                    operation, because = month.read_back[order_id]
                    gone = StoreResult(OutcomeKind.UNCHANGED, "the store does not hold it any more")
                    month.add(row.store_id, order_id, operation, because, gone)
                continue
            wanted = kept_document(row, customer.object_id)
            said = announcement(
                wanted, row.processed_at, self._run.now, known=records, announces=announces[row.store_id]
            )
            steps = order_steps(row.foreign_order_id, wanted, held, said)
            if steps is None:
                if order_id in month.read_back:
                    operation, because = month.read_back[order_id]
                    done = StoreResult(OutcomeKind.APPLIED, "read back from the store")
                    month.add(row.store_id, order_id, operation, because, done)
                elif row.as_held:
                    month.list_untouched(row, KEPT_RIGHT)
                continue
            absent_because = not_there.get(str(row.store_id), {}).get(row.email)
            way = self._in_the_way(row, wanted, held, records, absent_because, leaves_elsewhere)
            why_not = why_not_written(steps, way, self._run.now)
            if why_not is not None:
                result = StoreResult(why_not.outcome, why_not.detail)
                month.add(row.store_id, order_id, steps.operation, steps.because, result)
                continue
            prepared.append(
                Prepared(row, order_id, customer, wanted, steps, self._change(row, customer, steps))
            )
        return prepared

    def _in_the_way(
        self,
        row: Any,
        wanted: Document,
        held: StoreRecord | None,
        records: Collection[StoreRecord],
        absent_because: str | None,
        leaves_elsewhere: bool,
    ) -> OrderInTheWay:
        """What may keep an order from being written; ``records`` are what the stores know of it."""
        orders = self._run.orders
        others = [record for record in records if record.store_id != row.store_id]
        return OrderInTheWay(
            absent_because=absent_because,
            is_open=("order", row.store_id, row.foreign_order_id) in self._run.open,
            waits_because=self._run.waits.get((row.store_id, int(row.order_id))),
            held=held,
            lacking=missing_products(wanted, self._products_of(row.store_id)),
            elsewhere=[record.store_id for record in others if record.present],
            leaves_elsewhere=leaves_elsewhere,
            incomplete_because=None if orders.complete else orders.incomplete_because,
        )

    def with_attributions(self, prepared: list[Prepared]) -> list[Prepared]:
        """Have the ledger keep what Mailchimp attributes orders to that are replaced: they lose it."""
        replaced = [each.change.object_key for each in prepared if each.operation == StoreChangeKind.REPLACE]
        attributions = attributions_of(self._run.writer, replaced)
        return [
            each.losing(attributions[each.change.object_key])
            if each.operation == StoreChangeKind.REPLACE
            else each
            for each in prepared
        ]

    def forget_products(self, store_id: str) -> None:
        """Look at what products the store holds anew: some were made again."""
        self._products.pop(store_id, None)

    def _announces(self, store_id: str) -> bool:
        """Whether new orders of a store are announced: as its settings ask, once its first load is over."""
        store = self._run.stores.get(store_id)
        if store is None or not store.order_notifications:
            return False
        state = self._run.ledger.stores.get(store_id)
        return state is not None and state.loaded_at is not None

    def _change(self, row: Any, customer: StoreRecord, steps: Steps) -> StoreChange:
        return StoreChange(
            (row.store_id, row.foreign_order_id),
            row.store_id,
            "order",
            row.foreign_order_id,
            steps.steps,
            steps.wanted,
            order_id=int(row.order_id),
            month=row.month,
            customer_id=customer.object_id,
            rate=self._run.orders.rates.get(int(row.order_id)),
        )

    def _products_of(self, store_id: str) -> Mapping[str, Collection[str]]:
        if store_id not in self._products:
            self._products[store_id] = {
                identity: set(json.loads(record.sent_json or "{}").get("variants", ()))
                for identity, record in self._run.ledger.stores.products(store_id).items()
                if record.present
            }
        return self._products[store_id]
