"""Orders, lines and documents: amounts as Odoo fixed them, and what makes the tables incomplete."""

from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.odoo.accounting import read_document_lines, read_documents
from mc_pipeline.odoo.errors import OdooAccessError, OdooModelMissingError
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.reading import money
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in


def test_foreign_orders_are_converted_at_their_own_rate_and_rounded_to_the_company_currency(sandbox, client):
    customer = sandbox.add_partner(name="x")
    order = sandbox.add_order(customer, 200.0, currency="USD")
    sandbox.write("sale.order", order, {"currency_rate": 0.8})
    yen = sandbox.add_order(customer, 1001.0, currency="JPY")
    sandbox.write("sale.order", yen, {"currency_rate": 160.0})
    rows = read_orders(client, 1, "UTC").rows.set_index("order_id")
    assert rows.loc[order, ["currency", "company_currency", "currency_rate"]].tolist() == ["USD", "EUR", 0.8]
    assert rows.loc[order, "amount_untaxed_company"] == 250.0
    assert rows.loc[yen, "amount_untaxed_company"] == 6.26


def test_an_order_in_a_foreign_currency_without_a_rate_makes_the_table_incomplete(sandbox, client):
    customer = sandbox.add_partner(name="x")
    own, foreign = sandbox.add_order(customer, 10.0), sandbox.add_order(customer, 10.0, currency="USD")
    sandbox.write("sale.order", [own, foreign], {"currency_rate": 0.0})
    table = read_orders(client, 1, "UTC")
    rows = table.rows.set_index("order_id")
    assert rows["amount_untaxed_company"].to_dict() == {own: 10.0, foreign: 0.0}
    assert not table.complete
    assert "1 orders in a foreign currency have no rate" in table.incomplete_because


def test_orders_of_other_companies_and_quotations_are_left_out(sandbox):
    other = sandbox.add_company("Other", currency="USD")
    customer = sandbox.add_partner(name="x")
    wanted = [sandbox.add_order(customer, 1.0, state=state) for state in ("sale", "cancel")]
    for state in ("draft", "sent"):
        sandbox.add_order(customer, 1.0, state=state)
    theirs = sandbox.add_order(customer, 1.0, company_id=other)
    with logged_in(sandbox, companies=(1, other)) as client:
        assert read_orders(client, 1, "UTC").rows["order_id"].tolist() == wanted
        second = read_orders(client, other, "UTC").rows
        lines = read_order_lines(client, 1, [theirs, *wanted]).rows
    assert second["order_id"].tolist() == [theirs]
    assert second["company_currency"].tolist() == ["USD"]
    assert theirs not in set(lines["order_id"])


def test_a_user_of_own_documents_only_never_gives_a_complete_table(sandbox):
    sandbox.add_user("seller", "secret", groups=("sales_own",))
    sandbox.add_order(sandbox.add_partner(name="x"), 1.0)
    with logged_in(sandbox, "seller", "secret") as client:
        tables = [
            read_orders(client, 1, "UTC"),
            read_order_lines(client, 1),
            read_documents(client, 1),
            read_document_lines(client, 1),
        ]
    for table in tables:
        assert not table.complete
        assert "Sales / User: All Documents" in table.incomplete_because


def test_orders_that_may_not_be_read_are_an_error_with_the_right_to_give(sandbox):
    sandbox.add_user("bot", "secret")
    with logged_in(sandbox, "bot", "secret") as client, pytest.raises(OdooAccessError, match="All Documents"):
        read_orders(client, 1, "UTC")


def test_documents_that_may_not_be_read_are_an_error_with_the_right_to_give(sandbox):
    sandbox.add_user("bot", "secret")
    with (
        logged_in(sandbox, "bot", "secret") as client,
        pytest.raises(OdooAccessError, match="Invoicing / Auditor"),
    ):
        read_documents(client, 1)


def test_without_sales_the_module_to_install_is_named():
    with (
        SandboxOdoo((18, 0), modules={"account"}).serve() as sandbox,
        logged_in(sandbox) as client,
        pytest.raises(
            OdooModelMissingError, match=r"no model sale\.order: install its module sale_management"
        ),
    ):
        read_orders(client, 1, "UTC")


@pytest.mark.parametrize(
    ("modules", "expected"), [({"sale", "account", "delivery"}, True), ({"sale", "account"}, False)]
)
def test_a_delivery_line_is_one_only_where_the_module_says_so(modules, expected):
    with SandboxOdoo((18, 0), modules=modules).serve() as sandbox, logged_in(sandbox) as client:
        line = {"name": "Shipping", "product_uom_qty": 1, "price_unit": 5.0}
        if expected:
            line["is_delivery"] = True
        order = sandbox.add_order(sandbox.add_partner(name="x"), lines=[line])
        assert read_order_lines(client, 1, [order]).rows["is_delivery"].tolist() == [expected]


def test_no_orders_named_are_no_lines_and_no_request(sandbox, client):
    sandbox.add_order(sandbox.add_partner(name="x"), lines=[{"name": "a", "price_unit": 1.0}])
    before = len(sandbox.journal.requests)
    table = read_order_lines(client, 1, [])
    assert table.rows.empty
    assert table.rows["line_id"].dtype == "int64"
    read = [
        entry for entry in sandbox.journal.requests[before:] if '"read"' in str(entry.body).replace("'", '"')
    ]
    assert read == []


def test_a_line_of_a_document_posted_after_the_headers_were_read_waits_for_the_next_time(sandbox, client):
    order = sandbox.add_order(
        sandbox.add_partner(name="x"), lines=[{"name": "a", "product_uom_qty": 2, "price_unit": 10.0}]
    )
    documents = read_documents(client, 1)
    invoice = sandbox.invoice_order(order)
    assert invoice not in set(read_document_lines(client, 1, documents).rows["move_id"])
    rows = read_document_lines(client, 1).rows
    assert rows[rows["move_id"] == invoice]["price_subtotal"].tolist() == [20.0]


def test_drafts_count_for_nothing(sandbox, client):
    order = sandbox.add_order(
        sandbox.add_partner(name="x"), lines=[{"name": "a", "product_uom_qty": 2, "price_unit": 10.0}]
    )
    invoice = sandbox.invoice_order(order)
    draft = sandbox.credit_invoice(invoice, post=False)
    assert set(read_documents(client, 1).rows["move_id"]) == {invoice}
    assert set(read_document_lines(client, 1).rows["move_id"]) == {invoice}
    assert draft not in set(read_documents(client, 1).rows["reversed_entry_id"].dropna())


def test_empty_tables_have_the_types_of_full_ones(sandbox, client):
    def types() -> list[dict]:
        return [
            read(client).rows.dtypes.astype("str").to_dict()
            for read in (
                lambda c: read_orders(c, 1, "Europe/Vienna"),
                lambda c: read_order_lines(c, 1),
                lambda c: read_documents(c, 1),
                lambda c: read_document_lines(c, 1),
            )
        ]

    empty = types()
    order = sandbox.add_order(
        sandbox.add_partner(name="x"),
        date_order=datetime(2025, 1, 1, tzinfo=UTC),
        lines=[{"name": "a", "product_uom_qty": 2, "price_unit": 10.0}],
    )
    sandbox.credit_invoice(sandbox.invoice_order(order))
    assert types() == empty
    assert isinstance(read_orders(client, 1, "UTC").rows["date_order"].iloc[0], pd.Timestamp)


@pytest.mark.parametrize(
    ("amount", "places", "rounded"),
    [
        (2.675, 2, 2.68),
        (-2.675, 2, -2.68),
        (1.005, 2, 1.01),
        (0.1 + 0.2, 2, 0.3),
        (10.5, 0, 11.0),
        (False, 2, 0.0),
    ],
)
def test_money_is_rounded_half_up_at_the_currencys_places(amount, places, rounded):
    assert money(amount, places) == rounded


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_rounding_an_amount_with_float_noise_gives_the_amount(units, places):
    amount = units / 10**places
    assert money(amount * (1 + 1e-15), places) == pytest.approx(amount, abs=10.0 ** -(places + 2))
    assert money(money(amount, places), places) == money(amount, places)
