"""Stores end to end: orders that are due no more, stores that are broken, corrections that wait."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from mc_pipeline.ledger import TroubleKind
from mc_pipeline_tests.world import World

STORE = "acme-retail"
ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
HOLDS = "revenue_reconciliation/stores_match_odoo"


def test_money_that_was_refunded_is_never_counted_whatever_became_of_its_person(world: World):
    odoo, mailchimp = world.odoo, world.mailchimp
    world.configure(
        "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
        "    audiences:\n      retail:\n        list_id: retail1\n        when: {company_type: person}\n"
        f"        store: {{id: {STORE}, name: Acme, currency: EUR}}\n"
    )
    mailchimp.add_member("retail1", "moved@example.com", "subscribed")
    partners, orders, invoices = {}, {}, {}
    for name in ("cancelled", "moved", "raised", "returning", "quiet"):
        partners[name] = odoo.add_partner(name="Ada Lovelace", email=f"{name}@example.com")
        lines = [{"name": "Machine", "price_unit": 100.0}]
        orders[name] = odoo.add_order(partners[name], lines=lines, date_order=ORDERED)
        if name != "raised":
            invoices[name] = odoo.invoice_order(orders[name])
    number = {name: f"o{order}" for name, order in orders.items()}

    def goods() -> dict[str, float]:
        """What Mailchimp says of each order in the store, without tax."""
        held = mailchimp.store(STORE).orders
        return {
            name: held[each]["order_total"] - held[each]["tax_total"]
            for name, each in number.items()
            if each in held
        }

    def sync() -> list[str]:
        """Sync; return the writes to the store, all of them right by the reconciliation."""
        mailchimp.journal.clear()
        assert world.checks(world.sync())[HOLDS].passed
        return [
            f"{entry.method} {path}"
            for entry in mailchimp.journal.writes
            if (path := entry.path.partition(f"/stores/{STORE}/")[2])
        ]

    sync()
    assert goods() == dict.fromkeys(number, 100.0)

    odoo.cancel_order(orders["cancelled"])
    odoo.edit_partner(partners["moved"], is_company=True)
    for name in ("raised", "returning"):
        mailchimp.archive("retail1", f"{name}@example.com")
    odoo.write("sale.order.line", odoo.search("sale.order.line", [("order_id", "=", orders["raised"])]),
               {"price_unit": 150.0})  # fmt: skip
    odoo.credit_invoice(invoices["returning"], quantity=0.5)
    mailchimp.store(STORE).orders[number["returning"]]["campaign_id"] = "campaign7"
    written = sync()
    assert goods() == {"moved": 100.0, "raised": 100.0, "quiet": 100.0}
    left = [line for line in written if "/orders" in f"/{line.split()[1]}"]
    assert sorted(left) == sorted(f"DELETE orders/{number[name]}" for name in ("cancelled", "returning"))
    statuses = {name: mailchimp.status("retail1", f"{name}@example.com") for name in number}
    assert statuses == {
        "cancelled": "archived", "moved": "subscribed", "raised": "archived", "returning": "archived",
        "quiet": "transactional",
    }  # fmt: skip

    odoo.credit_invoice(invoices["moved"], quantity=0.25)
    mailchimp.sign_up("retail1", "returning@example.com")
    written = sync()
    assert goods() == {"moved": 75.0, "raised": 100.0, "returning": 50.0, "quiet": 100.0}
    of_orders = [line for line in written if "/orders" in f"/{line.split()[1]}" and "/lines/" not in line]
    assert sorted(of_orders) == [f"PATCH orders/{number['moved']}", "POST orders"]
    assert not mailchimp.store(STORE).orders[number["returning"]].get("campaign_id"), "never sent"
    said = [entry.body for entry in mailchimp.journal.writes]
    assert not [body for body in said if isinstance(body, dict) and body.get("status")]
    assert statuses | {"returning": "subscribed"} == {
        name: mailchimp.status("retail1", f"{name}@example.com") for name in number
    }
    assert sync() == []
    assert mailchimp.journal.writes == []


WHOLESALE = "acme-wholesale"


def two_stores(world: World) -> World:
    """A company with a store for companies and one for everybody else, and a person and a firm who bought."""
    world.configure(
        "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
        "    audiences:\n      wholesale:\n        list_id: wholesale1\n"
        "        when: {company_type: company}\n"
        f"        store: {{id: {WHOLESALE}, name: Acme, currency: EUR}}\n"
        "      retail:\n        list_id: retail1\n        when: {}\n"
        f"        store: {{id: {STORE}, name: Acme, currency: EUR}}\n"
    )
    buy(world, "ada@example.com")
    buy(world, "firm@example.com", is_company=True)
    return world


def buy(world: World, email: str, *, is_company: bool = False, price: float = 100.0) -> str:
    """An order of somebody who may be new; its id in a store."""
    known = world.odoo.search("res.partner", [("email", "=", email)])
    partner = (
        known[0] if known else world.odoo.add_partner(name="Ada Lovelace", email=email, is_company=is_company)
    )
    lines = [{"name": "Machine", "price_unit": price}]
    return f"o{world.odoo.add_order(partner, lines=lines, date_order=ORDERED)}"


def open_troubles(world: World) -> dict[tuple[str, str], TroubleKind]:
    """What is open in the ledger, by step and code."""
    with world.systems() as systems:
        return {
            (each.step, each.trouble.code): each.trouble.kind for each in systems.ledger.troubles.open("acme")
        }


def held(world: World, store: str) -> dict[str, float]:
    """Total without tax of each order in a store."""
    orders = world.mailchimp.store(store).orders if store in world.mailchimp.state.stores else {}
    return {name: order["order_total"] - order["tax_total"] for name, order in orders.items()}


def compared(world: World) -> tuple[set[str], set[str]]:
    """How stores differ by the reconciliation, and why kept revenue is in none."""
    rows = world.table("revenue_reconciliation").rows
    return set(rows["differs_because"]) - {""}, set(rows["left_out_because"]) - {""}


def in_another_currency(world: World) -> None:
    body = {"id": STORE, "list_id": "retail1", "name": "x", "currency_code": "USD"}
    with world.systems() as systems:
        systems.mailchimp(systems.company("acme")).ecommerce.add_store(body)


def test_a_store_that_cannot_be_opened_delays_no_other_and_is_reported_by_name(world: World):
    two_stores(world)
    in_another_currency(world)
    result = world.sync(in_trouble=True)
    assert held(world, WHOLESALE) == {"o2": 100.0}
    assert held(world, STORE) == {}
    checks = world.checks(result)
    products = checks["product_push/products_applied"]
    assert (products.passed, products.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "its currency is USD, companies.yaml says EUR" in str(products.description)
    holds = checks[HOLDS]
    assert (holds.passed, holds.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "Not checked: acme-retail" in str(holds.description)
    assert compared(world) == (set(), {"not_looked_at"})


def test_an_order_without_a_rate_brings_no_products_into_the_store_that_holds_it(world: World):
    two_stores(world)
    world.sync()
    odoo = world.odoo
    (dollar,) = odoo.search("res.currency", [("name", "=", "USD")])
    odoo.write("sale.order", 1, {"currency_id": dollar, "currency_rate": 0.0})
    odoo.write("sale.order.line", odoo.search("sale.order.line", [("order_id", "=", 1)]), {"name": "Another"})
    world.mailchimp.journal.clear()
    world.sync(in_trouble=True)
    rows = world.table("store_orders").rows.set_index("order_id")
    assert (
        rows.loc[1, ["excluded_because", "uncounted_because"]].tolist() == ["other_currency_without_rate"] * 2
    )
    assert "stays as it is" in world.table("order_push").rows["detail"].iloc[0]
    assert [entry.path for entry in world.mailchimp.journal.writes if "/stores/" in entry.path] == []


@pytest.mark.long
def test_corrections_of_too_many_orders_wait_until_somebody_releases_them(world: World):
    two_stores(world)
    orders = [buy(world, "ada@example.com") for _ in range(25)]
    world.sync()
    number = len(held(world, STORE))
    for order in orders:
        world.odoo.write(
            "sale.order.line",
            world.odoo.search("sale.order.line", [("order_id", "=", int(order[1:]))]),
            {"price_unit": 40.0},
        )
    new = buy(world, "ada@example.com", price=70.0)
    world.odoo.write(
        "sale.order.line", world.odoo.search("sale.order.line", [("order_id", "=", 2)]), {"price_unit": 10.0}
    )
    world.mailchimp.journal.clear()
    result = world.run()
    assert result.success, world.failures(result)
    assert held(world, STORE) == {**dict.fromkeys(["o1", *orders], 100.0), new: 70.0}
    assert held(world, WHOLESALE) == {"o2": 10.0}, "the other store is corrected"
    assert not [entry for entry in world.mailchimp.journal.writes if entry.method in ("PATCH", "DELETE")
                and f"/stores/{STORE}/" in entry.path]  # fmt: skip
    checks = world.checks(result)
    for name in ("order_push/orders_applied", HOLDS):
        assert (checks[name].passed, checks[name].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert compared(world) == ({"waits_for_approval"}, set())
    assert open_troubles(world) == {("order_push", "orders_lowered"): TroubleKind.WAITS}
    with world.systems() as systems:
        (waiting,) = systems.ledger.store_plans.waiting()
        assert (waiting.store_id, waiting.orders, waiting.held) == (STORE, 25, number)
        assert waiting.plan_id in str(checks["order_push/orders_applied"].description)
        systems.ledger.store_plans.approve(waiting.plan_id, by="finance", reason="a new price list")
        assert systems.ledger.store_plans.waiting() == []
    assert world.checks(world.sync())[HOLDS].passed
    assert held(world, STORE) == {**dict.fromkeys(orders, 40.0), "o1": 100.0, new: 70.0}
    assert open_troubles(world) == {}
    with world.systems() as systems:
        assert systems.ledger.store_plans.waiting() == []
    world.mailchimp.journal.clear()
    world.sync()
    assert world.mailchimp.journal.writes == []
