"""A member changes their e-mail in Mailchimp while Odoo has the former one (rule 6.6): whole runs.

They are the same person: listed for Odoo to correct, made nowhere again, and an opt-out of either address
restricts them. Later owners of the former address are somebody else.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

OLD, NEW, NEWER = "old@example.com", "new@example.com", "newer@example.com"


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    """One customer who is a subscribed member, made and known by runs."""
    with small_world() as world:
        world.partner = customer(world, OLD)  # type: ignore[attr-defined]
        world.odoo.subscribe(world.newsletter, OLD)
        world.run_until_done()
        world.run_until_done()
        assert world.mailchimp.status(RETAIL, OLD) == "subscribed"
        later(world)
        yield world


def customer(world: SmallWorld, email: str, name: str = "Ann Ash", **values: object) -> int:
    partner = world.odoo.add_partner(name=name, email=email, **values)
    world.odoo.add_order(partner, 100.0, date_order=ORDERED)
    return partner


def later(world: SmallWorld) -> None:
    world.mailchimp.advance(timedelta(seconds=20))


def listed(run: Run) -> list[tuple[str, str, str]]:
    rows = run.tables["set_aside"].rows
    # The people of a new Odoo, as its administrator, are set aside too.
    rows = rows[rows["reason"].isin(["changed_in_mailchimp", "not_taken_back", "refused"])]
    return list(zip(rows["person_email"], rows["reason"], rows["detail"], strict=True))


def blacklisted(world: SmallWorld) -> set[str]:
    return world.odoo.database.blacklisted()


def statuses(world: SmallWorld, list_id: str = RETAIL) -> dict[str, str]:
    return world.mailchimp.statuses(list_id)


def judge(world: SmallWorld) -> None:
    world.check_everybody_is_where_they_belong()
    world.check_both_systems_agree_on_consent()
    world.check_nothing_is_left_to_do()
    assert world.violations() == []


def test_it_is_listed_with_the_new_address_and_nobody_is_made_under_the_former_one(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    tags = world.mailchimp.tags(RETAIL, NEW)
    for _ in range(3):
        run = world.run_until_done()
        assert statuses(world) == {NEW: "subscribed"}
        ((email, reason, detail),) = listed(run)
        assert (email, reason) == (OLD, "changed_in_mailchimp")
        assert f"to {NEW}" in detail
    shown = str(run.metadata)
    assert NEW not in shown
    assert OLD not in shown
    assert world.mailchimp.tags(RETAIL, NEW) == tags
    with world._ledger_of_a_person() as systems:
        records = systems.ledger.members.load([RETAIL])
        assert list(records["email"]) == [NEW]
        assert not records["vanished"].any()
    judge(world)


def test_moving_to_another_audience_in_odoo_makes_no_second_person(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.odoo.edit_partner(world.partner, is_company=True)  # type: ignore[attr-defined]
    run = world.run_until_done()
    assert statuses(world, WHOLESALE) == {}
    assert statuses(world) == {NEW: "subscribed"}
    assert [reason for _, reason, _ in listed(run)] == ["changed_in_mailchimp"]
    judge(world)


def test_once_odoo_has_the_new_address_the_member_is_the_partners_and_keeps_the_status(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    world.odoo.edit_partner(world.partner, email=NEW, name="Ann Birk")  # type: ignore[attr-defined]
    run = world.run_until_done()
    assert listed(run) == []
    assert statuses(world) == {NEW: "subscribed"}
    assert world.member_fields(RETAIL, NEW)["FNAME"] == "Ann Birk"
    assert "B2C" in world.mailchimp.tags(RETAIL, NEW)
    judge(world)


@pytest.mark.parametrize("read_between", [True, False], ids=["known before", "known with the opt-out"])
@pytest.mark.parametrize("act", ["unsubscribe", "unsubscribe_by_admin", "complain", "bounce_hard"])
def test_an_opt_out_of_the_new_address_reaches_the_one_that_odoo_has(
    world: SmallWorld, act: str, read_between: bool
):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    if read_between:
        world.run_until_done()
        later(world)
    getattr(world.mailchimp, act)(RETAIL, NEW)
    world.run_until_done(only_opt_outs=True)
    assert OLD in blacklisted(world)
    world.run_until_done()
    assert NEW not in blacklisted(world), "Odoo does not know it"
    world.odoo.edit_partner(world.partner, email=NEW)  # type: ignore[attr-defined]
    world.run_until_done()
    assert {OLD, NEW} <= blacklisted(world)
    judge(world)


@pytest.mark.parametrize("only_opt_outs", [True, False], ids=["opt-outs alone", "a whole run"])
def test_the_former_address_on_odoos_blacklist_unsubscribes_the_member(
    world: SmallWorld, only_opt_outs: bool
):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    world.odoo.blacklist(OLD)
    world.run_until_done(only_opt_outs=only_opt_outs)
    assert statuses(world) == {NEW: "unsubscribed"}
    world.run_until_done()
    judge(world)


def test_one_who_was_on_the_blacklist_and_changes_before_anybody_acts_is_unsubscribed(world: SmallWorld):
    world.odoo.blacklist(OLD)
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    world.run_until_done()
    assert statuses(world) == {NEW: "unsubscribed"}
    judge(world)


def test_consent_taken_back_in_odoo_unsubscribes_the_member_under_the_new_address(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    (subscription,) = world.odoo.search("mailing.subscription")
    world.odoo.opt_out(subscription)
    world.run_until_done()
    assert statuses(world) == {NEW: "unsubscribed"}
    assert blacklisted(world) == set()


def test_consent_taken_back_before_the_change_makes_no_row_on_odoos_blacklist(world: SmallWorld):
    (subscription,) = world.odoo.search("mailing.subscription")
    world.odoo.opt_out(subscription)
    world.run_until_done()
    later(world)
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    later(world)
    world.odoo.edit_partner(world.partner, email=NEW)  # type: ignore[attr-defined]
    world.run_until_done()
    assert statuses(world) == {NEW: "unsubscribed"}
    assert blacklisted(world) == set()


def test_who_comes_back_by_themselves_under_the_new_address_is_back_under_both(world: SmallWorld):
    with world.webhooks():
        world.mailchimp.change_address(RETAIL, OLD, NEW)
        world.mailchimp.deliver_webhooks()
        later(world)
        world.mailchimp.unsubscribe(RETAIL, NEW)
        world.mailchimp.deliver_webhooks()
        world.run_until_done()
        assert OLD in blacklisted(world)
        later(world)
        world.mailchimp.sign_up(RETAIL, NEW)
        world.mailchimp.deliver_webhooks()
        world.run_until_done()
    assert blacklisted(world) == set()
    assert statuses(world) == {NEW: "subscribed"}
    judge(world)


def test_several_changes_are_one_person_who_may_come_back_to_the_address_that_odoo_has(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    later(world)
    world.mailchimp.change_address(RETAIL, NEW, NEWER)
    run = world.run_until_done()
    ((_, _, detail),) = listed(run)
    assert f"to {NEWER}" in detail
    world.odoo.blacklist(OLD)
    world.run_until_done(only_opt_outs=True)
    assert statuses(world) == {NEWER: "unsubscribed"}
    world.odoo.unblacklist(OLD)
    later(world)
    world.mailchimp.change_address(RETAIL, NEWER, OLD)
    run = world.run_until_done()
    assert listed(run) == []
    assert statuses(world) == {OLD: "unsubscribed"}
    judge(world)


def test_another_partner_who_gets_the_former_address_is_somebody_else(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    world.odoo.edit_partner(world.partner, email=NEW)  # type: ignore[attr-defined]
    customer(world, OLD, "Ben Birk")
    run = world.run_until_done()
    assert listed(run) == []
    assert set(statuses(world)) == {OLD, NEW}
    assert world.member_fields(RETAIL, OLD)["FNAME"] == "Ben Birk"
    world.odoo.blacklist(OLD)
    world.run_until_done()
    assert statuses(world) == {OLD: "unsubscribed", NEW: "subscribed"}
    judge(world)


def test_of_two_contacts_with_the_address_neither_is_made_again_when_one_is_corrected():
    with small_world() as world:
        both = [customer(world, OLD), customer(world, OLD)]
        world.odoo.subscribe(world.newsletter, OLD)
        world.run_until_done()
        world.run_until_done()
        later(world)
        world.mailchimp.change_address(RETAIL, OLD, NEW)
        world.run_until_done()
        with world._ledger_of_a_person() as systems:
            (change,) = systems.ledger.changed_addresses.open(COMPANY)
        assert change.partner_id in both
        both.remove(change.partner_id)
        world.odoo.edit_partner(change.partner_id, email=NEW)
        world.run_until_done()
        run = world.run_until_done()
        assert statuses(world) == {NEW: "subscribed"}
        assert [(email, reason) for email, reason, _ in listed(run)] == [(OLD, "changed_in_mailchimp")]
        world.odoo.blacklist(OLD)
        world.run_until_done(only_opt_outs=True)
        assert statuses(world) == {NEW: "unsubscribed"}
        world.odoo.edit_partner(both[0], email=NEW)
        assert listed(world.run_until_done()) == []
        assert statuses(world) == {NEW: "unsubscribed"}


def test_the_opt_out_of_one_who_took_the_address_before_the_next_whole_run_is_theirs(world: SmallWorld):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    world.run_until_done()
    world.odoo.edit_partner(world.partner, email=NEW)  # type: ignore[attr-defined]
    customer(world, OLD, "Ben Birk")
    world.odoo.blacklist(OLD)
    world.run_until_done(only_opt_outs=True)
    assert statuses(world) == {NEW: "subscribed"}
    world.run_until_done()
    judge(world)


def test_another_member_who_signs_up_with_the_former_address_is_left_alone_until_odoo_is_corrected(
    world: SmallWorld,
):
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    later(world)
    world.mailchimp.sign_up(RETAIL, OLD)
    run = world.run_until_done()
    assert statuses(world) == {OLD: "subscribed", NEW: "subscribed"}
    assert [reason for _, reason, _ in listed(run)] == ["changed_in_mailchimp"]
    assert world.member_fields(RETAIL, OLD).get("FNAME", "") == ""
    assert world.mailchimp.tags(RETAIL, OLD) == []
    later(world)
    world.mailchimp.unsubscribe(RETAIL, OLD)
    world.run_until_done()
    assert statuses(world) == {OLD: "unsubscribed", NEW: "subscribed"}, "another member's opt-out"
    world.check_nothing_is_left_to_do()
    assert world.violations() == []


def test_two_who_pass_their_addresses_on_at_once_are_not_mixed_up(world: SmallWorld):
    ben = customer(world, NEW, "Ben Birk", is_company=False)
    world.run_until_done()
    world.run_until_done()
    later(world)
    world.mailchimp.change_address(RETAIL, NEW, NEWER)
    world.mailchimp.change_address(RETAIL, OLD, NEW)
    run = world.run_until_done()
    assert {(email, reason) for email, reason, _ in listed(run)} == {
        (OLD, "changed_in_mailchimp"),
        (NEW, "changed_in_mailchimp"),
    }
    assert world.member_fields(RETAIL, NEW)["FNAME"] == "Ann Ash"
    assert world.member_fields(RETAIL, NEWER)["FNAME"] == "Ben Birk"
    world.mailchimp.unsubscribe(RETAIL, NEWER)
    world.run_until_done()
    assert blacklisted(world) == set(), "the address that Odoo has of Ben is Ann's"
    world.odoo.edit_partner(ben, email=NEWER)
    world.odoo.edit_partner(world.partner, email=NEW)  # type: ignore[attr-defined]
    run = world.run_until_done()
    assert listed(run) == []
    assert blacklisted(world) == {NEWER}
    assert statuses(world) == {NEW: "subscribed", NEWER: "unsubscribed"}


def test_our_own_rename_is_none(world: SmallWorld):
    world.odoo.edit_partner(world.partner, email=NEW)  # type: ignore[attr-defined]
    run = world.run_until_done()
    run = world.run_until_done()
    assert statuses(world) == {NEW: "subscribed"}
    assert listed(run) == []
    with world._ledger_of_a_person() as systems:
        assert systems.ledger.changed_addresses.open(COMPANY) == []
    judge(world)


def test_a_webhook_tells_it_where_no_read_has_shown_the_contact_before():
    """Made by a bulk call, which answers without contact_id; changed before the next read of the audience."""
    with small_world() as world, world.webhooks():
        customer(world, OLD)
        world.run_until_done()
        later(world)
        world.mailchimp.change_address(RETAIL, OLD, NEW)
        world.mailchimp.deliver_webhooks(times=2)
        run = world.run_until_done()
        assert statuses(world) == {NEW: "transactional"}
        assert [(email, reason) for email, reason, _ in listed(run)] == [(OLD, "changed_in_mailchimp")]
        judge(world)
