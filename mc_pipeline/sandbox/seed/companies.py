"""The two companies, their user for the integration, their tags, products, taxes and mailing lists."""

from __future__ import annotations

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed.world import LISTS, ODOO_SECRET, ODOO_USER, DemoCompany

PRODUCTS = {
    "Oak desk": 420.0, "Office chair": 189.0, "Desk lamp": 39.5, "Notebook, set of 5": 12.5,
    "Monitor arm": 74.9,
    "Whiteboard": 99.0, "Bookshelf": 155.0, "Coat stand": 48.0, "Cable tray": 18.2, "Acoustic panel": 66.0,
    "Meeting table": 890.0, "Filing cabinet": 230.0,
}  # fmt: skip
TAGS = ("Wholesale", "VIP client", "Press", "Trade fair")
MAILING_LISTS = {"acme_uk": "Newsletter", "acme_fr": "Infolettre"}


def put_companies(odoo: SandboxOdoo) -> dict[str, DemoCompany]:
    """Company 1 becomes ACME UK, company 2 is ACME France; the integration's user may read all it needs."""
    (pound,) = odoo.search("res.currency", [("name", "=", "GBP")])
    (britain,) = odoo.search("res.country", [("code", "=", "GB")])
    odoo.write("res.company", 1, {"name": "ACME UK Ltd", "currency_id": pound})
    partner = odoo.read("res.company", 1, "partner_id")["partner_id"]
    odoo.write("res.partner", partner, {"email": "hello@acme-uk.example", "country_id": britain})
    france = odoo.add_company("ACME France SARL", currency="EUR", country="FR")
    groups = ("internal", "sales_all", "accounting", "email_marketing")
    odoo.add_user(
        ODOO_USER, ODOO_SECRET, name="Mailchimp integration", company_ids=(1, france), groups=groups
    )
    for name in TAGS:
        odoo.add_tag(name)
    odoo.add_tag("Reseller", parent=odoo.add_tag("Partners"))
    for name, price in PRODUCTS.items():
        odoo.create("product.product", {"name": name, "list_price": price})
    odoo.create("account.tax", {"name": "VAT 20%", "amount": 20.0, "company_id": 1})
    odoo.create("account.tax", {"name": "TVA 20%", "amount": 20.0, "company_id": france})
    for name in MAILING_LISTS.values():
        odoo.add_mailing_list(name)
    return {
        "acme_uk": DemoCompany("acme_uk", 1, "Europe/London", "GBP", _audiences("acme_uk")),
        "acme_fr": DemoCompany("acme_fr", france, "Europe/Paris", "EUR", _audiences("acme_fr")),
    }


def _audiences(company: str) -> dict[str, str]:
    return {audience: list_id for (key, audience), list_id in LISTS.items() if key == company}
