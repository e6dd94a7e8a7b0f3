"""Makes the tables of the opt-outs: of those that were read, and of those that were applied."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from mc_pipeline.domain.consent.usual_numbers import DAYS_COMPARED, compare_numbers
from mc_pipeline.ledger import ConsentEvent
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.sync.opt_outs.hearing import Heard

LAST_DAY, USUAL, FIRST_READ, AUTHENTICATION = (
    "opt_outs_in_24_hours",
    "usual_in_24_hours",
    "first_read",
    "authentication",
)
"""Facts of the table mailchimp_opt_outs."""

SETTLED, TROUBLE = "settled", "trouble"
"""Facts of the tables of what was applied."""


def heard_table(
    systems: Systems, company: CompanySettings, heard: "Sequence[Heard]", began: datetime
) -> Table:
    """Show what was read: the rows are the events that were news."""
    from mc_pipeline.sync.opt_outs.hearing import AUTHENTICATION as KEY_REFUSED

    reasons = [reason for each in heard for reason in each.reasons]
    numbers = compare_numbers(
        systems.ledger.consent.opt_outs_by_day(company.key, systems.now(), DAYS_COMPARED + 1)
    )
    return Table(
        _rows([event for each in heard for event in each.events]),
        began,
        complete=not reasons,
        incomplete_because="; ".join(reasons),
        facts={
            LAST_DAY: str(numbers.last_day),
            USUAL: f"{numbers.usual:.1f}",
            FIRST_READ: "yes" if any(each.first for each in heard) else "",
            AUTHENTICATION: "yes" if any(each.kind == KEY_REFUSED for each in heard) else "",
        },
    )


def undone(rows: "pd.DataFrame") -> int:
    """Count the opt-outs that are still to be applied."""
    return int(rows["outcome"].isin(["rejected", "deferred", "unknown", "not_sent"]).sum())


def carried_table(
    rows: "pd.DataFrame",
    observed_at: datetime,
    troubles: "tuple[str, ...] | list[str]",
    facts: dict[str, str] | None = None,
) -> Table:
    """Make the table of what a step applied; it is incomplete where the step met trouble."""
    because = "; ".join(troubles)
    return Table(
        rows,
        observed_at,
        complete=not because,
        incomplete_because=because,
        facts={**(facts or {}), TROUBLE: because},
    )


def _rows(events: Sequence[ConsentEvent]) -> "pd.DataFrame":
    import pandas as pd

    names = [column.name for column in schemas.MAILCHIMP_OPT_OUTS.columns]
    columns = {name: [getattr(event, name) for event in events] for name in names}
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype="datetime64[us, UTC]" if name.endswith("_at") else "str")
            for name, values in columns.items()
        }
    )
