"""Marketing permissions follow consent once, and never over what a person said since (rule 4.5)."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mc_pipeline_tests.domain.audience_model import (
    EARLIER,
    OURS,
    RETAIL,
    WHOLESALE,
    Audiences,
    Member,
    Person,
    World,
    brief,
    company,
)

EVIDENCE = {"source": "Newsletter", "kind": "mailing_list", "at": EARLIER.isoformat()}
ANN = Person("ann@x.org", status="subscribed", evidence=EVIDENCE)
KEY = (RETAIL, "ann@x.org")
ASKED = Member("subscribed", fields=ANN.fields, permissions={"Email": False, "Direct Mail": False})
SUBSCRIBED = replace(OURS, created_status="subscribed", ever_subscribed=True, last_status="subscribed")


def world(member: Member | None = ASKED, record=SUBSCRIBED, *, asks=True, ours=True, **more) -> World:
    audiences = Audiences()
    if member is not None:
        audiences.members[KEY] = member
        audiences.records[KEY] = record
    arguments = {
        "permission_list_ids": frozenset({RETAIL} if asks else ()),
        "subscribed_by_us": frozenset({KEY} if ours else ()),
    }
    return World([ANN], audiences, settings=company(permissions=["Email"]), more=arguments, **more)


def permits(world: World) -> list[list[str]]:
    plan = world.plan()
    rows = plan[plan["operation"] == "permit"]
    return [json.loads(body)["marketing_permissions"] for body in rows["after_json"]]


def test_a_member_subscribed_on_evidence_gets_the_permission():
    assert permits(world()) == [["Email"]]


def test_somebody_new_gets_it_with_the_same_plan_and_then_no_more():
    new = world(member=None)
    plan = new.plan()
    assert brief(plan) == [("create", "ann@x.org", "subscribed"), ("permit", "ann@x.org")]
    new.apply(plan)
    assert permits(new) == []


def test_somebody_upgraded_gets_it_with_the_same_plan():
    transactional = replace(ASKED, status="transactional")
    upgrading = world(transactional, replace(OURS, created_at=EARLIER.replace(year=2025)), ours=False)
    upgrading.settings = company(permissions=["Email"], upgrade=True)
    assert [operation for operation, *_ in brief(upgrading.plan())] == ["upgrade", "permit"]


@pytest.mark.parametrize(
    "case",
    [
        {"asks": False},
        {"ours": False},
        {"record": replace(SUBSCRIBED, permitted=True)},
        {"record": replace(SUBSCRIBED, opted_out=True)},
        {"member": replace(ASKED, permissions={"email": True})},
        {"member": replace(ASKED, status="unsubscribed")},
        {"member": replace(ASKED, status="transactional")},
        {"member": replace(ASKED, status="archived")},
        {"opted_out_ever": frozenset({"ann@x.org"})},
        {"blacklisted": frozenset({"ann@x.org"})},
    ],
    ids=str,
)
def test_nobody_else_gets_one(case):
    assert permits(world(**case)) == []


def test_a_permission_taken_back_stays_taken_back():
    given = world()
    given.apply(given.plan())
    member = given.audiences.members[KEY]
    assert member.permissions == {"Email": True, "Direct Mail": False}
    given.audiences.members[KEY] = replace(member, permissions={"Email": False, "Direct Mail": False})
    assert permits(given) == []


LATER = EARLIER + timedelta(days=30)


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ({}, True),
        ({("ann@x.org", "email"): EARLIER - timedelta(seconds=1)}, True),
        ({("ann@x.org", "email"): EARLIER}, False),
        ({("ann@x.org", "email"): LATER}, False),
        ({("ann@x.org", "direct mail"): LATER}, True),
        ({("bob@x.org", "email"): LATER}, True),
    ],
    ids=[
        "nothing was said",
        "consent is newer",
        "given on this very consent",
        "taken back since",
        "another purpose",
        "somebody else",
    ],
)
def test_only_consent_that_is_later_than_all_that_was_said_gives_a_permission(said, given):
    asked = world()
    asked.more["permissions_said"] = said
    assert permits(asked) == ([["Email"]] if given else [])


def test_what_was_said_under_a_former_address_counts():
    changed = world()
    changed.audiences.records[WHOLESALE, "old@x.org"] = replace(OURS, partner_id=ANN.partner_id)
    changed.more["permissions_said"] = {("old@x.org", "email"): LATER}
    assert permits(changed) == []


def test_each_purpose_is_judged_by_itself():
    two = world()
    two.settings = company(permissions=["Email", "Direct Mail"])
    two.more["permissions_said"] = {("ann@x.org", "email"): LATER}
    assert permits(two) == [["Direct Mail"]]


def test_anyone_who_moves_to_another_audience_is_not_given_it_again():
    """Once in the whole company: it was given, and taken back, in the audience that Ann leaves."""
    moving = world()
    moving.apply(moving.plan())
    member = moving.audiences.members[KEY]
    moving.audiences.members[KEY] = replace(member, permissions={"Email": False})
    moving.people = [replace(ANN, audience="wholesale")]
    moving.more["permission_list_ids"] = frozenset({RETAIL, WHOLESALE})
    moved = brief(moving.plan())
    assert ("create", "ann@x.org", "subscribed") in moved
    assert ("permit", "ann@x.org") not in moved


def test_undated_consent_gives_none():
    undated = world()
    undated.people = [replace(ANN, evidence={"source": "Newsletter", "kind": "mailing_list", "at": None})]
    assert permits(undated) == []
