"""Every act in Mailchimp beside every change in Odoo, before and after it: one customer for each pair.

The random stories find what nobody thought of; this finds what everybody would think of, in a few runs.
"""

from collections.abc import Callable
from itertools import product

import pytest

from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.small_world import ORDERED, SmallWorld, small_world

Change = Callable[[SmallWorld, int, str], object]

IN_MAILCHIMP: dict[str, Callable[[SmallWorld, str, str], object]] = {
    "nothing": lambda world, list_id, email: None,
    "unsubscribe": lambda world, list_id, email: world.mailchimp.unsubscribe(list_id, email),
    "complain": lambda world, list_id, email: world.mailchimp.complain(list_id, email),
    "bounce": lambda world, list_id, email: world.mailchimp.bounce_hard(list_id, email),
    "archive": lambda world, list_id, email: world.mailchimp.archive(list_id, email),
    "erase": lambda world, list_id, email: world.mailchimp.delete_permanently(list_id, email),
    "sign up": lambda world, list_id, email: world.mailchimp.sign_up(list_id, email),
    "edit": lambda world, list_id, email: world.mailchimp.edit_field(list_id, email, "FNAME", "By hand"),
}
IN_ODOO: dict[str, Change] = {
    "nothing": lambda world, partner, email: None,
    "name": lambda world, partner, email: world.odoo.edit_partner(partner, name="Grace Hopper"),
    "address": lambda world, partner, email: world.odoo.edit_partner(partner, email=f"new-{email}"),
    "address lost": lambda world, partner, email: world.odoo.edit_partner(partner, email=False),
    "company": lambda world, partner, email: world.odoo.edit_partner(partner, is_company=True),
    "quiet": lambda world, partner, email: world.odoo.tag_partner(partner, world.quiet),
    "archived": lambda world, partner, email: world.odoo.archive_partner(partner),
    "employed": lambda world, partner, email: world.odoo.add_user(f"user-{email}", partner_id=partner),
    "blacklisted": lambda world, partner, email: world.odoo.blacklist(email),
    "consent": lambda world, partner, email: world.odoo.subscribe(world.newsletter, email),
    "order": lambda world, partner, email: world.odoo.add_order(partner, 2000.0, date_order=ORDERED),
}
PAIRS = list(product(IN_MAILCHIMP, IN_ODOO))


def in_peace(world: SmallWorld) -> None:
    world.run_until_done()
    world.check_everybody_is_where_they_belong()
    world.check_both_systems_agree_on_consent()
    world.check_nothing_is_left_to_do()
    assert world.violations() == []


@pytest.mark.parametrize(
    ("consenting", "first"),
    [(True, "mailchimp"), (False, "odoo"), (True, "both"), (False, "both")],
    ids=["subscribed, then Odoo", "transactional, then Mailchimp", "subscribed", "transactional"],
)
def test_every_pair_of_changes_harms_nobody_and_comes_to_rest(consenting: bool, first: str):
    with small_world() as world:
        people = {}
        for number, pair in enumerate(PAIRS):
            email = f"person{number}@example.com"
            partner = world.odoo.add_partner(name="Ada Lovelace", email=email)
            world.odoo.add_order(partner, 50.0, date_order=ORDERED)
            if consenting:
                world.odoo.subscribe(world.newsletter, email)
            people[pair] = (partner, email)
        in_peace(world)
        steps = {"mailchimp": ["mailchimp", "odoo"], "odoo": ["odoo", "mailchimp"], "both": ["both"]}[first]
        for step in steps:
            for (act, edit), (partner, email) in people.items():
                if step in ("odoo", "both") and not (consenting and edit == "consent"):
                    IN_ODOO[edit](world, partner, email)
                if step in ("mailchimp", "both"):
                    _act(world, act, email)
            in_peace(world)
        for edit in ("quiet", "archived", "blacklisted"):
            for act in IN_MAILCHIMP:
                _undo(world, edit, *people[act, edit])
        in_peace(world)


def _act(world: SmallWorld, act: str, email: str) -> None:
    """The act is done where the person is a member now, under whichever address."""
    for list_id, address in product((WHOLESALE, RETAIL), (email, f"new-{email}")):
        if world.mailchimp.status(list_id, address) in ("subscribed", "transactional"):
            IN_MAILCHIMP[act](world, list_id, address)


def _undo(world: SmallWorld, edit: str, partner: int, email: str) -> None:
    match edit:
        case "quiet":
            world.odoo.untag_partner(partner, world.quiet)
        case "archived":
            world.odoo.edit_partner(partner, active=True)
        case "blacklisted":
            world.odoo.unblacklist(email)
