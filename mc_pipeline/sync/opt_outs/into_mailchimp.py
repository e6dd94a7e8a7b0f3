"""Unsubscribes in Mailchimp those who are out according to Odoo, asking only for their addresses (rule 5.4).

Who is out was recorded before this begins. Each audience is asked separately: one that cannot be asked
keeps its people due and delays no other. A member for whom the other writer has an open write stays due
until that is settled, for it may yet make them reachable.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.consent.opt_outs_into_mailchimp import (
    UNSUBSCRIBE_COLUMNS,
    Withdrawal,
    members_to_unsubscribe,
)
from mc_pipeline.domain.consent.opt_outs_into_odoo import returned_by_themselves
from mc_pipeline.ledger import Lease, LeaseLostError, Outcome
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.ledger.standing_opt_outs import (
    BLACKLISTED,
    EVIDENCE_WITHDRAWN,
    OPTED_OUT_MEANWHILE,
    OPTED_OUT_OF_COMPANY,
    StandingOptOut,
)
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.lists import get_audience
from mc_pipeline.mailchimp.member_reading import MEMBER_FIELDS, MemberPages, get_member, member_rows
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.masking import mask_text
from mc_pipeline.push.member_writes import MemberWrites
from mc_pipeline.push.unsubscribes import push_unsubscribes
from mc_pipeline.push.writer import Writer
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.changed_addresses import standing_with_former_addresses
from mc_pipeline.sync.opt_outs.erased import addresses_of, forget_carried
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import (
    DONE,
    REACHABLE_STATUSES,
    EventKind,
    EventSource,
    MemberStatus,
    Origin,
    OutcomeKind,
)

PAGES_FROM = 200
"""Addresses from which on pages of the audience are read in place of single members."""

AT_A_TIME = 2_000
"""Members of an audience that are unsubscribed while the lease is held; others get their turn in between."""


_WORKERS = 4
_READ_IN_TURN = (MemberStatus.SUBSCRIBED, MemberStatus.PENDING, MemberStatus.TRANSACTIONAL)
"""The reachable statuses: of a member who is met in two of them, the later page counts."""
_FIELDS = tuple(name for name in MEMBER_FIELDS if name not in ("tags", "tags_count"))


@dataclass(frozen=True)
class CarriedIntoMailchimp:
    """Rows of the mailchimp_unsubscribes table; audiences that could not be asked or written, and why.

    ``more``: more people are due than are handled at a time.
    """

    rows: pd.DataFrame
    troubles: Mapping[str, str]
    more: bool = False

    @classmethod
    def none(cls) -> "CarriedIntoMailchimp":
        """Nobody yet."""
        return cls(_nobody(), {})

    def followed_by(self, later: "CarriedIntoMailchimp") -> "CarriedIntoMailchimp":
        """Both together."""
        parts = [each for each in (self.rows, later.rows) if len(each)]
        rows = pd.concat(parts, ignore_index=True) if parts else self.rows
        return CarriedIntoMailchimp(rows, {**self.troubles, **later.troubles}, later.more)


def nothing_carried(because: str) -> CarriedIntoMailchimp:
    """This run applied nothing."""
    return CarriedIntoMailchimp(_nobody(), {"opt-outs": because})


def carry_into_mailchimp(
    systems: Systems,
    company: CompanySettings,
    lease: Lease,
    run_id: str,
    *,
    lifted: Collection[str] = (),
    without: Collection[str] = (),
) -> CarriedIntoMailchimp:
    """Look at everybody who is due in each audience of the company, and unsubscribe those who are reachable.

    ``lifted``: people about to be removed from Odoo's blacklist, who are left alone. ``without``: audiences
    that failed a moment ago. Raises LeaseLostError.
    """
    carried = CarriedIntoMailchimp.none()
    more = False
    changes = systems.ledger.changed_addresses.open(company.key) if lifted else []
    lifted = {*lifted, *(change.email for change in changes if change.former in set(lifted))}
    for key, audience in company.audiences.items():
        if key in without:
            continue
        due = systems.ledger.standing_opt_outs.due(company.key, audience.list_id)
        still_open = dict.fromkeys(_open_in(systems, company, audience.list_id), 0)
        left_alone = {*lifted, *_undecided(systems, company, audience.list_id, due)} if due else set()
        emails = {email: each for email, each in (still_open | due).items() if email not in left_alone}
        if not emails:
            continue
        try:
            done = _of_audience(systems, company, lease, run_id, key, audience.list_id, emails)
        except LeaseLostError:
            raise
        except Exception as error:
            # Whatever is wrong with one audience, the others have their turn. While it lasts, a look finds it
            # too and requests no run.
            done = CarriedIntoMailchimp(_nobody(), {key: _words(error)})
        more = more or done.more
        carried = carried.followed_by(done)
    return CarriedIntoMailchimp(carried.rows, carried.troubles, more)


def _words(error: Exception) -> str:
    return mask_text(str(error)) or type(error).__name__


def _nobody() -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series([], dtype=object) for column in UNSUBSCRIBE_COLUMNS})


def _undecided(systems: Systems, company: CompanySettings, list_id: str, emails: Collection[str]) -> set[str]:
    """Who subscribed to this audience last, themselves, and is still to be decided about in Odoo."""
    undecided = systems.ledger.due_in_odoo.due(company.key).keys() & set(emails)
    latest = {
        event.email: event
        for event in systems.ledger.consent.opt_outs_and_returns_of(undecided)
        if event.company == company.key
    }
    return {
        email
        for email, event in latest.items()
        if (event.event, event.origin, event.list_id) == (EventKind.SUBSCRIBE, Origin.PERSON, list_id)
    }


def _open_in(systems: Systems, company: CompanySettings, list_id: str) -> set[str]:
    """Members whose unsubscribe was sent by an earlier run that did not learn the outcome."""
    return {
        intent.email
        for intent in systems.ledger.intents.open(company.key, path=OPT_OUTS)
        if intent.list_id == list_id
    }


def _of_audience(
    systems: Systems,
    company: CompanySettings,
    lease: Lease,
    run_id: str,
    key: str,
    list_id: str,
    due: Mapping[str, int],
) -> CarriedIntoMailchimp:
    """``due``: addresses with the version of what was known of each before the look."""
    ledger = systems.ledger
    client = systems.mailchimp(company, impatient=True)
    observed_at = systems.now()
    seen = _members(client, list_id, list(due))
    reachable = seen.rows[seen.rows["status"].isin(REACHABLE_STATUSES)]
    members = reachable.head(AT_A_TIME).assign(audience=key)
    later = set(reachable["email"]) - set(members["email"])
    _settle_open(systems, lease, company, list_id, seen)
    _remember_newcomers(systems, company, lease, systems.erased.without(members), observed_at)
    emails = list(members["email"])
    out = members_to_unsubscribe(
        members,
        *_facts(systems, company, key, list_id, emails),
        **_of_company(systems, company, emails),
    )
    still_open = _open_in(systems, company, list_id)
    out = out[~out["email"].isin(still_open)].reset_index(drop=True)
    writes = MemberWrites(Writer(client, ledger, lease, run_id, _WORKERS), direct_writes=None)
    done = push_unsubscribes(out, writes)
    carried = set(done.loc[done["outcome"].isin(DONE), "email"])
    quiet = seen.looked_at - set(out["email"]) - still_open - later
    ledger.standing_opt_outs.done(
        company.key, list_id, {email: due[email] for email in carried | quiet if email in due}
    )
    failed = set(due) - carried - quiet - later
    if failed:
        ledger.standing_opt_outs.postpone(company.key, list_id, failed)
    forget_carried(ledger, systems.erased, due)
    troubles = {key: seen.trouble} if seen.trouble else {}
    return CarriedIntoMailchimp(done, troubles, bool(later))


@dataclass(frozen=True)
class _Seen:
    """Members as they are now, of which addresses that is known, and why not of all."""

    rows: pd.DataFrame
    looked_at: set[str]
    trouble: str = ""


def _members(client: MailchimpClient, list_id: str, emails: Sequence[str]) -> _Seen:
    if len(emails) <= PAGES_FROM:
        found, failed, trouble = _one_by_one(client, list_id, emails)
        return _Seen(member_rows(list_id, found), set(emails) - failed, trouble)
    wanted = set(emails)
    by_email: dict[str, dict[str, Any]] = {}
    doubtful = False
    for status in _READ_IN_TURN:
        pages = MemberPages(client, list_id, status, _FIELDS)
        for records in pages:
            for record in records:
                email = str(record.get("email_address") or "").strip().lower()
                if email in wanted:
                    by_email[email] = record
        doubtful = doubtful or bool(pages.doubt)
    # Members moved while the pages were read: those not seen may have been passed over.
    looked_at = set(by_email) if doubtful else wanted
    missing = sorted(wanted - looked_at)
    if 0 < len(missing) <= PAGES_FROM:
        found, failed, _ = _one_by_one(client, list_id, missing)
        by_email |= {str(record["email_address"]).strip().lower(): record for record in found}
        looked_at = wanted - failed
    return _Seen(member_rows(list_id, list(by_email.values())), looked_at)


def _one_by_one(
    client: MailchimpClient, list_id: str, emails: Sequence[str]
) -> tuple[list[dict[str, Any]], set[str], str]:
    """Return the members found, the addresses that could not be asked about, and why.

    Raises MailchimpError when nobody could be asked about.
    """
    failures: dict[str, MailchimpError] = {}

    def ask(email: str) -> dict[str, Any] | None:
        try:
            return get_member(client, list_id, subscriber_hash(email))
        except MailchimpError as error:
            failures[email] = error
            return None

    if len(emails) == 1:
        records = [ask(emails[0])]
    else:
        records = run_concurrently((partial(ask, email) for email in emails), _WORKERS, client.stop)
    if failures and len(failures) == len(emails):
        raise next(iter(failures.values()))
    found = [record for record in records if record is not None]
    if not found:
        # Of an audience that is not there, Mailchimp answers the same: nobody was looked at then.
        get_audience(client, list_id)
    because = _words(next(iter(failures.values()))) if failures else ""
    trouble = f"{len(failures):,} members could not be asked for: {because}" if failures else ""
    return found, set(failures), trouble


def _remember_newcomers(
    systems: Systems, company: CompanySettings, lease: Lease, members: pd.DataFrame, seen_at: datetime
) -> None:
    """Know how members were before they are unsubscribed, whom no read of the audience has shown yet.

    Not of people who opted out before: whether they resubscribed themselves is found out by reading the
    audience.
    """
    emails = list(members["email"])
    known = systems.ledger.members.load_some(set(members["list_id"]), emails)
    others = set(known["email"]) | systems.ledger.consent.ever_opted_out(emails)
    new = members[~members["email"].isin(others)]
    if len(new):
        systems.ledger.members.observe_some(
            company.key, new, seen_at, lease=lease.name, fence=lease.fence, source=EventSource.OBSERVATION
        )


def _settle_open(systems: Systems, lease: Lease, company: CompanySettings, list_id: str, seen: _Seen) -> None:
    """Settle our own unsubscribes that were never answered, by the members as they are now."""
    reachable = set(seen.rows.loc[seen.rows["status"].isin(REACHABLE_STATUSES), "email"])
    systems.ledger.intents.settle(
        company.key,
        lease.fence,
        [
            (
                intent.id,
                Outcome(
                    outcome=OutcomeKind.NOT_SENT if intent.email in reachable else OutcomeKind.APPLIED,
                    detail="read back after an interruption",
                ),
            )
            for intent in systems.ledger.intents.open(company.key, path=OPT_OUTS)
            if intent.list_id == list_id and intent.email in seen.looked_at
        ],
    )


def _facts(
    systems: Systems, company: CompanySettings, key: str, list_id: str, emails: Sequence[str]
) -> tuple[pd.DataFrame, list[Withdrawal], pd.DataFrame]:
    """What stands against these addresses, as the rule takes it: blacklist, withdrawn consent, records."""
    standing = _standing(systems, company, emails)
    blacklisted = [each for each in standing if each.cause == BLACKLISTED]
    withdrawn = [
        Withdrawal(key, each.email, each.because, each.said_at)
        for each in standing
        if each.cause in (EVIDENCE_WITHDRAWN, OPTED_OUT_MEANWHILE) and each.list_id == list_id
    ]
    return (
        pd.DataFrame(
            {
                "email": pd.Series([each.email for each in blacklisted], dtype="object"),
                "active": pd.Series([True] * len(blacklisted), dtype="bool"),
                "write_date": pd.Series([each.said_at for each in blacklisted], dtype="datetime64[us, UTC]"),
            }
        ),
        withdrawn,
        systems.ledger.members.load_some([list_id], emails),
    )


def _standing(systems: Systems, company: CompanySettings, emails: Sequence[str]) -> list[StandingOptOut]:
    """What stands against these addresses; of people who were erased, also Odoo's row known by pseudonym."""
    theirs = addresses_of(systems.erased, emails)
    return [
        replace(each, email=theirs.get(each.email, each.email))
        for each in standing_with_former_addresses(systems, company, [*emails, *theirs])
        if each.email not in theirs or each.cause == BLACKLISTED
    ]


def _of_company(systems: Systems, company: CompanySettings, emails: Sequence[str]) -> dict[str, Any]:
    """Opt-outs of a company that keeps off the blacklist, and who subscribed again by themselves since."""
    if company.opt_out_scope != "company":
        return {}
    standing = _standing(systems, company, emails)
    since: dict[str, datetime] = {
        each.email: each.said_at for each in standing if each.cause == OPTED_OUT_OF_COMPANY
    }
    events = systems.ledger.consent.opt_outs_and_returns_of(since)
    return {
        "opted_out_of_company": since,
        "returned": returned_by_themselves(events, company.key),
    }
