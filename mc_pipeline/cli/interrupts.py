"""Makes a command obey SIGINT and SIGTERM within seconds, wherever it is.

The interruption itself is Python's and Dagster's: an exception in the main thread, so that requests under way
are recorded and leases are freed. Here: SIGTERM is the same as SIGINT; the signal is remembered, since
Dagster turns the exception into a failed run; and a process that does not come to an end by itself (a locked
database, a library that swallows the exception) is ended. What it leaves open then, the next run finds, as
after any crash.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_TO_END = 8.0
TOLD = "interrupted; the next run continues from here"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the command was interrupted, by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def exit(self) -> None:
        """End the process at once, with the exit code of the signal: 130 or 143.

        Not by ``sys.exit``, which would wait for threads whose requests are still under way.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + (self.signal or signal.SIGINT))


@contextmanager
def interruptible(seconds_to_end: float = SECONDS_TO_END) -> Iterator[Interruption]:
    """Let a signal interrupt what is inside, and end the process when that takes longer than so many seconds.

    Outside of the main thread, where Python receives no signals, it does nothing.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    # A shell lets background jobs ignore SIGINT, and Dagster would then ignore SIGTERM as well.
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    hears, tells = socket.socketpair()
    tells.setblocking(False)
    # Written to by the interpreter itself, whatever handles the signal: Dagster replaces the handlers.
    previous = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    watching = threading.Thread(
        target=_watch, args=(hears, interruption, seconds_to_end), name="interruptions", daemon=True
    )
    watching.start()
    try:
        yield interruption
    finally:
        signal.set_wakeup_fd(previous)
        tells.close()
        watching.join(timeout=1)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(hears: socket.socket, interruption: Interruption, seconds_to_end: float) -> None:
    with hears:
        while heard := hears.recv(1):
            if heard[0] in _SIGNALS:
                interruption.signal = interruption.signal or heard[0]
                break
        else:
            return
        deadline = time.monotonic() + seconds_to_end
        while (left := deadline - time.monotonic()) > 0:
            hears.settimeout(left)
            try:
                if not hears.recv(1):
                    return  # the command has come to its end
            except TimeoutError:
                break
        # Past every buffer and lock, which somebody may hold who does not come to an end.
        os.write(2, f"{TOLD}\n".encode())
        os._exit(128 + interruption.signal)
