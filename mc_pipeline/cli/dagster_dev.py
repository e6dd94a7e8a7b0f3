"""Runs ``dagster dev`` as a child that never outlives us: one process group, ended as a whole."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mc_pipeline.home import HOME_VARIABLE

_WORKSPACE = Path(__file__).resolve().parents[2] / "workspace.yaml"
_FOLDER, _LOG = "dagster_dev", "output.log"
_SECONDS_TO_SHUT_DOWN = 20.0
_SECONDS_BEFORE_KILL = 2.0
_POLL_SECONDS = 0.2
# It tells people to install another command; this one is started by us.
_SUPERSEDED = "ignore:Function `dev_command` is superseded"


@contextmanager
def dagster_dev(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the UI and the daemon on ``port`` with their state in ``home``; all their processes end with us.

    They run in an empty folder in it. Dagster reads a .env of its working directory, and lets it win over the
    environment; and it imports from there, so that ``home`` itself, where the tables are in a folder
    ``mc_pipeline``, would hide the package of that name. What they print goes to a file in that folder, since
    every event of every run is in it (see :func:`last_words`).
    """
    folder = home / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    command = [
        *(sys.executable, "-m", "dagster", "dev", "--workspace", str(_WORKSPACE)),
        *("--host", "127.0.0.1", "--port", str(port), "--log-level", "error"),
    ]
    warnings = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), _SUPERSEDED)))
    with (folder / _LOG).open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, HOME_VARIABLE: str(home), "PYTHONWARNINGS": warnings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: an interrupt at the terminal reaches us alone, and we end them in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def wait_until_ready(
    process: "subprocess.Popen[bytes]", port: int, give_up: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until the UI answers; return False when the process ended before, or ``give_up`` says so."""
    while process.poll() is None and not give_up():
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5),
        ):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def last_words(home: Path, lines: int = 20) -> str:
    """Return the end of what Dagster's processes printed."""
    return "\n".join((home / _FOLDER / _LOG).read_text(errors="replace").splitlines()[-lines:])


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask for an orderly end, then end what is left of the group: code servers, runs under way."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_SHUT_DOWN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            _await_end(process, _SECONDS_BEFORE_KILL)
        except ProcessLookupError:
            break
    process.wait()


def _await_end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait until nobody of the group is left, which raises ProcessLookupError, or the time is over.

    Ended processes count until their parent notices; in some containers the parent never notices.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.poll()
        os.killpg(process.pid, 0)
        time.sleep(_POLL_SECONDS)
