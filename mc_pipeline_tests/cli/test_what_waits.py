"""What waits for a person is counted as waiting everywhere, with what its release does, and ends with 3."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mc_pipeline_tests.cli.conftest import Finished, configure, mc_pipeline, serve_world
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
OPTED_OUT = ("ann@example.com", "bob@example.com")
JOINING = tuple(f"person{number}@example.com" for number in range(4))
AUDIENCES = """
    audiences:
      retail:
        list_id: greeting1
        when: {}
        consent: {mailing_list: News}
"""
OLD = (
    "2 people who opted out of retail before it was first read wait for approval and are not opted out in "
    "Odoo (mc-pipeline approve opt-outs-greeting1)."
)
MAILED = "retail: welcome automation connected: 4 people would be mailed."


@pytest.fixture
def shop(tmp_path) -> Iterator[World]:
    """An audience that greets, two people in it who opted out long ago, and four who consented."""
    with serve_world(tmp_path) as world:
        world.mailchimp.add_audience("greeting1", "Greeting", welcome_automation=True)
        configure(world, audiences=AUDIENCES)
        news = world.odoo.add_mailing_list("News")
        for email in JOINING:
            world.odoo.add_order(world.odoo.add_partner(name=email, email=email), 100.0, date_order=ORDERED)
            world.odoo.subscribe(news, email)
        for email in OPTED_OUT:
            world.odoo.add_partner(name=email, email=email)
            world.mailchimp.add_member("greeting1", email, "unsubscribed")
        yield world


def plan_of(finished: Finished) -> str:
    found = re.search(r"mc-pipeline approve ([0-9a-f]{12})", finished.in_one_line)
    assert found, finished.output
    return found[1]


def test_opt_outs_that_wait_are_never_reported_as_applied(shop: World):
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 3, finished.output
    assert "! 2 Mailchimp opt-outs and resubscribes: 0 applied to Odoo, 2 wait for approval" in (
        finished.in_one_line
    )
    assert OLD in finished.in_one_line
    assert "because of Mailchimp" not in finished.in_one_line
    assert shop.odoo.database.blacklisted() == set()


@pytest.mark.long
def test_a_first_load_and_old_opt_outs_are_released_side_by_side(shop: World):
    waits = mc_pipeline("sync", "acme")
    assert waits.exit_code == 3
    assert "Needs approval: retail: first load." in waits.in_one_line
    assert f"{MAILED} {OLD} Approve the plan" in waits.in_one_line
    assert "welcome automation: connected: 4 people would be mailed" in waits.in_one_line
    assert shop.mailchimp.mails == []

    listed = mc_pipeline("approve").in_one_line
    plan = plan_of(waits)
    assert f"{plan} acme " in listed
    assert MAILED in listed
    assert "opt-outs-greeting1 acme 2 people who opted out of retail before it was first read" in listed
    assert (
        "Once approved, the next sync opts them out in Odoo and in every audience of the company." in listed
    )

    assert mc_pipeline("approve", plan).exit_code == 0
    status = mc_pipeline("status", "acme")
    assert f"Approved since then: {plan}. Apply it: mc-pipeline sync acme" in status.in_one_line
    assert "Needs approval" not in status.in_one_line
    assert status.exit_code == 3, "old opt-outs still wait"
    done = mc_pipeline("sync", "acme")
    assert done.exit_code == 3, "the plan is pushed, and old opt-outs still wait"
    assert "acme: done" in done.in_one_line
    assert OLD in done.in_one_line
    assert "Needs approval" not in done.in_one_line
    assert sorted(mail.email for mail in shop.mailchimp.mails) == sorted(JOINING), "as the plan had said"
    assert mc_pipeline("sync", "acme", "--plan").exit_code == 0, "a plan carries no opt-out"

    assert mc_pipeline("approve", "opt-outs-greeting1").exit_code == 0
    assert mc_pipeline("status", "acme").exit_code == 0, "nothing waits for a person any more"
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 0, finished.output
    assert "✓ 2 Mailchimp opt-outs and resubscribes: 2 applied to Odoo" in finished.in_one_line
    assert shop.odoo.database.blacklisted() == set(OPTED_OUT)
    assert "No plan and no old opt-out waits for approval." in mc_pipeline("approve").in_one_line


STORE = """
        store: {id: acme-retail, name: Acme, currency: EUR}
"""


@pytest.mark.long
def test_orders_that_a_store_would_lose_wait_and_are_released_by_their_own_id(shop: World):
    guards = "    guards: {orders_lowered: {percent: 10, at_least: 2}}"
    configure(shop, audiences=guards + AUDIENCES.rstrip() + STORE)
    mc_pipeline("approve", "opt-outs-greeting1")
    mc_pipeline("approve", plan_of(mc_pipeline("sync", "acme")))
    mc_pipeline("approve", "opt-outs-greeting1")
    assert mc_pipeline("sync", "acme").exit_code == 0
    orders = shop.mailchimp.store("acme-retail").orders
    assert {order["order_total"] for order in orders.values()} == {100.0}

    for order_id in shop.odoo.search("sale.order", []):
        shop.odoo.cancel_order(order_id)
    waits = mc_pipeline("sync", "acme")
    assert waits.exit_code == 3, waits.output
    found = re.search(r"mc-pipeline approve (orders-[\w-]+)", waits.in_one_line)
    assert found, waits.output
    assert {order["order_total"] for order in orders.values()} == {100.0}
    assert f"{found[1]} acme 4 of 4 orders of store acme-retail would be lowered or deleted" in (
        mc_pipeline("approve").in_one_line
    )

    assert mc_pipeline("approve", found[1]).exit_code == 0
    assert f"Approved since then: {found[1]}." in mc_pipeline("status", "acme").in_one_line
    assert mc_pipeline("sync", "acme").exit_code == 0
    assert {order["order_total"] for order in orders.values()} == {0.0}


@pytest.mark.long
def test_a_later_plan_says_too_whom_it_would_have_mailed(shop: World):
    mc_pipeline("approve", plan_of(mc_pipeline("sync", "acme")))
    mc_pipeline("approve", "opt-outs-greeting1")
    assert mc_pipeline("sync", "acme").exit_code == 0
    late = shop.odoo.add_partner(name="Late", email="late@example.com")
    shop.odoo.add_order(late, 100.0, date_order=ORDERED)
    (news,) = shop.odoo.search("mailing.list", [("name", "=", "News")])
    shop.odoo.subscribe(news, "late@example.com")
    finished = mc_pipeline("sync", "acme", "--plan")
    assert finished.exit_code == 0
    assert (
        "within the guards. retail: welcome automation connected: 1 person would be mailed."
        in finished.in_one_line
    )
