"""Why a person is or is not in an audience, step by step, derived from the decision itself.

Nothing is decided here a second time: each step reads what ``contacts.decide`` found. Sentences contain ids
of Odoo and no personal data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mc_pipeline.domain.columns import texts
from mc_pipeline.domain.contacts.company_records import COMPANY_IF, CONTACTS_BELOW, MEMORY, ODOO
from mc_pipeline.domain.contacts.contacts import Decision, list_contacts, list_set_aside
from mc_pipeline.domain.contacts.routing import judge_conditions


@dataclass(frozen=True)
class ExplanationStep:
    """One step of a decision: which, what came of it in a word, and why in a sentence."""

    step: str
    outcome: str
    sentence: str


def explain_contact(decision: Decision, email: str) -> list[ExplanationStep]:
    """Explain what was decided about an address: its partners first, then the person.

    An address that no partner has gives one step that says so.
    """
    address = email.strip().lower()
    partners = decision.partners[decision.partners["person_email"] == address]
    if partners.empty:
        return [
            ExplanationStep("partner", "not found", "No partner of this company has this address in Odoo.")
        ]
    steps = [_partner_step(row) for row in partners.to_dict("records")]
    if address in decision.persons.index:
        steps.extend(_person_steps(decision, address))
    else:
        steps.append(ExplanationStep("person", "none", "No partner with this address counts as a person."))
    return steps


def explain_partner(decision: Decision, partner_id: int) -> list[ExplanationStep]:
    """Explain what was decided about one partner, and about its person where it stands for one."""
    found = decision.partners[decision.partners["partner_id"] == partner_id]
    if found.empty:
        return [ExplanationStep("partner", "not found", f"This company has no partner {partner_id} in Odoo.")]
    row = found.iloc[0]
    steps = [_partner_step(row)]
    if not row["is_person"] or decision.persons["winner"].get(row["person_email"]) != partner_id:
        steps.extend(_set_aside_steps(decision, partner_id))
    if row["is_person"]:
        steps.extend(_person_steps(decision, row["person_email"]))
    return steps


def _partner_step(row: Any) -> ExplanationStep:
    partner = f"Partner {row['partner_id']}"
    if row["excluded_as"]:
        return ExplanationStep("partner", row["excluded_as"], f"{partner} does not count as a contact.")
    if row["email_problem"]:
        return ExplanationStep("partner", row["email_problem"], f"{partner} has no usable e-mail address.")
    sentence = f"{partner} counts as a person"
    if row["several_addresses"]:
        sentence += "; its e-mail field holds several addresses, the first is used"
    return ExplanationStep("partner", "person", f"{sentence}.")


def _person_steps(decision: Decision, address: str) -> Iterator[ExplanationStep]:
    person: Mapping[Any, Any] = decision.persons[decision.persons.index == address].to_dict("records")[0]
    winner = person["winner"]
    if len(person["partner_ids"]) > 1:
        others = ", ".join(str(partner) for partner in person["partner_ids"][1:])
        sentence = f"Partner {winner} is the winner for the address, not {others}."
        yield ExplanationStep("duplicates", f"partner {winner}", sentence)
    yield _orders_step(person)
    yield from _company_steps(decision, address)
    if person["reason"] in ("", "conflicting_routes", "no_audience"):
        yield from _routing_steps(decision, address)
    if not person["reason"]:
        yield from _contact_steps(decision, address)
    yield from _set_aside_steps(decision, winner)


def _contact_steps(decision: Decision, address: str) -> Iterator[ExplanationStep]:
    contact = list_contacts(decision, [address]).iloc[0]
    yield ExplanationStep("audience", contact["audience"], _sentence(contact["audience_because"]))
    status = contact["status_for_new"] or "not created"
    yield ExplanationStep("status if new", status, _sentence(contact["status_because"]))
    tags = ", ".join(contact["tags"]) or "none"
    yield ExplanationStep("tags", tags, "Tags of the settings that the member should have.")


def _orders_step(person: Mapping[Any, Any]) -> ExplanationStep:
    count = person["order_count"]
    if count:
        since, until = person["first_order_day"].date(), person["last_order_day"].date()
        sentence = (
            f"Confirmed orders from {since} to {until}, worth {person['total_spent']:,.2f} without tax."
        )
    elif person["is_contact_person"]:
        sentence = "No confirmed order, but a contact person of a customer."
    else:
        sentence = "No confirmed order in this company."
    return ExplanationStep("orders", str(count), sentence)


_COMPANY_BECAUSE = {
    CONTACTS_BELOW: "since contacts are below it in Odoo",
    COMPANY_IF: "by company_if of the settings",
}


def _company_steps(decision: Decision, address: str) -> Iterator[ExplanationStep]:
    """Say how it is known who is a company, for partners of an Odoo without company types.

    Company type, country and industry are those of the commercial partner.
    """
    partners = decision.partners.set_index("partner_id")
    known_by = texts(partners, "company_known_by")
    theirs = partners[(partners["person_email"] == address) & partners["is_person"]]
    explained = set()
    for partner, row in theirs.iterrows():
        commercial = row["commercial_partner_id"]
        if commercial not in partners.index:
            continue
        for number in dict.fromkeys((partner, commercial)):
            because = known_by[number]
            if number in explained or because in (None, ODOO):
                continue
            explained.add(number)
            kind = "company" if partners["is_company"][number] else "person"
            if because == MEMORY:
                other = partners["commercial_partner_id"][number]
                below = f" whose commercial partner is {other}" if other != number else ""
                sentence = (
                    f"Partner {number} is a {kind}{below}, known from before the upgrade of Odoo: its tax id "
                    "and parent are as they were."
                )
                if partners["differs_without_memory"][number]:
                    sentence += " Without that the result would be different."
            else:
                sentence = f"Partner {number} counts as a company {_COMPANY_BECAUSE[because]}."
            yield ExplanationStep("company or person", kind, sentence)


def _routing_steps(decision: Decision, address: str) -> Iterator[ExplanationStep]:
    """Say for every partner of the person which conditions of which audience failed, until one matched."""
    rows = decision.facts.rows
    for position in np.flatnonzero((rows["person_email"] == address).to_numpy()):
        partner = rows["partner_id"].iloc[position]
        for key, audience in decision.company.audiences.items():
            conditions = judge_conditions(audience.when, decision.facts, decision.catalogue)
            failed = [condition.wanted for condition in conditions if not condition.holds[position]]
            if not failed:
                yield ExplanationStep(f"rule {key}", "matches", f"Partner {partner} meets every condition.")
                break
            sentence = f"Partner {partner} does not meet: {', '.join(failed)}."
            yield ExplanationStep(f"rule {key}", "no match", sentence)


def _set_aside_steps(decision: Decision, partner_id: int) -> Iterator[ExplanationStep]:
    for _, row in list_set_aside(decision, [partner_id]).iterrows():
        sentence = f"Partner {partner_id} {row['detail']}. {row['fix']}"
        yield ExplanationStep("set aside", row["reason"], sentence)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
