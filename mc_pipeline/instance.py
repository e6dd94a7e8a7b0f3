"""Where Dagster keeps its runs, events and schedules: PostgreSQL when its variable is set, SQLite otherwise.

``dagster.yaml`` names ``EnvironmentSelectedStorage``, so that the same file serves one machine and many.
The only module that uses Dagster's storage internals. The pipeline's own state is elsewhere: the ledger and
the tables.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from mc_pipeline.home import HOME_VARIABLE

POSTGRES_VARIABLE = "DAGSTER_POSTGRES_URL"


class EnvironmentSelectedStorage(DagsterStorage, ConfigurableClass):
    """Names a storage in dagster.yaml that is chosen when Dagster starts; never instantiated itself.

    PostgreSQL at ``DAGSTER_POSTGRES_URL`` when that is set; else SQLite in the folder ``DAGSTER_HOME``, or
    in ``.dagster_home`` of the working directory when no home is set (``dagster dev`` in a checkout).
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Take no configuration: the environment decides."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # Dagster's own class expects itself
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
        """Return the storage that the environment asks for.

        Raises:
            ValueError: ``DAGSTER_POSTGRES_URL`` is no PostgreSQL URL (the URL itself is not shown).
        """
        url = os.environ.get(POSTGRES_VARIABLE, "").strip()
        if url:
            from dagster_postgres import DagsterPostgresStorage  # two seconds that SQLite need not pay

            return DagsterPostgresStorage(psycopg2_url(url), inst_data=inst_data)
        folder = _sqlite_folder()
        with _alone_in(folder):
            return DagsterSqliteStorage.from_local(str(folder), inst_data=inst_data)


def psycopg2_url(url: str) -> str:
    """Return a PostgreSQL URL that names the driver dagster-postgres is made for.

    Without it SQLAlchemy chooses: 2.1 takes psycopg 3, with which dagster-postgres fails.

    Raises:
        ValueError: it is no PostgreSQL URL.
    """
    explanation = (
        f"{POSTGRES_VARIABLE} must be a PostgreSQL URL such as postgresql://user:password@host/dagster"
    )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(explanation) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"{explanation}, not {parsed.get_backend_name()}://…")
    return parsed.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time open the storage in a folder, for as long as it lays out its tables.

    Dagster looks what is missing and makes it, without a lock: of two that open a new folder at once, one
    would find "table run_tags already exists". The system frees the lock of a process that ends.
    """
    lock = os.open(folder / ".storage.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # Not every network file system has locks; there Dagster is on its own, as without us.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _sqlite_folder() -> Path:
    home = os.environ.get(HOME_VARIABLE, "").strip()
    folder = Path(home).expanduser() if home else Path.cwd() / ".dagster_home"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
