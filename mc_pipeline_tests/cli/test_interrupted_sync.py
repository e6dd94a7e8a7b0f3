"""A sync that is interrupted: it ends within seconds wherever it is, leaves nothing behind and says so."""

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.cli.interrupts import TOLD
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline_tests.cli.conftest import configure, mc_pipeline, serve_world
from mc_pipeline_tests.cli.processes import Command, command, stands_still_at
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
CREATING = r"^/3.0/lists/retail1(\?|$)"
WITH_A_STORE = """
    audiences:
      retail:
        list_id: retail1
        when: {}
        store: {id: shop, name: Shop, currency: EUR}
"""
MOST_SECONDS = 10.0
SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A company whose first plan is approved and not applied: a few customers wait to be created."""
    with serve_world(tmp_path_factory.mktemp("shop")) as world:
        for number in range(12):
            partner = world.odoo.add_partner(name=f"Person {number}", email=f"person{number}@example.com")
            world.odoo.add_order(partner, 100.0, date_order=ORDERED)
        assert mc_pipeline("sync", "acme").exit_code == 3
        with Ledger.open() as ledger:
            (plan,) = ledger.plans.waiting("acme")
        assert mc_pipeline("approve", plan.plan_id, "--reason", "test").exit_code == 0
        yield world


def obeys(running: Command, number: signal.Signals) -> None:
    """Interrupt it; it ends in time, in order, and in words."""
    code, seconds = running.interrupt(number)
    assert seconds < MOST_SECONDS
    assert code == 128 + number, running.output
    assert TOLD in running.output
    assert "Failed" not in running.output
    assert "Traceback" not in running.output
    with Ledger.open() as ledger:
        assert ledger.runs.alive("acme") == []
    with dagster_instance() as instance:
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert instance.get_runs(dg.RunsFilter(statuses=unfinished)) == []


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_while_it_waits_for_the_lease_of_a_run_that_was_killed(shop: World, number: signal.Signals) -> None:
    with (
        Ledger.open() as ledger,
        ledger.leases.hold("acme", "killed", timedelta(hours=1), path=OPT_OUTS),
        command(shop.folder, "sync", "--opt-outs", "acme") as running,
    ):
        running.await_event(lambda: "Waiting for it" in running.output)
        obeys(running, number)
        held = ledger.leases.current("acme", OPT_OUTS)
        assert held is not None
        assert held.owner == "killed", "it took nothing away"


def test_while_it_waits_for_a_connection_to_mailchimp(shop: World) -> None:
    def waits() -> bool:
        with closing(sqlite3.connect(shop.folder / "mc_pipeline" / "ledger.db")) as ledger:
            return bool(ledger.execute("SELECT count(*) FROM ledger_connection_waiter").fetchone()[0])

    with Ledger.open() as ledger, ExitStack() as held:
        slots = ledger.connections.slots("main", 8, "busy")
        for _ in range(8):
            held.enter_context(slots.slot())
        with command(shop.folder, "sync", "--opt-outs", "acme") as running:
            running.await_event(waits)
            obeys(running, SIGTERM)
        assert ledger.leases.current("acme") is None


def test_while_a_push_waits_for_an_answer_and_the_next_run_goes_on_from_there(shop: World) -> None:
    creating = stands_still_at(shop.mailchimp.faults, "POST", CREATING)
    with command(shop.folder, "sync", "acme") as running:
        running.await_event(creating)
        obeys(running, SIGINT)
    with Ledger.open() as ledger:
        assert ledger.leases.current("acme") is None
        assert len(ledger.intents.open("acme")) > 0, "nobody knows what came of the request"
    shop.mailchimp.faults.clear()
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 0, finished.output
    assert len(shop.mailchimp.statuses("retail1")) == 12
    posts = shop.mailchimp.journal.matching("POST", "/lists/retail1")
    created = [post for post in posts if re.search(CREATING, post.path)]
    assert len(created) == 1, "nobody is created twice"


@pytest.mark.long
def test_while_the_order_push_waits_for_an_answer(shop: World) -> None:
    configure(shop, audiences=WITH_A_STORE)
    pushing = stands_still_at(shop.mailchimp.faults, "POST", "^/3.0/batches$", body="stores/shop/orders")
    with command(shop.folder, "sync", "acme") as running:
        running.await_event(pushing)
        obeys(running, SIGTERM)
        assert "doctor" not in running.output
    shop.mailchimp.faults.clear()
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 0, finished.output
    with Ledger.open() as ledger:
        assert len(ledger.stores.held_orders("acme")) == 12
        assert ledger.store_intents.open("acme") == []
    configure(shop)


def test_a_background_job_of_a_shell_obeys_too(shop: World) -> None:
    """A shell lets its background jobs ignore SIGINT, and Dagster gives SIGTERM what SIGINT has."""
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'mc_pipeline_tests.cli.impatient', *sys.argv[1:]])\n"
    )
    reading = stands_still_at(shop.mailchimp.faults, "GET", "^/3.0/lists/retail1/members")
    with command(shop.folder, "sync", "--opt-outs", "acme", how=("-c", program)) as running:
        running.await_event(reading)
        obeys(running, SIGTERM)
    shop.mailchimp.faults.clear()


def test_while_the_ledger_is_locked_and_nothing_can_be_noted(shop: World) -> None:
    """Python hears no signal while SQLite waits for a lock: the process is ended from beside."""
    reading = stands_still_at(shop.mailchimp.faults, "GET", "^/3.0/lists/retail1/members")
    with command(shop.folder, "sync", "--opt-outs", "acme") as running:
        running.await_event(reading)
        with closing(
            sqlite3.connect(shop.folder / "mc_pipeline" / "ledger.db", isolation_level=None)
        ) as ledger:
            ledger.execute("BEGIN IMMEDIATE")
            shop.mailchimp.faults.clear()
            code, seconds = running.interrupt(SIGTERM)
    assert seconds < MOST_SECONDS
    assert code == 128 + SIGTERM, running.output
    assert TOLD in running.output


def test_a_process_that_does_not_come_to_an_end_by_itself_is_ended(tmp_path: Path) -> None:
    program = (
        "import threading, time\n"
        "from mc_pipeline.cli.interrupts import interruptible\n"
        "with interruptible(seconds_to_end=0.3):\n"
        "    ready = False\n"
        "    while True:\n"
        "        try:\n"
        "            ready = ready or print('ready', flush=True) or True\n"
        "            time.sleep(60)\n"
        "        except KeyboardInterrupt:\n"
        "            pass\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(SIGTERM)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (128 + SIGTERM, f"{TOLD}\n")
