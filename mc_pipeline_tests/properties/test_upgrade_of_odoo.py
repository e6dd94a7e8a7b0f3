"""Odoo is upgraded to a version without company types: nobody known moves, and no company's name changes.

The same stand-in database before and after, over real HTTP, with whole runs of the pipeline.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.settings import load_settings
from mc_pipeline.sync.snapshots import StoredSnapshots
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import (
    COMPANY,
    ORDERED,
    SECOND_COMPANY,
    SECRETS,
    SmallWorld,
    small_world,
)

TRADE_EU = "club1"
FIELDS = "{{FNAME: name, COMPANY: company_name}}"
SETTINGS = f"""
odoo: {{{{url: "{{odoo}}", database: sandbox, user: admin, secret: "${{{{ODOO_SECRET}}}}"}}}}
mailchimp:
  main: {{{{api_key: "${{{{MAILCHIMP_API_KEY}}}}", base_url: "{{mailchimp}}", hear_every_seconds: 0}}}}
companies:
  {COMPANY}:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    {{company_if}}
    audiences:
      trade_gb: {{{{list_id: {WHOLESALE}, when: {{{{company_type: company, countries: [GB]}}}},
                 merge_fields: {FIELDS}}}}}
      trade: {{{{list_id: {TRADE_EU}, when: {{{{company_type: company}}}}, merge_fields: {FIELDS}}}}}
      shoppers: {{{{list_id: {RETAIL}, when: {{{{company_type: person}}}}, merge_fields: {FIELDS}}}}}
"""


@contextmanager
def town(settle, company_if: str = "", **options) -> Iterator[SmallWorld]:
    """A town on Odoo 19 with the people that ``settle`` puts there."""

    def prepare(odoo: SandboxOdoo, mailchimp: SandboxMailchimp) -> None:
        mailchimp.add_audience(TRADE_EU, "Trade")
        settle(odoo)

    with small_world(prepare=prepare, **options) as world:
        text = SETTINGS.format(odoo=world.odoo.url, mailchimp=world.mailchimp.api_url, company_if=company_if)
        if world.second_company is not None:
            text += (
                f"  {SECOND_COMPANY}:\n    odoo_company_id: {world.second_company}\n    mailchimp: main\n"
                "    timezone: Europe/Paris\n    audiences:\n"
                "      second: {list_id: second1, when: {company_type: company}}\n"
            )
        config = world.folder / "companies.yaml"
        config.write_text(text)
        world.settings = load_settings(config, SECRETS)
        yield world


def buys(odoo: SandboxOdoo, partner: int) -> int:
    odoo.add_order(partner, 100.0, date_order=ORDERED)
    return partner


def person(odoo: SandboxOdoo, name: str, **values) -> int:
    """Somebody with an address of their own who bought something."""
    email = f"{name.lower().replace(' ', '.')}@example.com"
    return buys(odoo, odoo.add_partner(name=name, email=email, **values))


def decided_of(run: Run) -> dict[str, tuple[str, str | None]]:
    """Audience and company of every contact."""
    rows = run.tables["contacts"].rows
    return dict(
        zip(rows["email"], zip(rows["audience"], rows["merge_fields_json"], strict=True), strict=True)
    )


def judged(run: Run, partner: int) -> tuple[bool, int, str]:
    rows = run.tables["odoo_partners"].rows.set_index("partner_id")
    row = rows.loc[partner]
    return bool(row["is_company"]), int(row["commercial_partner_id"]), row["company_known_by"]


def two_thousand(odoo: SandboxOdoo) -> None:
    """Every kind of company and person: 2,000 partners."""
    for number in range(100):
        person(odoo, f"Alone {number}", is_company=True, country="GB")
    for number in range(200):
        firm = odoo.add_partner(name=f"Bare {number}", is_company=True, country="GB")
        person(odoo, f"Buyer of bare {number}", parent_id=firm, country="GB")
    for number in range(200):
        firm = odoo.add_partner(name=f"Taxed {number}", is_company=True, vat=f"GB{number:09}", country="GB")
        person(odoo, f"Buyer of taxed {number}", parent_id=firm, country="GB")
    for number in range(200):
        top = odoo.add_partner(name=f"Top {number}", is_company=True, vat=f"FR{number:09}", country="FR")
        below = odoo.add_partner(
            name=f"Sub {number}", is_company=True, parent_id=top, vat=f"BE{number:09}", country="GB"
        )
        person(odoo, f"Buyer of sub {number}", parent_id=below, country="GB")
    for number in range(300):
        person(odoo, f"Plain {number}", country="GB")
    for number in range(100):
        person(odoo, f"Self employed {number}", vat=f"IT{number:09}", country="IT")
    for number in range(100):
        person(odoo, f"Typed {number}", company_name=f"Her own {number}", country="FR")


def test_an_upgrade_to_20_of_2000_partners_moves_nobody_and_changes_no_company() -> None:
    with town(two_thousand) as world:
        before = world.run_until_done()
        assert before.tables["odoo_partners"].rows["company_known_by"].eq("odoo").all()
        world.odoo.upgrade((20, 0))
        world.mailchimp.journal.clear()
        after = world.run()
        assert after.succeeded, after.failure
        assert decided_of(after) == decided_of(before)
        assert len(decided_of(after)) == 1200
        assert after.tables["audience_plan"].rows.empty
        assert world.mailchimp.journal.writes == []
        rows = after.tables["odoo_partners"].rows
        assert len(rows[rows["company_known_by"] == "memory"]) >= 2000
        # Companies without tax id and contacts, subsidiaries, their buyers, people with a tax id.
        assert rows["differs_without_memory"].sum() >= 100 + 200 + 200 + 100


@pytest.fixture
def people() -> dict[str, int]:
    return {}


@pytest.fixture
def small_town(people) -> Iterator[SmallWorld]:
    """One of each kind, synced on 19 and upgraded to 20; Odoo itself judged nobody anew."""

    def settle(odoo: SandboxOdoo) -> None:
        people["bare"] = person(odoo, "Bare", is_company=True, country="GB")
        people["top"] = odoo.add_partner(name="Top", is_company=True, vat="FR1", country="FR")
        people["sub"] = odoo.add_partner(
            name="Sub", is_company=True, parent_id=people["top"], vat="BE1", country="GB"
        )
        people["eve"] = person(odoo, "Eve Buyer", parent_id=people["sub"], country="GB")
        people["dario"] = person(odoo, "Dario Person", vat="IT1", country="IT")
        people["tess"] = person(odoo, "Tess Typed", company_name="Her own")
        people["b2b"] = odoo.add_tag("B2B")

    with town(settle, "company_if: {any_tag: B2B}") as world:
        world.run_until_done()
        world.odoo.upgrade((20, 0), companies_judged_anew=False)
        yield world


def test_after_an_upgrade_only_whose_own_tax_id_or_parent_changes_is_judged_again(small_town, people) -> None:
    world, odoo = small_town, small_town.odoo
    first = world.run()
    assert first.tables["audience_plan"].rows.empty
    assert judged(first, people["eve"]) == (False, people["sub"], "memory")
    assert judged(first, people["dario"]) == (False, people["dario"], "memory")
    odoo.edit_partner(people["dario"], vat="IT2")
    odoo.edit_partner(people["bare"], street="1 High Street")
    second = world.run_until_done(only_changes=True)
    assert judged(second, people["dario"]) == (True, people["dario"], "odoo")
    assert judged(second, people["bare"]) == (True, people["bare"], "memory")
    assert world.mailchimp.status(TRADE_EU, "dario.person@example.com") == "transactional"
    notes = second.metadata["odoo_partners"]["read"].md_str
    assert "are as read since" in notes
    # What the next run builds upon is Odoo's own word, and nothing changes by it.
    third = world.run_until_done(only_changes=True)
    assert judged(third, people["eve"]) == (False, people["sub"], "memory")
    assert third.tables["audience_plan"].rows.empty
    raw = StoredSnapshots(COMPANY, "odoo_partners").load("res.partner")
    assert raw.records[people["eve"]]["commercial_partner_id"] == people["top"]


@pytest.mark.quick
def test_new_partners_are_companies_by_odoo_contacts_below_them_or_company_if(small_town, people) -> None:
    world, odoo = small_town, small_town.odoo
    taxed = person(odoo, "Taxed", vat="DE1", country="DE")
    with_contact = odoo.add_partner(name="With contact", country="DE")
    below = person(odoo, "Contact", parent_id=with_contact)
    with_address = person(odoo, "With address")
    odoo.add_partner(name="Delivery", parent_id=with_address, type="delivery")
    archived = person(odoo, "With archived")
    odoo.archive_partner(odoo.add_partner(name="Left", parent_id=archived))
    tagged = person(odoo, "Tagged", tags=[people["b2b"]])
    below_sub = person(odoo, "New of sub", parent_id=people["sub"])
    run = world.run_until_done()
    assert {
        name: judged(run, number)
        for name, number in {
            "taxed": taxed,
            "with contact": with_contact,
            "contact": below,
            "with address": with_address,
            "archived below": archived,
            "tagged": tagged,
            "below sub": below_sub,
        }.items()
    } == {
        "taxed": (True, taxed, "odoo"),
        "with contact": (True, with_contact, "contacts_below"),
        "contact": (False, with_contact, "odoo"),
        "with address": (False, with_address, "odoo"),
        "archived below": (True, archived, "contacts_below"),
        "tagged": (True, tagged, "company_if"),
        "below sub": (False, people["sub"], "odoo"),
    }
    fields = {
        email: world.member_fields(audience, email)
        for audience, email in (
            (TRADE_EU, "new.of.sub@example.com"),
            (RETAIL, "with.address@example.com"),
            (RETAIL, "tess.typed@example.com"),
            (TRADE_EU, "taxed@example.com"),
        )
    }
    assert {email: each.get("COMPANY", "") for email, each in fields.items()} == {
        "new.of.sub@example.com": "Sub",
        "with.address@example.com": "",
        "tess.typed@example.com": "Her own",
        "taxed@example.com": "Taxed",
    }


def test_somebody_who_is_erased_is_not_remembered(small_town, people) -> None:
    world = small_town
    with world._ledger_of_a_person() as systems:
        (odoo,) = _databases(systems)
        assert people["tess"] in systems.ledger.company_records.of(odoo)
    assert world.erase(people["tess"])
    with world._ledger_of_a_person() as systems:
        assert people["tess"] not in systems.ledger.company_records.of(odoo)
        assert people["dario"] in systems.ledger.company_records.of(odoo)


def _databases(systems) -> set[str]:
    from sqlalchemy import select

    from mc_pipeline.ledger.schema import company_record

    with systems.ledger._database.read() as connection:
        return set(connection.execute(select(company_record.c.odoo).distinct()).scalars())


def test_two_companies_remember_their_shared_partners_once_and_agree(people) -> None:
    def settle(odoo: SandboxOdoo) -> None:
        people["bare"] = odoo.add_partner(name="Bare", is_company=True)
        people["other"] = person(odoo, "Other", vat="IT1")

    with town(settle, second_company=True) as world:
        for company in world.settings.companies:
            world.run_until_done(company=company)
        with world._ledger_of_a_person() as systems:
            (odoo,) = _databases(systems)
            before = systems.ledger.company_records.of(odoo)
        world.odoo.upgrade((20, 0))
        runs = [world.run(company=company) for company in world.settings.companies]
        for run in runs:
            assert run.succeeded, run.failure
            assert judged(run, people["bare"]) == (True, people["bare"], "memory")
            assert judged(run, people["other"]) == (False, people["other"], "memory")
        with world._ledger_of_a_person() as systems:
            assert systems.ledger.company_records.of(odoo) == before


def test_without_the_ledger_of_before_the_upgrade_all_are_judged_by_the_rules_for_new_ones(people) -> None:
    def settle(odoo: SandboxOdoo) -> None:
        people["bare"] = person(odoo, "Bare", is_company=True)
        people["dario"] = person(odoo, "Dario Person", vat="IT1")

    with town(settle) as world:
        world.odoo.upgrade((20, 0))
        run = world.run()
        assert judged(run, people["bare"]) == (False, people["bare"], "odoo")
        assert judged(run, people["dario"]) == (True, people["dario"], "odoo")
