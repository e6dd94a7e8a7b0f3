"""No more connections to a Mailchimp user than it has, over all processes (RULES 7.5)."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy import event

from mc_pipeline.ledger import ConnectionSlotsBusyError, Ledger, LedgerError
from mc_pipeline.ledger.connections import SlotTimes
from mc_pipeline_tests.ledger.conftest import Clock

QUICK = SlotTimes(live=30, idle=0.2, look=0.05, wait=0.3, poll=0.01)
PATIENT = SlotTimes(live=30, idle=0.2, look=0.05, wait=30, poll=0.01)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until something that another thread does has happened."""
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail(f"did not happen within 12 seconds: {what}")


def test_the_last_connection_is_waited_for_and_the_message_says_who_has_them(ledger: Ledger) -> None:
    first = ledger.connections.slots("main", 2, "run-1", times=QUICK)
    second = ledger.connections.slots("main", 2, "run-2", times=QUICK)
    with (
        first.slot(),
        first.slot(),
        pytest.raises(ConnectionSlotsBusyError, match=r"account main .* all 2 are held by run-1 on .* \(2\)"),
    ):
        second.slot().__enter__()
    first.close()
    with second.slot():
        assert sum(ledger.connections.held("main").values()) == 1


def test_threads_of_one_client_share_its_connections(ledger: Ledger) -> None:
    slots = ledger.connections.slots("main", 3, "run-1", times=PATIENT)
    lock, busy, most = threading.Lock(), 0, 0

    def request(_number: int) -> None:
        nonlocal busy, most
        with slots.slot():
            with lock:
                busy += 1
                most = max(most, busy)
            with lock:
                busy -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request, range(200)))
    assert 1 <= most <= 3
    assert sum(ledger.connections.held("main").values()) <= 3


def test_a_request_after_another_writes_nothing(ledger: Ledger) -> None:
    slots = ledger.connections.slots("main", 2, "run-1", times=SlotTimes(look=60))
    with slots.slot():
        pass
    statements: list[str] = []
    event.listen(ledger._database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for _ in range(1000):
        with slots.slot():
            pass
    assert statements == []


def test_accounts_do_not_share_connections(ledger: Ledger) -> None:
    one = ledger.connections.slots("main", 1, "run-1", times=QUICK)
    other = ledger.connections.slots("second", 1, "run-1", times=QUICK)
    with one.slot(), other.slot():
        assert sum(ledger.connections.held("second").values()) == 1


def test_idle_connections_are_returned(ledger: Ledger) -> None:
    slots = ledger.connections.slots("main", 4, "run-1", times=QUICK)
    with slots.slot(), slots.slot():
        pass
    assert sum(ledger.connections.held("main").values()) == 2
    eventually(lambda: not ledger.connections.held("main"), "giving back what is idle")
    with slots.slot():
        assert sum(ledger.connections.held("main").values()) == 1


def test_a_process_that_has_all_makes_room_for_one_that_waits(ledger: Ledger) -> None:
    greedy = ledger.connections.slots("main", 2, "run-1", times=PATIENT)
    other = ledger.connections.slots("main", 2, "run-2", times=PATIENT)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with greedy.slot():
                stop.wait(0.01)

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work) for _ in range(2)]
        try:
            eventually(lambda: sum(ledger.connections.held("main").values()) == 2, "taking both")
            with other.slot():
                held = ledger.connections.held("main")
                assert sum(held.values()) <= 2
                assert any(owner.startswith("run-2") for owner in held)
        finally:
            stop.set()
        for one in working:
            one.result()


def test_more_processes_than_connections_take_turns(ledger_url: str) -> None:
    # Turns are taken by time of arrival: this needs a clock that moves.
    ledger = Ledger.open(ledger_url)
    clients = [ledger.connections.slots("main", 1, f"run-{number}", times=PATIENT) for number in range(3)]
    served = [0, 0, 0]
    everyone = threading.Event()

    def work(number: int) -> None:
        while not everyone.is_set():
            with clients[number].slot():
                served[number] += 1
                everyone.wait(0.005)

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, number) for number in range(3)]
        try:
            eventually(lambda: min(served) >= 2, "serving every process twice")
        finally:
            everyone.set()
        for one in working:
            one.result()
    ledger.close()


def test_what_a_crashed_process_held_is_free_when_it_expires(ledger: Ledger, clock: Clock) -> None:
    crashed = ledger.connections.slots("main", 1, "run-1", times=SlotTimes(live=30, look=60))
    crashed.slot().__enter__()
    after = ledger.connections.slots("main", 1, "run-2", times=QUICK)
    with pytest.raises(ConnectionSlotsBusyError):
        after.slot().__enter__()
    clock.pass_time(seconds=31)
    with after.slot():
        assert [owner.split(" ")[0] for owner in ledger.connections.held("main")] == ["run-2"]


def test_a_process_that_slept_does_not_use_what_others_have_by_now(ledger: Ledger, clock: Clock) -> None:
    asleep = ledger.connections.slots(
        "main", 1, "run-1", times=SlotTimes(live=30, look=60, wait=0.2, poll=0.01)
    )
    with asleep.slot():
        pass
    clock.pass_time(seconds=31)
    awake = ledger.connections.slots("main", 1, "run-2", times=QUICK)
    with awake.slot(), pytest.raises(ConnectionSlotsBusyError):
        asleep.slot().__enter__()


def test_closing_gives_everything_back(ledger_url: str, clock: Clock) -> None:
    with Ledger.open(ledger_url, clock=clock) as watching:
        with Ledger.open(ledger_url, clock=clock) as ledger:
            slots = ledger.connections.slots("main", 3, "run-1", times=SlotTimes(look=60))
            with ExitStack() as requests:
                for _ in range(3):
                    requests.enter_context(slots.slot())
            assert sum(watching.connections.held("main").values()) == 3
        assert watching.connections.held("main") == {}
        with pytest.raises(LedgerError, match="closed"):
            slots.slot().__enter__()


def test_a_maximum_below_one_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="max_connections of Mailchimp account main is 0"):
        ledger.connections.slots("main", 0, "run-1")


def test_held_connections_are_renewed_in_time(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        slots = ledger.connections.slots("main", 1, "run-1", times=SlotTimes(live=1.2, look=0.05))
        renewals: list[str] = []
        event.listen(
            ledger._database.engine,
            "before_cursor_execute",
            lambda *given: (
                renewals.append(given[2]) if given[2].startswith("UPDATE ledger_connection_slot") else None
            ),
        )
        with slots.slot():
            eventually(lambda: len(renewals) >= 4, "renewing four times, longer than a slot lives")
            assert sum(ledger.connections.held("main").values()) == 1


def test_processes_together_never_hold_more_than_the_maximum(ledger_url: str) -> None:
    worker = (
        "import sys, threading, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from mc_pipeline.ledger import Ledger\n"
        "from mc_pipeline.ledger.connections import SlotTimes\n"
        "ledger = Ledger.open(sys.argv[1])\n"
        "times = SlotTimes(idle=0.1, look=0.05, poll=0.01)\n"
        "slots = ledger.connections.slots('main', 3, sys.argv[2], times=times)\n"
        "def request(number):\n"
        "    with slots.slot():\n"
        "        print('+', flush=True)\n"
        "        time.sleep(0.01)\n"
        "        print('-', flush=True)\n"
        "sys.stdin.readline()\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(request, range(20)))\n"
        "ledger.close()\n"
    )
    Ledger.open(ledger_url).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", worker, ledger_url, f"run-{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    done, most = threading.Event(), 0
    with Ledger.open(ledger_url) as watching:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        with ThreadPoolExecutor(2) as pool:
            outputs = [pool.submit(process.communicate, timeout=60) for process in processes]
            while not all(output.done() for output in outputs):
                most = max(most, sum(watching.connections.held("main").values()))
                done.wait(0.005)
            marks = [output.result()[0] for output in outputs]
        assert [process.returncode for process in processes] == [0, 0]
        assert [text.count("+") for text in marks] == [20, 20]
        assert 1 <= most <= 3
        assert watching.connections.held("main") == {}


def test_expiry_is_judged_by_the_clock_and_not_by_the_maximum_of_another(
    ledger: Ledger, clock: Clock
) -> None:
    many = ledger.connections.slots("main", 4, "run-1", times=SlotTimes(live=30, look=60))
    few = ledger.connections.slots("main", 2, "run-2", times=QUICK)
    with ExitStack() as requests:
        for _ in range(4):
            requests.enter_context(many.slot())
        with pytest.raises(ConnectionSlotsBusyError):
            few.slot().__enter__()
        clock.moment += timedelta(seconds=31)
        with few.slot():
            pass
