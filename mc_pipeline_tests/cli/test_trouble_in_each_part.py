"""A run with trouble in each part at once: each is one line, at the terminal, in the table and as JSON."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.cli.conftest import Finished, configure, mc_pipeline, serve_world
from mc_pipeline_tests.world import World

pytestmark = pytest.mark.long

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
AUDIENCES = """
    guards: {archived: {percent: 0, at_least: 0}}
    audiences:
      wholesale:
        list_id: wholesale1
        when: {company_type: company}
        merge_fields: {FNAME: first_name, COMPANY: company_name}
        tags: {B2B: always, VIP: {field: total_spent, at_least: 1000}}
        store: {id: store-b, name: B2B, currency: EUR}
      retail:
        list_id: retail1
        when: {}
        merge_fields: {FNAME: first_name, SPENT: total_spent}
        tags: {B2C: always}
        store: {id: store-c, name: B2C, currency: EUR}
"""


@pytest.fixture
def shop(tmp_path) -> Iterator[World]:
    with serve_world(tmp_path) as world:
        configure(world, audiences=AUDIENCES)
        yield world


def buy(shop: World, partner: int, amount: float) -> None:
    shop.odoo.add_order(partner, amount, date_order=ORDERED)


def lines(finished: Finished, kind: str) -> list[str]:
    return re.findall(rf"^{kind}: (.*)$", finished.output, re.MULTILINE)


def test_each_trouble_is_one_line_at_the_terminal_in_the_table_and_as_json(shop: World):
    people = {
        name: shop.odoo.add_partner(name=name, email=f"{name.lower()}@example.com", is_company=is_company)
        for name, is_company in (("Firm", True), ("Closing", True), ("Ann", False), ("Ben", False))
    }
    for partner in people.values():
        buy(shop, partner, 100.0)
    waits = mc_pipeline("sync", "acme")
    assert waits.exit_code == 3
    (plan_id,) = set(re.findall(r"mc-pipeline approve (\w+)", waits.in_one_line))
    assert mc_pipeline("approve", plan_id, "--by", "grace", "--reason", "first load seen").exit_code == 0
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 0, finished.output

    (spent,) = [
        each for each in shop.mailchimp.audience("retail1").merge_fields.values() if each.tag == "SPENT"
    ]
    spent.type = "text"
    shop.mailchimp.faults.add(
        Fault("json_500", match_method="POST", match_path_regex="wholesale1/segments", times=None)
    )
    shop.mailchimp.faults.add(Fault("html_503", match_path_regex="/stores/store-c", times=None))
    shop.mailchimp.refuse_signups("new@example.com")
    shop.odoo.archive_partner(people["Closing"])
    new = shop.odoo.add_partner(name="New", email="new@example.com")
    for partner, amount in ((people["Firm"], 5000.0), (people["Ann"], 50.0), (new, 20.0)):
        buy(shop, partner, amount)

    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 1, finished.output
    broken, waiting = lines(finished, "Broken"), lines(finished, "Waits")
    assert len(broken) == 3, finished.output
    assert [word for word in ("SPENT", "VIP", "store-c") if not any(word in line for line in broken)] == []
    assert len(waiting) == 1, finished.output
    assert "1 members would be archived" in waiting[0]
    assert "@" not in finished.output.replace("•@", "")

    status = mc_pipeline("status", "acme")
    assert status.exit_code == 1
    assert (lines(status, "Broken"), lines(status, "Waits")) == (broken, waiting)
    (company_status,) = json.loads(mc_pipeline("status", "acme", "--json").output)
    assert company_status["state"] == "broken"
    by_kind = {
        kind: [row for row in company_status["rows"] if row["kind"] == kind] for kind in ("broken", "waits")
    }
    assert {kind: len(rows) for kind, rows in by_kind.items()} == {"broken": 3, "waits": 1}
    assert all(row["what_to_do"] for rows in by_kind.values() for row in rows)
    assert all(row["owner"] for row in company_status["rows"])
    assert shop.table("company_status").rows["sentence"].tolist() == [
        row["sentence"] for row in company_status["rows"]
    ]

    shop.mailchimp.faults.clear()
    spent.type = "number"
    (plan_id,) = set(
        re.findall(
            r"mc-pipeline approve (\w+)", " ".join(row["what_to_do"] for row in company_status["rows"])
        )
    )
    assert mc_pipeline("approve", plan_id, "--by", "grace", "--reason", "closed").exit_code == 0
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 0, finished.output
    assert shop.mailchimp.status("wholesale1", "closing@example.com") == "archived"
    assert "VIP" in shop.mailchimp.tags("wholesale1", "firm@example.com")
    assert mc_pipeline("reconcile", "acme").exit_code == 0
