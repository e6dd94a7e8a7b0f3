"""Who was erased stays known when the ledger is replaced by an older copy."""

import json
import shutil
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from mc_pipeline.ledger import Ledger, LedgerError
from mc_pipeline.ledger.tombstones import TombstoneFile
from mc_pipeline_tests.ledger.conftest import Clock
from mc_pipeline_tests.ledger.test_erasures import opt_out

ANN, BOB = "erased:1", "erased:2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mc_pipeline" / "ledger.db"


@pytest.fixture
def beside(path: Path) -> Path:
    return path.with_name("ledger.db.tombstones.json")


def opened(path: Path, clock: Clock) -> Ledger:
    return Ledger.open(f"sqlite:///{path}", clock=clock)


def erase(ledger: Ledger, pseudonym: str = ANN, partners: tuple[int, ...] = (7,)) -> None:
    ledger.erasures.request(pseudonym, "key", partners, reason="asked on 3 May", by="Eve")
    ledger.erasures.complete(pseudonym, {"done": []})


def test_an_older_copy_of_the_ledger_knows_who_was_erased_since(path, clock):
    with opened(path, clock) as ledger:
        erase(ledger, ANN)
    copy = shutil.copy(path, path.with_name("backup.db"))
    clock.pass_time(days=1)
    with opened(path, clock) as ledger:
        erase(ledger, BOB, (8,))
        erase(ledger, ANN, (9,))
        known = ledger.erasures.tombstones()
    for each in path.parent.glob("ledger.db-*"):
        each.unlink()
    shutil.copy(copy, path)
    with opened(path, clock) as ledger:
        found = {each.pseudonym: each for each in ledger.erasures.tombstones()}
    assert {name: each.partner_ids for name, each in found.items()} == {ANN: [7, 9], BOB: [8]}
    assert {each.requested_at for each in found.values()} == {each.requested_at for each in known}


def test_what_an_older_copy_holds_of_them_is_forgotten_by_the_next_run(path, clock):
    with opened(path, clock) as ledger:
        ledger.consent.record([opt_out()])
        ledger.due_in_odoo.decide("acme", ledger.due_in_odoo.due("acme"), [])
    copy = shutil.copy(path, path.with_name("backup.db"))
    with opened(path, clock) as ledger:
        ledger.erasures.forget("ann@example.com", ANN)
        erase(ledger)
    shutil.copy(copy, path)
    clock.pass_time(days=400)
    with opened(path, clock) as ledger:
        assert ledger.erasures.is_any_due(clock() - timedelta(days=1))
        assert ledger.erasures.traces("ann@example.com")
        ledger.erasures.forget_again({"ann@example.com": ANN}.get)
        assert ledger.erasures.traces("ann@example.com") == {}
        assert not ledger.erasures.is_any_due(clock() + timedelta(seconds=1))


def test_a_lost_file_is_made_again_from_the_ledger(path, beside, clock):
    with opened(path, clock) as ledger:
        erase(ledger)
        known = ledger.erasures.tombstones()
    before = beside.read_text()
    beside.unlink()
    with opened(path, clock) as ledger:
        assert ledger.erasures.tombstones() == known
    assert beside.read_text() == before


def test_the_file_is_its_owners_and_names_nobody(path, beside, clock):
    with opened(path, clock) as ledger:
        assert not beside.exists()
        erase(ledger)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    (row,) = json.loads(beside.read_text())["tombstones"]
    assert set(row) == {
        *("pseudonym", "key_id", "partner_ids", "reason", "requested_by", "requested_at"),
        *("completed_at", "report"),
    }
    assert "@" not in beside.read_text()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 9, "tombstones": []}',
        '{"format": 1, "tombstones": [{"pseudonym": "erased:1"}]}',
        '{"format": 1, "tombstones": [{"requested_at": "2026-05-03T00:00:00", "completed_at": null}]}',
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(path, beside, clock, content):
    with opened(path, clock) as ledger:
        erase(ledger)
    beside.write_text(content)
    with pytest.raises(LedgerError, match=r"tombstones\.json cannot be read .* Restore it from a backup"):
        opened(path, clock)
    assert beside.read_text() == content


def test_people_whom_the_file_alone_knows_stay_in_it(path, beside, clock):
    with opened(path, clock) as first:
        erase(first, ANN)
        kept = TombstoneFile(beside).read()
        TombstoneFile(beside).write([*kept, type(kept[0])(**vars(kept[0]) | {"pseudonym": BOB})])
        erase(first, "erased:3")
    assert {each.pseudonym for each in TombstoneFile(beside).read()} == {ANN, BOB, "erased:3"}


def test_of_a_shared_ledger_the_file_is_under_dagsters_home(tmp_path):
    from mc_pipeline.ledger.database import database_url

    url = database_url("postgresql://ledger@db.example.com/ledger")
    found = TombstoneFile.of(url, {"DAGSTER_HOME": str(tmp_path)})
    assert found is not None
    assert found.path == tmp_path / "mc_pipeline" / "tombstones.json"
    assert TombstoneFile.of(url, {}) is None
