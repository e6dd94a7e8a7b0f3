"""Damage to a ledger's file is reported with what is wrong and what to do, and nothing is made worse."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mc_pipeline.ledger import Ledger, LedgerError
from mc_pipeline.ledger.migration import newest_revision

BACKUP = "put a backup in its place"


def with_sql(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return change


def no_database(path: Path) -> None:
    path.write_bytes(b"names and addresses " * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pages_overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "another kind of file": (no_database, "is not a ledger, or its beginning is damaged"),
    "cut in half": (cut, "is damaged"),
    "pages overwritten": (pages_overwritten, "is damaged"),
    "a table dropped": (with_sql("DROP TABLE ledger_run"), "has other tables than its own version says"),
    "a version that is older than the tables": (
        with_sql("UPDATE ledger_schema_version SET version_num = '0010'"),
        "has other tables than its own version says",
    ),
    "tables without a version": (
        with_sql("DROP TABLE ledger_schema_version"),
        "has other tables than its own version says",
    ),
    "a version of the future": (
        with_sql("UPDATE ledger_schema_version SET version_num = '9999'"),
        "install the newer version",
    ),
}


def use(path: Path) -> None:
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.runs.begin("run", company="acme", job="sync_company", owner="host:1")
        ledger.consent.ever_opted_out()
        ledger.identities.advance()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_reported_with_what_to_do_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"
    use(path)
    change, said = DAMAGES[damage]
    change(path)
    with pytest.raises(LedgerError) as refusal:
        use(path)
    message = str(refusal.value)
    assert said in message
    assert str(path) in message
    assert BACKUP in message or "newer version" in message
    assert "MC_PIPELINE_DATABASE_URL" not in message, "it is not the address that is wrong"
    with pytest.raises(LedgerError, match=r"\S"):
        use(path)


def test_an_update_that_was_killed_half_way_is_done_again_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    program = (
        "import os, signal, sys\n"
        "from sqlalchemy import event\n"
        "from sqlalchemy.engine import Engine\n"
        "from mc_pipeline.ledger import Ledger\n"
        "@event.listens_for(Engine, 'before_cursor_execute')\n"
        "def die(connection, cursor, statement, *rest):\n"
        "    if 'CREATE TABLE ledger_trouble' in statement:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Ledger.open(sys.argv[1])\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{path}"], check=False, timeout=120, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    use(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM ledger_schema_version").fetchall() == [
            (newest_revision(),)
        ]


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    """What ``cp`` may make of a ledger in use; beside stored tables it is refused."""
    path = tmp_path / "ledger.db"
    path.touch()
    use(path)
