"""Applies opt-outs of an address that Odoo has to the one that its owner has in Mailchimp now (rule 6.6)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.consent.changed_addresses import compare_with_odoo, concerns, who_had_it
from mc_pipeline.domain.consent.held_addresses import HeldAddresses
from mc_pipeline.ledger.changed_addresses import ChangedAddress
from mc_pipeline.ledger.odoo_opt_outs import OdooOptOut
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, StandingOptOut
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.odoo.opt_outs_since import read_partners_of
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import OPTED_OUT_EVENTS


def open_changes(systems: Systems, company: CompanySettings, partners: pd.DataFrame) -> list[ChangedAddress]:
    """The changes of address that Odoo does not know yet, after a look at the odoo_partners table."""
    ledger = systems.ledger
    changes = ledger.changed_addresses.open(company.key)
    found = compare_with_odoo(changes, partners, _held(systems, changes))
    ledger.changed_addresses.learn_partners(found.partner_of)
    ledger.changed_addresses.end(found.over)
    return ledger.changed_addresses.open(company.key)


def standing_with_former_addresses(
    systems: Systems, company: CompanySettings, emails: Collection[str]
) -> list[StandingOptOut]:
    """What stands against these addresses, and against those that their owners still have in Odoo."""
    ledger = systems.ledger
    standing = ledger.standing_opt_outs.of(company.key, emails)
    changes = [each for each in ledger.changed_addresses.open(company.key) if each.email in set(emails)]
    if not changes:
        return standing
    of_former = ledger.standing_opt_outs.of(company.key, {each.former for each in changes})
    if not of_former:
        return standing
    changes = _still_in_odoo(systems, company, changes)
    done = _last_done(systems, of_former)
    return standing + [
        replace(each, email=change.email)
        for each in of_former
        for change in changes
        if each.email == change.former
        and (each.cause != BLACKLISTED or _concerns(systems, change, done.get(each.email), each.said_at))
    ]


def with_present_addresses(
    systems: Systems, changes: Collection[ChangedAddress], blacklist: pd.DataFrame
) -> pd.DataFrame:
    """The odoo_blacklist table, with the rows of these people under their addresses in Mailchimp as well."""
    active = blacklist[blacklist["active"].astype(bool)]
    written = dict(zip(active["email"], pd.to_datetime(active["write_date"], utc=True), strict=True))
    out = [change for change in changes if change.former in written]
    done = {each.email: each for each in systems.ledger.odoo_opt_outs.done([each.former for each in out])}
    more = [
        active[active["email"] == change.former].assign(email=change.email)
        for change in out
        if _concerns(systems, change, done.get(change.former), _moment(written[change.former]))
    ]
    return pd.concat([blacklist, *more], ignore_index=True) if more else blacklist


def _moment(at: object) -> datetime | None:
    return at.to_pydatetime() if isinstance(at, pd.Timestamp) and not pd.isna(at) else None


def _still_in_odoo(
    systems: Systems, company: CompanySettings, changes: Collection[ChangedAddress]
) -> list[ChangedAddress]:
    """Without those whose partner has another address in Odoo by now; all when Odoo does not answer."""
    try:
        partners = read_partners_of(
            systems.odoo(company), company.odoo_company_id, {each.former for each in changes}
        )
    except OdooError:
        return list(changes)
    having_it = set(zip(partners["email_normalized"].str.lower(), partners["partner_id"], strict=True))
    held = _held(systems, changes)
    return [
        change
        for change in changes
        if change.partner_id is None
        or any((change.former, each) in having_it for each in {change.partner_id, *who_had_it(change, held)})
    ]


def _held(systems: Systems, changes: Collection[ChangedAddress]) -> HeldAddresses:
    """Who has and had the former addresses of these changes in Odoo."""
    if not changes:
        return HeldAddresses(())
    addresses = systems.ledger.partner_addresses
    return HeldAddresses(addresses.of({each.former for each in changes}), addresses.successors())


def _last_done(systems: Systems, standing: Collection[StandingOptOut]) -> Mapping[str, OdooOptOut]:
    """What we did in Odoo last about each of these addresses."""
    return {each.email: each for each in systems.ledger.odoo_opt_outs.done({each.email for each in standing})}


def _concerns(
    systems: Systems, change: ChangedAddress, done: OdooOptOut | None, said_at: datetime | None
) -> bool:
    if done is not None and said_at not in (None, done.occurred_at, done.blacklist_write_date):
        # Somebody wrote the row since.
        done = None
    events = systems.ledger.consent.events_of_members(change.list_id, [change.email])
    own = [each.occurred_at for each in events.get(change.email, ()) if each.event in OPTED_OUT_EVENTS]
    return concerns(change, done, own)
