"""Posted invoices and credit notes as one table."""

import pandas as pd
import pytest

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.orders import read_order_lines
from mc_pipeline.odoo.refunds import read_refunds
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in

LINES = [{"name": "Book", "price_unit": 40.0, "product_uom_qty": 2.0}, {"name": "Pen", "price_unit": 5.0}]


@pytest.fixture
def order(sandbox: SandboxOdoo) -> int:
    customer = sandbox.add_partner(name="Ada Lovelace", email="ada@example.com")
    return sandbox.add_order(customer, lines=LINES)


def order_lines(sandbox: SandboxOdoo, order: int) -> list[int]:
    return sandbox.search("sale.order.line", [("order_id", "=", order)], order="id")


def test_every_line_says_what_its_document_says(sandbox: SandboxOdoo, client: OdooClient, order: int):
    invoice = sandbox.invoice_order(order)
    note = sandbox.credit_invoice(invoice, quantity=1.0)
    sandbox.credit_invoice(invoice, post=False)
    read = read_refunds(client, 1)
    assert read.complete, read.incomplete_because
    rows = read.rows.sort_values("line_id")
    book, pen = order_lines(sandbox, order)
    assert rows["move_id"].tolist() == [invoice, invoice, note]
    assert rows["move_type"].tolist() == ["out_invoice", "out_invoice", "out_refund"]
    assert rows["sale_line_ids"].tolist() == [[book], [pen], [book]]
    assert rows["price_subtotal"].tolist() == [80.0, 5.0, 40.0]
    assert rows["amount_untaxed"].tolist() == [85.0, 85.0, 40.0]
    assert rows["amount_total_company"].tolist() == [85.0, 85.0, 40.0]
    assert rows["reversed_entry_id"].tolist()[2] == invoice
    assert pd.isna(rows["reversed_entry_id"].tolist()[0])


def test_a_company_without_invoices_has_an_empty_complete_table(client: OdooClient):
    read = read_refunds(client, 1)
    assert read.complete
    assert read.rows.empty
    assert "sale_line_ids" in read.rows.columns


def test_an_invoice_of_sections_alone_has_one_row_without_a_line(sandbox: SandboxOdoo, client: OdooClient):
    customer = sandbox.add_partner(name="Ada Lovelace", email="ada@example.com")
    section = {"name": "Thank you", "display_type": "line_note"}
    move = sandbox.create(
        "account.move",
        {"move_type": "out_invoice", "partner_id": customer, "invoice_line_ids": [(0, 0, section)]},
    )
    client.execute("account.move", "action_post", [move])
    row = read_refunds(client, 1).rows.to_dict("records")
    assert [each["move_id"] for each in row] == [move]
    assert pd.isna(row[0]["line_id"])
    assert row[0]["sale_line_ids"] == []


def test_a_credit_note_in_another_currency_has_its_worth_in_company_currency(
    sandbox: SandboxOdoo, client: OdooClient
):
    (dollar,) = sandbox.search("res.currency", [("name", "=", "USD")])
    sandbox.write("res.currency", dollar, {"rate": 1.25})
    customer = sandbox.add_partner(name="Ada Lovelace", email="ada@example.com")
    note = sandbox.create(
        "account.move",
        {
            "move_type": "out_refund",
            "partner_id": customer,
            "currency_id": dollar,
            "invoice_line_ids": [(0, 0, {"name": "Goodwill", "price_unit": 50.0})],
        },
    )
    client.execute("account.move", "action_post", [note])
    (row,) = read_refunds(client, 1).rows.to_dict("records")
    assert (row["currency"], row["amount_total"], row["amount_total_company"]) == ("USD", 50.0, 40.0)


def test_lines_are_read_by_their_ids_in_whatever_state_their_order_is(
    sandbox: SandboxOdoo, client: OdooClient, order: int
):
    quotation = sandbox.add_order(
        sandbox.add_partner(name="Grace", email="grace@example.com"), state="draft", lines=LINES
    )
    book, pen = order_lines(sandbox, order)
    drafted, _ = order_lines(sandbox, quotation)
    read = read_order_lines(client, 1, line_ids=[pen, drafted, 999_999])
    assert read.rows[["line_id", "order_id"]].values.tolist() == [[pen, order], [drafted, quotation]]
    assert read_order_lines(client, 1, line_ids=[]).rows.empty
    assert read_order_lines(client, 1, order_ids=[]).rows.empty
    assert book in set(read_order_lines(client, 1).rows["line_id"])


@pytest.mark.parametrize("model", ["account.move", "account.move.line"])
def test_without_the_right_to_see_invoices_the_error_names_it(sandbox: SandboxOdoo, model: str, order: int):
    sandbox.invoice_order(order)
    user = sandbox.add_user("sync@example.com", "secret", groups=("sales_all",))
    sandbox.deny(user, model)
    with (
        logged_in(sandbox, "sync@example.com", "secret") as client,
        pytest.raises(OdooAccessError, match=f"{model}.*Invoicing / Auditor") as refused,
    ):
        read_refunds(client, 1)
    assert "sync@example.com" not in str(refused.value)
