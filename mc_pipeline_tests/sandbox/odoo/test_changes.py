"""Which change touches which ``write_date``, what archiving, deleting and merging leave behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import odoorpc
import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.sandbox.odoo.conftest import error_of, log_in

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class World:
    """A firm with a contact, an order with a line of 100 and one of nothing, invoiced."""

    def __init__(self, odoo: SandboxOdoo) -> None:
        self.odoo = odoo
        with odoo.at(LONG_AGO):
            self.tag = odoo.add_tag("VIP")
            self.firm = odoo.add_partner(name="Firm", is_company=True, street="Old Road", tags=[self.tag])
            self.contact = odoo.add_partner(name="Ann", email="ann@e.com", parent_id=self.firm)
            lines = [{"name": "Thing", "price_unit": 50.0, "product_uom_qty": 2.0}, {"name": "Gift"}]
            self.order = odoo.add_order(self.contact, lines=lines)
            self.line, self.gift = odoo.read("sale.order", self.order, "order_line")["order_line"]
            self.invoice = odoo.invoice_order(self.order)
            self.user = odoo.add_user("clerk", name="Clerk")
            self.clerk = odoo.read("res.users", self.user, "partner_id")["partner_id"]

    def touched(self, what: str) -> bool:
        model = {"firm": "res.partner", "contact": "res.partner", "clerk": "res.partner"}.get(what)
        model = model or {"order": "sale.order", "line": "sale.order.line", "invoice": "account.move"}[what]
        row = self.odoo.model(model).table.rows[getattr(self, what)]
        return bool(row["write_date"].year != 2020)


def _write(model: str, what: str, **values: Any) -> Callable[[World], None]:
    return lambda world: world.odoo.write(model, getattr(world, what), values)


def _linked_from_tag(world: World) -> None:
    world.odoo.write("res.partner.category", world.tag, {"partner_ids": [(4, world.contact)]})


CHANGES: list[tuple[str, Callable[[World], Any], dict[str, set[int]]]] = [
    ("same value", _write("res.partner", "contact", name="Ann"), {"contact": {17, 18, 19}}),
    (
        "contact renamed",
        _write("res.partner", "contact", name="Anna"),
        {"contact": {17, 18, 19}, "firm": set()},
    ),
    (
        "firm renamed",
        _write("res.partner", "firm", name="New"),
        {"firm": {17, 18, 19}, "contact": {17, 18, 19}},
    ),
    (
        "firm moved",
        _write("res.partner", "firm", street="New"),
        {"firm": {17, 18, 19}, "contact": {17, 18, 19}},
    ),
    (
        "firm archived",
        _write("res.partner", "firm", active=False),
        {"firm": {17, 18, 19}, "contact": {18, 19}},
    ),
    ("partner renamed", _write("res.partner", "contact", name="Anna"), {"order": set(), "line": set()}),
    ("tag on the partner", _write("res.partner", "contact", category_id=[(5,)]), {"contact": {17, 18, 19}}),
    ("tag linked from the tag", _linked_from_tag, {"contact": set()}),
    ("tag renamed", _write("res.partner.category", "tag", name="Gold"), {"firm": set()}),
    ("tag deleted", lambda world: world.odoo.unlink("res.partner.category", world.tag), {"firm": set()}),
    ("blacklisted", lambda world: world.odoo.blacklist("ann@e.com"), {"contact": set()}),
    (
        "price",
        _write("sale.order.line", "line", price_unit=60.0),
        {"order": {17, 18, 19}, "line": {17, 18, 19}},
    ),
    ("text", _write("sale.order.line", "line", name="Other"), {"order": set(), "line": {17, 18, 19}}),
    ("new order", lambda world: world.odoo.add_order(world.contact, 5.0), {"contact": set(), "order": set()}),
    ("paid", lambda world: world.odoo.pay_invoice(world.invoice), {"order": set(), "invoice": {17, 18, 19}}),
    ("user renamed", _write("res.users", "user", name="Boss"), {"clerk": {17, 18, 19}}),
    ("user's signature", _write("res.users", "user", signature="Bye"), {"clerk": set()}),
]


@pytest.mark.parametrize(
    ("change", "expected"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES]
)
def test_a_change_touches_what_it_touches_in_odoo(
    odoo: SandboxOdoo, change: Callable[[World], Any], expected: dict[str, set[int]]
) -> None:
    world = World(odoo)
    change(world)
    touched = {what: world.touched(what) for what in expected}
    # 20 is made by hand, and touches what 19 does
    like = min(odoo.version[0], 19)
    assert touched == {what: like in versions for what, versions in expected.items()}


def test_a_line_of_price_zero_comes_and_goes_unseen_by_the_order(odoo: SandboxOdoo) -> None:
    with odoo.at(LONG_AGO):
        order = odoo.add_order(
            odoo.add_partner(name="A"), lines=[{"name": "Thing", "price_unit": 5.0}], state="draft"
        )
        status_free = odoo.create("sale.order.line", {"order_id": order, "name": "Gift"})
    row = odoo.model("sale.order").table.rows[order]
    odoo.create("sale.order.line", {"order_id": order, "name": "Another gift"})
    odoo.unlink("sale.order.line", status_free)
    assert row["write_date"].year == 2020
    odoo.create("sale.order.line", {"order_id": order, "name": "More", "price_unit": 1.0})
    assert row["write_date"].year != 2020
    assert row["amount_total"] == 6.0


def test_a_posted_credit_note_touches_the_order_on_17_only_when_the_status_stays(odoo: SandboxOdoo) -> None:
    world = World(odoo)
    with odoo.at(LONG_AGO):
        note = odoo.credit_invoice(world.invoice, quantity=1.0, post=False)
    assert odoo.read("sale.order", world.order, "invoice_status")["invoice_status"] == "to invoice"
    env = odoo.database.superuser()
    odoo.model("account.move").call(env, "action_post", [[note]], {})
    assert world.touched("order") is (odoo.version[0] == 17)
    assert world.touched("line")
    assert world.touched("invoice")


def test_making_a_draft_credit_note_touches_the_order_whose_status_changes(odoo: SandboxOdoo) -> None:
    world = World(odoo)
    note = odoo.credit_invoice(world.invoice, post=False)
    assert world.touched("order")
    name = odoo.read("account.move", note, "name")["name"]
    assert name == ("/" if odoo.version[0] == 17 else False)
    order = odoo.read("sale.order", world.order, "amount_invoiced", "amount_total")
    assert (order["amount_invoiced"], order["amount_total"]) == (100.0, 100.0)


def test_credit_notes_have_positive_amounts_and_settle_their_invoice(odoo: SandboxOdoo) -> None:
    world = World(odoo)
    partial = odoo.credit_invoice(world.invoice, quantity=0.5)
    invoice = odoo.read("account.move", world.invoice, "payment_state", "amount_residual")
    assert (invoice["payment_state"], invoice["amount_residual"]) == ("partial", 75.0)
    note = odoo.read(
        "account.move", partial, "amount_total", "amount_total_signed", "payment_state", "reversed_entry_id"
    )
    assert note == {
        "id": partial,
        "amount_total": 25.0,
        "amount_total_signed": -25.0,
        "payment_state": "paid",
        "reversed_entry_id": world.invoice,
    }
    other = odoo.add_order(world.contact, lines=[{"name": "Thing", "price_unit": 10.0}])
    invoice_id = odoo.invoice_order(other)
    odoo.credit_invoice(invoice_id)
    assert odoo.read("account.move", invoice_id, "payment_state")["payment_state"] == "reversed"
    assert odoo.read("sale.order", other, "amount_invoiced")["amount_invoiced"] == 0.0


def test_an_order_in_another_currency_is_signed_in_company_currency(odoo: SandboxOdoo) -> None:
    partner = odoo.add_partner(name="A")
    order = odoo.add_order(partner, currency="USD", lines=[{"name": "Thing", "price_unit": 250.0}])
    note = odoo.credit_invoice(odoo.invoice_order(order))
    assert odoo.read("sale.order", order, "currency_rate")["currency_rate"] == 1.25
    amounts = odoo.read(
        "account.move", note, "amount_total", "amount_total_signed", "amount_total_in_currency_signed"
    )
    assert list(amounts.values())[1:] == [250.0, -200.0, -250.0]


def test_an_unlinked_credit_note_is_not_among_the_orders_invoices(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    world = World(odoo)
    linked = odoo.credit_invoice(world.invoice, quantity=0.5)
    typed = odoo.credit_invoice(world.invoice, quantity=0.5, linked=False)
    assert odoo.read("sale.order", world.order, "invoice_ids")["invoice_ids"] == [world.invoice, linked]
    found = admin.execute_kw(
        "account.move", "search", [[["reversed_entry_id", "=", world.invoice]]], {"order": "id"}
    )
    assert found == [linked, typed]
    by_lines = [["invoice_line_ids.sale_line_ids.order_id", "=", world.order]]
    assert admin.execute_kw("account.move", "search", [by_lines], {"order": "id"}) == [world.invoice, linked]
    of_refunds = [["invoice_ids.move_type", "=", "out_refund"]]
    assert admin.execute_kw("sale.order", "search", [of_refunds]) == [world.order]


def test_confirming_overwrites_the_date_of_the_order(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    order = odoo.add_order(odoo.add_partner(name="A"), 5.0, state="draft", date_order=LONG_AGO)
    admin.execute_kw("sale.order", "action_confirm", [[order]])
    read = odoo.read("sale.order", order, "state", "date_order")
    assert read["state"] == "sale"
    assert not read["date_order"].startswith("2020")


def test_cancelling_over_rpc_needs_the_wizard_before_19(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    order = odoo.add_order(odoo.add_partner(name="A"), 5.0)
    answer = admin.execute_kw("sale.order", "action_cancel", [[order]])
    if odoo.version[0] < 19:
        assert answer["res_model"] == "sale.order.cancel"
        assert odoo.read("sale.order", order, "state")["state"] == "sale"
        wizard = admin.execute_kw("sale.order.cancel", "create", [{"order_id": order}])
        admin.execute_kw("sale.order.cancel", "action_cancel", [[wizard]])
    read = odoo.read("sale.order", order, "state", "amount_total")
    assert (read["state"], read["amount_total"]) == ("cancel", 5.0)


def test_locked_orders_refuse_to_be_cancelled_or_edited(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    world = World(odoo)
    admin.execute_kw("sale.order", "action_lock", [[world.order]])
    for call in (
        lambda: admin.execute_kw("sale.order", "action_cancel", [[world.order]]),
        lambda: admin.execute_kw("sale.order.line", "write", [[world.line], {"price_unit": 1.0}]),
    ):
        assert error_of(call)[0] == "odoo.exceptions.UserError"


def test_confirmed_orders_and_posted_invoices_cannot_be_deleted(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    world = World(odoo)
    draft = odoo.add_order(world.contact, 5.0, state="draft")
    for model, id in (
        ("sale.order", world.order),
        ("account.move", world.invoice),
        ("res.partner", world.contact),
    ):
        assert error_of(lambda model=model, id=id: admin.execute_kw(model, "unlink", [[id]]))[0] in (  # type: ignore[misc]
            "odoo.exceptions.UserError",
            "odoo.exceptions.ValidationError",
        )
    assert admin.execute_kw("sale.order", "unlink", [[draft]]) is True
    assert admin.execute_kw("sale.order", "read", [[draft], ["name"]]) == []


def test_a_contact_takes_its_firms_address(odoo: SandboxOdoo) -> None:
    world = World(odoo)
    delivery = odoo.add_partner(name="Warehouse", parent_id=world.firm, type="delivery", street="Dock 1")
    assert odoo.read("res.partner", world.contact, "street")["street"] == "Old Road"
    odoo.edit_partner(world.firm, street="New Road")
    assert odoo.read("res.partner", world.contact, "street")["street"] == "New Road"
    assert odoo.read("res.partner", delivery, "street")["street"] == "Dock 1"
    order = odoo.read(
        "sale.order", odoo.add_order(world.firm, 5.0), "partner_shipping_id", "partner_invoice_id"
    )
    assert (order["partner_shipping_id"], order["partner_invoice_id"]) == (delivery, world.firm)


def test_merging_deletes_the_sources_and_moves_their_orders_untouched(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    with odoo.at(LONG_AGO):
        tag = odoo.add_tag("VIP")
        survivor = odoo.add_partner(name="A", email="a@e.com")
        source = odoo.add_partner(name="B", email="b@e.com", tags=[tag])
        child = odoo.add_partner(name="C", parent_id=source)
        order = odoo.add_order(source, 5.0)
    wizard = admin.execute_kw(
        "base.partner.merge.automatic.wizard",
        "create",
        [{"partner_ids": [[6, 0, [survivor, source]]], "dst_partner_id": survivor}],
    )
    admin.execute_kw("base.partner.merge.automatic.wizard", "action_merge", [[wizard]])
    assert admin.execute_kw("res.partner", "read", [[source], ["name"]]) == []
    assert odoo.read("sale.order", order, "partner_id", "write_date") == {
        "id": order,
        "partner_id": survivor,
        "write_date": "2020-01-01 00:00:00",
    }
    assert odoo.read("res.partner", child, "parent_id")["parent_id"] == survivor
    merged = odoo.read("res.partner", survivor, "category_id", "email", "write_date")
    assert (merged["category_id"], merged["email"]) == ([tag], "a@e.com")
    assert not merged["write_date"].startswith("2020")
    (message,) = admin.execute_kw(
        "mail.message", "search_read", [[["res_id", "=", survivor], ["model", "=", "res.partner"]], ["body"]]
    )
    assert f"B <b@e.com> (ID {source})" in message["body"]


def test_only_an_administrator_merges_different_addresses_and_never_more_than_three(
    odoo: SandboxOdoo,
) -> None:
    odoo.add_user("clerk", "secret", groups=("partner_manager",))
    clerk = log_in(odoo, "clerk", "secret")
    partners = [odoo.add_partner(name=str(number), email=f"{number}@e.com") for number in range(4)]

    def merge(client: odoorpc.ODOO, ids: list[int]) -> None:
        wizard = client.execute_kw(
            "base.partner.merge.automatic.wizard",
            "create",
            [{"partner_ids": [[6, 0, ids]], "dst_partner_id": ids[0]}],
        )
        client.execute_kw("base.partner.merge.automatic.wizard", "action_merge", [[wizard]])

    error_of(lambda: merge(clerk, partners[:2]))
    assert "more than 3" in error_of(lambda: merge(log_in(odoo), partners))[1]
    merge(log_in(odoo), partners[:3])
    assert odoo.search("res.partner", [("id", "in", partners)], order="id") == [partners[0], partners[3]]


def test_exists_is_private_on_19_and_a_text_before(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    partner = odoo.add_partner(name="A")
    if odoo.version[0] >= 19:
        assert (
            error_of(lambda: admin.execute_kw("res.partner", "exists", [[partner]]))[0]
            == "odoo.exceptions.AccessError"
        )
    else:
        assert admin.execute_kw("res.partner", "exists", [[partner, 9999]]) == f"res.partner({partner},)"
        assert admin.execute_kw("res.partner", "exists", [[9999]]) == []


def test_recordsets_of_odoorpc_read_write_and_create(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    partners = admin.env["res.partner"]
    id = partners.create({"name": "A", "email": "a@e.com"})
    record = partners.browse(id)
    assert record.email == "a@e.com"
    record.email = "B@e.com"
    assert odoo.read("res.partner", id, "email_normalized")["email_normalized"] == "b@e.com"
    ids = admin.execute_kw("res.partner", "create", [[{"name": "B"}]])
    assert isinstance(id, int)
    assert isinstance(ids, list)
    partners.unlink([id])
    assert partners.search([("id", "=", id)]) == []
