"""Records of real Odoo 17, 18 and 19 give the contacts of a file that was checked by hand for each version.

``contacts_<version>.json`` holds, for each company of a recording and each of the two settings beside it,
every contact and every partner left out. It was made from the raw records and the rules, without the
pipeline, and read row by row. The recordings lack the creation date of subscriptions to mailing lists, so no
consent in them has a date.

The recording of Odoo 19 is a sample of a large server: most of its orders are of partners who are not in it.
Such an order counts to nobody and is listed, as it is for a partner whom Odoo does not show to the pipeline.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.contacts.contacts import ContactsResult, build_contacts
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline_tests.domain.odoo_rows import contact_inputs
from mc_pipeline_tests.odoo.conftest import logged_in
from mc_pipeline_tests.properties.runs import MortalSystems, run_company
from mc_pipeline_tests.recorded.recordings import (
    VERSIONS,
    raw_records,
    read_company,
    recorded_companies,
    recorded_odoo,
    settings_named,
)

COMPANIES = [(17, 1), (17, 2), (18, 1), (18, 2), (19, 1), (19, 2), (19, 3)]
SETTINGS = ["customers", "contact_persons"]
COMPARED = ["email", "partner_id", "audience", "order_count", "total_spent", "status_for_new"]

each_company = pytest.mark.parametrize(
    ("version", "company"), COMPANIES, ids=lambda value: str(value) if value < 17 else f"odoo{value}"
)
each_setting = pytest.mark.parametrize("settings", SETTINGS)


@cache
def checked_by_hand(version: int) -> dict[str, Any]:
    file = Path(__file__).parent / f"contacts_{version}.json"
    companies: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["companies"]
    return companies


@cache
def built(version: int, company: int, settings: str) -> ContactsResult:
    tables = recorded_companies(version)[company]
    return build_contacts(
        contact_inputs(
            tables.partners,
            tables.orders,
            settings_named(settings).companies["acme"],
            opted_out_emails=frozenset(),
            known_tags=tables.tags,
        )
    )


def compared(contacts: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["email"]: row for row in contacts[COMPARED].to_dict("records")}


def expected_contacts(expected: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["email"]: {name: row[name] for name in COMPARED} for row in expected["contacts"]}


def by_reason(set_aside: pd.DataFrame) -> dict[str, list[int]]:
    return {str(reason): sorted(ids) for reason, ids in set_aside.groupby("reason")["partner_id"]}


@each_setting
@each_company
def test_a_recorded_company_has_the_contacts_of_the_hand_checked_file(version, company, settings):
    expected = checked_by_hand(version)[str(company)][settings]
    contacts = built(version, company, settings).contacts
    assert compared(contacts) == expected_contacts(expected)
    assert contacts["email"].is_unique
    assert set(contacts["currency"]) <= {"USD"}


@each_setting
@each_company
def test_recorded_partners_are_left_out_for_the_hand_checked_reasons(version, company, settings):
    expected = checked_by_hand(version)[str(company)][settings]
    set_aside = built(version, company, settings).set_aside
    assert by_reason(set_aside) == expected["set_aside"]
    of = set_aside.dropna(subset="duplicate_of")
    assert (
        dict(zip(of["partner_id"].astype(str), of["duplicate_of"], strict=True)) == expected["duplicate_of"]
    )


@each_company
def test_orders_count_to_nobody_where_their_partners_were_not_recorded(version, company):
    listed = checked_by_hand(version)[str(company)]["orders_of_nobody"]
    nobodys = {order for first, last in listed for order in range(first, last + 1)}
    unattributed = built(version, company, "customers").unattributed_orders
    assert set(unattributed["order_id"]) == nobodys
    recorded = {partner["id"] for partner in raw_records(version)["res.partner"]}
    assert not set(unattributed["customer_id"]) & recorded


@each_setting
@each_company
def test_the_hand_checked_file_speaks_of_every_partner_that_the_company_sees(version, company, settings):
    """So nothing was forgotten in it: each recorded partner is a contact, set aside, or both by a rule."""
    expected = checked_by_hand(version)[str(company)][settings]
    contacts = {row["partner_id"] for row in expected["contacts"]}
    set_aside = [partner for ids in expected["set_aside"].values() for partner in ids]
    assert len(set_aside) == len(set(set_aside))
    visible = {
        partner["id"]
        for partner in raw_records(version)["res.partner"]
        if not partner["company_id"] or partner["company_id"][0] == company
    }
    assert contacts | set(set_aside) == visible
    only_not_created = {"duplicate", "without_evidence"}
    both = {reason for reason, partners in expected["set_aside"].items() if contacts & set(partners)}
    assert both <= only_not_created


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sync_of_a_recorded_company_makes_the_hand_checked_tables(version, tmp_path):
    """The assets themselves, with nothing between them and the server."""
    expected = checked_by_hand(version)["1"]["customers"]
    mailchimp = SandboxMailchimp()
    with recorded_odoo(version) as odoo, mailchimp.serve():
        settings = settings_named("customers", odoo_url=odoo.url, mailchimp_url=mailchimp.api_url)
        for audience in settings.companies["acme"].audiences.values():
            mailchimp.add_audience(audience.list_id, audience.key.capitalize())
        systems = MortalSystems(settings, tmp_path / "ledger.sqlite")
        try:
            run = run_company(systems, "acme")
        finally:
            systems.close()
    assert run.succeeded, run.failure
    assert run.needs_approval  # a first load, so nothing was pushed
    assert run.tables["contacts"].complete
    assert compared(run.tables["contacts"].rows) == expected_contacts(expected)
    assert by_reason(run.tables["set_aside"].rows) == expected["set_aside"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_subscription_without_a_date_counts_only_where_that_is_accepted(version):
    """Of all the recorded consent one concerns a customer, who is on the blacklist: News, never dated."""
    address = "dup@example.com"
    with recorded_odoo(version) as odoo:
        odoo.unblacklist(address)
        (subscription,) = odoo.search(
            "mailing.subscription", [("list_id", "=", 3), ("contact_id.email_normalized", "=", address)]
        )
        with logged_in(odoo) as client:
            tables = read_company(client, 1)
    accepting = {"consent: {mailing_list: News}": "consent: {mailing_list: News, accept_undated: true}"}

    def contact(changes: dict[str, str], *opted_out: str) -> dict[str, Any]:
        result = build_contacts(
            contact_inputs(
                tables.partners,
                tables.orders,
                settings_named("customers", changes=changes).companies["acme"],
                opted_out_emails=frozenset(opted_out),
            )
        )
        rows = result.contacts.set_index("email").loc[address]
        return {"status": rows["status_for_new"], "evidence": rows["evidence_json"]}

    assert contact({}) == {"status": "transactional", "evidence": None}
    assert contact(accepting, address) == {"status": "transactional", "evidence": None}
    subscribed = contact(accepting)
    assert subscribed["status"] == "subscribed"
    assert json.loads(subscribed["evidence"]) == {
        "source": "News",
        "kind": "mailing_list",
        "record_id": 3,
        "subscription_id": subscription,
        "address": address,
        "at": None,
    }
