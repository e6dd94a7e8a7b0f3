"""Writes the orders of one month, each store by itself: first what leaves, then what comes and changes."""

from collections.abc import Hashable, Mapping, Sequence

import pandas as pd

from mc_pipeline.chunks import chunks_of
from mc_pipeline.domain.store.held_orders import Departure
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.push.orders.attributions import with_loss
from mc_pipeline.push.orders.customers import Customers
from mc_pipeline.push.orders.departures import Departures
from mc_pipeline.push.orders.prepared import NOT_SENT, Prepared, Preparing
from mc_pipeline.push.orders.rows import Month
from mc_pipeline.push.orders.run import SLICE, OrderRun
from mc_pipeline.push.store_settling import read_back
from mc_pipeline.push.store_writes import StoreResult
from mc_pipeline.vocabulary import OutcomeKind

_LOOKS = 3
"""How often an order is gone through in one run: what was found to differ is corrected at once."""


class MonthPush:
    """Writes months of one run."""

    def __init__(
        self, run: OrderRun, preparing: Preparing, customers: Customers, departures: Departures
    ) -> None:
        self._run = run
        self._preparing = preparing
        self._customers = customers
        self._departures = departures

    def push(self, month: Month, leaving: Sequence[Departure], due: pd.DataFrame) -> None:
        """Write one month, each store separately: first what leaves, then what is new or changes."""
        for store_id in sorted({departure.store_id for departure in leaving} - self._run.unusable):
            of_store = [departure for departure in leaving if departure.store_id == store_id]
            try:
                for some in chunks_of(SLICE, of_store):
                    self._departures.take_out(month, some, due)
            except MailchimpError as error:
                self._run.fails(store_id, error, month)
        for name, of_due in due.groupby("store_id", sort=True):
            store_id = str(name)
            if store_id in self._run.unusable:
                continue
            try:
                for start in range(0, len(of_due), SLICE):
                    self._push_part(month, of_due.iloc[start : start + SLICE])
            except MailchimpError as error:
                self._run.fails(store_id, error, month)

    def _push_part(self, month: Month, part: pd.DataFrame) -> None:
        for look in range(_LOOKS):
            again = self._push_slice(month, part, last=look + 1 == _LOOKS)
            part = part[part["order_id"].isin(again)]
            if part.empty:
                break

    def _push_slice(self, month: Month, due: pd.DataFrame, *, last: bool) -> set[int]:
        """Write what differs of these rows; return the orders that have to be gone through once more."""
        self._run.look_at_open_writes()
        changes = self._preparing.prepare(month, due)
        results: dict[Hashable, StoreResult] = {}
        again: set[int] = set()
        try:
            changes = self._preparing.with_attributions(changes)
            changes = self._customers.make(month, changes)
            self._run.writes.carry_out([each.change for each in changes], results)
            unclear = {key for key, result in results.items() if result.to_read}
            read_back(
                self._run.writer, [each.change.object_key for each in changes if each.change.key in unclear]
            )
            unclear |= self._mend(changes, results)
            if not last:
                looked = [each for each in changes if each.change.key in unclear]
                again = {each.order_id for each in looked}
                month.read_back |= {each.order_id: (each.operation, each.because) for each in looked}
        finally:
            for each in changes:
                if each.order_id not in again:
                    result = with_loss(results.get(each.change.key, NOT_SENT), each.change)
                    month.add(each.change.store_id, each.order_id, each.operation, each.because, result)
        return again

    def _mend(self, changes: Sequence[Prepared], results: Mapping[Hashable, StoreResult]) -> set[Hashable]:
        """Correct what refused orders of a store lack; return the keys of those to be sent again."""
        refused = []
        for each in changes:
            result = results.get(each.change.key, NOT_SENT)
            if result.outcome in (OutcomeKind.REJECTED, OutcomeKind.DEFERRED) or result.not_found:
                refused.append((each.change.object_id, each.customer.object_id, each.wanted))
        if not refused:
            return set()
        store_id = changes[0].change.store_id
        mended = self._run.mending.mend(store_id, refused)
        self._preparing.forget_products(store_id)
        return {each.change.key for each in changes if each.change.object_id in mended}
