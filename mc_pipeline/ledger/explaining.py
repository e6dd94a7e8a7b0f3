"""What a database's own error means for the ledger, in a sentence with what to do about it."""

import sqlite3

from mc_pipeline.ledger.errors import LedgerError, LedgerSchemaError, LedgerUnavailableError

DATABASE_URL_VARIABLE = "MC_PIPELINE_DATABASE_URL"

_PUT_BACK = (
    "stop every run, Dagster and mc-pipeline webhooks serve, keep the file for later, and put a backup in "
    "its place (README, Backing up)"
)
_BY_CODE = {
    sqlite3.SQLITE_CORRUPT: f"is damaged: {_PUT_BACK}",
    sqlite3.SQLITE_NOTADB: (
        f"is not a ledger, or its beginning is damaged: {_PUT_BACK}; or name another place"
    ),
    sqlite3.SQLITE_FULL: "cannot be written: free some space on its disk, and start again; nothing is half "
    "written",
    sqlite3.SQLITE_READONLY: "cannot be written: give the user who runs mc-pipeline the right to write the "
    "file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its folder is there, may be written by the user "
    "who runs mc-pipeline, and has space left",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check that its disk is there, has space left and is "
    "not failing, and start again",
    sqlite3.SQLITE_PERM: "cannot be opened: correct the rights of the file and its folder",
    sqlite3.SQLITE_BUSY: "stays locked by another program: end it, or wait until it is done",
    sqlite3.SQLITE_LOCKED: "stays locked by another program: end it, or wait until it is done",
}
_WRONG_TABLES = ("no such table", "no such column", "already exists", "duplicate column name")
_WRONG_TABLES_OF_POSTGRESQL = ("UndefinedTable", "UndefinedColumn", "DuplicateTable", "DuplicateColumn")


def explained(error: BaseException | None, location: str) -> LedgerError | None:
    """Say what an error of the database driver means; None where it is a fault of the program."""
    reason = str(error).strip().partition("\n")[0] or "no reason given"
    if type(error).__name__ in _WRONG_TABLES_OF_POSTGRESQL or (
        isinstance(error, sqlite3.OperationalError) and any(words in reason for words in _WRONG_TABLES)
    ):
        return LedgerSchemaError(
            f"the ledger at {location} has other tables than its own version says ({reason}): an update by "
            f"another program was interrupted, or somebody changed it. To repair it, {_PUT_BACK}, and "
            "start again: that updates it as a whole"
        )
    if isinstance(error, sqlite3.DatabaseError):
        # The low byte is the kind, the rest says more of it.
        kind = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        advice = _BY_CODE.get(kind)
        if advice is not None:
            return LedgerUnavailableError(f"the ledger at {location} {advice} ({reason})")
        if not isinstance(error, sqlite3.OperationalError):
            return None
    elif type(error).__name__ not in ("OperationalError", "AdminShutdown", "CannotConnectNow"):
        return None
    return LedgerUnavailableError(
        f"the ledger at {location} cannot be used ({reason}); check {DATABASE_URL_VARIABLE} or the file's "
        "folder and rights, and that no other program keeps it locked"
    )
