"""What the store should hold of an order, line by line; or the one reason why no store holds it."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.revenue.kept import kept_by_order
from mc_pipeline.domain.store.orders import EXCLUDED, UNKNOWN_CUSTOMER, OrderTables, build_store_orders
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import schemas
from mc_pipeline_tests.domain.odoo_rows import built, company, company_partner, partner, partners_table
from mc_pipeline_tests.domain.sale_rows import CREDIT, INVOICE, Row, document, line, sale, sale_tables

STORE = {"id": "acme-all", "name": "ACME", "currency": "EUR"}
ONE_STORE = {"everyone": {"store": STORE}}
ADA = partner(1, "ada@example.com")
EVERYBODY = "everybody who should be"

PRODUCTS = [(7, 70, True, "Book"), (8, 80, True, "Pen"), (9, 90, False, "Archived")]


def products_table(products: Iterable[tuple[int, int, bool, str]] = PRODUCTS) -> pd.DataFrame:
    rows = [
        {
            **dict.fromkeys(schemas.ODOO_PRODUCTS.names),
            "product_id": product,
            "product_template_id": template,
            "active": active,
            "name": name,
            "list_price": 1.0,
        }
        for product, template, active, name in products
    ]
    schema = schemas.ODOO_PRODUCTS
    return schema.to_pandas(schema.to_arrow(pd.DataFrame(rows, columns=schema.names)))


def store_rows(
    orders: Iterable[Row],
    lines: Iterable[Row],
    *documents: list[Row],
    partners: Iterable[Row] = (ADA,),
    settings: CompanySettings | None = None,
    members: Any = EVERYBODY,
    products: pd.DataFrame | None = None,
    **opinions: Any,
) -> pd.DataFrame:
    """``store_orders`` by order id, as it comes back from Parquet."""
    orders, partners = list(orders), list(partners)
    settings = settings or company(ONE_STORE)
    contacts = built(partners, orders, settings)
    ordered, order_lines, refunds = sale_tables(orders, lines, documents)
    kept = kept_by_order(ordered, order_lines, refunds).drop(columns="order_id")
    if members == EVERYBODY:
        members = [
            (settings.audiences[audience].list_id, email)
            for audience, email in contacts.contacts[["audience", "email"]].itertuples(index=False)
        ]
    rows = build_store_orders(
        OrderTables(
            orders=ordered.assign(**kept),
            lines=order_lines,
            refunds=refunds,
            products=products_table() if products is None else products,
            partners=partners_table(partners),
            contacts=contacts.contacts,
            set_aside=contacts.set_aside,
            members=pd.DataFrame(members, columns=["list_id", "email"]),
        ),
        settings,
        **opinions,
    )
    schema = schemas.STORE_ORDERS
    return schema.to_pandas(schema.to_arrow(rows)).set_index("order_id", drop=False)


def totals(row: Any) -> tuple[float, float, float]:
    """Goods, shipping and tax; the order's total must be their sum, and the lines the goods."""
    lines = json.loads(row["lines_json"])
    in_all = sum(Decimal(str(each["price"])) * each["quantity"] for each in lines)
    assert in_all == Decimal(str(row["goods_total"]))
    exact = [Decimal(str(row[f"{name}_total"])) for name in ("goods", "shipping", "tax")]
    assert sum(exact, Decimal()) == Decimal(str(row["order_total"]))
    return tuple(float(each) for each in exact)  # type: ignore[return-value]


def lines_of(row: Any) -> dict[str, tuple[int, float]]:
    """Quantity and price by line id."""
    return {each["id"]: (each["quantity"], each["price"]) for each in json.loads(row["lines_json"])}


BOOKS = line(11, 1, 100.0, 20.0, quantity=5.0, price_unit=20.0)
PEN = line(12, 1, 10.0, 2.0, product_id=8)
SHIPPING = line(13, 1, 8.0, 1.6, is_delivery=True)


def one(*lines: Row, documents: Iterable[list[Row]] = (), values: Row | None = None, **world: Any) -> Any:
    """What becomes of one order with these lines."""
    return store_rows([sale(1, *lines, **(values or {}))], lines, *documents, **world).loc[1]


# amounts and lines


def test_an_order_is_goods_shipping_and_tax_and_its_lines_say_the_price_of_one():
    row = one(BOOKS, PEN, SHIPPING)
    assert totals(row) == (110.0, 8.0, 23.6)
    assert lines_of(row) == {"l11": (5, 20.0), "l12": (1, 10.0)}
    assert (row["foreign_order_id"], row["store_id"], row["excluded_because"]) == ("o1", "acme-all", "")
    assert row["kept_untaxed_company"] == row["ordered_untaxed_company"] == 118.0


def test_a_discount_is_in_the_price_of_one():
    row = one(line(11, 1, 85.0, quantity=5.0, price_unit=20.0, discount=15.0))
    assert lines_of(row) == {"l11": (5, 17.0)}


@pytest.mark.parametrize(
    ("quantity", "untaxed", "expected"),
    [
        (2.5, 200.0, (1, 200.0)),
        (7.0, 2.33, (1, 2.33)),
        (3.0, 0.99, (3, 0.33)),
        (4.0, 0.0, (4, 0.0)),
        (0.5, 10.0, (1, 10.0)),
    ],
    ids=["not whole", "not to be divided", "to be divided", "free", "less than one"],
)
def test_a_quantity_that_does_not_give_the_amount_is_one(quantity: float, untaxed: float, expected: object):
    row = one(line(11, 1, untaxed, quantity=quantity))
    assert lines_of(row) == {"l11": expected}


def test_a_partial_refund_is_one_at_the_amount_kept_and_a_full_one_is_price_zero():
    note = document(51, CREDIT, ([11], 40.0, 8.0))
    assert lines_of(one(BOOKS, PEN, documents=[note])) == {"l11": (1, 60.0), "l12": (1, 10.0)}
    full = document(51, CREDIT, ([11], 100.0, 20.0), ([12], 10.0, 2.0))
    row = one(BOOKS, PEN, documents=[full])
    assert lines_of(row) == {"l11": (5, 0.0), "l12": (1, 0.0)}
    assert totals(row) == (0.0, 0.0, 0.0)
    assert not row["below_zero"]


def test_a_discount_that_is_a_line_is_taken_off_the_others_in_proportion():
    row = one(BOOKS, PEN, line(14, 1, -11.0, -2.2), SHIPPING)
    assert totals(row) == (99.0, 8.0, 21.4)
    assert lines_of(row) == {"l11": (5, 18.0), "l12": (1, 9.0)}


def test_cents_of_sharing_go_to_the_largest_fractions():
    row = one(*(line(number, 1, 1.0) for number in (11, 12, 13)), line(14, 1, -1.0))
    assert lines_of(row) == {"l11": (1, 0.67), "l12": (1, 0.67), "l13": (1, 0.66)}


def test_a_typed_credit_line_is_taken_off_all_lines():
    invoice = document(50, INVOICE, ([11], 100.0, 20.0), ([12], 10.0, 2.0))
    note = document(51, CREDIT, ([], 11.0, 2.2), reversed_entry_id=50)
    row = one(BOOKS, PEN, documents=[invoice, note])
    assert totals(row) == (99.0, 0.0, 19.8)


def test_the_cent_of_a_header_goes_to_a_line_and_more_is_a_line_of_its_own():
    thirds = [line(number, 1, 0.33, 0.07) for number in (11, 12, 13)]
    cent = one(*thirds, values={"amount_untaxed": 1.0, "amount_tax": 0.2, "amount_untaxed_company": 1.0})
    assert totals(cent) == (1.0, 0.0, 0.2)
    assert lines_of(cent) == {"l11": (1, 0.34), "l12": (1, 0.33), "l13": (1, 0.33)}
    more = one(BOOKS, values={"amount_untaxed": 103.0, "amount_untaxed_company": 103.0})
    assert lines_of(more) == {"l11": (5, 20.0), "adjustment": (1, 3.0)}


def test_lines_that_share_a_document_line_share_what_is_left():
    together = document(50, INVOICE, ([11, 12], 110.0, 22.0))
    untouched = one(BOOKS, PEN, documents=[together])
    assert lines_of(untouched) == {"l11": (5, 20.0), "l12": (1, 10.0)}
    note = document(51, CREDIT, ([11, 12], 55.0, 11.0))
    row = one(BOOKS, PEN, documents=[together, note])
    assert totals(row) == (55.0, 0.0, 11.0)
    assert lines_of(row) == {"l11": (1, 50.0), "l12": (1, 5.0)}


def test_an_order_without_goods_has_one_line_that_costs_nothing():
    row = one(SHIPPING)
    assert totals(row) == (0.0, 8.0, 1.6)
    (only,) = json.loads(row["lines_json"])
    assert only == {
        "id": "adjustment",
        "price": 0.0,
        "product_id": "adjustment",
        "product_variant_id": "adjustment",
        "quantity": 1,
    }


def test_sections_down_payments_and_lines_without_quantity_are_no_lines():
    section = line(14, 1, 0.0, display_type="line_section", product_id=None, quantity=0.0)
    advance = line(15, 1, 0.0, is_downpayment=True, quantity=0.0)
    removed = line(16, 1, 0.0, quantity=0.0)
    assert lines_of(one(BOOKS, section, advance, removed)) == {"l11": (5, 20.0)}


def test_products_are_known_by_id_whatever_they_are_called_and_stand_ins_are_stable():
    lines = [
        line(11, 1, 1.0, product_id=7),
        line(12, 1, 1.0, product_id=9),
        line(13, 1, 1.0, product_id=None, name=None),
        line(14, 1, 1.0, product_id=4711),
    ]
    renamed = products_table([(7, 70, True, "Another name"), (9, 90, False, "Archived")])
    row = one(*lines, products=renamed)
    assert [(each["product_id"], each["product_variant_id"]) for each in json.loads(row["lines_json"])] == [
        ("p70", "v7"),
        ("p90", "v9"),
        ("free-text", "free-text"),
        ("deleted-4711", "deleted-4711"),
    ]


def test_lines_without_a_product_are_each_a_product_by_their_text():
    """Possible from Odoo 19.4 on: two texts never fall together, one text is the same thing everywhere."""
    said = ["Work by the hour", "Work  by the\nhour ", 'A "quoted" text', "Server set-up"]
    lines = [line(11 + n, 1, 1.0, product_id=None, name=text) for n, text in enumerate(said)]
    lines_sent = json.loads(one(*lines)["lines_json"])
    assert not any("title" in each for each in lines_sent), "a text may hold a person's name"
    identities = [each["product_id"] for each in lines_sent]
    assert [each["product_variant_id"] for each in lines_sent] == identities
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3
    for identity in identities:
        assert identity.startswith("text-")
        assert len(identity) < 50
        assert "server" not in identity
        assert "/" not in identity


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([([], 150.0, 10.0)], (0.0, 0.0, 13.6)),
        ([([11], 100.0, 20.0), ([12], 10.0, 2.0), ([], 5.0, 0.0)], (0.0, 3.0, 1.6)),
        ([([13], 8.0, 1.6), ([], 0.0, 30.0)], (110.0, 0.0, 0.0)),
    ],
    ids=["goods", "goods, made up for by shipping", "tax"],
)
def test_what_goes_below_zero_is_zero_and_says_so(held: list[Any], expected: object):
    invoice = document(50, INVOICE, ([11], 100.0, 20.0), ([12], 10.0, 2.0), ([13], 8.0, 1.6))
    row = one(BOOKS, PEN, SHIPPING, documents=[invoice, document(51, CREDIT, *held, reversed_entry_id=50)])
    assert totals(row) == expected
    assert row["below_zero"]


# currencies


def test_another_currency_is_converted_at_one_rate_and_adds_up():
    lines = [line(number, 1, 10.01, 2.0) for number in (11, 12, 13)]
    dollars = {"currency": "USD", "currency_rate": 1.1, "amount_untaxed_company": 27.3}
    row = one(*lines, values=dollars)
    assert totals(row) == (27.3, 0.0, 5.45)
    assert row["currency"] == "EUR"
    assert row["goods_total"] == row["kept_untaxed_company"]


def test_an_order_stays_at_the_rate_of_its_first_push():
    dollars = {"currency": "USD", "currency_rate": 1.25, "amount_untaxed_company": 80.0}
    row = one(BOOKS, values=dollars, fixed_rates={1: 2.0, 99: 3.0})
    assert totals(row) == (50.0, 0.0, 10.0)
    assert lines_of(row) == {"l11": (5, 10.0)}
    assert row["kept_untaxed_company"] == 80.0


def test_yen_have_no_cents_and_dinars_three_places():
    yen = {"currency": "JPY", "company_currency": "JPY", "decimal_places": 0, "company_decimal_places": 0}
    in_yen = company({"everyone": {"store": {**STORE, "currency": "JPY"}}})
    row = one(line(11, 1, 100.0, 10.0, quantity=3.0), values=yen, settings=in_yen)
    assert (totals(row), lines_of(row)) == ((100.0, 0.0, 10.0), {"l11": (1, 100.0)})
    said = {"amount_untaxed": 1.235, "amount_tax": 0.124, "amount_untaxed_company": 2.47}
    dinars = {"currency": "BHD", "decimal_places": 3, "currency_rate": 0.5, **said}
    row = one(line(11, 1, 1.235, 0.124, quantity=3.0), values=dinars)
    assert totals(row) == (2.47, 0.0, 0.25)


# cancelled


CANCELLED = {"state": "cancel", "write_date": pd.Timestamp("2024-07-03 08:00", tz="UTC")}


def test_a_cancelled_order_is_brought_to_no_store_and_costs_nothing_in_the_one_that_holds_it():
    orders = [sale(1, BOOKS, **CANCELLED), sale(2, line(21, 2, 5.0))]
    lines = [BOOKS, line(21, 2, 5.0)]
    assert store_rows(orders, lines).loc[1, "excluded_because"] == "cancelled"
    row = store_rows(orders, lines, held_orders=[1]).loc[1]
    assert row["excluded_because"] == ""
    assert totals(row) == (0.0, 0.0, 0.0)
    assert lines_of(row) == {"l11": (5, 0.0)}
    assert row["cancelled_at"] == CANCELLED["write_date"]


def test_an_order_is_cancelled_since_it_was_first_seen_so_and_no_more_when_it_is_confirmed_again():
    seen = {1: pd.Timestamp("2024-07-01 08:00", tz="UTC")}
    orders = [sale(1, BOOKS, **CANCELLED), sale(2, line(21, 2, 5.0))]
    row = store_rows(orders, [BOOKS, line(21, 2, 5.0)], held_orders=[1], cancelled_since=seen).loc[1]
    assert row["cancelled_at"] == seen[1]
    again = store_rows([sale(1, BOOKS)], [BOOKS], held_orders=[1], cancelled_since=seen).loc[1]
    assert pd.isna(again["cancelled_at"])
    assert totals(again) == (100.0, 0.0, 20.0)


# whose it is


TWO_AUDIENCES = company(
    {
        "wholesale": {"when": {"company_type": "company"}, "store": {**STORE, "id": "b2b"}},
        "retail": {"when": {"company_type": "person", "countries": ["FR"]}, "store": {**STORE, "id": "b2c"}},
        "others": {"when": {"company_type": "person", "countries": ["BE"]}},
    }
)


@pytest.mark.parametrize(
    ("because", "detail", "partners", "world"),
    [
        (
            "before_orders_since",
            "orders_since",
            [ADA],
            {"settings": company(ONE_STORE, orders_since="2024-07")},
        ),
        ("no_usable_address", "", [partner(1, None)], {}),
        ("no_usable_address", "", [partner(1, "not an address")], {}),
        ("erased", "", [], {"erased_partners": [1]}),
        ("no_audience", "", [ADA], {"settings": TWO_AUDIENCES}),
        ("not_a_contact", "is an employee", [partner(1, is_employee=True)], {}),
        ("not_a_contact", "is archived", [partner(1, active=False)], {}),
        ("audience_without_store", "", [partner(1, country_code="BE")], {"settings": TWO_AUDIENCES}),
        (
            "store_in_other_currency",
            "",
            [ADA],
            {"settings": company({"everyone": {"store": {**STORE, "currency": "USD"}}})},
        ),
        ("not_a_member", "", [ADA], {"members": []}),
        ("not_a_member", "", [ADA], {"members": [("another list", "ada@example.com")]}),
    ],
)
def test_an_order_that_no_store_holds_says_the_one_reason(
    because: str, detail: str, partners: list[Row], world: dict[str, Any]
):
    row = one(BOOKS, partners=partners, **world)
    assert row["excluded_because"] == because
    assert detail in row["excluded_detail"]
    assert row["excluded_detail"].startswith(EXCLUDED[because])
    assert totals(row)[0] == 100.0


def test_2_2_an_order_of_a_customer_of_another_company_says_which_though_its_invoice_address_is_here():
    world = {"partners": [partner(2)], "values": {"partner_invoice_id": 2}}
    row = one(BOOKS, **world, elsewhere={1: "Lumen"})
    assert (row["excluded_because"], row["email"]) == ("other_company", None)
    assert row["excluded_detail"] == "customer belongs to company Lumen"
    assert totals(row)[0] == 100.0


def test_2_3_an_order_of_a_customer_of_whom_nothing_is_known_counts_to_nobody():
    row = one(BOOKS, partners=[partner(2)], values={"partner_invoice_id": 2})
    assert (row["excluded_because"], row["email"]) == ("no_usable_address", None)
    assert row["excluded_detail"] == UNKNOWN_CUSTOMER
    row = one(BOOKS, partners=[partner(1, None), partner(2)], values={"partner_invoice_id": 2})
    assert row["email"] == "person2@example.com"


def test_2_2_a_customer_who_came_back_meanwhile_is_a_customer():
    assert one(BOOKS, elsewhere={1: "Lumen"})["excluded_because"] == ""


def test_an_order_in_another_currency_without_a_rate_is_excluded():
    row = one(BOOKS, values={"currency": "USD", "currency_rate": 0.0, "amount_untaxed_company": 0.0})
    assert row["excluded_because"] == "other_currency_without_rate"
    assert totals(row) == (0.0, 0.0, 0.0)


def test_each_order_goes_to_the_store_of_its_own_persons_audience():
    buyers = [company_partner(1), partner(2, parent_id=1), partner(3, country_code="FR")]
    orders = [sale(number, line(number * 10, number, 5.0), partner_id=number) for number in (1, 2, 3)]
    lines = [line(number * 10, number, 5.0) for number in (1, 2, 3)]
    rows = store_rows(orders, lines, partners=buyers, settings=TWO_AUDIENCES)
    assert rows["store_id"].tolist() == ["b2b", "b2b", "b2c"]
    assert rows["excluded_because"].unique().tolist() == [""]


def test_a_customer_who_changed_audience_or_address_or_was_merged_takes_the_orders_along():
    order, own = sale(1, BOOKS), [BOOKS]
    moved = store_rows([order], own, partners=[company_partner(1)], settings=TWO_AUDIENCES).loc[1]
    assert moved["store_id"] == "b2b"
    renamed = store_rows([order], own, partners=[partner(1, "new@example.com")]).loc[1]
    assert renamed["email"] == "new@example.com"
    merged = sale(1, BOOKS, partner_id=5, partner_invoice_id=5)
    row = store_rows([merged], own, partners=[partner(5, "survivor@example.com")]).loc[1]
    assert (row["email"], row["partner_id"]) == ("survivor@example.com", 5)
    shared = [ADA | {"active": False}, partner(2, "ada@example.com")]
    row = store_rows([order], own, partners=shared).loc[1]
    assert (row["email"], row["excluded_because"]) == ("ada@example.com", "")


# which orders are revenue


@pytest.mark.parametrize(
    ("held", "payment", "invoiced", "paid"),
    [
        (None, "", "not_invoiced", "not_invoiced"),
        ([([11], 60.0, 12.0)], "paid", "not_invoiced", "not_invoiced"),
        ([([11], 100.0, 20.0)], "not_paid", "", "not_paid"),
        ([([11], 100.0, 20.0)], "partial", "", "not_paid"),
        ([([11], 100.0, 20.0)], "paid", "", ""),
        ([([11], 100.0, 20.0)], "in_payment", "", ""),
        ([([11], 100.0, 20.0)], "reversed", "", ""),
        ([([11], 33.33, 7.0), ([11], 33.33, 7.0), ([11], 33.33, 6.0)], "paid", "", ""),
    ],
)
def test_what_is_due_when_revenue_is_what_was_invoiced_or_paid(
    held: list[Any] | None, payment: str, invoiced: str, paid: str
):
    documents = [document(50, INVOICE, *held, payment_state=payment)] if held else []
    for revenue, expected in (("confirmed", ""), ("invoiced", invoiced), ("paid", paid)):
        settings = company(ONE_STORE, revenue=revenue)
        row = one(BOOKS, documents=documents, settings=settings)
        assert row["excluded_because"] == row["uncounted_because"] == expected, revenue
        assert totals(row)[0] == 100.0
        # A store that holds it has to know, whyever it is due no more.
        row = one(BOOKS, documents=documents, settings=settings, members=[])
        assert (row["excluded_because"], row["uncounted_because"]) == ("not_a_member", expected)


def test_every_invoice_of_an_order_must_be_paid_and_credit_notes_ask_for_nothing():
    settings = company(ONE_STORE, revenue="paid")
    first = document(50, INVOICE, ([11], 60.0, 12.0), payment_state="paid")
    second = document(51, INVOICE, ([11], 40.0, 8.0), payment_state="not_paid")
    assert one(BOOKS, documents=[first, second], settings=settings)["excluded_because"] == "not_paid"
    settled = document(51, INVOICE, ([11], 40.0, 8.0), payment_state="paid")
    note = document(52, CREDIT, ([11], 40.0, 8.0), payment_state="not_paid")
    row = one(BOOKS, documents=[first, settled, note], settings=settings)
    assert row["excluded_because"] == ""
    assert totals(row) == (60.0, 0.0, 12.0)


def test_no_orders_are_no_rows():
    assert store_rows([], []).empty
