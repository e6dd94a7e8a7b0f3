"""Who would get into which audience, and why others would not: counted, nobody named."""

from collections import Counter
from collections.abc import Iterable, Iterator

from mc_pipeline.doctor.findings import Check, Result, not_known, ok, warning
from mc_pipeline.doctor.subjects import CompanyInOdoo
from mc_pipeline.domain.contacts.company_records import COMPANY_IF, CONTACTS_BELOW, MEMORY, ODOO
from mc_pipeline.domain.contacts.contacts import build_contacts
from mc_pipeline.domain.contacts.gone_partners import list_customers_elsewhere
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.odoo.database_mark import database_mark
from mc_pipeline.odoo.orders import read_orders
from mc_pipeline.odoo.partners import has_company_types
from mc_pipeline.odoo.partners_elsewhere import customers_elsewhere
from mc_pipeline.odoo.tags import read_tag_paths
from mc_pipeline.sync.contact_inputs import contact_inputs

SOON_READ = 20_000
"""Partners and orders, together, that are read within seconds."""


def check_people(company: CompanyInOdoo) -> Iterator[Result]:
    """How many people each audience would get by the rules of a sync, and why others are left out."""
    client, settings = company.client, company.settings
    too_many = _too_many(company)
    if too_many:
        yield not_known(f"{too_many} take a while to read; add --people to count them")
        return
    read = company.partners
    orders_read = read_orders(client, company.odoo_id, settings.timezone)
    rows = company.systems.erased.without(read.rows)
    elsewhere = customers_elsewhere(client, company.odoo_id)
    double_optin = _double_optin_audiences(company)
    result = build_contacts(
        contact_inputs(
            company.systems.ledger,
            settings,
            rows,
            orders_read.rows,
            elsewhere=elsewhere,
            double_optin_audiences=double_optin or frozenset(),
            known_tags=read_tag_paths(client),
        )
    )
    for key, audience in settings.audiences.items():
        people = result.contacts[result.contacts["audience"] == key]
        if people.empty:
            yield warning(
                f"{key}: nobody",
                f"Correct {company.where(audience, 'when')} if somebody should be there; mc-pipeline "
                "explain shows what decides about a person.",
            )
        elif double_optin is None:
            yield ok(f"{key}: {len(people):,} people")
        else:
            statuses = people["status_for_new"].replace("", "not created")
            yield ok(f"{key}: {len(people):,} people, if they are new: {_counted(statuses)}")
    left_out = [*result.set_aside["reason"], *list_customers_elsewhere(elsewhere)["reason"]]
    in_no_audience = [reason.replace("_", " ") for reason in left_out]
    yield ok(f"left out: {len(in_no_audience):,} partners ({_counted(in_no_audience) or 'none'})")
    for partial in (each for each in (read, orders_read) if not each.complete):
        yield not_known(f"these counts are incomplete: {partial.incomplete_because}")
    if any(audience.when.amounts for audience in settings.audiences.values()):
        yield ok("amounts in these counts are those ordered; a sync subtracts credit notes")


def _too_many(company: CompanyInOdoo) -> str:
    """How many partners and orders there are, where they take minutes to read; else empty."""
    client = company.client
    partners = company.seeing_partners.search_count("res.partner", company.partners_domain)
    orders = client.search_count("sale.order", [("company_id", "=", company.odoo_id), ("state", "=", "sale")])
    if partners + orders <= SOON_READ or company.systems.count_people:
        return ""
    return f"{partners:,} partners and {orders:,} orders"


def check_companies(company: CompanyInOdoo) -> Iterator[Result]:
    """By what it is known which partners are companies, and who is judged by what Odoo said before."""
    records = company.systems.ledger.company_records
    if has_company_types(company.client):
        known = records.count(database_mark(company.client))
        kept = (
            f"{known:,} partners are remembered for its upgrade to 20"
            if known
            else "none is remembered yet for its upgrade to 20: sync once before that"
        )
        yield ok(f"Odoo says who is a company; {kept}")
        return
    too_many = _too_many(company)
    if too_many:
        yield not_known(f"{too_many} take a while to read; add --people to look at them")
        return
    rows = company.partners.rows
    remembered = rows[rows["company_known_by"] == MEMORY]
    if remembered.empty:
        yield warning(
            "this Odoo has no company types (is_company means: has a tax id), and nothing is known of "
            "partners from before its upgrade: all are treated as new",
            "Look at a plan before you sync (mc-pipeline sync --plan). If this Odoo was synced before its "
            "upgrade, restore the ledger from that time; otherwise tag companies and name the tags in "
            f"companies.{company.settings.key}.company_if (README, Upgrading Odoo to 20).",
        )
    else:
        yield ok(
            f"{len(remembered):,} of {len(rows):,} partners are judged by what Odoo said before its upgrade: "
            f"{_links(company, remembered['partner_id'])}"
        )
    differing = rows[rows["differs_without_memory"].astype(bool)]
    if len(differing):
        yield ok(
            f"{len(differing):,} partners would be judged differently without it: "
            f"{_links(company, differing['partner_id'])}"
        )
    new = rows[rows["company_known_by"] != MEMORY]
    counts = _counted(new.loc[new["is_company"], "company_known_by"].map(_KNOWN_BY))
    if counts:
        yield ok(f"companies among the {len(new):,} others: {counts}")


_KNOWN_BY = {
    ODOO: "with a tax id",
    CONTACTS_BELOW: "with contacts below them",
    COMPANY_IF: "by company_if",
}
_FIRST = 5


def _links(company: CompanyInOdoo, partner_ids: Iterable[int]) -> str:
    """The first few of these partners, each with the address of its form in Odoo."""
    numbers = sorted(partner_ids)
    address = company.systems.settings.odoo.url.rstrip("/")
    named = [
        f"{number} ({address}/web#id={number}&model=res.partner&view_type=form)"
        for number in numbers[:_FIRST]
    ]
    more = f" and {len(numbers) - _FIRST:,} more" if len(numbers) > _FIRST else ""
    return f"{', '.join(named)}{more}"


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{count:,} {value}" for value, count in Counter(values).most_common())


def _double_optin_audiences(company: CompanyInOdoo) -> frozenset[str] | None:
    """The audiences that ask people to confirm; None if Mailchimp does not say, as other checks report."""
    try:
        return frozenset(
            key
            for key, audience in company.settings.audiences.items()
            if company.systems.audience(company.settings, audience.list_id).double_optin
        )
    except MailchimpError:
        return None


PEOPLE_CHECKS: tuple[Check[CompanyInOdoo], ...] = (
    Check("companies", check_companies),
    Check("people", check_people),
)
