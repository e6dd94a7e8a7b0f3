"""The people who make the work hard: each is there on purpose, those of the story are named in the world."""

from __future__ import annotations

from datetime import timedelta

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed.customers import Customers
from mc_pipeline.sandbox.seed.world import DemoWorld

LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff " * 9
NAMES = (
    "Zoë Ångström-Łukasiewicz",
    "山田 太郎",
    "محمد علي",
    "Ольга Иванова",
    "Party Planner 🎉🎈",
    "O'Brien & Sons <sales>",
    LONG_NAME.strip(),
)
BROKEN_EMAILS = (
    "not-an-email",
    "jane.doe@",
    "@example.com",
    "jane doe@example.com",
    "jane@@example.com",
    "jane@example",
    "jane@example..com",
    "tel. 020 7946 0018",
)


def put_oddities(odoo: SandboxOdoo, world: DemoWorld, customers: Customers) -> None:
    """Add them all, for both companies."""
    _duplicates(odoo, world, customers)
    _emails(customers)
    _not_customers(odoo, world, customers)
    _consent(odoo, world, customers)
    _sharing(world, customers)
    _orders(odoo, customers)


def _duplicates(odoo: SandboxOdoo, world: DemoWorld, customers: Customers) -> None:
    """One address on several partners: in another case, with spaces, as a person and as a company's buyer."""
    for number in range(6):
        email = customers.email("acme_uk", "")
        first = customers.person("acme_uk", email=email)
        second = customers.person("acme_uk", email=email.upper() if number % 2 else f"  {email} ")
        customers.order("acme_uk", first, days_ago=300 + number)
        customers.order("acme_uk", second, days_ago=20 + number)
        if number == 0:
            world.people["duplicate"] = customers.known("acme_uk", "retail", second)
    email = customers.email("acme_uk", "")
    business = customers.business("acme_uk", tags=("Wholesale",))
    buyer = customers.contact(business, "acme_uk", email=email)
    private = customers.person("acme_uk", email=email.title())
    customers.order("acme_uk", buyer, days_ago=200)
    customers.order("acme_uk", private, days_ago=10)
    world.people["business_and_private"] = customers.known("acme_uk", "wholesale", buyer)


def _emails(customers: Customers) -> None:
    """Broken, missing and multiple addresses, with orders; unusual names."""
    for company in ("acme_uk", "acme_fr"):
        for email in BROKEN_EMAILS:
            customers.order(company, customers.person(company, email=email))
        for _ in range(5):
            customers.order(company, customers.person(company, email=False))
        several = f"{customers.email(company, '')}, {customers.email(company, '')}"
        customers.order(company, customers.person(company, email=several))
        named = f'"Sales Office" <{customers.email(company, "").upper()}>'
        customers.order(company, customers.person(company, email=named))
        for name in NAMES:
            customers.order(company, customers.person(company, name=name))
        bounced = customers.person(company, message_bounce=12)
        customers.order(company, bounced)


def _not_customers(odoo: SandboxOdoo, world: DemoWorld, customers: Customers) -> None:
    """Internal users (one left the company), a portal user, suppliers, employees, archived people."""
    clerk = customers.person("acme_uk")
    odoo.add_user("clerk", company_ids=(1,), partner_id=clerk)
    customers.order("acme_uk", clerk)
    world.people["internal_user"] = customers.known("acme_uk", "retail", clerk)
    former = customers.person("acme_uk")
    odoo.add_user("former.clerk", company_ids=(1,), partner_id=former, active=False)
    customers.order("acme_uk", former)
    world.people["former_internal_user"] = customers.known("acme_uk", "retail", former)
    portal = customers.person("acme_uk")
    odoo.add_user("portal.customer", company_ids=(1,), partner_id=portal, share=True)
    customers.order("acme_uk", portal)
    world.people["portal_user"] = customers.known("acme_uk", "retail", portal)
    for company in ("acme_uk", "acme_fr"):
        for number in range(8):
            supplier = customers.business(company, supplier_rank=1, tags=("Wholesale",) if number % 2 else ())
            if number < 3:
                customers.order(company, supplier)
        for _ in range(4):
            archived = customers.person(company)
            customers.order(company, archived)
            odoo.archive_partner(archived)
    if "hr.employee" in odoo.database.models:
        employee = customers.person("acme_uk")
        customers.order("acme_uk", employee)
        odoo.create("hr.employee", {"name": "Warehouse worker", "work_contact_id": employee, "company_id": 1})
        world.people["employee"] = customers.known("acme_uk", "retail", employee)


def _consent(odoo: SandboxOdoo, world: DemoWorld, customers: Customers) -> None:
    """On the mailing list with and without a date, opted out of it, blacklisted, taken off the blacklist."""
    parts = {
        "newsletter_dated": {"dated": True},
        "newsletter_undated": {"dated": False},
        "newsletter_opted_out": {"dated": True, "opt_out": True},
    }
    for part, how in parts.items():
        partner = customers.person("acme_uk")
        customers.order("acme_uk", partner)
        person = world.people[part] = customers.known("acme_uk", "retail", partner)
        customers.newsletter("acme_uk", person.email, **how)
    for company, audience in (("acme_uk", "retail"), ("acme_fr", "particuliers")):
        for number in range(6):
            partner = customers.person(
                company, country_id=customers._country["GB" if company == "acme_uk" else "FR"]
            )
            customers.order(company, partner)
            person = customers.known(company, audience, partner)
            with odoo.at(customers.days_ago(60 + number)):
                odoo.blacklist(person.email)
            if number >= 4:
                with odoo.at(customers.days_ago(10)):
                    odoo.unblacklist(person.email, "asked by telephone to get our mail again")
            part = "blacklisted" if number < 4 else "off_the_blacklist"
            world.people.setdefault(part if company == "acme_uk" else f"{part}_fr", person)
    odoo.blacklist("nobody.we.know@example.org")


def _sharing(world: DemoWorld, customers: Customers) -> None:
    """Partners of no company, who buy in both."""
    for number in range(12):
        partner = customers.person("acme_uk", company_id=False, country_id=customers._country["BE"])
        customers.order("acme_uk", partner)
        if number < 8:
            customers.order("acme_fr", partner)
        if number == 0:
            world.people["shared"] = customers.known("acme_uk", "retail", partner)
    business = customers.business("acme_uk", company_id=False, tags=("Reseller",))
    contact = customers.contact(business, "acme_uk", company_id=False)
    for company in ("acme_uk", "acme_fr"):
        customers.order(company, contact)
    world.people["shared_business"] = customers.known("acme_uk", "wholesale", contact)


def _orders(odoo: SandboxOdoo, customers: Customers) -> None:
    """An order credited, one that falls in another month east of Greenwich, a quotation, a cancelled one."""
    credited = customers.person("acme_uk")
    order = customers.order("acme_uk", credited, days_ago=90, lines=1)
    customers.invoice(order, days_ago=85, credited=True)
    midnight = customers.person("acme_fr")
    last = customers.today.replace(day=1, hour=23, minute=30) - timedelta(days=1)
    with odoo.at(last):
        odoo.add_order(
            midnight, 120.0, date_order=last, company_id=customers.world.companies["acme_fr"].odoo_company_id
        )
    customers.order("acme_uk", customers.person("acme_uk"), state="draft")
    customers.order("acme_uk", customers.person("acme_uk"), state="cancel")
