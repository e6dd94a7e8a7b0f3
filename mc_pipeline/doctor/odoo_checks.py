"""Checks of Odoo: the login, and per company what a sync reads and writes."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from mc_pipeline.doctor.findings import Check, Result, not_known, ok, problem, warning
from mc_pipeline.doctor.named_records_checks import NAMED_RECORDS_CHECKS
from mc_pipeline.doctor.subjects import CompanyInOdoo
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.accounting import read_document_lines, read_documents
from mc_pipeline.odoo.api_keys import new_key_advice, read_api_keys
from mc_pipeline.odoo.blacklist import read_blacklist
from mc_pipeline.odoo.errors import OdooAccessError, OdooFieldMissingError, OdooModelMissingError
from mc_pipeline.odoo.fields import optional_model_fields
from mc_pipeline.odoo.orders import read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.partners_elsewhere import other_companies_of
from mc_pipeline.odoo.reading import OdooRead
from mc_pipeline.odoo.rights import Operation, may
from mc_pipeline.odoo.session import version_name

NEWEST_TESTED = (19, 0)
NEWEST_KNOWN = (20, 0)
"""Versions up to this one are built from Odoo's source; those after the tested one never ran on a server."""
NEWEST_ORDERS = 1000
SOON_DAYS = 14
_API_KEY = re.compile(r"[0-9a-f]{40}")
_NO_ONE = "Correct odoo_company_id if this is not the company you mean; until then it has nobody to sync."


def check_connection(systems: CheckupSystems) -> Iterator[Result]:
    """Odoo answers in a version that is supported, and the user can log in."""
    client = systems.odoo_user()
    version = version_name(client.version)
    user = mask_email(systems.settings.odoo.user)
    found = f"Odoo {version} at {client.address}, logged in as {user}, {client.transport_note}"
    if client.version > NEWEST_KNOWN:
        known = version_name(NEWEST_KNOWN)
        yield warning(found, f"Versions after {known} are not known: sync with --plan first and look at it.")
    elif client.version > NEWEST_TESTED:
        yield warning(
            found,
            f"{version}: built from its source, not yet run against a server. Sync with --plan first and "
            "look at it.",
        )
    else:
        yield ok(found)
    yield from _limits(systems)


def _limits(systems: CheckupSystems) -> Iterator[Result]:
    """What the settings allow of calls to Odoo, and what is said of Odoo Online."""
    odoo = systems.settings.odoo
    limits = []
    if odoo.connections is not None:
        limits.append(f"{odoo.connections} at a time (odoo.connections)")
    if odoo.calls_per_second is not None:
        limits.append(f"{odoo.calls_per_second:g} a second (odoo.calls_per_second)")
    if limits:
        yield ok(f"calls of one process: at most {' and '.join(limits)}")
    elif (urlsplit(odoo.url).hostname or "").endswith(".odoo.com"):
        yield ok(
            "no limit on calls is set; Odoo Online is said to take one call a second and none in parallel: "
            "if it refuses calls, set odoo.connections to 1 and odoo.calls_per_second to 1"
        )


def check_api_key(systems: CheckupSystems) -> Iterator[Result]:
    """How long the user may still log in. Odoo does not say which of the user's keys is in use."""
    if not _API_KEY.fullmatch(systems.settings.odoo.secret.get_secret_value()):
        yield ok("none in use: odoo.secret is a password")
        return
    try:
        keys = read_api_keys(systems.odoo_user())
    except (OdooAccessError, OdooFieldMissingError, OdooModelMissingError) as error:
        yield not_known(f"when it ends: {error.message}")
        return
    if not keys:
        yield not_known("when it ends: Odoo lists no key of the user")
        return
    first = keys[0]
    which = f"{first.name}" if len(keys) == 1 else f"{first.name}, the first of {len(keys)} to end,"
    if first.ends_at is None:
        yield ok(f"{which} has no end")
        return
    days = (first.ends_at - datetime.now(UTC)).days
    found = f"{which} ends on {first.ends_at:%Y-%m-%d}, in {days} days"
    if days > SOON_DAYS:
        yield ok(found)
    else:
        yield warning(
            found,
            f"{new_key_advice(systems.odoo_user().version)} and put it into the variable that odoo.secret "
            "names; after that day every sync fails.",
        )


ODOO_CHECKS: tuple[Check[CheckupSystems], ...] = (
    Check("connection", check_connection, gate=True),
    Check("API key", check_api_key),
)


def check_company(company: CompanyInOdoo) -> Iterator[Result]:
    """The company exists, and the user has it."""
    records = company.client.read("res.company", [company.odoo_id], ["name"])
    if not records:
        yield problem(
            f"no company {company.odoo_id}", f"Correct companies.{company.settings.key}.odoo_company_id."
        )
        return
    yield ok(f"{records[0]['name']} (id {company.odoo_id})")


def check_contacts(company: CompanyInOdoo) -> Iterator[Result]:
    """Everything about partners that a sync reads can be read: users, employees, tags and consent too."""
    read = read_partners(company.few_records, company.odoo_id)
    count = company.seeing_partners.search_count("res.partner", company.partners_domain)
    above = len(company.with_companies_above) > 1
    whose = "of the company, of those above it, or shared" if above else "of the company or shared"
    yield from _readable(read, f"{count:,} partners {whose}")


def check_orders(company: CompanyInOdoo) -> Iterator[Result]:
    """All sale orders of the company can be read."""
    read = read_orders(company.few_records, company.odoo_id, company.settings.timezone)
    domain = [("company_id", "=", company.odoo_id), ("state", "=", "sale")]
    count = company.client.search_count("sale.order", domain)
    if not count and read.complete:
        yield warning("no confirmed order", _NO_ONE)
        return
    yield from _readable(read, f"{count:,} confirmed orders")


def check_accounting(company: CompanyInOdoo) -> Iterator[Result]:
    """Posted invoices, credit notes and their lines can be read."""
    documents = read_documents(company.few_records, company.odoo_id)
    lines = read_document_lines(company.few_records, company.odoo_id, documents)
    domain = [
        ("company_id", "=", company.odoo_id),
        ("move_type", "in", ["out_invoice", "out_refund"]),
        ("state", "=", "posted"),
    ]
    count = company.client.search_count("account.move", domain)
    yield from _readable(lines, f"{count:,} posted invoices and credit notes")


def check_blacklist(company: CompanyInOdoo) -> Iterator[Result]:
    """Odoo's opt-outs can be read."""
    read = read_blacklist(company.few_records)
    count = company.client.search_count("mail.blacklist", [("active", "=", True)])
    yield from _readable(read, f"{count:,} addresses opted out in Odoo")


def check_opting_out(company: CompanyInOdoo) -> Iterator[Result]:
    """Opt-outs of Mailchimp may be written where the settings want them; nothing is written to find out."""
    found = []
    for (model, right), operations in _places_of_opt_outs(company).items():
        lacking = [operation for operation in operations if not may(company.client, model, operation)]
        if lacking:
            yield problem(
                f"the user may not {' or '.join(lacking)} {model}: opt-outs would not reach Odoo",
                f"Give the Odoo user the right {right}.",
            )
        else:
            found.append(model)
    if found:
        yield ok(f"the user may write {', '.join(found)}")


def _places_of_opt_outs(company: CompanyInOdoo) -> dict[tuple[str, str], tuple[Operation, ...]]:
    """Where opt-outs go: the model with the right that opens it, and what is done there (rule 5.7)."""
    marketing = "Email Marketing / User"
    if company.settings.opt_out_scope == "everywhere":
        return {("mail.blacklist", marketing): ("create", "write")}
    places: dict[tuple[str, str], tuple[Operation, ...]] = {}
    for audience in company.settings.audiences.values():
        if audience.consent and audience.consent.mailing_list is not None:
            places["mailing.contact", marketing] = ("create",)
            places["mailing.subscription", marketing] = ("create", "write")
        if audience.consent and audience.consent.boolean_field is not None:
            places["res.partner", "Contact Creation"] = ("write",)
    return places


def _readable(read: OdooRead, found: str) -> Iterator[Result]:
    if read.complete:
        yield ok(found)
    else:
        yield problem(
            f"{found}; not all can be read",
            f"{read.incomplete_because[:1].upper()}{read.incomplete_because[1:]}.",
        )


def check_visibility(company: CompanyInOdoo) -> Iterator[Result]:
    """The customers of the newest orders are seen too: record rules hide partners without a word."""
    orders = company.client.search_read(
        "sale.order",
        [("company_id", "=", company.odoo_id), ("state", "=", "sale")],
        ["partner_id"],
        limit=NEWEST_ORDERS,
        order="id desc",
    )
    customers = sorted({order["partner_id"] for order in orders if order["partner_id"]})
    seen = company.seeing_partners.search(
        "res.partner", ["&", ("id", "in", customers), *company.partners_domain]
    )
    unseen = sorted({*customers} - {*seen})
    elsewhere = other_companies_of(company.client, company.odoo_id, unseen) if unseen else {}
    hidden = len(unseen) - len(elsewhere)
    for name, count in sorted(Counter(elsewhere.values()).items()):
        yield warning(
            f"{count:,} of {len(customers):,} customers of the newest orders belong to company {name}: "
            "they are contacts there, and these orders count for nobody here",
            "If the person is a customer of both, empty Company on the contact in Odoo, which shares it.",
        )
    if hidden:
        yield problem(
            f"{hidden:,} of {len(customers):,} customers of the newest orders are hidden",
            "Change the record rules on Contacts in Odoo so that the Odoo user sees them all, or use a user "
            "who does; hidden customers are left out of every audience.",
        )
    elif not elsewhere:
        yield ok(f"all {len(customers):,} customers of the newest {len(orders):,} orders are seen")


def check_modules(company: CompanyInOdoo) -> Iterator[Result]:
    """Modules that are needed, or add to what is known: Email Marketing, employees.

    Odoo's blacklist comes with every mail, but the right that opens it to users who are no administrators
    comes with Email Marketing.
    """
    client = company.client
    if optional_model_fields(client, "mailing.subscription") is not None:
        yield ok("Email Marketing (mass_mailing): mailing lists can be evidence of consent")
    else:
        needing = [
            company.where(audience, "consent.mailing_list")
            for audience in company.settings.audiences.values()
            if audience.consent and audience.consent.mailing_list is not None
        ]
        found = "Email Marketing (mass_mailing) is not installed"
        install = "Install it in Odoo (Apps), and give the Odoo user the right Email Marketing / User"
        if not (may(client, "mail.blacklist", "create") and may(client, "mail.blacklist", "write")):
            yield problem(f"{found}: opt-outs would not reach Odoo", f"{install}.")
        elif needing:
            yield problem(found, f"{install}, or remove {' and '.join(needing)}.")
        else:
            yield warning(
                f"{found}: opt-outs reach Odoo only because its user is an administrator", f"{install}."
            )
    if optional_model_fields(client, "hr.employee") is not None:
        yield ok("Employees (hr): employees are never contacts")
    else:
        yield ok("Employees (hr) is not installed; employees cannot be recognised")


def check_currency(company: CompanyInOdoo) -> Iterator[Result]:
    """The stores are in the currency of the company, whose amounts are sent."""
    currency_id = company.client.read("res.company", [company.odoo_id], ["currency_id"])[0]["currency_id"]
    currency = str(company.client.read("res.currency", [currency_id], ["name"])[0]["name"])
    wrong = False
    for audience in company.settings.audiences.values():
        if audience.store is not None and audience.store.currency != currency:
            wrong = True
            yield problem(
                f"the company's currency is {currency}, the store of {audience.key} is in "
                f"{audience.store.currency}",
                f"Write {currency} in {company.where(audience, 'store.currency')}.",
            )
    if not wrong:
        yield ok(currency)


COMPANY_CHECKS: tuple[Check[CompanyInOdoo], ...] = (
    Check("company", check_company, gate=True),
    Check("contacts", check_contacts),
    Check("orders", check_orders),
    Check("visible customers", check_visibility, needs=("contacts", "orders")),
    Check("invoices", check_accounting),
    Check("modules", check_modules),
    Check("blacklist", check_blacklist, needs=("modules",)),
    Check("opt-outs to Odoo", check_opting_out, needs=("modules",)),
    Check("currency", check_currency),
    *NAMED_RECORDS_CHECKS,
)
