"""What holds for every test: no environment of the person who runs it, and how Hypothesis searches."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests start servers and databases, so the time of one example says nothing.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# On CI the same examples every time: a change is judged by what it changes.
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A test never reaches the systems or the state of whoever runs it.
for _name in (
    "DAGSTER_HOME",
    "DAGSTER_POSTGRES_URL",
    "MC_PIPELINE_CONFIG",
    "MC_PIPELINE_DATABASE_URL",
    "MC_PIPELINE_ERASURE_KEY",
    "MC_PIPELINE_STORAGE",
    "ODOO_SECRET",
    "MAILCHIMP_API_KEY",
):
    os.environ.pop(_name, None)
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"


_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 6 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Keep the folders of tests in memory where there is room: SQLite waits for the disk at each commit."""
    is_chosen = config.option.basetemp is not None or "PYTEST_DEBUG_TEMPROOT" in os.environ
    if (
        not is_chosen
        and os.access(_MEMORY, os.W_OK | os.X_OK)
        and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    ):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried by tests that try many things at once (``record_property`` with a number)."""
    counted: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties if report.when == "call" else ():
            if isinstance(number, int):
                counted[name] += number
    for name, number in sorted(counted.items()):
        terminalreporter.write_line(f"{number} {name} are green")
