"""A process killed by the system in the middle of a push: the next run ends as if nothing had happened."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.small_world import ORDERED, SmallWorld, small_world

ROOT = Path(__file__).parents[2]
PEOPLE = 30


def settle(world: SmallWorld) -> None:
    """People in both audiences; the plan of their first load is approved and not applied."""
    for number in range(PEOPLE):
        partner = world.odoo.add_partner(
            name=f"Person {number}", email=f"person{number}@example.com", is_company=number % 5 == 0
        )
        world.odoo.add_order(partner, 100.0 * number, date_order=ORDERED)
        world.odoo.subscribe(world.newsletter, f"person{number}@example.com")
    world.mailchimp.add_member(RETAIL, "person1@example.com", "unsubscribed")
    world.story.members = {**world.story.members, (RETAIL, "person1@example.com"): "unsubscribed"}
    assert world.approve_what_waits(world.run())


def outcome(world: SmallWorld) -> dict[str, object]:
    """What came of everybody."""
    return {
        list_id: {
            email: (status, world.member_fields(list_id, email), sorted(world.mailchimp.tags(list_id, email)))
            for email, status in world.mailchimp.statuses(list_id).items()
        }
        for list_id in (RETAIL, WHOLESALE)
    } | {"mails": sorted((mail.kind, mail.email) for mail in world.mailchimp.mails)}


@pytest.fixture(scope="module")
def undisturbed() -> tuple[dict[str, object], int]:
    """What an undisturbed run makes of everybody, and how many requests it makes before it writes."""
    with small_world() as world:
        settle(world)
        world.mailchimp.journal.clear()
        world.run_until_done()
        requests = [entry for entry in world.mailchimp.journal.requests if entry.batch_id is None]
        return outcome(world), next(at for at, entry in enumerate(requests) if entry.is_write)


@pytest.mark.parametrize("later", [0, 3])
def test_a_killed_process_loses_nothing_and_nothing_is_done_twice(
    undisturbed: tuple[dict[str, object], int], later: int
):
    expected, before_writing = undisturbed
    with small_world() as world:
        settle(world)
        mark = world.begin_run()
        mark.observed = True
        arguments = [str(world.folder), "after_request", str(before_writing + later)]
        killed = subprocess.run(
            [sys.executable, "-m", "mc_pipeline_tests.properties.sync_process", *arguments],
            cwd=ROOT,
            timeout=100,
        )
        assert killed.returncode == -signal.SIGKILL
        mark.last = world.mailchimp.journal.last_number
        assert any(entry.applied for entry in world.mailchimp.journal.writes)
        world.run_until_done()
        world.check_everybody_is_where_they_belong()
        world.check_nothing_is_left_to_do()
        assert world.violations() == []
        assert outcome(world) == expected
