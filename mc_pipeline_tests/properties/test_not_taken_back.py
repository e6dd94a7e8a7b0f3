"""Whom Mailchimp refuses for good has opted out: kept, carried to Odoo, listed, and never asked about again.

Rule 6.6. That an answer may be lost is tested in ``push/test_not_taken_back.py``.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import ORDERED, SmallWorld, small_world

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    with small_world() as world:
        yield world


def customer(world: SmallWorld, email: str, **values: object) -> int:
    partner = world.odoo.add_partner(name="Ann Ash", email=email, **values)
    world.odoo.add_order(partner, 100.0, date_order=ORDERED)
    return partner


def forget(world: SmallWorld, email: str, list_id: str = RETAIL) -> None:
    """Somebody was a member long ago and was deleted for good."""
    world.mailchimp.add_member(list_id, email)
    world.mailchimp.delete_permanently(list_id, email)


def asked_to_make(world: SmallWorld, email: str) -> list[JournalEntry]:
    return [
        entry
        for entry in world.mailchimp.journal.writes
        if entry.method == "POST" and email in str(entry.body)
    ]


def listed(run: Run, email: str) -> list[tuple[str, str]]:
    rows = run.tables["set_aside"].rows
    rows = rows[rows["person_email"] == email]
    return list(zip(rows["reason"], rows["detail"], strict=True))


def recorded(world: SmallWorld, email: str) -> list[tuple[str, str, str, str]]:
    with world._ledger_of_a_person() as systems:
        return [
            (event.event, event.origin, event.source, (event.evidence or {}).get("title", ""))
            for event in systems.ledger.consent.events(email=email)
            if event.source == "write" and event.origin != "ours"
        ]


def test_a_forgotten_person_is_asked_about_once_whatever_changes_in_odoo(world: SmallWorld):
    partner = customer(world, ANN)
    forget(world, ANN)
    world.run_until_done()
    assert recorded(world, ANN) == [("opt_out", "unknown", "write", "Forgotten Email Not Subscribed")]
    assert len(asked_to_make(world, ANN)) == 1
    world.odoo.edit_partner(partner, name="Ann Birk")
    world.odoo.subscribe(world.newsletter, ANN)
    run = world.run_until_done()
    world.odoo.edit_partner(partner, is_company=True)
    run = world.run_until_done()
    assert len(asked_to_make(world, ANN)) == 1, "in no other audience either"
    assert world.mailchimp.status(WHOLESALE, ANN) is None
    assert ANN in world.odoo.database.blacklisted()
    (reason, detail) = listed(run, ANN)[0]
    assert reason == "not_taken_back"
    assert "forgotten" in detail
    assert "only the person can sign up again" in detail
    assert len(listed(run, ANN)) == 1
    world.check_everybody_is_where_they_belong()
    world.check_nothing_is_left_to_do()
    assert not world.violations()


def test_one_forgotten_among_many_created_holds_up_nobody_else(world: SmallWorld):
    for number in range(30):
        customer(world, f"person{number}@example.com")
    for number in (3, 17):
        forget(world, f"person{number}@example.com")
    run = world.run_until_done()
    assert len(world.mailchimp.statuses(RETAIL)) == 28
    run = world.run_until_done()
    rows = run.tables["set_aside"].rows
    assert set(rows.loc[rows["reason"] == "not_taken_back", "person_email"]) == {
        "person3@example.com",
        "person17@example.com",
    }
    assert {"person3@example.com", "person17@example.com"} <= world.odoo.database.blacklisted()


def test_an_upgrade_refused_for_compliance_is_an_opt_out_that_reaches_both_systems(world: SmallWorld):
    customer(world, ANN, is_company=True)
    world.run_until_done()
    assert world.mailchimp.status(WHOLESALE, ANN) == "transactional"
    world.mailchimp.put_under_review(ANN)
    # Odoo keeps whole seconds: consent of the second in which the member was made is not newer than it.
    world.time_passes(timedelta(minutes=1))
    world.odoo.subscribe(world.newsletter, ANN)
    world.run_until_done()
    assert recorded(world, ANN)[-1] == ("opt_out", "unknown", "write", "Member In Compliance State")
    upgrades = [each for each in world.mailchimp.journal.writes if each.body == {"status": "subscribed"}]
    run = world.run_until_done()
    assert ANN in world.odoo.database.blacklisted()
    run = world.run_until_done()
    assert world.mailchimp.status(WHOLESALE, ANN) == "unsubscribed"
    assert [reason for reason, _ in listed(run, ANN)] == ["not_taken_back"]
    later = [each for each in world.mailchimp.journal.writes if each.body == {"status": "subscribed"}]
    assert later == upgrades
    assert not world.violations()


def test_who_signs_up_by_themselves_afterwards_is_a_member_as_mailchimp_says(world: SmallWorld):
    customer(world, ANN)
    forget(world, ANN)
    with world.webhooks():
        world.run_until_done()
        world.run_until_done()
        assert ANN in world.odoo.database.blacklisted()
        _later(world)
        world.mailchimp.sign_up(RETAIL, ANN)
        world.mailchimp.deliver_webhooks()
        run = world.run_until_done()
        run = world.run_until_done()
    assert world.mailchimp.status(RETAIL, ANN) == "subscribed"
    assert ANN not in world.odoo.database.blacklisted(), "the row was ours, and the person came back"
    assert listed(run, ANN) == []
    assert world.member_fields(RETAIL, ANN)["FNAME"] == "Ann Ash"
    world.check_nothing_is_left_to_do()
    assert not world.violations()


@pytest.mark.parametrize("refuse", ["refuse_signups", "take_for_fake"])
def test_other_refusals_are_no_opt_outs(world: SmallWorld, refuse: str):
    customer(world, ANN)
    getattr(world.mailchimp, refuse)(ANN)
    world.run_until_done()
    run = world.run_until_done()
    assert recorded(world, ANN) == []
    assert world.odoo.database.blacklisted() == set()
    assert [reason for reason, _ in listed(run, ANN)] == ["refused"]


def test_a_rename_to_a_forgotten_address_is_refused_once_and_the_new_address_has_opted_out(
    world: SmallWorld,
):
    partner = customer(world, ANN)
    world.run_until_done()
    forget(world, BOB)
    world.odoo.edit_partner(partner, email=BOB)
    world.run_until_done()
    world.run_until_done()
    assert recorded(world, BOB) == [("opt_out", "unknown", "write", "Forgotten Email Not Subscribed")]
    assert [each for each in recorded(world, ANN) if each[0] == "opt_out"] == []
    tried = [
        each for each in world.mailchimp.journal.writes if each.method == "PATCH" and BOB in str(each.body)
    ]
    assert len(tried) == 1
    assert BOB in world.odoo.database.blacklisted()
    assert ANN not in world.odoo.database.blacklisted()
    world.check_nothing_is_left_to_do()


def _later(world: SmallWorld) -> None:
    world.mailchimp.advance(timedelta(seconds=20))
