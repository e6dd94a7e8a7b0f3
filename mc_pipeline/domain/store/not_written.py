"""Why an order that a store does not hold as it should is not written in this run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mc_pipeline.domain.store.changes import Steps
from mc_pipeline.vocabulary import OutcomeKind, StoreChangeKind

OUTCOME_NOT_KNOWN = "what became of an earlier write to it is not known yet"
LEFT_WITH_CUSTOMER = "the person is not a member any more: the order would bring them back as a contact"


class RefusableOrder(Protocol):
    """An order of one store, as the ledger knows it."""

    @property
    def refused_detail(self) -> str | None: ...
    def is_refused(self, wanted: str, now: datetime) -> bool: ...
    def was_refused(self, wanted: str) -> bool: ...


@dataclass(frozen=True)
class NotWritten:
    """What is said of an order that is not written: its outcome (rejected or held_back), and why."""

    outcome: OutcomeKind
    detail: str


@dataclass(frozen=True, kw_only=True)
class OrderInTheWay:
    """What may keep an order from being written; what is empty, None or False does not.

    Attributes:
        absent_because: its person is in the audience no more by now, and why.
        is_open: nobody knows what became of an earlier write to it.
        waits_because: a guard holds its change back until a person releases it.
        held: what the ledger knows of it in this store.
        lacking: ids of its products that the store lacks.
        elsewhere: ids of other stores that hold it.
        leaves_elsewhere: those will let go of it before it comes.
        incomplete_because: what of the tables is not whole: an order is not deleted on their word.
    """

    absent_because: str | None = None
    is_open: bool = False
    waits_because: str | None = None
    held: RefusableOrder | None = None
    lacking: Sequence[str] = ()
    elsewhere: Sequence[str] = ()
    leaves_elsewhere: bool = False
    incomplete_because: str | None = None


def why_not_written(steps: Steps, way: OrderInTheWay, now: datetime) -> NotWritten | None:
    """Say why an order is not written now, the first reason that applies; None: it is."""
    if way.absent_because is not None:
        return NotWritten(OutcomeKind.HELD_BACK, way.absent_because)
    if way.is_open:
        return NotWritten(OutcomeKind.HELD_BACK, OUTCOME_NOT_KNOWN)
    if way.waits_because is not None:
        return NotWritten(OutcomeKind.HELD_BACK, way.waits_because)
    if way.held is not None and _is_refused(way.held, steps.wanted, way.elsewhere, now):
        return NotWritten(
            OutcomeKind.REJECTED, f"refused before, and unchanged since: {way.held.refused_detail}"
        )
    if way.lacking:
        return NotWritten(OutcomeKind.HELD_BACK, f"the store lacks products of it: {', '.join(way.lacking)}")
    if way.elsewhere and not way.leaves_elsewhere:
        return NotWritten(OutcomeKind.HELD_BACK, f"store {', '.join(way.elsewhere)} holds it still")
    if steps.operation == StoreChangeKind.REPLACE and way.incomplete_because is not None:
        return NotWritten(OutcomeKind.HELD_BACK, f"what was read is not complete: {way.incomplete_because}")
    return None


def _is_refused(held: RefusableOrder, wanted: str, elsewhere: Sequence[str], now: datetime) -> bool:
    """Whether a write was refused before. What another store holds leaves it for no mere attempt."""
    return held.was_refused(wanted) if elsewhere else held.is_refused(wanted, now)
