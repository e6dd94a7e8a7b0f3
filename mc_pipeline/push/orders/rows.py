"""The result of a push of orders: one row per order that differs, one per month, and what failed where."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.guards import LoweredOrders
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.push.store_writes import StoreResult
from mc_pipeline.push.stores import Store
from mc_pipeline.vocabulary import DONE, OutcomeKind, StoreChangeKind

ROW = ("store_id", "order_id", "foreign_order_id", "month", "operation", "because", "outcome", "detail")
PROGRESS = ("month", "orders", "done", "failed", "trouble")

Row = tuple[str, int, str, str, StoreChangeKind, str, OutcomeKind, str]


@dataclass(frozen=True)
class StoreFailure:
    """A request about a store that failed as a whole; ``month`` is empty where it is about no month."""

    store_id: str
    month: str
    error: MailchimpError


@dataclass(frozen=True)
class OrderPush:
    """The result of a push.

    rows        of ``order_push``, without audience
    months      one row per month of ``PROGRESS``
    failures    what failed, by store and month: all other stores and months are done
    lowered     of each store whose guard was judged, what would be lowered or deleted, and what of it waits
    """

    rows: pd.DataFrame
    months: pd.DataFrame
    failures: Collection[StoreFailure] = ()
    lowered: Collection[LoweredOrders] = ()

    @property
    def failed_months(self) -> list[str]:
        """Months that ended with an error of Mailchimp's: they stay due."""
        return self.months.loc[self.months["trouble"] != "", "month"].tolist()

    @property
    def waiting(self) -> list[LoweredOrders]:
        """Of each store whose guard tripped, what waits for a person."""
        return [each for each in self.lowered if each.waiting]

    def unfinished_stores(self, stores: Iterable[Store]) -> set[str]:
        """Stores with an order that was not sent, or of which nobody knows whether they hold it."""
        failed = {failure.store_id for failure in self.failures}
        unclear = self.rows["outcome"].isin([OutcomeKind.UNKNOWN, OutcomeKind.NOT_SENT])
        return (failed | set(self.rows.loc[unclear, "store_id"])) & {store.store_id for store in stores}


@dataclass
class Month:
    """One month while it is worked on."""

    month: str
    rows: list[Row] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    # Orders that were written and had to be read back to know the outcome: operation and why.
    read_back: dict[int, tuple[StoreChangeKind, str]] = field(default_factory=dict)

    def add(
        self, store_id: str, order_id: int, operation: StoreChangeKind, because: str, result: StoreResult
    ) -> None:
        """Record the outcome of an order."""
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

    def hold_back(
        self, store_id: str, order_id: int, operation: StoreChangeKind, because: str, why: str
    ) -> None:
        """Note an order that is not written, and why."""
        self.add(store_id, order_id, operation, because, StoreResult(OutcomeKind.HELD_BACK, why))

    def list_untouched(self, row: Any, because: str) -> None:
        """List an order that a store holds, that is due in none, and of which nothing is written."""
        detail = row.excluded_detail if isinstance(row.excluded_detail, str) else row.excluded_because
        self.hold_back(
            str(row.store_id), int(row.order_id), StoreChangeKind.UPDATE, because, f"stays as it is: {detail}"
        )

    def progress(self) -> tuple[str, int, int, int, str]:
        """A row of ``PROGRESS``."""
        outcomes = [row[6] for row in self.rows]
        done = sum(outcome in DONE for outcome in outcomes)
        tried = sum(outcome != OutcomeKind.HELD_BACK for outcome in outcomes)
        return self.month, tried, done, tried - done, "; ".join(dict.fromkeys(self.trouble))
