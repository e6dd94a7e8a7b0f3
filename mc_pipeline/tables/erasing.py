"""Takes people out of every stored file: the tables of all companies, and the records that reads build upon.

A row goes when an address stands anywhere in it, as the whole of a column or inside JSON, or when it is a
row about one of the partners. Files are written anew as a whole; one that cannot be read is named.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from upath import UPath

from mc_pipeline.tables import schemas
from mc_pipeline.tables.parquet import storage_folder, write_arrow

if TYPE_CHECKING:
    import pyarrow as pa

_ABOUT_PARTNERS = frozenset(
    {schemas.ODOO_PARTNERS.name, schemas.CONTACTS.name, schemas.SET_ASIDE.name, schemas.AUDIENCE_PLAN.name}
    | {schemas.AUDIENCE_PUSH.name}
)
_PARTNER_RECORDS = "res.partner.parquet"


def erase_from_tables(
    addresses: Collection[str], partner_ids: Collection[int], *, dry_run: bool = False
) -> dict[str, int]:
    """Remove every row that tells who these people are; return how many rows, by file (``table/company``).

    ``addresses`` are normalised. With ``dry_run`` rows are counted and stay.

    Raises:
        ValueError: a file is damaged; the message names it. Files before it are done already.
    """
    import pyarrow.parquet as pq

    removed: dict[str, int] = {}
    folder = storage_folder()
    for path in _files(folder):
        try:
            with path.open("rb") as file:
                arrow = pq.read_table(file)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read ({type(error).__name__}): delete the file, the next run makes it anew"
            ) from error
        gone = _rows_about(arrow, path, addresses, partner_ids)
        count = sum(gone)
        if not count:
            continue
        removed[str(path.relative_to(folder).with_suffix(""))] = count
        if not dry_run:
            kept = [not row for row in gone]
            write_arrow(arrow.filter(kept).replace_schema_metadata(arrow.schema.metadata), path)
    return removed


def _files(folder: UPath) -> Iterator[UPath]:
    yield from sorted(folder.rglob("*.parquet"), key=str)


def _rows_about(
    arrow: "pa.Table", path: UPath, addresses: Collection[str], partner_ids: Collection[int]
) -> list[bool]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.array([False] * len(arrow))
    if not len(arrow):
        return []
    for column in arrow.columns:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
            continue
        texts = column.cast(pa.string()).combine_chunks()
        for pattern in map(_pattern, addresses):
            hit = pc.match_substring_regex(texts, pattern, ignore_case=True)
            found = pc.or_(found, pc.fill_null(hit, False))
    ids = pa.array(sorted(partner_ids), pa.int64())
    name = path.relative_to(storage_folder()).parts[0]
    if name in _ABOUT_PARTNERS:
        of_partner = pc.is_in(arrow["partner_id"].combine_chunks(), value_set=ids)
        found = pc.or_(found, of_partner)
    elif name == schemas.ODOO_RECORDS.name and path.name == _PARTNER_RECORDS:
        found = pc.or_(found, pc.is_in(arrow["record_id"].combine_chunks(), value_set=ids))
    return [bool(row) for row in found.to_pylist()]


def _pattern(address: str) -> str:
    """The address as it stands alone or inside a longer text, and not as a part of a longer address."""
    written = {address, json.dumps(address)[1:-1]}
    inside = "|".join(re.escape(text) for text in sorted(written))
    return rf"(^|[^a-z0-9._%+-])({inside})($|[^a-z0-9-])"
