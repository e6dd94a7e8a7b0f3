"""Sends the orders to the stores, month by month, so that each store holds what it should (RULES 9).

First the orders that differ are found, by what the ledger says the stores hold: an unchanged order costs no
request. For what is to be created or replaced, the store is asked whether it has it already
(``store_adoption``). If a store would be lowered too much, these orders wait (``domain.store_guards``).
Then, month by month, orders leave, their customers are created, and orders are created and changed. A store
that fails holds up no other. ``store_changes`` says what happens to an order that a store holds and that is
no longer due in any.
"""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.changes import (
    ERASED_PERSON,
    GIVEN_BACK,
    KEPT_RIGHT,
    MOVED,
    NO_LONGER_COUNTS,
    STAYS,
    Departure,
    Step,
    Steps,
    departures,
    gone_for_good,
    held_though_excluded,
    is_announced,
    is_given_back,
    kept_rest,
    missing_products,
    order_steps,
    why_replaced,
)
from mc_pipeline.domain.store.documents import (
    Document,
    attribution_of,
    kept_document,
    lost_attribution,
    text_of,
)
from mc_pipeline.domain.store.guards import LoweredOrders, judge_lowered, row_key
from mc_pipeline.domain.store.orders import OTHER_CURRENCY_WITHOUT_RATE
from mc_pipeline.ledger import AboutOrder, StoreRecord
from mc_pipeline.mailchimp.errors import (
    MailchimpAuthenticationError,
    MailchimpBlockedError,
    MailchimpError,
    MailchimpPermissionError,
)
from mc_pipeline.mailchimp.members import get_member, subscriber_hash
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.mailchimp.store_reading import get_customer, get_order
from mc_pipeline.mailchimp.store_writing import customer_body
from mc_pipeline.push.order_refusals import Mending
from mc_pipeline.push.order_rows import PROGRESS, ROW, Month, OrderPush, StoreFailure
from mc_pipeline.push.store_adoption import Adoption
from mc_pipeline.push.store_settling import ObjectKey, read_back
from mc_pipeline.push.store_writes import StoreChange, StoreResult, StoreWrites
from mc_pipeline.push.stores import Store

SLICE = 2_000
"""Orders whose requests are made at a time: bounds memory, and who left an audience is asked before each."""

_LOOKS = 3
"""How often an order is gone through in one run: what was found to differ is corrected at once."""

_OF_THE_STORE = (MailchimpAuthenticationError, MailchimpBlockedError, MailchimpPermissionError)
"""Errors of the store or the account, not of a month: no other month of the store would fare better."""


@dataclass(frozen=True)
class Orders:
    """What the stores should hold, and what is known of it.

    rows        all rows of ``store_orders``
    members     list_id and email of everybody in an audience, in whatever status but archived
    complete    False: some input of them is not whole, so nothing leaves a store on their word
    rates       order id to rate, of orders in another currency than the store's
    states_of   asks Odoo for the states of orders by id; those that it has not are missing
    not_there   asks who of these addresses is in an audience (list_id) no more, by now, and why
    stores_left_alone   ids of stores into which and out of which nothing goes in this run
    lowered_limit   how many orders may be lowered or deleted without an approval, by how many a store holds
    approved_row_keys   returns the keys of such changes that a person approved
    """

    rows: pd.DataFrame
    members: pd.DataFrame
    complete: bool
    rates: Mapping[int, float]
    states_of: Callable[[Sequence[int]], Mapping[int, str]]
    incomplete_because: str = ""
    not_there: Callable[[str, Collection[str]], Mapping[str, str]] = lambda list_id, emails: {}
    stores_left_alone: Collection[str] = ()
    lowered_limit: Callable[[int], int] = lambda held: held
    approved_row_keys: Callable[[], Collection[str]] = frozenset

    def concerned(self, held: pd.DataFrame) -> pd.DataFrame:
        """Return what is held of which something may be written: not in a store that is left alone, nor due
        in such a one, which an order enters only when it leaves where it is."""
        due_there = self.rows["store_id"].isin(list(self.stores_left_alone))
        due_there &= self.rows["excluded_because"] == ""
        waiting = held["order_id"].isin(self.rows.loc[due_there, "order_id"])
        return held[~waiting & ~held["store_id"].isin(list(self.stores_left_alone))]


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
        self._orders = orders
        self._stores = {store.store_id: store for store in stores}
        self._writes = writes
        self._ledger = writes.ledger
        self._company = writes.lease.company
        self._now = now
        self._report = report
        self._open: frozenset[ObjectKey] = frozenset()
        self._products: dict[str, dict[str, set[str]]] = {}
        self._former: dict[tuple[str, str], str] = {}
        self._failures: list[StoreFailure] = []
        self._unusable: set[str] = set()
        self._waits: dict[tuple[str, int], str] = {}
        self._adoption = Adoption(writes.client, writes.ledger, writes.lease, writes.workers)
        self._mending = Mending(writes, now)

    def push(self) -> OrderPush:
        """Push everything that differs; what fails of a store or month stays due, and the rest continues."""
        held = self._orders.concerned(self._ledger.stores.orders_present(self._company))
        staying: dict[str, Month] = {}
        excluded = held_though_excluded(self._orders.rows, held, self._orders.members)
        # Without a rate, nobody knows what is kept of it.
        kept_right = excluded["is_member"] & (excluded["uncounted_because"] != OTHER_CURRENCY_WITHOUT_RATE)
        due = self._due(held, excluded[kept_right])
        self._former = _former_customers(due, held)
        differing, lowered = self._look(due)
        given_back = self._given_back(excluded[~kept_right], staying)
        leaving = self._leaving([*departures(self._orders.rows, held), *given_back], staying)
        guards = self._judge(lowered, leaving, held)
        leaving = self._not_waiting(leaving, staying)
        by_month = {str(name): rows for name, rows in differing.groupby("month")}
        month_due = dict(zip(due["order_id"], due["month"], strict=True))
        leaving_by_month: dict[str, list[Departure]] = {}
        for departure in leaving:
            # What moves to another store leaves the one right before it enters the other.
            name = str(month_due.get(departure.order_id, departure.month))
            leaving_by_month.setdefault(name, []).append(departure)
        nothing = due.iloc[:0]
        months: list[Month] = []
        for name in sorted({*by_month, *leaving_by_month, *(month.month for month in staying.values())}):
            month = staying.get(name) or Month(name)
            months.append(month)
            self._push_month(month, leaving_by_month.get(name, []), by_month.get(name, nothing))
        months += self._push_deleted_with_their_customer(due)
        self._remove_customers(due)
        return self._told(months, guards)

    def _told(self, months: Sequence[Month], guards: Sequence[LoweredOrders]) -> OrderPush:
        rows = pd.DataFrame([row for month in months for row in month.rows], columns=list(ROW))
        progress = []
        for month in months:
            if month.rows or month.trouble:
                name, orders, done, failed, _ = told = month.progress()
                progress.append(told)
                self._report(f"{name}: {done:,} of {orders:,} orders are done, {failed:,} failed.")
        return OrderPush(rows, pd.DataFrame(progress, columns=list(PROGRESS)), self._failures, guards)

    def _fails(self, store_id: str, error: MailchimpError, month: Month | None = None) -> None:
        """Note what failed; a store is left alone after that if none of its other months could succeed."""
        self._failures.append(StoreFailure(store_id, month.month if month else "", error))
        if month is None or isinstance(error, _OF_THE_STORE):
            self._unusable.add(store_id)
        if month is not None:
            month.trouble.append(str(error))
        self._report(f"{month.month if month else 'Store'} {store_id}: {error}")

    # --- what is due --------------------------------------------------------------------------------

    def _due(self, held: pd.DataFrame, kept_right: pd.DataFrame) -> pd.DataFrame:
        """Rows to be written: those that are due, and those that a store holds and that count no more.

        ``kept_right``: rows of ``held_though_excluded``. They are the ones with ``as_held``: to be kept
        right where they are, and never to be brought there.
        """
        rows = self._orders.rows
        in_store = rows["store_id"].isin(list(self._stores))
        due = in_store & (rows["excluded_because"] == "")
        place = pd.MultiIndex.from_frame(rows[["order_id", "store_id"]].astype(object))
        is_held = place.isin(pd.MultiIndex.from_frame(held[["order_id", "store_id"]].astype(object)))
        worthless = in_store & rows["excluded_because"].isin(NO_LONGER_COUNTS) & is_held
        found = rows[due | worthless].assign(as_held=False)
        if kept_right.empty:
            return found
        return pd.concat([found, kept_right[rows.columns].assign(as_held=True)], ignore_index=True)

    def _leaving(self, found: Sequence[Departure], staying: dict[str, Month]) -> list[Departure]:
        """Return those that do leave, and say of the others, by month, why they do not."""

        def stay(departure: Departure, why: str) -> None:
            month = staying.setdefault(departure.month, Month(departure.month))
            month.hold_back(departure.store_id, departure.order_id, "delete", departure.because, why)

        if not self._orders.complete:
            for departure in found:
                stay(departure, f"what was read is not complete: {self._orders.incomplete_because}")
            return []
        asked = [departure.order_id for departure in found if departure.asked]
        states = self._orders.states_of(asked) if asked else {}
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

    def _given_back(self, orders: pd.DataFrame, staying: dict[str, Month]) -> list[Departure]:
        """Return which of these orders have to leave because money was refunded; the others stay, listed.

        They are of people who are no members: an order of somebody who was archived or is gone would bring
        them back as a contact (rule 9.1), a deletion brings nobody back.
        """
        found: list[Departure] = []
        for start in range(0, len(orders), SLICE):
            part = orders.iloc[start : start + SLICE]
            records = self._ledger.stores.orders(self._company, part["order_id"].tolist())
            sent = {(record.store_id, record.order_id): record.sent_json for record in records}
            row: Any
            for row in part.itertuples():
                store_id, order_id, month = str(row.store_id), int(row.order_id), str(row.month)
                present: Document = json.loads(sent.get((store_id, order_id)) or "{}")
                known = row.uncounted_because != OTHER_CURRENCY_WITHOUT_RATE
                if known and is_given_back(present, kept_document(row, present.get("customer", ""))):
                    rest = kept_rest(kept_document(row, ""))
                    found.append(Departure(store_id, order_id, month, GIVEN_BACK, rest))
                else:
                    staying.setdefault(month, Month(month)).list_untouched(row, STAYS)
        return found

    # --- what differs -------------------------------------------------------------------------------

    def _look(self, due: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, dict[int, str]]]:
        """Find the rows that differ from what their store holds, or that are listed though they do not.

        Returns these rows, and by store the orders of which it would hold less, with the keys of the changes.
        A store that cannot be asked is left alone.
        """
        found = []
        lowered: dict[str, dict[int, str]] = {}
        for store_id, of_store in due.groupby("store_id", sort=True):
            keys: dict[int, str] = {}
            differs: list[bool] = []
            try:
                for start in range(0, len(of_store), SLICE):
                    differs += self._differ(str(store_id), of_store.iloc[start : start + SLICE], keys)
            except MailchimpError as error:
                self._fails(str(store_id), error)
                continue
            lowered[str(store_id)] = keys
            found.append(of_store[differs])
        return (pd.concat(found, ignore_index=True) if found else due.iloc[:0]), lowered

    def _differ(self, store_id: str, rows: pd.DataFrame, lowered: dict[int, str]) -> list[bool]:
        """Say of each row whether something is to be written of it, or listed; fill ``lowered``."""
        compared = self._compare(store_id, rows)
        unsure = rows[[each.operation in ("create", "replace") for each in compared]]
        if len(unsure):
            # The ledger may be older than the store: first be sure that the store is without it.
            known = self._ledger.stores.customers(store_id, unsure["email"])
            self._adoption.customers(
                store_id,
                {email for email in unsure["email"] if email not in known or not known[email].present},
            )
            unsure_rows: Iterable[Any] = unsure.itertuples()
            about = {
                str(row.foreign_order_id): AboutOrder(
                    order_id=int(row.order_id),
                    month=str(row.month),
                    rate=self._orders.rates.get(int(row.order_id)),
                )
                for row in unsure_rows
            }
            self._adoption.orders(store_id, about)
            compared = self._compare(store_id, rows)
        lowered.update((each.order_id, each.lowered) for each in compared if each.lowered)
        return [
            bool(each.operation) or bool(as_held)
            for each, as_held in zip(compared, rows["as_held"], strict=True)
        ]

    def _compare(self, store_id: str, rows: pd.DataFrame) -> list["_Compared"]:
        """Compare rows of one store with what the ledger says that it holds."""
        ledger = self._ledger.stores
        records = {
            record.order_id: record
            for record in ledger.orders(self._company, rows["order_id"].tolist())
            if record.store_id == store_id and record.present
        }
        customers = ledger.customers(store_id, set(rows["email"]))
        found = []
        row: Any
        for row in rows.itertuples():
            order_id, customer, held = int(row.order_id), customers.get(row.email), records.get(row.order_id)
            wanted = kept_document(row, customer.object_id if customer else "")
            if held is None:
                found.append(_Compared(order_id, "" if row.as_held else "create"))
            elif held.sent_json == text_of(wanted):
                found.append(_Compared(order_id))
            else:
                present: Document = json.loads(held.sent_json or "{}")
                # The customer may have no name yet, and is no part of what a person approves.
                key = row_key(store_id, str(row.foreign_order_id), text_of({**wanted, "customer": ""}))
                found.append(
                    _Compared(
                        order_id,
                        "replace" if why_replaced(present, wanted) else "update",
                        key if is_given_back(present, wanted) else "",
                    )
                )
        return found

    # --- what waits ---------------------------------------------------------------------------------

    def _judge(
        self, lowered: Mapping[str, Mapping[int, str]], leaving: Sequence[Departure], held: pd.DataFrame
    ) -> list[LoweredOrders]:
        """Judge the guard of every store that would lose something, and note what waits."""
        changes = {store_id: dict(keys) for store_id, keys in lowered.items()}
        for departure in leaving:
            if departure.because not in (MOVED, ERASED_PERSON):
                foreign = store_ids.order_id(departure.order_id)
                key = row_key(departure.store_id, foreign, None)
                changes.setdefault(departure.store_id, {})[departure.order_id] = key
        sizes = held["store_id"].value_counts().to_dict()
        guards = []
        for store_id, keys in sorted(changes.items()):
            size = int(sizes.get(store_id, 0))
            guard = judge_lowered(
                store_id, keys, size, self._orders.lowered_limit(size), self._orders.approved_row_keys
            )
            guards.append(guard)
            self._waits |= {(store_id, order): guard.because for order in guard.waiting}
        return guards

    def _not_waiting(self, leaving: Sequence[Departure], staying: dict[str, Month]) -> list[Departure]:
        """Return the departures that need not wait, and list the others."""
        found = []
        for departure in leaving:
            because = self._waits.get((departure.store_id, departure.order_id))
            if because is None:
                found.append(departure)
                continue
            month = staying.setdefault(departure.month, Month(departure.month))
            month.hold_back(departure.store_id, departure.order_id, "delete", departure.because, because)
        return found

    # --- one month ----------------------------------------------------------------------------------

    def _push_month(self, month: Month, leaving: Sequence[Departure], due: pd.DataFrame) -> None:
        """Write one month, each store separately: first what leaves, then what is new or changes."""
        for store_id in sorted({departure.store_id for departure in leaving} - self._unusable):
            of_store = [departure for departure in leaving if departure.store_id == store_id]
            try:
                for start in range(0, len(of_store), SLICE):
                    self._take_out(month, of_store[start : start + SLICE], due)
            except MailchimpError as error:
                self._fails(store_id, error, month)
        for name, of_due in due.groupby("store_id", sort=True):
            store_id = str(name)
            if store_id in self._unusable:
                continue
            try:
                for start in range(0, len(of_due), SLICE):
                    self._push_part(month, of_due.iloc[start : start + SLICE])
            except MailchimpError as error:
                self._fails(store_id, error, month)

    def _push_part(self, month: Month, part: pd.DataFrame) -> None:
        for look in range(_LOOKS):
            again = self._push_slice(month, part, last=look + 1 == _LOOKS)
            part = part[part["order_id"].isin(again)]
            if part.empty:
                break

    def _push_deleted_with_their_customer(self, due: pd.DataFrame) -> list[Month]:
        """Restore the orders that were found to be deleted together with their customer."""
        deleted = self._mending.deleted
        if not deleted:
            return []
        places = zip(due["store_id"], due["order_id"], strict=True)
        rows = due[[(str(store_id), int(order_id)) in deleted for store_id, order_id in places]]
        months = []
        for name, of_month in rows.groupby("month", sort=True):
            months.append(Month(str(name)))
            self._push_month(months[-1], [], of_month)
        return months

    def _look_at_open_writes(self) -> None:
        """Learn what may not be written now: things of which nobody knows how they are."""
        self._open = frozenset(intent.key for intent in self._ledger.store_intents.open(self._company))

    def _take_out(self, month: Month, leaving: Sequence[Departure], due: pd.DataFrame) -> None:
        """Delete orders of a store, and keep what Mailchimp attributed them to."""
        self._look_at_open_writes()
        staying = self._not_taken_elsewhere(month, leaving, due)
        going = []
        for departure in leaving:
            key = ("order", departure.store_id, store_ids.order_id(departure.order_id))
            why_not = _NOT_KNOWN if key in self._open else staying.get(departure.order_id)
            if why_not:
                month.hold_back(departure.store_id, departure.order_id, "delete", departure.because, why_not)
            else:
                going.append((departure, key))
        results: dict[Hashable, StoreResult] = {}
        changes: list[StoreChange] = []
        try:
            attributions = self._attributions([key for _, key in going])
            changes = [
                StoreChange(
                    key,
                    departure.store_id,
                    "order",
                    key[2],
                    (Step("delete", None),),
                    attribution=text_of(attributions[key]),
                    order_id=departure.order_id,
                    month=departure.month,
                )
                for departure, key in going
            ]
            self._writes.carry_out(changes, results)
        finally:
            by_key = {change.key: change for change in changes}
            for departure, key in going:
                result = results.get(key, _NOT_SENT)
                if departure.detail and result.is_done:
                    result = replace(result, detail=departure.detail)
                if key in by_key:
                    result = _with_loss(result, by_key[key])
                month.add(departure.store_id, departure.order_id, "delete", departure.because, result)

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
            if store_id in self._unusable:
                why = {int(order_id): "it could not be written" for order_id in rows["order_id"]}
            else:
                trial = Month(month.month)
                try:
                    self._with_customers(trial, self._prepare(trial, rows, leaves_elsewhere=True))
                    why = {row[1]: row[7] for row in trial.rows}
                except MailchimpError as error:
                    self._fails(store_id, error, month)
                    why = {int(order_id): str(error) for order_id in rows["order_id"]}
            staying |= {
                order_id: f"store {store_id} does not take it: {each}" for order_id, each in why.items()
            }
        # A store that is left out of this run takes nothing.
        missing = moving - {int(order_id) for order_id in entering["order_id"]} - self._entered(moving)
        return staying | dict.fromkeys(missing, "the store that it moves to could not be written")

    def _entered(self, orders: Collection[int]) -> set[int]:
        """Which of these moving orders are in the store already that they are due in."""
        due = self._orders.rows
        stores = dict(zip(due["order_id"], due["store_id"], strict=True))
        records = self._ledger.stores.orders(self._company, sorted(orders))
        return {
            int(record.order_id)
            for record in records
            if record.present
            and record.order_id is not None
            and stores.get(record.order_id) == record.store_id
        }

    def _push_slice(self, month: Month, due: pd.DataFrame, *, last: bool) -> set[int]:
        """Write what differs of these rows; return the orders that have to be gone through once more."""
        self._look_at_open_writes()
        changes = self._prepare(month, due)
        results: dict[Hashable, StoreResult] = {}
        again: set[int] = set()
        try:
            changes = self._with_attributions(changes)
            changes = self._with_customers(month, changes)
            self._writes.carry_out([each.change for each in changes], results)
            unclear = {key for key, result in results.items() if result.to_read}
            read_back(
                self._writes.client,
                self._ledger,
                self._writes.lease,
                [each.change.object_key for each in changes if each.change.key in unclear],
                workers=self._writes.workers,
            )
            unclear |= self._mend(changes, results)
            if not last:
                looked = [each for each in changes if each.change.key in unclear]
                again = {each.order_id for each in looked}
                month.read_back |= {each.order_id: (each.operation, each.because) for each in looked}
        finally:
            for each in changes:
                if each.order_id not in again:
                    result = _with_loss(results.get(each.change.key, _NOT_SENT), each.change)
                    month.add(each.change.store_id, each.order_id, each.operation, each.because, result)
        return again

    def _mend(self, changes: Sequence["_Prepared"], results: Mapping[Hashable, StoreResult]) -> set[Hashable]:
        """Correct what refused orders of a store lack; return the keys of those to be sent again."""
        refused = []
        for each in changes:
            result = results.get(each.change.key, _NOT_SENT)
            if result.outcome in ("rejected", "deferred") or result.not_found:
                refused.append((each.change.object_id, each.customer.object_id, each.wanted))
        if not refused:
            return set()
        store_id = changes[0].change.store_id
        mended = self._mending.mend(store_id, refused)
        self._products.pop(store_id, None)
        return {each.change.key for each in changes if each.change.object_id in mended}

    def _prepare(
        self, month: Month, due: pd.DataFrame, *, leaves_elsewhere: bool = False
    ) -> list["_Prepared"]:
        """Decide the writes of rows; list in ``month`` what is not written, and why.

        ``leaves_elsewhere``: another store holds these orders still, which they leave before they come.
        """
        known: dict[int, list[StoreRecord]] = {}
        for record in self._ledger.stores.orders(self._company, due["order_id"].tolist()):
            assert record.order_id is not None
            known.setdefault(record.order_id, []).append(record)
        # An order of somebody who was archived meanwhile would bring them back as a contact (rule 9.1).
        not_there = {
            str(store_id): self._orders.not_there(self._stores[str(store_id)].list_id, set(rows["email"]))
            for store_id, rows in due.groupby("store_id")
            if str(store_id) in self._stores
        }
        customers = {
            str(store_id): self._ledger.stores.name_customers(
                self._company,
                self._writes.lease.fence,
                str(store_id),
                {email: self._former.get((str(store_id), email)) for email in rows["email"]},
            )
            for store_id, rows in due.groupby("store_id")
        }
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
                    gone = StoreResult("unchanged", "the store does not hold it any more")
                    month.add(row.store_id, order_id, operation, because, gone)
                continue
            wanted = kept_document(row, customer.object_id)
            steps = order_steps(row.foreign_order_id, wanted, held, self._announcement(row, wanted, records))
            if steps is None:
                if order_id in month.read_back:
                    operation, because = month.read_back[order_id]
                    done = StoreResult("applied", "read back from the store")
                    month.add(row.store_id, order_id, operation, because, done)
                elif row.as_held:
                    month.list_untouched(row, KEPT_RIGHT)
                continue
            absent_because = not_there.get(str(row.store_id), {}).get(row.email)
            why_not = (
                self._why_not(row, wanted, steps, held, records, leaves_elsewhere)
                if absent_because is None
                else StoreResult("held_back", absent_because)
            )
            if why_not is not None:
                month.add(row.store_id, order_id, steps.operation, steps.because, why_not)
                continue
            prepared.append(
                _Prepared(row, order_id, customer, wanted, steps, self._change(row, customer, steps))
            )
        return prepared

    def _announcement(self, row: Any, wanted: Document, records: Sequence[StoreRecord]) -> Mapping[str, Any]:
        """What a creation says that no later write does: that the order is new, if customers are notified."""
        is_new = not any(record.present or record.sent_json or record.attribution_json for record in records)
        if not is_new:
            return {}
        store = self._stores[row.store_id]
        if store.order_notifications and is_announced(wanted, row.processed_at, self._now):
            state = self._ledger.stores.get(store.store_id)
            if state is not None and state.loaded_at is not None:
                return {"financial_status": "pending"}
        return {}

    def _why_not(
        self,
        row: Any,
        wanted: Document,
        steps: Steps,
        held: StoreRecord | None,
        records: Sequence[StoreRecord],
        leaves_elsewhere: bool,
    ) -> StoreResult | None:
        """Why an order is not written now; None: it is."""
        if ("order", row.store_id, row.foreign_order_id) in self._open:
            return StoreResult("held_back", _NOT_KNOWN)
        waits = self._waits.get((row.store_id, int(row.order_id)))
        if waits is not None:
            return StoreResult("held_back", waits)
        elsewhere = [
            record.store_id for record in records if record.present and record.store_id != row.store_id
        ]
        if held is not None and self._is_refused(held, steps, elsewhere):
            return StoreResult("rejected", f"refused before, and unchanged since: {held.refused_detail}")
        lacking = missing_products(wanted, self._products_of(row.store_id))
        if lacking:
            return StoreResult("held_back", f"the store lacks products of it: {', '.join(lacking)}")
        if elsewhere and not leaves_elsewhere:
            return StoreResult("held_back", f"store {', '.join(elsewhere)} holds it still")
        if steps.operation == "replace" and not self._orders.complete:
            because = self._orders.incomplete_because
            return StoreResult("held_back", f"what was read is not complete: {because}")
        return None

    def _is_refused(self, held: StoreRecord, steps: Steps, elsewhere: Sequence[str]) -> bool:
        """Whether a write was refused before. What another store holds leaves it for no mere attempt."""
        return held.was_refused(steps.wanted) if elsewhere else held.is_refused(steps.wanted, self._now)

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
            rate=self._orders.rates.get(int(row.order_id)),
        )

    def _with_attributions(self, prepared: list["_Prepared"]) -> list["_Prepared"]:
        """Have the ledger keep what Mailchimp attributes orders to that are replaced: they lose it."""
        replaced = [each.change.object_key for each in prepared if each.operation == "replace"]
        attributions = self._attributions(replaced)
        return [
            each.losing(attributions[each.change.object_key]) if each.operation == "replace" else each
            for each in prepared
        ]

    def _attributions(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Document]:
        client = self._writes.client

        def ask(key: ObjectKey) -> tuple[ObjectKey, Document]:
            return key, attribution_of(get_order(client, key[1], key[2]) or {})

        return dict(run_concurrently((partial(ask, key) for key in keys), self._writes.workers, client.stop))

    def _with_customers(self, month: Month, prepared: Sequence["_Prepared"]) -> list["_Prepared"]:
        """Create the customers of orders to come; leave out the orders whose customer is not to be had."""
        wanted: dict[str, StoreChange] = {}
        failed: dict[str, StoreResult] = {}
        for each in prepared:
            customer = each.customer
            if customer.present or each.operation == "update" or customer.email is None:
                continue
            place = f"{customer.store_id}/{customer.object_id}"
            if customer.key in self._open:
                failed[place] = StoreResult("held_back", _NOT_KNOWN)
            elif customer.is_refused("{}", self._now):
                failed[place] = StoreResult(
                    "held_back", f"its customer was refused: {customer.refused_detail}"
                )
            elif self._left_with_customer(customer):
                failed[place] = StoreResult("held_back", _LEFT)
            else:
                body = customer_body(customer.object_id, customer.email)
                wanted[place] = StoreChange(
                    place,
                    customer.store_id,
                    "customer",
                    customer.object_id,
                    (Step("create", "{}", body=body),),
                    "{}",
                    month=month.month,
                )
        results: dict[Hashable, StoreResult] = {}
        self._writes.carry_out(list(wanted.values()), results)
        unclear = [
            change.object_key for place, change in wanted.items() if results.get(place, _NOT_SENT).to_read
        ]
        read_back(
            self._writes.client, self._ledger, self._writes.lease, unclear, workers=self._writes.workers
        )
        for place in wanted:
            result = results.get(place, _NOT_SENT)
            if not result.is_done:
                failed[place] = StoreResult("held_back", f"its customer is not there: {result.detail}")
        going = []
        for each in prepared:
            why_not = failed.get(f"{each.customer.store_id}/{each.customer.object_id}")
            if why_not is None:
                going.append(each)
            else:
                month.add(each.change.store_id, each.order_id, each.operation, each.because, why_not)
        return going

    def _left_with_customer(self, customer: StoreRecord) -> bool:
        """Whether a customer was deleted in Mailchimp together with the member (rule 9.1)."""
        if (customer.store_id, customer.object_id) not in self._mending.missing_customers:
            return False
        list_id = self._stores[customer.store_id].list_id
        member = get_member(self._writes.client, list_id, subscriber_hash(str(customer.email)))
        return member is None or member["status"] == "archived"

    def _products_of(self, store_id: str) -> Mapping[str, Collection[str]]:
        if store_id not in self._products:
            self._products[store_id] = {
                identity: set(json.loads(record.sent_json or "{}").get("variants", ()))
                for identity, record in self._ledger.stores.products(store_id).items()
                if record.present
            }
        return self._products[store_id]

    def _remove_customers(self, due: pd.DataFrame) -> None:
        """Take customers out of the stores who have no order there any more, and are due to have none."""
        if not self._orders.complete:
            return
        self._look_at_open_writes()
        with_open_order = {key[1] for key in self._open if key[0] == "order"}
        for store_id in sorted(self._stores.keys() - with_open_order - self._unusable):
            # With a customer, Mailchimp deletes their orders: first be sure that there are none.
            emails = set(due.loc[due["store_id"] == store_id, "email"])
            left = self._ledger.stores.customers_without_orders(self._company, store_id, emails)
            try:
                idle = self._idle([record for record in left if record.key not in self._open])
                changes = [
                    StoreChange(record.key, store_id, "customer", record.object_id, (Step("delete", None),))
                    for record in idle
                ]
                self._writes.carry_out(changes, {})
            except MailchimpError as error:
                self._failures.append(StoreFailure(store_id, "", error))
                self._report(f"Customers of {store_id} without orders are still there: {error}")

    def _idle(self, customers: Sequence[StoreRecord]) -> list[StoreRecord]:
        """Return the customers for whom Mailchimp has no order, no matter who sent it; note those that are
        gone."""
        idle, gone = [], {}
        for customer in customers:
            answer = get_customer(self._writes.client, customer.store_id, customer.object_id)
            if answer is None:
                gone[customer.key] = (None, None)
            elif not answer.get("orders_count"):
                idle.append(customer)
        if gone:
            lease = self._writes.lease
            lease.check()
            self._ledger.store_intents.settle_as_read(lease.company, lease.fence, gone)
        return idle


@dataclass(frozen=True)
class _Compared:
    """An order beside what its store holds.

    ``operation``: create, replace or update; empty: nothing differs. ``lowered``: the key of the change when
    the store would hold less of it.
    """

    order_id: int
    operation: str = ""
    lowered: str = ""


@dataclass(frozen=True)
class _Prepared:
    """An order that is about to be written."""

    row: Any
    order_id: int
    customer: StoreRecord
    wanted: Document
    steps: Steps
    change: StoreChange

    @property
    def operation(self) -> str:
        return self.steps.operation

    @property
    def because(self) -> str:
        return self.steps.because

    def losing(self, attribution: Document) -> "_Prepared":
        """The same, with what Mailchimp attributes it to until it is replaced."""
        return replace(self, change=replace(self.change, attribution=text_of(attribution)))


_NOT_SENT = StoreResult("not_sent", "the push ended before")
_NOT_KNOWN = "what became of an earlier write to it is not known yet"
_LEFT = "the person is not a member any more: the order would bring them back as a contact"


def _with_loss(result: StoreResult, change: StoreChange) -> StoreResult:
    """The result of taking an order out, with what its campaign loses by it."""
    lost = lost_attribution(change.attribution) if result.is_done else ""
    return replace(result, detail="; ".join(filter(None, [result.detail, lost]))) if lost else result


def _former_customers(due: pd.DataFrame, held: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Store and address to the customer that the same person is there by now, under another address."""
    joined = due[["order_id", "store_id", "email"]].merge(
        held, on="order_id", suffixes=("", "_held"), how="inner"
    )
    renamed = joined[
        (joined["store_id"] == joined["store_id_held"].astype(object))
        & (joined["email"] != joined["email_held"])
        & joined["customer_id"].notna()
    ]
    return {
        (store, email): customer
        for store, email, customer in zip(
            renamed["store_id"], renamed["email"], renamed["customer_id"], strict=True
        )
    }
