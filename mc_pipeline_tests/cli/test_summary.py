"""The tables of a sync fit into a terminal of 80 characters, whatever there is to show."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from mc_pipeline.cli import summary
from mc_pipeline.settings import CompanySettings
from mc_pipeline_tests.domain.odoo_rows import company

OPERATIONS = ("create", "update", "archive", "tag", "change_email")


def rows(operations: tuple[str, ...]) -> pd.DataFrame:
    done = [
        {
            "audience": "wholesale",
            "operation": operation,
            "outcome": "applied",
            "email": f"{operation}@example.com",
        }
        for operation in operations
    ]
    open_ = [
        {
            "audience": "wholesale",
            "operation": "create",
            "outcome": outcome,
            "email": f"{outcome}@example.com",
        }
        for outcome in ("held_back", "rejected")
    ]
    return pd.DataFrame([*done, *open_]).assign(new_email=None)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompanySettings:
    """A company of which no table is stored."""
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path))
    return company({"wholesale": {"when": {}}})


def shown(settings: CompanySettings, rows: pd.DataFrame) -> str:
    console = Console(file=io.StringIO(), width=80)
    summary._show(console, settings, rows, "acme: done")
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_no_column_is_cut_when_there_is_something_in_each(settings: CompanySettings):
    said = shown(settings, rows(OPERATIONS))
    heading, numbers = said.splitlines()[1:3]
    assert heading.split() == [
        "audience", "created", "updated", "archived", "tags", "addresses", "waits", "failed", "unchanged",
    ]  # fmt: skip
    assert numbers.split() == ["wholesale", "1", "1", "1", "1", "1", "1", "1", "0"]


def test_a_column_in_which_there_is_nothing_is_left_out(settings: CompanySettings):
    heading = shown(settings, rows(("update",)).iloc[:1]).splitlines()[1]
    assert heading.split() == ["audience", "created", "updated", "unchanged"]
