"""What becomes of an order in a store once it is due in none any more, end to end."""

from datetime import UTC, datetime

from mc_pipeline_tests.world import World

STORE = "acme-retail"
ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
HOLDS = "revenue_reconciliation/mailchimp_holds_what_is_due"


def test_money_that_was_given_back_is_never_counted_whatever_became_of_its_person(world: World):
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
    assert mailchimp.store(STORE).orders[number["returning"]]["campaign_id"] == "campaign7"
    said = [entry.body for entry in mailchimp.journal.writes]
    assert not [body for body in said if isinstance(body, dict) and body.get("status")]
    assert statuses | {"returning": "subscribed"} == {
        name: mailchimp.status("retail1", f"{name}@example.com") for name in number
    }
    assert sync() == []
    assert mailchimp.journal.writes == []
