"""Files on disk or in object storage: written for their owner only, whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def write_arrow(arrow: "pa.Table", path: UPath, *, repeating: Sequence[str] | None = None) -> None:
    """Write a file for its owner only; a reader sees the old one or the new one, never a part.

    ``repeating`` names the columns with few different values; without it the library finds out by trying.
    """
    import pyarrow.parquet as pq

    encoding = True if repeating is None else list(repeating)
    with whole_file(path) as file:
        pq.write_table(arrow, file, compression="zstd", use_dictionary=encoding)


@contextmanager
def whole_file(path: UPath) -> Iterator[IO[bytes]]:
    """Open a file for writing, for its owner only: a reader sees the old one or the new one, never a part.

    When the block fails, the old file stays.
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
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
