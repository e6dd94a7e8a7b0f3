"""Numbers of opt-outs: whether there are unusually many, and how many got into Odoo.

They hold nothing back; they are only shown to people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mc_pipeline.vocabulary import DONE, OdooAction, OutcomeKind

if TYPE_CHECKING:
    import pandas as pd

DAYS_COMPARED = 28
_TIMES_AS_MANY = 5
_ALWAYS_USUAL = 20


@dataclass(frozen=True)
class OptOutNumbers:
    """Opt-outs of the last 24 hours beside the average of the 28 days before."""

    last_day: int
    usual: float

    @property
    def is_usual(self) -> bool:
        """Up to five times the average is usual, and so are twenty."""
        return self.last_day <= max(_ALWAYS_USUAL, _TIMES_AS_MANY * self.usual)


def compare_numbers(by_day: Sequence[int]) -> OptOutNumbers:
    """Compare the first of these numbers, each of 24 hours, with the days after it."""
    before = by_day[1 : DAYS_COMPARED + 1]
    return OptOutNumbers(by_day[0], sum(before) / len(before) if before else 0.0)


@dataclass(frozen=True)
class CarriedNumbers:
    """People whose opt-out or resubscribe was to be applied to Odoo, by outcome.

    Attributes:
        carried: Odoo has it now.
        waiting: an opt-out from before the audience was first read; a person releases it.
        missing: Odoo did not take it yet; the next run tries again.
    """

    carried: int
    waiting: int
    missing: int

    @property
    def said(self) -> str:
        """For people: "4 applied to Odoo, 26 wait for approval"."""
        parts = [f"{self.carried:,} applied to Odoo"]
        if self.waiting:
            parts.append(f"{self.waiting:,} wait for approval")
        if self.missing:
            parts.append(f"{self.missing:,} not in Odoo yet")
        return ", ".join(parts)


def carried_numbers(opt_outs: "pd.DataFrame") -> CarriedNumbers:
    """Count the rows of the odoo_opt_outs table; those without anything to do count in none."""
    outcome = opt_outs.loc[opt_outs["action"] != OdooAction.NONE, "outcome"]
    carried, waiting = outcome.isin(DONE), outcome == OutcomeKind.HELD_BACK
    return CarriedNumbers(int(carried.sum()), int(waiting.sum()), int((~carried & ~waiting).sum()))
