"""Makes the table mailchimp_opt_outs from what was read, and finds out who resubscribed themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from mc_pipeline.defs.consent.assets import AUTHENTICATION, FIRST_READ, LAST_DAY, USUAL
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.ledger import ConsentEvent, Finding
    from mc_pipeline.sync.opt_outs.hearing import Heard


def heard_table(
    systems: Systems, company: CompanySettings, heard: "Sequence[Heard]", began: datetime
) -> Table:
    """Show what was read: the rows are the events that were news."""
    from mc_pipeline.domain.consent.usual_numbers import DAYS_COMPARED, compare_numbers
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


def find_origins_of_returns(
    systems: Systems, company: CompanySettings, members: Table
) -> "Mapping[tuple[str, str], Finding]":
    """Find out who resubscribed themselves since the audiences were read for opt-outs a moment ago."""
    from mc_pipeline.sync.opt_outs.deliveries import Deliveries
    from mc_pipeline.sync.opt_outs.origins import Origins

    rows = members.rows
    subscribed = rows[rows["status"] == "subscribed"]
    back = subscribed[subscribed["email"].isin(systems.ledger.consent.ever_opted_out())]
    changes = systems.ledger.members.changes(back, members.observed_at)
    told = {
        member: acts
        for audience in company.audiences.values()
        for member, acts in Deliveries.waiting(systems.ledger, audience.list_id).acts().items()
    }
    return Origins(systems.mailchimp(company), systems.ledger).find(changes, told, {})


def _rows(events: "Sequence[ConsentEvent]") -> "pd.DataFrame":
    import pandas as pd

    names = [column.name for column in schemas.MAILCHIMP_OPT_OUTS.columns]
    columns = {name: [getattr(event, name) for event in events] for name in names}
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype="datetime64[us, UTC]" if name.endswith("_at") else "str")
            for name, values in columns.items()
        }
    )
