"""The installed command, as a process of its own: what a shell, a cron job or a container sees."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mc_pipeline_tests.world import World

SCRIPT = Path(sys.executable).with_name("mc-pipeline")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env={**os.environ, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_doctor_prints_nothing_but_json_when_asked_to(served: World):
    finished = run("doctor", "--json")
    assert {each["status"] for each in json.loads(finished.stdout)} <= {"ok", "warning", "not checked"}
    assert finished.returncode == 0, finished.stdout
    assert finished.stderr == ""


def test_an_error_is_one_line_on_the_error_stream(served: World):
    finished = run("approve", "000000000000")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("Error: there is no plan 000000000000")
    assert len(finished.stderr.strip().splitlines()) == 1
