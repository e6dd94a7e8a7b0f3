"""Keeps every table as one Parquet file per company, written whole or not at all.

The folder is local by default, or object storage when ``MC_PIPELINE_STORAGE`` names one (fsspec). A file also
holds what :class:`~mc_pipeline.tables.table.Table` knows besides the rows, so that a table read back is as
complete, or incomplete, as it was.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import dagster as dg
from upath import UPath

from mc_pipeline.tables import schemas
from mc_pipeline.tables.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

_FACTS = b"mc_pipeline"


class ParquetTables(dg.UPathIOManager):
    """Stores and loads :class:`Table` values: ``<folder>/<asset>/<company>.parquet``."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: Table, path: UPath) -> None:
        if not isinstance(obj, Table):
            raise TypeError(
                f"asset {context.asset_key.to_user_string()} returned {type(obj).__name__}, not a Table"
            )
        write_table(schemas.ALL[context.asset_key.path[-1]], obj, path)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Table:
        return read_table(schemas.ALL[context.asset_key.path[-1]], path)


class ParquetTablesResource(dg.ConfigurableIOManagerFactory):
    """The I/O manager of all assets. Without ``folder``: MC_PIPELINE_STORAGE, or one in DAGSTER_HOME."""

    folder: str = ""

    def create_io_manager(self, context: dg.InitResourceContext) -> ParquetTables:
        return ParquetTables(base_path=storage_folder(self.folder))


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


def stored_table(columns: schemas.TableColumns, company: str) -> Table | None:
    """Return a company's table as it was last stored; None when it never was."""
    path = storage_folder() / columns.name / f"{company}.parquet"
    return read_table(columns, path) if path.exists() else None


def write_table(columns: schemas.TableColumns, table: Table, path: UPath) -> None:
    """Write ``table`` so that a reader sees the old file or the new one, never a part.

    Raises:
        ValueError: the rows do not fit ``columns``.
    """
    arrow = columns.to_arrow(table.rows)
    facts = {
        "observed_at": table.observed_at.isoformat(),
        "complete": table.complete,
        "incomplete_because": table.incomplete_because,
        "facts": dict(table.facts),
    }
    write_arrow(arrow.replace_schema_metadata({_FACTS: json.dumps(facts).encode()}), path)


def write_arrow(arrow: "pa.Table", path: UPath) -> None:
    """Write a file for its owner only; a reader sees the old one or the new one, never a part."""
    import pyarrow.parquet as pq

    if not _is_local(path):
        # An object appears only when its upload is complete.
        with path.open("wb") as file:
            pq.write_table(arrow, file, compression="zstd")
        return
    target = Path(path.path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            pq.write_table(arrow, file, compression="zstd")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_table(columns: schemas.TableColumns, path: UPath) -> Table:
    """Read a table with the facts it was written with."""
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        arrow = pq.read_table(file)
    facts = json.loads((arrow.schema.metadata or {})[_FACTS])
    return Table(
        rows=columns.to_pandas(arrow.select(columns.names)),
        observed_at=datetime.fromisoformat(facts["observed_at"]),
        complete=facts["complete"],
        incomplete_because=facts["incomplete_because"],
        facts=facts.get("facts", {}),
    )


def _is_local(path: UPath) -> bool:
    return path.protocol in ("", "file", "local")
