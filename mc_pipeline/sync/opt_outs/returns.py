"""Looks at members who resubscribed themselves, right before that removes an opt-out in Odoo (rule 5.5).

A reported sign-up may have been followed by an opt-out that nobody reported: what counts is the member as
Mailchimp shows them at this moment. Somebody who cannot be asked about stays due, and holds up nobody else.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.consent.opt_outs_into_odoo import Member
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.lists import get_audience
from mc_pipeline.mailchimp.member_reading import get_member
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.masking import mask_text
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import MemberStatus

AT_MOST = 500
"""Members looked at for one decision; the others stay due, and are looked at by the next run."""

_WORKERS = 4


@dataclass
class LookedAt:
    """Members by what was seen: not subscribed, or not to be asked about; the rest are subscribed.

    ``troubles``: why members could not be asked about, by audience, in words without personal data.
    """

    not_subscribed: set[Member] = field(default_factory=set)
    not_asked: set[Member] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)


def look_at_members(systems: Systems, company: CompanySettings, members: Collection[Member]) -> LookedAt:
    """Ask Mailchimp for each of these members, one by one. Never raises an error of Mailchimp."""
    wanted = list(dict.fromkeys(members))
    found = LookedAt(not_asked=set(wanted[AT_MOST:]))
    names = {audience.list_id: key for key, audience in company.audiences.items()}
    moved = {
        (each.list_id, each.former): each.email for each in systems.ledger.changed_addresses.open(company.key)
    }
    for list_id, emails in _by_list(wanted[:AT_MOST]):
        audience = names.get(list_id, list_id)
        failures: dict[str, MailchimpError] = {}
        try:
            client = systems.mailchimp(company, impatient=True)
            present = {email: moved[list_id, email] for email in emails if (list_id, email) in moved}
            statuses = _statuses(client, list_id, emails, present, failures)
            if "" in statuses.values() and list_id in names and not _is_gone(systems, list_id):
                # Of an audience that is not there, Mailchimp says the same as of a member who is not.
                get_audience(client, list_id)
        except Exception as error:
            # Whatever is wrong with one audience, the people of the others are decided about.
            found.not_asked |= {(list_id, email) for email in emails}
            found.troubles.append(_said(audience, len(emails), error))
            continue
        found.not_asked |= {(list_id, email) for email in emails if email not in statuses}
        found.not_subscribed |= {
            (list_id, email) for email, status in statuses.items() if status != MemberStatus.SUBSCRIBED
        }
        if failures:
            found.troubles.append(_said(audience, len(failures), next(iter(failures.values()))))
    return found


def _by_list(members: Collection[Member]) -> Iterator[tuple[str, list[str]]]:
    for list_id in dict.fromkeys(list_id for list_id, _ in members):
        yield list_id, [email for of_list, email in members if of_list == list_id]


def _statuses(
    client: MailchimpClient,
    list_id: str,
    emails: Collection[str],
    present: Mapping[str, str],
    failures: dict[str, MailchimpError],
) -> dict[str, str]:
    """The status of each member, empty for none; those who could not be asked about are in ``failures``.

    ``present``: the address in Mailchimp of people who changed it there, while Odoo has the former one.
    """
    statuses: dict[str, str] = {}

    def ask(email: str) -> None:
        try:
            record = get_member(client, list_id, subscriber_hash(email))
            if record is None and email in present:
                record = get_member(client, list_id, subscriber_hash(present[email]))
        except MailchimpError as error:
            failures[email] = error
        else:
            statuses[email] = str(record["status"]) if record is not None else ""

    run_concurrently((partial(ask, email) for email in emails), _WORKERS, client.stop)
    return statuses


def _is_gone(systems: Systems, list_id: str) -> bool:
    """Whether the audience was deleted, as two hearings found."""
    return systems.ledger.hearings.states([list_id])[list_id].is_gone


def _said(audience: str, count: int, error: Exception) -> str:
    words = mask_text(str(error)) or type(error).__name__
    return (
        f"{audience}: {count:,} who resubscribed could not be checked, so their opt-out in Odoo stays for "
        f"now: {words}"
    )
