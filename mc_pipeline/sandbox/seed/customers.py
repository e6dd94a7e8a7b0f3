"""The ordinary people and companies of the world, and their orders, invoices and newsletters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from faker import Faker

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed.companies import MAILING_LISTS
from mc_pipeline.sandbox.seed.world import LISTS, DemoPerson, DemoWorld

_LOCALES = {"acme_uk": "en_GB", "acme_fr": "fr_FR"}
_LANGUAGES = {
    "acme_uk": ("en_GB", "en_GB", "en_GB", "de_DE"),
    "acme_fr": ("fr_FR", "fr_FR", "fr_FR", "en_GB"),
}
_COUNTRIES = {
    "acme_uk": ("GB", "GB", "GB", "GB", "IE", "NL"),
    "acme_fr": ("FR",) * 16 + ("BE",) * 4 + ("CH",) * 4 + ("IT",),
}
# Few have no tag, so that little of the revenue is of people in no audience.
_BUSINESS_TAGS = ("Wholesale",) * 38 + ("Reseller",) * 22 + ("", "Press")
_FOREIGN = {"acme_uk": "EUR", "acme_fr": "USD"}


class Customers:
    """Makes people and orders one after the other, deterministically."""

    def __init__(self, odoo: SandboxOdoo, world: DemoWorld, seed: int) -> None:
        self.odoo, self.world = odoo, world
        self.random = Random(seed)
        self.today = odoo.database.now().replace(hour=12, minute=0, second=0, microsecond=0)
        self.plain: dict[tuple[str, str], list[DemoPerson]] = {key: [] for key in LISTS}
        self._fakers = {}
        for offset, (company, locale) in enumerate(_LOCALES.items()):
            faker = self._fakers[company] = Faker(locale)
            faker.seed_instance(seed + offset)
        self._used: set[str] = set()
        self._ids = {
            model: {odoo.model(model).table.rows[id]["name"]: id for id in odoo.search(model)}
            for model in ("res.partner.category", "mailing.list", "account.tax")
        }
        self._country = {
            odoo.model("res.country").table.rows[id]["code"]: id for id in odoo.search("res.country")
        }
        self._products = odoo.search("product.product", order="id")
        self._tax_field = "tax_ids" if "tax_ids" in odoo.model("sale.order.line").fields else "tax_id"

    # small things

    def tag(self, name: str) -> int:
        return self._ids["res.partner.category"][name]

    def days_ago(self, days: float) -> datetime:
        return self.today - timedelta(days=days)

    def email(self, company: str, name: str) -> str:
        """An address of this world that nobody else has."""
        plain = self._fakers[company].unique.user_name()
        domain = self.random.choice(("example.com", "example.net", "example.org"))
        address = f"{plain}@{domain}"
        while address in self._used:
            address = f"{plain}{len(self._used)}@{domain}"
        self._used.add(address)
        return address

    def name(self, company: str) -> str:
        faker = self._fakers[company]
        return f"{faker.first_name()} {faker.last_name()}"

    def address(self, company: str) -> dict[str, Any]:
        faker, code = self._fakers[company], self.random.choice(_COUNTRIES[company])
        return {
            "street": faker.street_address().replace("\n", ", "),
            "zip": faker.postcode(),
            "city": faker.city(),
            "country_id": self._country[code],
        }

    # people

    def person(self, company: str, **values: Any) -> int:
        """A person as a shop would have them; ``values`` override."""
        name = str(values.get("name") or self.name(company))
        given = {
            "name": name,
            "email": self.email(company, name),
            "company_id": self.world.companies[company].odoo_company_id,
            "lang": self.random.choice(_LANGUAGES[company]),
            "phone": self._fakers[company].phone_number(),
            **self.address(company),
            **values,
        }
        with self.odoo.at(self.days_ago(self.random.uniform(5, 900))):
            return self.odoo.create("res.partner", given)

    def business(self, company: str, *, tags: Sequence[str] = (), **values: Any) -> int:
        """A company without contacts."""
        name = self._fakers[company].unique.company()
        category = {"category_id": [(6, 0, [self.tag(each) for each in tags])]} if tags else {}
        return self.person(company, **{"name": name, "is_company": True, **category, **values})

    def contact(self, parent: int, company: str, **values: Any) -> int:
        """A contact of a business."""
        return self.person(company, parent_id=parent, **values)

    def known(self, company: str, audience: str, partner_id: int) -> DemoPerson:
        """A person by their partner."""
        row = self.odoo.model("res.partner").table.rows[partner_id]
        list_id = self.world.companies[company].audiences[audience]
        return DemoPerson(
            str(row["name"]), str(row["email_normalized"]), partner_id, company, audience, list_id
        )

    # orders

    def order(
        self,
        company: str,
        partner_id: int,
        *,
        days_ago: float | None = None,
        state: str = "sale",
        currency: str | None = None,
        lines: int | None = None,
    ) -> int:
        """An order with lines of the product list, and tax."""
        days = self.random.uniform(1, 800) if days_ago is None else days_ago
        tax = self._ids["account.tax"]["VAT 20%" if company == "acme_uk" else "TVA 20%"]
        rows: list[Mapping[str, Any]] = [
            {
                "product_id": self.random.choice(self._products),
                "product_uom_qty": float(self.random.randint(1, 4)),
                self._tax_field: [(6, 0, [tax])],
            }
            for _ in range(lines or self.random.randint(1, 3))
        ]
        moment = self.days_ago(days)
        with self.odoo.at(moment):
            return self.odoo.add_order(
                partner_id,
                date_order=moment,
                state=state,
                company_id=self.world.companies[company].odoo_company_id,
                currency=currency,
                lines=rows,
                user_id=False,
            )

    def orders(self, company: str, partner_id: int) -> None:
        """What a customer bought: mostly confirmed orders, some quotations, some cancelled, some foreign,
        some invoiced, a few of those credited."""
        for _ in range(self.random.choice((1, 1, 1, 2, 2, 3, 5))):
            chance = self.random.random()
            state = "sale" if chance < 0.88 else "cancel" if chance < 0.95 else "draft"
            foreign = _FOREIGN[company] if self.random.random() < 0.04 else None
            days = self.random.uniform(1, 800)
            order = self.order(company, partner_id, days_ago=days, state=state, currency=foreign)
            if state == "sale" and self.random.random() < 0.3:
                self.invoice(order, days_ago=max(0.5, days - 3))

    def invoice(self, order: int, *, days_ago: float, credited: bool | None = None) -> None:
        """Invoice an order; sometimes a posted credit note takes a part or all of it back."""
        with self.odoo.at(self.days_ago(days_ago)):
            invoice = self.odoo.invoice_order(order)
        if credited if credited is not None else self.random.random() < 0.15:
            with self.odoo.at(self.days_ago(max(0.2, days_ago - 10))):
                self.odoo.credit_invoice(invoice, quantity=1.0 if self.random.random() < 0.6 else None)
        elif self.random.random() < 0.7:
            with self.odoo.at(self.days_ago(max(0.2, days_ago - 5))):
                self.odoo.pay_invoice(invoice)

    # newsletters

    def newsletter(self, company: str, email: str, *, dated: bool = True, opt_out: bool = False) -> None:
        """On the company's mailing list since some day, or on it without a date."""
        with self.odoo.at(self.days_ago(self.random.uniform(20, 600))):
            self.odoo.subscribe(
                self._ids["mailing.list"][MAILING_LISTS[company]], email, dated=dated, opt_out=opt_out
            )

    # the crowd

    def fill(self, partners: int) -> None:
        """Add ordinary customers until there are so many partners."""
        table = self.odoo.model("res.partner").table
        while len(table.ids) < partners:
            company = "acme_uk" if self.random.random() < 0.62 else "acme_fr"
            self._consumer(company) if self.random.random() < 0.7 else self._business(company)

    def _consumer(self, company: str) -> None:
        partner = self.person(company)
        row = self.odoo.model("res.partner").table.rows[partner]
        chance = self.random.random()
        if chance < 0.9:
            self.orders(company, partner)
        if chance > 0.97:
            self.odoo.archive_partner(partner)
            return
        chance = self.random.random()
        if chance < 0.35:
            self.newsletter(company, row["email"], dated=chance > 0.05, opt_out=chance > 0.32)
        country = self.odoo.model("res.country").table.rows[row["country_id"]]["code"]
        if company == "acme_uk":
            self.plain[company, "retail"].append(self.known(company, "retail", partner))
        elif country in ("FR", "BE", "CH"):
            self.plain[company, "particuliers"].append(self.known(company, "particuliers", partner))

    def _business(self, company: str) -> None:
        tag = self.random.choice(_BUSINESS_TAGS)
        on_contact = tag and self.random.random() < 0.3
        business = self.business(company, tags=(tag,) if tag and not on_contact else ())
        contacts = []
        for _ in range(self.random.randint(1, 3)):
            tags = {"category_id": [(6, 0, [self.tag(tag)])]} if on_contact else {}
            contacts.append(self.contact(business, company, **tags))
        if self.random.random() < 0.25:
            self.contact(business, company, name="Accounts", type="invoice")
        if self.random.random() < 0.25:
            self.contact(business, company, name="Warehouse", type="delivery")
        buyers = [*contacts[:2], business] if self.random.random() < 0.5 else contacts[:1]
        for buyer in buyers:
            self.orders(company, buyer)
        routed = company == "acme_fr" or tag in ("Wholesale", "Reseller")
        if routed:
            audience = "wholesale" if company == "acme_uk" else "professionnels"
            self.plain[company, audience] += [self.known(company, audience, buyer) for buyer in buyers]
