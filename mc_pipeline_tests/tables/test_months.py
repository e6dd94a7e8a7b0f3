"""A table by month is read back whole, rewrites only what changed, and is never half old and half new."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pandas as pd
import pytest
from upath import UPath

from mc_pipeline.tables import Table, files, months, schemas
from mc_pipeline.tables.erasing import erase_from_tables
from mc_pipeline.tables.parquet import DamagedTableError, read_table, stored_table, write_table

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LINES = schemas.ODOO_ORDER_LINES


def lines(*rows: tuple[int, str, str]) -> pd.DataFrame:
    """Order lines by id, month and text."""
    defaults = {
        "order_id": 1, "product_id": None, "quantity": 1.0, "price_unit": 1.0, "discount": 0.0,
        "price_subtotal": 1.0, "price_tax": 0.0, "price_total": 1.0, "is_downpayment": False,
        "is_delivery": False, "display_type": None,
    }  # fmt: skip
    found = [{**defaults, "line_id": line, "month": month, "name": name} for line, month, name in rows]
    return pd.DataFrame(found, columns=LINES.names)


MAY, JUNE, OTHER_JUNE, JULY = (
    (1, "2024-05", "Book"),
    (2, "2024-06", "Pen"),
    (2, "2024-06", "Pencil"),
    (3, "2024-07", "Ink"),
)


@pytest.fixture
def path(tmp_path, monkeypatch) -> UPath:
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path))
    return UPath(tmp_path / LINES.name / "acme.parquet")


def stored(path: UPath) -> dict[str, int]:
    """The files of the months and when each was written."""
    return {each.name: each.stat().st_mtime_ns for each in path.with_suffix("").iterdir()}


def names(path: UPath, **wanted) -> list[str]:
    return read_table(LINES, path, **wanted).rows["name"].tolist()


def test_what_is_read_back_is_what_was_written_in_the_order_of_months(path):
    table = Table(lines(JULY, MAY, JUNE), NOW, complete=False, incomplete_because="a page failed")
    assert write_table(LINES, table, path) == ["2024-05", "2024-06", "2024-07"]
    back = read_table(LINES, path)
    assert (back.observed_at, back.complete, back.incomplete_because) == (NOW, False, "a page failed")
    expected = LINES.to_pandas(LINES.to_arrow(lines(MAY, JUNE, JULY)))
    pd.testing.assert_frame_equal(back.rows, expected)
    assert {each.name[:7] for each in path.with_suffix("").iterdir()} == {"2024-05", "2024-06", "2024-07"}


def test_only_months_that_changed_are_written(path):
    write_table(LINES, Table(lines(MAY, JUNE), NOW), path)
    before = stored(path)
    assert write_table(LINES, Table(lines(JUNE, MAY), NOW), path) == []
    assert stored(path) == before
    assert write_table(LINES, Table(lines(MAY, OTHER_JUNE), NOW), path) == ["2024-06"]
    after = stored(path)
    assert len(after) == 2
    assert {name for name in after if before.get(name) == after[name]} == {
        name for name in before if name.startswith("2024-05")
    }
    assert names(path) == ["Book", "Pencil"]


def test_a_row_that_moves_to_another_month_or_goes_changes_the_months_it_leaves(path):
    write_table(LINES, Table(lines(MAY, JUNE), NOW), path)
    moved = (2, "2024-05", "Pen")
    assert write_table(LINES, Table(lines(MAY, moved), NOW), path) == ["2024-05", "2024-06"]
    assert names(path) == ["Book", "Pen"]
    assert write_table(LINES, Table(lines(), NOW), path) == ["2024-05"]
    assert names(path) == []
    assert stored(path) == {}


def test_months_and_columns_are_read_alone(path):
    write_table(LINES, Table(lines(MAY, JUNE, JULY), NOW), path)
    assert names(path, months=["2024-06", "2024-09"]) == ["Pen"]
    few = read_table(LINES, path, names=["month", "line_id"], months=["2024-05"]).rows
    assert few.to_dict("list") == {"line_id": [1], "month": ["2024-05"]}
    only = stored_table(LINES, "acme", names=["line_id"])
    assert only is not None
    assert only.rows["line_id"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("files_written", [0, 1, 2])
def test_a_crash_between_months_leaves_the_table_as_it_was(path, monkeypatch, files_written: int):
    write_table(LINES, Table(lines(MAY, JUNE), NOW), path)
    left = files_written

    def crash_after(write: Callable[..., None]) -> Callable[..., None]:
        def writing(*args, **options) -> None:
            nonlocal left
            if not left:
                raise OSError("disk full")
            left -= 1
            write(*args, **options)

        return writing

    changed = Table(lines((1, "2024-05", "Other book"), OTHER_JUNE), NOW)
    with monkeypatch.context() as crash:
        crash.setattr(months, "write_arrow", crash_after(files.write_arrow))
        with pytest.raises(OSError, match="disk full"):
            write_table(LINES, changed, path)
    assert names(path) == ["Book", "Pen"]
    write_table(LINES, changed, path)
    assert names(path) == ["Other book", "Pencil"]
    assert len(stored(path)) == 2


def test_rows_that_do_not_fit_change_nothing(path):
    write_table(LINES, Table(lines(MAY), NOW), path)
    with pytest.raises(ValueError, match="lacks the column"):
        write_table(LINES, Table(lines(JUNE).drop(columns="name"), NOW), path)
    assert names(path) == ["Book"]


def test_a_file_that_lost_rows_or_is_damaged_or_gone_is_written_again(path):
    rows = lines(MAY, (2, "2024-06", "for ada@example.com"), JULY)
    write_table(LINES, Table(rows, NOW), path)
    erase_from_tables(["ada@example.com"], [])
    assert names(path) == ["Book", "Ink"]
    may, _, july = sorted(path.with_suffix("").iterdir(), key=str)
    may.write_bytes(may.read_bytes()[:50])
    july.unlink()
    assert write_table(LINES, Table(rows, NOW), path) == ["2024-05", "2024-06", "2024-07"]
    assert len(names(path)) == 3


def other_bytes(path: UPath) -> None:
    """What a disk may do: something in the middle changes, the end that names its parts stays."""
    content = bytearray(path.read_bytes())
    for place in range(20, len(content) // 3):
        content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [other_bytes, UPath.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("of_the_listing", [True, False])
def test_a_damaged_file_is_found_by_whoever_reads_and_made_again_by_whoever_stores(
    path, caplog, damage, of_the_listing
):
    table = Table(lines(MAY, JUNE), NOW)
    write_table(LINES, table, path)
    may, _ = sorted(path.with_suffix("").iterdir(), key=str)
    damage(path if of_the_listing else may)
    if not (of_the_listing and damage is UPath.unlink):
        with pytest.raises(DamagedTableError, match=r"the stored file .* is damaged"):
            read_table(LINES, path)
        with caplog.at_level(logging.WARNING):
            assert stored_table(LINES, "acme") is None
        assert len(caplog.records) == 1
    write_table(LINES, table, path)
    assert names(path) == ["Book", "Pen"]
    assert len(stored(path)) == 2


def test_a_listing_of_a_version_that_kept_no_checksums_is_read_and_its_files_written_once(path):
    table = Table(lines(MAY), NOW)
    write_table(LINES, table, path)
    listing = files.read_arrow(path)
    files.write_arrow(listing.drop_columns("checksum").replace_schema_metadata(listing.schema.metadata), path)
    assert names(path) == ["Book"]
    assert write_table(LINES, table, path) == ["2024-05"]
    assert write_table(LINES, table, path) == []


def test_files_are_for_their_owner_only(path):
    write_table(LINES, Table(lines(MAY), NOW), path)
    (only,) = path.with_suffix("").iterdir()
    assert {each.stat().st_mode & 0o777 for each in (path, only)} == {0o600}


def test_a_table_that_was_never_stored_is_missing(path):
    assert stored_table(LINES, "acme") is None
    with pytest.raises(FileNotFoundError):
        read_table(LINES, path)
