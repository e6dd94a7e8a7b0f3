"""Orders leave their store: which do, and how; what Mailchimp attributed them to is kept."""

import json
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.changes import Step
from mc_pipeline.domain.store.documents import Document, text_of
from mc_pipeline.domain.store.held_orders import (
    MOVED,
    STAYS,
    Departure,
    departure_of_given_back,
    gone_for_good,
)
from mc_pipeline.domain.store.not_written import OUTCOME_NOT_KNOWN
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.push.orders.attributions import attributions_of, with_loss
from mc_pipeline.push.orders.customers import Customers
from mc_pipeline.push.orders.prepared import NOT_SENT, Preparing
from mc_pipeline.push.orders.rows import Month
from mc_pipeline.push.orders.run import SLICE, OrderRun
from mc_pipeline.push.store_writes import StoreChange, StoreResult
from mc_pipeline.vocabulary import StoreChangeKind, StoreOperation


class Departures:
    """The departures of one run."""

    def __init__(self, run: OrderRun, preparing: Preparing, customers: Customers) -> None:
        self._run = run
        self._preparing = preparing
        self._customers = customers

    def leaving(self, found: Sequence[Departure], staying: dict[str, Month]) -> list[Departure]:
        """Return those that leave, and list by month why the others do not."""

        def stay(departure: Departure, why: str) -> None:
            month = staying.setdefault(departure.month, Month(departure.month))
            month.hold_back(
                departure.store_id, departure.order_id, StoreChangeKind.DELETE, departure.because, why
            )

        if not self._run.orders.complete:
            for departure in found:
                stay(departure, f"what was read is not complete: {self._run.orders.incomplete_because}")
            return []
        asked = [departure.order_id for departure in found if departure.asked]
        states = self._run.orders.states_of(asked) if asked else {}
        gone = gone_for_good(states, asked)
        leaving = []
        for departure in found:
            if departure.asked and departure.order_id not in gone:
                stay(
                    departure, f"Odoo has the order, in state {states[departure.order_id]}: it is read again"
                )
            else:
                leaving.append(departure)
        return leaving

    def given_back(self, orders: pd.DataFrame, staying: dict[str, Month]) -> list[Departure]:
        """Return which of these orders have to leave because they were refunded; the others stay, listed."""
        found: list[Departure] = []
        for start in range(0, len(orders), SLICE):
            part = orders.iloc[start : start + SLICE]
            records = self._run.ledger.stores.orders(self._run.company, part["order_id"].tolist())
            sent = {(record.store_id, record.order_id): record.sent_json for record in records}
            row: Any
            for row in part.itertuples():
                month = str(row.month)
                present: Document = json.loads(sent.get((str(row.store_id), int(row.order_id))) or "{}")
                departure = departure_of_given_back(row, present)
                if departure is not None:
                    found.append(departure)
                else:
                    staying.setdefault(month, Month(month)).list_untouched(row, STAYS)
        return found

    def not_waiting(self, leaving: Sequence[Departure], staying: dict[str, Month]) -> list[Departure]:
        """Return the departures that need not wait, and list the others."""
        found = []
        for departure in leaving:
            because = self._run.waits.get((departure.store_id, departure.order_id))
            if because is None:
                found.append(departure)
                continue
            month = staying.setdefault(departure.month, Month(departure.month))
            month.hold_back(
                departure.store_id, departure.order_id, StoreChangeKind.DELETE, departure.because, because
            )
        return found

    def take_out(self, month: Month, leaving: Sequence[Departure], due: pd.DataFrame) -> None:
        """Delete orders of a store, and keep what Mailchimp attributed them to."""
        self._run.look_at_open_writes()
        staying = self._not_taken_elsewhere(month, leaving, due)
        going = []
        for departure in leaving:
            key = ("order", departure.store_id, store_ids.order_id(departure.order_id))
            why_not = OUTCOME_NOT_KNOWN if key in self._run.open else staying.get(departure.order_id)
            if why_not:
                month.hold_back(
                    departure.store_id, departure.order_id, StoreChangeKind.DELETE, departure.because, why_not
                )
            else:
                going.append((departure, key))
        results: dict[Hashable, StoreResult] = {}
        changes: list[StoreChange] = []
        try:
            attributions = attributions_of(self._run.writer, [key for _, key in going])
            changes = [
                StoreChange(
                    key,
                    departure.store_id,
                    "order",
                    key[2],
                    (Step(StoreOperation.DELETE, None),),
                    attribution=text_of(attributions[key]),
                    order_id=departure.order_id,
                    month=departure.month,
                )
                for departure, key in going
            ]
            self._run.writes.carry_out(changes, results)
        finally:
            by_key = {change.key: change for change in changes}
            for departure, key in going:
                result = results.get(key, NOT_SENT)
                if departure.detail and result.is_done:
                    result = replace(result, detail=departure.detail)
                if key in by_key:
                    result = with_loss(result, by_key[key])
                month.add(
                    departure.store_id, departure.order_id, StoreChangeKind.DELETE, departure.because, result
                )

    def _not_taken_elsewhere(
        self, month: Month, leaving: Sequence[Departure], due: pd.DataFrame
    ) -> dict[int, str]:
        """Return the orders that the store they move to would not take, and why: they stay where they are.

        Their customers are made there before they leave.
        """
        moving = {departure.order_id for departure in leaving if departure.because == MOVED}
        entering = due[due["order_id"].isin(moving) & ~due["as_held"].astype(bool)]
        staying: dict[int, str] = {}
        for name, rows in entering.groupby("store_id", sort=True):
            store_id = str(name)
            if store_id in self._run.unusable:
                why = {int(order_id): "it could not be written" for order_id in rows["order_id"]}
            else:
                trial = Month(month.month)
                try:
                    self._customers.make(trial, self._preparing.prepare(trial, rows, leaves_elsewhere=True))
                    why = {row[1]: row[7] for row in trial.rows}
                except MailchimpError as error:
                    self._run.fails(store_id, error, month)
                    why = {int(order_id): str(error) for order_id in rows["order_id"]}
            staying |= {
                order_id: f"store {store_id} does not take it: {each}" for order_id, each in why.items()
            }
        # A store that is left out of this run takes nothing.
        missing = moving - {int(order_id) for order_id in entering["order_id"]} - self._entered(moving)
        return staying | dict.fromkeys(missing, "the store that it moves to could not be written")

    def _entered(self, orders: Collection[int]) -> set[int]:
        """Which of these moving orders are in the store already that they are due in."""
        due = self._run.orders.rows
        stores = dict(zip(due["order_id"], due["store_id"], strict=True))
        records = self._run.ledger.stores.orders(self._run.company, sorted(orders))
        return {
            int(record.order_id)
            for record in records
            if record.present
            and record.order_id is not None
            and stores.get(record.order_id) == record.store_id
        }
