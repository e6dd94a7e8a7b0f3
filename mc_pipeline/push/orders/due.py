"""Which orders differ from what their store holds, and which of them it would hold less of."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mc_pipeline.domain.store.changes import why_replaced
from mc_pipeline.domain.store.documents import Document, kept_document, text_of
from mc_pipeline.domain.store.guards import row_key
from mc_pipeline.domain.store.held_orders import is_given_back
from mc_pipeline.ledger import AboutOrder
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.push.orders.run import SLICE, OrderRun
from mc_pipeline.push.store_adoption import Adoption
from mc_pipeline.vocabulary import StoreChangeKind


@dataclass(frozen=True)
class Compared:
    """An order beside what its store holds.

    ``operation``: create, replace or update; None: nothing differs. ``lowered``: the key of the change when
    the store would hold less of it.
    """

    order_id: int
    operation: StoreChangeKind | None = None
    lowered: str = ""


class Due:
    """Compares the orders of one run with what the stores hold."""

    def __init__(self, run: OrderRun) -> None:
        self._run = run
        self._adoption = Adoption(run.writer)

    def differing(self, due: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, dict[int, str]]]:
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
                self._run.fails(str(store_id), error)
                continue
            lowered[str(store_id)] = keys
            found.append(of_store[differs])
        return (pd.concat(found, ignore_index=True) if found else due.iloc[:0]), lowered

    def _differ(self, store_id: str, rows: pd.DataFrame, lowered: dict[int, str]) -> list[bool]:
        """Say of each row whether something is to be written of it, or listed; fill ``lowered``."""
        compared = self._compare(store_id, rows)
        unsure = rows[
            [each.operation in (StoreChangeKind.CREATE, StoreChangeKind.REPLACE) for each in compared]
        ]
        if len(unsure):
            # The ledger may be older than the store: first be sure that the store is without it.
            known = self._run.ledger.stores.customers(store_id, unsure["email"])
            self._adoption.customers(
                store_id,
                {email for email in unsure["email"] if email not in known or not known[email].present},
            )
            unsure_rows: Iterable[Any] = unsure.itertuples()
            about = {
                str(row.foreign_order_id): AboutOrder(
                    order_id=int(row.order_id),
                    month=str(row.month),
                    rate=self._run.orders.rates.get(int(row.order_id)),
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

    def _compare(self, store_id: str, rows: pd.DataFrame) -> list[Compared]:
        """Compare rows of one store with what the ledger says that it holds."""
        ledger = self._run.ledger.stores
        records = {
            record.order_id: record
            for record in ledger.orders(self._run.company, rows["order_id"].tolist())
            if record.store_id == store_id and record.present
        }
        customers = ledger.customers(store_id, set(rows["email"]))
        found = []
        row: Any
        for row in rows.itertuples():
            order_id, customer, held = int(row.order_id), customers.get(row.email), records.get(row.order_id)
            wanted = kept_document(row, customer.object_id if customer else "")
            if held is None:
                found.append(Compared(order_id, None if row.as_held else StoreChangeKind.CREATE))
            elif held.sent_json == text_of(wanted):
                found.append(Compared(order_id))
            else:
                present: Document = json.loads(held.sent_json or "{}")
                # The customer may have no name yet, and is no part of what a person approves.
                key = row_key(store_id, str(row.foreign_order_id), text_of({**wanted, "customer": ""}))
                found.append(
                    Compared(
                        order_id,
                        StoreChangeKind.REPLACE if why_replaced(present, wanted) else StoreChangeKind.UPDATE,
                        key if is_given_back(present, wanted) else "",
                    )
                )
        return found
