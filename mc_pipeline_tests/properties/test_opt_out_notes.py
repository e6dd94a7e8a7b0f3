"""The note that says in Odoo why an opt-out is there, in whole runs that may write it or may not."""

import logging

import pytest

from mc_pipeline_tests.properties.oracle import RETAIL
from mc_pipeline_tests.properties.small_world import ORDERED, SmallWorld, small_world

ANN = "ann@example.com"


def settle(world: SmallWorld, email: str = ANN) -> int:
    """A customer who is a subscribed member."""
    partner = world.odoo.add_partner(name="Ann Ash", email=email)
    world.odoo.add_order(partner, 100, date_order=ORDERED)
    world.mailchimp.add_member(RETAIL, email, "subscribed")
    world.story.members = {**world.story.members, (RETAIL, email): "subscribed"}
    world.run_until_done()
    return partner


def notes(world: SmallWorld) -> list[str]:
    (row,) = world.odoo.search("mail.blacklist", [("email", "=", ANN), ("active", "=", True)])
    return world.odoo.notes("mail.blacklist", row)


@pytest.mark.parametrize("only_opt_outs", [True, False])
def test_a_run_writes_the_reason_beside_the_row_and_the_next_one_writes_nothing(only_opt_outs: bool):
    with small_world() as world:
        settle(world)
        world.mailchimp.unsubscribe(RETAIL, ANN)
        assert world.run(only_opt_outs=only_opt_outs).succeeded
        (note,) = notes(world)
        assert "unsubscribed from the Mailchimp audience “retail” (My Company) on 20" in note
        assert " UTC. It is not known who did it." in note, "nothing in the audience proves it"
        world.run_until_done()
        assert notes(world) == [note]


@pytest.mark.quick
def test_an_unsubscribe_by_an_administrator_is_reported_as_that():
    with small_world() as world:
        settle(world)
        world.mailchimp.unsubscribe_by_admin(RETAIL, ANN)
        assert world.run(only_opt_outs=True).succeeded
        (note,) = notes(world)
        assert "an administrator unsubscribed the person" in note


@pytest.mark.parametrize("only_opt_outs", [True, False])
def test_a_run_that_may_write_no_notes_succeeds_and_tells_it_once(
    only_opt_outs: bool, caplog: pytest.LogCaptureFixture
):
    with small_world() as world:
        settle(world)
        (administrator,) = world.odoo.search("res.users", [("login", "=", "admin")])
        world.odoo.deny(administrator, "mail.message", "create")
        world.mailchimp.unsubscribe(RETAIL, ANN)
        with caplog.at_level(logging.WARNING):
            run = world.run(only_opt_outs=only_opt_outs)
            assert world.run(only_opt_outs=only_opt_outs).succeeded
        assert run.succeeded
        assert notes(world) == []
        lines = [
            record.getMessage() for record in caplog.records if "without the note" in record.getMessage()
        ]
        assert len(lines) == 1
        assert lines[0].startswith("1 of 1 opt-outs are applied without the note in Odoo that says why: ")
        assert "@" not in lines[0]
        (carried,) = run.tables["odoo_opt_outs"].rows.to_dict("records")
        assert carried["outcome"] == "applied"
        assert carried["detail"].startswith("no note in Odoo says why: ")
