"""Many customers at once, for tests of size: plain records without history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo


def seed_many(
    odoo: SandboxOdoo, count: int, *, company_id: int = 1, orders_each: int = 1, prefix: str = "customer"
) -> range:
    """Add ``count`` people with ``orders_each`` confirmed orders each; gives the ids of their partners.

    Addresses are ``<prefix>N@example.com`` with N from 1. Goes around what Odoo does with a record that a
    person makes, and cannot be undone by a failing call.
    """
    database = odoo.database
    now = database.now()
    partners, orders = odoo.model("res.partner"), odoo.model("sale.order")
    currency = odoo.model("res.company").table.rows[company_id]["currency_id"]
    countries = sorted(odoo.model("res.country").table.ids)

    def people() -> Iterator[dict[str, Any]]:
        for number in range(1, count + 1):
            email = f"{prefix}{number}@example.com"
            yield {
                "name": f"Customer {number}",
                "email": email,
                "email_normalized": email,
                "company_id": company_id,
                "country_id": countries[number % len(countries)],
                "create_date": now,
                "write_date": now,
            }

    with database.lock:
        ids = partners.table.insert_many(people())
        first = orders.table.next_id

        def sales() -> Iterator[dict[str, Any]]:
            number = first
            for partner in ids:
                for repeat in range(orders_each):
                    amount = float(10 + (partner * 7 + repeat * 13) % 500)
                    yield {
                        "name": f"S{number:05d}",
                        "state": "sale",
                        "partner_id": partner,
                        "partner_invoice_id": partner,
                        "partner_shipping_id": partner,
                        "date_order": now.replace(microsecond=0)
                        - timedelta(days=(partner + 31 * repeat) % 700),
                        "company_id": company_id,
                        "currency_id": currency,
                        "amount_untaxed": amount,
                        "amount_total": amount,
                        "create_date": now,
                        "write_date": now,
                    }
                    number += 1

        orders.table.insert_many(sales())
    return ids


def add_many_members(
    mailchimp: SandboxMailchimp,
    list_id: str,
    emails: Iterable[str],
    status: str = "subscribed",
    *,
    at: datetime,
) -> None:
    """Put people on a list, each in this status since ``at``."""
    for email in emails:
        mailchimp.add_member(list_id, email, status, last_changed=at)
