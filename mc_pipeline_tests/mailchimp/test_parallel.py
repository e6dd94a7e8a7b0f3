"""Requests side by side: bounded, and cleanly ended by an interruption."""

import threading

import pytest

from mc_pipeline.mailchimp.connections import InProcessSlots
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline_tests.mailchimp.exact_server import answer, exact_server


class InterruptedRunError(BaseException):
    """As Dagster's: no Exception."""


def test_every_task_is_run_once_and_its_result_returned():
    stop = threading.Event()
    results = run_concurrently([lambda number=number: number for number in range(100)], 4, stop)
    assert sorted(results) == list(range(100))
    assert not stop.is_set()


def test_nothing_to_do_is_nothing():
    assert run_concurrently([], 4, threading.Event()) == []


def test_tasks_are_taken_only_when_a_worker_is_free():
    taken = []
    release = threading.Event()
    busy = threading.Semaphore(0)

    def tasks():
        for number in range(10):
            taken.append(number)

            def task() -> None:
                busy.release()
                release.wait(10)

            yield task

    runner = threading.Thread(target=run_concurrently, args=(tasks(), 3, threading.Event()))
    runner.start()
    for _ in range(3):
        assert busy.acquire(timeout=10)
    assert len(taken) == 3
    release.set()
    runner.join(10)
    assert len(taken) == 10


def test_results_are_handed_over_in_the_calling_thread():
    threads = []
    results = run_concurrently(
        [lambda: 1, lambda: 2],
        2,
        threading.Event(),
        on_result=lambda _: threads.append(threading.current_thread()),
    )
    assert threads == [threading.current_thread()] * 2
    assert results == []


def test_an_interruption_starts_nothing_more_records_what_came_back_and_is_raised():
    started, recorded = [], []
    stop, both_run, release = threading.Event(), threading.Barrier(2), threading.Event()

    def task(number: int) -> int:
        started.append(number)
        if number < 2:
            both_run.wait(10)
        if number == 1:
            release.wait(10)
        return number

    def record(number: int) -> None:
        recorded.append(number)
        if number == 0:
            release.set()
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        run_concurrently(
            [lambda number=number: task(number) for number in range(100)], 2, stop, on_result=record
        )
    assert stop.is_set()
    assert set(recorded) == set(started)
    assert len(started) <= 3


def test_the_wait_for_a_request_that_hangs_has_a_bound():
    release = threading.Event()
    stop = threading.Event()

    def interrupt(_: int) -> None:
        raise InterruptedRunError

    try:
        with pytest.raises(InterruptedRunError):
            run_concurrently(
                [lambda: 1, lambda: release.wait(30)], 2, stop, on_result=interrupt, grace_seconds=0.05
            )
        assert not release.is_set()
    finally:
        release.set()


def test_a_failing_task_ends_the_rest_and_leaves_the_client_usable():
    started = []
    stop = threading.Event()

    def task(number: int) -> int:
        started.append(number)
        if number == 3:
            raise LookupError(number)
        return number

    recorded = []
    with pytest.raises(LookupError):
        run_concurrently(
            [lambda number=number: task(number) for number in range(100)], 1, stop, on_result=recorded.append
        )
    assert started == [0, 1, 2, 3]
    assert recorded == [0, 1, 2]
    assert not stop.is_set()


def test_stopping_from_outside_starts_nothing_more():
    stop = threading.Event()
    results = run_concurrently(
        [lambda number=number: (number == 4 and stop.set(), number)[1] for number in range(100)], 1, stop
    )
    assert results == [0, 1, 2, 3, 4]


def test_without_workers_there_is_a_clear_error():
    with pytest.raises(ValueError, match="at least 1"):
        run_concurrently([lambda: 1], 0, threading.Event())


def test_an_interruption_ends_the_pauses_of_the_requests_in_flight(connect):
    """Shared with the client, ``stop`` wakes a worker that waits to try again."""
    refused = threading.Event()

    def refuse(asked):
        refused.set()
        return answer(429, b"", None)

    def interrupt(_: object) -> None:
        raise InterruptedRunError

    with exact_server(refuse) as server:
        client = connect(server.url, retry=None)
        with pytest.raises(InterruptedRunError):
            run_concurrently([client.ping.get, lambda: refused.wait(10)], 2, client.stop, on_result=interrupt)
        assert len(server.asked) <= 2
    assert client.stop.is_set()


@pytest.mark.parametrize("maximum", [0, 11, -1])
def test_a_user_has_one_to_ten_connections(maximum):
    with pytest.raises(ValueError, match="1 to 10"):
        InProcessSlots(maximum)


def test_connections_shared_beyond_the_client_are_asked_for_each_request(connect):
    taken = []

    class CountedSlots:
        def __init__(self) -> None:
            self.inner = InProcessSlots(1)

        def slot(self):
            taken.append(threading.current_thread())
            return self.inner.slot()

    slots = CountedSlots()
    with exact_server() as server:
        first, second = connect(server.url, connections=slots), connect(server.url, connections=slots)
        tasks = [first.ping.get, second.ping.get] * 10
        run_concurrently(tasks, 4, threading.Event())
        assert server.most_in_flight == 1
    assert len(taken) == 20
