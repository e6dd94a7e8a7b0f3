"""Contacts and set-aside partners as whole tables, and what is always true of them."""

import json
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.contacts.contacts import ContactsResult, build_contacts
from mc_pipeline.domain.contacts.merge_fields import TEXT_BYTES
from mc_pipeline.domain.contacts.people import (
    NEVER,
    attribute_orders,
    judge_partners,
    sum_purchases,
)
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import schemas
from mc_pipeline_tests.domain.odoo_rows import (
    B2B_AND_B2C,
    Row,
    audiences,
    built,
    company,
    company_partner,
    contact,
    contact_inputs,
    order,
    orders_table,
    partner,
    partners_table,
    reasons,
    subscription,
)

# the tables


def test_the_tables_are_the_ones_that_are_stored_empty_ones_too() -> None:
    for result in (built([], []), built([partner(1), partner(2)], [order(1, 1)])):
        for schema, rows in ((schemas.CONTACTS, result.contacts), (schemas.SET_ASIDE, result.set_aside)):
            assert list(rows.columns) == schema.names
            pd.testing.assert_frame_equal(
                schema.to_pandas(schema.to_arrow(rows)), rows.reset_index(drop=True), check_dtype=False
            )


FIELDS = {
    "merge_fields": {
        "FNAME": "first_name",
        "LNAME": "last_name",
        "COMPANY": "company_name",
        "ADDRESS": "address",
        "PHONE": "phone",
        "LANG": "language",
        "ORDERS": "order_count",
        "SPENT": "total_spent",
        "LAST": "last_order_date",
    }
}


def fields_of(row: Row) -> dict[str, Any]:
    result = built(
        [row], [order(1, row["partner_id"], 99.9)], company({"all": FIELDS}, languages={"fr_BE": "fr"})
    )
    return json.loads(contact(result, row["email"])["merge_fields_json"])


def test_6_4_a_persons_fields() -> None:
    ada = partner(
        1,
        name="Ada L.",
        first_name="Ada",
        last_name="Lovelace",
        company_name="Engines",
        street="Rue 1",
        zip="1000",
        city="Brussels",
        state="Brussels",
        country_code="BE",
        phone="+32 2 000",
        lang="fr_BE",
    )
    assert fields_of(ada) == {
        "FNAME": "Ada",
        "LNAME": "Lovelace",
        "COMPANY": "Engines",
        "ADDRESS": {"addr1": "Rue 1", "addr2": "", "city": "Brussels", "country": "BE", "state": "Brussels",
                    "zip": "1000"},
        "PHONE": "+32 2 000",
        "LANG": "fr",
        "ORDERS": 1,
        "SPENT": 99.9,
        "LAST": "2024-06-01",
    }  # fmt: skip


def test_6_4_a_company_is_named_in_company_and_an_unmapped_language_is_empty() -> None:
    assert fields_of(company_partner(1, name="Engines", lang="nl_BE")) == {
        "FNAME": "", "LNAME": "", "COMPANY": "Engines", "ADDRESS": "", "PHONE": "", "LANG": "", "ORDERS": 1,
        "SPENT": 99.9, "LAST": "2024-06-01",
    }  # fmt: skip


def test_6_4_an_incomplete_address_is_left_out() -> None:
    assert "ADDRESS" not in fields_of(partner(1, street="Rue 1", city="Brussels"))


def test_6_4_the_contacts_own_columns_hold_the_same_values() -> None:
    row = partner(
        1, name="Ada", street="Rue 1", zip="1000", city="B", state="B", country_code="BE", lang="fr_BE"
    )
    result = built([row], [order(1, 1)], company(languages={"fr_BE": "fr"}))
    found = contact(result, "person1@example.com")
    assert (found["first_name"], found["last_name"], found["language"]) == ("Ada", None, "fr")
    assert json.loads(found["address_json"])["zip"] == "1000"


def test_tags_are_those_of_the_audience_always_or_by_what_the_person_bought() -> None:
    tags = {"B2B": "always", "VIP": {"field": "total_spent", "at_least": 150}, "AAA": "always"}
    settings_ = company(
        {"wholesale": {"when": {"company_type": "company"}, "tags": tags},
         "retail": {"when": {"company_type": "person"}, "tags": {"B2C": "always"}}}
    )  # fmt: skip
    partners = [company_partner(1), company_partner(2), partner(3)]
    result = built(partners, [order(1, 1, 100), order(2, 2, 150), order(3, 3, 500)], settings_)
    assert dict(zip(result.contacts["partner_id"], result.contacts["tags"], strict=True)) == {
        1: ["AAA", "B2B"],
        2: ["AAA", "B2B", "VIP"],
        3: ["B2C"],
    }


def test_a_contacts_name_and_address_are_the_winners_and_not_mixed() -> None:
    shared = "shared@example.com"
    partners = [partner(1, shared, name="Old", phone="1"), partner(2, shared, name="New")]
    found = contact(built(partners, [order(1, 2), order(2, 1, day="2020-01-01")]), shared)
    assert (found["name"], found["phone"]) == ("New", None)


# what is always true


ADDRESSES = [
    None,
    "broken",
    "a@example.com",
    "B@Example.com",
    "b@example.com",
    "c@example.com",
    "d@example.com",
]
PARTNER = st.fixed_dictionaries(
    {
        "email": st.sampled_from(ADDRESSES),
        "active": st.sampled_from([True, True, True, False]),
        "type": st.sampled_from(["contact", "contact", "contact", "delivery"]),
        "is_company": st.booleans(),
        "parent": st.none() | st.integers(1, 8),
        "special": st.sampled_from([None] * 12 + ["is_internal_user", "is_employee", "is_own_company",
                                                  "is_public_or_template_user"]),
        "supplier_rank": st.sampled_from([0, 0, 1]),
        "message_bounce": st.sampled_from([0, 0, 0, 9]),
        "is_blacklisted": st.sampled_from([False, False, True]),
        "consents": st.sampled_from([None, None, True, False]),
        "tags": st.lists(st.sampled_from([1, 2, 5]), max_size=2, unique=True),
        "name": st.text(max_size=300),
    }
)  # fmt: skip
ORDER = st.fixed_dictionaries(
    {
        "partner_id": st.integers(1, 10),
        "partner_invoice_id": st.integers(1, 10),
        "state": st.sampled_from(["sale", "sale", "cancel"]),
        "amount": st.integers(-50_000, 500_000).map(lambda cents: cents / 100),
        "day": st.sampled_from(["2022-01-01", "2023-06-15", "2024-02-29"]),
    }
)
COMPANY = st.builds(
    company,
    st.just(
        {
            "wholesale": {"when": {"company_type": "company", "any_tag": [1, 2]},
                          "merge_fields": {"NAME": "name", "FNAME": "first_name"}},
            "resellers": {"when": {"company_type": "company", "no_tag": [5]}},
            "retail": {"when": {"company_type": "person", "no_tag": [5]},
                       "consent": {"mailing_list": "Newsletter", "without_evidence": "leave_out"}},
        }
    ),
    duplicates=st.sampled_from(["most_recent_order", "set_aside"]),
    exclude_suppliers=st.booleans(),
    customers=st.sampled_from([{"contacts": "order"}, {"contacts": "order_and_children"}]),
)  # fmt: skip
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rows_of(drawn: list[dict[str, Any]]) -> list[Row]:
    """Partners numbered from 1; the commercial partner is the topmost company, as Odoo has it."""
    rows = []
    for number, values in enumerate(drawn, 1):
        given_ = dict(values)
        parent, special, consents = given_.pop("parent"), given_.pop("special"), given_.pop("consents")
        email = given_.pop("email")
        normalized = email.lower() if email and "@" in email else None
        evidence = [] if consents is None else [subscription(normalized or "", opted_out=not consents)]
        parent = parent if parent is not None and parent < number else None
        commercial = number
        if parent is not None and not given_["is_company"]:
            commercial = rows[parent - 1]["commercial_partner_id"]
        special_values = {special: True} if special else {}
        rows.append(
            partner(number, email, parent_id=parent, evidence=evidence if normalized else [],
                    **given_, **special_values) | {"commercial_partner_id": commercial}
        )  # fmt: skip
    return rows


def orders_of(drawn: list[dict[str, Any]]) -> list[Row]:
    return [
        order(number, values["partner_id"], values["amount"], day=values["day"], state=values["state"],
              partner_invoice_id=values["partner_invoice_id"])
        for number, values in enumerate(drawn, 1)
    ]  # fmt: skip


def assert_same(left: ContactsResult, right: ContactsResult) -> None:
    pd.testing.assert_frame_equal(left.contacts, right.contacts)
    pd.testing.assert_frame_equal(left.set_aside, right.set_aside)
    pd.testing.assert_frame_equal(left.unattributed_orders, right.unattributed_orders)


@FEW
@given(
    st.lists(PARTNER, max_size=8), st.lists(ORDER, max_size=12), COMPANY, st.randoms(use_true_random=False)
)
def test_every_partner_has_one_place_and_the_decision_depends_on_nothing_else(
    drawn_partners: list[dict[str, Any]],
    drawn_orders: list[dict[str, Any]],
    settings_: CompanySettings,
    random: Any,
) -> None:
    partners, orders = rows_of(drawn_partners), orders_of(drawn_orders)
    partner_rows, order_rows = partners_table(partners), orders_table(orders)
    before = partner_rows.copy(deep=True), order_rows.copy(deep=True)
    options: dict[str, Any] = {"opted_out_emails": {"c@example.com"}}
    result = build_contacts(contact_inputs(partner_rows, order_rows, settings_, **options))

    # The inputs are left as they were, and the same decision comes again, in whatever order rows come.
    pd.testing.assert_frame_equal(partner_rows, before[0])
    pd.testing.assert_frame_equal(order_rows, before[1])
    random.shuffle(partners)
    random.shuffle(orders)
    assert_same(
        result,
        build_contacts(contact_inputs(partners_table(partners), orders_table(orders), settings_, **options)),
    )

    # Every partner either speaks for a contact or is set aside, once; both only when not created.
    set_aside = result.set_aside.set_index("partner_id")
    winners = result.contacts.set_index("partner_id")
    assert set_aside.index.is_unique
    assert winners.index.is_unique
    assert set(set_aside.index) | set(winners.index) == {row["partner_id"] for row in partners}
    for both in set(set_aside.index) & set(winners.index):
        assert winners.loc[both, "status_for_new"] == ""
        assert set_aside.loc[both, "reason"] in ("duplicate", "without_evidence")

    # Nobody who is never a contact is one, through whichever partner; nobody who opted out is subscribed.
    by_id = {row["partner_id"]: row for row in partners}
    excluded = {
        by_id[number]["email_normalized"]
        for number, reason in reasons(result).items()
        if reason in NEVER and by_id[number]["email_normalized"]
    }
    emails = set(result.contacts["email"])
    assert not emails & excluded
    for row in result.contacts.to_dict("records"):
        sharing = [other for other in partners if other["email_normalized"] == row["email"]]
        assert sorted(row["partner_ids"]) == sorted(other["partner_id"] for other in sharing)
        assert row["partner_ids"][0] == row["partner_id"]
        if row["email"] == "c@example.com" or any(
            '"opted_out": true' in other["evidence_json"] for other in sharing
        ):
            assert row["status_for_new"] in ("", "transactional")
        if any(other["is_blacklisted"] for other in sharing):
            assert row["status_for_new"] == ""
        for value in json.loads(row["merge_fields_json"]).values():
            assert len(value.encode("utf-8")) <= TEXT_BYTES

    # People who share an address: all but one point to the one who speaks for it. Who stands for a person
    # is not shown by the reasons: the contact that stands for an employee's address is set aside as that
    # employee.
    judged = judge_partners(partner_rows)
    people = Counter(judged.loc[judged["is_person"] & judged["person_email"].notna(), "person_email"])
    pointing = set_aside[set_aside["duplicate_of"].notna()]
    shared = set(pointing.index) | set(pointing["duplicate_of"])
    assert len(shared) == sum(count for count in people.values() if count > 1)

    # No money is lost or counted twice.
    attributed = attribute_orders(judged, order_rows)
    purchases = sum_purchases(attributed)
    nobodys = attributed.loc[attributed["person_email"].isna(), "kept_units"].sum() / 10_000
    kept = [round(row["kept_untaxed_company"] * 100) for row in orders if row["state"] == "sale"]
    ordered = sum(max(0, cents) for cents in kept)
    assert round((purchases["total_spent"].sum() + nobodys) * 100) == ordered
    assert purchases["order_count"].sum() + len(result.unattributed_orders) == sum(
        row["state"] == "sale" for row in orders
    )
    spent = result.contacts.set_index("email")["total_spent"]
    assert spent[spent != 0].to_dict().items() <= purchases["total_spent"].to_dict().items()


@FEW
@given(st.lists(PARTNER, max_size=6), st.lists(ORDER, max_size=8), COMPANY, PARTNER)
def test_3_1_a_company_and_its_contacts_change_nothing_for_anybody_else(
    drawn_partners: list[dict[str, Any]], drawn_orders: list[dict[str, Any]], settings_: CompanySettings,
    stranger: dict[str, Any],
) -> None:  # fmt: skip
    partners, orders = rows_of(drawn_partners), orders_of(drawn_orders)
    orders = [row for row in orders if max(row["partner_id"], row["partner_invoice_id"]) <= len(partners)]
    without = built(partners, orders, settings_)
    others = [
        company_partner(101, "stranger@example.net", tags=stranger["tags"], active=stranger["active"]),
        partner(102, "buyer@example.net", parent_id=101, is_employee=stranger["special"] == "is_employee"),
    ]
    together = built([*others, *partners], [*orders, order(900, 101), order(901, 102)], settings_)
    mine = together.contacts[~together.contacts["partner_id"].isin([101, 102])].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, without.contacts.assign(currency=mine["currency"]))
    pd.testing.assert_frame_equal(
        together.set_aside[together.set_aside["partner_id"] < 100].reset_index(drop=True), without.set_aside
    )


@pytest.mark.parametrize(
    "field", ["is_internal_user", "is_employee", "is_own_company", "is_public_or_template_user"]
)
def test_2_4_becoming_a_colleague_ends_being_a_contact(field: str) -> None:
    assert audiences(built([partner(1)], [order(1, 1)], company(B2B_AND_B2C)))
    assert not audiences(built([partner(1, **{field: True})], [order(1, 1)], company(B2B_AND_B2C)))
