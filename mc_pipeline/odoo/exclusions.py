"""Partners that are no customers by what they are in Odoo: users, employees, companies, templates.

They are looked up in all companies of the Odoo user, since a colleague of another company is a colleague too.
A company that is archived is never asked for. Its own partner is still found by users who see all companies
(Odoo's Access Rights); for others Odoo hides which partner that is, and a note says so.
"""

import re
from dataclasses import dataclass, field

from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.fields import available_fields, optional_model_fields
from mc_pipeline.odoo.paging import PagedRead, read_all

# Odoo's own users for visitors and for copying: base.public_user, base.default_user (until 18),
# base.template_portal_user_id, and the copies of the public user that each website's company gets.
_SYSTEM_LOGINS = frozenset({"__system__", "default", "public", "portaltemplate"})
_COMPANY_PUBLIC_LOGIN = re.compile(r"^public-user@company-\d+\.com$")


@dataclass(frozen=True)
class NotCustomers:
    """Partner ids by what they are; ``incomplete_because`` when one of the lists may lack some."""

    internal_users: frozenset[int]
    employees: frozenset[int]
    own_companies: frozenset[int]
    public_or_template_users: frozenset[int]
    incomplete_because: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_not_customers(client: OdooClient) -> NotCustomers:
    """Partner ids of internal users (archived ones too), employees, companies, public and template users."""
    everywhere = client.with_companies(client.user_company_ids)
    users = _read(everywhere, "res.users", ["partner_id", "share", "login", "active"])
    own_companies, companies_problem, companies_notes = _own_companies(everywhere)
    employees, employees_problem, notes = _employees(everywhere)
    return NotCustomers(
        internal_users=_partners([user for user in users.records if not user["share"]], "partner_id"),
        employees=employees,
        own_companies=own_companies,
        public_or_template_users=_public_or_template(everywhere, users.records),
        incomplete_because=(users.incomplete_because, companies_problem, employees_problem),
        notes=(*companies_notes, *notes),
    )


def _read(client: OdooClient, model: str, fields: list[str]) -> PagedRead:
    return read_all(client, model, [], available_fields(client, model, fields))


def _partners(records: list[Record], link: str) -> frozenset[int]:
    return frozenset(record[link] for record in records if record.get(link))


def _public_or_template(client: OdooClient, users: list[Record]) -> frozenset[int]:
    """Archived customers' portal users are archived and shared too, so that alone decides nothing."""
    named = [
        user
        for user in users
        if user["login"] in _SYSTEM_LOGINS or _COMPANY_PUBLIC_LOGIN.match(str(user["login"] or ""))
    ]
    found = set(_partners(named, "partner_id"))
    candidates = sorted(
        _partners([user for user in users if user["share"] and not user["active"]], "partner_id") - found
    )
    if candidates and "is_public" in client.fields_get("res.partner"):
        read = read_all(client, "res.partner", [("id", "in", candidates)], ["is_public"])
        found.update(record["id"] for record in read.records if record["is_public"])
    return frozenset(found)


def _own_companies(client: OdooClient) -> tuple[frozenset[int], str, tuple[str, ...]]:
    """Partners of the companies, the reason when they cannot be read, and notes on archived companies."""
    try:
        read = _read(client, "res.company", ["partner_id"])
    except OdooAccessError as error:
        because = f"the companies' own partners cannot be told from customers: {error.message}"
        return frozenset(), because, ()
    hidden = sorted({*client.archived_company_ids} - {record["id"] for record in read.records})
    note = (
        f"company {', '.join(map(str, hidden))} is archived and Odoo hides it from its user: its own partner "
        "counts as a customer if it has orders here"
    )
    return _partners(read.records, "partner_id"), read.incomplete_because, (note,) if hidden else ()


def _employees(client: OdooClient) -> tuple[frozenset[int], str, tuple[str, ...]]:
    """Partners of employees, the reason when they cannot be read, and notes."""
    try:
        existing = optional_model_fields(client, "hr.employee")
        if existing is None:
            return frozenset(), "", ("Odoo's module hr is not installed: employees cannot be recognised",)
        links = [
            name for name in ("work_contact_id", "user_partner_id", "address_home_id") if name in existing
        ]
        read = read_all(client, "hr.employee", [], links)
    except OdooAccessError as error:
        return frozenset(), f"employees cannot be told from customers: {error.message}", ()
    partners = frozenset[int]().union(*(_partners(read.records, link) for link in links))
    return partners, read.incomplete_because, ()
