"""The command as a process that a test may interrupt or kill, at a moment that a stand-in server saw."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mc_pipeline.sandbox.faults import Fault, Faults

ROOT = Path(__file__).parents[2]
PATIENT = ("-c", "from mc_pipeline.cli import main; main()")
"""The command with its usual times."""
IMPATIENT = ("-m", "mc_pipeline_tests.cli.impatient")
_SECONDS = 240.0


@dataclass
class Command:
    """A command that runs; what it prints goes to a file."""

    process: "subprocess.Popen[bytes]"
    printed_to: Path

    @property
    def output(self) -> str:
        """What it has printed, both streams, in one line."""
        return " ".join(self.printed_to.read_text(errors="replace").split())

    def wait(self, seconds: float = _SECONDS) -> int:
        """Wait for its end; return its exit code, negative for the signal that ended it."""
        return self.process.wait(seconds)

    def await_event(self, happened: Callable[[], bool]) -> None:
        """Wait until something was seen from outside; fails when the command ends before."""
        deadline, pause = time.monotonic() + _SECONDS, threading.Event()
        while not happened():
            assert self.process.poll() is None, f"it ended before: {self.output}"
            assert time.monotonic() < deadline, f"it did not happen: {self.output}"
            pause.wait(0.02)

    def interrupt(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds until the end."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.wait(60), time.monotonic() - began


@contextmanager
def command(folder: Path, *arguments: str, how: tuple[str, ...] = IMPATIENT) -> Iterator[Command]:
    """Start the command in the environment of this process; it does not outlive the context."""
    printed_to = folder / f"printed-{time.monotonic_ns()}.txt"
    with printed_to.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *how, *arguments],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Command(process, printed_to)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def stands_still_at(
    faults: Faults, method: str, path: str = "", body: str = "", skip: int = 0
) -> Callable[[], bool]:
    """Make a server carry out the request and not answer; the function tells whether it was asked."""
    fault = Fault(
        "slow_after",
        match_method=method,
        match_path_regex=path,
        match_body_regex=body,
        seconds=600,
    )
    faults.add(fault)
    return lambda: bool(fault.fired)
