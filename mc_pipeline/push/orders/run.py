"""What a push of orders works on: what the stores should hold, and what is known of them by now."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from mc_pipeline.ledger import Ledger
from mc_pipeline.mailchimp.errors import (
    MailchimpAuthenticationError,
    MailchimpBlockedError,
    MailchimpError,
    MailchimpPermissionError,
)
from mc_pipeline.push.orders.mending import Mending
from mc_pipeline.push.orders.rows import Month, StoreFailure
from mc_pipeline.push.store_settling import ObjectKey
from mc_pipeline.push.store_writes import StoreWrites
from mc_pipeline.push.stores import Store
from mc_pipeline.push.writer import MailchimpWriter

SLICE = 2_000
"""Orders whose requests are made at a time: bounds memory, and who left an audience is asked before each."""

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


@dataclass
class OrderRun:
    """The push of the orders of one company in one run, as far as it has come.

    Attributes:
        orders: what the stores should hold.
        stores: the stores that can be written, by id.
        writes: of this run.
        now: the present moment.
        report: takes a line for people to read.
        mending: looks after refused orders.
        failures: what failed, by store and month.
        unusable: ids of stores that are left alone from now on.
        waits: store and order (id in Odoo) of changes that wait for a person, and why.
        open: things of which nobody knows how they are: not written now.
    """

    orders: Orders
    stores: Mapping[str, Store]
    writes: StoreWrites
    now: datetime
    report: Callable[[str], None]
    mending: Mending
    failures: list[StoreFailure] = field(default_factory=list)
    unusable: set[str] = field(default_factory=set)
    waits: dict[tuple[str, int], str] = field(default_factory=dict)
    open: frozenset[ObjectKey] = frozenset()

    @property
    def writer(self) -> MailchimpWriter:
        return self.writes.writer

    @property
    def ledger(self) -> Ledger:
        return self.writer.ledger

    @property
    def company(self) -> str:
        """The company's key in the settings."""
        return self.writer.company

    def fails(self, store_id: str, error: MailchimpError, month: Month | None = None) -> None:
        """Note what failed; a store is left alone after that if none of its other months could succeed."""
        self.failures.append(StoreFailure(store_id, month.month if month else "", error))
        if month is None or isinstance(error, _OF_THE_STORE):
            self.unusable.add(store_id)
        if month is not None:
            month.trouble.append(str(error))
        self.report(f"{month.month if month else 'Store'} {store_id}: {error}")

    def look_at_open_writes(self) -> None:
        """Learn what may not be written now: things of which nobody knows how they are."""
        self.open = frozenset(intent.key for intent in self.ledger.store_intents.open(self.company))
