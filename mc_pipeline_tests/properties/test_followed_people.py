"""Opt-outs and consent follow the person through changes in Odoo, and nobody else (rules 5.6 and 6.3)."""

from datetime import timedelta

from mc_pipeline_tests.properties.small_world import ORDERED, RETAIL, SmallWorld, small_world

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


def test_consent_taken_back_under_a_new_address_is_carried_by_the_path_of_the_opt_outs_alone() -> None:
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
