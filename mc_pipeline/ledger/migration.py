"""Upgrades a ledger to the schema of this version, when it is opened.

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
    with database.read() as connection:
        if _revision(connection) == newest_revision():
            return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    with database.read() as connection:
        _refuse_newer(_revision(connection), known, newest, database)
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRESQL_LOCK})
        current = _revision(connection)
        _refuse_newer(current, known, newest, database)
        if current != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def newest_revision() -> str:
    """The revision of the newest migration, by the names of the files alone: they are not loaded.

    Nearly every opening finds the ledger up to date, and Alembic takes a second to say so.
    """
    folder = resources.files("mc_pipeline.ledger") / "migrations" / "versions"
    return max(each.name for each in folder.iterdir() if each.name[:4].isdigit())[:4]


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    folder = resources.files("mc_pipeline.ledger") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return revision


def _refuse_newer(revision: str | None, known: set[str], newest: str | None, database: Database) -> None:
    if revision is not None and revision not in known:
        raise LedgerSchemaError(
            f"the ledger at {database.location} was written by a newer mc_pipeline (schema {revision}, this "
            f"version knows up to {newest}): install the newer version, or name another ledger"
        )
