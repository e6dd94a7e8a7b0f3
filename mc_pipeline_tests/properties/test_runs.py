"""The quick way to run a company asks of both servers exactly what a run through Dagster asks."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from mc_pipeline.definitions import build_defs
from mc_pipeline.defs.jobs import SYNC_COMPANY
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sync.systems import Systems
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:T[^\"&]*?(?:\+|%2B)00(?::|%3A)00| \d\d:\d\d(?::\d\d)?)")


def _live(world: SmallWorld, sync: Callable[[SmallWorld], None]) -> dict[str, list[str]]:
    """A first load and a busy day; returns what each server was asked."""
    for number in range(14):
        partner = world.odoo.add_partner(
            name=f"Person {number}", email=f"person{number}@example.com", is_company=number % 4 == 0
        )
        world.odoo.add_order(partner, 150.0 * number, date_order=ORDERED)
    world.odoo.subscribe(world.newsletter, "person4@example.com")
    world.mailchimp.add_member(RETAIL, "person1@example.com", "unsubscribed")
    sync(world)
    for partner in world.odoo.search("res.partner", [("name", "like", "Person")]):
        world.odoo.edit_partner(partner, name=f"Doctor {partner}")
    world.odoo.edit_partner(partner, email="moved@example.com")
    world.odoo.blacklist("person2@example.com")
    world.mailchimp.unsubscribe(WHOLESALE, "person4@example.com")
    world.odoo.archive_partner(world.odoo.search("res.partner", [("email", "=", "person3@example.com")])[0])
    sync(world)
    return {
        "odoo": _asked(world.odoo.journal.requests),
        "mailchimp": _asked(world.mailchimp.journal.requests),
    }


def _asked(entries: list[JournalEntry]) -> list[str]:
    """Requests without moments and order. How often a batch is asked for depends on the machine's speed."""
    counted = Counter(
        _MOMENT.sub("T", f"{entry.method} {entry.path}?{entry.query_string} {entry.raw_body.decode()}")
        for entry in entries
        if not re.search(r"^GET .*/(batches|batch-results)/", f"GET {entry.path}") or entry.method != "GET"
    )
    # Ids that the stand-in makes up, and the numbering of Odoo's calls.
    return sorted(re.sub(r'"id": \d+', '"id": 0', request) for request in counted.elements())


def _quickly(world: SmallWorld) -> None:
    world.run_until_done()


def _through_dagster(world: SmallWorld) -> None:
    job = build_defs(world.settings).resolve_job_def(SYNC_COMPANY)
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(3):
            result = job.execute_in_process(partition_key=COMPANY, instance=instance, raise_on_error=False)
            systems = Systems(world.settings)
            waiting = [
                (ledger, each.plan_id)
                for ledger in (systems.ledger.plans, systems.ledger.old_opt_outs)
                for each in ledger.waiting(COMPANY)
            ]
            for ledger, plan_id in waiting:
                ledger.approve(plan_id, by="marketing", reason="looks right")
            systems.close()
            if not waiting:
                break
    assert result.success


def test_both_ways_of_running_ask_the_servers_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with small_world() as world:
        quickly = _live(world, _quickly)
    with small_world() as world:
        through_dagster = _live(world, _through_dagster)
    assert through_dagster["odoo"] == quickly["odoo"]
    assert through_dagster["mailchimp"] == quickly["mailchimp"]
    written = [request for request in quickly["mailchimp"] if not request.startswith("GET")]
    assert any(request.startswith("POST /3.0/batches") for request in written)
    assert any('"status":"unsubscribed"' in request.replace(" ", "") for request in written)
