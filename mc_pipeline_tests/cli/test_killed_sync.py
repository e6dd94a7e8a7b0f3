"""``kill -9`` of real syncs in one home: opt-outs are carried after each, and nobody waits for a dead run.

Three kills by default; ``MC_PIPELINE_TESTS_KILLS=all`` tries every place, and ``MC_PIPELINE_TESTS_PATIENT=1``
with the usual times of leases and heartbeats (minutes) in place of the short ones.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.defs.dead_runs import MAX_RETRIES_TAG
from mc_pipeline.ledger import Ledger
from mc_pipeline_tests.cli.conftest import mc_pipeline, serve_world
from mc_pipeline_tests.cli.impatient import SILENCE
from mc_pipeline_tests.cli.processes import IMPATIENT, PATIENT, command, stands_still_at
from mc_pipeline_tests.world import World

pytestmark = pytest.mark.long

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
MOST_SECONDS = 180.0
AUDIENCES = """
    audiences:
      retail:
        list_id: retail1
        when: {}
        merge_fields: {FNAME: first_name, LNAME: last_name, SPENT: total_spent}
        tags: {B2C: always}
        store: {id: acme-retail, name: Acme, currency: EUR}
"""

PLACES: dict[str, tuple[str, str, str, str]] = {
    "opt-outs are heard": ("mailchimp", "GET", "unsubscribed_since", ""),
    "in the middle of a push": ("mailchimp", "POST", r"/lists/retail1(\?|$)", ""),
    "orders are written": ("mailchimp", "POST", r"/stores/acme-retail/orders", ""),
    "complaints are heard": ("mailchimp", "GET", "/abuse-reports", ""),
    "an opt-out is written to Odoo": ("odoo", "POST", "", "mail.blacklist.*(create|_add)"),
    "partners are read": ("odoo", "POST", "", "res.partner.*search_count"),
    "orders are read": ("odoo", "POST", "", "sale.order.*search"),
    "tags are written": ("mailchimp", "POST", "/(segments|tags)", ""),
    "invoices are read": ("odoo", "POST", "", "account.move"),
    "the store is read back": ("mailchimp", "GET", r"/stores/acme-retail/orders", ""),
}
"""Where the process is killed, in this order: system, method, path, body of the request that it waits for."""

KILLS = list(PLACES) if os.environ.get("MC_PIPELINE_TESTS_KILLS") == "all" else list(PLACES)[:3]
HOW = PATIENT if os.environ.get("MC_PIPELINE_TESTS_PATIENT") else IMPATIENT


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A company that is in step, with members who may unsubscribe."""
    with serve_world(tmp_path_factory.mktemp("home")) as world:
        world.configure(
            "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n" + AUDIENCES
        )
        for number in range(30):
            customer(world, f"person{number}@example.com")
        assert mc_pipeline("sync", "acme").exit_code == 3
        with Ledger.open() as ledger:
            (plan,) = ledger.plans.waiting("acme")
        assert mc_pipeline("approve", plan.plan_id, "--reason", "test").exit_code == 0
        finished = mc_pipeline("sync", "acme")
        assert finished.exit_code == 0, finished.output
        yield world


def customer(world: World, email: str) -> None:
    partner = world.odoo.add_partner(name="Ada Lovelace", email=email)
    line = {"name": f"Book of {email}", "price_unit": 100.0}
    world.odoo.add_order(partner, lines=[line], date_order=ORDERED)


def waits_at(world: World, place: str) -> Callable[[], bool]:
    system, method, path, body = PLACES[place]
    faults = world.mailchimp.faults if system == "mailchimp" else world.odoo.faults
    return stands_still_at(faults, method, path, body)


@pytest.mark.parametrize("place", KILLS)
def test_opt_outs_after_a_kill_are_applied(
    home: World, place: str, record_property: Callable[[str, object], None]
) -> None:
    number = list(PLACES).index(place)
    customer(home, f"new{number}@example.com")
    unsubscribed, blacklisted = f"person{2 * number}@example.com", f"person{2 * number + 1}@example.com"
    home.mailchimp.unsubscribe("retail1", unsubscribed)
    home.odoo.blacklist(blacklisted)
    is_there = waits_at(home, place)
    with command(home.folder, "sync", "acme", how=HOW) as killed:
        killed.await_event(is_there)
        killed.process.kill()
        assert killed.wait() == -signal.SIGKILL
    home.mailchimp.faults.clear()
    home.odoo.faults.clear()
    began = time.monotonic()
    with command(home.folder, "sync", "--opt-outs", "acme", how=HOW) as following:
        assert following.wait() == 0, following.output
    seconds = time.monotonic() - began
    print(f"{place}: the opt-outs were carried {seconds:.0f} s later")
    assert seconds < MOST_SECONDS
    assert unsubscribed in home.odoo.database.blacklisted()
    assert home.mailchimp.status("retail1", blacklisted) == "unsubscribed"
    record_property("kills followed by opt-outs", 1)


def test_in_the_end_everything_is_as_if_nobody_had_been_killed(home: World) -> None:
    """One more command ends the dead runs that are left, and does what the killed ones had begun."""
    if HOW is IMPATIENT:
        time.sleep(SILENCE.total_seconds() + 1)  # nothing tells that somebody was silent but time
    with command(home.folder, "sync", "acme", how=HOW) as last:
        assert last.wait() == 0, last.output
    printed = [path.read_text() for path in home.folder.glob("printed-*.txt")]
    assert sum(text.count("is ended: its process (") for text in printed) == len(KILLS)
    with dagster_instance() as instance:
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert instance.get_runs(dg.RunsFilter(statuses=unfinished)) == []
        ended = instance.get_runs(dg.RunsFilter(tags={MAX_RETRIES_TAG: "0"}))
    assert [run.status for run in ended] == [dg.DagsterRunStatus.FAILURE] * len(KILLS)
    for number in range(len(KILLS)):
        assert home.mailchimp.status("retail1", f"new{number}@example.com") == "transactional"
    assert len(home.mailchimp.statuses("retail1")) == 30 + len(KILLS)
    assert len(home.mailchimp.store("acme-retail").orders) == 30 + len(KILLS)
    home.mailchimp.journal.clear()
    assert mc_pipeline("sync", "acme").exit_code == 0
    assert home.mailchimp.journal.writes == []


def test_dead_holders_of_dagsters_pools_in_an_old_home_hold_up_nothing(home: World) -> None:
    """Versions before used a pool of four, and four killed processes emptied it."""
    with dagster_instance() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("mailchimp", 4)
        for number in range(4):
            claimed = storage.claim_concurrency_slot("mailchimp", f"dead-{number}", "audience_push")
            assert claimed.is_claimed
    with command(home.folder, "sync", "--opt-outs", "acme", how=HOW) as running:
        assert running.wait(60) == 0, running.output
