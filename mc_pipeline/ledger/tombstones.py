"""The tombstones beside the ledger: a file that is still there when an older copy of the ledger is restored.

An older ledger does not know who was erased since it was copied, and the next run would make these people
members again. The file holds what the table ``ledger_erasure`` holds: pseudonyms, the id of the key, ids of
partners, why, by whom and when. No address, no name. It belongs to its owner only.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from mc_pipeline.ledger.errors import LedgerError, LedgerUnavailableError

_FORMAT = 1
_TIMES = ("requested_at", "completed_at")


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """One erased person. ``report`` says what was done where, and names nobody.

    ``partner_ids`` are the Odoo partners who had the address; ``requested_at`` is when the erasure was asked
    for last: no evidence of consent from before counts. ``completed_at`` is None while something of the
    erasure is still to be done.
    """

    pseudonym: str
    key_id: str
    partner_ids: list[int]
    reason: str
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    report: dict[str, Any]


class TombstoneFile:
    """The file of one ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, url: URL, environment: dict[str, str] | None = None) -> "TombstoneFile | None":
        """The file beside a SQLite ledger; of another database one in ``$DAGSTER_HOME/mc_pipeline``.

        None for another database where DAGSTER_HOME is not set.
        """
        if url.get_backend_name() == "sqlite":
            assert url.database is not None
            return cls(Path(f"{url.database}.tombstones.json"))
        home = (os.environ if environment is None else environment).get("DAGSTER_HOME", "")
        return cls(Path(home).expanduser() / "mc_pipeline" / "tombstones.json") if home else None

    def read(self) -> list[Tombstone]:
        """Who was erased by this file; nobody when there is none.

        Raises:
            LedgerError: the file is damaged, or cannot be read; the message says what to do.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise LedgerUnavailableError(
                f"the file of erased people {self.path} may be read by its owner only: run mc-pipeline and "
                "Dagster as the same user, the one who owns it"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise self._damaged(f"its format is {found['format']!r}, written by another version")
            return [_from_json(each) for each in found["tombstones"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"{type(error).__name__}") from error

    def write(self, tombstones: Sequence[Tombstone]) -> None:
        """Keep these, on disk when this returns; whom the file knows besides them stays in it.

        Raises:
            LedgerError: the file is damaged, or cannot be written.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                known = {each.pseudonym: each for each in self.read()}
                known.update({each.pseudonym: each for each in tombstones})
                if known or self.path.exists():
                    self._replace(list(known.values()))
        except OSError as error:
            raise LedgerUnavailableError(
                f"the file of erased people {self.path} cannot be written ({error.strerror}): check the "
                "rights of its folder, and that the disk is not full"
            ) from error

    def _replace(self, tombstones: Sequence[Tombstone]) -> None:
        rows = [_as_json(each) for each in sorted(tombstones, key=lambda each: each.pseudonym)]
        temporary = self.path.with_name(f".{self.path.name}.new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump({"format": _FORMAT, "tombstones": rows}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process write the file meanwhile: what it adds would be lost."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        handle = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _damaged(self, what: str) -> LedgerError:
        return LedgerError(
            f"the file of erased people {self.path} cannot be read ({what}). Restore it from a backup. If "
            "there is none, and the ledger was not replaced by an older copy since the last erasure, move "
            "the file away: it is rebuilt from the ledger."
        )


def _as_json(tombstone: Tombstone) -> dict[str, Any]:
    row = asdict(tombstone)
    return row | {name: row[name].isoformat() if row[name] else None for name in _TIMES}


def _from_json(row: dict[str, Any]) -> Tombstone:
    times = {name: datetime.fromisoformat(row[name]) if row[name] else None for name in _TIMES}
    if times["requested_at"] is None or any(at is not None and at.tzinfo is None for at in times.values()):
        raise ValueError("a time is missing, or has no timezone")
    return Tombstone(**row | times)
