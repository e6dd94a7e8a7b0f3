"""Where the ledger is, who may read it, and what opening it does to its schema."""

import os
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from mc_pipeline.ledger import Ledger, LedgerError, LedgerSchemaError, LedgerUnavailableError, migrations
from mc_pipeline.ledger.database import database_url
from mc_pipeline.ledger.migration import VERSION_TABLE, newest_revision
from mc_pipeline.ledger.schema import metadata
from mc_pipeline_tests.ledger.conftest import POSTGRESQL_SERVER


@pytest.mark.skipif(bool(POSTGRESQL_SERVER), reason="the tests of this folder run on PostgreSQL as well")
def test_postgresql_is_tested_where_a_server_is_named() -> None:
    pytest.skip("MC_TEST_POSTGRES_URL names no PostgreSQL server: the ledger is tested on SQLite only")


def test_without_a_database_url_it_is_a_file_under_dagster_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv("MC_PIPELINE_DATABASE_URL", raising=False)
    with Ledger.open():
        assert (tmp_path / "mc_pipeline" / "ledger.db").exists()


def test_without_any_place_it_says_what_to_set() -> None:
    with pytest.raises(LedgerError, match=r"DAGSTER_HOME .* or MC_PIPELINE_DATABASE_URL"):
        database_url(None, {})


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_postgresql_url_means_the_driver_that_is_installed(scheme: str) -> None:
    url = database_url(f"{scheme}://ann:secret@db.example.com:5433/ledger?sslmode=require")
    assert url.drivername == "postgresql+psycopg2"
    assert (url.host, url.port, url.database, url.query["sslmode"]) == (
        "db.example.com",
        5433,
        "ledger",
        "require",
    )


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://ann:secret@db/ledger", "cannot be kept in mysql"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("ann:secret at db", "is not a database URL"),
    ],
)
def test_a_place_that_cannot_work_is_refused_without_repeating_its_password(url: str, complaint: str) -> None:
    with pytest.raises(LedgerError, match=complaint) as refusal:
        database_url(url)
    assert "secret" not in str(refusal.value)


def test_a_server_that_cannot_be_reached_is_named_without_its_password() -> None:
    with pytest.raises(LedgerUnavailableError, match=r"127\.0\.0\.1:1/ledger") as refusal:
        Ledger.open("postgresql://ann:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(refusal.value)


def test_files_and_folder_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "mc_pipeline"
    before = os.umask(0o000)
    try:
        with Ledger.open(f"sqlite:///{folder}/ledger.db") as ledger:
            ledger.reads.record_observation(
                "acme", "odoo_partners", datetime.fromisoformat("2026-01-01T00Z"), 1, True
            )
            files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(before)
    assert files == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch(mode=0o644)
    with Ledger.open(f"sqlite:///{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("names and addresses " * 100)
    with pytest.raises(LedgerUnavailableError, match="is not a ledger, or its beginning is damaged"):
        Ledger.open(f"sqlite:///{path}")
    assert path.read_text().startswith("names and addresses")


def test_the_migrations_make_the_schema_that_the_code_uses(empty_url: str) -> None:
    Ledger.open(empty_url).close()
    engine = create_engine(database_url(empty_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "include_name": lambda name, kind, _parents: kind != "table" or name.startswith("ledger_"),
            },
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_dagsters_own_revision_in_the_same_database_stays_as_it_is(ledger_url: str) -> None:
    engine = create_engine(database_url(ledger_url))
    Ledger.open(ledger_url).close()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('16e3655b4d9b')"))
    Ledger.open(ledger_url).close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [
            "16e3655b4d9b"
        ]
    engine.dispose()


def test_a_ledger_written_by_a_newer_version_is_refused_and_left_alone(ledger_url: str) -> None:
    Ledger.open(ledger_url).close()
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(
        LedgerSchemaError, match=r"newer mc_pipeline \(schema 9999.*install the newer version"
    ):
        Ledger.open(ledger_url)
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "9999"
    engine.dispose()


def test_the_newest_migration_is_known_by_the_name_of_its_file() -> None:
    folder = Path(migrations.__file__).parent
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head()


def test_a_ledger_that_is_up_to_date_is_opened_without_the_library_of_migrations(ledger_url: str) -> None:
    Ledger.open(ledger_url).close()
    program = (
        "import sys; from mc_pipeline.ledger import Ledger; Ledger.open(sys.argv[1]).close();"
        "print('alembic' in sys.modules)"
    )
    opened = subprocess.run(
        [sys.executable, "-c", program, ledger_url], capture_output=True, text=True, timeout=60, check=True
    )
    assert opened.stdout.strip() == "False"


def test_several_processes_may_open_a_new_ledger_at_once(empty_url: str) -> None:
    script = (
        "import sys\n"
        "from mc_pipeline.ledger import Ledger\n"
        "import alembic.command, alembic.script\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "Ledger.open(sys.argv[1]).close()\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    complaints = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], complaints
    engine = create_engine(database_url(empty_url))
    assert set(inspect(engine).get_table_names()) >= set(metadata.tables)
    engine.dispose()


def test_a_clock_without_a_timezone_is_refused(ledger_url: str) -> None:
    with (
        Ledger.open(ledger_url, clock=lambda: datetime(2026, 1, 1)) as ledger,
        pytest.raises(LedgerError, match="timezone"),
    ):
        ledger.plans.waiting("acme")


def test_a_moment_without_a_timezone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Exception, match="no timezone"):
        ledger.reads.record_observation("acme", "odoo_partners", datetime(2026, 1, 1), 5, True)
