"""Tables that grow with time as one Parquet file per month, of which only those that changed are written.

``<folder>/<table>/<company>.parquet`` names the files that make up the table, with a digest of what is in
each; it is written last. So a reader sees the table as it was or as it is, whatever a crash left behind. The
months' files lie in the folder ``<company>`` beside it.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from mc_pipeline.tables import schemas
from mc_pipeline.tables.files import (
    DamagedTableError,
    checksum_of,
    is_unfinished,
    read_arrow,
    remove_unfinished,
    with_facts,
    with_rows,
    write_arrow,
)
from mc_pipeline.tables.table import Table

_MONTH = "month"
_LISTING = schemas.TableColumns(
    "months",
    (
        schemas.Column(_MONTH, schemas.TEXT, "month, YYYY-MM"),
        schemas.Column("file", schemas.TEXT, "name of the file"),
        schemas.Column("rows", schemas.INTEGER, "number of rows in it"),
        schemas.Column("digest", schemas.TEXT, "digest of their content"),
        schemas.Column("checksum", schemas.INTEGER, "checksum of the file's bytes", True),
    ),
)
# A file that is named no more may vanish between reading its name and opening it.
_TRIES = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonthFile:
    """One month of a table as it is stored."""

    month: str
    file: str
    rows: int
    digest: str
    checksum: int | None = None
    """None: written by a version that kept none."""


def write_by_month(columns: schemas.TableColumns, table: Table, path: UPath) -> list[str]:
    """Store a table with a column ``month``; return the months whose rows changed, removed ones included.

    Rows are kept in the order of their first column. A file that is damaged or gone is rewritten.

    Raises:
        ValueError: the rows do not fit ``columns``; nothing was changed.
    """
    arrow = columns.to_arrow(table.rows).sort_by([(_MONTH, "ascending"), (columns.names[0], "ascending")])
    before = {each.month: each for each in _known(path)}
    after: dict[str, MonthFile] = {}
    changed = []
    for month, rows in _months(arrow):
        digest = _digest(rows)
        known = before.get(month)
        if known is not None and known.digest == digest and _is_whole(path, known):
            after[month] = known
            continue
        file = f"{month}-{digest}.parquet"
        checksum = write_arrow(rows, _folder(path) / file, repeating=columns.repeating)
        after[month] = MonthFile(month, file, len(rows), digest, checksum)
        changed.append(month)
    listing = pa.Table.from_pylist([vars(each) for each in after.values()], schema=_LISTING.arrow)
    write_arrow(with_facts(listing, table), path)
    _remove_others(_folder(path), {each.file for each in after.values()})
    return sorted({*changed, *(before.keys() - after.keys())})


def read_by_month(
    columns: schemas.TableColumns,
    path: UPath,
    *,
    months: Collection[str] | None = None,
    names: Sequence[str] | None = None,
) -> Table:
    """Read a table, or the months or columns named; a month that it does not have gives no rows.

    Raises:
        FileNotFoundError: the table was never stored.
        DamagedTableError: a file of it is damaged, or gone.
    """
    wanted = columns if names is None else columns.only(names)
    for tries_left in reversed(range(_TRIES)):
        listing = read_arrow(path)
        files = [each for each in _listed(path, listing) if months is None or each.month in months]
        try:
            parts = [read_arrow(_folder(path) / each.file, wanted.names) for each in files]
        except FileNotFoundError as error:
            if not tries_left:
                gone = [each.month for each in files if not (_folder(path) / each.file).exists()]
                raise DamagedTableError(path, f"the file of {', '.join(gone)} is gone") from error
            continue
        break
    arrow = pa.concat_tables(parts) if parts else wanted.arrow.empty_table()
    return with_rows(listing, wanted.to_pandas(arrow))


def _months(arrow: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Cut a table that is sorted by month."""
    counted = arrow[_MONTH].value_counts().to_pylist()
    start = 0
    for each in sorted(counted, key=lambda one: one["values"]):
        yield each["values"], arrow.slice(start, each["counts"])
        start += each["counts"]


def _digest(rows: pa.Table) -> str:
    """Digest of names, types and values. Arrow's own buffers would not do: they hold more than the values."""
    digest = hashlib.blake2b(str(rows.schema).encode(), digest_size=10)
    for column in rows.columns:
        values = column.combine_chunks()
        digest.update(values.is_valid().to_numpy(zero_copy_only=False).tobytes())
        there = values.drop_null()
        if pa.types.is_string(there.type):
            digest.update(pc.binary_length(there).to_numpy(zero_copy_only=False).tobytes())
            digest.update("".join(there.to_pylist()).encode())
        else:
            digest.update(there.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


def _listed(path: UPath, listing: pa.Table | None = None) -> list[MonthFile]:
    rows = (read_arrow(path) if listing is None else listing).to_pylist()
    return [MonthFile(**row) for row in rows]


def _known(path: UPath) -> list[MonthFile]:
    """The files that make up the table as it is stored; none when nobody knows."""
    try:
        return _listed(path)
    except FileNotFoundError:
        return []
    except (DamagedTableError, TypeError) as error:
        _log.warning("%s: the table is rebuilt", error)
        return []


def _folder(path: UPath) -> UPath:
    return path.with_suffix("")


def _is_whole(path: UPath, known: MonthFile) -> bool:
    """Whether a file is as it was written: erasing takes rows out, and disks and people do damage."""
    file = _folder(path) / known.file
    try:
        if checksum_of(file) == known.checksum:
            return True
    except OSError as error:
        _log.warning("the stored file %s cannot be read (%s): it is rebuilt", file, error.strerror)
    return False


def _remove_others(folder: UPath, files: Collection[str]) -> None:
    """Remove the files that are named no more, also those of a run that was interrupted."""
    if not folder.exists():
        return
    for each in list(folder.iterdir()):
        if is_unfinished(each.name):
            remove_unfinished(each, younger_ones_too=False)
        elif each.name not in files:
            with suppress(FileNotFoundError):
                each.unlink()
