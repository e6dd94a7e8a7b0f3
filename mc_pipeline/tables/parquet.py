"""Keeps every table as Parquet, one file per company, or per company and month where it grows with time.

The folder is local by default, or object storage when ``MC_PIPELINE_STORAGE`` names one (fsspec). A file also
holds what :class:`~mc_pipeline.tables.table.Table` knows besides the rows, so that a table read back is as
complete, or incomplete, as it was.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

import dagster as dg
from upath import UPath

from mc_pipeline.tables import schemas
from mc_pipeline.tables.files import (
    DamagedTableError,
    read_arrow,
    storage_folder,
    tidy,
    with_facts,
    with_rows,
    write_arrow,
)
from mc_pipeline.tables.table import Table

__all__ = [
    "DamagedTableError",
    "Erased",
    "ErasedByNow",
    "ParquetTables",
    "ParquetTablesResource",
    "load_table",
    "read_table",
    "storage_folder",
    "store_table",
    "stored_table",
    "write_arrow",
    "write_table",
]

COLUMNS = "mc_pipeline/columns"
"""Metadata of an asset's input: the columns that it needs, of a table that is large."""
FEEDS = "mc_pipeline/feeds"
"""Metadata of an asset that is stored by month: the external ``asset`` that shows its months, from its
``first_month`` on."""


_log = logging.getLogger(__name__)


class Erased(Protocol):
    """Who was erased until a moment."""

    def left_out_of(self, name: str, table: Table) -> Table:
        """The table called ``name`` without these people."""
        ...


class ErasedByNow(Protocol):
    """Says who was erased, whenever it is asked."""

    def erased_by_now(self) -> Erased:
        """Who was erased until this moment; the same object until somebody else is erased."""
        ...

    def forget_again(self) -> None:
        """Forget what a step that ends has recorded about people who were erased meanwhile."""
        ...

    def mark_tables(self) -> None:
        """Note beside the tables, before one is stored, which ledger they belong to."""
        ...


_SYNC = "Sync the whole company ({}), not this step alone: the sync rebuilds every table."


class MissingTableError(Exception):
    """A step needs a table that is not there, or is damaged; the message says what to do."""


class ParquetTables(dg.UPathIOManager):
    """Stores and loads :class:`Table` values: ``<folder>/<asset>/<company>.parquet``.

    Of people who were erased by then, nothing is stored and nothing is loaded (rule 10.1).
    """

    extension = ".parquet"

    def __init__(self, base_path: UPath, people: ErasedByNow | None = None) -> None:
        super().__init__(base_path=base_path)
        self._people = people

    def dump_to_path(self, context: dg.OutputContext, obj: Table, path: UPath) -> None:
        if not isinstance(obj, Table):
            raise TypeError(
                f"asset {context.asset_key.to_user_string()} returned {type(obj).__name__}, not a Table"
            )
        columns = schemas.ALL[context.asset_key.path[-1]]
        if self._people is not None:
            # First: a process that opens the ledger now finds no table that the ledger does not know.
            self._people.mark_tables()
        changed, stored = store_table(columns, obj, path, self._people)
        if self._people is not None:
            self._people.forget_again()
        if columns.by_month:
            context.add_output_metadata({"months_written": ", ".join(changed) or "none"})
            _show_months(context, stored, changed)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Table:
        names = (context.definition_metadata or {}).get(COLUMNS)
        table = context.asset_key.path[-1]
        try:
            return load_table(schemas.ALL[table], path, self._people, names=names)
        except FileNotFoundError:
            raise MissingTableError(
                f"the table {table} of {path.stem} does not exist: it was never made, or was removed. "
                f"{_SYNC.format(path.stem)}"
            ) from None
        except DamagedTableError as error:
            raise MissingTableError(f"{error}. {_SYNC.format(path.stem)}") from error


def store_table(
    columns: schemas.TableColumns, table: Table, path: UPath, people: ErasedByNow | None
) -> tuple[list[str], Table]:
    """Store a table without people who were erased; return the months that changed, and what was stored.

    An erasure first sets a tombstone and then goes through the files, and here the file is stored first and
    tombstones are looked for afterwards. So one of the two always finds the person, whichever is earlier.
    """
    if people is None:
        return write_table(columns, table, path), table
    erased = people.erased_by_now()
    changed: set[str] = set()
    while True:
        stored = erased.left_out_of(columns.name, table)
        changed.update(write_table(columns, stored, path))
        by_now = people.erased_by_now()
        if by_now is erased:
            return sorted(changed), stored
        erased = by_now


def load_table(
    columns: schemas.TableColumns,
    path: UPath,
    people: ErasedByNow | None,
    *,
    names: Sequence[str] | None = None,
) -> Table:
    """Load a table, or the columns ``names`` of it, without people who were erased since it was stored."""
    table = read_table(columns, path, names=names)
    return table if people is None else people.erased_by_now().left_out_of(columns.name, table)


class ParquetTablesResource(dg.ConfigurableIOManagerFactory[ParquetTables]):
    """Tables in a folder by themselves. Without ``folder``: MC_PIPELINE_STORAGE, or one in DAGSTER_HOME."""

    folder: str = ""

    def create_io_manager(self, context: dg.InitResourceContext) -> ParquetTables:
        return ParquetTables(base_path=storage_folder(self.folder))


def stored_table(
    columns: schemas.TableColumns, company: str, *, names: Sequence[str] | None = None
) -> Table | None:
    """Return a company's table, or some columns of it, as it was last stored; None when it never was.

    None as well when it is damaged: a warning names the file, and the next sync rebuilds it.
    """
    path = storage_folder() / columns.name / f"{company}.parquet"
    try:
        return read_table(columns, path, names=names)
    except FileNotFoundError:
        return None
    except DamagedTableError as error:
        _log.warning("%s: it is left out, and the next sync of %s rebuilds it", error, company)
        return None


def write_table(columns: schemas.TableColumns, table: Table, path: UPath) -> list[str]:
    """Write ``table`` so that a reader sees the old table or the new one, never a part.

    What killed runs left unfinished beside it is removed.

    Returns:
        The months that changed, of a table that is stored by month.

    Raises:
        ValueError: the rows do not fit ``columns``.
    """
    tidy(path.parent)
    if columns.by_month:
        from mc_pipeline.tables.months import write_by_month

        return write_by_month(columns, table, path)
    write_arrow(with_facts(columns.to_arrow(table.rows), table), path)
    return []


def read_table(
    columns: schemas.TableColumns,
    path: UPath,
    *,
    names: Sequence[str] | None = None,
    months: Collection[str] | None = None,
) -> Table:
    """Read a table with the facts it was written with; the columns ``names`` alone, when given.

    ``months``: of a table that is stored by month, these alone.

    Raises:
        FileNotFoundError: it was never stored.
        DamagedTableError: a file of it is damaged or gone, or was written by another version.
    """
    try:
        if columns.by_month:
            from mc_pipeline.tables.months import read_by_month

            return read_by_month(columns, path, months=months, names=names)
        wanted = columns if names is None else columns.only(names)
        arrow = read_arrow(path, wanted.names)
        return with_rows(arrow, wanted.to_pandas(arrow.select(wanted.names)))
    except DamagedTableError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedTableError(
            path, f"it does not have the columns or facts of this version: {error}"
        ) from error


def _show_months(context: dg.OutputContext, table: Table, changed: Sequence[str]) -> None:
    """Report to the external asset of the months which of them were stored again, with their sums."""
    feeds = (context.definition_metadata or {}).get(FEEDS)
    if feeds is None:
        return
    rows = table.rows[table.rows["month"].isin(changed)]
    amounts = list(rows.select_dtypes("float64").columns)
    for month in changed:
        if not feeds["first_month"] <= month <= f"{table.observed_at:%Y-%m}":
            continue  # the external asset has no such partition
        own = rows[rows["month"] == month]
        partition = dg.MultiPartitionKey({"company": context.partition_key, "month": month})
        context.log_event(
            dg.AssetMaterialization(
                feeds["asset"],
                partition=partition,
                metadata={
                    "dagster/row_count": len(own),
                    **{name: round(float(own[name].sum()), 3) for name in amounts},
                },
            )
        )
