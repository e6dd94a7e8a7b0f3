"""Stored tables that were damaged or removed are made anew: no run fails, and nothing is written for it."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from mc_pipeline.defs.jobs import SYNC_COMPANY
from mc_pipeline.defs.partitions import CHANGES, READ_TAG
from mc_pipeline.tables import schemas
from mc_pipeline.tables.parquet import storage_folder, stored_table
from mc_pipeline_tests.cli.conftest import serve_world
from mc_pipeline_tests.world import World

pytestmark = pytest.mark.long

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
STORES = """
  acme:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      retail:
        list_id: retail1
        merge_fields: {SPENT: total_spent, ORDERS: order_count}
        store: {id: acme-retail, name: ACME, currency: EUR}
"""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_bytes(path: Path) -> None:
    """Something in the middle changes; the end of the file, which names its parts, stays."""
    content = bytearray(path.read_bytes())
    for place in range(4, len(content) // 3):
        content[place] ^= 0x55
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


LISTINGS = frozenset(name for name, columns in schemas.ALL.items() if columns.by_month)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A shop in which all is done; an order of its store is cancelled, and was touched later in Odoo."""
    with serve_world(tmp_path_factory.mktemp("shop")) as world:
        _trade(world)
        yield world


def _trade(world: World) -> None:
    world.configure(STORES)
    orders = []
    with world.odoo.at(datetime.now(UTC) - timedelta(days=3)):
        for number in range(3):
            partner = world.odoo.add_partner(name=f"Person {number}", email=f"person{number}@example.com")
            moment = ORDERED + timedelta(days=31 * number)
            orders.append(world.odoo.add_order(partner, 100.0, date_order=moment))
            world.odoo.add_order(partner, 50.0, date_order=moment)
    world.sync()
    with world.odoo.at(datetime.now(UTC) - timedelta(days=2)):
        world.odoo.cancel_order(orders[0])
    world.sync()
    world.odoo.write("sale.order", orders[0], {"client_order_ref": "touched"})
    world.sync()


def tables(world: World) -> dict[str, pd.DataFrame]:
    """What every table holds that says how things are, not when a run looked."""
    states = ("odoo_partners", "odoo_orders", "odoo_order_lines", "store_orders", "contacts", "set_aside")
    return {name: world.table(name).rows for name in states}


def files(where: str) -> list[Path]:
    """The stored files: of months, or all others."""
    everything = sorted(Path(str(storage_folder())).rglob("*.parquet"))
    months = [path for path in everything if path.parent.parent.name in LISTINGS]
    return months if where == "months" else [path for path in everything if path not in months]


@pytest.mark.parametrize(
    ("where", "damage"),
    [("months", Path.unlink), ("months", other_bytes), ("tables", cut), ("tables", emptied)],
)
def test_whatever_becomes_of_stored_files_the_next_sync_makes_them_again(
    shop: World, where: str, damage: Callable[[Path], None]
) -> None:
    before, since = tables(shop), len(shop.mailchimp.journal.writes)
    damaged = files(where)
    assert len(damaged) >= 3
    for path in damaged:
        damage(path)
    result = shop.definitions.resolve_job_def(SYNC_COMPANY).execute_in_process(
        partition_key="acme", instance=shop.instance, tags={READ_TAG: CHANGES}, raise_on_error=False
    )
    assert result.success, shop.failures(result)
    for name, rows in tables(shop).items():
        pd.testing.assert_frame_equal(rows, before[name])
    assert shop.mailchimp.journal.writes[since:] == []


def test_a_table_that_cannot_be_read_is_named_once_and_taken_for_missing(
    shop: World, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(str(storage_folder())) / "contacts" / "acme.parquet"
    whole = path.read_bytes()
    cut(path)
    with caplog.at_level(logging.WARNING, logger="mc_pipeline"):
        assert stored_table(schemas.CONTACTS, "acme") is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert str(path) in said
    assert "the next sync of acme rebuilds it" in said
    path.write_bytes(whole)
    assert stored_table(schemas.CONTACTS, "acme") is not None


def test_a_step_run_alone_says_what_makes_the_table_that_it_lacks(shop: World) -> None:
    path = Path(str(storage_folder())) / "contacts" / "acme.parquet"
    whole = path.read_bytes()
    path.unlink()
    result = shop.definitions.resolve_job_def(SYNC_COMPANY).execute_in_process(
        partition_key="acme",
        instance=shop.instance,
        asset_selection=[dg.AssetKey("store_orders")],
        raise_on_error=False,
    )
    assert not result.success
    assert "Sync the whole company (acme), not this step alone" in "\n".join(shop.failures(result))
    path.write_bytes(whole)
