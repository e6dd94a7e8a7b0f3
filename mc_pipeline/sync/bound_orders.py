"""Which orders stay with a customer who has no address, though the invoice address has one."""

from collections.abc import Collection

import pandas as pd

from mc_pipeline.domain.contacts.people import orders_bound_to_customer, orders_by_invoice_address
from mc_pipeline.ledger import Ledger


def orders_bound(
    ledger: Ledger,
    company: str,
    partners: pd.DataFrame,
    orders: pd.DataFrame,
    *,
    others: Collection[int],
) -> frozenset[int]:
    """Ids of orders that never pass to their invoice address, by what the company's stores hold (rule 2.3).

    ``company`` is its key in the settings; ``partners`` and ``orders`` are rows of the tables of Odoo;
    ``others`` are customers who belong to another company, or were erased.
    """
    by_invoice = orders_by_invoice_address(partners, orders)
    if by_invoice.empty:
        return frozenset()
    held = ledger.stores.orders_present(company)
    held = held[held["order_id"].isin(by_invoice["order_id"]) & held["email"].notna()]
    held_for = dict(zip(held["order_id"], held["email"].astype(object), strict=True))
    had = {(row.partner_id, row.email) for row in ledger.partner_addresses.of(set(held_for.values()))}
    return orders_bound_to_customer(by_invoice, others=others, held_for=held_for, had=had)
