"""Checks whether a company has opt-outs to apply; changes nothing.

Four small requests an audience, one to Odoo, and two more where mailing lists stand for consent.
What is found is compared with what the ledger knows, so that it is news until a run has recorded it, whatever
was looked at before. What cannot be looked at is named, and the rest is looked at.
"""

from dataclasses import dataclass, field

from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpAuthenticationError
from mc_pipeline.mailchimp.opt_out_reading import OVERLAP, newest_changes
from mc_pipeline.masking import mask_text
from mc_pipeline.odoo.errors import OdooAccessError, OdooAuthenticationError, OdooFieldMissingError
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.asking_odoo import BLACKLIST, LISTS, Question, questions, what_stands, words_of
from mc_pipeline.sync.opt_outs.erased import opt_outs_of, unrecorded
from mc_pipeline.sync.opt_outs.questions import questions_about
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import OPTED_OUT_STATUSES, EventSource, MemberStatus

_LOOKED_AT = (
    MemberStatus.UNSUBSCRIBED,
    MemberStatus.CLEANED,
    MemberStatus.ARCHIVED,
    MemberStatus.SUBSCRIBED,
)


@dataclass(frozen=True)
class Trouble:
    """Why a place could not be looked at, in its words; ``is_refused``: the key or login is refused."""

    words: str
    is_refused: bool = False


@dataclass
class Look:
    """What is new, in words without personal data, and what could not be looked at, by place."""

    news: list[str] = field(default_factory=list)
    troubles: dict[str, Trouble] = field(default_factory=dict)


def look(systems: Systems, company: CompanySettings) -> Look:
    """Look at the inbox, at every audience, at Odoo, and at what earlier runs left due."""
    found = Look()
    ledger = systems.ledger
    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    waiting = ledger.inbox.count_waiting(lists.values())
    if waiting:
        found.news.append(f"{waiting:,} deliveries of webhooks")
    due = ledger.due_in_odoo.count_due(company.key, without_failed=True)
    if due:
        found.news.append(f"{due:,} addresses are due in Odoo")
    for audience, list_id in lists.items():
        try:
            found.news += _news_of(systems, systems.mailchimp(company, impatient=True), audience, list_id)
            # While the audience cannot be asked, no run could do anything about them.
            asked_later = ledger.opt_out_questions.count([list_id], without_failed=True)
            if asked_later:
                found.news.append(f"{audience}: {asked_later:,} members are to be asked about")
            members = ledger.standing_opt_outs.count_due(company.key, [list_id], without_failed=True)
            if members:
                found.news.append(f"{audience}: {members:,} members are due in Mailchimp")
        except Exception as error:
            is_refused = isinstance(error, MailchimpAuthenticationError)
            words = mask_text(str(error)) or type(error).__name__
            found.troubles[f"audience {audience}"] = Trouble(words, is_refused)
    for subject, ask in questions(systems, company):
        if subject not in (BLACKLIST, LISTS):
            # Every partner written since would be read each minute; a run asks about fields.
            continue
        try:
            found.news += _news_of_odoo(systems, company, subject, ask)
        except (OdooAccessError, OdooFieldMissingError) as error:
            found.troubles[f"Odoo's {subject}"] = Trouble(words_of(error))
        except Exception as error:
            # The other subjects would wait for the same.
            is_refused = isinstance(error, OdooAuthenticationError)
            found.troubles["Odoo"] = Trouble(words_of(error), is_refused)
            break
    return found


def _news_of(systems: Systems, client: MailchimpClient, audience: str, list_id: str) -> list[str]:
    ledger = systems.ledger
    read_until = ledger.opt_out_reads.read_until([list_id])
    if list_id not in read_until:
        # Whether it can be read at all.
        newest_changes(client, list_id, MemberStatus.UNSUBSCRIBED, systems.now())
        return [f"{audience}, which was never read for opt-outs"]
    since = read_until[list_id] - OVERLAP
    news = []
    for status in _LOOKED_AT:
        erased = systems.erased
        rows, theirs = erased.split(newest_changes(client, list_id, status, since))
        again = len(questions_about(client, ledger, list_id, rows, since))
        if again:
            news.append(f"{audience}: {again:,} {status} as before, and changed")
        emails = list(rows["email"])
        if status == MemberStatus.SUBSCRIBED:
            emails = sorted(ledger.members.with_opt_outs(list_id, emails) & set(emails))
        known = ledger.members.last_statuses(list_id, emails)
        count = sum(known.get(email) != status for email in emails)
        if status in OPTED_OUT_STATUSES:
            opt_outs = opt_outs_of(ledger, "", audience, list_id, theirs, EventSource.POLL)
            count += len(unrecorded(ledger, erased, opt_outs))
        if count:
            news.append(f"{audience}: {count:,} {status}")
    return news


def _news_of_odoo(systems: Systems, company: CompanySettings, subject: str, ask: Question) -> list[str]:
    read_until = systems.ledger.hearings.odoo_read_until(company.key, subject)
    if read_until is None:
        # Whether it can be read at all.
        ask(systems.now())
        return [f"Odoo's {subject}, never read for opt-outs"]
    said = what_stands(systems, company, subject, ask(read_until))
    count = systems.ledger.standing_opt_outs.count_news(said)
    return [f"Odoo's {subject}: {count:,} changes"] if count else []
