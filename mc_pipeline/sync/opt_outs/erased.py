"""Opt-outs of people who were erased and came back by their own sign-up (rule 10.1).

They are no longer known, but their opt-outs still count, in both directions. What happens to them is
recorded under their pseudonym. Their address is in the ledger only while something has to be applied, in the
rows that say so; nothing else is kept: no record of the member, no field, no partner.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from mc_pipeline.ledger import ConsentEvent, Ledger
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED
from mc_pipeline.vocabulary import (
    EVENT_OF_STATUS,
    OPTED_OUT_EVENTS,
    OPTED_OUT_STATUSES,
    REACHABLE_STATUSES,
    EventSource,
    Origin,
)

if TYPE_CHECKING:
    import pandas as pd

# Mailchimp's clock and ours may differ by this much: an unsubscribe of ours is dated by ours.
_CLOCKS_DIFFER = timedelta(minutes=2)


class ErasedLike(Protocol):
    """People who were erased, and are no longer read."""

    def without(self, rows: "pd.DataFrame") -> "pd.DataFrame": ...
    def split(self, rows: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]": ...
    def includes(self, email: str) -> bool: ...
    def pseudonym_of(self, email: str) -> str | None: ...


def addresses_of(erased: ErasedLike, emails: Iterable[str]) -> dict[str, str]:
    """Pseudonym to address, of those of these people who were erased."""
    found = {erased.pseudonym_of(email): email for email in emails}
    return {pseudonym: email for pseudonym, email in found.items() if pseudonym is not None}


def take_members(
    ledger: Ledger,
    erased: ErasedLike,
    company: str,
    audience: str,
    list_id: str,
    theirs: "pd.DataFrame",
    source: EventSource,
) -> None:
    """Take over members who were erased, as they are now: those who are out are due in Odoo, and vice versa.

    ``theirs`` has the columns email, status and last_changed (UTC) of ``mailchimp_members``.
    """
    out = theirs[theirs["status"].isin(OPTED_OUT_STATUSES)]
    take_opt_outs(ledger, erased, opt_outs_of(ledger, company, audience, list_id, out, source))
    reachable = addresses_of(erased, theirs.loc[theirs["status"].isin(REACHABLE_STATUSES), "email"])
    standing = ledger.standing_opt_outs.of(company, reachable) if reachable else []
    # Nothing else speaks against somebody who signed up themselves since.
    again = {reachable[each.email] for each in standing if each.cause == BLACKLISTED}
    if again:
        ledger.standing_opt_outs.add_due(company, list_id, again)


def opt_outs_of(
    ledger: Ledger, company: str, audience: str, list_id: str, out: "pd.DataFrame", source: EventSource
) -> list[ConsentEvent]:
    """The opt-outs of these members, by address. Who made them is not looked up."""
    import pandas as pd

    now = ledger.now()
    return [
        ConsentEvent(
            company=company,
            audience=audience,
            list_id=list_id,
            email=str(email),
            event=EVENT_OF_STATUS[status],
            origin=Origin.UNKNOWN,
            status_to=str(status),
            occurred_at=now if pd.isna(at) else at.to_pydatetime(),
            seen_at=now,
            source=source,
        )
        for email, status, at in zip(out["email"], out["status"], out["last_changed"], strict=True)
    ]


def take_opt_outs(ledger: Ledger, erased: ErasedLike, opt_outs: Sequence[ConsentEvent]) -> list[ConsentEvent]:
    """Record opt-outs of erased people that are news, under their pseudonyms; return those."""
    news = unrecorded(ledger, erased, opt_outs)
    if news:
        ledger.consent.record_of_erased(news, addresses_of(erased, (event.email for event in opt_outs)))
    return news


def unrecorded(ledger: Ledger, erased: ErasedLike, opt_outs: Sequence[ConsentEvent]) -> list[ConsentEvent]:
    """Those of these opt-outs that the history does not have yet, under their pseudonyms."""
    found = []
    for event in opt_outs:
        pseudonym = erased.pseudonym_of(event.email)
        if pseudonym is None or event.event not in OPTED_OUT_EVENTS:
            continue
        known = ledger.consent.events_of_members(event.list_id, [pseudonym]).get(pseudonym, ())
        if not any(_covers(each, event.occurred_at) for each in known if each.event in OPTED_OUT_EVENTS):
            found.append(replace(event, email=pseudonym, evidence=None))
    return found


def _covers(known: ConsentEvent, at: datetime) -> bool:
    """Whether this recorded opt-out is the one of that moment, or a later one."""
    return known.occurred_at >= at - _CLOCKS_DIFFER


def due_since_known(ledger: Ledger, erased: ErasedLike, company: str, emails: Iterable[str]) -> None:
    """Odoo knows these addresses of erased people (again): what they opted out of since is due there."""
    addresses = addresses_of(erased, emails)
    done: dict[str, datetime] = {}
    for each in ledger.odoo_opt_outs.done(addresses):
        done[each.email] = max(each.occurred_at, done.get(each.email, each.occurred_at))
    due = {
        addresses[event.email]
        for event in ledger.consent.opt_outs_and_returns_of(addresses)
        if event.event in OPTED_OUT_EVENTS and event.company == company
        if event.email not in done or done[event.email] < event.occurred_at
    }
    if due:
        ledger.due_in_odoo.add(company, due)


def forget_carried(ledger: Ledger, erased: ErasedLike, emails: Iterable[str]) -> None:
    """Forget the addresses of erased people for whom nothing has to be applied any more."""
    addresses: Mapping[str, str] = addresses_of(erased, emails)
    for pseudonym, email in addresses.items():
        ledger.erasures.forget_what_is_done(email, pseudonym)
