"""The tags of a first load start no automation, however many runs the load takes (rule 7.3)."""

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.small_world import ORDERED, SmallWorld, small_world

PEOPLE = 14


def approved_first_load(world: SmallWorld) -> None:
    """Fourteen people, all subscribed to the newsletter; the plan of their first load is approved."""
    for number in range(PEOPLE):
        partner = world.odoo.add_partner(
            name=f"Person {number}", email=f"person{number}@example.com", is_company=number % 2 == 0
        )
        world.odoo.add_order(partner, 100.0, date_order=ORDERED)
        world.odoo.subscribe(world.newsletter, f"person{number}@example.com")
    assert world.approve_what_waits(world.run())


def mails(world: SmallWorld) -> list[str]:
    return [mail.email for mail in world.mailchimp.mails if mail.kind == "tag_automation"]


@pytest.mark.parametrize(
    ("method", "path", "applied"),
    [
        ("POST", f"/lists/{RETAIL}$", False),
        ("POST", f"/lists/{RETAIL}$", True),
        ("POST", "/batches$", False),
        ("POST", "/batches$", True),
        ("GET", "/batches", False),
    ],
    ids=["creations lost", "creations unanswered", "tags lost", "tags unanswered", "results of tags lost"],
)
def test_a_first_load_in_trouble_is_finished_without_starting_automations(
    method: str, path: str, applied: bool
):
    with small_world() as world:
        approved_first_load(world)
        fault = world.mailchimp.faults.add(
            Fault("html_502", method, path, times=None, after_applying=applied)
        )
        world.run()
        assert fault.fired > 0
        world.run_until_done()
        world.check_everybody_is_where_they_belong()
        assert set(world.mailchimp.statuses(RETAIL).values()) == {"subscribed"}
        assert mails(world) == []


@pytest.mark.quick
def test_tags_after_a_finished_first_load_start_automations_again():
    with small_world() as world:
        approved_first_load(world)
        world.run_until_done()
        assert mails(world) == []
        (partner,) = world.odoo.search("res.partner", [("email", "=", "person1@example.com")])
        world.odoo.add_order(partner, 5000.0, date_order=ORDERED)
        world.run_until_done()
        assert mails(world) == ["person1@example.com"]
        assert world.mailchimp.status(WHOLESALE, "person1@example.com") is None
