"""Which audience a contact belongs to (rules 3)."""

from datetime import date
from typing import Any

import pytest

from mc_pipeline.domain.contacts.routing import agree_on_route
from mc_pipeline.domain.contacts.tags import TagCatalogue
from mc_pipeline.domain.errors import RuleError
from mc_pipeline_tests.domain.odoo_rows import (
    B2B_AND_B2C,
    TAGS,
    Row,
    audiences,
    built,
    company,
    company_partner,
    contact,
    order,
    partner,
    reasons,
)

SHARED = "shared@example.com"


def matches(when: dict[str, Any], *partners: Row, orders: list[Row] | None = None) -> bool:
    """Whether the last of the partners, who ordered, is taken by the rule."""
    last = partners[-1]["partner_id"]
    result = built(partners, orders or [order(1, last)], company({"only": {"when": when}}))
    assert (reasons(result).get(last) == "no_audience") == (last not in set(result.contacts["partner_id"]))
    return last in set(result.contacts["partner_id"])


# 3.1 judged on the commercial partner


def test_3_1_a_buyer_of_a_company_is_b2b_though_odoo_calls_the_contact_a_person() -> None:
    buyer = partner(2, parent_id=1)
    result = built(
        [company_partner(1, None), buyer, partner(3)], [order(1, 2), order(2, 3)], company(B2B_AND_B2C)
    )
    assert audiences(result) == {"person2@example.com": "wholesale", "person3@example.com": "retail"}


ACME = company_partner(1, None, country_code="BE", industry="Food", tags=[1], lang="nl_BE")
BUYER = partner(2, parent_id=1, country_code="FR", industry="Toys", tags=[3], lang="fr_FR")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, True),
        ({"company_type": "company"}, True),
        ({"company_type": "person"}, False),
        ({"countries": ["BE", "LU"]}, True),
        ({"countries": ["FR"]}, False),
        ({"industries": ["food"]}, True),
        ({"industries": ["Toys"]}, False),
        ({"any_tag": ["Wholesale", "Do not contact"]}, True),
        ({"any_tag": [3]}, True),
        ({"any_tag": ["Customers / VIP"]}, True),
        ({"any_tag": ["customers/vip"]}, True),
        ({"any_tag": ["VIP"]}, True),
        ({"any_tag": ["Reseller"]}, False),
        ({"all_tags": [1, 3]}, True),
        ({"all_tags": [1, 2]}, False),
        ({"no_tag": ["Reseller"]}, True),
        ({"no_tag": ["Wholesale"]}, False),
        ({"no_tag": [3]}, False),
        ({"languages": ["fr_FR"]}, True),
        ({"languages": ["fr"]}, True),
        ({"languages": ["nl_BE", "fr_BE"]}, False),
        ({"company_type": "company", "countries": ["BE"], "any_tag": [1], "languages": ["fr"]}, True),
        ({"company_type": "company", "countries": ["BE"], "any_tag": [2], "languages": ["fr"]}, False),
    ],
)
def test_3_1_company_facts_are_the_companys_tags_are_either_ones_language_is_the_contacts(
    when: dict[str, Any], expected: bool
) -> None:
    assert matches(when, ACME, BUYER) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"field": "total_spent", "at_least": 150}, True),
        ({"field": "total_spent", "at_least": 150.01}, False),
        ({"field": "total_spent", "at_most": 150}, True),
        ({"field": "total_spent", "at_most": 149}, False),
        ({"field": "order_count", "at_least": 2, "at_most": 2}, True),
        ({"field": "order_count", "at_least": 3}, False),
        ({"field": "last_order_date", "at_least": date(2024, 3, 1)}, True),
        ({"field": "last_order_date", "at_least": date(2024, 3, 2)}, False),
        ({"field": "first_order_date", "at_most": date(2023, 1, 1)}, True),
        ({"field": "first_order_date", "at_most": date(2022, 12, 31)}, False),
    ],
)
def test_3_1_amounts_are_the_persons_over_all_partners_and_both_ends_count_in(
    when: dict[str, Any], expected: bool
) -> None:
    orders = [order(1, 1, 100, day="2023-01-01"), order(2, 2, 50, day="2024-03-01")]
    assert matches({"amounts": [when]}, partner(1, SHARED), partner(2, SHARED), orders=orders) is expected


def test_3_1_a_person_without_orders_meets_no_bound_on_a_date() -> None:
    settings = company(
        {"recent": {"amounts": [{"field": "last_order_date", "at_most": date(2030, 1, 1)}]}},
        customers={"contacts": "order_and_children"},
    )
    result = built([company_partner(1), partner(2, parent_id=1)], [order(1, 1)], settings)
    assert reasons(result) == {2: "no_audience"}


@pytest.mark.parametrize(
    "when",
    [
        {"company_type": "person"},
        {"company_type": "company"},
        {"countries": ["BE"]},
        {"industries": ["Food"]},
        {"no_tag": [5]},
    ],
)
def test_3_1_nobody_is_routed_by_a_company_that_could_not_be_seen(when: dict[str, Any]) -> None:
    orphan = partner(2, country_code="BE", industry="Food", parent_id=77)
    assert not matches(when, orphan)


def test_3_1_an_archived_company_still_says_that_its_buyers_are_b2b() -> None:
    result = built(
        [company_partner(1, active=False), partner(2, parent_id=1)], [order(1, 2)], company(B2B_AND_B2C)
    )
    assert audiences(result) == {"person2@example.com": "wholesale"}


# 3.2 first match, duplicates, no match


def test_3_2_the_first_matching_rule_wins_in_the_order_of_the_settings() -> None:
    both = {"big": {"amounts": [{"field": "total_spent", "at_least": 50}]}, "all": {}}
    assert audiences(built([partner(1)], [order(1, 1)], company(both))) == {"person1@example.com": "big"}
    turned = dict(reversed(both.items()))
    assert audiences(built([partner(1)], [order(1, 1)], company(turned))) == {"person1@example.com": "all"}


def test_3_2_who_matches_nothing_is_in_no_audience_and_listed() -> None:
    result = built([partner(1)], [order(1, 1)], company({"wholesale": {"company_type": "company"}}))
    assert result.contacts.empty
    assert reasons(result) == {1: "no_audience"}


def test_3_2_a_person_who_is_b2b_and_b2c_is_b2b_whoever_ordered_last() -> None:
    partners = [company_partner(1, None), partner(2, SHARED, parent_id=1), partner(3, SHARED)]
    orders = [order(1, 2, day="2024-01-01"), order(2, 3, day="2024-02-01")]
    result = built(partners, orders, company(B2B_AND_B2C))
    person = contact(result, SHARED)
    assert (person["audience"], person["partner_id"]) == ("wholesale", 3)
    assert "retail" in person["audience_because"]


TWO_B2B = {
    "wholesale": {"company_type": "company", "any_tag": [1]},
    "resellers": {"company_type": "company"},
    "retail": {"company_type": "person", "countries": ["BE"]},
    "abroad": {"company_type": "person"},
}


@pytest.mark.parametrize(
    ("routes", "audience", "conflict"),
    [
        (["retail", "retail"], "retail", ()),
        (["retail", None], "retail", ()),
        ([None, None], None, ()),
        ([], None, ()),
        (["retail", "wholesale"], "wholesale", ()),
        (["retail", "abroad", "resellers"], "resellers", ()),
        (["retail", "abroad"], None, ("retail", "abroad")),
        (["resellers", "wholesale"], None, ("wholesale", "resellers")),
        (["resellers", "wholesale", "retail"], None, ("wholesale", "resellers", "retail")),
    ],
)
def test_3_2_partners_that_route_differently_go_to_the_one_b2b_audience_or_nowhere(
    routes: list[str | None], audience: str | None, conflict: tuple[str, ...]
) -> None:
    joint = agree_on_route(routes, company(TWO_B2B).audiences)
    assert (joint.audience, joint.conflict) == (audience, conflict)


@pytest.mark.parametrize(
    ("restrictive", "routes", "audience", "conflict"),
    [
        (["retail"], ["retail", "abroad"], "retail", ()),
        (["retail"], ["retail", "wholesale"], "retail", ()),
        (["retail"], ["abroad", "wholesale"], "wholesale", ()),
        (["retail"], ["retail", None], "retail", ()),
        (["resellers"], ["resellers", "wholesale", "retail"], "resellers", ()),
        (["retail", "wholesale"], ["retail", "wholesale"], "wholesale", ()),
        (["retail", "abroad"], ["retail", "abroad"], None, ("retail", "abroad")),
        # Both that are marked are above the one for companies, which is not.
        (["retail", "abroad"], ["retail", "abroad", "wholesale"], None, ("wholesale", "retail", "abroad")),
    ],
)
def test_3_2_the_audience_that_is_marked_restrictive_wins(
    restrictive: list[str], routes: list[str | None], audience: str | None, conflict: tuple[str, ...]
) -> None:
    settings = {key: {"when": rule, "restrictive": key in restrictive} for key, rule in TWO_B2B.items()}
    joint = agree_on_route(routes, company(settings).audiences)
    assert (joint.audience, joint.conflict) == (audience, conflict)


def test_3_2_it_is_reported_why_the_restrictive_audience_wins() -> None:
    partners = [company_partner(1, None), partner(2, SHARED, parent_id=1), partner(3, SHARED)]
    orders = [order(1, 2), order(2, 3)]
    marked = {key: {"when": rule, "restrictive": key == "retail"} for key, rule in B2B_AND_B2C.items()}
    person = contact(built(partners, orders, company(marked)), SHARED)
    assert person["audience"] == "retail"
    assert person["audience_because"].endswith(
        "(partners with the same address match wholesale too; the one that is restrictive wins)"
    )
    unmarked = contact(built(partners, orders, company(B2B_AND_B2C)), SHARED)
    assert unmarked["audience_because"].endswith("match retail too; the one for companies wins)")


def test_3_2_a_conflict_sets_the_person_aside_and_says_between_what() -> None:
    partners = [partner(1, SHARED, country_code="BE"), partner(2, SHARED, country_code="FR")]
    result = built(partners, [order(1, 1)], company(TWO_B2B))
    assert result.contacts.empty
    assert reasons(result) == {1: "conflicting_routes", 2: "duplicate"}
    assert "retail, abroad" in result.set_aside["detail"].iloc[0]


# 3.3 conditions are data


def test_3_3_a_bare_tag_name_that_two_tags_have_is_refused_with_their_ids() -> None:
    settings = company({"vip": {"any_tag": ["VIP"]}})
    with pytest.raises(
        RuleError, match=r"'VIP' fits several tags: 3 \(Customers / VIP\), 4 \(Suppliers / VIP\)"
    ):
        built([partner(1, tags=[3]), partner(2, tags=[4])], [order(1, 1)], settings)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        (3, 3),
        ("Customers / VIP", 3),
        ("Suppliers/VIP", 4),
        ("wholesale", 1),
        (99, 99),
        ("Nobody has it", None),
    ],
)
def test_3_3_a_tag_is_found_by_id_full_path_or_unambiguous_name(name: str | int, tag: int | None) -> None:
    assert TagCatalogue(TAGS).find(name) == tag


def test_3_3_a_name_that_is_one_tags_full_path_and_the_end_of_another_is_refused() -> None:
    with pytest.raises(RuleError, match="fits several tags"):
        TagCatalogue({1: "VIP", 2: "Customers / VIP"}).find("VIP")


@pytest.mark.parametrize("name", ["Wholsale", 99])
def test_3_3_a_tag_that_odoo_does_not_have_is_refused_when_all_tags_are_known(name: str | int) -> None:
    settings = company({"all": {"no_tag": [name]}})
    with pytest.raises(RuleError, match=str(name)):
        built([partner(1)], [order(1, 1)], settings, known_tags=TAGS)


def test_3_3_a_tag_that_nobody_has_is_noted_when_not_all_tags_are_known() -> None:
    result = built([partner(1)], [order(1, 1)], company({"all": {"no_tag": ["Wholsale"]}}))
    assert result.notes == (
        "audiences.all.when.no_tag: nobody has the tag 'Wholsale' in Odoo; check its name",
    )


def test_3_3_an_industry_by_number_is_refused_since_partners_carry_its_name() -> None:
    with pytest.raises(RuleError, match="industries: 4"):
        built([partner(1)], [order(1, 1)], company({"all": {"industries": [4]}}))


def test_3_3_the_reason_of_an_audience_names_the_conditions_met() -> None:
    when = {"company_type": "company", "countries": ["BE"], "any_tag": [1],
            "amounts": [{"field": "total_spent", "at_least": 50}]}  # fmt: skip
    result = built([ACME, BUYER], [order(1, 2)], company({"wholesale": {"when": when}}))
    assert contact(result, "person2@example.com")["audience_because"] == (
        "first matching rule: its commercial partner is a company, the country is BE, "
        "it has the tag Wholesale, total_spent is at least 50"
    )
