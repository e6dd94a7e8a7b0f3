"""Takes people out of every stored file: the tables of all companies, and the records that reads build upon.

A row goes when an address stands anywhere in it, as the whole of a column or inside JSON, or when it is a row
about one of the partners. Whole files are rewritten; what a killed run left is removed.

A run may store tables meanwhile. An erased person has a tombstone before this begins, and every run that
stores a table looks for new tombstones after it is stored (:mod:`mc_pipeline.tables.parquet`). So either the
table was stored before this looks at its file, or the look after the storing finds the tombstone.
"""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from upath import UPath

from mc_pipeline.tables import schemas
from mc_pipeline.tables.files import (
    ChangedMeanwhileError,
    is_unfinished,
    read_arrow,
    remove_unfinished,
    state_of,
    storage_folder,
    whole_file,
    write_arrow,
)

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT_PARTNERS = frozenset(
    {schemas.ODOO_PARTNERS.name, schemas.CONTACTS.name, schemas.SET_ASIDE.name, schemas.AUDIENCE_PLAN.name}
    | {schemas.AUDIENCE_PUSH.name, schemas.ODOO_OPT_OUTS.name, schemas.MISSED_OPT_OUTS.name}
)
"""Tables of which each row is about the partner whom its column ``partner_id`` names."""

_PARTNER_RECORDS = "res.partner.parquet"
_UNFINISHED = "unfinished files"


def erase_from_tables(
    addresses: Collection[str], partner_ids: Collection[int], *, dry_run: bool = False
) -> dict[str, int]:
    """Remove every row that identifies these people; return how many rows, by file (``table/company``).

    ``addresses`` are normalised. With ``dry_run`` rows are counted and stay. Unfinished files of killed runs
    are removed, no matter who is in them; they are counted together.

    Raises:
        ValueError: files cannot be searched; the message names them. All others are done.
    """
    removed: dict[str, int] = {}
    troubles: list[str] = []
    folder = storage_folder()
    for path in _files(folder):
        try:
            where, count = _erase_from(path, folder, addresses, partner_ids, dry_run=dry_run)
        except (OSError, ValueError) as error:
            # Whatever is wrong with one file, the person leaves the others.
            troubles.append(f"{path} cannot be searched ({type(error).__name__})")
            continue
        if count:
            removed[where] = removed.get(where, 0) + count
    if troubles:
        raise ValueError(f"{'; '.join(troubles)}: delete these files, the next run writes them again")
    return removed


def _files(folder: UPath) -> Iterator[UPath]:
    # Hidden files as well: unfinished ones are named so.
    yield from sorted((path for path in folder.rglob("*") if path.is_file()), key=str)


def _is_unfinished(name: str) -> bool:
    """Whether a killed process left a file behind: one of ours, or by its ending one of another program."""
    return name.endswith((".tmp", ".part")) or is_unfinished(name)


def _erase_from(
    path: UPath, folder: UPath, addresses: Collection[str], partner_ids: Collection[int], *, dry_run: bool
) -> tuple[str, int]:
    where = str(PurePath(str(path.relative_to(folder))).with_suffix(""))
    while True:
        try:
            if _is_unfinished(path.name):
                return _UNFINISHED, int(path.exists() if dry_run else remove_unfinished(path))
            if path.suffix == ".parquet":
                return where, _erase_rows(path, folder, addresses, partner_ids, dry_run=dry_run)
            return where, _erase_lines(path, addresses, dry_run=dry_run)
        except FileNotFoundError:
            # A run replaced it by another one: that one was stored after the tombstone was set.
            return where, 0
        except ChangedMeanwhileError:
            continue


def _erase_rows(
    path: UPath, folder: UPath, addresses: Collection[str], partner_ids: Collection[int], *, dry_run: bool
) -> int:
    before = state_of(path)
    arrow = read_arrow(path)
    gone = _rows_about(arrow, tuple(path.relative_to(folder).parts), addresses, partner_ids)
    count = sum(gone)
    if count and not dry_run:
        kept = [not row for row in gone]
        write_arrow(arrow.filter(kept).replace_schema_metadata(arrow.schema.metadata), path, if_still=before)
    return count


def _erase_lines(path: UPath, addresses: Collection[str], *, dry_run: bool) -> int:
    """Take the rows of a CSV file, or the lines of another text, in which an address stands."""
    before = state_of(path)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        # Not a file of ours: an archive, a picture, or a database, the ledger's for one.
        return 0
    patterns = [re.compile(_pattern(address), re.IGNORECASE) for address in addresses]
    if not any(pattern.search(text) for pattern in patterns):
        return 0

    def tells(words: str) -> bool:
        return any(pattern.search(words) for pattern in patterns)

    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(text, newline="")))
        kept = [row for number, row in enumerate(rows) if number == 0 or not any(map(tells, row))]
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator="\r\n").writerows(kept)
        count, after = len(rows) - len(kept), written.getvalue()
    else:
        lines = text.splitlines(keepends=True)
        left = [line for line in lines if not tells(line)]
        count, after = len(lines) - len(left), "".join(left)
    if not dry_run:
        with whole_file(path, if_still=before) as file:
            file.write(after.encode())
    return count


def _rows_about(
    arrow: "pa.Table", parts: tuple[str, ...], addresses: Collection[str], partner_ids: Collection[int]
) -> list[bool]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(arrow):
        return []
    found = pa.array([False] * len(arrow))
    for column in arrow.columns:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
            continue
        texts = column.cast(pa.string()).combine_chunks()
        for pattern in map(_pattern, addresses):
            hit = pc.match_substring_regex(texts, pattern, ignore_case=True)
            found = pc.or_(found, pc.fill_null(hit, False))
    ids = pa.array(sorted(partner_ids), pa.int64())
    if parts[0] in ABOUT_PARTNERS:
        of_partner = pc.is_in(arrow["partner_id"].combine_chunks(), value_set=ids)
        found = pc.or_(found, of_partner)
    elif parts[0] == schemas.ODOO_RECORDS.name and parts[-1] == _PARTNER_RECORDS:
        found = pc.or_(found, pc.is_in(arrow["record_id"].combine_chunks(), value_set=ids))
    return [bool(row) for row in found.to_pylist()]


def _pattern(address: str) -> str:
    """The address as it stands alone or inside a longer text, and not as a part of a longer address."""
    written = {address, json.dumps(address)[1:-1]}
    inside = "|".join(re.escape(text) for text in sorted(written))
    return rf"(^|[^a-z0-9._%+-])({inside})($|[^a-z0-9-])"
