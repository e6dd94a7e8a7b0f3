"""What the steps on the path of opt-outs report: what could not be read, asked or applied, and where."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mc_pipeline.domain.company_status import plain_words
from mc_pipeline.domain.consent.old_opt_outs import what_waits
from mc_pipeline.ledger.old_opt_outs import OldOptOutsRecord
from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.settings import CompanySettings
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.sync.opt_outs.hearing import Heard

NOT_REACHED = "not_reached"
"""Code of an audience, or an account, that cannot be read: the same of every step that meets it."""

ODOO, MAILCHIMP, BOTH = "Odoo", "Mailchimp", "both systems"

_DOCTOR = "If it fails again: mc-pipeline doctor {company}."


def account_trouble(company: CompanySettings, sentence: str) -> Trouble:
    """No audience of the company can be reached: its Mailchimp account is the place."""
    return Trouble(
        kind=TroubleKind.BROKEN,
        part="mailchimp",
        place=company.mailchimp,
        code=NOT_REACHED,
        sentence=sentence,
        what_to_do=(
            "Until an audience can be read, nothing is written to any. To find the cause: mc-pipeline "
            f"doctor {company.key}."
        ),
        owner=Owner.DATA_ENGINEERING,
    )


def not_heard(company: CompanySettings, heard: "Sequence[Heard]") -> list[Trouble]:
    """What of the audiences could not be read: all of them for one reason, or each separately."""
    unheard = [each for each in heard if each.trouble]
    if len(unheard) == len(company.audiences) and not all(each.gone for each in unheard):
        names = ", ".join(company.audiences)
        said = f"No audience of {company.key} can be read for opt-outs ({names}): {unheard[0].trouble}"
        return [account_trouble(company, said)]
    return [
        *(_unheard(company, each) for each in unheard),
        *(_doubt(company, each, what, why) for each in heard for what, why in each.doubts.items()),
    ]


def not_carried(company: CompanySettings, system: str, words: Iterable[str], undone: int) -> list[Trouble]:
    """What could not be asked or written while opt-outs were applied, in the words of the systems.

    ``undone``: rows that are not applied. Where words say why, they are not counted again.
    """
    found = [
        Trouble(
            kind=TroubleKind.BROKEN,
            part="opt_outs",
            place=system,
            code=_code_of(each),
            sentence=each,
            what_to_do=(
                "Not all opt-outs are applied; the next run tries again. "
                f"{_DOCTOR.format(company=company.key)}"
            ),
            owner=Owner.DATA_ENGINEERING,
        )
        for each in words
    ]
    if found or not undone:
        return found
    return [
        Trouble(
            kind=TroubleKind.BROKEN,
            part="opt_outs",
            place=system,
            code="not_carried",
            sentence=f"{undone:,} opt-outs are not applied to {system} yet."
            if undone != 1
            else f"1 opt-out is not applied to {system} yet.",
            what_to_do="The step's table gives the reason for each; the next run tries again.",
            owner=Owner.DATA_ENGINEERING,
        )
    ]


def not_unsubscribed(company: CompanySettings, troubles: Mapping[str, str], undone: int) -> list[Trouble]:
    """Audiences in which people who opted out in Odoo are not all unsubscribed, and why."""
    of_audiences = [
        Trouble(
            kind=TroubleKind.BROKEN,
            part="audience",
            place=audience,
            code=NOT_REACHED,
            sentence=f"Not everybody who opted out in Odoo is unsubscribed in {audience}: {words}",
            what_to_do=f"The next run tries again. {_DOCTOR.format(company=company.key)}",
            owner=Owner.DATA_ENGINEERING,
        )
        for audience, words in troubles.items()
        if audience in company.audiences
    ]
    others = [words for audience, words in troubles.items() if audience not in company.audiences]
    return [*of_audiences, *not_carried(company, MAILCHIMP, others, 0 if troubles else undone)]


def waiting_for_a_release(waiting: Iterable[OldOptOutsRecord]) -> list[Trouble]:
    """Old opt-outs, an audience each, that a person has to release."""
    return [
        Trouble(
            kind=TroubleKind.WAITS,
            part="audience",
            place=each.audience,
            code="old_opt_outs",
            sentence=what_waits(each),
            what_to_do=(
                "Look at them in Mailchimp; approve them with the job approve_plan, or: mc-pipeline "
                f"approve {each.plan_id}"
            ),
            owner=Owner.MARKETING_OPS,
        )
        for each in waiting
    ]


def _unheard(company: CompanySettings, heard: "Heard") -> Trouble:
    if heard.gone:
        sentence = f"{heard.audience} ({heard.list_id}) is no longer in Mailchimp. {heard.trouble}"
        what_to_do = "Correct its list_id in companies.yaml, or remove the audience there."
    else:
        sentence = f"{heard.audience} ({heard.list_id}) cannot be read for opt-outs: {heard.trouble}"
        what_to_do = (
            "Until it can be read, nobody is subscribed in any audience of the company. "
            f"{_DOCTOR.format(company=company.key)}"
        )
    return Trouble(
        kind=TroubleKind.BROKEN,
        part="audience",
        place=heard.audience,
        code=NOT_REACHED,
        sentence=sentence,
        what_to_do=what_to_do,
        owner=Owner.DATA_ENGINEERING,
    )


def _doubt(company: CompanySettings, heard: "Heard", what: str, why: str) -> Trouble:
    return Trouble(
        kind=TroubleKind.BROKEN,
        part="audience",
        place=heard.audience,
        code=f"not_heard_{what.replace(' ', '_')}",
        sentence=f"{heard.audience}: {what} cannot be read: {why}",
        what_to_do="The others are applied; the next run tries again. " + _DOCTOR.format(company=company.key),
        owner=Owner.DATA_ENGINEERING,
    )


def _code_of(words: str) -> str:
    """A name for a fault of which only the words are known: the same words have the same name."""
    return f"words_{hashlib.sha256(plain_words(words).encode()).hexdigest()[:8]}"
