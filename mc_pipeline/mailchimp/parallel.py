"""Running many requests on a few connections, with a clean end when the run is interrupted.

Dagster interrupts a step by raising, in its main thread, an exception that is no ``Exception``. A plain
executor would first work off its whole queue. Here little is in flight at any time, nothing new starts
after an interruption, what came back is still handed over, and the wait for the rest has a bound.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


def run_concurrently(
    tasks: Iterable[Callable[[], Result]],
    workers: int,
    stop: threading.Event,
    *,
    on_result: Callable[[Result], None] | None = None,
    grace_seconds: float = 5,
) -> list[Result]:
    """Run the tasks on ``workers`` threads and return their results in the order of completion.

    ``tasks`` is consumed lazily: at most ``workers`` are in flight. ``on_result`` receives each result in
    the calling thread (so that a ledger is written from one place); results are then not collected.

    When ``stop`` gets set, no further task starts and what came back is returned. When a task or
    ``on_result`` raises, no further task starts, those in flight end and are handed over, and the first
    exception is raised again. An interruption (``BaseException``) also sets ``stop``, which ends the
    pauses of a client that shares it, and waits at most ``grace_seconds``.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}: at least 1 is needed")
    results: list[Result] = []
    deliver = on_result or results.append
    in_flight: set[Future[Result]] = set()
    executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="mailchimp")
    try:
        remaining = iter(tasks)
        exhausted = False
        while True:
            while not exhausted and not stop.is_set() and len(in_flight) < workers:
                try:
                    task = next(remaining)
                except StopIteration:
                    exhausted = True
                else:
                    in_flight.add(executor.submit(task))
            if not in_flight:
                return results
            done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                in_flight.discard(future)
                deliver(future.result())
    except BaseException as error:
        if not isinstance(error, Exception):
            stop.set()
        _hand_over_the_rest(in_flight, deliver, grace_seconds)
        raise
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _hand_over_the_rest(
    in_flight: set[Future[Result]], deliver: Callable[[Result], None], grace_seconds: float
) -> None:
    done, pending = wait(in_flight, timeout=grace_seconds)
    for future in done:
        error = future.exception()
        if error is not None:
            _log.warning("another request failed while stopping: %s", type(error).__name__)
            continue
        try:
            deliver(future.result())
        except Exception as failure:
            _log.warning("a result could not be recorded while stopping: %s", type(failure).__name__)
    if pending:
        _log.warning("%d requests were still in flight after %s seconds", len(pending), grace_seconds)
