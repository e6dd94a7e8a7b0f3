"""A copy of the ledger that is whole, also while others write: what ``cp`` cannot do.

In write-ahead mode the newest transactions are in a file of their own beside the ledger, so a copied file is
old, empty or torn.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from mc_pipeline.ledger.database import database_url
from mc_pipeline.ledger.errors import LedgerError, LedgerUnavailableError
from mc_pipeline.ledger.tombstones import TombstoneFile


def back_up(target: Path, url: str | None = None) -> list[Path]:
    """Copy the ledger, and the file of erased people beside it; return the files that were made.

    Both are for their owner only, and appear when they are whole.

    Raises:
        LedgerError: the ledger is no SQLite file, or the target is there already.
        LedgerUnavailableError: the ledger is not there, is damaged, or the copy cannot be written.
    """
    place = database_url(url)
    if place.get_backend_name() != "sqlite":
        raise LedgerError(
            f"the ledger at {place.render_as_string(hide_password=True)} is no file: back it up with pg_dump"
        )
    assert place.database is not None
    ledger, erased = Path(place.database), TombstoneFile.of(place)
    beside = Path(f"{target}.tombstones.json")
    for file in (target, beside):
        if file.exists():
            raise LedgerError(f"{file} is there already: name a file that is not")
    if not ledger.is_file():
        raise LedgerUnavailableError(f"there is no ledger at {ledger}: check DAGSTER_HOME")
    made = [target]
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(ledger, unfinished)
        if erased is not None and erased.path.exists():
            with open(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as copy:
                copy.write(erased.path.read_bytes())
                os.fsync(copy.fileno())
            made.append(beside)
        unfinished.replace(target)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LedgerUnavailableError(
            f"the ledger {ledger} cannot be copied to {target} ({reason}): check the folder's rights, and "
            "that the disk is not full"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return made


def _copy(ledger: Path, target: Path) -> None:
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(target)) as copy:
        # All at once: others may write meanwhile, and the copy is of one moment.
        source.backup(copy)
        # A copy is one file, without a second one beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"the ledger is damaged: {found}")
    with target.open("rb") as file:
        os.fsync(file.fileno())
