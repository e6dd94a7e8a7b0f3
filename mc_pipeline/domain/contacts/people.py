"""Who a person is: which partners are people, which of them share an address, and who an order belongs to.

A person is one normalised e-mail within one company. All partners with that address are that person; one of
them, the winner, speaks for the address. Why a person is left out for another reason than what they are is
in ``set_aside``.
"""

from collections.abc import Collection, Mapping, Set
from types import MappingProxyType

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import flags, ids, numbers, require_unique, texts, times
from mc_pipeline.domain.contacts.addresses import read_addresses
from mc_pipeline.domain.errors import RuleError

NEVER = ("internal_user", "employee", "own_company", "public_or_template_user")
"""Somebody who is one of these is not a contact, whatever else they are: not through another partner either
with the same address."""

ADDRESS_TYPES = frozenset({"delivery", "invoice", "other"})
INVOICE_ADDRESS = "invoice"

_FLAGS = (
    "active",
    "is_company",
    "is_blacklisted",
    "is_internal_user",
    "is_employee",
    "is_own_company",
    "is_public_or_template_user",
)

# Amounts are summed as whole ten-thousandths: exact, and the same in whatever order the rows come.
_UNITS = 10_000


def judge_partners(partners: pd.DataFrame) -> pd.DataFrame:
    """Say of every partner whether it stands for a person, and by which address.

    An archived partner does not: it makes nobody a contact on its own, but its orders still belong to the
    person when an active partner has the same address.

    Args:
        partners: all rows of ``odoo_partners``, archived ones included.

    Returns:
        The rows ordered by ``partner_id``, with their columns in one form and, added: ``excluded_as``
        (``internal_user``, ``employee``, ``own_company``, ``public_or_template_user``, ``address_type``,
        ``archived`` or empty, the first that applies), ``person_email``, ``email_problem``,
        ``several_addresses`` (see ``read_addresses``), and ``is_person`` (not excluded, valid address).

    Raises:
        RuleError: a partner is there twice.
    """
    require_unique(partners, "partner_id")
    judged = partners.sort_values("partner_id", kind="stable", ignore_index=True)
    judged["partner_id"] = judged["partner_id"].astype("int64")
    for column in ("parent_id", "commercial_partner_id"):
        judged[column] = ids(judged, column)
    judged["commercial_partner_id"] = (
        judged["commercial_partner_id"].fillna(judged["partner_id"]).astype("int64")
    )
    for column in _FLAGS:
        judged[column] = flags(judged, column)
    for column in ("supplier_rank", "message_bounce"):
        judged[column] = numbers(judged, column)
    judged["write_date"] = times(judged, "write_date")
    reasons = {
        "internal_user": judged["is_internal_user"],
        "employee": judged["is_employee"],
        "own_company": _in_own_company(judged),
        "public_or_template_user": judged["is_public_or_template_user"],
        "address_type": texts(judged, "type").isin(ADDRESS_TYPES),
        "archived": ~judged["active"],
    }
    judged["excluded_as"] = first_reason(reasons, judged.index)
    judged = judged.join(read_addresses(judged))
    judged["is_person"] = (judged["excluded_as"] == "") & (judged["email_problem"] == "")
    return judged


def first_reason(reasons: Mapping[str, pd.Series], index: pd.Index) -> pd.Series:
    """Return for every row the first of ``reasons`` that applies to it, empty when none does."""
    chosen = np.full(len(index), "", dtype=object)
    for reason, applies in reversed(list(reasons.items())):
        chosen[applies.to_numpy(dtype=bool)] = reason
    return pd.Series(chosen, index=index, dtype=object)


def _in_own_company(partners: pd.DataFrame) -> pd.Series:
    """Mark the partners of the Odoo companies themselves and everything below them."""
    own = set(partners.loc[partners["is_own_company"], "partner_id"])
    below = own
    while below:
        children = set(partners.loc[partners["parent_id"].isin(below), "partner_id"])
        below = children - own
        own = own | below
    return partners["partner_id"].isin(own)


def orders_by_invoice_address(partners: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """Find the orders whose customer has no usable address, or is not the company's, and that have another
    partner as invoice address who has one.

    Args:
        partners: all rows of ``odoo_partners``.
        orders: rows of ``odoo_orders``, in any state.

    Returns:
        ``order_id``, ``partner_id`` (the customer) and ``invoice_email`` (the invoice address's own address).
    """
    addresses = read_addresses(partners)
    usable = addresses["email_problem"] == ""
    address_of = dict(
        zip(partners.loc[usable.to_numpy(), "partner_id"], addresses.loc[usable, "person_email"], strict=True)
    )
    customer, invoiced = ids(orders, "partner_id"), ids(orders, "partner_invoice_id")
    found = customer.notna() & ~customer.isin(address_of) & invoiced.isin(address_of)
    return pd.DataFrame(
        {
            "order_id": orders.loc[found, "order_id"],
            "partner_id": customer[found],
            "invoice_email": invoiced[found].map(address_of).astype(object),
        }
    )


def orders_bound_to_customer(
    by_invoice_address: pd.DataFrame,
    *,
    others: Collection[int] = (),
    held_for: Mapping[int, str] = MappingProxyType({}),
    had: Collection[tuple[int, str]] = (),
) -> frozenset[int]:
    """Say which of these orders stay with their customer all the same, and so count to nobody.

    Of customers who belong to another company, or were erased, no order passes to an invoice address. Nor
    does one that a store holds for the customer, who merely lost the address since (rule 2.3): unless the
    invoice address has the very address now for which the store holds it, so that the order stays there.

    Args:
        by_invoice_address: result of ``orders_by_invoice_address``.
        others: ids of partners who belong to another company, or of people who were erased.
        held_for: order id to the address for which a store holds the order.
        had: partner and address, of everyone who has or had these addresses in Odoo.
    """
    theirs = set(had)
    elsewhere = set(others)
    return frozenset(
        int(order)
        for order, customer, invoice_email in zip(
            by_invoice_address["order_id"],
            by_invoice_address["partner_id"],
            by_invoice_address["invoice_email"],
            strict=True,
        )
        if customer in elsewhere
        or (
            held_for.get(int(order)) != invoice_email
            and (int(customer), held_for.get(int(order), "")) in theirs
        )
    )


def persons_of_orders(
    judged: pd.DataFrame, orders: pd.DataFrame, bound_orders: Collection[int] = ()
) -> pd.DataFrame:
    """Say whose each order is: the customer's; without a usable address, the invoice address's.

    Usable means written correctly. An order of an internal user stays theirs (and so counts to no contact):
    it does not move on to the invoice address. Nor does that of a customer who is not among the partners
    (hidden, of another company, erased, gone): if nothing is known about them, it is not known either that
    they have no address. It counts to nobody.

    Args:
        judged: result of ``judge_partners``.
        orders: rows of ``odoo_orders``, in any state.
        bound_orders: ids of orders that never pass to the invoice address (``orders_bound_to_customer``).

    Returns:
        With the index of ``orders``: ``partner_id`` (the partner that it counts to, nullable) and
        ``person_email`` (None: nobody's).
    """
    address_of = judged.set_index("partner_id")["person_email"]
    customer, invoiced = ids(orders, "partner_id"), ids(orders, "partner_invoice_id")
    of_customer = customer.map(address_of).astype(object)
    of_invoiced = invoiced.map(address_of).astype(object)
    unknown = ~customer.isin(set(judged["partner_id"]))
    of_invoiced = of_invoiced.mask(unknown | orders["order_id"].isin(set(bound_orders)), None)
    by_customer = of_customer.notna()
    email = of_customer.where(by_customer, of_invoiced)
    email = email.where(email.notna(), None)
    partner = customer.where(by_customer, invoiced).where(email.notna(), pd.NA)
    return pd.DataFrame(
        {"partner_id": partner.astype("Int64"), "person_email": email.astype(object)}, index=orders.index
    )


def stand_for_invoice_addresses(judged: pd.DataFrame, attributed: pd.DataFrame) -> pd.DataFrame:
    """Let the invoice addresses that confirmed orders count to stand for persons (rule 2.3).

    Odoo's address type ``invoice`` makes nobody a contact on its own. Where a customer has no usable address,
    its order counts to the invoice address, and that is then the person: unless another partner that stands
    for a person has the address, which speaks for it. Other address types stay what they are.

    Args:
        judged: result of ``judge_partners``.
        attributed: result of ``attribute_orders``.

    Returns:
        ``judged`` with ``excluded_as`` and ``is_person`` of these partners as for a contact.
    """
    through = attributed["partner_id"].notna() & (attributed["partner_id"] != attributed["customer_id"])
    spoken_for = set(judged.loc[judged["is_person"], "person_email"])
    stands = (
        judged["partner_id"].isin(set(attributed.loc[through, "partner_id"]))
        & (judged["excluded_as"] == "address_type")
        & (texts(judged, "type") == INVOICE_ADDRESS)
        & judged["active"]
        & (judged["email_problem"] == "")
        & ~judged["person_email"].isin(spoken_for)
    )
    return judged.assign(
        excluded_as=judged["excluded_as"].mask(stands, ""), is_person=judged["is_person"] | stands
    )


def attribute_orders(
    judged: pd.DataFrame, orders: pd.DataFrame, bound_orders: Collection[int] = ()
) -> pd.DataFrame:
    """List the confirmed orders with the person that each counts to (see ``persons_of_orders``).

    Args:
        judged: result of ``judge_partners``.
        orders: rows of ``odoo_orders``; cancelled orders count nowhere.
        bound_orders: as ``persons_of_orders``.

    Returns:
        One row per confirmed order, ordered by ``order_id``: ``order_id``, ``date_order`` (UTC),
        ``partner_id`` (the partner that it counts to, nullable), ``person_email`` (None: nobody's),
        ``kept_units`` (untaxed amount kept in company currency, in ten-thousandths; before credit notes were
        read, the amount ordered), ``currency`` (the company's), ``customer_id`` (the order's own partner).

    Raises:
        RuleError: an order is there twice, or the company's orders have several company currencies.
    """
    require_unique(orders, "order_id")
    confirmed = orders[orders["state"] == "sale"].sort_values("order_id", kind="stable", ignore_index=True)
    persons = persons_of_orders(judged, confirmed, bound_orders)
    kept = confirmed["amount_untaxed_company"]
    if "kept_untaxed_company" in confirmed.columns:
        kept = confirmed["kept_untaxed_company"].where(confirmed["kept_untaxed_company"].notna(), kept)
        # An order credited with more than it asked counts as nothing (rule 8.1) and takes from no other.
        kept = kept.clip(lower=0.0)
    units = (kept.astype("float64").fillna(0.0) * _UNITS).round().astype("int64")
    currency = texts(confirmed, "company_currency")
    if currency.nunique() > 1:
        raise RuleError(
            f"company_currency holds {', '.join(sorted(currency.dropna().unique()))}; "
            "the orders of one company have one company currency, read them again"
        )
    return pd.DataFrame(
        {
            "order_id": confirmed["order_id"].astype("int64"),
            "date_order": times(confirmed, "date_order"),
            "partner_id": persons["partner_id"],
            "person_email": persons["person_email"],
            "kept_units": units,
            "currency": currency,
            "customer_id": ids(confirmed, "partner_id"),
        }
    )


def sum_purchases(attributed: pd.DataFrame) -> pd.DataFrame:
    """Add up the confirmed orders of every person.

    Returns:
        Indexed by ``person_email``: ``order_count``, ``total_spent`` (company currency),
        ``first_order_date``, ``last_order_date`` (UTC). Orders of nobody are in none.
    """
    orders = attributed[attributed["person_email"].notna()].groupby("person_email", sort=True)
    return pd.DataFrame(
        {
            "order_count": orders.size(),
            "total_spent": orders["kept_units"].sum() / _UNITS,
            "first_order_date": orders["date_order"].min(),
            "last_order_date": orders["date_order"].max(),
        }
    )


def rank_partners(judged: pd.DataFrame, attributed: pd.DataFrame) -> pd.DataFrame:
    """Order the partners that stand for people so that the winner of each address comes first.

    The partner with the latest confirmed order wins (two at the same moment: the highest id); where none of
    them ordered, the one that was changed last in Odoo (then the highest id).

    Returns:
        The rows of ``judged`` that stand for a person, with what they are ranked by added.
    """
    people = judged[judged["is_person"]].copy()
    last_order = attributed.groupby("partner_id")["date_order"].max()
    people["last_order_of_partner"] = last_order.reindex(people["partner_id"]).array
    people["changed_without_order"] = people["write_date"].where(people["last_order_of_partner"].isna())
    return people.sort_values(
        ["last_order_of_partner", "changed_without_order", "partner_id"],
        ascending=False,
        na_position="last",
        ignore_index=True,
    )


def find_never_contacts(judged: pd.DataFrame) -> pd.DataFrame:
    """Find the addresses of people who are never contacts, through whichever partner.

    Returns:
        Indexed by ``person_email``: ``never_as`` (one of ``NEVER``) and ``never_through`` (that partner).
    """
    never = judged[judged["excluded_as"].isin(NEVER) & judged["person_email"].notna()]
    strongest = never.assign(_rank=never["excluded_as"].map(NEVER.index)).sort_values(["_rank", "partner_id"])
    first = strongest.drop_duplicates("person_email").set_index("person_email")
    return first[["excluded_as", "partner_id"]].rename(
        columns={"excluded_as": "never_as", "partner_id": "never_through"}
    )


def contact_persons_of_customers(judged: pd.DataFrame, attributed: pd.DataFrame) -> Set[int]:
    """Find the contact persons of customers: active children of type contact, with an address of their own.

    A customer here is a partner with a confirmed order, or one that shares its address with the person who
    has one. A customer that is archived, a postal address or never a contact has no contact persons.
    """
    ordered = set(attributed["customer_id"].dropna()) | set(attributed["partner_id"].dropna())
    people_who_ordered = set(attributed["person_email"].dropna())
    customers = judged[
        (judged["excluded_as"] == "")
        & (judged["partner_id"].isin(ordered) | judged["person_email"].isin(people_who_ordered))
    ]
    children = judged[judged["is_person"] & judged["parent_id"].isin(set(customers["partner_id"]))]
    return frozenset(int(partner) for partner in children["partner_id"])
