"""What the books hold on income accounts, summed up by month."""

from collections import defaultdict

import pandas as pd
import pytest

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.income import read_income
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in
from mc_pipeline_tests.odoo.test_recorded import VERSIONS, holding, recorded


def sums(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.month, row.kind): round(row.amount, 2) for row in rows.itertuples()}


@pytest.mark.parametrize("version", VERSIONS)
def test_months_of_real_books_are_what_their_journal_items_add_up_to(version: int):
    name = f"odoo/scenarios/{version}.json.gz"
    content = recorded(name)
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for item in content["records"]["account.move.line"]:
        if item["parent_state"] == "posted" and item["account_type"] in ("income", "income_other"):
            kind = "documents" if item["move_type"] in ("out_invoice", "out_refund") else "other_entries"
            if kind == "documents" and item["display_type"] == "tax":
                kind = "taxes"
            expected[item["date"][:7], kind] -= item["balance"]
    with holding(version, name, company=content["company"]["id"]) as client:
        found = sums(read_income(client, content["company"]["id"]).rows)
    assert found == {key: round(amount, 2) for key, amount in expected.items()}
    assert len(found) > 4


def test_drafts_and_other_accounts_count_for_nothing_and_receipts_are_other_entries(
    sandbox: SandboxOdoo, client: OdooClient
):
    customer = sandbox.add_partner(name="Ada Lovelace", email="ada@example.com")
    order = sandbox.add_order(customer, lines=[{"name": "Book", "price_unit": 40.0, "product_uom_qty": 2.0}])
    invoice = sandbox.invoice_order(order)
    sandbox.credit_invoice(invoice, post=False)
    tips = sandbox.create("account.account", {"name": "Tips", "account_type": "liability_current"})
    for kind, values in (("out_receipt", {}), ("out_receipt", {"account_id": tips})):
        line = {"name": "Pen", "price_unit": 5.0, **values}
        move = sandbox.create(
            "account.move",
            {
                "move_type": kind,
                "partner_id": customer,
                "invoice_line_ids": [(0, 0, line)],
                "invoice_date": "2024-02-03",
            },
        )
        client.execute("account.move", "action_post", [move])
    month = sandbox.read("account.move", invoice, "date")["date"][:7]
    rows = read_income(client, 1).rows
    assert sums(rows) == {(month, "documents"): 80.0, ("2024-02", "other_entries"): 5.0}


@pytest.mark.parametrize("version", [(17, 0), (19, 0), (20, 0)])
def test_a_tax_that_is_booked_on_an_income_account_is_told_apart(version: tuple[int, int]):
    with SandboxOdoo(version).serve() as odoo:
        customer = odoo.add_partner(name="Ada Lovelace", email="ada@example.com")
        invoice = odoo.invoice_order(odoo.add_order(customer, lines=[{"name": "Book", "price_unit": 100.0}]))
        (goods,) = odoo.search(
            "account.move.line", [("move_id", "=", invoice), ("display_type", "=", "product")]
        )
        account = odoo.read("account.move.line", goods, "account_id")["account_id"]
        tax = {"move_id": invoice, "display_type": "tax", "account_id": account, "balance": -20.0}
        odoo.create("account.move.line", tax)
        month = odoo.read("account.move", invoice, "date")["date"][:7]
        with logged_in(odoo) as client:
            rows = read_income(client, 1).rows
    assert sums(rows) == {(month, "documents"): 100.0, (month, "taxes"): 20.0}


def test_books_without_revenue_are_an_empty_table(client: OdooClient):
    read = read_income(client, 1)
    assert read.rows.empty
    assert read.notes == ()


def test_other_companies_books_are_left_out(sandbox: SandboxOdoo):
    other = sandbox.add_company("Other", currency="EUR")
    customer = sandbox.add_partner(name="Ada Lovelace", email="ada@example.com")
    order = sandbox.add_order(customer, lines=[{"name": "Book", "price_unit": 40.0}], company_id=other)
    sandbox.invoice_order(order)
    with logged_in(sandbox, companies=(1, other)) as client:
        assert read_income(client, 1).rows.empty
        assert read_income(client, other).rows["amount"].tolist() == [40.0]
