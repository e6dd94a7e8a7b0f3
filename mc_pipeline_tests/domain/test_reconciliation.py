"""Odoo's kept revenue beside Mailchimp's: every kind of difference, and sums that leave nothing out."""

import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.errors import RuleError
from mc_pipeline.domain.reconciliation.by_order import (
    AMOUNT,
    BELOW_ZERO,
    CANCELLED_STATE,
    DATE,
    FIXED_RATE,
    LEFT_ALONE,
    MEMBER_WAITS,
    MISSING,
    NOT_DUE,
    NOT_KNOWN,
    NOT_LOOKED_AT,
    OTHER_CURRENCY,
    WAITS,
    by_month,
    left_out,
    left_out_share,
    reconcile,
    waiting_share,
    with_waiting_members,
)
from mc_pipeline.domain.reconciliation.by_order import differing as differs
from mc_pipeline.domain.store.guards import WAITS as WAITS_IN_WORDS
from mc_pipeline.domain.store.held_orders import KEPT_RIGHT, STAYS
from mc_pipeline.domain.store.orders import BEFORE_ORDERS_SINCE, ERASED, NO_AUDIENCE, NOT_A_MEMBER, NOT_PAID
from mc_pipeline.tables import schemas

Row = dict[str, Any]
HELD = ["store_id", "foreign_order_id", "currency", "order_total", "tax_total", "shipping_total",
        "processed_at", "cancelled_at"]  # fmt: skip


def due(order_id: int, goods: float = 100.0, **values: Any) -> Row:
    """An order that store ``s`` should hold; 20 of tax and 5 of shipping, unless given."""
    tax, shipping = values.pop("tax", 20.0), values.pop("shipping", 5.0)
    row: Row = {
        "order_id": order_id,
        "name": f"S{order_id:05}",
        "month": "2024-06",
        "state": "sale",
        "partner_id": order_id,
        "email": f"person{order_id}@example.com",
        "audience": "retail",
        "list_id": "list1",
        "store_id": "s",
        "foreign_order_id": f"o{order_id}",
        "processed_at": pd.Timestamp("2024-06-01 12:00", tz="UTC"),
        "cancelled_at": None,
        "currency": "EUR",
        "order_total": round(goods + shipping + tax, 2),
        "tax_total": tax,
        "shipping_total": shipping,
        "goods_total": goods,
        "lines_json": "[]",
        "kept_untaxed_company": round(goods + shipping, 2),
        "ordered_untaxed_company": round(goods + shipping, 2),
        "below_zero": False,
        "excluded_because": "",
        "excluded_detail": None,
        "uncounted_because": "",
    }
    assert not set(values) - set(row), values
    return {**row, **values}


def excluded(order_id: int, because: str, goods: float = 100.0, **values: Any) -> Row:
    uncounted = because if because == NOT_PAID else ""
    return due(order_id, goods, **{"excluded_because": because, "uncounted_because": uncounted, **values})


def holds(row: Row, **values: Any) -> Row:
    """The order as its store holds it, but for what is given."""
    assert not set(values) - set(HELD), values
    return {**{name: row[name] for name in HELD}, **values}


def table(rows: Iterable[Row]) -> pd.DataFrame:
    schema = schemas.STORE_ORDERS
    return schema.to_pandas(schema.to_arrow(pd.DataFrame(list(rows), columns=schema.names)))


def reconciled(
    orders: Iterable[Row], held: Iterable[Row], pushed: Iterable[Row] = (), decimal_places: int = 2
) -> pd.DataFrame:
    """The table, as it comes back from Parquet."""
    there = pd.DataFrame(list(held), columns=HELD)
    for name in ("processed_at", "cancelled_at"):
        there[name] = pd.to_datetime(there[name], utc=True)
    last = pd.DataFrame(list(pushed), columns=schemas.ORDER_PUSH.names)
    rows = reconcile(
        table(orders), there, last, currency="EUR", decimal_places=decimal_places, timezone="Europe/Brussels"
    )
    schema = schemas.REVENUE_RECONCILIATION
    return schema.to_pandas(schema.to_arrow(rows))


def differing(rows: pd.DataFrame) -> dict[str, str]:
    found = rows[rows["differs_because"] != ""]
    return dict(zip(found["foreign_order_id"], found["differs_because"], strict=True))


def test_a_store_that_holds_what_is_due_does_not_differ():
    order = due(1)
    rows = reconciled([order], [holds(order)])
    assert differing(rows) == {}
    (month,) = by_month(rows, 2).to_dict("records")
    assert month == {
        "month": "2024-06", "orders": 1, "ordered": 105.0, "given_back": 0.0, "kept": 105.0, "left_out": 0.0,
        "due_goods": 100.0, "due_shipping": 5.0, "orders_held": 1, "mailchimp_goods": 100.0,
        "mailchimp_shipping": 5.0, "left_alone": 0.0, "waiting": 0.0, "difference": 0.0,
        "orders_differing": 0,
    }  # fmt: skip


ORDER = due(1)
CHANGES: dict[str, tuple[Row, Row | None, str, str]] = {
    "missing": (ORDER, None, MISSING, "should hold the order and does not"),
    "goods": (ORDER, holds(ORDER, order_total=115.0), AMOUNT, "goods 90.00 instead of 100.00"),
    "tax": (ORDER, holds(ORDER, order_total=124.0, tax_total=19.0), AMOUNT, "tax 19.00 instead of 20.00"),
    "shipping": (ORDER, holds(ORDER, shipping_total=6.0, order_total=126.0), AMOUNT, "shipping 6.00"),
    "a cent": (ORDER, holds(ORDER, order_total=125.01), AMOUNT, "goods 100.01 instead of 100.00"),
    "less than a cent": (ORDER, holds(ORDER, order_total=125.002), AMOUNT, "fractions"),
    "currency": (ORDER, holds(ORDER, currency="USD"), OTHER_CURRENCY, "in another currency; its amounts are"),
    "date": (
        ORDER, holds(ORDER, processed_at="2024-05-31T22:30:00Z"), DATE,
        "2024-05-31 22:30:00 UTC (2024-06) instead of",
    ),
    "date of another month": (ORDER, holds(ORDER, processed_at="2024-03-01T00:00:00Z"), DATE, "(2024-03) in"),
    "no date": (ORDER, holds(ORDER, processed_at=None), DATE, "none instead of"),
    "cancelled in Mailchimp": (
        ORDER, holds(ORDER, cancelled_at="2024-07-01T00:00:00Z"), CANCELLED_STATE, "in Mailchimp"
    ),
    "cancelled in Odoo": (
        due(1, 0.0, tax=0.0, shipping=0.0, state="cancel"),
        holds(due(1, 0.0, tax=0.0, shipping=0.0)), CANCELLED_STATE, "in Odoo",
    ),
    "not due": (
        excluded(1, NOT_A_MEMBER), holds(ORDER), NOT_DUE, "the person is not a member of the audience"
    ),
    "in another store": (due(1, store_id="t"), holds(ORDER), NOT_DUE, "another store should hold it"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_every_difference_is_named_and_told_in_words(name: str):
    odoo, mailchimp, because, words = CHANGES[name]
    rows = reconciled([odoo], [] if mailchimp is None else [mailchimp])
    found = rows[rows["differs_because"] == because]
    assert len(found) == 1
    assert words in found["differs_detail"].iloc[0]


def test_an_order_that_odoo_does_not_have_stands_in_the_month_that_mailchimp_says():
    stranger = holds(due(7), foreign_order_id="shop-7", processed_at="2024-06-30T22:30:00Z")
    rows = reconciled([], [stranger])
    assert differing(rows) == {"shop-7": NOT_KNOWN}
    (month,) = by_month(rows, 2).to_dict("records")
    # Half past ten at night UTC is July in Brussels.
    assert (month["month"], month["orders"], month["orders_held"]) == ("2024-07", 0, 1)
    assert month["difference"] == month["mailchimp_goods"] + month["mailchimp_shipping"] == 105.0


def test_amounts_in_another_currency_are_not_added_to_euros():
    rows = reconciled([ORDER], [holds(ORDER, currency="USD")])
    assert by_month(rows, 2)["mailchimp_goods"].tolist() == [0.0]


def test_what_the_last_push_said_of_an_order_that_differs_is_reported_without_addresses():
    said = {
        "store_id": "s", "audience": "retail", "order_id": 1, "foreign_order_id": "o1", "month": "2024-06",
        "operation": "create", "because": "", "outcome": "rejected",
        "detail": "customer person1@example.com was permanently deleted",
    }  # fmt: skip
    other = due(2)
    rows = reconciled(
        [ORDER, other], [holds(other)], [said, {**said, "order_id": 2, "foreign_order_id": "o2"}]
    )
    first, second = rows.to_dict("records")
    assert first["push_outcome"] == "rejected"
    assert "permanently deleted" in first["push_detail"]
    assert "person1@" not in first["push_detail"]
    assert second["push_outcome"] is None, "of an order that does not differ nothing is left to tell"


def test_what_is_left_out_has_one_reason_each_and_adds_up_to_the_gap():
    orders = [
        due(1),
        excluded(2, NO_AUDIENCE, 40.0, store_id=None, audience=None),
        excluded(3, BEFORE_ORDERS_SINCE, 70.0, month="2020-01"),
        due(4, 0.0, tax=0.0, shipping=0.0, below_zero=True, kept_untaxed_company=-25.0),
        due(5, 100.0, kept_untaxed_company=106.0),
    ]
    rows = reconciled(orders, [holds(orders[0]), holds(orders[3]), holds(orders[4])])
    assert differing(rows) == {}
    out = left_out(rows, 2)
    assert out[["reason", "orders", "kept_untaxed", "by_settings"]].values.tolist() == [
        [BEFORE_ORDERS_SINCE, 1, 75.0, True],
        [NO_AUDIENCE, 1, 45.0, False],
        [FIXED_RATE, 1, 1.0, False],
        [BELOW_ZERO, 1, -25.0, False],
    ]
    assert out["in_words"].str.len().min() > 10
    months = by_month(rows, 2)
    held = months["mailchimp_goods"].sum() + months["mailchimp_shipping"].sum()
    assert months["kept"].sum() - held == out["kept_untaxed"].sum() == months["left_out"].sum()


def test_what_settings_leave_out_is_not_counted_as_left_out_too_much():
    orders = [due(1, 95.0), excluded(2, BEFORE_ORDERS_SINCE, 900.0), excluded(3, NO_AUDIENCE, 0.0)]
    rows = reconciled(orders, [holds(orders[0])])
    assert left_out_share(rows) == pytest.approx(0.0476, abs=0.0001)
    assert left_out_share(reconciled([], [])) == 0.0


def test_what_is_for_a_store_that_was_not_looked_at_is_not_left_out():
    rows = reconciled([excluded(1, NOT_LOOKED_AT, 90.0), excluded(2, NO_AUDIENCE, 10.0)], [])
    kept = rows["kept_untaxed"].sum()
    assert left_out_share(rows) == pytest.approx(1 - 95 / kept)
    assert waiting_share(rows) == pytest.approx(95 / kept)
    assert waiting_share(reconciled([], [])) == 0.0


def test_of_people_who_are_no_members_only_those_wait_whose_creation_waits():
    orders = [
        excluded(1, NOT_A_MEMBER, 895.0, email="waits@example.com"),
        excluded(2, NOT_A_MEMBER, 95.0, email="refused@example.com"),
        excluded(3, NO_AUDIENCE, 5.0, email="waits@example.com"),
    ]
    waiting = with_waiting_members(table(orders), {"waits@example.com"})
    assert waiting["excluded_because"].tolist() == [MEMBER_WAITS, NOT_A_MEMBER, NO_AUDIENCE]
    rows = reconciled(waiting.to_dict("records"), [])
    assert waiting_share(rows) == pytest.approx(900 / 1010)
    assert left_out_share(rows) == pytest.approx(110 / 1010)


def test_people_who_were_erased_are_one_sum_a_month():
    orders = [
        excluded(1, ERASED, 10.0),
        excluded(2, ERASED, 20.0),
        excluded(3, ERASED, month="2024-07"),
        due(4),
    ]
    rows = reconciled(orders, [holds(orders[3])])
    erased = rows[rows["left_out_because"] == ERASED]
    assert erased["orders"].tolist() == [2, 1]
    assert erased["kept_untaxed"].tolist() == [40.0, 105.0]
    assert erased[["order_id", "name", "foreign_order_id"]].isna().all(axis=None)
    assert by_month(rows, 2)["orders"].tolist() == [3, 1]


def test_an_order_of_an_erased_person_that_a_store_still_holds_is_a_difference():
    rows = reconciled([excluded(1, ERASED)], [holds(ORDER)])
    assert differing(rows) == {"o1": NOT_DUE}


def test_currencies_without_cents_and_with_three_decimals_are_exact():
    yen = due(1, 1234.0, tax=123.0, shipping=0.0)
    assert differing(reconciled([yen], [holds(yen)], decimal_places=0)) == {}
    dinar = due(1, 10.125, tax=0.125, shipping=0.0, kept_untaxed_company=10.125, order_total=10.25)
    assert differing(reconciled([dinar], [holds(dinar)], decimal_places=3)) == {}
    assert differing(reconciled([dinar], [holds(dinar, order_total=10.251)], decimal_places=3)) == {
        "o1": AMOUNT
    }


def test_a_table_with_an_order_twice_is_refused():
    with pytest.raises(RuleError, match="order_id 1"):
        reconciled([ORDER, ORDER], [])
    with pytest.raises(RuleError, match="same id"):
        reconciled([ORDER], [holds(ORDER), holds(ORDER)])
    with pytest.raises(RuleError, match="not in EUR"):
        reconciled([due(1, currency="GBP")], [])


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_sums_of_any_world_are_those_that_plain_adding_gives(chance: random.Random):
    """The oracle adds decimal numbers one by one; it knows nothing of the table's columns."""
    orders, held, differences = [], [], set()
    kept = mailchimp = out = Decimal()
    for order_id in range(1, chance.randint(0, 12) + 1):
        cents = chance.randint(0, 99_999)
        shipping = chance.choice([0, 495])
        month = chance.choice(["2024-05", "2024-06"])
        row = due(
            order_id, cents / 100, tax=chance.randint(0, 500) / 100, shipping=shipping / 100, month=month
        )
        kept += Decimal(cents + shipping) / 100
        if chance.random() < 0.3:
            row["excluded_because"] = chance.choice([NO_AUDIENCE, NOT_A_MEMBER, ERASED])
            out += Decimal(cents + shipping) / 100
            in_store = chance.random() < 0.2
            if in_store:
                differences.add(row["foreign_order_id"])
        else:
            in_store = chance.random() < 0.9
            if not in_store:
                differences.add(row["foreign_order_id"])
        if in_store:
            edited = chance.choice([0, 0, 0, 1, -250])
            if edited:
                differences.add(row["foreign_order_id"])
            held.append(holds(row, order_total=(Decimal(str(row["order_total"])) * 100 + edited) / 100))
            mailchimp += Decimal(cents + shipping + edited) / 100
        orders.append(row)
    rows = reconciled(orders, held)
    months = by_month(rows, 2)
    assert set(differing(rows)) == differences

    def total(column: str) -> Decimal:
        return sum((Decimal(str(round(each, 2))) for each in months[column]), Decimal())

    assert total("kept") == kept
    assert total("mailchimp_goods") + total("mailchimp_shipping") == mailchimp
    assert (
        total("left_out")
        == out
        == sum((Decimal(str(x)) for x in left_out(rows, 2)["kept_untaxed"]), Decimal())
    )
    assert total("difference") == mailchimp - (kept - out)
    assert months["orders"].sum() == len(orders)
    assert months["orders_held"].sum() == len(held)


def push_said(because: str, outcome: str = "held_back") -> Row:
    """What the last push said of order 1."""
    return {
        "store_id": "s", "audience": "retail", "order_id": 1, "foreign_order_id": "o1", "month": "2024-06",
        "operation": "update", "because": because, "outcome": outcome, "detail": "words",
    }  # fmt: skip


def test_a_correction_that_waits_for_a_person_is_no_difference_and_is_summed_up():
    lowered, gone = due(1, 60.0), holds(due(2))
    waits = [
        {**push_said("order_total 125.0 → 85.0"), "detail": f"{WAITS_IN_WORDS} as orders-s-1"},
        {**push_said("gone"), "foreign_order_id": "o2", "order_id": 2, "detail": f"{WAITS_IN_WORDS} as x"},
    ]
    rows = reconciled([lowered], [holds(due(1)), gone], waits)
    assert differing(rows) == {"o1": WAITS, "o2": WAITS}
    (month,) = by_month(rows, 2).to_dict("records")
    assert (month["waiting"], month["difference"], month["orders_differing"]) == (40.0 + 105.0, 0.0, 0)
    # As soon as it is as it should be, nothing waits any more.
    assert differing(reconciled([lowered], [holds(lowered)], waits[:1])) == {}


@pytest.mark.parametrize(
    ("kept", "push", "differently"),
    [
        (excluded(1, NOT_A_MEMBER), push_said(STAYS), False),
        (excluded(1, NO_AUDIENCE), push_said(KEPT_RIGHT), False),
        (excluded(1, NO_AUDIENCE), push_said("order_total 130.0 → 125.0", "applied"), False),
        # More is kept by now: only of somebody who is no member may the store hold less.
        (excluded(1, NOT_A_MEMBER, 160.0), push_said(STAYS), False),
        (excluded(1, NO_AUDIENCE, 160.0), push_said(KEPT_RIGHT), True),
        (excluded(1, NO_AUDIENCE, 160.0), push_said("order_total 125.0 → 185.0", "applied"), True),
        # Money was given back that Mailchimp reports.
        (excluded(1, NOT_A_MEMBER, 60.0), push_said(STAYS), True),
        (excluded(1, NO_AUDIENCE, 60.0), push_said(KEPT_RIGHT), True),
        (excluded(1, NOT_A_MEMBER, uncounted_because=NOT_PAID), push_said(STAYS), True),
        (excluded(1, NO_AUDIENCE), push_said("order_total 125.0 → 105.0"), True),
    ],
)
def test_what_stays_in_a_store_though_due_no_more_is_a_difference_unless_it_is_right_or_untouchable(
    kept: Row, push: Row, differently: bool
):
    rows = reconciled([kept], [holds(ORDER)], [push])
    assert rows["differs_because"].tolist() == ["", NOT_DUE if differently else LEFT_ALONE]
    assert differs(rows).any() == differently
    (month,) = by_month(rows, 2).to_dict("records")
    figures = (month["left_alone"], month["difference"], month["orders_differing"])
    assert figures == ((0.0, 105.0, 1) if differently else (105.0, 0.0, 0))


def test_what_is_due_and_missing_is_a_difference_whatever_the_push_waits_for():
    assert differs(reconciled([due(1)], [], [push_said(STAYS)])).all()


@pytest.mark.parametrize(("in_odoo", "in_store"), [(True, False), (False, True)])
def test_of_somebody_who_is_no_member_an_order_may_be_cancelled_in_the_store_alone(
    in_odoo: bool, in_store: bool
):
    nothing = excluded(1, NOT_A_MEMBER, 0.0, tax=0.0, shipping=0.0, state="cancel" if in_odoo else "sale")
    there = holds(nothing, cancelled_at="2024-07-01T00:00:00Z" if in_store else None)
    assert differs(reconciled([nothing], [there], [push_said(STAYS)])).any() == in_odoo


@pytest.mark.parametrize(("total", "different"), [(0.0, False), (125.0, True)])
def test_an_order_that_counts_no_more_stays_in_its_store_worth_nothing(total: float, different: bool):
    there = holds(ORDER, order_total=total, tax_total=0.0, shipping_total=0.0)
    rows = reconciled([excluded(1, NOT_PAID)], [there])
    assert differs(rows).any() == different
