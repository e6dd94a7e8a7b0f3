"""Odoo's kept revenue compared with Mailchimp's stores, order by order and month by month (rule 8.5).

Works in whole smallest units of the company's currency, so that sums are exact. All amounts are without tax
unless their name says tax: what Mailchimp reports as revenue is an order's total less tax and shipping, the
goods. ``ledger_bridge`` says where the general ledger differs from kept revenue.
"""

from collections.abc import Collection
from typing import cast

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import require_unique, texts, times
from mc_pipeline.domain.errors import RuleError
from mc_pipeline.domain.revenue.money import units
from mc_pipeline.domain.store import orders as reasons
from mc_pipeline.domain.store.guards import WAITS as WAITS_IN_WORDS
from mc_pipeline.domain.store.held_orders import KEPT_RIGHT, STAYS
from mc_pipeline.masking import mask_text
from mc_pipeline.vocabulary import DONE

BELOW_ZERO = "below_zero"
FIXED_RATE = "fixed_rate"
NOT_LOOKED_AT = "not_looked_at"
MEMBER_WAITS = "member_waits"

LEFT_OUT = reasons.EXCLUDED | {
    BELOW_ZERO: "more was refunded than the order says; a store holds zero",
    FIXED_RATE: "the order is in another currency and stays at the rate of its first push",
    NOT_LOOKED_AT: (
        "the store was not checked in this run: it or its audience could not be read, or the first load of "
        "the audience waits for approval"
    ),
    MEMBER_WAITS: "the person would become a member, which waits for an approval",
}
"""Why a part of the kept revenue is in no store: code and sentence."""

BY_SETTINGS = frozenset(
    {reasons.BEFORE_ORDERS_SINCE, reasons.AUDIENCE_WITHOUT_STORE, reasons.NOT_INVOICED, reasons.NOT_PAID}
)
"""Reasons that companies.yaml asks for: orders_since, no store, revenue. They do not count as too much."""

_WAITING = frozenset({NOT_LOOKED_AT, MEMBER_WAITS})

MISSING = "missing_in_mailchimp"
NOT_DUE = "not_due"
NOT_KNOWN = "not_known_to_odoo"
OTHER_CURRENCY = "other_currency"
AMOUNT = "amount_differs"
CANCELLED_STATE = "cancelled_state_differs"
DATE = "date_differs"
WAITS = "waits_for_approval"
LEFT_ALONE = "left_alone"

DIFFERENCES = {
    MISSING: "the store should hold the order and does not",
    NOT_DUE: "the store holds an order of Odoo that it should not hold",
    NOT_KNOWN: "the store holds an order that Odoo does not have",
    OTHER_CURRENCY: "the store holds the order in another currency; its amounts are not added up",
    AMOUNT: "the amounts are not the same",
    CANCELLED_STATE: "the order is cancelled in only one of the two systems",
    DATE: "the store holds the order under another date",
    WAITS: "the store holds more of the order than it should, until somebody approves the correction",
    LEFT_ALONE: (
        "the store holds an order that is no longer due, at its kept amounts; or at less, because writing "
        "it could bring the person back"
    ),
}
"""How a store differs from what it should hold, the first that applies: code and sentence."""

_KEY = ["store_id", "foreign_order_id"]
_PARTS = ("goods", "shipping", "tax")
_OF_ODOO = ("ordered", "kept", "left_out")
# Below any amount of any currency, above the noise of floats.
_NOISE = 1e-4


def reconcile(
    store_orders: pd.DataFrame,
    held: pd.DataFrame,
    pushed: pd.DataFrame,
    *,
    currency: str,
    decimal_places: int,
    timezone: str,
) -> pd.DataFrame:
    """Set every order of Odoo beside what the stores hold of it.

    Args:
        store_orders: rows of ``store_orders``, due and excluded.
        held: what the company's stores hold, as read back: ``store_id``, ``foreign_order_id``, ``currency``,
            ``order_total``, ``tax_total``, ``shipping_total``, ``processed_at`` and ``cancelled_at`` (UTC).
        pushed: rows of ``order_push``: the outcome of the last push.
        currency: the company's currency.
        decimal_places: of that currency.
        timezone: of the company, for the month of an order that Odoo does not have.

    Returns:
        Rows of ``revenue_reconciliation``, by month and order. Each order of Odoo has one row; those of
        people who were erased are one sum per month. An order that a store holds and should not has a row of
        its own, with ``orders`` 0 and nothing of Odoo, so that every column adds up.

    Raises:
        RuleError: an order is there twice, or in another currency than the company's.
    """
    require_unique(store_orders, "order_id")
    if held.duplicated(_KEY).any():
        raise RuleError("a store holds two orders with the same id; read its orders again")
    if not store_orders["currency"].isin([currency]).all():
        raise RuleError(f"store_orders holds amounts that are not in {currency}, the company's currency")
    scale = 10**decimal_places
    odoo = _odoo_side(store_orders, scale, timezone)
    mailchimp = _mailchimp_side(held, currency, scale, timezone)
    due = odoo[odoo["is_due"]].merge(mailchimp, how="left", on=_KEY)
    extra = _held_though_not_due(odoo, mailchimp, currency)
    rows = pd.concat([due, odoo[~odoo["is_due"]], extra], ignore_index=True)
    for column in _amount_columns():
        rows[column] = rows[column].astype("float64").fillna(0).astype("int64")
    for column in ("held", "held_cancelled", "held_exact", "as_kept", "at_most_kept"):
        rows[column] = rows[column].astype("boolean").fillna(column == "held_exact").astype(bool)
    last = pushed.drop_duplicates(_KEY, keep="last").set_index(_KEY)[["because", "outcome", "detail"]]
    said = last.reindex(pd.MultiIndex.from_frame(rows[_KEY])).set_axis(rows.index)
    for name in ("because", "outcome", "detail"):
        rows[f"push_{name}"] = said[name]
    rows["differs_because"] = _differences(rows, currency)
    rows = _one_sum_of_the_erased(rows)
    return _presented(rows, currency, scale)


def without_stores(store_orders: pd.DataFrame, store_ids: Collection[str]) -> pd.DataFrame:
    """Return the rows for :func:`reconcile`, with the orders of these stores as not looked at.

    What the stores hold is not to be given to it either.
    """
    concerned = store_orders["store_id"].isin(list(store_ids)) & (store_orders["excluded_because"] == "")
    because = store_orders["excluded_because"].mask(concerned, NOT_LOOKED_AT)
    return store_orders.assign(excluded_because=because)


def with_waiting_members(store_orders: pd.DataFrame, emails: Collection[str]) -> pd.DataFrame:
    """Return the rows for :func:`reconcile`, with a mark for people whose creation waits.

    ``emails``: addresses of people who become members once a person approves it.
    """
    concerned = (store_orders["excluded_because"] == reasons.NOT_A_MEMBER) & store_orders["email"].isin(
        list(emails)
    )
    because = store_orders["excluded_because"].mask(concerned, MEMBER_WAITS)
    return store_orders.assign(excluded_because=because)


def by_month(rows: pd.DataFrame, decimal_places: int) -> pd.DataFrame:
    """Sum up by month of the order, the earliest first.

    Args:
        rows: rows of ``revenue_reconciliation``.
        decimal_places: of the company's currency.

    Returns:
        One row per month: ``orders``, ``ordered``, ``given_back`` (credited or cancelled), ``kept`` (these
        without tax, by Odoo), ``left_out`` (of what is kept, in no store), ``due_goods``, ``due_shipping``,
        ``orders_held``, ``mailchimp_goods`` (Mailchimp's revenue), ``mailchimp_shipping``, ``left_alone``
        (goods and shipping of orders that stay though they are due no more), ``waiting`` (what Mailchimp
        holds too much until somebody approves corrections), ``difference`` (Mailchimp's goods and shipping
        less what is due, left alone and waiting; 0), ``orders_differing``. An order whose date differs is in
        the month that it has in Odoo.
    """
    scale = 10**decimal_places
    amounts = {
        "ordered": "ordered_untaxed",
        "given_back": "given_back_untaxed",
        "kept": "kept_untaxed",
        "left_out": "left_out_untaxed",
        "due_goods": "due_goods",
        "due_shipping": "due_shipping",
        "mailchimp_goods": "held_goods",
        "mailchimp_shipping": "held_shipping",
    }
    sums = pd.DataFrame({name: units(rows[column], scale) for name, column in amounts.items()})
    sums["orders"] = rows["orders"]
    sums["orders_held"] = rows["held"].astype("int64")
    sums["left_alone"] = (sums["mailchimp_goods"] + sums["mailchimp_shipping"]).where(
        rows["differs_because"] == LEFT_ALONE, 0
    )
    extra = sums["mailchimp_goods"] + sums["mailchimp_shipping"] - sums["due_goods"] - sums["due_shipping"]
    sums["waiting"] = extra.where(rows["differs_because"] == WAITS, 0)
    sums["orders_differing"] = differing(rows).astype("int64")
    months = sums.groupby(rows["month"], sort=True).sum()
    held = months["mailchimp_goods"] + months["mailchimp_shipping"]
    explained = months["due_goods"] + months["due_shipping"] + months["left_alone"] + months["waiting"]
    months["difference"] = held - explained
    for column in [*amounts, "left_alone", "waiting", "difference"]:
        months[column] = months[column] / scale
    order = [
        "orders", "ordered", "given_back", "kept", "left_out", "due_goods", "due_shipping", "orders_held",
        "mailchimp_goods", "mailchimp_shipping", "left_alone", "waiting", "difference", "orders_differing",
    ]  # fmt: skip
    return months[order].rename_axis("month").reset_index()


def differing(rows: pd.DataFrame) -> pd.Series:
    """Mark the rows whose store is not as it should be; what is left alone on purpose, or waits for a person,
    is none of them."""
    return ~rows["differs_because"].isin(["", LEFT_ALONE, WAITS])


def left_out(rows: pd.DataFrame, decimal_places: int) -> pd.DataFrame:
    """Sum up by reason what is kept by Odoo and in no store, the largest amount first.

    Returns:
        ``reason``, ``orders``, ``kept_untaxed``, ``by_settings`` (companies.yaml asks for it), ``in_words``.
    """
    scale = 10**decimal_places
    out = rows[rows["left_out_because"] != ""]
    sums = pd.DataFrame(
        {
            "reason": out["left_out_because"],
            "orders": out["orders"],
            "kept_untaxed": units(out["left_out_untaxed"], scale),
        }
    )
    found = sums.groupby("reason", as_index=False).sum()
    found["kept_untaxed"] = found["kept_untaxed"] / scale
    found["by_settings"] = found["reason"].isin(BY_SETTINGS)
    found["in_words"] = found["reason"].map(LEFT_OUT)
    return found.sort_values(["kept_untaxed", "reason"], ascending=[False, True], ignore_index=True)


def left_out_share(rows: pd.DataFrame) -> float:
    """Return how much of the kept revenue that settings ask for is for no store, 0 to 1.

    What is for a store that was not looked at is not among it: it is there, or waits for it. Nor is that of
    people whose creation waits for an approval.
    """
    return _share(rows, ~rows["left_out_because"].isin(_WAITING))


def waiting_share(rows: pd.DataFrame) -> float:
    """Return how much of it waits, or is for stores that were not looked at, 0 to 1: what
    ``left_out_share`` leaves out."""
    return _share(rows, rows["left_out_because"].isin(_WAITING))


def _share(rows: pd.DataFrame, counts: pd.Series) -> float:
    asked = ~rows["left_out_because"].isin(BY_SETTINGS)
    kept = rows.loc[asked, "kept_untaxed"].abs().sum()
    return float(rows.loc[asked & counts, "left_out_untaxed"].abs().sum() / kept) if kept else 0.0


def _odoo_side(store_orders: pd.DataFrame, scale: int, timezone: str) -> pd.DataFrame:
    """What Odoo keeps of each order, and what a store should hold of it, in smallest units."""
    because = texts(store_orders, "excluded_because").fillna("")
    due = because == ""
    goods, shipping, tax = (units(store_orders[f"{part}_total"], scale) for part in _PARTS)
    kept = units(store_orders["kept_untaxed_company"], scale)
    not_sent = kept - (goods + shipping).where(due, 0)
    below_zero = store_orders["below_zero"].astype(bool)
    counts = ~store_orders["uncounted_because"].isin([reasons.NOT_INVOICED, reasons.NOT_PAID])
    partly = pd.Series(np.where(below_zero, BELOW_ZERO, FIXED_RATE), index=store_orders.index)
    return pd.DataFrame(
        {
            "order_id": store_orders["order_id"].astype("Int64"),
            "name": texts(store_orders, "name"),
            "month": texts(store_orders, "month"),
            "state": texts(store_orders, "state"),
            "audience": texts(store_orders, "audience"),
            "store_id": texts(store_orders, "store_id"),
            "foreign_order_id": texts(store_orders, "foreign_order_id"),
            "orders": 1,
            "is_due": due,
            "moment": times(store_orders, "processed_at").dt.floor("s"),
            "moment_month": _months(times(store_orders, "processed_at"), timezone),
            "ordered": units(store_orders["ordered_untaxed_company"], scale),
            "kept": kept,
            "left_out_because": because.mask(due & (not_sent != 0), partly),
            "left_out": not_sent,
            "kept_goods": goods.where(counts, 0),
            "kept_shipping": shipping.where(counts, 0),
            "kept_tax": tax.where(counts, 0),
            "due_goods": goods.where(due, 0),
            "due_shipping": shipping.where(due, 0),
            "due_tax": tax.where(due, 0),
        }
    )


def _mailchimp_side(held: pd.DataFrame, currency: str, scale: int, timezone: str) -> pd.DataFrame:
    """What the stores hold, in smallest units; of an order in another currency the amounts count for 0."""
    comparable = texts(held, "currency") == currency
    total, tax, shipping = (
        units(held[name], scale).where(comparable, 0)
        for name in ("order_total", "tax_total", "shipping_total")
    )
    exact = pd.Series(True, index=held.index)
    for name in ("order_total", "tax_total", "shipping_total"):
        sent = held[name].astype("float64").fillna(0.0) * scale
        exact &= (sent - sent.round()).abs() <= _NOISE
    return pd.DataFrame(
        {
            "store_id": texts(held, "store_id"),
            "foreign_order_id": texts(held, "foreign_order_id"),
            "held": True,
            "held_goods": total - tax - shipping,
            "held_shipping": shipping,
            "held_tax": tax,
            "held_currency": texts(held, "currency"),
            "held_exact": exact | ~comparable,
            "held_cancelled": times(held, "cancelled_at").notna(),
            "held_moment": times(held, "processed_at").dt.floor("s"),
            "held_month": _months(times(held, "processed_at"), timezone),
        }
    )


def _months(moments: pd.Series, timezone: str) -> pd.Series:
    """The months (YYYY-MM) of moments in a timezone; empty where there is none."""
    months: pd.Series = moments.dt.tz_convert(timezone).dt.strftime("%Y-%m")
    return months.where(months.notna(), "").astype(object)


def _held_though_not_due(odoo: pd.DataFrame, mailchimp: pd.DataFrame, currency: str) -> pd.DataFrame:
    """The orders that a store holds and should not: with what Odoo calls them, and nothing of Odoo's sums."""
    due = pd.MultiIndex.from_frame(odoo.loc[odoo["is_due"], _KEY])
    extra = mailchimp[~pd.MultiIndex.from_frame(mailchimp[_KEY]).isin(due)]
    known = odoo.drop_duplicates("foreign_order_id").set_index("foreign_order_id")
    own = known.reindex(extra["foreign_order_id"]).set_axis(extra.index)
    is_more = (extra["held_currency"] != currency) | ~extra["held_exact"].astype(bool)
    for part in _PARTS:
        is_more |= ~(extra[f"held_{part}"] <= own[f"kept_{part}"])
    audience_of = (
        odoo.dropna(subset=["store_id"]).drop_duplicates("store_id").set_index("store_id")["audience"]
    )
    return extra.assign(
        moment=own["moment"],
        moment_month=own["moment_month"],
        order_id=own["order_id"].astype("Int64"),
        name=own["name"],
        month=own["month"].where(own["month"].notna(), extra["held_month"]),
        state=own["state"],
        audience=extra["store_id"].map(audience_of),
        orders=0,
        is_due=False,
        left_out_because="",
        not_due_because=own["left_out_because"].where(own["left_out_because"].notna(), None),
        as_kept=_holds(extra, own, "kept")
        & (extra["held_cancelled"] == (own["state"] == "cancel"))
        & (extra["held_moment"] == own["moment"]),
        at_most_kept=~is_more & (extra["held_cancelled"] | (own["state"] != "cancel")),
    )


def _holds(held: pd.DataFrame, odoo: pd.DataFrame, side: str) -> pd.Series:
    """Whether a store holds an order with these amounts of Odoo's, to the smallest unit."""
    same = held["held_exact"].astype(bool)
    for part in _PARTS:
        same &= held[f"held_{part}"] == odoo[f"{side}_{part}"]
    return same


def _differences(rows: pd.DataFrame, currency: str) -> np.ndarray:
    same = _holds(rows, rows, "due")
    both = rows["is_due"] & rows["held"]
    extra = rows["held"] & ~rows["is_due"]
    is_right = rows["as_kept"] & ((rows["push_because"] == KEPT_RIGHT) | rows["push_outcome"].isin(DONE))
    # What no write would correct is no difference, as long as it contains nothing that was refunded.
    untouchable = rows["at_most_kept"] & (rows["push_because"] == STAYS)
    worth = rows[[f"held_{part}" for part in _PARTS]].any(axis=1)
    waits = rows["push_detail"].astype(object).fillna("").str.startswith(WAITS_IN_WORDS)
    return np.select(
        [
            rows["held"] & waits & (extra | ~same | (rows["held_cancelled"] != (rows["state"] == "cancel"))),
            rows["is_due"] & ~rows["held"],
            # What counts as revenue no more stays in its store, worth nothing.
            extra & rows["not_due_because"].isin([reasons.NOT_INVOICED, reasons.NOT_PAID]) & ~worth,
            extra & (is_right | untouchable),
            extra & rows["order_id"].notna(),
            extra,
            both & (rows["held_currency"] != currency),
            both & ~same,
            both & (rows["held_cancelled"] != (rows["state"] == "cancel")),
            both & (rows["held_moment"] != rows["moment"]),
        ],
        [WAITS, MISSING, "", LEFT_ALONE, NOT_DUE, NOT_KNOWN, OTHER_CURRENCY, AMOUNT, CANCELLED_STATE, DATE],
        "",
    )


def _one_sum_of_the_erased(rows: pd.DataFrame) -> pd.DataFrame:
    """Replace the orders of people who were erased by one row a month: only their sum is shown (rule
    10.1)."""
    erased = rows["left_out_because"] == reasons.ERASED
    if not erased.any():
        return rows
    columns = ["orders", *_amount_columns()]
    sums = rows[erased].groupby("month", as_index=False)[columns].sum()
    sums = sums.assign(
        left_out_because=reasons.ERASED, differs_because="", is_due=False, held=False, held_exact=True,
        held_cancelled=False, order_id=pd.Series(pd.NA, index=sums.index, dtype="Int64"),
    )  # fmt: skip
    return pd.concat([rows[~erased], sums], ignore_index=True)


def _presented(rows: pd.DataFrame, currency: str, scale: int) -> pd.DataFrame:
    """Give the rows the columns of the table: amounts in the currency, differences, and the push's words."""
    differs = rows["differs_because"] != ""
    presented = pd.DataFrame(
        {
            **{name: texts(rows, name) for name in ("name", "state", "audience", *_KEY)},
            "order_id": rows["order_id"].astype("Int64"),
            "month": rows["month"].astype(object),
            "orders": rows["orders"].astype("int64"),
            "currency": currency,
            "ordered_untaxed": rows["ordered"] / scale,
            "given_back_untaxed": (rows["ordered"] - rows["kept"]) / scale,
            "kept_untaxed": rows["kept"] / scale,
            "left_out_because": texts(rows, "left_out_because").fillna(""),
            "left_out_untaxed": rows["left_out"] / scale,
            "held": rows["held"],
        }
    )
    for part in _PARTS:
        presented[f"due_{part}"] = rows[f"due_{part}"] / scale
        presented[f"held_{part}"] = rows[f"held_{part}"] / scale
        presented[f"difference_{part}"] = (rows[f"held_{part}"] - rows[f"due_{part}"]) / scale
    presented["differs_because"] = rows["differs_because"]
    presented["differs_detail"] = _details(rows, scale)
    for name in ("outcome", "detail"):
        said = rows[f"push_{name}"].astype(object).where(differs)
        # Mailchimp's own words quote addresses.
        presented[f"push_{name}"] = [None if pd.isna(text) else mask_text(str(text)) for text in said]
    return presented.sort_values(
        ["month", "order_id", "orders"], ascending=[True, True, False], ignore_index=True
    )


def _details(rows: pd.DataFrame, scale: int) -> list[str | None]:
    """Say in words what differs; only few rows differ."""
    details: list[str | None] = [None] * len(rows)
    for position in np.flatnonzero((rows["differs_because"] != "").to_numpy()):
        row = rows.iloc[position]
        said = DIFFERENCES[row["differs_because"]]
        if row["differs_because"] in (NOT_DUE, LEFT_ALONE) and isinstance(row.get("not_due_because"), str):
            because = LEFT_OUT.get(row["not_due_because"])
            said += f": {because}" if because else ": another store should hold it"
        elif row["differs_because"] == OTHER_CURRENCY:
            said += f": {row['held_currency']}"
        elif row["differs_because"] == AMOUNT:
            parts = [
                f"{part} {row[f'held_{part}'] / scale:.{_places(scale)}f} "
                f"instead of {row[f'due_{part}'] / scale:.{_places(scale)}f}"
                for part in _PARTS
                if row[f"held_{part}"] != row[f"due_{part}"]
            ]
            said += f": {', '.join(parts) or 'Mailchimp holds fractions of the smallest currency unit'}"
        elif row["differs_because"] == DATE:
            said += f": {_day(row['held_moment'], row['held_month'])} instead of "
            said += _day(row["moment"], row["moment_month"])
        elif row["differs_because"] == CANCELLED_STATE:
            said += f": in {'Mailchimp' if row['held_cancelled'] else 'Odoo'}"
        details[position] = said
    return details


def _day(moment: pd.Timestamp, month: str) -> str:
    return "none" if pd.isna(moment) else f"{moment:%Y-%m-%d %H:%M:%S} UTC ({month})"


def _places(scale: int) -> int:
    return len(str(scale)) - 1


def _amount_columns() -> list[str]:
    return cast(list[str], [*_OF_ODOO, *(f"{side}_{part}" for side in ("due", "held") for part in _PARTS)])
