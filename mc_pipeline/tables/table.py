"""The value that every asset hands on: rows, and how far they can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """Rows of one asset and one company, with what is known about their completeness.

    ``complete`` is true only when the row count and the id set equal what the system itself counted in the
    same window. What is not complete archives, removes and merges nobody (rule 1.2).
    """

    rows: "pd.DataFrame"
    observed_at: datetime
    """When reading began (UTC): anything that changed later may be missing."""
    complete: bool = True
    incomplete_because: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else its maker wants to find again with the stored table; tables derived from it have none."""

    def __post_init__(self) -> None:
        if self.observed_at.utcoffset() is None:
            raise ValueError("observed_at has no timezone: pass an aware datetime in UTC")
        if not self.complete and not self.incomplete_because:
            raise ValueError("an incomplete table says why: pass incomplete_because")
        object.__setattr__(self, "observed_at", self.observed_at.astimezone(UTC))

    def derive(self, rows: "pd.DataFrame", *others: "Table") -> "Table":
        """Make the table computed from this one and ``others``: as old and as incomplete as the worst."""
        inputs = (self, *others)
        reasons = [table.incomplete_because for table in inputs if not table.complete]
        return Table(
            rows=rows,
            observed_at=min(table.observed_at for table in inputs),
            complete=not reasons,
            incomplete_because="; ".join(dict.fromkeys(reasons)),
        )
