"""A company archived in Odoo: the others are synced as ever, and its own run says what to do."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mc_pipeline.ledger import Ledger
from mc_pipeline_tests.cli.conftest import configure, mc_pipeline, serve_world
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture
def closed(tmp_path) -> Iterator[tuple[World, int]]:
    """A world whose second company was archived; the Odoo user still has it."""
    with serve_world(tmp_path) as world:
        company = world.odoo.add_company("Closed")
        world.odoo.write("res.company", company, {"active": False})
        yield world, company


def _name_it_too(world: World, company: int) -> None:
    world.mailchimp.add_audience("closed1", "Closed")
    with world.config.open("a") as settings:
        settings.write(
            f"  closed:\n    odoo_company_id: {company}\n    mailchimp: main\n    timezone: Europe/Paris\n"
            "    audiences:\n      everybody: {list_id: closed1, when: {}}\n"
        )


@pytest.mark.long
def test_opt_outs_and_a_full_sync_of_another_company_go_on(closed):
    world, company = closed
    own = world.odoo.read("res.company", company, "partner_id")["partner_id"]
    world.odoo.edit_partner(own, email="office@closed.example.com")
    ada = world.odoo.add_partner(name="Ada Lovelace", email="ada@example.com")
    for partner in (ada, own):
        world.odoo.add_order(partner, 100.0, date_order=ORDERED)
    world.odoo.add_partner(name="Grace Hopper", email="grace@example.com")
    world.mailchimp.add_member("retail1", "grace@example.com", "subscribed")
    assert mc_pipeline("sync", "acme", "--opt-outs").exit_code == 0
    world.mailchimp.unsubscribe("retail1", "grace@example.com")
    assert mc_pipeline("sync", "acme", "--opt-outs").exit_code == 0
    assert "grace@example.com" in world.odoo.database.blacklisted()
    assert mc_pipeline("sync", "acme").exit_code == 3
    with Ledger.open() as ledger:
        (plan,) = ledger.plans.waiting("acme")
        ledger.plans.approve(plan.plan_id, by="tester", reason="test")
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 0, finished.output
    assert world.mailchimp.statuses("retail1")["ada@example.com"] == "transactional"
    for list_id in ("retail1", "wholesale1"):
        assert "office@closed.example.com" not in world.mailchimp.statuses(list_id), "its own partner"


def test_its_own_run_says_in_one_sentence_what_to_do_and_the_others_go_on(closed):
    world, company = closed
    _name_it_too(world, company)
    world.mailchimp.add_member("retail1", "grace@example.com", "subscribed")
    world.odoo.blacklist("grace@example.com")
    finished = mc_pipeline("sync", "closed", "acme", "--opt-outs")
    assert finished.exit_code == 1
    assert finished.in_one_line.count("Broken: ") == 1
    assert (
        f"company {company} is archived in Odoo: unarchive it there (Settings / Companies), or correct "
        "odoo_company_id, or remove the company from companies.yaml"
    ) in finished.in_one_line
    assert world.mailchimp.status("retail1", "grace@example.com") == "unsubscribed"


def test_the_doctor_says_the_same_and_looks_at_the_others(closed):
    world, company = closed
    configure(world)
    _name_it_too(world, company)
    findings = json.loads(mc_pipeline("doctor", "--json").output)
    status = {(each["where"], each["check"]): each for each in findings}
    assert status["acme", "company"]["status"] == "ok"
    assert status["closed", "company"]["status"] == "problem"
    assert status["closed", "company"]["found"] == "archived in Odoo"
    assert f"ompany {company} is archived in Odoo: unarchive it there" in status["closed", "company"]["fix"]
