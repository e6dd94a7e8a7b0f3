"""Marketing permissions (GDPR) end to end: given once to whom we subscribed, without a word of status."""

from datetime import UTC, datetime

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
AUDIENCE = """
    audiences:
      readers:
        list_id: readers1
        consent: {{mailing_list: Newsletter, marketing_permissions: [{permission}]}}
"""


@pytest.fixture
def readers(world: World) -> World:
    """A world with one audience that asks for permissions, and a mailing list in Odoo."""
    world.mailchimp.add_audience("readers1", "Readers", marketing_permissions=True)
    configure(world, "email")
    return world


def configure(world: World, permission: str) -> None:
    world.configure(
        "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
        + AUDIENCE.format(permission=permission)
    )


def readers_of_the_newsletter(world: World, count: int) -> None:
    newsletter = world.odoo.add_mailing_list("Newsletter")
    for number in range(count):
        partner = world.odoo.add_partner(name=f"Reader {number}", email=f"reader{number}@example.com")
        world.odoo.add_order(partner, 10.0, date_order=ORDERED)
        world.odoo.subscribe(newsletter, f"reader{number}@example.com")


def given(world: World, email: str) -> dict[str, bool]:
    audience = world.mailchimp.audience("readers1")
    (member,) = [member for member in audience.members.values() if member.email_address == email]
    permissions = member.marketing_permissions or {}
    return {text: permissions.get(each, False) for each, text in audience.permissions.items()}


@pytest.mark.parametrize("people", [1, 12], ids=["directly", "by batch"])
def test_readers_get_the_permission_with_their_creation_and_nothing_later(readers: World, people):
    readers_of_the_newsletter(readers, people)
    readers.sync()
    for number in range(people):
        assert given(readers, f"reader{number}@example.com") == {"Email": True, "Direct Mail": False}
        assert readers.mailchimp.status("readers1", f"reader{number}@example.com") == "subscribed"
    bodies = [entry.body for entry in readers.mailchimp.journal.writes if entry.method == "PATCH"]
    assert bodies
    assert all(set(body) == {"marketing_permissions"} for body in bodies)
    readers.mailchimp.journal.clear()
    readers.sync()
    assert readers.mailchimp.journal.writes == []


@pytest.mark.long
def test_an_answer_that_is_lost_leads_to_no_second_giving(readers: World):
    readers_of_the_newsletter(readers, 1)
    readers.run()
    readers.approve()
    # Carried out, and then everything breaks: the run ends without knowing what became of it.
    fault = readers.mailchimp.faults.add(
        Fault("html_403", "PATCH", "/lists/readers1/members/", after_applying=True)
    )
    assert not readers.run().success
    assert fault.fired == 1
    assert given(readers, "reader0@example.com")["Email"]
    readers.mailchimp.journal.clear()
    readers.sync()
    assert readers.mailchimp.journal.writes == []


def test_a_permission_whose_answer_was_lost_and_that_is_not_there_is_listed_with_what_to_do(readers: World):
    readers_of_the_newsletter(readers, 1)
    readers.run()
    readers.approve()
    fault = readers.mailchimp.faults.add(Fault("reset_after", "PATCH", "/lists/readers1/members/"))
    first = readers.run()
    assert fault.fired == 1
    assert not readers.checks(first)["audience_push/everything_applied"].passed
    (member,) = readers.mailchimp.audience("readers1").members.values()
    member.marketing_permissions = {}
    readers.mailchimp.journal.clear()
    second = readers.run()
    assert readers.mailchimp.journal.writes == []
    check = readers.checks(second)["audience_plan/permissions_known"]
    assert not check.passed
    assert "It is not known whether Mailchimp gave 1 marketing permissions" in check.description
    assert "look at these members in Mailchimp" in check.description
    (listed,) = check.metadata["who"].value.records
    assert (listed.data["audience"], listed.data["permission"]) == ("readers", "email")
    assert "reader0" not in str(check.metadata)


def test_a_permission_that_the_audience_does_not_know_is_named(readers: World):
    configure(readers, "Carrier pigeon")
    readers_of_the_newsletter(readers, 1)
    result = readers.sync()
    check = readers.checks(result)["audience_push/everything_applied"]
    assert not check.passed
    (row,) = readers.table("audience_push").rows.query("operation == 'permit'").to_dict("records")
    assert row["detail"] == "the audience has no marketing permission called Carrier pigeon"
    assert readers.mailchimp.status("readers1", "reader0@example.com") == "subscribed"
