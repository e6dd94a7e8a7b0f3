"""The connection to the ledger's database: where it is, how a transaction starts, who may read the file.

SQLite runs in write-ahead mode and takes its write lock at the start of a writing transaction, so
that two writers queue up instead of failing half-way. What the tables mean does not belong here.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from mc_pipeline.ledger.errors import LedgerError, LedgerUnavailableError
from mc_pipeline.ledger.explaining import DATABASE_URL_VARIABLE, explained

# How long a writer waits for another one: a complete observation of 100,000 members takes seconds.
_BUSY_TIMEOUT_MILLISECONDS = 60_000

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present moment, timezone-aware."""
    return datetime.now(UTC)


class Database:
    """An engine and its two kinds of transaction."""

    def __init__(self, url: URL, clock: Clock) -> None:
        self._clock = clock
        self.location = url.render_as_string(hide_password=True)
        self.dialect = url.get_backend_name()
        self.engine = _sqlite_engine(url) if self.dialect == "sqlite" else _postgresql_engine(url)
        self._writing = self.engine.execution_options(ledger_begin="BEGIN IMMEDIATE")

    def __repr__(self) -> str:
        return f"Database({self.location!r})"

    def now(self) -> datetime:
        """The clock's moment in UTC, refused when it has no timezone."""
        moment = self._clock()
        if moment.tzinfo is None:
            raise LedgerError("the clock given to the ledger gives times without a timezone; give it UTC")
        return moment.astimezone(UTC)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; it sees one state of the ledger on SQLite."""
        with self._transaction(self.engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, rolled back by any exception."""
        with self._transaction(self._writing) as connection:
            yield connection

    def compact(self) -> None:
        """Rewrite the file, so that it holds nothing of rows that were deleted or changed (SQLite).

        PostgreSQL does so on its own over time.
        """
        if self.dialect != "sqlite":
            return
        try:
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("VACUUM")
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            raise LedgerUnavailableError(
                f"the ledger at {self.location} could not be rewritten ({error}): try again when nobody "
                "else uses it"
            ) from error

    def tidy(self) -> None:
        """Have the write-ahead file hold nothing of what was deleted or changed (SQLite), if nobody reads.

        Otherwise it is for the next time: the content of deleted rows is overwritten in the file itself.
        """
        if self.dialect != "sqlite":
            return
        with suppress(sqlite3.OperationalError), closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 200")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MILLISECONDS}")

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            said = explained(error.orig, self.location)
            if said is None:
                raise
            raise said from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def database_url(url: str | None, environment: dict[str, str] | None = None) -> URL:
    """Where the ledger is: the URL given, ``MC_PIPELINE_DATABASE_URL``, or a file under ``DAGSTER_HOME``.

    ``postgres://`` and ``postgresql://`` mean the psycopg2 driver, the one that comes with Dagster. Raises
    ``LedgerError`` naming what to set when none of the three is there or the kind is unknown.
    """
    variables = os.environ if environment is None else environment
    text = url or variables.get(DATABASE_URL_VARIABLE, "")
    if not text:
        home = variables.get("DAGSTER_HOME", "")
        if not home:
            raise LedgerError(
                f"the ledger has no place: set DAGSTER_HOME (a SQLite file is kept there) "
                f"or {DATABASE_URL_VARIABLE}=postgresql://…"
            )
        return URL.create("sqlite", database=str(Path(home).expanduser() / "mc_pipeline" / "ledger.db"))
    if text.startswith("postgres://"):
        text = "postgresql://" + text.removeprefix("postgres://")
    try:
        parsed = make_url(text)
    except ArgumentError as error:
        # The text may hold a password: it is not repeated.
        raise LedgerError(
            f"{DATABASE_URL_VARIABLE} is not a database URL; write postgresql://user:password@host/database "
            "or sqlite:////path/to/ledger.db"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg2")
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise LedgerError(
                "a ledger in memory would forget what was sent; name a file: sqlite:////path/ledger.db"
            )
        return parsed.set(drivername="sqlite")
    raise LedgerError(f"the ledger cannot be kept in {backend}; use postgresql:// or sqlite:///")


def _postgresql_engine(url: URL) -> Engine:
    return create_engine(
        url,
        pool_pre_ping=True,
        executemany_mode="values_plus_batch",
        connect_args={"connect_timeout": 10, "application_name": "mc_pipeline ledger"},
    )


def _sqlite_engine(url: URL) -> Engine:
    assert url.database is not None  # database_url refuses a ledger in memory
    path = Path(url.database)
    _make_private_file(path)
    _switch_to_write_ahead(path)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MILLISECONDS / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver would start transactions on its own, later than SQLAlchemy thinks, and not for DDL.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        # What is deleted or replaced is overwritten: it may be the address of somebody who was erased.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MILLISECONDS}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("ledger_begin", "BEGIN"))

    return engine


def _make_private_file(path: Path) -> None:
    """Create file and folder for their owner only; SQLite gives its -wal and -shm files the file's rights.

    A folder that others made is left as it is: only folders created here are closed to others.
    """
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        for present in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            _close_to_others(present)
        if path.parent.name == "mc_pipeline":
            _close_to_others(path.parent)
    except OSError as error:
        raise LedgerUnavailableError(
            f"the ledger file {path} cannot be made or opened ({error.strerror}): "
            "check the rights of its folder"
        ) from error


def _close_to_others(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    if mode & 0o077:
        path.chmod(mode & 0o700)


def _switch_to_write_ahead(path: Path) -> None:
    """Write-ahead mode is a property of the file: it is set once, by the process that opens the file
    first."""
    give_up_at = time.monotonic() + _BUSY_TIMEOUT_MILLISECONDS / 1000
    while True:
        try:
            with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
                if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                    return
                if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                    return
        except sqlite3.DatabaseError as error:
            # The switch needs the file alone, and SQLite does not make it queue up behind another process.
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise explained(error, str(path)) or error from error
        time.sleep(0.02)
