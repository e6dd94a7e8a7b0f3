"""Who would get into which audience, and why others would not: counted, nobody named."""

from collections import Counter
from collections.abc import Iterable, Iterator

from mc_pipeline.doctor.findings import Check, Result, not_known, ok, warning
from mc_pipeline.doctor.subjects import CompanyInOdoo
from mc_pipeline.domain.contacts import build_contacts
from mc_pipeline.domain.gone_partners import list_customers_elsewhere
from mc_pipeline.domain.people import orders_bound_to_customer, orders_by_invoice_address
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.odoo.orders import read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.partners_elsewhere import customers_elsewhere
from mc_pipeline.odoo.tags import read_tag_paths

SOON_READ = 20_000
"""Partners and orders, together, that are read within seconds."""


def check_people(company: CompanyInOdoo) -> Iterator[Result]:
    """How many people each audience would get by the rules of a sync, and why others are left out."""
    client, settings = company.client, company.settings
    partners = client.search_count("res.partner", company.partners)
    orders = client.search_count("sale.order", [("company_id", "=", company.odoo_id), ("state", "=", "sale")])
    if partners + orders > SOON_READ and not company.systems.count_people:
        yield not_known(
            f"{partners:,} partners and {orders:,} orders take a while to read; add --people to count them"
        )
        return
    consents = [audience.consent for audience in settings.audiences.values() if audience.consent]
    boolean_fields = {consent.boolean_field for consent in consents if consent.boolean_field}
    read = read_partners(client, company.odoo_id, boolean_fields=sorted(boolean_fields))
    orders_read = read_orders(client, company.odoo_id, settings.timezone)
    rows = company.systems.erased.without(read.rows)
    elsewhere = customers_elsewhere(client, company.odoo_id)
    double_optin = _double_optin_audiences(company)
    result = build_contacts(
        rows,
        orders_read.rows,
        settings,
        opted_out_emails=company.systems.ledger.consent.ever_opted_out(),
        double_optin_audiences=double_optin or frozenset(),
        known_tags=read_tag_paths(client),
        # What the stores hold is left to the sync: it counts few orders otherwise.
        bound_orders=orders_bound_to_customer(
            orders_by_invoice_address(rows, orders_read.rows), others=elsewhere
        ),
    )
    for key, audience in settings.audiences.items():
        people = result.contacts[result.contacts["audience"] == key]
        if people.empty:
            yield warning(
                f"{key}: nobody",
                f"Correct {company.where(audience, 'when')} if somebody should be there; "
                "mc-pipeline explain tells what decides about a person.",
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
        yield not_known(f"who is missing in these counts: {partial.incomplete_because}")
    if any(audience.when.amounts for audience in settings.audiences.values()):
        yield ok("amounts in these counts are those ordered; a sync takes credit notes off")


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{count:,} {value}" for value, count in Counter(values).most_common())


def _double_optin_audiences(company: CompanyInOdoo) -> frozenset[str] | None:
    """The audiences that ask people to confirm; None where Mailchimp does not tell, as other checks say."""
    try:
        return frozenset(
            key
            for key, audience in company.settings.audiences.items()
            if company.systems.audience(company.settings, audience.list_id).double_optin
        )
    except MailchimpError:
        return None


PEOPLE_CHECKS: tuple[Check[CompanyInOdoo], ...] = (Check("people", check_people),)
