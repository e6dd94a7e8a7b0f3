"""The sandbox as a process: what it says, what it leaves alone, and that it ends without a trace."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

SCRIPT = Path(sys.executable).with_name("mc-pipeline")


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [str(SCRIPT), "sandbox", "--partners", "300", *options],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


def said_until(process: subprocess.Popen[str], word: str) -> str:
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if word in line:
            break
    return "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_it_serves_until_it_is_stopped_and_forgets_everything(tmp_path: Path, number: signal.Signals):
    with started(tmp_path) as process:
        said = said_until(process, "Stop with Ctrl-C")
        exported = dict(re.findall(r"export (\w+)=(\S+)", said))
        odoo = re.search(r"^Odoo +(\S+)", said, re.MULTILINE)
        assert odoo, said
        assert requests.get(odoo[1], timeout=10).status_code == 200
        home = Path(exported["DAGSTER_HOME"])
        assert Path(exported["MC_PIPELINE_CONFIG"]).parent == home
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not home.exists()


def test_a_real_installation_is_not_touched(tmp_path: Path):
    """Neither what the .env of the folder names, nor the state in it."""
    (tmp_path / ".env").write_text(
        f"MC_PIPELINE_CONFIG={tmp_path}/real.yaml\nDAGSTER_HOME={tmp_path}/home\n"
        f"MC_PIPELINE_DATABASE_URL=sqlite:///{tmp_path}/ledger.db\nODOO_SECRET=real\n"
    )
    with started(tmp_path) as process:
        said = said_until(process, "Stop with Ctrl-C")
    assert str(tmp_path) not in said
    assert "ODOO_SECRET=real" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_port_that_is_taken_is_named(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with started(tmp_path, "--odoo-port", port) as process:
            said = said_until(process, "choose another one")
            assert process.wait(30) == 2
    assert f"another program listens on port {port}" in said
