"""Unsubscribes in Mailchimp who is out by Odoo's word, asking for the addresses concerned alone (rule 5.4).

Who is out was written down before this begins. Each audience is asked by itself: one that cannot be asked
keeps its people due and holds up no other. A member of whom the other writer has a write under way stays due
until that is settled, for it may yet make them reachable.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from mc_pipeline.domain.evidence import Withdrawal
from mc_pipeline.domain.odoo_opt_outs import returned_by_themselves
from mc_pipeline.domain.opt_outs import UNSUBSCRIBE_COLUMNS, members_to_unsubscribe
from mc_pipeline.ledger import Lease, Outcome
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.ledger.standing_opt_outs import (
    BLACKLISTED,
    EVIDENCE_WITHDRAWN,
    OPTED_OUT_OF_COMPANY,
    StandingOptOut,
)
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.lists import get_audience
from mc_pipeline.mailchimp.member_reading import MEMBER_FIELDS, MemberPages, get_member, member_rows
from mc_pipeline.mailchimp.members import subscriber_hash
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.masking import mask_text
from mc_pipeline.push.settling import settle_batches
from mc_pipeline.push.unsubscribes import push_unsubscribes
from mc_pipeline.push.writes import MemberWrites
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems

PAGES_FROM = 200
"""Addresses from which on pages of the audience are read in place of single members."""

DIRECT_UNSUBSCRIBES = 500
"""Up to so many are sent directly: a batch may wait behind others of the account."""

_WORKERS = 4
_REACHABLE = ("subscribed", "pending", "transactional")
_FIELDS = tuple(name for name in MEMBER_FIELDS if name not in ("tags", "tags_count"))


@dataclass(frozen=True)
class CarriedIntoMailchimp:
    """Rows of the mailchimp_unsubscribes table; audiences that could not be asked or written, and why."""

    rows: pd.DataFrame
    troubles: Mapping[str, str]


def nothing_carried(because: str) -> CarriedIntoMailchimp:
    """Nothing was carried by this run."""
    return CarriedIntoMailchimp(_nobody(), {"opt-outs": because})


def carry_into_mailchimp(
    systems: Systems,
    company: CompanySettings,
    lease: Lease,
    run_id: str,
    *,
    lifted: Collection[str] = (),
) -> CarriedIntoMailchimp:
    """Look at everybody who is due in each audience of the company, and unsubscribe who is reachable.

    ``lifted``: who is about to be taken off Odoo's blacklist, and is left alone. Raises LeaseLostError.
    """
    due = systems.ledger.standing_opt_outs.due(company.key)
    audiences = {audience.list_id: key for key, audience in company.audiences.items()}
    parts: list[pd.DataFrame] = []
    troubles: dict[str, str] = {}
    if any(list_id in audiences for list_id in due) or _has_open(systems, company):
        client = systems.mailchimp(company, impatient=True)
        try:
            settle_batches(client, systems.ledger, lease)
        except MailchimpError as error:
            troubles["earlier batches"] = mask_text(str(error))
    for list_id, key in audiences.items():
        emails = [email for email in due.get(list_id, ()) if email not in set(lifted)]
        emails = sorted({*emails, *_open_in(systems, company, list_id)})
        if not emails:
            continue
        try:
            parts.append(_of_audience(systems, company, lease, run_id, key, list_id, emails))
        except MailchimpError as error:
            troubles[key] = mask_text(str(error))
    found = [part for part in parts if len(part)]
    return CarriedIntoMailchimp(pd.concat(found, ignore_index=True) if found else _nobody(), troubles)


def _nobody() -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series([], dtype=object) for column in UNSUBSCRIBE_COLUMNS})


def _has_open(systems: Systems, company: CompanySettings) -> bool:
    return bool(systems.ledger.intents.open(company.key, path=OPT_OUTS))


def _open_in(systems: Systems, company: CompanySettings, list_id: str) -> set[str]:
    """Whose unsubscribe was sent by an earlier run that did not learn what became of it."""
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
    emails: Sequence[str],
) -> pd.DataFrame:
    ledger = systems.ledger
    client = systems.mailchimp(company, impatient=True)
    as_of = systems.now()
    seen = _members(client, list_id, emails)
    members = seen.rows.assign(audience=key)
    _remember_newcomers(systems, company, lease, members, as_of)
    _settle_open(systems, lease, company, list_id, members)
    out = members_to_unsubscribe(
        members,
        *_facts(systems, company, key, list_id, emails),
        **_of_company(systems, company, emails),
    )
    still_open = {intent.email for intent in ledger.intents.open(company.key, path=OPT_OUTS)}
    out = out[~out["email"].isin(still_open)].reset_index(drop=True)
    writes = MemberWrites(client, ledger, lease, run_id, workers=_WORKERS, direct_writes=DIRECT_UNSUBSCRIBES)
    done = push_unsubscribes(out, writes)
    carried = set(done.loc[done["outcome"].isin(["applied", "unchanged"]), "email"])
    quiet = seen.looked_at - set(out["email"]) - still_open
    ledger.standing_opt_outs.done(company.key, list_id, carried | quiet, as_of=as_of)
    return done


@dataclass(frozen=True)
class _Seen:
    """Members as they are now, and of which addresses that is known."""

    rows: pd.DataFrame
    looked_at: set[str]


def _members(client: MailchimpClient, list_id: str, emails: Sequence[str]) -> _Seen:
    if len(emails) <= PAGES_FROM:
        return _Seen(member_rows(list_id, _one_by_one(client, list_id, emails)), set(emails))
    wanted = set(emails)
    found: dict[str, dict[str, Any]] = {}
    doubtful = False
    for status in _REACHABLE:
        pages = MemberPages(client, list_id, status, _FIELDS)
        for records in pages:
            for record in records:
                email = str(record.get("email_address") or "").strip().lower()
                if email in wanted:
                    found[email] = record
        doubtful = doubtful or bool(pages.doubt)
    # Members moved while the pages were read: who was not seen may have been passed over.
    looked_at = set(found) if doubtful else wanted
    missing = sorted(wanted - looked_at)
    if 0 < len(missing) <= PAGES_FROM:
        for record in _one_by_one(client, list_id, missing):
            found[str(record["email_address"]).strip().lower()] = record
        looked_at = wanted
    return _Seen(member_rows(list_id, list(found.values())), looked_at)


def _one_by_one(client: MailchimpClient, list_id: str, emails: Sequence[str]) -> list[dict[str, Any]]:
    tasks = [partial(get_member, client, list_id, subscriber_hash(email)) for email in emails]
    if len(tasks) == 1:
        records = [tasks[0]()]
    else:
        records = run_concurrently(tasks, _WORKERS, client.stop)
    found = [record for record in records if record is not None]
    if not found:
        # Of an audience that is not there, Mailchimp answers the same: nobody was looked at then.
        get_audience(client, list_id)
    return found


def _remember_newcomers(
    systems: Systems, company: CompanySettings, lease: Lease, members: pd.DataFrame, seen_at: datetime
) -> None:
    """Know how members were before they are unsubscribed, whom no read of the audience has shown yet.

    Not of people who opted out before: whether they came back by their own act is for hearing to find out.
    """
    emails = list(members["email"])
    known = systems.ledger.members.load_some(set(members["list_id"]), emails)
    others = set(known["email"]) | systems.ledger.consent.ever_opted_out(emails)
    new = members[~members["email"].isin(others)]
    if len(new):
        systems.ledger.members.observe_some(
            company.key, new, seen_at, lease=lease.name, fence=lease.fence, source="observation"
        )


def _settle_open(
    systems: Systems, lease: Lease, company: CompanySettings, list_id: str, members: pd.DataFrame
) -> None:
    """Settle our own unsubscribes that were never answered, by the members as they are now."""
    status = dict(zip(members["email"], members["status"], strict=True))
    found_out = "read back after an interruption"
    systems.ledger.intents.settle(
        lease.fence,
        [
            Outcome(
                intent_id=intent.id,
                outcome="not_sent" if status.get(intent.email) in _REACHABLE else "applied",
                detail=found_out,
            )
            for intent in systems.ledger.intents.open(company.key, path=OPT_OUTS)
            # One in a batch may yet be carried out.
            if intent.list_id == list_id and not intent.batch_id and intent.email in status
        ],
    )


def _facts(
    systems: Systems, company: CompanySettings, key: str, list_id: str, emails: Sequence[str]
) -> tuple[pd.DataFrame, list[Withdrawal], pd.DataFrame]:
    """What stands against these addresses, as the rule takes it: blacklist, withdrawn consent, records."""
    standing = systems.ledger.standing_opt_outs.of(company.key, emails)
    blacklisted = [each for each in standing if each.cause == BLACKLISTED]
    withdrawn = [
        Withdrawal(key, each.email, each.because, each.because, each.said_at)
        for each in standing
        if each.cause == EVIDENCE_WITHDRAWN and each.list_id == list_id
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


def _of_company(systems: Systems, company: CompanySettings, emails: Sequence[str]) -> dict[str, Any]:
    """Opt-outs of a company that keeps off the blacklist, and who subscribed again by themselves since."""
    if company.opt_out_scope != "company":
        return {}
    standing: list[StandingOptOut] = systems.ledger.standing_opt_outs.of(company.key, emails)
    since: dict[str, datetime] = {
        each.email: each.said_at for each in standing if each.cause == OPTED_OUT_OF_COMPANY
    }
    events = systems.ledger.consent.opt_outs_and_returns_of(since)
    return {
        "opted_out_of_company": since,
        "returned": returned_by_themselves(events, company.key),
    }
