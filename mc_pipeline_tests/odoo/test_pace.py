"""How many calls Odoo gets at a time and a second: nobody waits for a clock here."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mc_pipeline.odoo.client import connect
from mc_pipeline.odoo.pace import Pace, shared_pace
from mc_pipeline.odoo.paging import read_all
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.connection import OdooAt, Patience


class Clock:
    """Seconds that pass only while somebody sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds


@given(
    gaps=st.lists(st.floats(0, 5, allow_nan=False), max_size=30),
    calls_per_second=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
)
def test_calls_start_no_faster_than_allowed_and_no_later_than_needed(gaps, calls_per_second):
    clock, interval = Clock(), 1 / calls_per_second
    pace = Pace(calls_per_second=calls_per_second, clock=clock, sleep=clock.sleep)
    last = None
    for gap in gaps:
        clock.now += gap
        asked = clock.now
        with pace.call():
            started = clock.now
        due = asked if last is None else max(asked, last + interval)
        assert started == pytest.approx(due)
        last = started


def test_without_limits_nobody_waits():
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    for _ in range(5):
        with pace.call():
            pass
    assert clock.slept == []


def test_several_threads_get_each_their_own_turn():
    """The clock stands still: every thread is given a start of its own."""
    waits: list[float] = []
    pace = Pace(calls_per_second=2.0, clock=lambda: 100.0, sleep=waits.append)

    def call(_: int) -> None:
        with pace.call():
            pass

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(call, range(5)))
    assert sorted(waits) == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("connections", [1, 2])
def test_no_more_calls_are_under_way_than_allowed(connections):
    pace, lock, under_way, most = Pace(connections), threading.Lock(), 0, 0
    together = threading.Barrier(connections)

    def call(_: int) -> None:
        nonlocal under_way, most
        with pace.call():
            with lock:
                under_way += 1
                most = max(most, under_way)
            together.wait(timeout=10)  # as many as allowed are inside at once
            with lock:
                under_way -= 1
            together.wait(timeout=10)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(call, range(4)))
    assert most == connections


def test_a_call_that_fails_gives_its_place_back():
    pace = Pace(1)
    with pytest.raises(ZeroDivisionError), pace.call():
        raise ZeroDivisionError
    with pace.call():
        pass


@pytest.mark.parametrize("api", ["jsonrpc", "json2"])
def test_every_request_keeps_the_pace_pages_read_side_by_side_too(api):
    clock = Clock()
    with SandboxOdoo((20, 0)).serve() as odoo:
        (administrator,) = odoo.search("res.users", [("login", "=", "admin")])
        for number in range(7):
            odoo.add_partner(name=f"Paced {number}")
        secret = odoo.add_api_key(administrator)
        settings = OdooAt(odoo.url, database="sandbox", user="admin", secret=SecretStr(secret), api=api)
        pace = Pace(1, 1.0, clock=clock, sleep=clock.sleep)
        with connect(settings, [1], retry=Patience().policy, pace=pace) as client:
            read = read_all(
                client, "res.partner", [("name", "like", "Paced")], ["name"], page_size=2, connections=3
            )
        requests = len(odoo.journal.requests)
    assert len(read.records) == 7
    assert requests > 6
    assert clock.now == pytest.approx(100.0 + requests - 1)


def test_all_connections_of_a_process_to_a_server_share_one_pace():
    one = shared_pace("https://odoo.example.com", 1, 1.0)
    assert shared_pace("https://odoo.example.com", 1, 1.0) is one
    assert shared_pace("https://other.example.com", 1, 1.0) is not one


def test_the_settings_limit_the_connection():
    with SandboxOdoo((19, 0)).serve() as odoo:
        settings = OdooAt(
            odoo.url, database="sandbox", user="admin", secret=SecretStr("admin"), calls_per_second=1000.0
        )
        with connect(settings, [1], retry=Patience().policy) as client:
            before = shared_pace(odoo.url, None, 1000.0)._next_start
            client.search_count("res.partner", [])
            after = shared_pace(odoo.url, None, 1000.0)._next_start
    assert before is not None
    assert after is not None
    assert after > before
