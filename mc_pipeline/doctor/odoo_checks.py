"""Checks of Odoo: the login, and per company what a sync reads and what the settings name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mc_pipeline.doctor.findings import Check, Result, ok, problem, warning
from mc_pipeline.doctor.samples import FewRecords
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.domain.errors import RuleError
from mc_pipeline.domain.tags import TagCatalogue
from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.accounting import read_document_lines, read_documents
from mc_pipeline.odoo.blacklist import read_blacklist
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.consent import boolean_evidence_fields
from mc_pipeline.odoo.errors import OdooFieldMissingError
from mc_pipeline.odoo.fields import optional_model_fields
from mc_pipeline.odoo.orders import read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.reading import OdooRead
from mc_pipeline.odoo.tags import read_tag_paths
from mc_pipeline.settings import AudienceSettings, CompanySettings

NEWEST_TESTED = (19, 0)
NEWEST_ORDERS = 1000
_NO_ONE = "Correct odoo_company_id if this is not the company you mean; until then it has nobody to sync."


@dataclass(frozen=True)
class CompanyInOdoo:
    """A company of the settings, seen as its sync sees it."""

    systems: CheckupSystems
    settings: CompanySettings

    @property
    def client(self) -> OdooClient:
        return self.systems.odoo(self.settings)

    @cached_property
    def few_records(self) -> FewRecords:
        return FewRecords(self.client)

    @property
    def odoo_id(self) -> int:
        return self.settings.odoo_company_id

    def where(self, audience: AudienceSettings, key: str) -> str:
        """Name a setting of one of the company's audiences as companies.yaml has it."""
        return f"companies.{self.settings.key}.audiences.{audience.key}.{key}"


def check_connection(systems: CheckupSystems) -> Iterator[Result]:
    """Odoo answers in a version that is supported, and the user can log in."""
    client = systems.odoo_user()
    version = ".".join(map(str, client.version))
    user = mask_email(systems.settings.odoo.user)
    found = f"Odoo {version} at {client.address}, logged in as {user}, {client.transport_note}"
    if client.version > NEWEST_TESTED:
        tested = ".".join(map(str, NEWEST_TESTED))
        yield warning(
            found, f"Versions after {tested} are not tested: sync with --plan first and look at it."
        )
    else:
        yield ok(found)


ODOO_CHECKS: tuple[Check[CheckupSystems], ...] = (Check("connection", check_connection, gate=True),)


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
    domain = ["|", ("company_id", "=", company.odoo_id), ("company_id", "=", False)]
    count = company.client.search_count("res.partner", domain)
    yield from _readable(read, f"{count:,} partners of the company or shared")


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
    visible = company.client.search_count("res.partner", [("id", "in", customers)])
    if visible < len(customers):
        yield problem(
            f"{len(customers) - visible:,} of {len(customers):,} customers of the newest orders are hidden",
            "Change the record rules on Contacts in Odoo so that the Odoo user sees them all, or use a user "
            "who does; hidden customers are left out of every audience.",
        )
    else:
        yield ok(f"all {len(customers):,} customers of the newest {len(orders):,} orders are seen")


def check_modules(company: CompanyInOdoo) -> Iterator[Result]:
    """Modules that add to what is known: mailing lists for evidence of consent, employees."""
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
        if needing:
            yield problem(found, f"Install it in Odoo, or remove {' and '.join(needing)}.")
        else:
            yield ok(f"{found}; no audience needs it")
    if optional_model_fields(client, "hr.employee") is not None:
        yield ok("Employees (hr): employees are never contacts")
    else:
        yield ok("Employees (hr) is not installed; nobody is known as an employee")


def check_consent(company: CompanyInOdoo) -> Iterator[Result]:
    """The source of evidence that each audience names exists in Odoo."""
    for audience in company.settings.audiences.values():
        if audience.consent is None:
            continue
        if audience.consent.mailing_list is not None:
            yield _mailing_list(company, audience, audience.consent.mailing_list)
        if audience.consent.boolean_field is not None:
            yield _boolean_field(company, audience, audience.consent.boolean_field)


def _mailing_list(company: CompanyInOdoo, audience: AudienceSettings, wanted: str | int) -> Result:
    if optional_model_fields(company.client, "mailing.list") is None:
        return problem(
            f"mailing list {wanted!r}: there are no mailing lists",
            f"Install Email Marketing in Odoo, or remove {company.where(audience, 'consent')}.",
        )
    lists = {
        record["id"]: str(record["name"] or "")
        for record in company.client.search_read("mailing.list", [], ["name"], order="id")
    }
    if isinstance(wanted, int):
        found = [wanted] if wanted in lists else []
    else:
        found = [each for each, name in lists.items() if name.strip().casefold() == wanted.strip().casefold()]
    setting = company.where(audience, "consent.mailing_list")
    if len(found) == 1:
        count = company.client.search_count("mailing.subscription", [("list_id", "=", found[0])])
        return ok(f"{audience.key}: mailing list {lists[found[0]]} (id {found[0]}), {count:,} subscriptions")
    if found:
        ids = ", ".join(map(str, found))
        return problem(f"mailing list {wanted!r} fits several", f"Name one by its id in {setting}: {ids}.")
    return problem(
        f"no mailing list {wanted!r}",
        f"Correct {setting}; Odoo has {_listed([f'{name} ({each})' for each, name in lists.items()])}.",
    )


def _boolean_field(company: CompanyInOdoo, audience: AudienceSettings, wanted: str) -> Result:
    setting = company.where(audience, "consent.boolean_field")
    try:
        dated = boolean_evidence_fields(company.client, [wanted])[wanted]
    except OdooFieldMissingError as error:
        return problem(f"field {wanted}: not usable", f"Correct {setting}: {error.message}.")
    count = company.client.search_count("res.partner", [(wanted, "=", True)])
    found = f"{audience.key}: field {wanted}, ticked on {count:,} partners"
    assert audience.consent is not None
    if dated is None and not audience.consent.accept_undated:
        return warning(
            f"{found}, without a date",
            f"Undated consent subscribes nobody: add a date field {wanted}_date in Odoo, or set "
            f"accept_undated: true beside {setting}.",
        )
    return ok(f"{found}, dated by {dated}" if dated else f"{found}; undated consent is accepted")


def check_tags_and_industries(company: CompanyInOdoo) -> Iterator[Result]:
    """Tags and industries that the rules name exist in Odoo, and their names are clear."""
    audiences = company.settings.audiences.values()
    if any(audience.when.any_tag or audience.when.all_tags or audience.when.no_tag for audience in audiences):
        yield from _tags(company)
    if any(audience.when.industries for audience in audiences):
        yield from _industries(company)


def _tags(company: CompanyInOdoo) -> Iterator[Result]:
    catalogue = TagCatalogue(read_tag_paths(company.client), complete=True)
    known = []
    for audience in company.settings.audiences.values():
        for key in ("any_tag", "all_tags", "no_tag"):
            wanted: Sequence[str | int] = getattr(audience.when, key)
            for name in wanted:
                try:
                    known.append(catalogue.describe(name))
                except RuleError as error:
                    yield problem(
                        f"tag {name!r}",
                        f"Correct {company.where(audience, f'when.{key}')}: {error}; Odoo has "
                        f"{_listed(sorted(catalogue.paths.values()))}.",
                    )
    if known:
        yield ok(f"tags {', '.join(dict.fromkeys(known))}")


def _industries(company: CompanyInOdoo) -> Iterator[Result]:
    if optional_model_fields(company.client, "res.partner.industry") is None:
        names: list[str] = []
    else:
        records = company.client.search_read("res.partner.industry", [], ["name"], order="id")
        names = [str(record["name"] or "") for record in records]
    folded = {name.strip().casefold() for name in names}
    known = []
    for audience in company.settings.audiences.values():
        for wanted in audience.when.industries:
            setting = company.where(audience, "when.industries")
            if isinstance(wanted, int):
                yield problem(f"industry {wanted}", f"Write its English name in {setting}, not its id.")
            elif wanted.strip().casefold() in folded:
                known.append(wanted)
            else:
                yield problem(
                    f"no industry {wanted!r}",
                    f"Correct {setting}; in English Odoo has {_listed(sorted(names))}.",
                )
    if known:
        yield ok(f"industries {', '.join(dict.fromkeys(known))}")


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(names[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


COMPANY_CHECKS: tuple[Check[CompanyInOdoo], ...] = (
    Check("company", check_company, gate=True),
    Check("contacts", check_contacts),
    Check("orders", check_orders),
    Check("visible customers", check_visibility),
    Check("invoices", check_accounting),
    Check("blacklist", check_blacklist),
    Check("modules", check_modules),
    Check("consent", check_consent),
    Check("tags and industries", check_tags_and_industries),
)
