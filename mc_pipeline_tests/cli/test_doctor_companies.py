"""What ``doctor`` says of several companies in one Odoo, and of an Odoo without Email Marketing."""

from typing import Any

import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.cli.conftest import configure, found, serve_world
from mc_pipeline_tests.defs.test_sync import ORDERED

ALL_GROUPS = ("sales_all", "accounting", "email_marketing", "hr")
ONE_AUDIENCE = "    audiences: {all: {list_id: retail1}}\n"


def of(check: str, findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["status"], each["found"]) for each in findings if each["check"] == check]


def test_customers_of_another_company_are_named_as_that_and_those_of_the_parent_are_seen(tmp_path):
    with serve_world(tmp_path) as world:
        odoo = world.odoo
        branch, lumen = odoo.add_company("Branch"), odoo.add_company("Lumen")
        odoo.write("res.company", branch, {"parent_id": 1})
        for name, owner in (("parent", 1), ("own", branch), ("shared", False), ("lumen", lumen)):
            partner = odoo.add_partner(name=name, email=f"{name}@example.com", company_id=owner)
            odoo.add_order(partner, 10.0, date_order=ORDERED, company_id=branch)
        odoo.add_user("sync", "admin", company_ids=(branch, lumen), groups=ALL_GROUPS)
        configure(world, user="sync", company=branch, audiences=ONE_AUDIENCE)
        findings = found()
        world.run(push=False)
        reasons = world.table("set_aside").rows["reason"]
        partners = world.table("odoo_partners").rows
    ((status, said),) = of("visible customers", findings)
    assert status == "warning"
    assert said.startswith("1 of 4 customers of the newest orders belong to company Lumen")
    assert of("contacts", findings) == [
        ("ok", f"{len(partners):,} partners of the company, of those above it, or shared")
    ]
    (people, left_out, *_) = of("people", findings)
    assert people[1].startswith("all: 3 people")
    assert left_out[1].startswith(f"left out: {len(reasons)} partners")
    assert "1 other company" in left_out[1]
    assert not [each for each in findings if each["status"] == "problem"]


@pytest.mark.parametrize(
    ("groups", "status", "said"),
    [
        (("sales_all", "accounting", "hr"), "problem", "opt-outs would not reach Odoo"),
        (("admin",), "warning", "only because its user is an administrator"),
    ],
)
def test_an_odoo_without_email_marketing_is_told_to_install_it(tmp_path, groups, status, said):
    odoo = SandboxOdoo((19, 0), modules={"sale", "account", "delivery"})
    with serve_world(tmp_path, odoo) as world:
        partner = odoo.add_partner(name="Ada", email="ada@example.com")
        odoo.add_order(partner, 10.0, date_order=ORDERED)
        odoo.add_user("sync", "admin", groups=groups)
        configure(world, user="sync", audiences=ONE_AUDIENCE)
        findings = found()
    modules = [each for each in findings if each["check"] == "modules"]
    (finding,) = [each for each in modules if each["status"] == status]
    assert finding["found"].startswith("Email Marketing (mass_mailing) is not installed")
    assert said in finding["found"]
    assert "Install it in Odoo" in finding["fix"]
    assert [each["check"] for each in findings if each["status"] == "problem"] == (
        ["modules"] if status == "problem" else []
    )
