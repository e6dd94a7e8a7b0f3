"""Files on disk or in object storage: written for their owner only, whole or not at all."""

import errno
import fcntl
import json
import os
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
"""What tells one content of a local file from another: inode, size, time of the last change."""


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
) -> None:
    """Write a file for its owner only; a reader sees the old one or the new one, never a part.

    ``repeating`` names the columns with few different values; without it the library finds out by trying.
    ``if_still``: see :func:`whole_file`.
    """
    import pyarrow.parquet as pq

    encoding = True if repeating is None else list(repeating)
    with whole_file(path, if_still=if_still) as file:
        pq.write_table(arrow, file, compression="zstd", use_dictionary=encoding)


@contextmanager
def whole_file(path: UPath, *, if_still: State | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing, for its owner only: a reader sees the old one or the new one, never a part.

    When the block fails, the old file stays. While a local file is written, its unfinished copy is locked, so
    that one which a killed process left behind is told from one that somebody is writing.

    Raises:
        ChangedMeanwhileError: the file is not in the state ``if_still`` any more; nothing was changed.
    """
    if not _is_local(path):
        # An object appears only when its upload is complete.
        with path.open("wb") as file:
            yield file
        return
    target = Path(path.path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            _lock(file.fileno(), fcntl.LOCK_EX)
            yield file
            file.flush()
            with _alone_in(target.parent):
                if if_still is not None and state_of(path) != if_still:
                    raise ChangedMeanwhileError(f"{target.name} was stored by somebody else meanwhile")
                temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def state_of(path: UPath) -> State | None:
    """The state of a local file, to be compared; None when it is not there, or in object storage."""
    if not _is_local(path):
        return None
    try:
        found = os.stat(path.path)
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def remove_unfinished(path: UPath) -> bool:
    """Remove a file that a killed process left unfinished; return whether it did.

    One that is being written stays: whoever writes it looks again who was erased, once it is whole.
    """
    if not _is_local(path):
        return False
    with suppress(FileNotFoundError), open(path.path, "r+b") as file:
        try:
            _lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        Path(path.path).unlink(missing_ok=True)
        return True
    return False


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let nobody else put a file in its place in this folder meanwhile."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> None:
    """Lock, where the file system can: network file systems refuse it, for folders above all."""
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise


def read_arrow(path: UPath, names: Sequence[str] | None = None) -> "pa.Table":
    """Read a file, or the columns named."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # The library's threads outlive the reading for a moment. A file of Python in their hands aborts a process
    # that ends just then ("terminate called without an active exception"); a file of the library does not.
    with pa.OSFile(path.path) if _is_local(path) else path.open("rb") as file:
        return pq.read_table(file, columns=None if names is None else list(names))


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
