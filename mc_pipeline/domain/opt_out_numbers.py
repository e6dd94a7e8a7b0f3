"""Whether the number of opt-outs is an unusual one. It holds nothing back: people are told, that is all."""

from collections.abc import Sequence
from dataclasses import dataclass

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
