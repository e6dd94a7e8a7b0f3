"""A sync is killed while Dagster's daemon runs: its sensors carry the opt-outs all the same, and end the run.

Takes minutes, since nothing but time tells that a run is dead: only with ``MC_PIPELINE_TESTS_KILLS=all``.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline_tests.cli.conftest import mc_pipeline, serve_world
from mc_pipeline_tests.cli.processes import ROOT, command, stands_still_at
from mc_pipeline_tests.world import World

pytestmark = pytest.mark.long

WORKSPACE = str(ROOT / "workspace.yaml")
PATIENCE = 600.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[World]:
    with serve_world(tmp_path) as world:
        for number in range(3):
            world.mailchimp.add_member("retail1", f"person{number}@example.com", "subscribed")
            world.odoo.add_partner(name="Ada Lovelace", email=f"person{number}@example.com")
        assert mc_pipeline("sync", "--opt-outs", "acme").exit_code == 0
        yield world


@contextmanager
def daemon(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Dagster's daemon with the sensor of opt-outs switched on, in an empty folder, as README says."""
    working = folder / "daemon"
    working.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    switch = [sys.executable, "-m", "dagster", "sensor", "start", "mailchimp_opt_outs", "-w", WORKSPACE]
    subprocess.run(switch, cwd=working, env=environment, check=True, timeout=200)
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", WORKSPACE],
            cwd=working,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def seconds_until(happened: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.5)
    return time.monotonic() - began


@pytest.mark.skipif(
    os.environ.get("MC_PIPELINE_TESTS_KILLS") != "all", reason="takes minutes: MC_PIPELINE_TESTS_KILLS=all"
)
@pytest.mark.timeout(1800)
def test_opt_outs_are_applied_beside_a_killed_sync_and_it_is_ended(home: World) -> None:
    is_there = stands_still_at(home.mailchimp.faults, "GET", "/abuse-reports")
    with daemon(home.folder), dagster_instance() as instance:
        with command(home.folder, "sync", "acme") as killed:
            killed.await_event(is_there)
            killed.process.kill()
            killed.wait()
        home.mailchimp.faults.clear()
        (dead,) = instance.get_runs(dg.RunsFilter(job_name=SYNC_COMPANY))
        assert dead.status == dg.DagsterRunStatus.STARTED
        home.mailchimp.unsubscribe("retail1", "person1@example.com")
        carried = seconds_until(lambda: "person1@example.com" in home.odoo.database.blacklisted())

        def ended() -> bool:
            run = instance.get_run_by_id(dead.run_id)
            return run is not None and run.status == dg.DagsterRunStatus.FAILURE

        print(f"carried after {carried:.0f} s, the dead run ended {seconds_until(ended):.0f} s later")
        assert carried < 180
        (run, *_) = instance.get_runs(dg.RunsFilter(job_name=OPT_OUTS), limit=1)
        assert run.tags["mc_pipeline/company"] == "acme"
        assert "mc_pipeline/sync" not in run.tags
        # A sync that the daemon starts waits for nobody: the tag limit is free again.
        others = [each for each in instance.get_runs() if each.job_name == SYNC_COMPANY]
        assert [each.run_id for each in others] == [dead.run_id], "nothing ran it again"
