"""How many calls Odoo gets at a time, and how many a second, where the settings limit them.

Odoo's source has no limit on calls; Odoo Online is said (by third parties, not by Odoo's documentation) to
take one call a second and none in parallel.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock


class Pace:
    """Lets calls start one after the other at the pace allowed; safe to use from several threads.

    ``connections``: calls under way at the same time, None for no limit here. ``calls_per_second``: between
    the starts of two calls passes at least the part of a second that this leaves; None for no limit.
    ``clock`` counts seconds, ``sleep`` waits for them.
    """

    def __init__(
        self,
        connections: int | None = None,
        calls_per_second: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._places = BoundedSemaphore(connections) if connections is not None else None
        self._interval = 1.0 / calls_per_second if calls_per_second is not None else 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = Lock()
        self._next_start: float | None = None

    @contextmanager
    def call(self) -> Iterator[None]:
        """Wait for a place and for its turn, then do the call inside the block."""
        if self._places is None:
            self._wait_for_turn()
            yield
            return
        with self._places:
            self._wait_for_turn()
            yield

    def _wait_for_turn(self) -> None:
        """Take the next start that is free, and sleep until then: each waiting thread once."""
        if not self._interval:
            return
        with self._lock:
            now = self._clock()
            start = now if self._next_start is None else max(now, self._next_start)
            self._next_start = start + self._interval
        if start > now:
            self._sleep(start - now)


_paces: dict[tuple[str, int | None, float | None], Pace] = {}
_paces_lock = Lock()


def shared_pace(url: str, connections: int | None, calls_per_second: float | None) -> Pace:
    """The pace of all connections of this process to a server with these limits."""
    with _paces_lock:
        return _paces.setdefault((url, connections, calls_per_second), Pace(connections, calls_per_second))
