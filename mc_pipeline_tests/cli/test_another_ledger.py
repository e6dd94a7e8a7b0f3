"""A ledger that was lost, or put back from an older copy: only opt-outs go on, until a person decides."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_pipeline.ledger import Ledger
from mc_pipeline_tests.cli.conftest import configure, mc_pipeline, serve_world
from mc_pipeline_tests.cli.processes import command
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
AUDIENCES = """
    audiences:
      retail:
        list_id: retail1
        consent: {mailing_list: Newsletter}
        merge_fields: {FNAME: first_name}
"""
WEBHOOK_SECRET = "0123456789abcdef0123456789abcdef"


class Shop:
    """A company that was synced, and its ledger's file."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.file = world.folder / "mc_pipeline" / "ledger.db"
        self._list = world.odoo.add_mailing_list("Newsletter")

    def customer(self, name: str, *, consented_at: datetime | None = None) -> None:
        email = f"{name}@example.com"
        partner = self.world.odoo.add_partner(name=name.title(), email=email)
        self.world.odoo.add_order(partner, 100.0, date_order=ORDERED)
        if consented_at is not None:
            with self.world.odoo.at(consented_at):
                self.world.odoo.subscribe(self._list, email)

    def sync(self) -> int:
        code = mc_pipeline("sync", "acme").exit_code
        if code == 3:
            with Ledger.open() as ledger:
                for plan in ledger.plans.waiting("acme"):
                    assert mc_pipeline("approve", plan.plan_id).exit_code == 0
            code = mc_pipeline("sync", "acme").exit_code
        return code

    def lose_the_ledger(self) -> None:
        for each in self.file.parent.glob("ledger.db*"):
            each.unlink()

    def put_back(self, copy: Path) -> None:
        self.lose_the_ledger()
        shutil.copy(copy, self.file)

    def status(self, name: str) -> str | None:
        return self.world.mailchimp.statuses("retail1").get(f"{name}@example.com")


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Path, bytes, bytes]]:
    """A shop in which all is done, and all as it was then."""
    with serve_world(tmp_path_factory.mktemp("home")) as world:
        configure(world, audiences=AUDIENCES)
        shop = Shop(world)
        for name in ("ann", "bob", "col"):
            shop.customer(name)
        assert shop.sync() == 0
        kept = tmp_path_factory.mktemp("kept") / "home"
        shutil.copytree(world.folder, kept)
        yield shop, kept, world.odoo.snapshot(), world.mailchimp.snapshot()


@pytest.fixture
def shop(synced: tuple[Shop, Path, bytes, bytes]) -> Shop:
    shop, kept, odoo, mailchimp = synced
    shop.world.odoo.restore(odoo)
    shop.world.mailchimp.restore(mailchimp)
    for each in shop.world.folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    shutil.copytree(kept, shop.world.folder, dirs_exist_ok=True, symlinks=True)
    return shop


def difference(shop: Shop) -> str:
    """How the ledger differs from the one of the tables, for whoever opens it now."""
    with shop.world.systems() as systems:
        return systems.why_not_this_ledger()


def is_refused(shop: Shop, why: str) -> None:
    """Nothing but opt-outs is written, and every command says the same and what to do."""
    shop.world.mailchimp.journal.clear()
    shop.customer("new")
    refused = mc_pipeline("sync", "acme")
    assert refused.exit_code == 1
    for said in (why, "restore the correct ledger", "mc-pipeline ledger accept", "only opt-outs are applied"):
        assert said in refused.in_one_line
    assert "Traceback" not in refused.output
    assert shop.world.mailchimp.journal.writes == []
    assert shop.status("new") is None
    doctor = mc_pipeline("doctor", "acme")
    assert doctor.exit_code == 1
    assert why in doctor.in_one_line
    approved = mc_pipeline("approve", "0000000000000000")
    assert (approved.exit_code, why in approved.in_one_line) == (1, True)


@pytest.mark.long
def test_a_ledger_that_is_gone_is_refused_until_somebody_accepts_an_empty_one(shop: Shop) -> None:
    before = datetime.now(UTC) - timedelta(days=1)
    shop.lose_the_ledger()
    is_refused(shop, "is not the one that the stored tables were made with")
    # What Odoo said restricts, whatever the ledger knows.
    shop.world.odoo.blacklist("ann@example.com")
    mc_pipeline("sync", "--opt-outs", "acme")
    assert shop.status("ann") == "unsubscribed"
    assert difference(shop)

    shop.customer("early", consented_at=before)
    accepted = mc_pipeline("ledger", "accept", "--reason", "the disk is lost")
    assert accepted.exit_code == 0, accepted.output
    assert "nobody subscribed" in accepted.in_one_line
    shop.customer("late", consented_at=datetime.now(UTC) + timedelta(minutes=1))
    assert shop.sync() == 0
    assert [shop.status(name) for name in ("new", "early", "late")] == [
        "transactional",
        "transactional",
        "subscribed",
    ]
    assert shop.status("ann") == "unsubscribed"
    assert mc_pipeline("ledger", "accept", "--reason", "again").in_one_line.startswith("This is the ledger")


def test_a_ledger_of_before_is_refused_and_the_right_one_is_taken_without_a_word(
    shop: Shop, tmp_path: Path
) -> None:
    early, late = tmp_path / "early.db", tmp_path / "late.db"
    assert mc_pipeline("ledger", "backup", str(early)).exit_code == 0
    shop.customer("dan")
    assert shop.sync() == 0
    assert mc_pipeline("ledger", "backup", str(late)).exit_code == 0
    shop.put_back(early)
    is_refused(shop, "is older than the stored tables")
    shop.put_back(late)
    assert difference(shop) == ""


def test_without_stored_tables_any_ledger_will_do(shop: Shop) -> None:
    shutil.rmtree(shop.file.parent / "tables")
    assert difference(shop) == ""
    shop.lose_the_ledger()
    assert difference(shop) == ""


def test_tables_from_before_there_were_marks_are_those_of_a_ledger_that_knows_somebody(shop: Shop) -> None:
    mark = shop.file.parent / "tables" / "ledger.json"
    mark.unlink()
    assert difference(shop) == ""
    assert not mark.exists()
    shop.lose_the_ledger()
    assert "is not the one" in difference(shop)
    assert "is not the one" in difference(shop), "also when it knows something by now"


def test_a_damaged_mark_stops_nothing_and_is_made_again(shop: Shop) -> None:
    mark = shop.file.parent / "tables" / "ledger.json"
    right = mark.read_bytes()
    mark.write_text("{half")
    with shop.world.systems() as systems:
        assert systems.why_not_this_ledger() == ""
        systems.mark_tables()
    assert mark.read_bytes() > right


def test_a_ledger_of_another_place_marks_nothing_as_its_own(shop: Shop) -> None:
    mark = (shop.file.parent / "tables" / "ledger.json").read_bytes()
    shop.lose_the_ledger()
    with shop.world.systems() as systems:
        systems.mark_tables()
    assert (shop.file.parent / "tables" / "ledger.json").read_bytes() == mark


def test_a_backup_is_whole_while_others_hold_the_ledger_open_and_a_plain_copy_is_not(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MC_PIPELINE_WEBHOOK_SECRET", WEBHOOK_SECRET)
    copy, plain = tmp_path / "backup" / "ledger.db", tmp_path / "plain.db"
    copy.parent.mkdir()
    with command(shop.world.folder, "webhooks", "serve", "--port", "0") as serving:
        serving.await_event(lambda: "Receiving webhooks" in serving.output)
        shop.customer("dan")
        assert shop.sync() == 0
        shutil.copy(shop.file, plain)
        done = mc_pipeline("ledger", "backup", str(copy))
    assert done.exit_code == 0, done.output
    assert copy.stat().st_mode & 0o777 == 0o600

    def knows_dan(file: Path) -> bool:
        with closing(sqlite3.connect(file)) as opened:
            query = "SELECT count(*) FROM ledger_member WHERE email = 'dan@example.com'"
            return bool(opened.execute(query).fetchone()[0])

    assert knows_dan(copy)
    assert not knows_dan(plain), "this is why there is a command"
    again = mc_pipeline("ledger", "backup", str(copy))
    assert (again.exit_code, "is there already" in again.in_one_line) == (1, True)
    shop.put_back(copy)
    assert difference(shop) == ""
    shop.put_back(plain)
    assert "is older" in difference(shop)
