"""A row of ours is lifted for whom Mailchimp shows as subscribed, and made again for news (rules 5.3, 5.5).

Whole runs over both systems: what was reported by webhooks, what was not, and what cannot be asked.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from mc_pipeline.domain.consent.opt_outs_into_odoo import LIFTED_IN_ODOO, NOT_SUBSCRIBED_NOW
from mc_pipeline.ledger.due_in_odoo import CONFLICT, DUE
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sync.person import tell_story
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

ANN, BOB = "ann@example.com", "bob@example.com"
MEMBER = rf"/lists/{RETAIL}/members/\w{{32}}\?"


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    """Ann and Bob were subscribed and unsubscribed themselves: both have a row of ours."""
    with small_world() as world, world.webhooks():
        for email in (ANN, BOB):
            join(world, email)
        world.run_until_done()
        for email in (ANN, BOB):
            world.mailchimp.unsubscribe(RETAIL, email)
        deliver(world)
        world.run_until_done()
        assert rows(world) == {ANN: True, BOB: True}
        yield world


def join(world: SmallWorld, email: str) -> None:
    """A customer who is subscribed."""
    partner = world.odoo.add_partner(name="Ann Ash", email=email)
    world.odoo.add_order(partner, 100.0, date_order=ORDERED)
    world.mailchimp.add_member(RETAIL, email, "subscribed")


def deliver(world: SmallWorld, seconds: int = 20) -> None:
    """Webhooks are delivered, and a little time passes."""
    world.mailchimp.deliver_webhooks()
    world.mailchimp.advance(timedelta(seconds=seconds))


def lose_webhooks(world: SmallWorld) -> None:
    """Webhooks that wait are lost, and a little time passes."""
    world.mailchimp.state.webhook_deliveries.clear()
    world.mailchimp.advance(timedelta(seconds=20))


def rows(world: SmallWorld) -> dict[str, bool]:
    return {
        str(row["email"]): bool(row.get("active", True))
        for row in world.odoo.model("mail.blacklist").table.rows.values()
    }


def open_in_odoo(world: SmallWorld) -> dict[str, tuple[str, str]]:
    with world._ledger_of_a_person() as systems:
        found = systems.ledger.due_in_odoo.of(COMPANY, CONFLICT, DUE)
        return {each.email: (each.state, each.conflict) for each in found}


def words(world: SmallWorld, email: str) -> str:
    """What explain tells of an address."""
    with world._ledger_of_a_person() as systems:
        story = tell_story(systems.ledger, world.settings.companies[COMPANY], email)
    return " ".join(step.sentence for chapter in story.chapters for step in chapter.steps)


def check_quiet(world: SmallWorld) -> None:
    """Two further runs write nothing to Mailchimp, and the second asks about nobody.

    The first may: a field that we wrote of somebody who had just left is a reason to ask once.
    """
    before = world.mailchimp.journal.last_number
    world.check_nothing_is_left_to_do()
    between = world.mailchimp.journal.last_number
    world.check_nothing_is_left_to_do()
    assert not [entry for entry in world.mailchimp.journal.since(before) if entry.is_write]
    assert not [entry for entry in world.mailchimp.journal.since(between) if "activity-feed" in entry.path]
    assert not world.violations()


LEAVING: dict[str, Callable[[SmallWorld, str], None]] = {
    "program@example.com": lambda world, email: world.unsubscribe_by_another_program(RETAIL, email),
    "person@example.com": lambda world, email: world.mailchimp.unsubscribe(RETAIL, email),
    "admin@example.com": lambda world, email: world.mailchimp.unsubscribe_by_admin(RETAIL, email),
    "archived@example.com": lambda world, email: world.mailchimp.archive(RETAIL, email),
    "deleted@example.com": lambda world, email: world.mailchimp.delete_permanently(RETAIL, email),
}
"""How somebody who signed up is subscribed no more, without a word to us."""


@pytest.mark.parametrize("feed", [True, False], ids=["feed", "no feed"])
def test_a_sign_up_followed_by_what_nobody_reported_removes_nothing(world: SmallWorld, feed: bool) -> None:
    for email in LEAVING:
        join(world, email)
    world.run_until_done()
    for email in LEAVING:
        world.mailchimp.unsubscribe(RETAIL, email)
    deliver(world)
    world.run_until_done()
    assert [rows(world)[email] for email in LEAVING] == [True] * len(LEAVING)
    for email in LEAVING:
        world.mailchimp.sign_up(RETAIL, email)
    deliver(world)
    for email, leave in LEAVING.items():
        leave(world, email)
    lose_webhooks(world)
    if not feed:
        world.mailchimp.faults.add(Fault("html_503", match_path_regex="activity-feed", times=None))
    assert world.run(only_opt_outs=True).succeeded
    assert [rows(world)[email] for email in LEAVING] == [True] * len(LEAVING)
    assert open_in_odoo(world) == dict.fromkeys(LEAVING, (CONFLICT, NOT_SUBSCRIBED_NOW))
    world.run_until_done()
    assert [rows(world)[email] for email in LEAVING] == [True] * len(LEAVING)
    for email in LEAVING:
        assert "is no longer subscribed in that audience" in words(world, email)
    check_quiet(world)


def test_a_sign_up_that_holds_lifts_and_nobody_unsubscribes_them(world: SmallWorld) -> None:
    world.mailchimp.sign_up(RETAIL, ANN)
    deliver(world)
    world.run_until_done()
    assert rows(world) == {ANN: False, BOB: True}
    assert world.mailchimp.status(RETAIL, ANN) == "subscribed"
    assert open_in_odoo(world) == {}
    check_quiet(world)


def test_who_cannot_be_looked_at_stays_due_and_stops_nobody_else(world: SmallWorld) -> None:
    world.mailchimp.sign_up(RETAIL, ANN)
    deliver(world)
    carl = world.odoo.add_partner(name="Carl", email="carl@example.com", is_company=True)
    world.odoo.add_order(carl, 100.0, date_order=ORDERED)
    world.mailchimp.add_member(WHOLESALE, "carl@example.com", "subscribed")
    world.mailchimp.unsubscribe(WHOLESALE, "carl@example.com")
    lose_webhooks(world)

    def member_is_not_to_be_read() -> None:
        world.mailchimp.faults.add(Fault("html_503", match_path_regex=MEMBER, times=None))

    run: Run = world.run(only_opt_outs=True, begin=member_is_not_to_be_read)
    assert run.succeeded
    assert rows(world)[ANN] is True
    assert rows(world)["carl@example.com"] is True
    assert world.mailchimp.status(RETAIL, ANN) == "subscribed", "who is perhaps lifted is left alone"
    assert open_in_odoo(world)[ANN] == (DUE, "")
    trouble = run.tables["odoo_opt_outs"].facts["trouble"]
    assert "retail: 1 who resubscribed could not be checked" in trouble
    assert "503" in trouble
    assert "@" not in trouble
    world.run_until_done()
    assert rows(world)[ANN] is False
    assert world.mailchimp.status(RETAIL, ANN) == "subscribed"
    check_quiet(world)


def test_somebody_who_signs_up_and_leaves_unnoticed_after_odoo_removed_the_row_is_opted_out_again(
    world: SmallWorld,
) -> None:
    world.odoo.unblacklist(ANN)
    world.run_until_done()
    assert open_in_odoo(world) == {ANN: (CONFLICT, LIFTED_IN_ODOO)}
    check_quiet(world)
    world.mailchimp.sign_up(RETAIL, ANN)
    lose_webhooks(world)
    world.mailchimp.unsubscribe(RETAIL, ANN)
    lose_webhooks(world)
    world.run_until_done(only_opt_outs=True)
    assert rows(world)[ANN] is True
    assert open_in_odoo(world) == {}
    check_quiet(world)
    assert rows(world)[ANN] is True


def test_fields_that_we_write_after_odoo_lifted_the_row_are_no_new_opt_out(world: SmallWorld) -> None:
    world.odoo.unblacklist(ANN)
    world.odoo.edit_partner(world.odoo.search("res.partner", [["email", "=", ANN]])[0], name="Ann Elm")
    world.run_until_done()
    assert world.member_fields(RETAIL, ANN)["FNAME"] == "Ann Elm"
    world.mailchimp.edit_field(RETAIL, ANN, "FNAME", "Annie")
    lose_webhooks(world)
    world.run_until_done()
    assert rows(world)[ANN] is False
    assert open_in_odoo(world) == {ANN: (CONFLICT, LIFTED_IN_ODOO)}
    assert rows(world)[ANN] is False
