"""Closings of tills: an entry until Odoo 19, an invoice and a credit note from 20 on; no sales of orders."""

from collections.abc import Iterator

import pandas as pd
import pytest

from mc_pipeline.domain.reconciliation.ledger_bridge import bridge_to_ledger
from mc_pipeline.domain.revenue.documents import match_credits, unmatched_credits
from mc_pipeline.domain.revenue.kept import kept_by_order
from mc_pipeline.odoo.changes import Reading
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.income import read_income
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.refunds import read_refunds
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.server import DEFAULT_MODULES
from mc_pipeline_tests.odoo.conftest import logged_in

WITH_TILLS = DEFAULT_MODULES | {"point_of_sale"}


@pytest.fixture(params=[(17, 0), (18, 0), (19, 0), (19, 4), (20, 0)], ids=str)
def shop(request) -> Iterator[SandboxOdoo]:
    with SandboxOdoo(request.param, modules=WITH_TILLS).serve() as odoo:
        yield odoo


@pytest.fixture
def twenty() -> Iterator[SandboxOdoo]:
    with SandboxOdoo((20, 0), modules=WITH_TILLS).serve() as odoo:
        yield odoo


def invoiced_order(odoo: SandboxOdoo, amount: float = 100.0) -> tuple[int, int]:
    customer = odoo.add_partner(name="Ada Lovelace", email="ada@example.com")
    order = odoo.add_order(customer, lines=[{"name": "Book", "price_unit": amount}])
    return order, odoo.invoice_order(order)


def document(odoo: SandboxOdoo, move_type: str, amount: float, *ties: int, **values: object) -> int:
    """Post an invoice or credit note of one line."""
    line = {"name": "x", "price_unit": amount, "sale_line_ids": [(6, 0, list(ties))]}
    move = odoo.create("account.move", {"move_type": move_type, "invoice_line_ids": [(0, 0, line)], **values})
    with logged_in(odoo) as client:
        client.execute("account.move", "action_post", [move])
    return move


def books(client: OdooClient) -> dict[str, dict[str, float]]:
    """The steps from kept revenue to the books that are not 0, by month."""
    orders, lines = read_orders(client, 1, "UTC").rows, read_order_lines(client, 1).rows
    refunds = match_credits(read_refunds(client, 1).rows, lines)
    kept = kept_by_order(orders, lines, refunds)
    orders = orders.assign(**{name: kept[name] for name in kept.columns})
    found = bridge_to_ledger(orders, lines, refunds, read_income(client, 1).rows, 2)
    rows = found.set_index("month").to_dict("index")
    return {
        str(month): {str(name): amount for name, amount in row.items() if amount}
        for month, row in rows.items()
    }


def month_of(odoo: SandboxOdoo, move: int) -> str:
    return str(odoo.read("account.move", move, "date")["date"])[:7]


def test_a_month_of_closings_is_the_same_in_every_version(shop):
    """Case V6: 20 closings, each with a refund."""
    _, invoice = invoiced_order(shop)
    month = month_of(shop, invoice)
    till = shop.add_till("Shop")
    for day in range(1, 21):
        shop.close_till(till, 1000.0, 50.0, date=f"{month}-{day:02}")
    with logged_in(shop) as client:
        refunds = read_refunds(client, 1)
        matched = match_credits(refunds.rows, read_order_lines(client, 1).rows)
        assert refunds.rows["move_id"].tolist() == [invoice]
        assert refunds.notes == ()
        assert unmatched_credits(matched).empty
        assert books(client) == {
            month: {
                "kept": 100.0,
                "invoiced_of_orders": 100.0,
                "invoiced": 100.0,
                "point_of_sale": 19_000.0,
                "books": 19_100.0,
            }
        }


def test_an_invoice_made_in_a_till_counts_to_its_order_and_one_without_an_order_stays_an_invoice(twenty):
    customer = twenty.add_partner(name="Ada Lovelace", email="ada@example.com")
    order = twenty.add_order(customer, lines=[{"name": "Book", "price_unit": 100.0}])
    (line,) = twenty.search("sale.order.line", [("order_id", "=", order)])
    till = twenty.add_till("Shop")
    invoices = twenty.read("pos.config", till, "journal_id")["journal_id"]
    of_order = document(twenty, "out_invoice", 100.0, line, partner_id=customer, journal_id=invoices)
    without = document(twenty, "out_invoice", 30.0, partner_id=customer, journal_id=invoices)
    with logged_in(twenty) as client:
        assert set(read_refunds(client, 1).rows["move_id"]) == {of_order, without}
        (found,) = books(client).values()
    assert found["kept"] == found["invoiced_of_orders"] == 100.0
    assert found["invoices_without_order"] == 30.0
    assert "point_of_sale" not in found


def test_in_a_closing_journal_too_a_document_of_an_order_counts_to_it_and_so_does_its_credit_note(twenty):
    """Somebody chose the journal of other invoices for closings: nothing refunded may stay kept."""
    _, invoice = invoiced_order(twenty)
    till = twenty.add_till("Shop")
    closings = twenty.read("pos.config", till, "closing_journal_id")["closing_journal_id"]
    twenty.model("account.move").table.update(invoice, {"journal_id": closings})
    note = document(twenty, "out_refund", 40.0, journal_id=closings, reversed_entry_id=invoice)
    twenty.close_till(till, 1000.0)
    with logged_in(twenty) as client:
        lines = read_order_lines(client, 1).rows
        matched = match_credits(read_refunds(client, 1).rows, lines)
        kept = kept_by_order(read_orders(client, 1, "UTC").rows, lines, matched)
        (found,) = books(client).values()
    assert set(matched["move_id"]) == {invoice, note}
    assert kept["kept_untaxed"].tolist() == [60.0]
    assert found["point_of_sale"] == 1000.0


def test_a_journal_of_invoices_and_closings_is_told_apart_by_the_marks_of_the_documents(twenty):
    till = twenty.add_till("Shop")
    closings = twenty.read("pos.config", till, "closing_journal_id")["closing_journal_id"]
    twenty.write("pos.config", till, {"journal_id": closings})
    ordinary = document(twenty, "out_refund", 25.0, journal_id=closings)
    twenty.close_till(till, 1000.0, 50.0)
    with logged_in(twenty) as client:
        lines = read_order_lines(client, 1).rows
        unmatched = unmatched_credits(match_credits(read_refunds(client, 1).rows, lines))
    assert unmatched["move_id"].tolist() == [ordinary]


def test_a_correction_after_an_invoice_of_a_closed_session_is_of_the_till(twenty):
    till = twenty.add_till("Shop")
    (closing,) = twenty.close_till(till, 1000.0)
    session = twenty.read("account.move", closing, "pos_session_sales_id")["pos_session_sales_id"]
    document(twenty, "out_refund", 120.0, reversed_entry_id=closing, pos_session_correction_id=session)
    with logged_in(twenty) as client:
        assert read_refunds(client, 1).rows.empty
        (found,) = books(client).values()
    assert found == {"point_of_sale": 880.0, "books": 880.0}


@pytest.mark.parametrize("shop", [(18, 0), (19, 0), (19, 4)], indirect=True, ids=str)
def test_entries_of_closings_from_before_an_upgrade_stay_the_tills(shop):
    till = shop.add_till("Shop")
    shop.close_till(till, 500.0, date="2026-03-01")
    journal = shop.read("pos.config", till, "journal_id")["journal_id"]
    shop.upgrade((20, 0))
    shop.model("pos.config").table.update(till, {"closing_journal_id": journal})
    shop.close_till(till, 300.0, date="2026-04-01")
    with logged_in(shop) as client:
        found = books(client)
    assert {month: row["point_of_sale"] for month, row in found.items()} == {
        "2026-03": 500.0,
        "2026-04": 300.0,
    }


def test_somebody_who_may_not_see_the_tills_still_knows_marked_closings_and_is_told(twenty):
    uid = twenty.add_user("bot", "secret", groups=("sales_all", "accounting"))
    twenty.deny(uid, "pos.config")
    twenty.close_till(twenty.add_till("Shop"), 1000.0, 50.0)
    with logged_in(twenty, "bot", "secret") as client:
        refunds, income = read_refunds(client, 1), read_income(client, 1)
    assert refunds.rows.empty
    assert income.rows["kind"].tolist() == ["point_of_sale"]
    for read in (refunds, income):
        assert "may not see the point of sale" in read.notes[0]


def test_closings_are_left_out_of_incremental_reads_too(twenty):
    _, invoice = invoiced_order(twenty)
    twenty.close_till(twenty.add_till("Shop"), 1000.0)
    with logged_in(twenty) as client:
        first = Reading(source="x")
        before = read_refunds(client, 1, reading=first)
        again = Reading(first.snapshots.get, source="x")
        pd.testing.assert_frame_equal(read_refunds(client, 1, reading=again).rows, before.rows)
    assert before.rows["move_id"].tolist() == [invoice]
