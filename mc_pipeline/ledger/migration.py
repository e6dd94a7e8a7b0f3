"""Brings a ledger to the schema of this version, when it is opened.

Safe when several processes open a ledger at once: each takes the database's write lock, looks again
which migrations are missing, and runs them in one transaction.

A new migration: change ``schema.py``, add ``migrations/versions/NNNN_what.py`` (``revision`` and
``down_revision`` as in its neighbours); a test compares the result of all migrations with the schema.
"""

from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import LedgerSchemaError

if TYPE_CHECKING:
    from alembic.config import Config

# Dagster's storage may share the database and keeps its own revision in "alembic_version".
VERSION_TABLE = "ledger_schema_version"
# Any number that nobody else takes in this database: "mcLEDGER" shortened.
_POSTGRESQL_LOCK = 6_076_332_037


def upgrade(database: Database) -> None:
    """Run the migrations that the ledger has not had yet.

    Raises ``LedgerSchemaError`` when the ledger has had one that this version does not know.
    """
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    with database.read() as connection:
        if _current_revision(connection, known, newest, database) == newest:
            return
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRESQL_LOCK})
        if _current_revision(connection, known, newest, database) != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    folder = resources.files("mc_pipeline.ledger") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _current_revision(
    connection: Connection, known: set[str], newest: str | None, database: Database
) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    if revision is not None and revision not in known:
        raise LedgerSchemaError(
            f"the ledger at {database.location} was written by a newer mc_pipeline (schema {revision}, this "
            f"version knows up to {newest}): install the newer version, or name another ledger"
        )
    return revision
