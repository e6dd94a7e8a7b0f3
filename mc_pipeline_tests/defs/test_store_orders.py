"""Orders that change in Odoo, end to end: what the stores should hold follows, month by month."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from mc_pipeline.defs.jobs import SYNC_COMPANY
from mc_pipeline.defs.partitions import CHANGES, READ_TAG
from mc_pipeline_tests.world import World

LAST_YEAR, THIS_YEAR = datetime(2025, 5, 4, 10, 0, tzinfo=UTC), datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
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


@pytest.fixture
def shop(world: World) -> World:
    """A shop with one store; what is in Odoo was there for a while."""
    world.configure(STORES)
    return world


def order(world: World, email: str, moment: datetime, *prices: float, **values: Any) -> int:
    """An order of somebody new, with a line for each price."""
    partner = world.odoo.add_partner(name="Ada Lovelace", email=email)
    product = world.odoo.create("product.product", {"name": "Book", "list_price": 20.0})
    lines = [{"product_id": product, "product_uom_qty": 2, "price_unit": price} for price in prices]
    return world.odoo.add_order(partner, lines=lines, date_order=moment, **values)


def sync_changes(world: World, *months: str) -> dict[str, str]:
    """Sync reading only what changed, or months again; return the months written, by table."""
    result = world.definitions.resolve_job_def(SYNC_COMPANY).execute_in_process(
        partition_key="acme",
        instance=world.instance,
        tags={} if months else {READ_TAG: CHANGES},
        run_config={"resources": {"months": {"config": {"only": list(months)}}}},
        raise_on_error=False,
    )
    # An order that is gone from so small a shop is a read that shrank: it stays in its store, and differs.
    assert result.success or world.went_through(result), world.failures(result)
    return {table: written(result, table) for table in ("odoo_orders", "odoo_order_lines", "store_orders")}


def written(result: dg.ExecuteInProcessResult, table: str) -> str:
    made = next(
        each for each in result.asset_materializations_for_node(table) if each.asset_key == dg.AssetKey(table)
    )
    return str(made.metadata["months_written"].value)


def held(world: World) -> dict[int, tuple[str, str, float, str]]:
    """Month, state, goods and reason of each order."""
    rows = world.table("store_orders").rows
    columns = ["month", "state", "goods_total", "excluded_because"]
    return {row[0]: row[1:] for row in rows[["order_id", *columns]].itertuples(index=False, name=None)}


@pytest.mark.long
def test_changes_of_orders_touch_their_own_months_and_nothing_else(shop: World):
    odoo = shop.odoo
    with odoo.at(datetime.now(UTC) - timedelta(days=3)):
        refunded = order(shop, "refunded@example.com", LAST_YEAR, 20.0, 5.0)
        edited = order(shop, "edited@example.com", THIS_YEAR, 20.0)
        moved = order(shop, "moved@example.com", THIS_YEAR + timedelta(days=40), 20.0)
        undone = order(shop, "undone@example.com", THIS_YEAR + timedelta(days=70), 20.0)
        order(shop, "quiet@example.com", THIS_YEAR + timedelta(days=100), 20.0)
        invoice = odoo.invoice_order(refunded)
    shop.sync()
    assert {each[1:] for each in held(shop).values()} >= {("sale", 50.0, ""), ("sale", 40.0, "")}
    assert sync_changes(shop) == dict.fromkeys(("odoo_orders", "odoo_order_lines", "store_orders"), "none")

    odoo.credit_invoice(invoice, quantity=1)
    assert sync_changes(shop) == {
        "odoo_orders": "2025-05",
        "odoo_order_lines": "none",
        "store_orders": "2025-05",
    }
    assert held(shop)[refunded] == ("2025-05", "sale", 30.0, "")

    (line,) = odoo.search("sale.order.line", [("order_id", "=", edited)])
    odoo.write("sale.order.line", line, {"product_uom_qty": 1})
    odoo.write("sale.order", moved, {"date_order": THIS_YEAR.replace(tzinfo=None) + timedelta(days=9)})
    odoo.cancel_order(undone)
    odoo.model("sale.order").action_draft(odoo.database.superuser(), [undone])
    changed = sync_changes(shop)
    assert changed["store_orders"] == "2026-05, 2026-06, 2026-07"
    assert held(shop)[edited] == ("2026-05", "sale", 20.0, "")
    assert held(shop)[moved] == ("2026-05", "sale", 40.0, "")
    assert undone not in held(shop)

    odoo.confirm_order(undone)
    odoo.cancel_order(edited)
    odoo.unlink("sale.order", edited)
    odoo.cancel_order(moved)
    changed = sync_changes(shop)
    assert held(shop)[undone][1:] == ("sale", 40.0, "")
    assert edited not in held(shop)
    assert held(shop)[moved][1:3] == ("cancel", 0.0)
    assert "2026-08" not in changed["store_orders"]
    assert shop.table("odoo_order_lines").rows["order_id"].nunique() == 4


def test_what_a_person_spent_is_what_was_kept(shop: World):
    odoo = shop.odoo
    dollars = odoo.search("res.currency", [("name", "=", "USD")])
    odoo.write("res.currency", dollars, {"rate": 2.0, "active": True})
    part = order(shop, "part@example.com", THIS_YEAR, 50.0)
    odoo.credit_invoice(odoo.invoice_order(part), quantity=1)
    foreign = order(shop, "foreign@example.com", THIS_YEAR, 50.0, currency="USD")
    odoo.credit_invoice(odoo.invoice_order(foreign), quantity=1)
    full = order(shop, "full@example.com", THIS_YEAR, 50.0)
    odoo.credit_invoice(odoo.invoice_order(full))
    partner = odoo.read("sale.order", part, "partner_id")["partner_id"]
    cancelled = odoo.add_order(partner, lines=[{"name": "Pen", "price_unit": 7.0}], date_order=THIS_YEAR)
    odoo.cancel_order(cancelled)
    shop.sync()
    contacts = shop.table("contacts").rows.set_index("email")
    assert contacts["total_spent"].to_dict() == {
        "part@example.com": 50.0,
        "foreign@example.com": 25.0,
        "full@example.com": 0.0,
    }
    assert set(contacts["order_count"]) == {1}
    rows = shop.table("store_orders").rows
    kept = rows.groupby("email")["goods_total"].sum()
    assert kept.to_dict() == contacts["total_spent"].to_dict()


def test_a_month_is_read_again_on_demand_and_the_others_are_not(shop: World):
    """What was changed in Odoo's database by hand leaves no date."""
    odoo = shop.odoo
    with odoo.at(datetime.now(UTC) - timedelta(days=3)):
        orders = [
            order(shop, "may@example.com", THIS_YEAR, 20.0),
            order(shop, "july@example.com", THIS_YEAR + timedelta(days=70), 20.0),
        ]
    shop.sync()
    for each in orders:
        (line,) = odoo.search("sale.order.line", [("order_id", "=", each)])
        amounts = {"price_subtotal": 30.0, "price_total": 30.0}
        odoo.model("sale.order.line").table.update(line, amounts)
        odoo.model("sale.order").table.update(each, {"amount_untaxed": 30.0, "amount_total": 30.0})
    assert set(sync_changes(shop).values()) == {"none"}
    assert set(sync_changes(shop, "2026-05").values()) == {"2026-05"}
    assert [held(shop)[each][2] for each in orders] == [30.0, 40.0]
