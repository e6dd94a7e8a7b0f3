"""Opt-outs and consent follow the person through changes in Odoo, and nobody else (rules 5.6 and 6.3)."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sync.opt_outs.asking_odoo import LISTS, ask_odoo
from mc_pipeline_tests.properties.oracle import BOX, BOX_DATE, SECOND
from mc_pipeline_tests.properties.small_world import (
    COMPANY,
    ORDERED,
    RETAIL,
    SECOND_COMPANY,
    SmallWorld,
    small_world,
)

OLD, NEW, THIRD = "old@example.com", "new@example.com", "third@example.com"
ADDRESSES = (OLD, NEW, THIRD)


def customer(world: SmallWorld, email: str, name: str = "Ann Ash") -> int:
    partner = world.odoo.add_partner(name=name, email=email)
    world.odoo.add_order(partner, 100, date_order=ORDERED)
    return partner


def statuses(world: SmallWorld) -> dict[str, str]:
    found = world.mailchimp.statuses(RETAIL)
    return {email: found[email] for email in ADDRESSES if email in found}


def test_who_takes_up_an_address_does_not_pass_an_opt_out_on_to_the_one_who_left_it() -> None:
    with small_world() as world:
        first, second = customer(world, OLD), customer(world, NEW, "Bob Birch")
        world.odoo.subscribe(world.newsletter, NEW)
        world.run_until_done()
        world.mailchimp.advance(timedelta(minutes=1))
        world.mailchimp.unsubscribe(RETAIL, OLD)
        world.run_until_done()
        # In one night: the address goes to the one who opted out, and its owner gets another one.
        world.odoo.edit_partner(second, email=THIRD)
        world.odoo.edit_partner(first, email=NEW)
        world.run_until_done()
        world.run_until_done()
        assert statuses(world)[NEW] == "unsubscribed"
        assert statuses(world)[THIRD] == "transactional"


def test_an_opt_out_of_an_address_that_never_was_a_member_follows_its_partner() -> None:
    with small_world() as world:
        partner = customer(world, OLD)
        world.odoo.blacklist(OLD)
        world.run_until_done()
        assert OLD not in statuses(world)
        world.odoo.edit_partner(partner, email=NEW)
        world.odoo.subscribe(world.newsletter, NEW)
        world.run_until_done()
        assert statuses(world).get(NEW) == "unsubscribed"


@pytest.mark.quick
def test_an_opt_out_follows_a_partner_that_was_merged() -> None:
    with small_world() as world:
        partner, survivor = customer(world, OLD), customer(world, NEW)
        world.odoo.subscribe(world.newsletter, NEW)
        world.odoo.blacklist(OLD)
        world.run_until_done()
        assert statuses(world)[NEW] == "subscribed"
        world.odoo.merge_partners(survivor, partner)
        world.run_until_done()
        assert statuses(world)[NEW] == "unsubscribed"


def test_consent_taken_back_under_a_new_address_is_applied_by_the_path_of_the_opt_outs_alone() -> None:
    with small_world() as world:
        partner = customer(world, OLD)
        subscription = world.odoo.subscribe(world.newsletter, OLD)
        world.run_until_done()
        assert statuses(world) == {OLD: "subscribed"}
        world.odoo.edit_partner(partner, email=NEW)
        world.run_until_done()
        assert statuses(world) == {NEW: "subscribed"}
        world.odoo.opt_out(subscription)
        world.run_until_done(only_opt_outs=True)
        assert statuses(world) == {NEW: "unsubscribed"}


def test_consent_taken_back_before_the_person_is_a_member_under_the_new_address_goes_with_them() -> None:
    with small_world() as world:
        partner = customer(world, OLD)
        subscription = world.odoo.subscribe(world.newsletter, OLD)
        world.run_until_done()
        world.odoo.edit_partner(partner, email=NEW, name="Ann Oak")  # another name: a new person there
        world.odoo.subscribe(world.newsletter, NEW)
        world.odoo.opt_out(subscription)
        world.run_until_done()
        assert statuses(world) == {OLD: "unsubscribed", NEW: "unsubscribed"}


def test_a_field_that_neither_odoo_nor_the_settings_have_any_more_asks_for_nothing() -> None:
    with small_world(with_every_consent=True) as world:
        partner = world.odoo.add_partner(name="Ann Ash", email=OLD, **{BOX: True, BOX_DATE: "2026-05-01"})
        world.odoo.add_order(partner, 100, date_order=ORDERED, company_id=world.second_company)
        world.run_until_done(company=SECOND_COMPANY)
        assert world.mailchimp.status(SECOND, OLD) == "subscribed"
        second = world.settings.companies[SECOND_COMPANY]
        audiences = {
            key: audience.model_copy(update={"consent": None}) for key, audience in second.audiences.items()
        }
        world.settings = world.settings.model_copy(
            update={
                "companies": world.settings.companies
                | {SECOND_COMPANY: second.model_copy(update={"audiences": audiences})}
            }
        )
        del world.odoo.model("res.partner").fields[BOX]
        run = world.run(company=SECOND_COMPANY)
        assert run.tables["missed_opt_outs"].facts["trouble"] == ""
        assert world.mailchimp.status(SECOND, OLD) == "subscribed"


def test_somebody_who_came_back_by_themselves_stays_whatever_is_edited_on_their_contact() -> None:
    with small_world(with_every_consent=True) as world, world.webhooks():
        second = world.settings.companies[SECOND_COMPANY].model_copy(update={"opt_out_scope": "company"})
        world.settings = world.settings.model_copy(
            update={"companies": world.settings.companies | {SECOND_COMPANY: second}}
        )
        company = {"company_id": world.second_company}
        partner = world.odoo.add_partner(
            name="Ann Ash", email=OLD, **{BOX: True, BOX_DATE: "2026-05-01"}, **company
        )
        world.odoo.add_order(partner, 100, date_order=ORDERED, **company)

        def goes_on(act: Callable[[], object]) -> str | None:
            act()
            world.mailchimp.deliver_webhooks()
            world.time_passes(timedelta(minutes=1))
            world.run_until_done(company=SECOND_COMPANY)
            world.time_passes(timedelta(minutes=1))
            return world.mailchimp.status(SECOND, OLD)

        assert goes_on(lambda: None) == "subscribed"
        assert goes_on(lambda: world.mailchimp.unsubscribe(SECOND, OLD)) == "unsubscribed"
        assert world.odoo.read("res.partner", partner, BOX)[BOX] is False
        assert goes_on(lambda: world.mailchimp.sign_up(SECOND, OLD)) == "subscribed"
        assert goes_on(lambda: world.odoo.edit_partner(partner, phone="1")) == "subscribed"


def test_a_changed_address_that_cannot_be_asked_for_delays_no_other_opt_out() -> None:
    carl = "carl@example.com"
    with small_world() as world:
        for email in (OLD, NEW, carl):
            customer(world, email, email[:4])
            world.odoo.subscribe(world.newsletter, email)
        world.run_until_done()
        world.run_until_done()
        contact = world.mailchimp.member(RETAIL, NEW)
        assert contact is not None
        world.mailchimp.advance(timedelta(minutes=1))
        world.mailchimp.change_address(RETAIL, NEW, THIRD)
        world.mailchimp.change_address(RETAIL, OLD, NEW)
        world.mailchimp.unsubscribe(RETAIL, NEW)
        world.mailchimp.unsubscribe(RETAIL, carl)
        fault = Fault(
            "html_503", match_method="GET", match_path_regex=f"/members/{contact.contact_id}", times=None
        )
        run = world.run(only_opt_outs=True, begin=lambda: world.mailchimp.faults.add(fault))
        assert fault.fired
        assert carl in world.odoo.database.blacklisted()
        assert not run.tables["mailchimp_opt_outs"].complete
        world.run_until_done()
        world.run_until_done()
        assert world.mailchimp.status(RETAIL, THIRD) == "subscribed"


def test_trouble_with_mailing_lists_leaves_the_blacklist_and_they_are_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with small_world() as world:
        customer(world, OLD)
        subscription = world.odoo.subscribe(world.newsletter, OLD)
        world.run_until_done()
        world.odoo.opt_out(subscription)
        world.odoo.blacklist(NEW)
        systems = world.systems()
        company = systems.settings.companies[COMPANY]
        try:
            with monkeypatch.context() as trouble:
                trouble.setattr(systems.ledger.used_evidence, "concerned", _cannot_be_read)
                asked = ask_odoo(systems, company)
            assert asked.troubles.keys() == {LISTS}
            assert [each.email for each in asked.news] == [NEW]
            assert [each.email for each in ask_odoo(systems, company).news] == [OLD]
        finally:
            systems.close()


def _cannot_be_read(*_: object, **__: object) -> None:
    raise OSError("disk I/O error")
