"""A disk that is full, or a folder that must not be written: one sentence that names the folder, exit 1."""

import errno
import itertools
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from upath import UPath

from mc_pipeline.cli.storage_trouble import storage_trouble
from mc_pipeline.ledger import Ledger, LedgerUnavailableError
from mc_pipeline.tables.files import FolderNotWritableError, whole_file
from mc_pipeline_tests.cli.conftest import mc_pipeline


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Write until nothing goes in."""
        with (
            open(self.folder / "filler", "wb", buffering=0) as filler,
            pytest.raises(OSError, match="No space left"),
        ):
            filler.writelines(itertools.repeat(b"x" * 512))

    def close(self) -> None:
        """Let nobody write to it any more, not even root."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)


def write_much(ledger: Ledger) -> None:
    """Write more than a small disk holds."""
    for number in range(2000):
        ledger.runs.begin(f"run {number}", company="acme", job="sync_company", owner="host:1")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a small disk")
    options = "size=2m,nr_inodes=60,mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_table_that_finds_the_disk_full_names_the_folder_and_leaves_nothing(disk: Disk) -> None:
    path = UPath(disk.folder / "contacts" / "acme.parquet")
    with whole_file(path) as file:
        file.write(b"whole")
    disk.fill()
    with (
        pytest.raises(FolderNotWritableError, match=rf"the folder {disk.folder}/contacts is full: free some"),
        whole_file(path) as file,
    ):
        file.write(b"x" * 100_000)
    assert path.read_bytes() == b"whole"
    assert [each.name for each in (disk.folder / "contacts").iterdir()] == ["acme.parquet"]


def test_a_disk_without_room_for_another_file_is_full_too(disk: Disk) -> None:
    for number in range(100):
        try:
            (disk.folder / f"{number}").touch()
        except OSError:
            break
    else:
        pytest.fail("this disk takes any number of files")
    with pytest.raises(FolderNotWritableError, match="df -i"), whole_file(UPath(disk.folder / "x.parquet")):
        pass


def test_a_table_in_a_folder_that_must_not_be_written_says_so(disk: Disk) -> None:
    disk.close()
    with (
        pytest.raises(FolderNotWritableError, match=rf"the folder {disk.folder} cannot be written: give"),
        whole_file(UPath(disk.folder / "x.parquet")),
    ):
        pass


def test_a_ledger_that_finds_the_disk_full_or_closed_says_so(disk: Disk) -> None:
    with Ledger.open(f"sqlite:///{disk.folder}/ledger.db") as ledger:
        disk.fill()
        with pytest.raises(LedgerUnavailableError, match="free some space on its disk"):
            write_much(ledger)
    (disk.folder / "filler").unlink()
    with Ledger.open(f"sqlite:///{disk.folder}/ledger.db") as ledger:
        ledger.runs.begin("after", company="acme", job="sync_company", owner="host:1")
    disk.close()
    with pytest.raises(LedgerUnavailableError, match=r"(cannot be (made or )?opened|cannot be written)"):
        Ledger.open(f"sqlite:///{disk.folder}/ledger.db").identities.advance()


@pytest.mark.parametrize("command", [("approve",), ("leases",), ("sync", "acme")])
@pytest.mark.parametrize("trouble", [Disk.fill, Disk.close])
def test_a_home_that_cannot_be_written_ends_a_command_with_one_sentence(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...], trouble
) -> None:
    config = tmp_path / "companies.yaml"
    config.write_text(
        'odoo: {url: "http://127.0.0.1:1", database: d, user: u, secret: "${ODOO_SECRET}"}\n'
        'mailchimp:\n  main: {api_key: "${MAILCHIMP_API_KEY}"}\n'
        "companies:\n  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
        "    audiences:\n      retail: {list_id: retail1}\n"
    )
    monkeypatch.setenv("MC_PIPELINE_CONFIG", str(config))
    monkeypatch.setenv("ODOO_SECRET", "secret")
    monkeypatch.setenv("MAILCHIMP_API_KEY", "0123456789abcdef0123456789abcdef-us1")
    monkeypatch.setenv("DAGSTER_HOME", str(disk.folder / "home"))
    trouble(disk)
    ended = mc_pipeline(*command)
    assert ended.exit_code == 1, ended.output
    assert "Traceback" not in ended.output
    assert str(disk.folder) in ended.in_one_line
    assert (
        "free some space" in ended.in_one_line
        or "the right to write" in ended.in_one_line
        or "rights" in ended.in_one_line
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x/events.db"), "the folder /srv/x is full"),
        (OSError(errno.EACCES, "Permission denied", "/srv/x/y"), "the folder /srv/x cannot be written"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), ""),
        (FileNotFoundError(errno.ENOENT, "No such file", "/srv/x/y"), ""),
        (sqlite3.OperationalError("no such table: x"), ""),
        (ValueError("anything else"), ""),
    ],
)
def test_what_is_about_a_folder_is_reported_and_what_is_not_stays_a_fault(
    error: Exception, said: str
) -> None:
    wrapped = RuntimeError("of a library")
    wrapped.__cause__ = error
    assert storage_trouble(error).startswith(said) if said else not storage_trouble(error)
    assert bool(storage_trouble(wrapped)) is bool(said)
