"""Compares both systems as a whole, and carries what the path by itself could not see (rules 5.3 to 5.6).

The path follows what happened since. Here is the rest: rows without a date, an address that a partner has
only now, consent that was withdrawn before anybody asked, a person who opted out under a former address.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from mc_pipeline.consent.odoo_writes import CarriedOut, OdooOptOutWrites
from mc_pipeline.domain.evidence import UsedEvidence, withdrawn_evidence
from mc_pipeline.domain.former_addresses import addresses_inheriting_opt_outs
from mc_pipeline.domain.odoo_opt_outs import (
    NONE,
    blacklist_after,
    company_opt_outs,
    decide_odoo_opt_outs,
    returned_by_themselves,
)
from mc_pipeline.domain.opt_outs import members_to_unsubscribe
from mc_pipeline.ledger import Lease
from mc_pipeline.ledger.changed_addresses import ChangedAddress
from mc_pipeline.ledger.due_in_odoo import REFUSED
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, EVIDENCE_WITHDRAWN, StandingOptOut
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.masking import mask_text
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.push.unsubscribes import push_unsubscribes
from mc_pipeline.push.writes import MemberWrites
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.changed_addresses import open_changes, present_addresses
from mc_pipeline.sync.opt_outs.into_odoo import (
    company_sources,
    old_until,
    remember,
    say_who_is_out,
    show_waiting,
)
from mc_pipeline.sync.systems import Systems

ODOO, MAILCHIMP = "Odoo", "Mailchimp"
_REFUSED = "Odoo does not take the address; it is tried again when the contact changes, or after seven days"


@dataclass(frozen=True)
class Observed:
    """Both systems as they were read whole; ``complete`` says whether Odoo's tables miss nobody.

    ``unread``: list ids of audiences of which nothing was read.
    """

    partners: pd.DataFrame
    blacklist: pd.DataFrame
    blacklist_at: datetime
    blacklist_complete: bool
    members: pd.DataFrame
    complete: bool
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missed:
    """What the path had not carried: rows of the table missed_opt_outs, and what could not be written."""

    rows: pd.DataFrame
    troubles: tuple[str, ...]


def nothing_compared(because: str) -> Missed:
    """Nothing was compared by this run."""
    columns = ["system", "audience", "email", "partner_id", "action", "cause", "outcome", "detail"]
    nobody = pd.DataFrame({column: pd.Series([], dtype=object) for column in columns})
    return Missed(nobody.astype({"partner_id": "Int64"}), (because,))


def carry_what_was_missed(
    systems: Systems, company: CompanySettings, lease: Lease, run_id: str, observed: Observed
) -> Missed:
    """Compare everything, and carry what is found. Raises LeaseLostError."""
    troubles: list[str] = []
    _take_over_blacklist(systems, company, observed)
    _take_over_withdrawals(systems, company, observed)
    into_odoo = _into_odoo(systems, company, lease, run_id, observed, troubles)
    due = unsubscribes_due(systems, company, observed, into_odoo)
    open_intents = {(each.list_id, each.email) for each in systems.ledger.intents.open(company.key)}
    keys = zip(due["list_id"], due["email"], strict=True)
    settled = [key not in open_intents for key in keys]
    due = due[pd.Series(settled, index=due.index, dtype=bool)]
    parts = [_odoo_rows(into_odoo)]
    for list_id, rows in due.groupby("list_id", sort=False):
        writes = MemberWrites(systems.mailchimp(company), systems.ledger, lease, run_id, direct_writes=None)
        try:
            done = push_unsubscribes(rows.reset_index(drop=True), writes)
        except MailchimpError as error:
            # They are due on the path as well.
            systems.ledger.standing_opt_outs.add_due(company.key, str(list_id), list(rows["email"]))
            troubles.append(f"{rows['audience'].iloc[0]}: {mask_text(str(error))}")
            done = rows.assign(outcome="deferred", detail=mask_text(str(error)))
        parts.append(done.assign(system=MAILCHIMP, action="unsubscribe", partner_id=None))
    columns = ["system", "audience", "email", "partner_id", "action", "cause", "outcome", "detail"]
    rows = pd.concat([part[columns] for part in parts], ignore_index=True)
    return Missed(rows.astype({"partner_id": "Int64"}), tuple(troubles))


def unsubscribes_due(
    systems: Systems, company: CompanySettings, observed: Observed, into_odoo: pd.DataFrame
) -> pd.DataFrame:
    """Decide who has to be unsubscribed in the company's audiences, from both systems and the ledger.

    ``into_odoo`` is of the columns of the odoo_opt_outs table: who was just opted out in Odoo leaves now.
    """
    ledger = systems.ledger
    list_ids = [audience.list_id for audience in company.audiences.values()]
    records = ledger.members.load(list_ids)
    rows, of_company, returned = observed.blacklist, {}, {}
    if company.opt_out_scope == "company":
        of_company = company_opt_outs(into_odoo, ledger.odoo_opt_outs.done(), company.key)
        events = ledger.consent.opt_outs_and_returns()
        returned = {
            (list_id, email): at
            for (list_id, email), at in returned_by_themselves(events, company.key).items()
            if email in of_company
        }
    else:
        rows = blacklist_after(rows, into_odoo, observed.blacklist_at)
    changes = open_changes(systems, company, observed.partners)
    rows = present_addresses(systems, changes, rows)
    of_company |= {
        change.email: of_company[change.former] for change in changes if change.former in of_company
    }
    withdrawn = withdrawn_evidence(_used(systems, company), observed.partners)
    withdrawn += [
        replace(each, email=change.email)
        for each in withdrawn
        for change in changes
        if (change.former, change.list_id) == (each.email, _list_id(company, each.audience))
    ]
    active = rows[rows["active"].astype(bool)]
    opted_out = ledger.consent.ever_opted_out() | set(active["email"])
    return members_to_unsubscribe(
        observed.members,
        rows,
        withdrawn,
        records,
        addresses_inheriting_opt_outs(_without_changed(records, changes), observed.partners, opted_out),
        opted_out_of_company=of_company,
        returned=returned,
    )


def _without_changed(records: pd.DataFrame, changes: Collection[ChangedAddress]) -> pd.DataFrame:
    """Leave out members whose present address Odoo does not know: that it has the former one is no change of
    Odoo's, and whoever is a member there is somebody else."""
    changed = {(change.list_id, change.email) for change in changes}
    kept = [place not in changed for place in zip(records["list_id"], records["email"], strict=True)]
    return records[pd.Series(kept, index=records.index, dtype=bool)]


def _list_id(company: CompanySettings, audience: str) -> str:
    return company.audiences[audience].list_id if audience in company.audiences else ""


def _take_over_blacklist(systems: Systems, company: CompanySettings, observed: Observed) -> None:
    rows = observed.blacklist
    written = pd.to_datetime(rows["write_date"], utc=True)
    said = [
        StandingOptOut(
            company=company.key,
            email=str(email),
            cause=BLACKLISTED,
            active=bool(active),
            said_at=observed.blacklist_at if pd.isna(at) else at.to_pydatetime(),
        )
        for email, active, at in zip(rows["email"], rows["active"], written, strict=True)
        if email
    ]
    standing = systems.ledger.standing_opt_outs
    if observed.blacklist_complete:
        standing.replace_all(company.key, BLACKLISTED, said, observed.blacklist_at, due_in=observed.unread)
    else:
        standing.say(said, observed.unread)


def _take_over_withdrawals(systems: Systems, company: CompanySettings, observed: Observed) -> None:
    """Consent that is withdrawn now; what was taken back since is none any more."""
    if not observed.complete:
        return
    systems.ledger.standing_opt_outs.replace_all(
        company.key,
        EVIDENCE_WITHDRAWN,
        [
            StandingOptOut(
                company=company.key,
                email=each.email,
                list_id=company.audiences[each.audience].list_id,
                cause=EVIDENCE_WITHDRAWN,
                said_at=each.at or observed.blacklist_at,
                because=each.because,
            )
            for each in withdrawn_evidence(_used(systems, company), observed.partners)
            if each.audience in company.audiences
        ],
        observed.blacklist_at,
        due_in=observed.unread,
    )


def _used(systems: Systems, company: CompanySettings) -> list[UsedEvidence]:
    lists = [audience.list_id for audience in company.audiences.values()]
    return [
        UsedEvidence.of(event.audience, event.email, event.evidence)
        for event in systems.ledger.consent.subscribed_by_us(lists)
        if event.evidence
    ]


def _into_odoo(
    systems: Systems,
    company: CompanySettings,
    lease: Lease,
    run_id: str,
    observed: Observed,
    troubles: list[str],
) -> pd.DataFrame:
    versions = systems.ledger.due_in_odoo.versions(company.key)
    blacklist = _blacklist_by_now(systems, company, observed)
    decisions = decide_odoo_opt_outs(
        systems.ledger.consent.opt_outs_and_returns(),
        blacklist,
        systems.ledger.odoo_opt_outs.done(),
        observed.partners,
        company=company.key,
        scope=company.opt_out_scope,
        old_until=old_until(systems, company),
        now=systems.now(),
    )
    say_who_is_out(systems, company, decisions)
    refused = _refused_lately(systems, company, observed.partners)
    decided = [each for each in decisions if each.email not in refused]
    try:
        writes = OdooOptOutWrites(
            systems.odoo(company), systems.ledger, lease, run_id, company_sources(company)
        )
        done = writes.carry_out(decided)
    except OdooError as error:
        done = CarriedOut.none(decided, error.message)
    if done.trouble:
        troubles.append(done.trouble)
    remember(systems, company, {each.email: versions.get(each.email, 0) for each in decided}, decided, done)
    show_waiting(systems, company, complete=observed.complete and not done.trouble)
    # Who is refused by Odoo is out all the same.
    left = [each for each in decisions if each.email in refused]
    return pd.concat([done.rows, CarriedOut.none(left, _REFUSED).rows], ignore_index=True)


def _blacklist_by_now(systems: Systems, company: CompanySettings, observed: Observed) -> pd.DataFrame:
    """The blacklist as it was read, with what this and other runs carried there since."""
    rows = observed.blacklist
    later = {
        done.email: done
        for done in systems.ledger.odoo_opt_outs.done()
        if done.scope == "everywhere" and done.settled_at and done.settled_at >= observed.blacklist_at
    }
    if not later:
        return rows
    kept = rows[~rows["email"].str.lower().isin(later)]
    made = pd.DataFrame(
        {
            "blacklist_id": [done.blacklist_id or 0 for done in later.values()],
            "email": [done.address for done in later.values()],
            "active": [done.action != "lift" for done in later.values()],
            "write_date": pd.Series(
                [done.blacklist_write_date or done.settled_at for done in later.values()],
                dtype="datetime64[us, UTC]",
            ),
        }
    )
    return pd.concat([kept, made], ignore_index=True)


def _refused_lately(systems: Systems, company: CompanySettings, partners: pd.DataFrame) -> Collection[str]:
    """Addresses that Odoo did not take less than seven days ago, and whose contacts did not change since."""
    refused = {row.email: row for row in systems.ledger.due_in_odoo.of(company.key, REFUSED)}
    if not refused:
        return ()
    of_refused = partners[partners["email_normalized"].isin(refused)]
    written = pd.to_datetime(of_refused["write_date"], utc=True)
    changed = {
        email
        for email, at in zip(of_refused["email_normalized"], written, strict=True)
        if not pd.isna(at) and at.to_pydatetime() > refused[email].since
    }
    now = systems.now()
    return {
        email
        for email, row in refused.items()
        if email not in changed and row.retry_at is not None and row.retry_at > now
    }


def _odoo_rows(into_odoo: pd.DataFrame) -> pd.DataFrame:
    rows = into_odoo[(into_odoo["action"] != NONE) & (into_odoo["outcome"] != "held_back")]
    return rows.assign(system=ODOO, audience="")
