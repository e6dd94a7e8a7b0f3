"""Files on disk or in object storage: written for their owner only, whole or not at all."""

import errno
import fcntl
import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from upath import UPath

from mc_pipeline.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FACTS = b"mc_pipeline"

_CANNOT_LOCK = frozenset({errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})

State = tuple[int, int, int]
"""What distinguishes one content of a local file from another: inode, size, time of the last change."""


_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{4,}")
"""Names of files that are being written: hidden, and numbered."""
_NOBODY_WRITES_FOR_SO_LONG = 3600.0
"""Seconds; where the file system does not show whether a file is being written."""


class DamagedTableError(ValueError):
    """A stored file cannot be read as what it should be; ``path`` is the file, the message names it."""

    def __init__(self, path: UPath, reason: str) -> None:
        self.path = path
        super().__init__(f"the stored file {path} is damaged ({reason})")


class FolderNotWritableError(Exception):
    """A table cannot be stored; the message names the folder and says what to do."""


class ChangedMeanwhileError(Exception):
    """Somebody else stored the file since it was read: read it again."""


def storage_folder(folder: str = "") -> UPath:
    """Return the folder of the tables; a local one is made for its owner only (it holds personal data)."""
    named = folder or os.environ.get("MC_PIPELINE_STORAGE", "")
    if not named:
        named = str(
            Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").resolve() / "mc_pipeline" / "tables"
        )
    path = UPath(named)
    if _is_local(path):
        Path(path.path).mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_arrow(
    arrow: "pa.Table",
    path: UPath,
    *,
    repeating: Sequence[str] | None = None,
    if_still: State | None = None,
) -> int:
    """Write a file for its owner only; a reader sees the old one or the new one, never a part.

    ``repeating`` names the columns with few different values; without it the library finds out by trying.
    ``if_still``: see :func:`whole_file`. Returns the checksum of the file's bytes (see :func:`checksum_of`).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoding = True if repeating is None else list(repeating)
    written = pa.BufferOutputStream()
    pq.write_table(arrow, written, compression="zstd", use_dictionary=encoding, write_page_checksum=True)
    content = written.getvalue()
    with whole_file(path, if_still=if_still) as file:
        file.write(content)
    return zlib.crc32(content)


def checksum_of(path: UPath) -> int:
    """The checksum of a file's bytes. Raises FileNotFoundError."""
    return zlib.crc32(path.read_bytes())


@contextmanager
def whole_file(path: UPath, *, if_still: State | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing, for its owner only: a reader sees the old one or the new one, never a part.

    When the block fails, the old file stays. While a local file is written, its unfinished copy is locked, so
    that one which a killed process left behind is distinguished from one that somebody is writing.

    Raises:
        ChangedMeanwhileError: the file is not in the state ``if_still`` any more; nothing was changed.
        FolderNotWritableError: the disk is full, or the folder must not be written.
    """
    if not _is_local(path):
        # An object appears only when its upload is complete.
        with path.open("wb") as file:
            yield file
        return
    target = Path(path.path)
    with _naming_the_folder(target.parent):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _put_in_place(target, if_still) as file:
            yield file


_NOT_WRITABLE = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "is full: free some space there (df -h shows the space, df -i the number of files), and sync again",
    ),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM),
        "cannot be written: give the user who runs this the right to write it, or name another place in "
        "MC_PIPELINE_STORAGE, and sync again",
    ),
}


@contextmanager
def _naming_the_folder(folder: Path) -> Iterator[None]:
    """Say of a folder that cannot be written which it is, and what to do."""
    try:
        yield
    except OSError as error:
        advice = _NOT_WRITABLE.get(error.errno or 0)
        if advice is None:
            raise
        raise FolderNotWritableError(f"the folder {folder} {advice} ({error.strerror})") from error


@contextmanager
def _put_in_place(target: Path, if_still: State | None) -> Iterator[IO[bytes]]:
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with _locked_new(temporary) as file:
            yield file
            file.flush()
            with _alone_in(target.parent):
                if if_still is not None and state_of(UPath(target)) != if_still:
                    raise ChangedMeanwhileError(f"{target.name} was stored by somebody else meanwhile")
                temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _locked_new(path: Path) -> IO[bytes]:
    """Make a file and lock it; one that somebody tidied away before it was locked is made again."""
    while True:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        try:
            _lock(file.fileno(), fcntl.LOCK_EX)
        except BaseException:
            file.close()
            raise
        if path.exists():
            return file
        file.close()


def state_of(path: UPath) -> State | None:
    """The state of a local file, to be compared; None when it is not there, or in object storage."""
    if not _is_local(path):
        return None
    try:
        found = os.stat(path.path)
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def remove_unfinished(path: UPath, *, younger_ones_too: bool = True) -> bool:
    """Remove a file that a killed process left unfinished; return whether it did.

    One that is being written stays: its writer checks again who was erased, once it is complete.
    ``younger_ones_too``: where the file system does not show it, also one that was changed in the last hour.
    """
    if not _is_local(path):
        return False
    with suppress(FileNotFoundError), open(path.path, "r+b") as file:
        try:
            is_sure = _lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        age = time.time() - os.fstat(file.fileno()).st_mtime
        if not is_sure and not younger_ones_too and age < _NOBODY_WRITES_FOR_SO_LONG:
            return False
        Path(path.path).unlink(missing_ok=True)
        return True
    return False


def is_unfinished(name: str) -> bool:
    """Whether a file with this name was never put in its place: it is being written, or its writer died."""
    return _UNFINISHED.fullmatch(name) is not None


def tidy(folder: UPath) -> None:
    """Remove from a local folder what killed processes left unfinished: it may hold people's data."""
    if _is_local(folder) and folder.exists():
        for path in list(folder.iterdir()):
            if is_unfinished(path.name):
                remove_unfinished(path, younger_ones_too=False)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let nobody else put a file in its place in this folder meanwhile."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> bool:
    """Lock where the file system can, and return whether it did: network file systems refuse it, folders
    above all."""
    try:
        fcntl.flock(handle, how)
        return True
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
        return False


def read_arrow(path: UPath, names: Sequence[str] | None = None) -> "pa.Table":
    """Read a file, or the columns named.

    Raises:
        FileNotFoundError: it is not there.
        DamagedTableError: it is no Parquet file any more, or something in it changed since it was written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # The library's threads outlive the reading for a moment. A file of Python in their hands aborts a process
    # that ends just then ("terminate called without an active exception"); a file of the library does not.
    wanted = None if names is None else list(names)
    try:
        with pa.OSFile(path.path) if _is_local(path) else path.open("rb") as file:
            return pq.read_table(file, columns=wanted, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        # What the system says has a number: no such file, no right to read it. The library's own has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedTableError(path, str(error).strip().partition("\n")[0]) from error


def with_facts(arrow: "pa.Table", table: Table) -> "pa.Table":
    """Add what a table knows besides its rows."""
    facts = {
        "observed_at": table.observed_at.isoformat(),
        "complete": table.complete,
        "incomplete_because": table.incomplete_because,
        "facts": dict(table.facts),
    }
    return arrow.replace_schema_metadata({_FACTS: json.dumps(facts).encode()})


def with_rows(arrow: "pa.Table", rows: "pd.DataFrame") -> Table:
    """Make the table of these rows, with the facts that a file was written with."""
    facts: Mapping[str, Any] = json.loads((arrow.schema.metadata or {})[_FACTS])
    return Table(
        rows=rows,
        observed_at=datetime.fromisoformat(facts["observed_at"]),
        complete=facts["complete"],
        incomplete_because=facts["incomplete_because"],
        facts=facts.get("facts", {}),
    )


def _is_local(path: UPath) -> bool:
    return path.protocol in ("", "file", "local")
