"""Which store should hold an order, with which amounts and lines; or the one reason why none should.

Amounts are kept revenue, in the currency of the company, which is the store's: goods and shipping without
tax, and all tax. They are worked out in smallest units and always add up. What falls below zero becomes zero;
goods and shipping make up for each other first.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import pandas as pd

from mc_pipeline.domain.columns import ids, texts, times
from mc_pipeline.domain.company import SellingCompany
from mc_pipeline.domain.contacts.people import first_reason, judge_partners, persons_of_orders
from mc_pipeline.domain.revenue.due import invoiced_orders, unsettled_orders
from mc_pipeline.domain.revenue.kept import kept_by_line
from mc_pipeline.domain.revenue.money import convert, scale_of, units
from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.lines import store_lines

BEFORE_ORDERS_SINCE = "before_orders_since"
CANCELLED = "cancelled"
NO_USABLE_ADDRESS = "no_usable_address"
UNKNOWN_CUSTOMER = "the Odoo user does not see the customer: hidden, or deleted"
ERASED = "erased"
NO_AUDIENCE = "no_audience"
NOT_A_CONTACT = "not_a_contact"
OTHER_COMPANY = "other_company"
AUDIENCE_WITHOUT_STORE = "audience_without_store"
STORE_IN_OTHER_CURRENCY = "store_in_other_currency"
NOT_A_MEMBER = "not_a_member"
OTHER_CURRENCY_WITHOUT_RATE = "other_currency_without_rate"
NOT_INVOICED = "not_invoiced"
NOT_PAID = "not_paid"

EXCLUDED = {
    BEFORE_ORDERS_SINCE: "the order is of a month before orders_since in companies.yaml",
    CANCELLED: "the order is cancelled, and no store holds it",
    ERASED: "the person was erased on request",
    OTHER_COMPANY: "the customer belongs to another company of this Odoo",
    NO_USABLE_ADDRESS: "neither the customer nor the invoice address has a usable e-mail address",
    NO_AUDIENCE: "the person matches no audience rule",
    NOT_A_CONTACT: "the person is not a contact",
    AUDIENCE_WITHOUT_STORE: "companies.yaml names no store for the person's audience",
    STORE_IN_OTHER_CURRENCY: "the store's currency in companies.yaml is not the company's",
    NOT_A_MEMBER: "the person is not a member of the audience, or is archived there",
    OTHER_CURRENCY_WITHOUT_RATE: "the order is in another currency, and Odoo has no rate for it",
    NOT_INVOICED: "something of the order is still to be invoiced, and revenue counts when it is invoiced",
    NOT_PAID: "an invoice of the order is not paid, and revenue counts when it is paid",
}
"""Why an order is due in no store, the first that applies: code and sentence."""


@dataclass(frozen=True, kw_only=True)
class OrderTables:
    """What the orders of a company are judged by.

    Attributes:
        orders: rows of ``odoo_orders``.
        lines: rows of ``odoo_order_lines``.
        refunds: rows of ``odoo_refunds``.
        products: rows of ``odoo_products``; a product that is not there was deleted.
        partners: all rows of ``odoo_partners``.
        contacts: rows of ``contacts``.
        set_aside: rows of ``set_aside``.
        members: ``list_id`` and ``email`` of everybody in an audience, in whatever status but archived.
    """

    orders: pd.DataFrame
    lines: pd.DataFrame
    refunds: pd.DataFrame
    products: pd.DataFrame
    partners: pd.DataFrame
    contacts: pd.DataFrame
    set_aside: pd.DataFrame
    members: pd.DataFrame


def build_store_orders(
    tables: OrderTables,
    company: SellingCompany,
    *,
    fixed_rates: Mapping[int, float] | None = None,
    held_orders: Collection[int] = (),
    cancelled_since: Mapping[int, datetime] | None = None,
    erased_partners: Collection[int] = (),
    elsewhere: Mapping[int, str] = MappingProxyType({}),
    bound_orders: Collection[int] = (),
) -> pd.DataFrame:
    """Say of every order where it belongs and what the store should hold of it.

    Args:
        tables: what the orders are judged by.
        company: the company's settings.
        fixed_rates: order id to rate (order currency per unit of company currency), of orders in another
            currency that a store holds already: they stay at the rate of their first push.
        held_orders: ids of the orders that a store holds already. A cancelled order is brought to none.
        cancelled_since: order id to the moment at which the order was seen cancelled first.
        erased_partners: ids of partners of people who were erased; they are among the partners no more.
        elsewhere: customers who belong to another company, which is not above this one: partner id to the
            name of that company. They are not among the partners.
        bound_orders: ids of orders that never pass to the invoice address
            (``people.orders_bound_to_customer``).

    Returns:
        Rows of ``store_orders``, one per order, by id: due in one store, or excluded for one reason. Month,
        amounts and lines are there either way: a store that holds an excluded order is kept right by them
        (see ``held_orders``). ``kept_untaxed_company`` is Odoo's, below zero where it is.
        ``uncounted_because`` is OTHER_CURRENCY_WITHOUT_RATE, NOT_INVOICED or NOT_PAID, also of orders that
        are excluded for another reason.

    Raises:
        RuleError: an order, line or partner is there twice.
    """
    lines, refunds, products, partners = tables.lines, tables.refunds, tables.products, tables.partners
    orders = tables.orders.sort_values("order_id", ignore_index=True)
    parts = _in_units(kept_by_line(orders, lines, refunds), orders)
    amounts = _amounts(orders, parts, fixed_rates or {})
    where = _places(
        orders, judge_partners(partners), tables.contacts, tables.set_aside, company, bound_orders
    )
    customer = ids(orders, "partner_id")
    belongs_to = customer.map(elsewhere).where(~customer.isin(set(partners["partner_id"]))).astype(object)
    erased = orders[["partner_id", "partner_invoice_id"]].isin(set(erased_partners)).any(axis=1)
    of_revenue = _reasons_of_revenue(orders, lines, refunds, parts, amounts, company)
    reasons = {
        BEFORE_ORDERS_SINCE: orders["month"] < (company.orders_since or ""),
        CANCELLED: (orders["state"] != "sale") & ~orders["order_id"].isin(set(held_orders)),
        ERASED: erased & where["person_email"].isna(),
        OTHER_COMPANY: belongs_to.notna(),
        **_reasons_of_place(orders, where, tables.members, company),
        **of_revenue,
    }
    because = first_reason({code: reasons[code] for code in EXCLUDED}, orders.index)
    rows = pd.DataFrame(
        {
            "order_id": orders["order_id"].astype("int64"),
            "name": texts(orders, "name"),
            "month": texts(orders, "month"),
            "state": texts(orders, "state"),
            "partner_id": where["partner_id"],
            "email": where["person_email"],
            "audience": where["audience"],
            "list_id": where["list_id"],
            "store_id": where["store_id"],
            "foreign_order_id": _text(orders["order_id"].map(store_ids.order_id)),
            "processed_at": times(orders, "date_order"),
            "cancelled_at": _cancelled_at(orders, cancelled_since or {}),
            "currency": texts(orders, "company_currency"),
            **_sums(orders, amounts),
            "lines_json": store_lines(orders, lines, parts, products, amounts),
            "kept_untaxed_company": orders["kept_untaxed_company"].astype("float64"),
            "ordered_untaxed_company": orders["amount_untaxed_company"].astype("float64"),
            "below_zero": amounts["below_zero"],
            "excluded_because": because,
            "excluded_detail": _details(
                because, where, belongs_to, unknown=~customer.isin(set(partners["partner_id"]))
            ),
            "uncounted_because": first_reason(of_revenue, orders.index),
        }
    )
    return rows


def _in_units(parts: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """Turn the amounts of the orders' parts into whole smallest units of the order's currency."""
    scale = scale_of(orders.set_index("order_id")["decimal_places"]).reindex(parts["order_id"]).array
    names = [f"{what}_{amount}" for what in ("ordered", "sold", "kept") for amount in ("untaxed", "tax")]
    return parts[["order_id", "line_id", "is_delivery"]].assign(
        **{name: units(parts[name], scale) for name in names}
    )


def _amounts(orders: pd.DataFrame, parts: pd.DataFrame, fixed_rates: Mapping[int, float]) -> pd.DataFrame:
    """Work out goods, shipping and tax of every order in smallest units of the company's currency.

    With the index of ``orders``. ``factor``: what a smallest unit of the order's currency is worth, 0 without
    a rate; ``scale``: how many smallest units make one of the company's currency.
    """
    own_currency = orders["currency"] == orders["company_currency"]
    own_rate = orders["currency_rate"].astype("float64").fillna(0.0)
    rate = orders["order_id"].map(dict(fixed_rates)).astype("float64").fillna(own_rate)
    scale = scale_of(orders["company_decimal_places"])
    exchanged = scale / scale_of(orders["decimal_places"]) / rate.where(rate > 0)
    factor = exchanged.fillna(0.0).mask(own_currency, 1.0)

    def total(of: pd.DataFrame, amount: str) -> pd.Series:
        sums = of.groupby("order_id")[amount].sum()
        return sums.reindex(orders["order_id"], fill_value=0).set_axis(orders.index)

    untaxed = convert(total(parts, "kept_untaxed"), factor)
    # At the order's own rate it is worth what Odoo's kept revenue adds up.
    by_odoo = units(orders["kept_untaxed_company"], scale)
    untaxed = untaxed.mask(~own_currency & (rate == own_rate), by_odoo)
    shipping = convert(total(parts[parts["is_delivery"]], "kept_untaxed"), factor)
    tax = convert(total(parts, "kept_tax"), factor)
    goods = untaxed - shipping
    return pd.DataFrame(
        {
            "factor": factor,
            "scale": scale,
            "goods": (goods + shipping.clip(upper=0)).clip(lower=0),
            "shipping": (shipping + goods.clip(upper=0)).clip(lower=0),
            "tax": tax.clip(lower=0),
            "below_zero": (goods < 0) | (shipping < 0) | (tax < 0),
        }
    )


def _sums(orders: pd.DataFrame, amounts: pd.DataFrame) -> dict[str, pd.Series]:
    whole = amounts["goods"] + amounts["shipping"] + amounts["tax"]
    units = {
        "order_total": whole,
        "tax_total": amounts["tax"],
        "shipping_total": amounts["shipping"],
        "goods_total": amounts["goods"],
    }
    return {name: value / amounts["scale"] for name, value in units.items()}


def _places(
    orders: pd.DataFrame,
    judged: pd.DataFrame,
    contacts: pd.DataFrame,
    set_aside: pd.DataFrame,
    company: SellingCompany,
    bound_orders: Collection[int],
) -> pd.DataFrame:
    """Say of every order whose it is and which audience and store that leads to; or why the person has none.

    Of ``aside_as`` and ``aside_because``, what was said of the order's own partner comes first.
    """
    persons = persons_of_orders(judged, orders, bound_orders)
    audience = persons["person_email"].map(contacts.set_index("email")["audience"])
    stores = {key: each.store.id for key, each in company.audiences.items() if each.store is not None}
    lists = {key: each.list_id for key, each in company.audiences.items()}
    said = set_aside[["partner_id", "person_email", "reason", "detail"]].sort_values("partner_id")
    of_partner = said.drop_duplicates("partner_id").set_index("partner_id")
    of_person = said.dropna(subset="person_email").drop_duplicates("person_email").set_index("person_email")

    def aside(what: str) -> pd.Series:
        found = persons["partner_id"].map(of_partner[what]).astype(object)
        return found.where(found.notna(), persons["person_email"].map(of_person[what]).astype(object))

    return persons.assign(
        audience=_text(audience),
        list_id=_text(audience.map(lists)),
        store_id=_text(audience.map(stores)),
        aside_as=aside("reason"),
        aside_because=aside("detail"),
    )


def _text(values: pd.Series) -> pd.Series:
    values = values.astype(object)
    return values.where(values.notna(), None)


def _reasons_of_place(
    orders: pd.DataFrame, where: pd.DataFrame, members: pd.DataFrame, company: SellingCompany
) -> dict[str, pd.Series]:
    in_audience = pd.MultiIndex.from_frame(where[["list_id", "person_email"]]).isin(
        pd.MultiIndex.from_frame(members[["list_id", "email"]])
    )
    currencies = {key: each.store.currency for key, each in company.audiences.items() if each.store}
    store_currency = where["audience"].map(currencies)
    nobody = where["audience"].isna()
    return {
        NO_USABLE_ADDRESS: where["person_email"].isna(),
        NO_AUDIENCE: nobody & (where["aside_as"] == "no_audience"),
        NOT_A_CONTACT: nobody,
        AUDIENCE_WITHOUT_STORE: where["store_id"].isna(),
        STORE_IN_OTHER_CURRENCY: store_currency.notna() & (store_currency != orders["company_currency"]),
        NOT_A_MEMBER: pd.Series(~in_audience, index=orders.index),
    }


def _reasons_of_revenue(
    orders: pd.DataFrame,
    lines: pd.DataFrame,
    refunds: pd.DataFrame,
    parts: pd.DataFrame,
    amounts: pd.DataFrame,
    company: SellingCompany,
) -> dict[str, pd.Series]:
    confirmed = orders["state"] == "sale"
    nothing = pd.Series(False, index=orders.index)
    reasons = {
        OTHER_CURRENCY_WITHOUT_RATE: confirmed & (amounts["factor"] == 0),
        NOT_INVOICED: nothing,
        NOT_PAID: nothing,
    }
    if company.revenue in ("invoiced", "paid"):
        # An order without lines and amounts has no part, and nothing to invoice.
        with_parts = orders["order_id"].isin(parts["order_id"])
        reasons[NOT_INVOICED] = confirmed & with_parts & ~orders["order_id"].isin(invoiced_orders(parts))
    if company.revenue == "paid":
        reasons[NOT_PAID] = confirmed & orders["order_id"].isin(unsettled_orders(refunds, lines))
    return reasons


def _details(because: pd.Series, where: pd.DataFrame, belongs_to: pd.Series, unknown: pd.Series) -> pd.Series:
    """Say in words why each order is excluded; ``unknown``: its customer is not among the partners."""
    sentence = because.map(EXCLUDED).astype(object)
    sentence = sentence.mask((because == NO_USABLE_ADDRESS) & unknown, UNKNOWN_CUSTOMER)
    sentence = sentence.mask(because == OTHER_COMPANY, "customer belongs to company " + belongs_to)
    says_more = (because == NOT_A_CONTACT) & where["aside_because"].notna()
    return _text(sentence.mask(says_more, sentence + ": " + where["aside_because"].astype(object)))


def _cancelled_at(orders: pd.DataFrame, cancelled_since: Mapping[int, datetime]) -> pd.Series:
    """Since when an order is cancelled: as seen first; Odoo keeps no date, so its last change is used."""
    seen = pd.to_datetime(orders["order_id"].map(cancelled_since), utc=True)
    changed = times(orders, "write_date").fillna(times(orders, "date_order"))
    since = seen.fillna(changed).where(orders["state"] == "cancel")
    return since.astype("datetime64[us, UTC]")
