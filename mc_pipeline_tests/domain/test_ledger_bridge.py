"""From kept revenue to the general ledger: every kind of gap has its own column, and nothing else is left."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.reconciliation.ledger_bridge import STEPS, bridge_to_ledger, documents_without_order
from mc_pipeline.domain.revenue.kept import kept_by_order
from mc_pipeline_tests.domain.sale_rows import CREDIT, INVOICE, Row, document, line, sale, sale_tables

JUNE, JULY = pd.Timestamp("2024-06-20").date(), pd.Timestamp("2024-07-05").date()
SUMS = {name for name, words in STEPS.items() if words.startswith("=")}


def bridged(
    orders: Iterable[Row],
    lines: Iterable[Row],
    documents: Iterable[list[Row]],
    entries: Iterable[tuple[str, str, float]] = (),
) -> dict[str, dict[str, float]]:
    """The steps that are not 0, by month. The books hold what the documents' lines say, and the entries."""
    order_rows, line_rows, refunds = sale_tables(orders, lines, documents)
    kept = kept_by_order(order_rows, line_rows, refunds)
    order_rows = order_rows.assign(**{name: kept[name] for name in kept.columns if name in order_rows})
    booked = refunds[refunds["is_income"].eq(True)]
    months = pd.to_datetime(booked["date"]).dt.strftime("%Y-%m")
    of_documents = booked.groupby(months)["booked_untaxed_company"].sum()
    ledger = [(month, "documents", amount) for month, amount in of_documents.items()] + list(entries)
    table = pd.DataFrame(ledger, columns=["month", "kind", "amount"]).astype({"amount": "float64"})
    found = bridge_to_ledger(order_rows, line_rows, refunds, table, 2)
    steps = found[[name for name in STEPS if name not in SUMS]].sum(axis=1).round(2)
    assert steps.tolist() == found["books"].tolist()
    rows = found.set_index("month").to_dict("index")
    return {
        month: {str(name): amount for name, amount in row.items() if amount} for month, row in rows.items()
    }


def one_order(**values: Any) -> tuple[list[Row], list[Row]]:
    line_rows = [line(11, 1, 100.0)]
    return [sale(1, *line_rows, **values)], line_rows


def test_an_order_invoiced_in_its_own_month_is_the_same_in_the_books():
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE)
    assert bridged(*one_order(), [invoice]) == {
        "2024-06": {"kept": 100.0, "invoiced_of_orders": 100.0, "invoiced": 100.0, "books": 100.0}
    }


def test_taxes_that_are_booked_on_income_accounts_are_a_step_of_their_own():
    invoice = document(1, INVOICE, ([11], 100.0, 20.0), date=JUNE)
    assert bridged(*one_order(), [invoice], [("2024-06", "taxes", 20.0)]) == {
        "2024-06": {
            "kept": 100.0,
            "invoiced_of_orders": 100.0,
            "taxes": 20.0,
            "invoiced": 120.0,
            "books": 120.0,
        }
    }


def test_what_is_confirmed_and_not_invoiced_is_not_in_the_books():
    assert bridged(*one_order(), []) == {"2024-06": {"kept": 100.0, "not_yet_invoiced": -100.0}}


def test_an_invoice_of_the_next_month_shifts_between_months():
    found = bridged(*one_order(), [document(1, INVOICE, ([11], 100.0, 0.0), date=JULY)])
    assert found == {
        "2024-06": {"kept": 100.0, "invoiced_of_orders": 100.0, "booked_in_other_months": -100.0},
        "2024-07": {"of_other_months": 100.0, "invoiced": 100.0, "books": 100.0},
    }


def test_a_credit_note_of_the_next_month_lowers_the_orders_month_and_the_books_of_its_own():
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE)
    note = document(2, CREDIT, ([11], 40.0, 0.0), date=JULY, reversed_entry_id=1)
    found = bridged(*one_order(), [invoice, note])
    assert found["2024-06"]["kept"] == 60.0
    assert found["2024-06"]["booked_in_other_months"] == 40.0
    assert found["2024-06"]["books"] == 100.0
    assert found["2024-07"] == {"of_other_months": -40.0, "invoiced": -40.0, "books": -40.0}


def test_an_order_cancelled_after_its_invoice_is_invoiced_and_not_kept():
    found = bridged(*one_order(state="cancel"), [document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE)])
    assert found["2024-06"]["invoiced_not_kept"] == 100.0
    assert "kept" not in found["2024-06"]


def test_documents_in_a_foreign_currency_have_a_rate_of_their_own():
    orders, lines = one_order(currency="USD", currency_rate=0.8, amount_untaxed_company=125.0)
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE, currency="USD", amount_total_company=110.0)
    found = bridged(orders, lines, [invoice])
    assert found["2024-06"]["kept"] == 125.0
    assert found["2024-06"]["currency_differences"] == -15.0
    assert found["2024-06"]["books"] == 110.0


def test_down_payments_stand_in_the_month_of_their_invoice_and_are_taken_off_the_final_one():
    lines = [line(11, 1, 100.0), line(12, 1, 0.0, is_downpayment=True)]
    advance = document(1, INVOICE, ([12], 30.0, 0.0), date=JUNE)
    final = document(2, INVOICE, ([11], 100.0, 0.0), ([12], -30.0, 0.0), date=JULY)
    found = bridged([sale(1, *lines)], lines, [advance, final])
    assert found["2024-06"]["down_payments"] == 30.0
    assert found["2024-07"]["down_payments"] == -30.0
    assert found["2024-07"]["books"] == 70.0


def test_documents_without_an_order_are_listed_with_the_reason():
    loose_invoice = document(1, INVOICE, ([], 70.0, 0.0), date=JUNE)
    loose_note = document(2, CREDIT, ([], 20.0, 0.0), date=JUNE)
    found = bridged(*one_order(), [loose_invoice, loose_note])
    assert found["2024-06"]["invoices_without_order"] == 70.0
    assert found["2024-06"]["credit_notes_without_order"] == -20.0
    orders, lines, refunds = sale_tables(*one_order(), [loose_invoice, loose_note])
    listed = documents_without_order(orders, lines, refunds, 2)
    assert listed[["move_id", "amount"]].values.tolist() == [[2, -20.0], [1, 70.0]]
    assert "names no invoice" in listed["because"].iloc[0]


def test_a_note_that_credits_two_orders_at_once_counts_to_none_of_them():
    lines = [line(11, 1, 100.0), line(21, 2, 50.0)]
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), ([21], 50.0, 0.0), date=JUNE)
    note = document(2, CREDIT, ([], 20.0, 0.0), date=JUNE, reversed_entry_id=1)
    found = bridged([sale(1, lines[0]), sale(2, lines[1])], lines, [invoice, note])
    assert found["2024-06"]["credit_notes_without_order"] == -20.0
    assert found["2024-06"]["books"] == 130.0


@pytest.mark.parametrize(("on_income", "rest"), [(True, {}), (False, {"not_on_income_accounts": -0.02})])
def test_cash_rounding_is_its_own_step_wherever_it_is_booked(on_income: bool, rest: dict[str, float]):
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE, cash_rounding_untaxed=0.02)
    invoice[-1]["is_income"] = on_income
    found = bridged(*one_order(), [invoice])["2024-06"]
    assert found["cash_rounding"] == 0.02
    assert {name: found[name] for name in found if name == "not_on_income_accounts"} == rest
    assert found["books"] == (100.02 if on_income else 100.0)


def test_goods_booked_elsewhere_than_on_income_are_not_in_the_books():
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE)
    invoice[0]["is_income"] = False
    found = bridged(*one_order(), [invoice])["2024-06"]
    assert found["not_on_income_accounts"] == -100.0
    assert "books" not in found


def test_entries_without_a_document_are_reported_by_where_they_come_from():
    entries = [("2024-06", "point_of_sale", 300.0), ("2024-08", "other_entries", -5.0)]
    found = bridged(*one_order(), [], entries)
    assert found["2024-06"]["point_of_sale"] == 300.0
    assert found["2024-08"] == {"other_entries": -5.0, "books": -5.0}


def test_what_the_books_hold_beyond_every_step_is_said_to_be_not_explained():
    invoice = document(1, INVOICE, ([11], 100.0, 0.0), date=JUNE)
    found = bridged(*one_order(), [invoice], [("2024-06", "documents", 7.0)])
    assert found["2024-06"]["not_explained"] == 7.0
    assert found["2024-06"]["books"] == 107.0
