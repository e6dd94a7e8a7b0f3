"""Which runs are alive, by their heartbeats alone."""

import logging
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.runs import LONGEST_SILENCE, Runs, heartbeat
from mc_pipeline_tests.ledger.conftest import START, Clock

SYNC = {"company": "acme", "job": "sync_company", "owner": "host:1"}
OPT_OUTS = {"company": "acme", "job": "opt_outs", "owner": "host:2"}


def ids(ledger: Ledger, company: str = "acme", job: str | None = None) -> list[str]:
    return [run.run_id for run in ledger.runs.alive(company, job)]


def test_a_run_is_alive_from_its_start_to_its_end(ledger: Ledger, clock: Clock) -> None:
    assert ids(ledger) == []
    ledger.runs.begin("run-1", **SYNC)
    assert ids(ledger) == ["run-1"]
    clock.pass_time(minutes=1)
    ledger.runs.end("run-1")
    assert ids(ledger) == []
    assert ledger.runs.known(["run-1", "run-2"])["run-1"].last_sign == START + timedelta(minutes=1)


def test_runs_of_another_job_or_company_are_told_apart(ledger: Ledger) -> None:
    ledger.runs.begin("run-1", **SYNC)
    ledger.runs.begin("run-2", **OPT_OUTS)
    ledger.runs.begin("run-3", **{**SYNC, "company": "other"})
    assert ids(ledger) == ["run-1", "run-2"]
    assert ids(ledger, job="opt_outs") == ["run-2"]
    assert ids(ledger, "other") == ["run-3"]


def test_a_run_that_was_not_heard_of_for_three_minutes_is_not_alive(ledger: Ledger, clock: Clock) -> None:
    ledger.runs.begin("run-1", **SYNC)
    clock.pass_time(seconds=LONGEST_SILENCE.total_seconds() - 1)
    assert ids(ledger) == ["run-1"]
    clock.pass_time(seconds=1)
    assert ids(ledger) == []


def test_a_run_of_ten_hours_that_beats_stays_alive(ledger: Ledger, clock: Clock) -> None:
    ledger.runs.begin("run-1", **SYNC)
    for _ in range(10 * 60):
        clock.pass_time(minutes=1)
        assert ledger.runs.beat("run-1", **SYNC)
        assert ids(ledger) == ["run-1"]
    (run,) = ledger.runs.alive("acme")
    assert (run.started_at, run.beat_at) == (START, START + timedelta(hours=10))


def test_of_several_who_find_a_silent_run_one_ends_it(ledger: Ledger, clock: Clock) -> None:
    ledger.runs.begin("run-1", **SYNC)
    clock.pass_time(minutes=4)
    seen = ledger.runs.known(["run-1"])["run-1"]
    assert ledger.runs.end_silent(seen)
    assert not ledger.runs.end_silent(seen)
    assert not ledger.runs.beat("run-1", **SYNC), "it hears that it was ended"


def test_a_run_that_beats_while_somebody_looks_is_not_ended(ledger: Ledger, clock: Clock) -> None:
    ledger.runs.begin("run-1", **SYNC)
    clock.pass_time(minutes=4)
    seen = ledger.runs.known(["run-1"])["run-1"]
    assert ledger.runs.beat("run-1", **SYNC)
    assert not ledger.runs.end_silent(seen)
    assert ids(ledger) == ["run-1"]


def test_a_beat_whose_start_was_not_noted_is_a_start(ledger: Ledger) -> None:
    assert ledger.runs.beat("run-1", **SYNC)
    assert ids(ledger) == ["run-1"]


def test_runs_of_long_ago_are_forgotten(ledger: Ledger, clock: Clock) -> None:
    ledger.runs.begin("run-1", **SYNC)
    clock.pass_time(days=91)
    ledger.runs.begin("run-2", **SYNC)
    assert set(ledger.runs.known(["run-1", "run-2"])) == {"run-2"}


def test_the_heartbeat_beats_in_the_background_and_ends_with_its_run(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        with heartbeat(lambda: ledger.runs, "run-1", **SYNC, between_beats=timedelta(milliseconds=20)):
            first = ledger.runs.known(["run-1"])["run-1"].beat_at
            waited = threading.Event()
            while ledger.runs.known(["run-1"])["run-1"].beat_at == first:
                waited.wait(0.01)
            assert ids(ledger) == ["run-1"]
        assert ids(ledger) == []


def test_a_ledger_that_cannot_be_opened_at_first_ends_no_run(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    opened = threading.Event()

    def runs() -> Runs:
        if not opened.is_set():
            raise OSError("no such host")
        return ledger.runs

    every = timedelta(milliseconds=20)
    with caplog.at_level(logging.WARNING), heartbeat(runs, "run-1", **SYNC, between_beats=every):
        assert ids(ledger) == []
        opened.set()
        while not ids(ledger):
            threading.Event().wait(0.01)
    assert "the start of run run-1 could not be noted: no such host" in caplog.text
    assert ids(ledger) == []


def test_a_ledger_that_is_locked_for_a_while_ends_no_run(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        every = timedelta(milliseconds=20)
        with heartbeat(lambda: ledger.runs, "run-1", **SYNC, between_beats=every):
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                before = ledger.runs.known(["run-1"])["run-1"].beat_at
                threading.Event().wait(0.2)  # the beats of this time wait for the lock
                assert ledger.runs.known(["run-1"])["run-1"].beat_at == before
                other.execute("ROLLBACK")
            while ledger.runs.known(["run-1"])["run-1"].beat_at == before:
                threading.Event().wait(0.01)
        assert ids(ledger) == []


def test_a_run_that_was_ended_by_others_stops_beating_and_says_so(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR),
        heartbeat(lambda: ledger.runs, "run-1", **SYNC, between_beats=timedelta(milliseconds=20)),
    ):
        ledger.runs.end("run-1")
        while "run run-1 sent no heartbeat for too long" not in caplog.text:
            threading.Event().wait(0.01)
    assert ids(ledger) == []
