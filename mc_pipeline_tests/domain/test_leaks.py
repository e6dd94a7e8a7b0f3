"""The leak check must find each kind of harm in a plan that was made wrong on purpose."""

import json

import pandas as pd
import pytest

from mc_pipeline.domain.plan.leaks import LEAK_COLUMNS, LeakFacts, find_leaks
from mc_pipeline.domain.plan.rows import PLAN_COLUMNS, assemble
from mc_pipeline_tests.domain.audience_model import (
    RETAIL,
    Audiences,
    Member,
    Person,
    World,
    company,
    contacts_table,
    partners_table,
)

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
PEOPLE = [Person(ADA), Person(BOB, 2)]
MEMBERS = Audiences({(RETAIL, BOB): Member("transactional")})


def row(operation: str, email: str, **more):
    filled = {
        "operation": operation,
        "audience": "retail",
        "list_id": RETAIL,
        "email": email,
        "partner_id": 1,
        "cause": "new_contact" if operation == "create" else "fields_differ",
        "because": "a test",
        **more,
    }
    return pd.DataFrame([filled])


def reasons(
    *parts, people=PEOPLE, members=MEMBERS, opted_out=frozenset(), partners=(), settings=None, **more
):
    given = {each["partner_id"] for each in partners}
    everyone = [*partners, *({"partner_id": number} for number in (1, 2, 3) if number not in given)]
    leaks = find_leaks(
        assemble("acme", parts),
        LeakFacts(
            company=settings or company(),
            contacts=contacts_table(people),
            partners=partners_table(everyone),
            members=members.members_table(),
            opted_out_ever=opted_out,
            **{"blacklisted_emails": frozenset(), **more},
        ),
    )
    assert list(leaks.columns) == list(LEAK_COLUMNS)
    return leaks["reason"].tolist()


NEW_ADA = row("create", ADA, status="transactional")


@pytest.mark.parametrize(
    "part",
    [
        NEW_ADA,
        row("create", ADA, status="unsubscribed"),
        row("update", BOB, after_json='{"merge_fields":{"FNAME":"status"}}'),
        row("tag", BOB, tag="VIP"),
        row("untag", BOB, tag="VIP"),
        row("upgrade", BOB, status="subscribed"),
    ],
)
def test_an_honest_row_is_no_leak(part):
    assert reasons(part) == []


def test_an_empty_plan_has_no_leak():
    assert reasons() == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (row("create", EVE, status="transactional"), "no routing rule"),
        (row("create", ADA, status="transactional", audience="wholesale"), "not an audience of this company"),
        (row("create", ADA, status="transactional", list_id="ffff999999"), "not an audience of this company"),
        (row("create", ADA, status="cleaned"), "status is not one"),
        (row("create", ADA), "status is not one"),
        (row("update", BOB, status="subscribed"), "status is not one"),
        (row("update", BOB, after_json=json.dumps({"status": "subscribed"})), "send a status"),
        (row("create", BOB, status="transactional"), "in the audience already"),
        (row("update", ADA), "is not in the audience"),
        (row("archive", BOB), "belongs in the audience would be archived"),
        (row("change_email", BOB, new_email=EVE), "no routing rule"),
        (row("subscribe", BOB), "not one of the plan's"),
    ],
)
def test_a_row_that_no_rule_allows_is_found(part, reason):
    assert any(reason in found for found in reasons(part))


@pytest.mark.parametrize("status", ["subscribed", "pending"])
@pytest.mark.parametrize("how", ["opted_out", "blacklisted_emails"])
def test_subscribing_an_address_that_opted_out_is_found(status, how):
    found = reasons(row("create", ADA, status=status), **{how: frozenset({ADA})})
    assert found == ["the address opted out and would be subscribed"]


@pytest.mark.parametrize("how", ["opted_out", "blacklisted_emails"])
def test_permitting_an_address_that_opted_out_is_found(how):
    members = Audiences({(RETAIL, ADA): Member("subscribed")})
    permit = row("permit", ADA, cause="permission_given")
    assert reasons(permit, members=members) == []
    found = reasons(permit, members=members, **{how: frozenset({ADA})})
    assert found == ["the address opted out and would get a marketing permission"]


@pytest.mark.parametrize("operation", ["update", "tag", "untag", "archive", "upgrade", "permit"])
def test_touching_an_archived_member_is_found(operation):
    archived = Audiences({(RETAIL, BOB): Member("archived")})
    status = {"status": "subscribed"} if operation == "upgrade" else {}
    assert "an archived member would be changed" in reasons(row(operation, BOB, **status), members=archived)


def test_an_archived_member_returns_as_transactional_only():
    archived = Audiences({(RETAIL, BOB): Member("archived")})
    assert reasons(row("create", BOB, status="transactional", cause="returning"), members=archived) == []
    assert reasons(row("create", BOB, status="subscribed", cause="returning"), members=archived) == [
        "an archived member may return as transactional only"
    ]
    assert reasons(row("create", BOB, status="transactional"), members=archived) != []


@pytest.mark.parametrize("status", ["subscribed", "unsubscribed", "cleaned", "pending"])
def test_archiving_anybody_but_a_transactional_member_is_found(status):
    members = Audiences({(RETAIL, EVE): Member(status)})
    assert reasons(row("archive", EVE), members=members) == ["only transactional members may be archived"]


@pytest.mark.parametrize(
    "flag", ["is_internal_user", "is_employee", "is_own_company", "is_public_or_template_user"]
)
def test_somebody_who_is_no_customer_is_found_behind_a_contact(flag):
    own = [{"partner_id": 1, flag: True}]
    assert len(reasons(NEW_ADA, partners=own)) == 1
    hidden = [{"partner_id": 3, flag: True}]
    assert len(reasons(NEW_ADA, people=[Person(ADA, also=(3,))], partners=hidden)) == 1


def test_people_below_an_own_company_are_found_at_any_depth():
    partners = [
        {"partner_id": 3, "is_own_company": True},
        {"partner_id": 2, "parent_id": 3},
        {"partner_id": 1, "parent_id": 2},
    ]
    assert reasons(NEW_ADA, partners=partners) == ["the partner belongs to one of your own companies"]


@pytest.mark.parametrize(
    ("exclude", "orders", "found"),
    [
        (False, 1, []),
        (False, 0, ["nobody ordered under this address"]),
        (True, 1, ["the partner is a supplier"]),
    ],
)
def test_a_supplier_is_a_leak_unless_they_bought_and_settings_allow_it(exclude, orders, found):
    assert found == reasons(
        NEW_ADA,
        people=[Person(ADA, order_count=orders)],
        partners=[{"partner_id": 1, "supplier_rank": 1}],
        settings=company(exclude_suppliers=exclude),
    )


def test_contact_persons_of_customers_need_no_order_of_their_own():
    settings = company(customers={"contacts": "order_and_children"})
    assert reasons(NEW_ADA, people=[Person(ADA, order_count=0)], settings=settings) == []


def test_a_tag_for_somebody_who_is_created_or_renamed_in_the_same_plan_is_no_leak():
    assert reasons(NEW_ADA, row("tag", ADA, tag="VIP")) == []
    members = Audiences({(RETAIL, EVE): Member("transactional")})
    assert reasons(row("change_email", EVE, new_email=ADA), row("tag", ADA, tag="VIP"), members=members) == []


def test_the_check_judges_a_real_plan_with_all_its_columns():
    plan = World(PEOPLE).plan()
    assert list(plan.columns) == list(PLAN_COLUMNS)
    assert len(plan) == 2


@pytest.mark.parametrize("last", ["archived", "transactional"])
def test_a_member_that_changed_while_the_audience_was_read_is_judged_as_the_planner_does(last: str):
    first = "transactional" if last == "archived" else "archived"
    seen = [Audiences({(RETAIL, ADA): Member(status)}).members_table() for status in (first, last)]
    leaks = find_leaks(
        assemble("acme", [row("create", ADA, status="transactional", cause="returning")]),
        LeakFacts(
            company=company(),
            contacts=contacts_table(PEOPLE),
            partners=partners_table([{"partner_id": number} for number in (1, 2)]),
            members=pd.concat(seen, ignore_index=True),
            opted_out_ever=frozenset(),
            blacklisted_emails=frozenset(),
        ),
    )
    assert leaks.empty
