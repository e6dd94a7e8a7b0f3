"""CSV that finance opens in a spreadsheet: numbers stay numbers, and no text becomes a formula."""

import csv
import io
import stat
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from mc_pipeline.tables.csv_files import csv_text, write_csv


def read_back(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "=HYPERLINK(\"http://x.example\",\"pay\")", "+49", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1",
        "\n=1+1", "  =1+1", "＝1+1", "=cmd|' /C calc'!A0",
    ],
)  # fmt: skip
def test_a_text_that_a_spreadsheet_would_run_is_led_by_an_apostrophe(text: str):
    (_, row) = read_back(csv_text(pd.DataFrame({"name": [text], "amount": [1.0]}), 2))
    assert row == [f"'{text}", "1.00"]


@pytest.mark.parametrize("text", ["S00042", "a=b", "1-2", "", "Été", 'He said "no", twice\nand left'])
def test_other_texts_are_written_as_they_are(text: str):
    (_, row) = read_back(csv_text(pd.DataFrame({"name": [text]}), 2))
    assert row == [text]


def test_numbers_have_fixed_decimals_and_what_is_missing_is_empty():
    rows = pd.DataFrame(
        {
            "order_id": pd.Series([1, None], dtype="Int64"),
            "amount": [-1234567.1, 0.1 + 0.2],
            "rest": [-0.0, float("nan")],
            "name": ["x", None],
            "held": [True, False],
        }
    )
    assert read_back(csv_text(rows, 2))[1:] == [
        ["1", "-1234567.10", "0.00", "x", "True"],
        ["", "0.30", "", "", "False"],
    ]
    assert read_back(csv_text(rows[["amount"]], 0))[1:] == [["-1234567"], ["0"]]
    assert read_back(csv_text(rows[["amount"]], 3))[1:] == [["-1234567.100"], ["0.300"]]


def test_a_file_is_its_owners_alone_whole_and_known_as_utf_8(tmp_path: Path):
    path = tmp_path / "folder" / "acme.csv"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)
    write_csv(pd.DataFrame({"name": ["Été"], "amount": [1.5]}), 2, UPath(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().decode("utf-8-sig").splitlines() == ["name,amount", "Été,1.50"]
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert [each.name for each in path.parent.iterdir()] == ["acme.csv"]
