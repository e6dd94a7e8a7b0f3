"""What an opt-out costs is the same in a small company and in a large one: counted in both journals.

The sizes here are one page of each system and several; ``benchmarks/opt_out_requests.py`` measures 100,000.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mc_pipeline.defs.jobs import OPT_OUTS
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed.scale import add_many_members, seed_many
from mc_pipeline_tests.world import TWO_AUDIENCES, World, set_environment

LONG_AGO = datetime(2024, 2, 1, 8, tzinfo=UTC)
SMALL, LARGE = 50, 1500
LISTS = ("wholesale1", "retail1")
ANN, BOB = "customer1@example.com", "customer2@example.com"

Requests = Counter[tuple[str, str, str]]


@contextmanager
def company_of(people: int, folder: Path) -> Iterator[World]:
    """Everybody is a partner and a member of both audiences; a tenth left long ago, in one of the systems."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        set_environment(environment, folder)
        odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
        seed_many(odoo, people, orders_each=0)
        emails = [f"customer{number}@example.com" for number in range(1, people + 1)]
        for list_id in LISTS:
            mailchimp.add_audience(list_id, list_id)
            add_many_members(mailchimp, list_id, emails, at=LONG_AGO)
            left = [f"left{number}@example.com" for number in range(people // 10)]
            add_many_members(mailchimp, list_id, left, "unsubscribed", at=LONG_AGO)
        for number in range(people // 10):
            odoo.blacklist(f"refused{number}@example.com")
        with odoo.serve(), mailchimp.serve():
            world = World(odoo, mailchimp, folder)
            world.configure(
                "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
                + TWO_AUDIENCES
            )
            yield world


def run(world: World) -> Requests:
    """Carry the opt-outs; give what both systems were asked for, by system, method and path."""
    world.odoo.journal.clear()
    world.mailchimp.journal.clear()
    result = world.definitions.resolve_job_def(OPT_OUTS).execute_in_process(
        partition_key="acme", instance=world.instance, raise_on_error=False
    )
    assert result.success, world.failures(result)
    return Counter(
        ("Mailchimp", each.method, each.path) for each in world.mailchimp.journal.requests
    ) + Counter(("Odoo", each.method, each.action or each.path) for each in world.odoo.journal.requests)


def leave_in_mailchimp(world: World) -> None:
    world.mailchimp.unsubscribe("retail1", ANN)


def leave_in_odoo(world: World) -> None:
    world.odoo.blacklist(BOB)


def statuses(world: World, email: str) -> set[str]:
    found = [world.mailchimp.state.audiences[list_id].find(email) for list_id in LISTS]
    return {member.status for member in found if member is not None}


@pytest.mark.parametrize(
    ("leave", "email"), [(leave_in_mailchimp, ANN), (leave_in_odoo, BOB)], ids=["Mailchimp", "Odoo"]
)
def test_an_opt_out_costs_a_large_company_no_more_requests_than_a_small_one(
    tmp_path: Path, leave: Callable[[World], None], email: str
):
    asked: dict[int, Requests] = {}
    quiet: dict[int, Requests] = {}
    for people in (SMALL, LARGE):
        with company_of(people, tmp_path / str(people)) as world:
            run(world)  # everything is heard once
            quiet[people] = run(world)
            leave(world)
            asked[people] = run(world)
            assert statuses(world, email) == {"unsubscribed"}
            assert world.odoo.search("mail.blacklist", [("email", "=", email)])
    assert asked[LARGE] == asked[SMALL]
    assert quiet[LARGE] == quiet[SMALL]
    assert asked[SMALL].total() > quiet[SMALL].total()
