"""Refunded money, end to end: what a customer was given back makes nobody a VIP."""

from datetime import UTC, datetime

from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
HAVE_AN_ORDER = "odoo_refunds/credit_notes_have_an_order"


def invoiced(world: World, email: str, spent: float) -> int:
    """A customer with one order, invoiced; gives the invoice."""
    partner = world.odoo.add_partner(name="Ada Lovelace", email=email)
    lines = [{"name": "Machine", "price_unit": spent}]
    return world.odoo.invoice_order(world.odoo.add_order(partner, lines=lines, date_order=ORDERED))


def tags(world: World, email: str) -> set[str]:
    return set(world.mailchimp.tags("retail1", email))


def spent(world: World, email: str) -> object:
    """What Mailchimp says the person spent."""
    member = world.mailchimp.member("retail1", email)
    assert member is not None
    return member.merge_fields["SPENT"]


def test_nobody_is_a_vip_on_refunded_money(world: World):
    world.odoo.credit_invoice(invoiced(world, "refunded@example.com", 2000))
    world.odoo.credit_invoice(invoiced(world, "typed@example.com", 2000), linked=False)
    world.odoo.credit_invoice(invoiced(world, "draft@example.com", 2000), post=False)
    invoiced(world, "kept@example.com", 2000)
    result = world.sync()
    assert spent(world, "refunded@example.com") == 0
    assert tags(world, "refunded@example.com") == {"B2C"}
    assert spent(world, "typed@example.com") == 0
    assert tags(world, "typed@example.com") == {"B2C"}
    for email in ("draft@example.com", "kept@example.com"):
        assert spent(world, email) == 2000
        assert tags(world, email) == {"B2C", "VIP"}
    assert world.checks(result)[HAVE_AN_ORDER].passed


def test_a_credit_note_posted_later_ends_being_a_vip(world: World):
    invoice = invoiced(world, "ada@example.com", 2000)
    world.sync()
    assert tags(world, "ada@example.com") == {"B2C", "VIP"}
    world.odoo.credit_invoice(invoice)
    world.sync()
    assert tags(world, "ada@example.com") == {"B2C"}
    assert spent(world, "ada@example.com") == 0


def test_a_credit_note_that_counts_to_no_order_is_listed_and_holds_nothing_back(world: World):
    invoiced(world, "ada@example.com", 2000)
    customer = world.odoo.search("res.partner", [("email", "=", "ada@example.com")])[0]
    goodwill = {"name": "Goodwill for Ada Lovelace", "price_unit": 40.0}
    note = world.odoo.create(
        "account.move",
        {"move_type": "out_refund", "partner_id": customer, "invoice_line_ids": [(0, 0, goodwill)]},
    )
    world.odoo.model("account.move").action_post(world.odoo.database.superuser(), [note])
    check = world.checks(world.sync())[HAVE_AN_ORDER]
    assert not check.passed
    assert check.metadata["owner"].value == "finance"
    (listed,) = check.metadata["credit_notes"].records
    row = listed.data
    assert (row["move_id"], row["untaxed"], row["currency"]) == (note, 40.0, "EUR")
    links = check.metadata["credit_notes_in_odoo"].value
    assert f"[{note}]({world.odoo.url}/web#id={note}&model=account.move&" in links
    assert "names no invoice" in row["because"]
    assert "Ada" not in str(check.metadata)
    assert spent(world, "ada@example.com") == 2000


def test_without_the_right_to_see_invoices_nothing_is_pushed(world: World):
    invoiced(world, "ada@example.com", 2000)
    (admin,) = world.odoo.search("res.users", [("login", "=", "admin")])
    world.odoo.deny(admin, "account.move")
    result = world.run()
    assert not result.success
    (failure,) = [each for each in world.failures(result) if each.startswith("odoo_refunds: ")]
    assert "account.move" in failure
    assert "Invoicing / Auditor" in failure
    assert world.mailchimp.journal.writes == []


def test_orders_are_only_as_complete_as_the_credit_notes_read(world: World):
    """The note that is hidden now was there before: what is kept may be too much."""
    note = world.odoo.credit_invoice(invoiced(world, "ada@example.com", 2000))
    world.sync()
    assert world.table("odoo_orders").complete
    world.odoo.hide("account.move", [note])
    world.odoo.hide("account.move.line", world.odoo.search("account.move.line", [("move_id", "=", note)]))
    result = world.run(push=False)
    assert result.success, world.failures(result)
    orders = world.table("odoo_orders")
    assert not orders.complete
    assert "odoo_refunds" in orders.incomplete_because
    assert not world.checks(result)["odoo_refunds/read_is_complete"].passed
    assert not world.table("audience_plan").complete
