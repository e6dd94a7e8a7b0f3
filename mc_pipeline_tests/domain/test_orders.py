"""What is kept of an order after invoices, credit notes and edits (rules 8.1, 8.2, 8.4)."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.errors import RuleError
from mc_pipeline.domain.revenue.documents import lines_of_credited_orders, unmatched_credits
from mc_pipeline.domain.revenue.due import invoiced_orders
from mc_pipeline.domain.revenue.kept import kept_by_line, kept_by_order
from mc_pipeline_tests.domain.sale_rows import (
    CREDIT,
    INVOICE,
    Row,
    document,
    line,
    order_lines_table,
    refunds_table,
    sale,
    sale_tables,
)


def kept(orders: list[Row], lines: list[Row], *documents: list[Row]) -> dict[str, Any]:
    """What is kept of the first order."""
    return kept_by_order(*sale_tables(orders, lines, documents)).iloc[0].to_dict()


def amounts(result: dict[str, Any]) -> tuple[float, float, float]:
    return result["kept_untaxed"], result["kept_tax"], result["kept_total"]


def unmatched(lines: list[Row], *documents: list[Row]) -> list[tuple[int, float, float, str]]:
    """What of the credit notes counts to no order: note, untaxed, tax, reason."""
    listed = unmatched_credits(refunds_table(documents, order_lines_table(lines)))
    return list(listed[["move_id", "untaxed", "tax", "because"]].itertuples(index=False, name=None))


BOOKS = line(11, 1, 100.0, 20.0)
SHIPPING = line(12, 1, 10.0, 2.0, is_delivery=True)
DISCOUNT = line(13, 1, -30.0, -6.0)
ADVANCE = line(19, 1, 0.0, 0.0, is_downpayment=True)


def test_8_1_an_order_without_credit_notes_is_kept_as_it_is_now():
    lines = [BOOKS, SHIPPING]
    assert amounts(kept([sale(1, *lines)], lines)) == (110.0, 22.0, 132.0)
    invoice = document(1, INVOICE, ([11], 100.0, 20.0))
    result = kept([sale(1, *lines)], lines, invoice)
    assert amounts(result) == (110.0, 22.0, 132.0)
    assert (result["kept_shipping_untaxed"], result["kept_shipping_tax"]) == (10.0, 2.0)
    assert not result["below_zero"]


@pytest.mark.parametrize(
    ("ordered", "invoiced", "credited", "left"),
    [
        pytest.param(100, 100, 30, 70, id="a credit note is taken off"),
        pytest.param(100, 100, 100, 0, id="credited in full"),
        pytest.param(100, 0, 30, 70, id="credited without an invoice of the line"),
        pytest.param(75, 100, 25, 75, id="the credit note only follows the lowered order"),
        pytest.param(75, 100, 40, 60, id="what goes beyond that is taken off"),
        pytest.param(100, 200, 100, 100, id="invoiced anew after a full credit note"),
        pytest.param(0, 100, 100, 0, id="taken off the order and credited"),
        pytest.param(100, 100, 130, -30, id="more was given back than was ordered"),
        pytest.param(-30, -30, -30, 0, id="a discount line credited with the rest"),
        pytest.param(-30, -30, -10, -20, id="a discount line credited in part"),
        pytest.param(-20, -30, -10, -20, id="a lowered discount line"),
    ],
)
def test_8_1_kept_is_ordered_less_what_was_credited_beyond_a_correction(ordered, invoiced, credited, left):
    only = line(11, 1, ordered, ordered / 5)
    documents = [
        document(1, INVOICE, ([11], invoiced, invoiced / 5)),
        document(2, CREDIT, ([11], credited, credited / 5), reversed_entry_id=1),
    ]
    assert amounts(kept([sale(1, only)], [only], *documents)) == (left, left / 5, left * 6 / 5)


def test_8_1_each_line_is_weighed_by_itself():
    """The books were over-invoiced; that excuses no credit on the shipping."""
    lines = [BOOKS, SHIPPING]
    result = kept(
        [sale(1, *lines)],
        lines,
        document(1, INVOICE, ([11], 150.0, 30.0), ([12], 10.0, 2.0)),
        document(2, CREDIT, ([12], 10.0, 2.0), reversed_entry_id=1),
    )
    assert amounts(result) == (100.0, 20.0, 120.0)
    assert result["kept_shipping_untaxed"] == 0.0


def test_8_1_below_zero_is_shown_not_floored():
    result = kept([sale(1, BOOKS)], [BOOKS], document(2, CREDIT, ([11], 130.0, 26.0)))
    assert amounts(result) == (-30.0, -6.0, -36.0)
    assert result["below_zero"]


@pytest.mark.parametrize("state", ["draft", "cancel"])
def test_8_2_a_credit_note_counts_when_it_is_posted(state):
    invoice = document(1, INVOICE, ([11], 100.0, 20.0))
    note = document(2, CREDIT, ([11], 100.0, 20.0), reversed_entry_id=1, state=state)
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], invoice, note)) == (100.0, 20.0, 120.0)
    assert unmatched([BOOKS], document(3, CREDIT, ([], 5.0, 1.0), state=state)) == []


def test_8_1_a_cancelled_order_keeps_nothing_whatever_its_invoices_say():
    cancelled = sale(1, BOOKS, state="cancel")
    assert amounts(kept([cancelled], [BOOKS])) == (0.0, 0.0, 0.0)
    invoice = document(1, INVOICE, ([11], 100.0, 20.0))
    note = document(2, CREDIT, ([11], 40.0, 8.0), reversed_entry_id=1)
    result = kept([cancelled], [BOOKS], invoice, note)
    assert amounts(result) == (0.0, 0.0, 0.0)
    assert result["kept_untaxed_company"] == 0.0
    assert not result["below_zero"]


def test_8_1_down_payments_are_payment_for_the_same_goods():
    lines = [BOOKS, ADVANCE]
    advance = document(1, INVOICE, ([19], 30.0, 6.0))
    final = document(2, INVOICE, ([11], 100.0, 20.0), ([19], -30.0, -6.0))
    assert amounts(kept([sale(1, *lines)], lines, advance, final)) == (100.0, 20.0, 120.0)
    given_back = document(3, CREDIT, ([19], 30.0, 6.0), reversed_entry_id=1)
    assert amounts(kept([sale(1, *lines)], lines, advance, given_back)) == (100.0, 20.0, 120.0)
    typed = document(3, CREDIT, ([], 30.0, 6.0), reversed_entry_id=1)
    assert amounts(kept([sale(1, *lines)], lines, advance, typed)) == (100.0, 20.0, 120.0)
    assert unmatched(lines, advance, typed) == []


def test_8_1_sections_and_notes_of_an_order_are_no_money():
    section = line(14, 1, 0.0, display_type="line_section")
    lines = kept_by_line(*sale_tables([sale(1, BOOKS)], [BOOKS, section], []))
    assert lines["line_id"].tolist() == [11]


@pytest.mark.parametrize("rounding", ["cash_rounding_untaxed", "cash_rounding_tax"])
def test_8_1_cash_rounding_is_no_revenue(rounding):
    invoice = document(1, INVOICE, ([11], 100.0, 20.0), **{rounding: 0.03})
    note = document(2, CREDIT, ([11], 100.0, 20.0), reversed_entry_id=1, **{rounding: 0.03})
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], invoice)) == (100.0, 20.0, 120.0)
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], invoice, note)) == (0.0, 0.0, 0.0)


def test_8_1_cents_between_a_header_and_its_lines_follow_the_header():
    """Three lines of 0.333 under global rounding: the header says 1.00 + 0.20, the lines 0.99 + 0.21."""
    lines = [line(number, 1, 0.33, 0.07) for number in (11, 12, 13)]
    header = {"amount_untaxed": 1.0, "amount_tax": 0.2, "amount_total": 1.2}
    order = sale(1, *lines, **header, amount_untaxed_company=1.0)
    assert amounts(kept([order], lines)) == (1.0, 0.2, 1.2)
    held = [([number], 0.33, 0.07) for number in (11, 12, 13)]
    invoice = document(1, INVOICE, *held, **header)
    note = document(2, CREDIT, *held, **header, reversed_entry_id=1)
    assert amounts(kept([order], lines, invoice)) == (1.0, 0.2, 1.2)
    assert amounts(kept([order], lines, invoice, note)) == (0.0, 0.0, 0.0)


def test_8_1_three_credit_notes_may_give_back_a_cent_more_tax_than_the_order_had():
    lines = [line(number, 1, 1.03, 0.21) for number in (11, 12, 13)]
    header = {"amount_untaxed": 3.09, "amount_tax": 0.62, "amount_total": 3.71}
    invoice = document(1, INVOICE, *[([number], 1.03, 0.21) for number in (11, 12, 13)], **header)
    notes = [document(n, CREDIT, ([n], 1.03, 0.21), reversed_entry_id=1) for n in (11, 12, 13)]
    result = kept([sale(1, *lines, **header)], lines, invoice, *notes)
    assert amounts(result) == (0.0, -0.01, -0.01)
    assert result["below_zero"]


# Rule 8.2: which order a credit line counts to.

OTHER = line(21, 2, 50.0, 10.0)
OF_ONE = document(1, INVOICE, ([11], 100.0, 20.0))
OF_BOTH = document(1, INVOICE, ([11], 100.0, 20.0), ([21], 50.0, 10.0))
OF_NONE = document(1, INVOICE, ([], 100.0, 20.0))


def test_8_2_a_typed_credit_line_counts_to_the_one_order_of_the_credited_invoice():
    typed = document(2, CREDIT, ([], 30.0, 6.0), reversed_entry_id=1)
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], OF_ONE, typed)) == (70.0, 14.0, 84.0)
    assert unmatched([BOOKS], OF_ONE, typed) == []


def test_8_2_a_tied_credit_line_needs_no_invoice():
    tied = document(2, CREDIT, ([11], 30.0, 6.0))
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], OF_ONE, tied)) == (70.0, 14.0, 84.0)


def test_8_2_goodwill_beside_a_full_reversal_goes_below_zero():
    note = document(2, CREDIT, ([11], 100.0, 20.0), ([], 25.0, 5.0), reversed_entry_id=1)
    result = kept([sale(1, BOOKS)], [BOOKS], OF_ONE, note)
    assert amounts(result) == (-25.0, -5.0, -30.0)
    assert result["below_zero"]


@pytest.mark.parametrize(
    ("documents", "because"),
    [
        ([OF_BOTH, document(2, CREDIT, ([], 20.0, 4.0), reversed_entry_id=1)], "several_orders"),
        ([OF_BOTH, document(2, CREDIT, ([11, 21], 20.0, 4.0), reversed_entry_id=1)], "several_orders"),
        ([OF_ONE, document(2, CREDIT, ([], 20.0, 4.0))], "names_no_invoice"),
        ([document(2, CREDIT, ([], 20.0, 4.0), reversed_entry_id=1)], "invoice_not_posted"),
        ([OF_ONE, document(2, CREDIT, ([99], 20.0, 4.0), reversed_entry_id=1)], "unknown_order"),
        (
            [
                document(1, INVOICE, ([99], 100.0, 20.0)),
                document(2, CREDIT, ([], 20.0, 4.0), reversed_entry_id=1),
            ],
            "unknown_order",
        ),
    ],
)
def test_8_2_what_belongs_to_no_single_order_is_listed_never_guessed(documents, because):
    lines = [BOOKS, OTHER]
    assert unmatched(lines, *documents) == [(2, 20.0, 4.0, because)]
    orders = [sale(1, BOOKS), sale(2, OTHER)]
    result = kept_by_order(*sale_tables(orders, lines, documents))
    assert result["kept_untaxed"].tolist() == [100.0, 50.0]
    assert result["kept_tax"].tolist() == [20.0, 10.0]


def test_8_2_an_invoice_that_also_bills_an_unread_order_is_not_of_one_order_alone():
    invoice = document(1, INVOICE, ([11], 100.0, 20.0), ([99], 5.0, 1.0))
    typed = document(2, CREDIT, ([], 20.0, 4.0), reversed_entry_id=1)
    assert unmatched([BOOKS], invoice, typed) == [(2, 20.0, 4.0, "several_orders")]


def test_8_2_a_credit_note_of_an_invoice_without_any_order_concerns_no_order():
    typed = document(2, CREDIT, ([], 20.0, 4.0), reversed_entry_id=1)
    table = refunds_table([OF_NONE, typed], order_lines_table([BOOKS]))
    assert table["unmatched_because"].tolist() == ["", "invoice_without_order"]
    assert unmatched([BOOKS], OF_NONE, typed) == []
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], OF_NONE, typed)) == (100.0, 20.0, 120.0)


def test_8_2_unmatched_lines_of_one_credit_note_are_listed_as_one_sum():
    note = document(2, CREDIT, ([], 0.1, 0.0), ([], 0.2, 0.0), ([11], 30.0, 6.0), ([], 0.0, 0.0))
    assert unmatched([BOOKS], OF_ONE, note) == [(2, 0.3, 0.0, "names_no_invoice")]


def test_8_1_a_line_typed_on_the_invoice_and_credited_with_it_takes_nothing_off_the_order():
    """The order never had it: the credit note brings the invoice back to what the order says."""
    invoice = document(1, INVOICE, ([11], 100.0, 20.0), ([], 15.0, 3.0))
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], invoice)) == (100.0, 20.0, 120.0)
    reversal = document(2, CREDIT, ([11], 100.0, 20.0), ([], 15.0, 3.0), reversed_entry_id=1)
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], invoice, reversal)) == (0.0, 0.0, 0.0)


def test_8_1_a_credit_note_that_was_reversed_takes_nothing_off():
    typed = document(2, CREDIT, ([], 30.0, 6.0), reversed_entry_id=1)
    back = document(3, INVOICE, ([], 30.0, 6.0), reversed_entry_id=2)
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], OF_ONE, typed, back)) == (100.0, 20.0, 120.0)


def test_8_1_one_document_line_for_several_order_lines_is_weighed_against_them_together():
    lines = [BOOKS, line(12, 1, 50.0, 10.0), SHIPPING | {"line_id": 14}]
    orders = [sale(1, *lines)]
    invoice = document(1, INVOICE, ([11, 12], 150.0, 30.0), ([14], 10.0, 2.0))
    note = document(2, CREDIT, ([11, 12], 150.0, 30.0), reversed_entry_id=1)
    result = kept(orders, lines, invoice, note)
    assert amounts(result) == (10.0, 2.0, 12.0)
    assert result["kept_shipping_untaxed"] == 10.0


# Rule 8.4: currencies.


def test_8_4_company_currency_is_at_the_orders_own_rate():
    """0.8 euros a dollar when ordered, 0.9 when credited: the order's rate counts for both."""
    order = sale(
        1, line(11, 1, 240.0, 48.0), company_currency="USD", currency_rate=0.8, amount_untaxed_company=300.0
    )
    invoice = document(1, INVOICE, ([11], 240.0, 48.0), amount_total_company=360.0)
    note = document(2, CREDIT, ([11], 80.0, 16.0), reversed_entry_id=1, amount_total_company=106.67)
    result = kept([order], [line(11, 1, 240.0, 48.0)], invoice, note)
    assert (result["kept_untaxed"], result["kept_untaxed_company"]) == (160.0, 200.0)


def test_8_4_a_credit_note_in_another_currency_counts_at_the_rate_of_the_books():
    """88 dollars are 80 euros in the books of a company that keeps them in euros."""
    note = document(
        2, CREDIT, ([11], 55.0, 33.0), reversed_entry_id=1, currency="USD", amount_total_company=80.0
    )
    result = kept([sale(1, BOOKS)], [BOOKS], OF_ONE, note)
    assert amounts(result) == (50.0, -10.0, 40.0)


@pytest.mark.parametrize(("decimals", "left"), [(0, 100.0), (2, 99.9), (3, 99.9)])
def test_8_4_amounts_have_the_decimal_places_of_their_currency(decimals, left):
    noisy = line(11, 1, 100.00000000000001, 2.4000000000000004)
    order = sale(1, noisy, amount_untaxed=100.0, decimal_places=decimals)
    result = kept([order], [noisy], document(2, CREDIT, ([11], 0.10000000000000142, 0.0)))
    assert result["kept_untaxed"] == left


def test_8_4_an_order_that_kept_all_is_worth_what_odoo_says_in_company_currency():
    """Odoo rounds its own conversion; a cent of difference would look like a credit note."""
    order = sale(1, BOOKS, currency="USD", currency_rate=1.1, amount_untaxed_company=90.92)
    assert kept([order], [BOOKS])["kept_untaxed_company"] == 90.92


def test_8_4_an_order_without_a_rate_is_worth_nothing_in_company_currency():
    order = sale(1, BOOKS, currency="USD", currency_rate=0.0, amount_untaxed_company=0.0)
    assert kept([order], [BOOKS])["kept_untaxed_company"] == 0.0


# The tables as a whole.


def test_an_order_whose_lines_were_not_read_keeps_what_its_header_says():
    result = kept_by_order(*sale_tables([sale(1, BOOKS), sale(2, OTHER)], [BOOKS], [OF_BOTH]))
    assert result["kept_untaxed"].tolist() == [100.0, 50.0]
    assert result["kept_untaxed_company"].tolist() == [100.0, 50.0]


def test_the_lines_to_read_are_those_of_credit_notes_and_of_what_they_reverse():
    documents = [
        document(1, INVOICE, ([11, 12], 100.0, 20.0)),
        document(2, CREDIT, ([], 10.0, 2.0), reversed_entry_id=1),
        document(3, CREDIT, ([21], 10.0, 2.0)),
        document(4, INVOICE, ([31], 10.0, 2.0)),
    ]
    table = refunds_table(documents, order_lines_table([]))
    assert lines_of_credited_orders(table) == [11, 12, 21]


def test_nothing_comes_of_nothing():
    result = kept_by_order(*sale_tables([], [], []))
    assert result.empty
    assert "kept_untaxed_company" in result.columns
    assert kept_by_line(*sale_tables([], [], [])).empty
    assert unmatched([]) == []


def test_a_document_without_goods_gives_nothing_back():
    empty = document(2, CREDIT, reversed_entry_id=1)
    assert amounts(kept([sale(1, BOOKS)], [BOOKS], OF_ONE, empty)) == (100.0, 20.0, 120.0)
    assert unmatched([BOOKS], OF_ONE, empty) == []


@pytest.mark.parametrize("twice", ["order_id", "line_id"])
def test_a_row_that_is_there_twice_is_refused(twice):
    orders, lines, refunds = sale_tables([sale(1, BOOKS)], [BOOKS], [OF_ONE])
    if twice == "order_id":
        orders = pd.concat([orders, orders], ignore_index=True)
    else:
        lines = pd.concat([lines, lines], ignore_index=True)
    with pytest.raises(RuleError, match=f"{twice} 1"):
        kept_by_order(orders, lines, refunds)


# Whatever the documents are.

FEW = settings(max_examples=15)  # each builds and weighs whole tables

CENTS = st.integers(-20_000, 20_000).map(lambda cents: cents / 100)


@st.composite
def sales(draw: st.DrawFn) -> tuple[list[Row], list[Row], list[list[Row]]]:
    """A few orders with lines, and documents of any kind that bill, credit and reverse them."""
    orders, lines = [], []
    for order_id in range(1, draw(st.integers(1, 3)) + 1):
        own = [
            line(order_id * 10 + number, order_id, draw(CENTS), draw(CENTS), is_delivery=draw(st.booleans()))
            for number in range(draw(st.integers(0, 3)))
        ]
        if draw(st.booleans()):
            own.append(line(order_id * 10 + 9, order_id, 0.0, 0.0, is_downpayment=True))
        lines += own
        orders.append(sale(order_id, *own, state=draw(st.sampled_from(["sale", "sale", "cancel"]))))
    ties = st.lists(st.sampled_from([each["line_id"] for each in lines] + [99]), max_size=2, unique=True)
    documents = []
    for move_id in range(1, draw(st.integers(0, 5)) + 1):
        held = draw(st.lists(st.tuples(ties, CENTS, CENTS), max_size=3))
        reverses = draw(st.none() | st.integers(1, 6).filter(lambda other, own=move_id: other != own))
        documents.append(
            document(
                move_id,
                draw(st.sampled_from([INVOICE, CREDIT])),
                *held,
                reversed_entry_id=reverses,
                state=draw(st.sampled_from(["posted", "posted", "draft", "cancel"])),
            )
        )
    _turn_quantities(lines, documents)
    return orders, lines, documents


def _turn_quantities(lines: list[Row], documents: list[list[Row]]) -> None:
    """Give a line a quantity below zero where it takes back what its order lines say, as Odoo does."""
    said = {each["line_id"]: (each["price_subtotal"], each["price_tax"]) for each in lines}
    for row in (row for rows in documents for row in rows if row["line_id"] is not None):
        held = row["price_subtotal"], row["price_total"] - row["price_subtotal"]
        ordered = [said.get(line_id, (0.0, 0.0)) for line_id in row["sale_line_ids"]]
        if any(mine * theirs < 0 for each in ordered for mine, theirs in zip(held, each, strict=True)):
            row["quantity"] = -1.0


@FEW
@given(sales())
def test_every_order_has_amounts_and_a_cancelled_one_keeps_nothing(world):
    orders, lines, refunds = sale_tables(*world)
    result = kept_by_order(orders, lines, refunds)
    assert result["order_id"].tolist() == orders["order_id"].tolist()
    assert not result.isna().any(axis=None)
    amount_columns = [name for name in result.columns if name.startswith("kept_")]
    assert (result.loc[(orders["state"] != "sale"), amount_columns] == 0).all(axis=None)
    total = (result["kept_untaxed"] + result["kept_tax"]).round(2)
    assert (total == result["kept_total"]).all()
    # The lines of an order add up to the order.
    by_line = kept_by_line(orders, lines, refunds).groupby("order_id")[["kept_untaxed", "kept_tax"]].sum()
    by_order = result.set_index("order_id")[["kept_untaxed", "kept_tax"]]
    assert by_line.reindex(by_order.index, fill_value=0.0).round(2).equals(by_order.round(2))


@FEW
@given(sales(), st.randoms(use_true_random=False))
def test_the_order_of_rows_means_nothing(world, random):
    orders, lines, documents = world
    expected = kept_by_order(*sale_tables(orders, lines, documents))
    listed = unmatched(lines, *documents)
    shuffled = [random.sample(rows, len(rows)) for rows in (orders, lines, documents)]
    result = kept_by_order(*sale_tables(*shuffled))
    pd.testing.assert_frame_equal(
        result.sort_values("order_id", ignore_index=True), expected.reset_index(drop=True)
    )
    assert unmatched(shuffled[1], *shuffled[2]) == listed


@FEW
@given(sales())
def test_drafts_change_nothing(world):
    orders, lines, documents = world
    posted = [rows for rows in documents if rows[0]["state"] == "posted"]
    pd.testing.assert_frame_equal(
        kept_by_order(*sale_tables(orders, lines, documents)),
        kept_by_order(*sale_tables(orders, lines, posted)),
    )


AMOUNT = st.integers(0, 20_000).map(lambda cents: cents / 100)


@FEW
@given(st.sampled_from([1, -1]), st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT), min_size=1, max_size=4))
def test_a_credited_line_never_keeps_more_than_was_ordered(sign, drawn):
    lines = [line(10 + number, 1, sign * o) for number, (o, _, _) in enumerate(drawn)]
    invoice = document(1, INVOICE, *[([10 + n], sign * i, 0.0) for n, (_, i, _) in enumerate(drawn)])
    note = document(2, CREDIT, *[([10 + n], sign * r, 0.0) for n, (_, _, r) in enumerate(drawn)])
    result = kept_by_line(*sale_tables([sale(1, *lines)], lines, [invoice, note])).set_index("line_id")
    for number, (ordered, invoiced, credited) in enumerate(drawn):
        left = sign * result["kept_untaxed"][10 + number]
        assert left <= ordered
        # No more is taken off than was credited, and all of it where nothing was over-invoiced.
        assert left >= round(ordered - credited, 2)
        if invoiced <= ordered:
            assert left == pytest.approx(ordered - credited, abs=0.001)


def test_a_discount_on_shipping_alone_leaves_no_order_below_zero_with_its_lines_or_without():
    lines = [line(10, 1, -5.0, -1.0, is_delivery=True), line(11, 1, 20.0, 4.0)]
    order = sale(1, *lines)
    with_lines = kept_by_order(*sale_tables([order], lines, []))
    without = kept_by_order(
        sale_tables([order], [], [])[0], order_lines_table([]), refunds_table([], order_lines_table([]))
    )
    assert with_lines["below_zero"].tolist() == without["below_zero"].tolist() == [False]


@FEW
@given(sales())
def test_only_the_lines_of_credited_orders_need_to_be_read(world):
    """Orders without credit notes keep their headers, so their lines are never asked for."""
    orders, lines, documents = world
    order_of = {each["line_id"]: each["order_id"] for each in lines}
    everything = kept_by_order(*sale_tables(orders, lines, documents))
    unread = refunds_table(documents, order_lines_table([]))
    first = [each for each in lines if each["line_id"] in set(lines_of_credited_orders(unread))]
    matched = refunds_table(documents, order_lines_table(first))
    assert matched.equals(refunds_table(documents, order_lines_table(lines)))
    credited = set(matched["order_id"].dropna())
    read = [each for each in lines if order_of[each["line_id"]] in credited]
    few = kept_by_order(sale_tables(orders, [], [])[0], order_lines_table(read), matched)
    columns = ["kept_untaxed", "kept_tax", "kept_total", "kept_untaxed_company", "below_zero"]
    kept_columns = everything[columns]
    pd.testing.assert_frame_equal(few[columns], kept_columns)


# A document sells or gives back by the sign of what it holds of a line (rule 8.1).

ADVANCE = line(19, 1, 0.0, is_downpayment=True)
GOODS = line(11, 1, 1000.0)
ADVANCE_BILLED = document(1, INVOICE, ([19], 500.0, 0.0))
PART_BELOW_ADVANCE = document(2, CREDIT, ([11], -300.0, 0.0), ([19], 500.0, 0.0))
REST_BILLED = document(3, INVOICE, ([11], 700.0, 0.0))


def test_8_1_a_part_delivery_below_its_down_payment_is_sold_by_a_credit_note():
    documents = [ADVANCE_BILLED, PART_BELOW_ADVANCE, REST_BILLED]
    lines = [GOODS, ADVANCE]
    assert kept([sale(1, GOODS)], lines, *documents)["kept_untaxed"] == 1000.0
    refunded = document(4, CREDIT, ([11], 200.0, 0.0), reversed_entry_id=3)
    assert kept([sale(1, GOODS)], lines, *documents, refunded)["kept_untaxed"] == 800.0


def test_8_3_an_order_whose_delivery_was_sold_by_a_credit_note_has_nothing_left_to_invoice():
    documents = [ADVANCE_BILLED, PART_BELOW_ADVANCE]
    parts = kept_by_line(*sale_tables([sale(1, GOODS)], [GOODS, ADVANCE], documents))
    assert invoiced_orders(parts).empty
    parts = kept_by_line(*sale_tables([sale(1, GOODS)], [GOODS, ADVANCE], [*documents, REST_BILLED]))
    assert invoiced_orders(parts).tolist() == [1]


@pytest.mark.parametrize(
    ("documents", "left"),
    [
        # Inside one document a return counts against what the document sells of the same line.
        ([document(1, INVOICE, ([11], 1200.0, 0.0), ([11], -200.0, 0.0))], 1000.0),
        ([document(1, INVOICE, ([11], 700.0, 0.0)), document(2, INVOICE, ([11], -200.0, 0.0))], 800.0),
        # Billed twice and once taken back by an invoice below zero: the order already says so.
        ([document(1, INVOICE, ([11], 1500.0, 0.0)), document(2, INVOICE, ([11], -500.0, 0.0))], 1000.0),
    ],
)
def test_8_1_what_an_invoice_holds_below_zero_is_refunded(documents, left):
    result = kept([sale(1, GOODS)], [GOODS], *documents)
    assert result["kept_untaxed"] == left


@pytest.mark.parametrize(("credited", "left"), [(-100.0, 1000.0), (-40.0, 940.0)])
def test_8_1_a_credited_discount_is_a_discount_taken_back(credited, left):
    goods, discount = line(11, 1, 1000.0), line(12, 1, -100.0)
    invoice = document(1, INVOICE, ([11], 1000.0, 0.0), ([12], -100.0, 0.0))
    note = document(2, CREDIT, ([12], credited, 0.0), reversed_entry_id=1)
    assert kept([sale(1, goods, discount)], [goods, discount], invoice, note)["kept_untaxed"] == left


def test_8_1_the_lines_of_an_order_with_an_amount_below_zero_on_an_invoice_are_read():
    back = document(2, INVOICE, ([11], -200.0, 0.0))
    advance = document(3, INVOICE, ([21], 300.0, 0.0), ([29], -100.0, 0.0))
    lines = [GOODS, line(21, 2, 300.0), line(29, 2, 0.0, is_downpayment=True)]
    unread = refunds_table([back, advance], order_lines_table([]))
    assert lines_of_credited_orders(unread) == [11, 21, 29]
    matched = refunds_table([back, advance], order_lines_table(lines))
    assert set(matched["order_id"].dropna()) == {1}, "of order 2 nothing but the down payment was taken off"


@pytest.mark.parametrize(
    ("invoice", "listed"),
    [
        (document(1, INVOICE, ([11], 1000.0, 0.0), ([], -50.0, -10.0)), [(1, 50.0, 10.0)]),
        (document(1, INVOICE, ([11], 1000.0, 0.0), ([], 50.0, 10.0)), []),
        (document(1, INVOICE, ([], 80.0, 0.0), ([], -50.0, 0.0)), []),
        (document(1, INVOICE, ([19], 500.0, 0.0), ([], -50.0, 0.0)), [(1, 50.0, 0.0)]),
    ],
)
def test_8_2_a_line_below_zero_typed_on_an_invoice_is_listed_and_lowers_no_order(invoice, listed):
    lines = [GOODS, ADVANCE]
    assert unmatched(lines, invoice) == [(*each, "typed_on_an_invoice") for each in listed]
    assert kept([sale(1, GOODS)], lines, invoice)["kept_untaxed"] == 1000.0


def test_8_2_a_discount_typed_on_an_invoice_hides_no_refund_typed_on_a_credit_note():
    discounted = document(1, INVOICE, ([11], 1000.0, 0.0), ([], -50.0, 0.0))
    goodwill = document(2, CREDIT, ([], 80.0, 0.0), reversed_entry_id=1)
    assert kept([sale(1, GOODS)], [GOODS], discounted, goodwill)["kept_untaxed"] == 920.0
    reversal = document(3, CREDIT, ([11], 1000.0, 0.0), ([], -50.0, 0.0), reversed_entry_id=1)
    assert kept([sale(1, GOODS)], [GOODS], discounted, reversal)["kept_untaxed"] == 0.0
