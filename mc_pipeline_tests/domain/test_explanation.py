"""Why a person is or is not in an audience, derived from the decision itself."""

from typing import Any

import pytest

from mc_pipeline.domain.contacts.explanation import explain_contact, explain_partner
from mc_pipeline_tests.domain.odoo_rows import (
    B2B_AND_B2C,
    company,
    company_partner,
    decided,
    order,
    partner,
)

SHARED = "shared@example.com"


def steps(email: str, *arguments: Any, **opinions: Any) -> list[tuple[str, str]]:
    return [(step.step, step.outcome) for step in explain_contact(decided(*arguments, **opinions), email)]


def test_a_contact_is_explained_from_partner_to_status() -> None:
    partners = [company_partner(1, None), partner(2, SHARED, parent_id=1), partner(3, SHARED, active=False)]
    decision = decided(partners, [order(1, 2, 1234.5)], company(B2B_AND_B2C))
    explained = explain_contact(decision, " Shared@Example.com ")
    assert [(step.step, step.outcome) for step in explained] == [
        ("partner", "person"),
        ("partner", "archived"),
        ("duplicates", "partner 2"),
        ("orders", "1"),
        ("rule wholesale", "matches"),
        ("audience", "wholesale"),
        ("status if new", "transactional"),
        ("tags", "none"),
    ]
    assert "1,234.50" in explained[3].sentence


def test_every_failed_condition_of_every_rule_is_named() -> None:
    settings = company({"vip": {"company_type": "company", "any_tag": [1], "countries": ["BE"]}})
    decision = decided([partner(1, country_code="BE")], [order(1, 1)], settings)
    explained = explain_contact(decision, "person1@example.com")
    assert [(step.step, step.outcome) for step in explained] == [
        ("partner", "person"),
        ("orders", "1"),
        ("rule vip", "no match"),
        ("set aside", "no_audience"),
    ]
    assert explained[2].sentence == (
        "Partner 1 does not meet: its commercial partner is a company, it has the tag 1."
    )


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (partner(1, is_employee=True), "employee"),
        (partner(1, message_bounce=99), "bounced"),
        (partner(1, active=False), "archived"),
    ],
)
def test_somebody_who_is_left_out_sees_the_reason_that_the_table_gives(
    row: dict[str, Any], outcome: str
) -> None:
    decision = decided([row], [order(1, 1)])
    explained = explain_partner(decision, 1)
    assert ("set aside", outcome) in [(step.step, step.outcome) for step in explained]
    assert sum(step.step == "set aside" for step in explained) == 1


def test_a_loser_of_a_shared_address_is_told_who_speaks_and_where_the_person_is() -> None:
    decision = decided([partner(1, SHARED), partner(2, SHARED)], [order(1, 2)])
    explained = [(step.step, step.outcome) for step in explain_partner(decision, 1)]
    assert ("set aside", "duplicate") in explained
    assert ("audience", "everyone") in explained


def test_an_unknown_address_or_partner_is_said_to_be_unknown() -> None:
    decision = decided([partner(1)], [order(1, 1)])
    for explained in (explain_contact(decision, "nobody@example.com"), explain_partner(decision, 99)):
        assert [(step.step, step.outcome) for step in explained] == [("partner", "not found")]


def test_an_address_of_archived_partners_only_stands_for_nobody() -> None:
    assert steps(SHARED, [partner(1, SHARED, active=False)], [order(1, 1)])[-1] == ("person", "none")


def test_no_sentence_carries_personal_data() -> None:
    partners = [
        company_partner(1, "secret@example.com", name="Secret"),
        partner(2, "secret@example.com", name="Secret", street="Secret 1", phone="secret"),
        partner(3, "secret broken", name="Secret"),
    ]
    decision = decided(partners, [order(1, 1), order(2, 2), order(3, 3)], company(B2B_AND_B2C))
    explained = explain_contact(decision, "secret@example.com") + explain_partner(decision, 3)
    assert "secret" not in " ".join(step.sentence + step.outcome for step in explained).lower()


def test_3_1_a_company_known_from_before_the_upgrade_of_odoo_is_reported_as_such() -> None:
    memory = {"company_known_by": "memory", "differs_without_memory": True}
    partners = [
        company_partner(1, None, **memory),
        partner(2, SHARED, parent_id=1, **{**memory, "differs_without_memory": False}),
    ]
    explained = explain_contact(decided(partners, [order(1, 2)], company(B2B_AND_B2C)), SHARED)
    outcomes = {step.sentence: step.outcome for step in explained if step.step == "company or person"}
    assert outcomes == {
        "Partner 2 is a person whose commercial partner is 1, known from before the upgrade of Odoo: its tax "
        "id and parent are as they were.": "person",
        "Partner 1 is a company, known from before the upgrade of Odoo: its tax id and parent are as they "
        "were. Without that the result would be different.": "company",
    }


@pytest.mark.parametrize(
    ("known_by", "because"),
    [
        ("contacts_below", "since contacts are below it in Odoo"),
        ("company_if", "by company_if of the settings"),
    ],
)
def test_3_1_by_what_a_new_partner_is_a_company_is_reported(known_by: str, because: str) -> None:
    explained = explain_contact(
        decided([company_partner(1, company_known_by=known_by)], [order(1, 1)]), "person1@example.com"
    )
    assert [step.sentence for step in explained if step.step == "company or person"] == [
        f"Partner 1 counts as a company {because}."
    ]
