"""Asks one company's Odoo what was said about opt-outs since the last time, and writes it into the ledger.

Both writers of a company do this, each when it needs to know: what Odoo says is kept by its own dates, so
that it does not matter who asked last.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD, MAILING_LIST
from mc_pipeline.domain.consent.withdrawals import WithdrawnConsent
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, EVIDENCE_WITHDRAWN, StandingOptOut
from mc_pipeline.masking import mask_text
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.odoo.opt_outs_since import (
    SaidInOdoo,
    blacklist_since,
    cleared_since,
    list_opt_outs_since,
    next_since,
)
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.erased_people import ErasedPeople
from mc_pipeline.sync.opt_outs.following import withdrawn_by
from mc_pipeline.sync.systems import Systems

BLACKLIST, LISTS = "blacklist", "mailing lists"
FIELD = "field "


@dataclass
class AskedOdoo:
    """What is new, and what could not be asked, by subject, with Odoo's words."""

    news: list[StandingOptOut] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)


def ask_odoo(systems: Systems, company: CompanySettings) -> AskedOdoo:
    """Ask about the blacklist, mailing lists and consent fields, each separately."""
    asked = AskedOdoo()
    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    for subject, ask in questions(systems, company):
        began = systems.now()
        try:
            said = ask(systems.ledger.hearings.odoo_read_until(company.key, subject))
            standing = what_stands(systems, company, subject, said)
            news = systems.ledger.standing_opt_outs.say(standing, lists.values())
            asked.news += news
            _decide_again(systems, company, news)
            read_until = next_since((each.at for each in said), began)
            systems.ledger.hearings.odoo_heard(company.key, subject, read_until)
        except Exception as error:
            # Whatever is wrong with one subject, the others are asked about; this one is asked again.
            asked.troubles[subject] = words_of(error)
    return asked


def words_of(error: Exception) -> str:
    """Odoo's own words, or what kind of trouble it is; without personal data."""
    return error.message if isinstance(error, OdooError) else mask_text(str(error)) or type(error).__name__


Question = Callable[[datetime | None], list[SaidInOdoo]]


def questions(systems: Systems, company: CompanySettings) -> Iterable[tuple[str, Question]]:
    """What Odoo is asked for a company, by subject; each question is asked since a moment."""
    rules = [audience.consent for audience in company.audiences.values() if audience.consent]
    yield BLACKLIST, lambda since: blacklist_since(systems.odoo(company), since)
    if any(rule.mailing_list is not None for rule in rules):
        yield LISTS, lambda since: list_opt_outs_since(systems.odoo(company), since)
    for name in dict.fromkeys(rule.boolean_field for rule in rules if rule.boolean_field):
        yield f"{FIELD}{name}", _cleared(systems, company, name)


def what_stands(
    systems: Systems, company: CompanySettings, subject: str, said: Iterable[SaidInOdoo]
) -> list[StandingOptOut]:
    """What the answer to a question means for the company's audiences.

    Of somebody who was erased only what is news: that the row stands is kept under the pseudonym.
    """
    erased = systems.erased
    if subject == BLACKLIST:
        standing = [_blacklisted(company.key, each) for each in said]
        others = [each for each in standing if not erased.includes(each.email)]
        theirs = [each for each in standing if erased.includes(each.email)]
        return others + list(_of_erased(systems, erased, theirs))
    # We subscribed none of them again: no consent of theirs was used.
    return list(
        _withdrawn(systems, company, subject, [each for each in said if not erased.includes(each.email)])
    )


def _of_erased(
    systems: Systems, erased: ErasedPeople, standing: Iterable[StandingOptOut]
) -> Iterable[StandingOptOut]:
    latest = {each.email: each for each in sorted(standing, key=lambda each: each.said_at)}
    for email, each in latest.items():
        pseudonym = erased.pseudonym_of(email)
        if pseudonym is None:
            continue
        under_it = replace(each, email=pseudonym)
        if systems.ledger.standing_opt_outs.is_news(under_it):
            # People who are out have to be found in Mailchimp by the address; those who no longer are do not.
            yield each if each.active else under_it


def _cleared(systems: Systems, company: CompanySettings, name: str) -> Question:
    def ask(since: datetime | None) -> list[SaidInOdoo]:
        # What was cleared before the first question is found by the next comparison of everything.
        return [] if since is None else cleared_since(systems.odoo(company), name, since)

    return ask


def _blacklisted(company: str, said: SaidInOdoo) -> StandingOptOut:
    return StandingOptOut(
        company=company, email=said.email, cause=BLACKLISTED, active=said.out, said_at=said.at
    )


def _withdrawn(
    systems: Systems, company: CompanySettings, subject: str, said: list[SaidInOdoo]
) -> Iterable[StandingOptOut]:
    """Consent that members were subscribed on and that is taken back: for the audiences that used it.

    That it stands no longer is found by the next comparison of everything: of several records, a no wins.
    """
    kind, source = (MAILING_LIST, None) if subject == LISTS else (BOOLEAN_FIELD, subject.removeprefix(FIELD))
    for each in withdrawn_by(systems, company, kind, source, said):
        yield standing_withdrawal(company.key, each)


def standing_withdrawal(company: str, withdrawn: WithdrawnConsent) -> StandingOptOut:
    """Withdrawn consent as it stands against one member."""
    return StandingOptOut(
        company=company,
        email=withdrawn.email,
        list_id=withdrawn.list_id,
        cause=EVIDENCE_WITHDRAWN,
        said_at=withdrawn.at,
        because=withdrawn.because,
    )


def _decide_again(systems: Systems, company: CompanySettings, news: list[StandingOptOut]) -> None:
    """A blacklist entry that changed may contradict what Mailchimp said: the person is decided about
    again."""
    changed = [each.email for each in news if each.cause == BLACKLISTED and "@" in each.email]
    concerned = {event.email for event in systems.ledger.consent.opt_outs_and_returns_of(changed)}
    systems.ledger.due_in_odoo.add(company.key, concerned)
