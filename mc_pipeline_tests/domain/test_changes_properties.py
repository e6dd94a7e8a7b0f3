"""What holds for every plan, whatever was edited where: searched by Hypothesis over small worlds."""

import json
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.completeness import AudienceInDoubt
from mc_pipeline.domain.plan.plan import Completeness
from mc_pipeline_tests.domain.audience_model import (
    EARLIER,
    NOW,
    RETAIL,
    WHOLESALE,
    Audiences,
    Member,
    Person,
    Record,
    World,
    brief,
    company,
    consent_on,
    sent,
)

EMAILS = [f"{letter}@example.com" for letter in "abcde"]
LISTS = {"wholesale": WHOLESALE, "retail": RETAIL}
STATUSES = ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"]
PARTNERS = [1, 2, 3, 4]
NAMES = {1: "ann", 2: "ben", 3: "cem", 4: "dan"}
REASONS = ["no_audience", "no_order", "archived", "bounced", "invalid_email", "conflicting_routes"]

people_fields = st.fixed_dictionaries(
    {
        "FNAME": st.sampled_from(["Ann", "Ben  B", ""]),
        "CITY": st.sampled_from(["", "Leeds"]),
        "ORDERS": st.sampled_from([1, 2]),
    }
)
member_fields = st.dictionaries(
    st.sampled_from(["FNAME", "CITY", "ORDERS", "OWN"]), st.sampled_from(["", "Ann", "Leeds", "1"])
)
tags = st.frozensets(st.sampled_from(["VIP", "B2B", "own", "odoo-not-qualifying"]))
shape_of_sent = st.fixed_dictionaries({"merge_fields": member_fields})


@st.composite
def persons(draw, partner_id: int, email: str) -> Person:
    audience = draw(st.sampled_from(sorted(LISTS)))
    named = {"wholesale": ["B2B", "VIP"], "retail": ["VIP"]}[audience]
    status = draw(st.sampled_from(["transactional", "subscribed", "pending", ""]))
    return Person(
        email,
        partner_id,
        audience=audience,
        name=draw(st.sampled_from([NAMES[partner_id], "eve"])) if draw(st.booleans()) else NAMES[partner_id],
        fields=draw(people_fields),
        tags=tuple(tag for tag in named if draw(st.booleans())),
        language=draw(st.sampled_from([None, "fr", "de"])),
        status=status,
        evidence=consent_on(draw(st.sampled_from([EARLIER, NOW])))
        if status in ("subscribed", "pending")
        else None,
    )


@st.composite
def records(draw) -> Record:
    partner_id = draw(st.sampled_from([None, *PARTNERS]))
    created = draw(st.booleans())
    return Record(
        created_by_us=created,
        created_status=draw(st.sampled_from(["transactional", "subscribed", "pending"])) if created else None,
        created_at=EARLIER if created else None,
        sent=draw(st.none() | shape_of_sent),
        returned=draw(st.none() | shape_of_sent),
        tags=tuple(sorted(draw(st.frozensets(st.sampled_from(["VIP", "B2B"]))))),
        archived_by_us=draw(st.booleans()),
        ever_subscribed=draw(st.booleans()),
        opted_out=draw(st.sampled_from([False, False, True])),
        partner_id=partner_id,
        name_sent=NAMES.get(partner_id),
        vanished=draw(st.sampled_from([False, False, False, True])),
    )


@st.composite
def edited_odoo(draw) -> tuple[list[Person], list[tuple[int, str | None, str]]]:
    """Partners 1 to 4 with distinct addresses: some are contacts, some set aside, some not seen at all."""
    emails = draw(st.permutations(EMAILS))
    people, aside = [], []
    for partner_id, email in zip(PARTNERS, emails, strict=False):
        match draw(st.sampled_from(["contact", "contact", "contact", "aside", "unseen"])):
            case "contact":
                people.append(draw(persons(partner_id, email)))
            case "aside":
                reason = draw(st.sampled_from(REASONS))
                aside.append((partner_id, None if reason == "invalid_email" else email, reason))
    return people, aside


@st.composite
def worlds(draw) -> World:
    people, aside = draw(edited_odoo())
    keys = [(list_id, email) for list_id in LISTS.values() for email in EMAILS]
    members = {
        key: Member(
            draw(st.sampled_from(STATUSES)),
            draw(member_fields),
            draw(tags),
            draw(st.sampled_from([None, "fr"])),
        )
        for key in draw(st.lists(st.sampled_from(keys), unique=True, max_size=7))
    }
    ours = {key: draw(records()) for key in draw(st.lists(st.sampled_from(keys), unique=True, max_size=7))}
    return World(
        people,
        Audiences(members, ours),
        partners=[
            {"partner_id": number, "email_normalized": email}
            for number, email, _ in aside
            if email is not None
        ],
        set_aside=aside,
        blacklisted=draw(st.frozensets(st.sampled_from(EMAILS), max_size=1)),
        opted_out_ever=draw(st.frozensets(st.sampled_from(EMAILS), max_size=2)),
        settings=company(upgrade=draw(st.booleans())),
        more={"first_load_list_ids": draw(st.sampled_from([frozenset(), frozenset({RETAIL})]))},
    )


# A few worlds in every run; MC_PIPELINE_EXAMPLES=100 (with --timeout=0) searches on for some minutes.
deeply = settings(
    max_examples=int(os.environ.get("MC_PIPELINE_EXAMPLES", "5")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a world takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def edit(world: World, people, aside) -> None:
    world.people, world.set_aside = people, aside
    world.partners = [
        {"partner_id": number, "email_normalized": email} for number, email, _ in aside if email is not None
    ]


@deeply
@given(worlds(), st.lists(edited_odoo(), max_size=2))
def test_after_a_plan_is_applied_nothing_is_left_to_do_and_nobody_was_harmed(world, edits):
    """Convergence over several rounds of edits, with the promises that hold for every single plan."""
    for step in [None, *edits]:
        if step is not None:
            edit(world, *step)
        plan = world.plan()  # judged for leaks
        before = dict(world.audiences.members)
        refused = world.blacklisted | world.opted_out_ever
        for row in plan.itertuples():
            target = row.new_email or row.email
            member = before.get((row.list_id, row.email))
            assert row.list_id in LISTS.values()
            if row.operation == "create":
                assert member is None or (member.status == "archived" and row.status == "transactional")
            elif row.operation == "upgrade":
                assert member.status == "transactional"
            else:
                assert row.status is None
                assert "status" not in json.loads(row.after_json)
            if row.status in ("subscribed", "pending"):
                assert target not in refused
                assert not any(
                    other.status in ("unsubscribed", "cleaned")
                    for (_, email), other in before.items()
                    if email == target
                )
        world.apply(plan)
        for (list_id, email), member in world.audiences.members.items():
            old = before.get((list_id, email))
            if old is not None and old.status in ("unsubscribed", "cleaned"):
                assert member.status == old.status
        assert sent(world.plan()) == []


@deeply
@given(worlds(), st.sampled_from([Completeness(odoo=False), Completeness(mailchimp=False)]))
def test_a_partial_view_removes_renames_and_moves_nobody(world, completeness):
    world.completeness = completeness
    plan = world.plan()
    going = plan[plan["held_back_because"] == ""]
    assert not set(going["operation"]) & {"archive", "untag", "change_email"}
    assert "moved" not in set(going["cause"])
    before = dict(world.audiences.members)
    world.apply(plan)
    for key, member in before.items():
        assert member.tags <= world.audiences.members[key].tags


@deeply
@given(worlds(), st.sampled_from(sorted(LISTS)), st.booleans())
def test_an_unread_audience_gets_nothing_and_nobody_becomes_reachable_anywhere(world, name, gone):
    """Nobody leaves the audiences for it or because of it: whoever is somewhere stays somewhere."""
    unread = LISTS[name]
    world.audiences.members = {
        key: member for key, member in world.audiences.members.items() if key[0] != unread
    }
    world.completeness = Completeness(audiences={unread: AudienceInDoubt(name, gone=gone)})
    going = world.plan()
    going = going[going["held_back_because"] == ""]
    assert unread not in set(going["list_id"])
    if not gone:
        assert not set(going["status"]) & {"subscribed", "pending"}
        assert "permit" not in set(going["operation"])
    belonging = {person.email for person in world.people if LISTS[person.audience] == unread}
    assert not belonging & set(going.loc[going["operation"] == "archive", "email"])


@deeply
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(world, random):
    plan = world.plan()

    def shuffled(values):
        values = list(values)
        random.shuffle(values)
        return values

    turned = replace(
        world,
        people=shuffled(world.people),
        set_aside=shuffled(world.set_aside),
        partners=shuffled(world.partners),
        audiences=Audiences(
            dict(shuffled(world.audiences.members.items())), dict(shuffled(world.audiences.records.items()))
        ),
    ).plan()
    assert turned.to_dict("records") == plan.to_dict("records")


@deeply
@given(worlds())
def test_a_member_whom_odoo_and_the_ledger_do_not_know_never_appears(world):
    stranger = "stranger@example.com"
    for list_id in LISTS.values():
        world.audiences.members[(list_id, stranger)] = Member(
            "subscribed", {"FNAME": "S"}, frozenset({"VIP"})
        )
        world.audiences.records[(list_id, stranger)] = Record(last_status="subscribed", ever_subscribed=True)
    assert stranger not in {*world.plan()["email"], *world.plan()["new_email"]}


@deeply
@given(st.permutations(EMAILS), st.lists(st.booleans(), min_size=4, max_size=4))
def test_any_shuffle_of_addresses_ends_with_every_person_at_their_own(emails, is_member):
    """Chains, circles and both at once: partner N has member EMAILS[N], and now another address."""
    assume(any(is_member))
    people = [
        Person(email, number, name=NAMES[number], fields={"FNAME": NAMES[number], "ORDERS": 1})
        for number, email in zip(PARTNERS, emails, strict=False)
    ]
    members, ours = {}, {}
    for number, email, present in zip(PARTNERS, EMAILS, is_member, strict=False):
        if present:
            members[(RETAIL, email)] = Member(fields={"FNAME": NAMES[number], "ORDERS": "1"})
            ours[(RETAIL, email)] = Record(
                created_by_us=True, created_at=EARLIER, partner_id=number, name_sent=NAMES[number]
            )
    world = World(people, Audiences(members, ours))
    plan = world.plan()
    world.apply(plan)
    for person in people:
        member = world.audiences.members[(RETAIL, person.email)]
        assert member.fields["FNAME"] == person.name
        assert member.status == "transactional"
    assert brief(world.plan()) == []


@pytest.mark.parametrize("size", [3, 4])
def test_a_long_chain_is_renamed_from_its_free_end(size):
    people = [
        Person(EMAILS[number], number, name=NAMES[number], fields={"FNAME": "Ann"})
        for number in PARTNERS[:size]
    ]
    members = {(RETAIL, EMAILS[number - 1]): Member(fields={"FNAME": "Ann"}) for number in PARTNERS[:size]}
    ours = {
        (RETAIL, EMAILS[number - 1]): Record(created_by_us=True, partner_id=number, name_sent=NAMES[number])
        for number in PARTNERS[:size]
    }
    plan = World(people, Audiences(members, ours)).plan()
    assert sent(plan) == [
        ("change_email", EMAILS[number - 1], EMAILS[number]) for number in reversed(PARTNERS[:size])
    ]
