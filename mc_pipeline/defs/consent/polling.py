"""Reads every audience of a company for opt-outs, and shows what was told as a table.

An audience that cannot be read holds up no other; what could not be read is in the next run.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.consent.assets import FIRST_READ, LAST_DAY, USUAL
from mc_pipeline.defs.systems import Systems
from mc_pipeline.masking import mask_text
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table, schemas

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.ledger import ConsentEvent, Finding, Lease


def poll_company(
    systems: Systems, company: CompanySettings, lease: "Lease", log: dg.DagsterLogManager
) -> Table:
    """Read all audiences of the company; the rows are the events that were news.

    Raises:
        MailchimpError: no audience could be read at all.
    """
    from mc_pipeline.consent.origins import Origins
    from mc_pipeline.consent.polling import AudiencePolling, Poll
    from mc_pipeline.domain.opt_out_numbers import DAYS_COMPARED, compare_numbers
    from mc_pipeline.mailchimp.errors import MailchimpError

    client = systems.mailchimp(company)
    polling = AudiencePolling(client, systems.ledger, lease, Origins(client, systems.ledger), systems.erased)
    began = systems.now()
    polls: dict[str, Poll] = {}
    failures: dict[str, MailchimpError] = {}
    for key, audience in company.audiences.items():
        try:
            polls[key] = polling.poll(key, audience.list_id)
        except MailchimpError as error:
            failures[key] = error
            log.warning(f"{key}: {mask_text(str(error))}")
    if failures and not polls:
        raise next(iter(failures.values()))
    reasons = [f"{key}: {mask_text(str(error))}" for key, error in failures.items()]
    reasons += [
        f"{key}, {status}: {why}" for key, poll in polls.items() for status, why in poll.doubts.items()
    ]
    numbers = compare_numbers(
        systems.ledger.consent.opt_outs_by_day(company.key, systems.now(), DAYS_COMPARED + 1)
    )
    return Table(
        _rows([event for poll in polls.values() for event in poll.events]),
        began,
        complete=not reasons,
        incomplete_because="; ".join(reasons),
        facts={
            LAST_DAY: str(numbers.last_day),
            USUAL: f"{numbers.usual:.1f}",
            FIRST_READ: "yes" if any(poll.first for poll in polls.values()) else "",
        },
    )


def find_origins_of_returns(
    systems: Systems, company: CompanySettings, members: Table
) -> "Mapping[tuple[str, str], Finding]":
    """Find out who came back by their own act since the audiences were read for opt-outs a moment ago."""
    from mc_pipeline.consent.deliveries import Deliveries
    from mc_pipeline.consent.origins import Origins

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
