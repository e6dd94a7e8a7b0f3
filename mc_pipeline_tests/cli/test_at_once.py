"""Opt-outs right after a delivery: one run at a time, none beside another writer, none lost."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_pipeline.cli.at_once import AtOnce, opt_outs_under_way
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline.ledger import Ledger


def test_what_comes_during_a_run_is_one_more_run() -> None:
    ran: list[str] = []
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def run(company: str) -> None:
        ran.append(company)
        if len(ran) == 1:
            started.set()
            assert go_on.wait(10)
        else:
            done.set()

    with AtOnce(run, lambda company: False) as at_once:
        at_once.notice("acme")
        assert started.wait(10)
        for _ in range(5):
            at_once.notice("acme")
        go_on.set()
        assert done.wait(10)
    assert ran == ["acme", "acme"]


def test_a_company_whose_opt_outs_are_under_way_waits_and_delays_no_other() -> None:
    ran: list[str] = []
    busy = {"acme"}
    other_done, acme_done = threading.Event(), threading.Event()

    def run(company: str) -> None:
        ran.append(company)
        (acme_done if company == "acme" else other_done).set()

    with AtOnce(run, busy.__contains__, pause=0.01) as at_once:
        at_once.notice("acme")
        at_once.notice("other")
        assert other_done.wait(10)
        assert ran == ["other"]
        busy.clear()
        assert acme_done.wait(10)
    assert ran == ["other", "acme"]


def test_a_run_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    second = threading.Event()

    def run(company: str) -> None:
        if company == "acme":
            raise ValueError("ada@example.org is the trouble")
        second.set()

    with caplog.at_level(logging.ERROR), AtOnce(run, lambda company: False) as at_once:
        at_once.notice("acme")
        at_once.notice("other")
        assert second.wait(10)
    assert "the opt-outs of acme could not be applied" in caplog.text
    assert "ada@" not in caplog.text


def test_opt_outs_wait_for_opt_outs_that_are_alive_and_never_for_a_sync(tmp_path: Path) -> None:
    now = datetime(2026, 3, 2, 6, tzinfo=UTC)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: now) as ledger:
        is_busy = opt_outs_under_way(ledger.runs)
        ledger.runs.begin("run-1", company="acme", job=SYNC_COMPANY, owner="host:1")
        assert not is_busy("acme")
        ledger.runs.begin("run-2", company="acme", job=OPT_OUTS, owner="host:2")
        assert is_busy("acme")
        assert not is_busy("other")
        now += timedelta(minutes=3)
        assert not is_busy("acme"), "it was killed"


def test_as_long_as_it_is_unknown_who_writes_nothing_runs() -> None:
    answers = [True, True, False]
    ran = threading.Event()

    def is_busy(company: str) -> bool:
        if answers.pop(0):
            raise ConnectionError("no database")
        return False

    with AtOnce(lambda company: ran.set(), is_busy, pause=0.01) as at_once:
        at_once.notice("acme")
        assert ran.wait(10)
    assert answers == []


def test_at_the_end_nothing_new_begins() -> None:
    ran: list[str] = []
    with AtOnce(ran.append, lambda company: True, pause=60) as at_once:
        at_once.notice("acme")
    assert ran == []
