"""Who was in the audiences before the first run, in every status; merge fields; whom Mailchimp refuses."""

from __future__ import annotations

from datetime import UTC, timedelta

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.merge_fields import add_field
from mc_pipeline.sandbox.seed.customers import Customers
from mc_pipeline.sandbox.seed.world import LISTS, DemoPerson, DemoWorld

_NAMES = {
    ("acme_uk", "wholesale"): "ACME UK Wholesale",
    ("acme_uk", "retail"): "ACME UK Retail",
    ("acme_fr", "professionnels"): "ACME France Professionnels",
    ("acme_fr", "particuliers"): "ACME France Particuliers",
}
_STATUSES = ("subscribed",) * 6 + ("transactional",) * 2 + ("unsubscribed", "cleaned")


def put_members(mailchimp: SandboxMailchimp, world: DemoWorld, customers: Customers) -> None:
    """Make the audiences and their members; the customers with a part in the story have ordered."""
    for key, list_id in LISTS.items():
        mailchimp.add_audience(list_id, _NAMES[key], welcome_automation=key == ("acme_uk", "retail"))
    retail = LISTS["acme_uk", "retail"]
    add_field(mailchimp.audience(retail), {"tag": "ORDERS", "name": "Orders", "type": "number"})
    add_field(mailchimp.audience(retail), {"tag": "LOYALTY", "name": "Loyalty card", "type": "text"})
    _parts(mailchimp, world, customers)
    _crowd(mailchimp, customers)
    _strangers(mailchimp, world, customers)


def _parts(mailchimp: SandboxMailchimp, world: DemoWorld, customers: Customers) -> None:
    """The people of the story, one in each status of the retail audience."""
    parts = {
        "subscribed": ("subscribed", "person"),
        "unsubscribed_by_person": ("unsubscribed", "person"),
        "unsubscribed_by_api": ("unsubscribed", "api"),
        "cleaned": ("cleaned", "person"),
        "archived": ("archived", "person"),
        "transactional": ("transactional", "person"),
        "pending": ("pending", "person"),
    }
    for part, (status, by) in parts.items():
        person = world.people[part] = _buyer(customers)
        _put(mailchimp, customers, person, status, opted_out_by=by)
    for part, refuse in (("fake", mailchimp.take_for_fake), ("too_many_signups", mailchimp.refuse_signups)):
        world.people[part] = _buyer(customers)
        refuse(world.people[part].email)
    for part in ("blacklisted", "blacklisted_fr"):
        _put(mailchimp, customers, world.people[part], "subscribed")


def _buyer(customers: Customers) -> DemoPerson:
    """A British private customer with two orders and no duplicate."""
    partner = customers.person("acme_uk", country_id=customers._country["GB"])
    for days in (400, 30):
        customers.order("acme_uk", partner, days_ago=days)
    return customers.known("acme_uk", "retail", partner)


def _crowd(mailchimp: SandboxMailchimp, customers: Customers) -> None:
    """Every fifth ordinary customer is already there, in some status, with fields that were imported."""
    for people in customers.plain.values():
        for person in people[::5]:
            if mailchimp.member(person.list_id, person.email) is None:
                _put(mailchimp, customers, person, customers.random.choice(_STATUSES))


def _strangers(mailchimp: SandboxMailchimp, world: DemoWorld, customers: Customers) -> None:
    """People who signed up in Mailchimp and whom Odoo does not know."""
    for (company, audience), list_id in LISTS.items():
        for number in range(15):
            name = customers.name(company)
            email = customers.email(company, name)
            stranger = DemoPerson(name, email, None, company, audience, list_id)
            _put(
                mailchimp,
                customers,
                stranger,
                "unsubscribed" if number % 7 == 6 else "subscribed",
                tags=("Website",),
            )
            if audience == "retail":
                world.people.setdefault("unknown_to_odoo", stranger)


def _put(
    mailchimp: SandboxMailchimp,
    customers: Customers,
    person: DemoPerson,
    status: str,
    *,
    tags: tuple[str, ...] = (),
    opted_out_by: str = "person",
) -> None:
    first, _, last = person.name.partition(" ")
    days = customers.random.uniform(30, 500)
    mailchimp.add_member(
        person.list_id,
        person.email,
        status,
        merge_fields={"FNAME": first[:80], "LNAME": last[:80]},
        tags=tags,
        last_changed=(customers.today - timedelta(days=days)).replace(tzinfo=UTC),
        opted_out_by=opted_out_by,  # type: ignore[arg-type]
    )
