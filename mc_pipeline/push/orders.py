"""Brings the orders into the stores, month by month, so that each holds what it should (RULES 9).

Of a month: orders leave first, then their customers are there, then orders come and change. What the ledger
holds is compared, never the store itself: an unchanged order costs no request. What happens to an order that
a store holds and that is due in none any more is told in ``store_changes``.
"""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from mc_pipeline.domain import store_ids
from mc_pipeline.domain.store_changes import (
    GIVEN_BACK,
    KEPT_RIGHT,
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
    missing_products,
    order_steps,
)
from mc_pipeline.domain.store_documents import (
    Document,
    attribution_of,
    kept_document,
    text_of,
)
from mc_pipeline.domain.store_orders import OTHER_CURRENCY_WITHOUT_RATE
from mc_pipeline.ledger import StoreRecord
from mc_pipeline.mailchimp.errors import (
    MailchimpAuthenticationError,
    MailchimpBlockedError,
    MailchimpError,
    MailchimpPermissionError,
)
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.mailchimp.store_reading import get_order
from mc_pipeline.mailchimp.store_writing import customer_body
from mc_pipeline.push.store_settling import ObjectKey, read_back
from mc_pipeline.push.store_writes import StoreChange, StoreResult, StoreWrites
from mc_pipeline.push.stores import Store

SLICE = 2_000
"""Orders whose requests are made at a time: bounds memory, and who left an audience is asked before each."""

_LOOKS = 2
"""How often an order is gone through in one run: what was found to be otherwise is put right at once."""

_FATAL = (MailchimpAuthenticationError, MailchimpBlockedError, MailchimpPermissionError)
"""Errors of the account, not of a month: no other month would fare better."""

ROW = ("store_id", "order_id", "foreign_order_id", "month", "operation", "because", "outcome", "detail")
PROGRESS = ("month", "orders", "done", "failed", "trouble")

Row = tuple[str, int, str, str, str, str, str, str]


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
    """

    rows: pd.DataFrame
    members: pd.DataFrame
    complete: bool
    rates: Mapping[int, float]
    states_of: Callable[[Sequence[int]], Mapping[int, str]]
    incomplete_because: str = ""
    not_there: Callable[[str, Collection[str]], Mapping[str, str]] = lambda list_id, emails: {}
    stores_left_alone: Collection[str] = ()

    def concerned(self, held: pd.DataFrame) -> pd.DataFrame:
        """Return what is held of which something may be written: not in a store that is left alone, nor due
        in such a one, which an order enters only when it leaves where it is."""
        due_there = self.rows["store_id"].isin(list(self.stores_left_alone))
        due_there &= self.rows["excluded_because"] == ""
        waiting = held["order_id"].isin(self.rows.loc[due_there, "order_id"])
        return held[~waiting & ~held["store_id"].isin(list(self.stores_left_alone))]


@dataclass(frozen=True)
class OrderPush:
    """What came of a push: rows of ``order_push`` without audience, and one row per month of ``PROGRESS``."""

    rows: pd.DataFrame
    months: pd.DataFrame

    @property
    def failed_months(self) -> list[str]:
        """Months that ended with an error of Mailchimp's: they stay due."""
        return self.months.loc[self.months["trouble"] != "", "month"].tolist()

    def unfinished_stores(self, stores: Iterable[Store]) -> set[str]:
        """Stores with an order that was not sent, or of which nobody knows whether they hold it."""
        if self.failed_months:
            return {store.store_id for store in stores}
        unclear = self.rows["outcome"].isin(["unknown", "not_sent"])
        return set(self.rows.loc[unclear, "store_id"])


@dataclass
class _Month:
    """One month while it is worked on."""

    month: str
    rows: list[Row] = field(default_factory=list)
    trouble: str = ""
    # Orders that were written and had to be read back to know what became of it: operation and why.
    read_back: dict[int, tuple[str, str]] = field(default_factory=dict)

    def add(self, store_id: str, order_id: int, operation: str, because: str, result: StoreResult) -> None:
        self.rows.append(
            (
                store_id,
                order_id,
                store_ids.order_id(order_id),
                self.month,
                operation,
                because,
                result.outcome,
                result.detail,
            )
        )

    def hold_back(self, store_id: str, order_id: int, operation: str, because: str, why: str) -> None:
        self.add(store_id, order_id, operation, because, StoreResult("held_back", why))

    def progress(self) -> tuple[str, int, int, int, str]:
        outcomes = [row[6] for row in self.rows]
        done = sum(outcome in ("applied", "unchanged") for outcome in outcomes)
        tried = sum(outcome != "held_back" for outcome in outcomes)
        return self.month, tried, done, tried - done, self.trouble


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

    def push(self) -> OrderPush:
        """Push everything that differs; a month that fails stays due, and the others go on.

        Raises:
            MailchimpError: of the account as a whole; what was done is recorded.
        """
        held = self._orders.concerned(self._ledger.stores.orders_present(self._company))
        staying: dict[str, _Month] = {}
        excluded = held_though_excluded(self._orders.rows, held, self._orders.members)
        # Without a rate, nobody knows what is kept of it.
        kept_right = excluded["is_member"] & (excluded["uncounted_because"] != OTHER_CURRENCY_WITHOUT_RATE)
        due = self._due(held, excluded[kept_right])
        self._former = _former_customers(due, held)
        given_back = self._given_back(excluded[~kept_right], staying)
        leaving = self._leaving([*departures(self._orders.rows, held), *given_back], staying)
        by_month = {str(name): rows for name, rows in due.groupby("month")}
        month_due = dict(zip(due["order_id"], due["month"], strict=True))
        leaving_by_month: dict[str, list[Departure]] = {}
        for departure in leaving:
            # What moves to another store leaves the one right before it enters the other.
            name = str(month_due.get(departure.order_id, departure.month))
            leaving_by_month.setdefault(name, []).append(departure)
        frames, progress = [], []
        for name in sorted({*by_month, *leaving_by_month, *(month.month for month in staying.values())}):
            month = staying.get(name) or _Month(name)
            try:
                self._push_month(month, leaving_by_month.get(name, []), by_month.get(name, due.iloc[:0]))
            except _FATAL:
                raise
            except MailchimpError as error:
                month.trouble = str(error)
                self._report(f"{name}: {error}")
            if month.rows or month.trouble:
                frames.append(pd.DataFrame(month.rows, columns=list(ROW)))
                progress.append(month.progress())
                _, orders, done, failed, _ = progress[-1]
                self._report(f"{name}: {done:,} of {orders:,} orders are done, {failed:,} failed.")
        try:
            self._remove_customers(due)
        except MailchimpError as error:
            self._report(f"Customers without orders are still there: {error}")
        rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame([], columns=list(ROW))
        return OrderPush(rows, pd.DataFrame(progress, columns=list(PROGRESS)))

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

    def _leaving(self, found: Sequence[Departure], staying: dict[str, _Month]) -> list[Departure]:
        """Return those that do leave, and say of the others, by month, why they do not."""

        def stay(departure: Departure, why: str) -> None:
            month = staying.setdefault(departure.month, _Month(departure.month))
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

    def _given_back(self, orders: pd.DataFrame, staying: dict[str, _Month]) -> list[Departure]:
        """Return which of these orders have to leave, as money was given back; the others stay, listed.

        They are of people who are no members: an order of somebody who was archived or is gone would bring
        them back as a contact (rule 9.1), a deletion brings back nobody.
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
                    found.append(Departure(store_id, order_id, month, GIVEN_BACK))
                else:
                    _list_untouched(staying.setdefault(month, _Month(month)), row, STAYS)
        return found

    # --- one month ----------------------------------------------------------------------------------

    def _push_month(self, month: _Month, leaving: Sequence[Departure], due: pd.DataFrame) -> None:
        for start in range(0, len(leaving), SLICE):
            self._take_out(month, leaving[start : start + SLICE])
        for start in range(0, len(due), SLICE):
            part = due.iloc[start : start + SLICE]
            for look in range(_LOOKS):
                again = self._push_slice(month, part, last=look + 1 == _LOOKS)
                part = part[part["order_id"].isin(again)]
                if part.empty:
                    break

    def _look_at_open_writes(self) -> None:
        """Learn what may not be written now: things of which nobody knows how they are."""
        self._open = frozenset(intent.key for intent in self._ledger.store_intents.open(self._company))

    def _take_out(self, month: _Month, leaving: Sequence[Departure]) -> None:
        """Delete orders, and remember what Mailchimp attributed them to."""
        self._look_at_open_writes()
        keys = [
            ("order", departure.store_id, store_ids.order_id(departure.order_id)) for departure in leaving
        ]
        going = []
        for departure, key in zip(leaving, keys, strict=True):
            if key in self._open:
                month.hold_back(
                    departure.store_id, departure.order_id, "delete", departure.because, _NOT_KNOWN
                )
            else:
                going.append((departure, key))
        results: dict[Hashable, StoreResult] = {}
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
            for departure, key in going:
                result = results.get(key, _NOT_SENT)
                month.add(departure.store_id, departure.order_id, "delete", departure.because, result)

    def _push_slice(self, month: _Month, due: pd.DataFrame, *, last: bool) -> set[int]:
        """Write what differs of these rows; return the orders that have to be gone through once more."""
        self._look_at_open_writes()
        changes = self._prepare(month, due)
        results: dict[Hashable, StoreResult] = {}
        again: set[int] = set()
        try:
            changes = self._restoring(changes)
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
            if not last:
                looked = [each for each in changes if each.change.key in unclear]
                again = {each.order_id for each in looked}
                month.read_back |= {each.order_id: (each.operation, each.because) for each in looked}
            self._look_for_products(
                each for each in changes if results.get(each.change.key, _NOT_SENT).lacks_product
            )
        finally:
            for each in changes:
                if each.order_id not in again:
                    result = results.get(each.change.key, _NOT_SENT)
                    month.add(each.change.store_id, each.order_id, each.operation, each.because, result)
        return again

    def _prepare(self, month: _Month, due: pd.DataFrame) -> list["_Prepared"]:
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
            steps = order_steps(
                row.foreign_order_id, wanted, held, self._said_once(row, wanted, held, records)
            )
            if steps is None:
                if order_id in month.read_back:
                    operation, because = month.read_back[order_id]
                    done = StoreResult("applied", "read back from the store")
                    month.add(row.store_id, order_id, operation, because, done)
                elif row.as_held:
                    _list_untouched(month, row, KEPT_RIGHT)
                continue
            absent_because = not_there.get(str(row.store_id), {}).get(row.email)
            why_not = (
                self._why_not(row, wanted, steps, held, records)
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

    def _said_once(
        self, row: Any, wanted: Document, held: StoreRecord | None, records: Sequence[StoreRecord]
    ) -> Mapping[str, Any]:
        """What a creation says that no later write does: what it was attributed to, or that it is new."""
        if held is not None and held.attribution_json:
            return json.loads(held.attribution_json)
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
    ) -> StoreResult | None:
        """Why an order is not written now; None: it is."""
        elsewhere = [
            record.store_id for record in records if record.present and record.store_id != row.store_id
        ]
        if ("order", row.store_id, row.foreign_order_id) in self._open:
            return StoreResult("held_back", _NOT_KNOWN)
        if elsewhere:
            return StoreResult("held_back", f"store {', '.join(elsewhere)} holds it still")
        if steps.operation == "replace" and not self._orders.complete:
            because = self._orders.incomplete_because
            return StoreResult("held_back", f"what was read is not complete: {because}")
        if held is not None and held.is_refused(steps.wanted, self._now):
            return StoreResult("rejected", f"refused before, and unchanged since: {held.refused_detail}")
        lacking = missing_products(wanted, self._products_of(row.store_id))
        if lacking:
            return StoreResult("held_back", f"the store lacks products of it: {', '.join(lacking)}")
        return None

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

    def _restoring(self, prepared: list["_Prepared"]) -> list["_Prepared"]:
        """Have orders that are replaced take along what Mailchimp attributes them to."""
        replaced = [each.change.object_key for each in prepared if each.operation == "replace"]
        attributions = self._attributions(replaced)
        return [
            each.restoring(attributions[each.change.object_key]) if each.operation == "replace" else each
            for each in prepared
        ]

    def _attributions(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Document]:
        client = self._writes.client

        def ask(key: ObjectKey) -> tuple[ObjectKey, Document]:
            return key, attribution_of(get_order(client, key[1], key[2]) or {})

        return dict(run_concurrently((partial(ask, key) for key in keys), self._writes.workers, client.stop))

    def _with_customers(self, month: _Month, prepared: Sequence["_Prepared"]) -> list["_Prepared"]:
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

    def _products_of(self, store_id: str) -> Mapping[str, Collection[str]]:
        if store_id not in self._products:
            self._products[store_id] = {
                identity: set(json.loads(record.sent_json or "{}").get("variants", ()))
                for identity, record in self._ledger.stores.products(store_id).items()
                if record.present
            }
        return self._products[store_id]

    def _look_for_products(self, refused: Iterable["_Prepared"]) -> None:
        """Read the products of orders that Mailchimp refused for lack of one: somebody deleted it there."""
        keys = {
            ("product", each.change.store_id, str(line["product_id"]))
            for each in refused
            for line in each.wanted["lines"].values()
        }
        read_back(self._writes.client, self._ledger, self._writes.lease, keys, workers=self._writes.workers)

    def _remove_customers(self, due: pd.DataFrame) -> None:
        """Take customers out of the stores who have no order there any more, and are due to have none."""
        if not self._orders.complete:
            return
        self._look_at_open_writes()
        with_open_order = {key[1] for key in self._open if key[0] == "order"}
        for store_id in self._stores:
            if store_id in with_open_order:
                # With a customer, Mailchimp deletes their orders: first be sure that there are none.
                continue
            emails = set(due.loc[due["store_id"] == store_id, "email"])
            left = self._ledger.stores.customers_without_orders(self._company, store_id, emails)
            changes = [
                StoreChange(record.key, store_id, "customer", record.object_id, (Step("delete", None),))
                for record in left
                if record.key not in self._open
            ]
            self._writes.carry_out(changes, {})


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

    def restoring(self, attribution: Document) -> "_Prepared":
        """The same, and its creation gives back what Mailchimp attributed it to."""
        steps = tuple(
            replace(step, body={**(step.body or {}), **attribution}) if step.operation == "create" else step
            for step in self.change.steps
        )
        return replace(self, change=replace(self.change, steps=steps, attribution=text_of(attribution)))


def _list_untouched(month: _Month, row: Any, because: str) -> None:
    """List an order that a store holds, that is due in none, and of which nothing is written."""
    detail = row.excluded_detail if isinstance(row.excluded_detail, str) else row.excluded_because
    month.hold_back(str(row.store_id), int(row.order_id), "update", because, f"stays as it is: {detail}")


_NOT_SENT = StoreResult("not_sent", "the push ended before")
_NOT_KNOWN = "what became of an earlier write to it is not known yet"


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
