"""Who a person is, whose an order is, and who is never a contact (rules 2)."""

from typing import Any

import pytest

from mc_pipeline.domain.contacts.people import (
    attribute_orders,
    judge_partners,
    orders_bound_to_customer,
    orders_by_invoice_address,
)
from mc_pipeline.domain.errors import RuleError
from mc_pipeline_tests.domain.odoo_rows import (
    Row,
    built,
    company,
    company_partner,
    contact,
    order,
    orders_table,
    partner,
    partners_table,
    reasons,
)

SHARED = "shared@example.com"


def winner(partners: list[Row], orders: list[Row]) -> int:
    return contact(built(partners, orders), SHARED)["partner_id"]


# 2.1 one person, one winner


def test_2_1_all_partners_with_an_address_are_one_person_whose_orders_add_up() -> None:
    result = built(
        [partner(1, SHARED), partner(2, "Shared@Example.com "), partner(3)],
        [order(1, 1, 10.1, day="2023-01-05"), order(2, 2, 20.2, day="2024-02-06"), order(3, 3, 5)],
    )
    person = contact(result, SHARED)
    assert person["partner_ids"] == [2, 1]
    assert (person["order_count"], person["total_spent"], person["currency"]) == (2, 30.3, "EUR")
    assert person["first_order_date"].isoformat() == "2023-01-05T12:00:00+00:00"
    assert person["last_order_date"].isoformat() == "2024-02-06T12:00:00+00:00"
    assert reasons(result) == {1: "duplicate"}
    assert list(result.set_aside["duplicate_of"]) == [2]


def test_2_1_the_partner_with_the_latest_order_speaks_though_another_was_edited_later() -> None:
    later = partner(2)["write_date"].replace(year=2026)
    partners = [partner(1, SHARED), partner(2, SHARED, write_date=later)]
    assert winner(partners, [order(1, 1, day="2024-05-05"), order(2, 2, day="2024-05-04")]) == 1


def test_2_1_two_latest_orders_at_the_same_moment_give_the_highest_id() -> None:
    assert winner([partner(5, SHARED), partner(4, SHARED)], [order(1, 4), order(2, 5)]) == 5


def test_2_1_a_cancelled_order_is_no_order_of_the_winner() -> None:
    orders = [order(1, 1, day="2024-01-01"), order(2, 2, day="2025-01-01", state="cancel")]
    assert winner([partner(1, SHARED), partner(2, SHARED)], orders) == 1


@pytest.mark.parametrize(("edited", "expected"), [(2025, 1), (2024, 2)])
def test_2_1_without_orders_of_their_own_the_one_edited_last_speaks_then_the_highest_id(
    edited: int, expected: int
) -> None:
    changed = partner(1)["write_date"].replace(year=edited)
    partners = [
        company_partner(10, None),
        partner(1, SHARED, parent_id=10, write_date=changed),
        partner(2, SHARED, parent_id=10),
    ]
    settings = company(customers={"contacts": "order_and_children"})
    assert contact(built(partners, [order(1, 10)], settings), SHARED)["partner_id"] == expected


def test_2_1_duplicates_can_be_set_aside_from_creation_all_of_them_while_a_member_stays_up_to_date() -> None:
    result = built(
        [partner(1, SHARED), partner(2, SHARED), partner(3)],
        [order(1, 1), order(2, 2, day="2025-01-01"), order(3, 3)],
        company(duplicates="set_aside"),
    )
    person = contact(result, SHARED)
    assert person["status_for_new"] == ""
    assert "2 partners" in person["status_because"]
    assert contact(result, "person3@example.com")["status_for_new"] == "transactional"
    assert reasons(result) == {1: "duplicate", 2: "duplicate"}
    assert list(result.set_aside["duplicate_of"]) == [2, 2]
    assert set(result.set_aside["audience"]) == {"everyone"}


def test_2_1_a_shared_address_without_orders_is_no_customer_before_it_is_a_duplicate() -> None:
    result = built([partner(1, SHARED), partner(2, SHARED)], [], company(duplicates="set_aside"))
    assert reasons(result) == {1: "duplicate", 2: "no_order"}


# 2.2 customers


def test_2_2_a_customer_has_a_confirmed_order_ever_and_cancelled_orders_count_nowhere() -> None:
    result = built(
        [partner(1), partner(2), partner(3)],
        [order(1, 1, 50, day="2009-01-01"), order(2, 1, 999, state="cancel"), order(3, 2, state="cancel")],
    )
    person = contact(result, "person1@example.com")
    assert (person["order_count"], person["total_spent"]) == (1, 50)
    assert reasons(result) == {2: "no_order", 3: "no_order"}


def test_2_2_the_total_is_what_was_kept_after_credit_notes_and_a_fully_refunded_customer_stays_one() -> None:
    result = built([partner(1)], [order(1, 1, 100, kept_untaxed_company=0.0)])
    assert (contact(result, "person1@example.com")["order_count"],) == (1,)
    assert contact(result, "person1@example.com")["total_spent"] == 0


def test_2_2_before_credit_notes_are_read_the_total_is_what_was_ordered() -> None:
    partners = judge_partners(partners_table([partner(1)]))
    orders = orders_table([order(1, 1, 100, kept_untaxed_company=40.0)])
    assert attribute_orders(partners, orders)["kept_units"].sum() == 40 * 10_000
    in_full = attribute_orders(partners, orders.drop(columns="kept_untaxed_company"))
    assert in_full["kept_units"].sum() == 100 * 10_000


def test_2_2_an_order_credited_with_more_than_it_asked_takes_nothing_from_another() -> None:
    orders = [order(1, 1, 100), order(2, 1, 120, kept_untaxed_company=-25.0)]
    assert contact(built([partner(1)], orders), "person1@example.com")["total_spent"] == 100


def test_2_2_orders_since_does_not_shorten_a_customers_history() -> None:
    result = built([partner(1)], [order(1, 1, day="2015-03-01")], company(orders_since="2024-01"))
    assert contact(result, "person1@example.com")["order_count"] == 1


def test_2_2_amounts_add_up_without_float_noise() -> None:
    result = built([partner(1)], [order(number, 1, 0.1) for number in range(1, 31)])
    assert contact(result, "person1@example.com")["total_spent"] == 3.0


def test_2_2_order_dates_in_fields_are_days_in_the_companys_timezone() -> None:
    night = order(1, 1, day="2024-12-31")
    night["date_order"] = night["date_order"].replace(hour=23, minute=30)
    settings = company({"everyone": {"merge_fields": {"LAST": "last_order_date"}}})
    assert contact(built([partner(1)], [night], settings), "person1@example.com")["merge_fields_json"] == (
        '{"LAST":"2025-01-01"}'
    )


def test_2_2_orders_in_two_company_currencies_are_refused_rather_than_added_up() -> None:
    with pytest.raises(RuleError, match="company_currency holds EUR, USD"):
        built([partner(1)], [order(1, 1), order(2, 1, company_currency="USD")])


@pytest.mark.parametrize(
    ("partners", "orders", "column"),
    [
        ([partner(1), partner(1)], [], "partner_id 1"),
        ([partner(1)], [order(8, 1), order(8, 1)], "order_id 8"),
    ],
)
def test_a_row_that_comes_twice_is_refused_rather_than_counted_twice(
    partners: list[Row], orders: list[Row], column: str
) -> None:
    with pytest.raises(RuleError, match=column):
        built(partners, orders)


# 2.3 whose an order is


@pytest.mark.parametrize(
    ("customer", "invoiced", "expected"),
    [
        (partner(1), partner(2), "person1@example.com"),
        (partner(1, None), partner(2), "person2@example.com"),
        (partner(1, "no address"), partner(2), "person2@example.com"),
        (partner(1, None), partner(2, None), None),
        (partner(1, type="delivery"), partner(2), "person1@example.com"),
        (partner(1, is_internal_user=True), partner(2), "person1@example.com"),
    ],
)
def test_2_3_an_order_is_its_customers_then_its_invoice_addresss_then_nobodys(
    customer: Row, invoiced: Row, expected: str | None
) -> None:
    judged = judge_partners(partners_table([customer, invoiced]))
    attributed = attribute_orders(judged, orders_table([order(1, 1, partner_invoice_id=2)]))
    assert attributed["person_email"].iloc[0] == expected


def test_2_3_an_order_of_nobody_is_listed_and_not_lost() -> None:
    result = built([partner(1, None), partner(2)], [order(8, 1), order(9, 77), order(10, 2)])
    assert result.unattributed_orders.to_dict("list") == {"order_id": [8, 9], "customer_id": [1, 77]}


def test_2_3_an_order_of_a_colleague_makes_no_contact_of_the_invoice_address() -> None:
    result = built([partner(1, is_employee=True), partner(2)], [order(1, 1, partner_invoice_id=2)])
    assert result.contacts.empty
    assert reasons(result) == {1: "employee", 2: "no_order"}


def test_2_3_an_order_to_the_delivery_address_of_a_person_counts_to_the_person() -> None:
    result = built([partner(1), partner(2, "person1@example.com", type="delivery")], [order(1, 2)])
    assert contact(result, "person1@example.com")["partner_id"] == 1


CHILDREN = {"contacts": "order_and_children"}


def test_2_3_contact_persons_of_a_customer_join_only_when_the_settings_say_so() -> None:
    partners = [company_partner(1), partner(2, parent_id=1), partner(3, parent_id=1)]
    orders = [order(1, 1)]
    assert set(built(partners, orders).contacts["partner_id"]) == {1}
    assert set(built(partners, orders, company(customers=CHILDREN)).contacts["partner_id"]) == {1, 2, 3}


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        (partner(2, parent_id=1, active=False), "archived"),
        (partner(2, parent_id=1, type="invoice"), "address_type"),
        (partner(2, None, parent_id=1), "missing_email"),
        (partner(2, parent_id=1, is_employee=True), "employee"),
        (partner(2, parent_id=3), "no_order"),
    ],
)
def test_2_3_only_active_contacts_of_the_customer_with_an_address_of_their_own_join(
    child: Row, reason: str
) -> None:
    partners = [company_partner(1), child, company_partner(3)]
    result = built(partners, [order(1, 1)], company(customers=CHILDREN))
    assert reasons(result)[2] == reason


def test_2_3_contact_persons_of_a_customer_without_an_address_join() -> None:
    result = built(
        [company_partner(1, None), partner(2, parent_id=1)], [order(1, 1)], company(customers=CHILDREN)
    )
    assert list(result.contacts["partner_id"]) == [2]


def test_2_3_contact_persons_of_an_archived_customer_do_not_join() -> None:
    partners = [company_partner(1, active=False), partner(2, parent_id=1)]
    result = built(partners, [order(1, 1)], company(customers=CHILDREN))
    assert reasons(result) == {1: "archived", 2: "no_order"}


# 2.4 never


NEVER: list[tuple[dict[str, Any], str]] = [
    ({"is_internal_user": True}, "internal_user"),
    ({"is_internal_user": True, "active": False}, "internal_user"),
    ({"is_employee": True}, "employee"),
    ({"is_own_company": True}, "own_company"),
    ({"parent_id": 90}, "own_company"),
    ({"parent_id": 91}, "own_company"),
    ({"is_public_or_template_user": True}, "public_or_template_user"),
    ({"type": "delivery"}, "address_type"),
    ({"type": "invoice"}, "address_type"),
    ({"type": "other"}, "address_type"),
    ({"active": False}, "archived"),
]
OWN_COMPANY = [
    company_partner(90, "us@example.com", is_own_company=True),
    partner(91, "branch@example.com", parent_id=90),
]


@pytest.mark.parametrize(("values", "reason"), NEVER)
def test_2_4_somebody_who_is_no_customer_by_nature_is_no_contact_even_with_an_order(
    values: dict[str, Any], reason: str
) -> None:
    result = built([*OWN_COMPANY, partner(1, **values)], [order(1, 1)])
    assert result.contacts.empty
    assert reasons(result)[1] == reason


@pytest.mark.parametrize(
    ("values", "reason"), [case for case in NEVER if case[1] not in ("address_type", "archived")]
)
def test_2_4_never_whatever_else_they_are_so_not_through_a_second_partner_either(
    values: dict[str, Any], reason: str
) -> None:
    result = built([*OWN_COMPANY, partner(1, SHARED, **values), partner(2, SHARED)], [order(1, 2)])
    assert result.contacts.empty
    assert reasons(result)[2] == reason
    detail = result.set_aside.set_index("partner_id").loc[2, "detail"]
    assert "partner 1" in detail


@pytest.mark.parametrize("values", [{"type": "delivery"}, {"type": "invoice"}, {"active": False}])
def test_2_4_an_address_or_archived_record_does_not_exclude_the_person_but_its_orders_are_theirs(
    values: dict[str, Any],
) -> None:
    result = built([partner(1, SHARED, **values), partner(2, SHARED)], [order(1, 1, 70)])
    person = contact(result, SHARED)
    assert (person["partner_id"], person["partner_ids"], person["total_spent"]) == (2, [2, 1], 70)


def test_2_4_a_portal_user_is_a_customer() -> None:
    # A portal user is a partner like any other: no flag is set.
    assert list(built([partner(1)], [order(1, 1)]).contacts["partner_id"]) == [1]


@pytest.mark.parametrize(
    ("excluded", "ordered", "expected"),
    [(False, True, None), (False, False, "no_order"), (True, True, "supplier"), (True, False, "supplier")],
)
@pytest.mark.parametrize("on_its_company", [False, True])
def test_2_4_a_supplier_who_bought_is_a_customer_unless_suppliers_are_excluded(
    excluded: bool, ordered: bool, expected: str | None, on_its_company: bool
) -> None:
    partners = (
        [company_partner(9, None, supplier_rank=3), partner(1, parent_id=9)]
        if on_its_company
        else [partner(1, supplier_rank=1)]
    )
    result = built(partners, [order(1, 1)] if ordered else [], company(exclude_suppliers=excluded))
    assert reasons(result).get(1) == expected
    assert len(result.contacts) == (expected is None)


# 2.5 set aside


@pytest.mark.parametrize(("bounces", "reason"), [(0, None), (5, None), (6, "bounced")])
def test_2_5_an_address_that_bounced_more_often_than_the_setting_is_set_aside(
    bounces: int, reason: str | None
) -> None:
    result = built([partner(1, message_bounce=bounces)], [order(1, 1)], company(maximum_bounces=5))
    assert reasons(result).get(1) == reason


def test_2_5_a_bounce_of_one_partner_is_a_bounce_of_the_address() -> None:
    partners = [partner(1, SHARED), partner(2, SHARED, message_bounce=9)]
    result = built(partners, [order(1, 1)])
    assert reasons(result) == {1: "bounced", 2: "bounced"}
    assert result.set_aside.set_index("partner_id")["duplicate_of"].to_dict()[2] == 1


# precedence


LADDER: list[tuple[str, dict[str, Any]]] = [
    ("internal_user", {"is_internal_user": True}),
    ("employee", {"is_employee": True}),
    ("own_company", {"is_own_company": True}),
    ("public_or_template_user", {"is_public_or_template_user": True}),
    ("address_type", {"type": "delivery"}),
    ("archived", {"active": False}),
    ("missing_email", {"email": None, "email_normalized": None}),
    ("bounced", {"message_bounce": 99}),
    ("supplier", {"supplier_rank": 1}),
    ("no_order", {}),
]


@pytest.mark.parametrize("first", range(len(LADDER)))
def test_of_several_reasons_the_first_of_the_ladder_is_given(first: int) -> None:
    values: dict[str, Any] = {}
    for _, more in LADDER[first:]:
        values |= more
    result = built([partner(1, **values)], [], company(exclude_suppliers=first <= 8))
    assert reasons(result) == {1: LADDER[first][0]}


def test_every_reason_says_what_was_found_and_what_to_do_and_names_nobody() -> None:
    partners = [
        partner(1, **{**values}) | {"partner_id": number} for number, (_, values) in enumerate(LADDER, 1)
    ]
    for row in partners:
        if row["email"]:
            row["email"] = row["email_normalized"] = f"secret{row['partner_id']}@example.com"
        row["name"] = "Secret Name"
        row["commercial_partner_id"] = row["partner_id"]
    result = built(partners, [order(1, 9)], company(exclude_suppliers=True))
    said = " ".join(result.set_aside["detail"] + result.set_aside["fix"])
    assert len(result.set_aside) == len(LADDER)
    assert result.set_aside[["detail", "fix"]].map(len).min().min() > 10
    assert "ecret" not in said


# 2.3 invoice addresses

FIRM = company_partner(1, None, name="Globex")


def invoice_address(partner_id: int = 2, email: str | None = "bills@example.com", **values: Any) -> Row:
    return partner(
        partner_id, email, **{"type": "invoice", "parent_id": 1, "name": "Globex, Bills", **values}
    )


def test_2_3_an_order_of_a_company_without_an_address_makes_a_customer_of_its_invoice_address() -> None:
    result = built([FIRM, invoice_address()], [order(1, 1, 70.0, partner_invoice_id=2)])
    person = contact(result, "bills@example.com")
    assert (person["partner_id"], person["name"], person["total_spent"]) == (2, "Globex, Bills", 70.0)
    assert result.unattributed_orders.empty
    assert reasons(result) == {1: "missing_email"}


def test_2_3_the_invoice_address_goes_where_its_company_goes() -> None:
    settings = company({"wholesale": {"company_type": "company"}, "retail": {"company_type": "person"}})
    result = built([FIRM, invoice_address()], [order(1, 1, partner_invoice_id=2)], settings)
    assert contact(result, "bills@example.com")["audience"] == "wholesale"


def test_2_3_another_partner_with_the_address_speaks_for_it_and_nobody_is_a_duplicate() -> None:
    partners = [FIRM, invoice_address(), partner(3, "bills@example.com", name="Bill Bo")]
    result = built(partners, [order(1, 1, 70.0, partner_invoice_id=2)], company(duplicates="set_aside"))
    person = contact(result, "bills@example.com")
    assert (person["partner_id"], person["name"], person["total_spent"]) == (3, "Bill Bo", 70.0)
    assert person["status_for_new"] == "transactional"
    assert reasons(result) == {1: "missing_email", 2: "address_type"}


@pytest.mark.parametrize(
    ("why", "customer", "address"),
    [
        ("nobody ordered through it", company_partner(1), invoice_address()),
        ("a delivery address", FIRM, invoice_address(type="delivery")),
        ("another address", FIRM, invoice_address(type="other")),
        ("archived", FIRM, invoice_address(active=False)),
        ("of an own company", company_partner(1, None, is_own_company=True), invoice_address()),
        ("of a colleague", FIRM, invoice_address(is_employee=True)),
        ("its address is a colleague's", FIRM, invoice_address(email="colleague@example.com")),
        ("without a usable address", FIRM, invoice_address(email="nowhere")),
    ],
)
def test_2_3_no_other_address_makes_a_contact(why: str, customer: Row, address: Row) -> None:
    colleague = partner(9, "colleague@example.com", is_internal_user=True)
    result = built([customer, address, colleague], [order(1, 1, partner_invoice_id=2)])
    assert address["email"] not in set(result.contacts["email"]), why
    assert 2 in reasons(result), why


def test_2_3_a_cancelled_order_makes_no_customer_of_an_invoice_address() -> None:
    result = built([FIRM, invoice_address()], [order(1, 1, partner_invoice_id=2, state="cancel")])
    assert result.contacts.empty


def test_2_3_an_order_addressed_to_an_invoice_address_as_the_customer_is_nobodys_contact() -> None:
    result = built([FIRM, invoice_address()], [order(1, 2)])
    assert result.contacts.empty


@pytest.mark.parametrize(
    ("why", "customer", "opinions", "bound"),
    [
        ("held for them", partner(1, None), {"held_for": {1: "old@example.com"}}, True),
        ("held for them, hidden now", partner(8), {"held_for": {1: "old@example.com"}}, True),
        ("held at the invoice address", partner(1, None), {"held_for": {1: "person2@example.com"}}, False),
        ("held for somebody else", partner(1, None), {"held_for": {1: "else@example.com"}}, False),
        ("held by no store", partner(1, None), {}, False),
        ("of another company, or erased", partner(8), {"others": [1]}, True),
        ("with an address", partner(1), {"held_for": {1: "old@example.com"}}, False),
    ],
)
def test_2_3_an_order_stays_with_a_customer_who_merely_lost_the_address(
    why: str, customer: Row, opinions: Any, bound: bool
) -> None:
    partners, orders = [customer, partner(2)], [order(1, 1, partner_invoice_id=2)]
    found = orders_bound_to_customer(
        orders_by_invoice_address(partners_table(partners), orders_table(orders)),
        had={(1, "old@example.com"), (1, "person2@example.com"), (5, "else@example.com")},
        **opinions,
    )
    assert (found == {1}) == bound, why
    result = built(partners, orders, bound_orders=found)
    assert ("person2@example.com" in set(result.contacts["email"])) == (
        not bound and customer["email"] != "person1@example.com"
    )
