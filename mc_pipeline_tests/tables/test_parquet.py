"""A table read back is the table that was written, and a file is never half of one."""

import os
from datetime import UTC, datetime, timedelta, timezone

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import (
    DamagedTableError,
    ParquetTablesResource,
    read_table,
    storage_folder,
    write_table,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def set_aside(*rows: dict) -> pd.DataFrame:
    defaults = {
        "email": None,
        "person_email": None,
        "audience": None,
        "reason": "missing_email",
        "detail": "no address",
        "fix": "enter one",
        "duplicate_of": None,
    }
    return pd.DataFrame([defaults | row for row in rows])


def test_rows_types_and_facts_survive_a_round_trip(tmp_path):
    rows = set_aside({"partner_id": 1}, {"partner_id": 2, "email": "Ä@x.org", "duplicate_of": 1})
    path = UPath(tmp_path / "set_aside" / "acme.parquet")
    write_table(schemas.SET_ASIDE, Table(rows, NOW, complete=False, incomplete_because="a page failed"), path)
    table = read_table(schemas.SET_ASIDE, path)
    assert (table.observed_at, table.complete, table.incomplete_because) == (NOW, False, "a page failed")
    assert table.rows["email"].tolist() == [None, "Ä@x.org"]
    assert table.rows["partner_id"].dtype == "int64"
    assert table.rows["duplicate_of"].tolist() == [pd.NA, 1]


@pytest.mark.parametrize("columns", schemas.ALL.values(), ids=lambda columns: columns.name)
def test_every_empty_table_can_be_written_and_read(columns, tmp_path):
    path = UPath(tmp_path / "empty.parquet")
    write_table(columns, Table(columns.empty(), NOW), path)
    rows = read_table(columns, path).rows
    assert list(rows.columns) == columns.names
    assert (rows.dtypes == columns.empty().dtypes).all()


@given(st.lists(st.tuples(st.integers(0, 2**53), st.lists(st.text(max_size=5), max_size=3)), max_size=20))
def test_lists_and_large_ids_are_kept_exactly(values):
    columns = schemas.TableColumns(
        "sample",
        (schemas.Column("id", schemas.INTEGER, ""), schemas.Column("tags", schemas.TEXTS, "")),
    )
    texts = [(number, [text.encode("utf-8", "ignore").decode() for text in tags]) for number, tags in values]
    rows = pd.DataFrame(
        {"id": [number for number, _ in texts], "tags": pd.Series([tags for _, tags in texts], dtype=object)}
    )
    back = columns.to_pandas(columns.to_arrow(rows))
    assert list(zip(back["id"], back["tags"], strict=True)) == texts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns="reason"), "lacks the column 'reason'"),
        (lambda rows: rows.assign(reason=7), "column 'reason': values are not string"),
        (lambda rows: rows.assign(reason=None), "column 'reason': 1 rows have no value"),
        (
            lambda rows: rows.assign(partner_id="secret@example.com"),
            "column 'partner_id': values are not int64",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_column_and_the_old_file_stays(change, said, tmp_path):
    path = UPath(tmp_path / "set_aside.parquet")
    rows = set_aside({"partner_id": 1})
    write_table(schemas.SET_ASIDE, Table(rows, NOW), path)
    with pytest.raises(ValueError, match=said) as raised:
        write_table(schemas.SET_ASIDE, Table(change(rows), NOW), path)
    assert "secret" not in str(raised.value)
    assert read_table(schemas.SET_ASIDE, path).rows["partner_id"].tolist() == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["set_aside.parquet"]


def test_files_with_personal_data_are_readable_by_their_owner_only(tmp_path, monkeypatch):
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path / "tables"))
    path = storage_folder() / "set_aside" / "acme.parquet"
    write_table(schemas.SET_ASIDE, Table(schemas.SET_ASIDE.empty(), NOW), path)
    assert os.stat(path.path).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "tables").st_mode & 0o777 == 0o700


def test_a_derived_table_is_as_old_and_as_incomplete_as_its_worst_input():
    fresh = Table(pd.DataFrame(), NOW)
    old = Table(pd.DataFrame(), NOW - timedelta(hours=1), complete=False, incomplete_because="page 3 failed")
    derived = fresh.derive(pd.DataFrame(), old)
    assert (derived.observed_at, derived.complete, derived.incomplete_because) == (
        old.observed_at,
        False,
        "page 3 failed",
    )


def test_a_time_without_zone_is_refused_and_others_become_utc():
    with pytest.raises(ValueError, match="timezone"):
        Table(pd.DataFrame(), datetime(2026, 1, 1))
    paris = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert Table(pd.DataFrame(), paris).observed_at.isoformat() == "2026-01-01T00:00:00+00:00"


def test_an_incomplete_table_must_say_why():
    with pytest.raises(ValueError, match="says why"):
        Table(pd.DataFrame(), NOW, complete=False)


def test_dagster_keeps_one_file_per_asset_and_company(tmp_path):
    companies = dg.StaticPartitionsDefinition(["acme", "globex"])

    @dg.asset(name="set_aside", partitions_def=companies, io_manager_key="tables")
    def written(context: dg.AssetExecutionContext) -> Table:
        return Table(set_aside({"partner_id": len(context.partition_key)}), NOW)

    @dg.asset(partitions_def=companies, io_manager_key="fs")
    def reader(set_aside: Table) -> int:
        return int(set_aside.rows["partner_id"].iloc[0])

    result = dg.materialize(
        [written, reader],
        partition_key="globex",
        resources={"tables": ParquetTablesResource(folder=str(tmp_path)), "fs": dg.mem_io_manager},
    )
    assert result.output_for_node("reader") == len("globex")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")] == [
        "set_aside/globex.parquet"
    ]


def test_no_changed_byte_of_a_file_gives_other_rows(tmp_path):
    """What a disk or a hand changed is refused, or changed nothing that counts."""
    path = UPath(tmp_path / "odoo_blacklist" / "acme.parquet")
    rows = pd.DataFrame(
        {
            "blacklist_id": range(40),
            "email": [f"person{number}@example.com" for number in range(40)],
            "active": [number % 3 == 0 for number in range(40)],
            "write_date": pd.Timestamp("2026-05-04", tz="UTC"),
        }
    )
    write_table(schemas.ODOO_BLACKLIST, Table(rows, datetime(2026, 5, 4, tzinfo=UTC)), path)
    whole, right = path.read_bytes(), read_table(schemas.ODOO_BLACKLIST, path)
    refused = 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = read_table(schemas.ODOO_BLACKLIST, path)
        except DamagedTableError:
            refused += 1
        else:
            pd.testing.assert_frame_equal(found.rows, right.rows)
    assert refused > len(whole) // 20
