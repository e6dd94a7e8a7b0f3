"""Erasing reaches every file under the tables' folder, and disturbs nobody who is writing one."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from mc_pipeline.tables import Table, erasing, schemas
from mc_pipeline.tables.erasing import erase_from_tables
from mc_pipeline.tables.files import whole_file
from mc_pipeline.tables.parquet import load_table, storage_folder, store_table, write_table

ANN, JOANN = "ann@example.com", "joann@example.com"
NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path / "tables"))
    return Path(str(storage_folder()))


def aside(*emails: str) -> Table:
    rows = pd.DataFrame(
        {
            "partner_id": range(1, len(emails) + 1),
            "email": list(emails),
            "person_email": list(emails),
            "audience": None,
            "reason": "invalid_email",
            "detail": "typed twice",
            "fix": "Correct it",
            "duplicate_of": pd.Series([None] * len(emails), dtype="Int64"),
        }
    )
    return Table(rows, NOW)


def stored(folder: Path, *emails: str) -> UPath:
    path = UPath(folder / "set_aside" / "acme.parquet")
    write_table(schemas.SET_ASIDE, aside(*emails), path)
    return path


def emails_in(path: UPath) -> list[str]:
    return pq.read_table(path.path)["email"].to_pylist()


@pytest.mark.parametrize(
    "name",
    [
        "contacts/.acme.parquet.0123456789abcdef",
        "store_orders/acme/.2026-05-0a.parquet.0123456789abcdef",
        "revenue_reconciliation/.acme-by-order.csv.0123",
        "odoo_partners/acme.parquet.tmp",
    ],
)
def test_what_a_killed_run_left_unfinished_is_removed_and_only_looked_at_in_a_dry_run(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1 half of a file with ann@example.com")
    assert erase_from_tables([ANN], [], dry_run=True) == {"unfinished files": 1}
    assert path.exists()
    assert erase_from_tables([ANN], []) == {"unfinished files": 1}
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\xff\xfe ann@example.com"])
@pytest.mark.parametrize("name", [".gitkeep", "ledger.db", "contacts/picture.png"])
def test_files_that_are_not_ours_stay_as_they_are(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert erase_from_tables([ANN], []) == {}
    assert path.read_bytes() == content


def test_a_file_system_that_locks_nothing_stores_tables_all_the_same(folder, monkeypatch):
    def refuse(handle: object, how: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = stored(folder, ANN, JOANN)
    assert erase_from_tables([ANN], []) != {}
    assert emails_in(path) == [JOANN]


def test_a_file_that_somebody_is_writing_is_left_to_them(folder):
    path = UPath(folder / "contacts" / "acme.parquet")
    with whole_file(path) as file:
        file.write(b"half")
        assert erase_from_tables([ANN], []) == {}
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert [each.name for each in (folder / "contacts").iterdir()] == ["acme.parquet"]


def test_the_rows_of_csv_files_and_other_texts_are_taken_out(folder):
    (folder / "report").mkdir()
    csv = folder / "report" / "acme.csv"
    csv.write_bytes(b'\xef\xbb\xbfname,email\r\n"Ann, A.",Ann@example.com\r\nJo,joann@example.com\r\n')
    text = folder / "report" / "notes.txt"
    text.write_text(f"kept\nabout {ANN}\n{JOANN}\n")
    assert erase_from_tables([ANN], []) == {"report/acme": 1, "report/notes": 1}
    assert csv.read_bytes() == b"\xef\xbb\xbfname,email\r\nJo,joann@example.com\r\n"
    assert text.read_text() == f"kept\n{JOANN}\n"
    assert stat.S_IMODE(csv.stat().st_mode) == 0o600


def test_a_damaged_file_is_named_and_the_person_leaves_all_others(folder):
    (folder / "contacts").mkdir()
    (folder / "contacts" / "acme.parquet").write_bytes(b"no Parquet")
    path = stored(folder, ANN, JOANN)
    with pytest.raises(ValueError, match=r"contacts/acme\.parquet cannot be searched .* delete these files"):
        erase_from_tables([ANN], [])
    assert emails_in(path) == [JOANN]


def test_a_table_stored_while_it_is_searched_is_searched_again(folder, monkeypatch):
    path = stored(folder, ANN)
    read = erasing.read_arrow
    later = [lambda: stored(folder, ANN, JOANN)]

    def read_and_store(file: UPath) -> pa.Table:
        found = read(file)
        if later:
            later.pop()()
        return found

    monkeypatch.setattr(erasing, "read_arrow", read_and_store)
    assert erase_from_tables([ANN], []) == {"set_aside/acme": 1}
    assert emails_in(path) == [JOANN]


class People:
    """Erases an address at the look with this number."""

    def __init__(self, at_look: int) -> None:
        self.looks = 0
        self._at_look = at_look
        self._nobody, self._ann = Without(), Without(ANN)

    def erased_by_now(self) -> "Without":
        self.looks += 1
        return self._ann if self.looks >= self._at_look else self._nobody

    def forget_again(self) -> None:
        raise AssertionError("storing a table by itself forgets nothing in the ledger")


class Without:
    """These were erased."""

    def __init__(self, *emails: str) -> None:
        self._emails = emails

    def left_out_of(self, name: str, table: Table) -> Table:
        rows = table.rows
        return Table(rows[~rows["email"].isin(self._emails)].reset_index(drop=True), table.observed_at)


@pytest.mark.parametrize("at_look", [1, 2])
def test_anyone_who_is_erased_before_or_after_the_storing_is_not_in_the_file(folder, at_look):
    path = UPath(folder / "set_aside" / "acme.parquet")
    _, kept = store_table(schemas.SET_ASIDE, aside(ANN, JOANN), path, People(at_look))
    assert emails_in(path) == [JOANN] == kept.rows["email"].tolist()


def test_anyone_who_was_erased_since_the_storing_is_not_loaded(folder):
    path = stored(folder, ANN, JOANN)
    assert load_table(schemas.SET_ASIDE, path, People(1)).rows["email"].tolist() == [JOANN]
    assert load_table(schemas.SET_ASIDE, path, People(2)).rows["email"].tolist() == [ANN, JOANN]


def test_an_unfinished_file_is_locked_while_it_is_written(folder):
    path = UPath(folder / "contacts" / "acme.parquet")
    with whole_file(path) as file:
        file.write(b"half")
        (unfinished,) = (folder / "contacts").iterdir()
        with open(unfinished, "rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.path.exists(path.path)


LEFT = [
    ".acme.parquet.0123456789abcdef0123456789abcdef",
    ".other-by-month.csv.fedcba9876543210fedcba9876543210",
]


def test_what_a_killed_run_left_is_tidied_away_by_the_next_one_and_what_is_being_written_stays(folder):
    (folder / "set_aside").mkdir()
    for name in LEFT:
        (folder / "set_aside" / name).write_bytes(b"PAR1 half of a file with ann@example.com")
    with whole_file(UPath(folder / "set_aside" / "others.csv")) as live:
        live.write(b"half")
        stored(folder, JOANN)
        assert not [name for name in LEFT if (folder / "set_aside" / name).exists()]
        live.write(b" and half")
    assert (folder / "set_aside" / "others.csv").read_bytes() == b"half and half"


def test_a_process_that_was_killed_while_it_wrote_leaves_what_the_next_run_tidies(folder):
    program = (
        "import os, signal, sys\n"
        "from upath import UPath\n"
        "from mc_pipeline.tables.files import whole_file\n"
        "with whole_file(UPath(sys.argv[1])) as file:\n"
        "    file.write(b'ann@example.com'); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = folder / "set_aside" / "acme.parquet"
    subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    (left,) = path.parent.iterdir()
    assert left.read_bytes() == b"ann@example.com"
    stored(folder, JOANN)
    assert [each.name for each in path.parent.iterdir()] == ["acme.parquet"]


def test_where_nothing_can_be_locked_only_what_is_old_is_tidied_away(folder, monkeypatch):
    def refuse(handle: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (folder / "set_aside").mkdir()
    young, old = (folder / "set_aside" / name for name in LEFT)
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    stored(folder, JOANN)
    assert (young.exists(), old.exists()) == (True, False)
