"""Compares both systems as a whole, and applies what the path alone could not see (rules 5.3 to 5.6).

The path follows what happened since. Here is the rest: rows without a date, an address that a partner has
only now, consent that was withdrawn before anybody asked, a person who opted out under a former address.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import pandas as pd

from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD, parse_evidence
from mc_pipeline.domain.consent.held_addresses import present_addresses
from mc_pipeline.domain.consent.opt_outs_into_mailchimp import Withdrawal, members_to_unsubscribe
from mc_pipeline.domain.consent.opt_outs_into_odoo import (
    blacklist_after,
    company_opt_outs,
    decide_odoo_opt_outs,
    returned_by_themselves,
)
from mc_pipeline.domain.consent.withdrawals import TakenBack
from mc_pipeline.ledger import Lease
from mc_pipeline.ledger.due_in_odoo import REFUSED
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, EVIDENCE_WITHDRAWN, StandingOptOut
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.masking import mask_text
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.push.member_writes import MemberWrites
from mc_pipeline.push.odoo_opt_outs import CarriedOut, OdooOptOutWrites
from mc_pipeline.push.unsubscribes import push_unsubscribes
from mc_pipeline.push.writer import Writer
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.asking_odoo import standing_withdrawal, words_of
from mc_pipeline.sync.opt_outs.changed_addresses import open_changes, with_present_addresses
from mc_pipeline.sync.opt_outs.following import follow_consent, follow_people, inheriting_opt_outs
from mc_pipeline.sync.opt_outs.into_odoo import (
    carry_of_erased,
    company_sources,
    decide_while_subscribed,
    old_until,
    remember,
    say_who_is_out,
    show_waiting,
)
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import OdooAction, Operation, OptOutScope, OutcomeKind

ODOO, MAILCHIMP = "Odoo", "Mailchimp"
_REFUSED = "Odoo does not take the address; it is tried again when the contact changes, or after seven days"


@dataclass(frozen=True)
class Observed:
    """Both systems as they were read; ``…_complete`` says whether a table of Odoo misses nobody.

    ``unread``: list ids of audiences of which nothing was read.
    """

    partners: pd.DataFrame
    partners_at: datetime
    partners_complete: bool
    blacklist: pd.DataFrame
    blacklist_at: datetime
    blacklist_complete: bool
    members: pd.DataFrame
    unread: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether both tables of Odoo miss nobody."""
        return self.partners_complete and self.blacklist_complete


@dataclass(frozen=True)
class Missed:
    """What the path had not applied: rows of the table missed_opt_outs, and what could not be written.

    ``without_note``: how many were applied without the note in Odoo that says why, in words.
    """

    rows: pd.DataFrame
    troubles: tuple[str, ...]
    without_note: str = ""


def nothing_compared(because: str) -> Missed:
    """Nothing was compared by this run."""
    columns = ["system", "audience", "email", "partner_id", "action", "cause", "outcome", "detail"]
    nobody = pd.DataFrame({column: pd.Series([], dtype=object) for column in columns})
    return Missed(nobody.astype({"partner_id": "Int64"}), (because,))


def carry_what_was_missed(
    systems: Systems, company: CompanySettings, lease: Lease, run_id: str, observed: Observed
) -> Missed:
    """Compare everything, and apply what is found. Raises LeaseLostError."""
    troubles: list[str] = []
    _take_over_blacklist(systems, company, observed)
    # By now, and under the lease that an erasure waits for: nobody erased since the read is restored.
    shown = systems.erased_by_now().without(observed.partners)
    partners = present_addresses(shown["partner_id"], shown["email_normalized"])
    try:
        follow_people(systems, company, partners, observed.partners_at, complete=observed.partners_complete)
    except Exception as error:
        # People who are in Odoo are followed all the same, and the next run asks about the others again.
        troubles.append(f"contacts that are gone: {words_of(error)}")
    _take_over_withdrawals(systems, company, observed, troubles)
    into_odoo, without_note = _into_odoo(systems, company, lease, run_id, observed, troubles)
    due = unsubscribes_due(systems, company, observed, into_odoo)
    open_intents = {(each.list_id, each.email) for each in systems.ledger.intents.open(company.key)}
    keys = zip(due["list_id"], due["email"], strict=True)
    settled = [key not in open_intents for key in keys]
    due = due[pd.Series(settled, index=due.index, dtype=bool)]
    parts = [_odoo_rows(into_odoo)]
    for list_id, rows in due.groupby("list_id", sort=False):
        writer = Writer(systems.mailchimp(company), systems.ledger, lease, run_id)
        writes = MemberWrites(writer, direct_writes=None)
        try:
            done = push_unsubscribes(rows.reset_index(drop=True), writes)
        except MailchimpError as error:
            # They are due on the path as well.
            systems.ledger.standing_opt_outs.add_due(company.key, str(list_id), list(rows["email"]))
            troubles.append(f"{rows['audience'].iloc[0]}: {mask_text(str(error))}")
            done = rows.assign(outcome=OutcomeKind.DEFERRED, detail=mask_text(str(error)))
        parts.append(done.assign(system=MAILCHIMP, action=Operation.UNSUBSCRIBE, partner_id=None))
    columns = ["system", "audience", "email", "partner_id", "action", "cause", "outcome", "detail"]
    rows = pd.concat([part[columns] for part in parts], ignore_index=True)
    return Missed(rows.astype({"partner_id": "Int64"}), tuple(troubles), without_note)


def unsubscribes_due(
    systems: Systems, company: CompanySettings, observed: Observed, into_odoo: pd.DataFrame
) -> pd.DataFrame:
    """Decide who has to be unsubscribed in the company's audiences, from both systems and the ledger.

    ``into_odoo`` is of the columns of the odoo_opt_outs table: those just opted out in Odoo leave now.
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
    rows = with_present_addresses(systems, changes, rows)
    of_company |= {
        change.email: of_company[change.former] for change in changes if change.former in of_company
    }
    audience_of = {audience.list_id: key for key, audience in company.audiences.items()}
    withdrawn = [
        Withdrawal(audience_of[each.list_id], each.email, each.because, each.said_at)
        for each in ledger.standing_opt_outs.of(company.key)
        if each.cause == EVIDENCE_WITHDRAWN and each.list_id in audience_of
    ]
    return members_to_unsubscribe(
        observed.members,
        rows,
        withdrawn,
        records,
        inheriting_opt_outs(systems, observed.partners, observed.partners_at, rows),
        opted_out_of_company=of_company,
        returned=returned,
    )


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
        standing.replace_all(
            company.key,
            BLACKLISTED,
            said,
            observed.blacklist_at,
            due_in=observed.unread,
            not_shown=systems.erased.includes,
        )
    else:
        standing.say(said, observed.unread)


def _take_over_withdrawals(
    systems: Systems, company: CompanySettings, observed: Observed, troubles: list[str]
) -> None:
    """Consent that is withdrawn now; what was taken back since is none any more."""
    found = _unticked_addresses(systems, company, observed.partners) if observed.complete else []
    followed = follow_consent(systems, company, found)
    troubles += [f"{subject}: {words_of(error)}" for subject, error in followed.troubles.items()]
    # What we cleared ourselves because of an opt-out is as old as that, whatever was edited since.
    ours = {
        done.email: done.occurred_at
        for done in systems.ledger.odoo_opt_outs.done()
        if done.scope == OptOutScope.COMPANY
        and done.company == company.key
        and done.action == OdooAction.OPT_OUT
    }
    said = [
        standing_withdrawal(company.key, replace(each, at=min(each.at, ours.get(each.email, each.at))))
        for each in followed.withdrawn
    ]
    standing = systems.ledger.standing_opt_outs
    if observed.complete and not followed.troubles:
        standing.replace_all(
            company.key,
            EVIDENCE_WITHDRAWN,
            said,
            observed.blacklist_at,
            due_in=observed.unread,
            not_shown=systems.erased.includes,
        )
    else:
        standing.say(said, observed.unread)


def _unticked_addresses(
    systems: Systems, company: CompanySettings, partners: pd.DataFrame
) -> list[TakenBack]:
    """Addresses of members who were subscribed by a field that none of the partners there has ticked now."""
    lists = [audience.list_id for audience in company.audiences.values()]
    rules = [audience.consent for audience in company.audiences.values() if audience.consent]
    # The partners' table says nothing about a field that the settings no longer name.
    fields = {rule.boolean_field for rule in rules}
    used = [
        each
        for each in systems.ledger.used_evidence.of(lists)
        if each.kind == BOOLEAN_FIELD and each.source in fields
    ]
    if not used:
        return []
    addresses = partners["email_normalized"].str.lower()
    concerned = addresses.isin({each.email for each in used})
    there: dict[str, set[str]] = {}
    written: dict[str, datetime] = {}
    shown = partners[concerned]
    for email, text, at in zip(
        addresses[concerned],
        shown["evidence_json"],
        pd.to_datetime(shown["write_date"], utc=True),
        strict=True,
    ):
        there.setdefault(email, set()).update(
            each.source for each in parse_evidence(text) if each.kind == BOOLEAN_FIELD
        )
        if not pd.isna(at):
            written[email] = max(at.to_pydatetime(), written.get(email, at.to_pydatetime()))
    return [
        TakenBack(BOOLEAN_FIELD, each.source, 0, each.email, written.get(each.email, systems.now()))
        for each in used
        if each.email in there and each.source not in there[each.email]
    ]


def _into_odoo(
    systems: Systems,
    company: CompanySettings,
    lease: Lease,
    run_id: str,
    observed: Observed,
    troubles: list[str],
) -> tuple[pd.DataFrame, str]:
    """Rows of the odoo_opt_outs table, and how many of them have no note in Odoo, in words."""
    versions = systems.ledger.due_in_odoo.versions(company.key)
    blacklist = _blacklist_by_now(systems, company, observed)
    decide = partial(
        decide_odoo_opt_outs,
        systems.ledger.consent.opt_outs_and_returns(),
        blacklist,
        systems.ledger.odoo_opt_outs.done(),
        observed.partners,
        company=company.key,
        scope=company.opt_out_scope,
        old_until=old_until(systems, company),
        now=systems.now(),
    )
    # Not by the table of members: it may be hours old.
    decisions, not_looked_at = decide_while_subscribed(systems, company, decide)
    troubles += not_looked_at
    say_who_is_out(systems, company, decisions)
    refused = _refused_lately(systems, company, observed.partners)
    decided = [each for each in decisions if each.email not in refused]
    without_note = ""
    try:
        writes = OdooOptOutWrites(
            Writer(systems.odoo(company), systems.ledger, lease, run_id), company_sources(company)
        )
        done = writes.carry_out(decided)
        troubles += _of_erased(systems, company, writes)
        without_note = writes.notes_trouble
    except OdooError as error:
        done = CarriedOut.none(decided, error.message)
    if done.trouble:
        troubles.append(done.trouble)
    remember(systems, company, {each.email: versions.get(each.email, 0) for each in decided}, decided, done)
    show_waiting(systems, company, complete=observed.complete and not done.trouble)
    # People whom Odoo refuses are out all the same.
    left = [each for each in decisions if each.email in refused]
    rows = pd.concat([done.rows, CarriedOut.none(left, _REFUSED).rows], ignore_index=True)
    return rows, without_note


def _of_erased(systems: Systems, company: CompanySettings, writes: OdooOptOutWrites) -> list[str]:
    """Apply what is due for erased people; return what went wrong: it says nothing about the others."""
    troubles: dict[str, None] = {}
    try:
        carry_of_erased(systems, company, writes, troubles)
    except OdooError as error:
        troubles[error.message] = None
    return list(troubles)


def _blacklist_by_now(systems: Systems, company: CompanySettings, observed: Observed) -> pd.DataFrame:
    """The blacklist as it was read, with what this and other runs applied there since."""
    rows = observed.blacklist
    later = {
        done.email: done
        for done in systems.ledger.odoo_opt_outs.done()
        if done.scope == OptOutScope.EVERYWHERE
        and done.settled_at
        and done.settled_at >= observed.blacklist_at
    }
    if not later:
        return rows
    kept = rows[~rows["email"].str.lower().isin(later)]
    made = pd.DataFrame(
        {
            "blacklist_id": [done.blacklist_id or 0 for done in later.values()],
            "email": [done.address for done in later.values()],
            "active": [done.action != OdooAction.LIFT for done in later.values()],
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
    rows = into_odoo[
        (into_odoo["action"] != OdooAction.NONE) & (into_odoo["outcome"] != OutcomeKind.HELD_BACK)
    ]
    return rows.assign(system=ODOO, audience="")
