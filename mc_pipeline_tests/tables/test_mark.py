"""What counts as stored tables when a new ledger is opened beside them."""

from pathlib import Path

import pytest

from mc_pipeline.tables.mark import has_tables


@pytest.mark.parametrize(
    ("stored", "counts"),
    [
        ((), False),
        (("company_status",), False),
        (("contacts",), True),
        (("company_status", "contacts"), True),
    ],
)
def test_how_a_company_stands_belongs_to_no_ledger(
    stored: tuple[str, ...], counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path))
    for name in stored:
        (tmp_path / name).mkdir()
        (tmp_path / name / "acme.parquet").touch()
    assert has_tables() is counts
