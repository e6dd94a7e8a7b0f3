"""First and last names in whole runs: what members see, what marketing reads, and the demo's people."""

from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from mc_pipeline.cli.main import commands
from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.contacts.names import NameFields, before_last_name, has_last_name_twice
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed import demo_companies_yaml, seed_demo
from mc_pipeline_tests.world import World, set_environment

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
MIA, EVE = "mia@example.com", "eve@example.com"


def names_of(world: World, email: str) -> tuple[str, str]:
    fields = world.mailchimp.member("retail1", email).merge_fields
    return str(fields["FNAME"]), str(fields["LNAME"])


@pytest.mark.long
def test_a_last_name_that_somebody_gave_stays_and_stands_once(world: World, monkeypatch):
    partners = {}
    for email, name, first, last in (
        (MIA, "Mia Miller", "M.", "Miller"),
        (EVE, "Eve Evans", "Eve", "Ogilvy"),
    ):
        partners[email] = world.odoo.add_partner(name=name, email=email)
        world.odoo.add_order(partners[email], 10.0, date_order=ORDERED)
        world.mailchimp.add_member(
            "retail1", email, "subscribed", merge_fields={"FNAME": first, "LNAME": last}
        )
    check = world.checks(world.sync())["audience_plan/names_decided"]
    assert (names_of(world, MIA), names_of(world, EVE)) == (("Mia", "Miller"), ("Eve", "Ogilvy"))
    assert not check.passed
    assert check.metadata["not_decided"].value == 1
    assert [row.data["partner_id"] for row in check.metadata["who"].records] == [partners[EVE]]
    assert "Ogilvy" not in f"{check.description}{check.metadata}"

    monkeypatch.setenv("MC_PIPELINE_CONFIG", str(world.config))
    explained = CliRunner().invoke(commands, ["explain", EVE], env={"COLUMNS": "300"}).output
    assert "name_not_decided" in explained.replace(" ", "_")
    examined = CliRunner().invoke(commands, ["doctor"], env={"COLUMNS": "300"}).output
    assert (
        "Odoo has one name field; the setting names decides: whole in wholesale, whole in retail" in examined
    )
    assert "1 member whose names are not written" in examined

    world.mailchimp.journal.clear()
    world.sync()
    assert world.mailchimp.journal.writes == []
    world.mailchimp.edit_field("retail1", EVE, "LNAME", "Evans", by="person")
    assert world.checks(world.sync())["audience_plan/names_decided"].passed


def test_a_last_name_that_is_the_whole_name_in_odoo_is_not_said_to_be_put_right(world: World, monkeypatch):
    for email, name in ((MIA, "Miller"), (EVE, "Eve Evans")):
        world.odoo.add_order(world.odoo.add_partner(name=name, email=email), 10.0, date_order=ORDERED)
        last = name.split()[-1]
        fields = {"FNAME": last, "LNAME": last}
        world.mailchimp.add_member("retail1", email, "subscribed", merge_fields=fields)
    monkeypatch.setenv("MC_PIPELINE_CONFIG", str(world.config))

    def examined() -> str:
        return CliRunner().invoke(commands, ["doctor"], env={"COLUMNS": "300"}).output

    world.run(push=False)
    assert "1 member with the last name in both fields" in examined()
    world.sync()
    assert (names_of(world, MIA), names_of(world, EVE)) == (("Miller", "Miller"), ("Eve", "Evans"))
    world.run(push=False)
    assert "last name in both fields" not in examined()


@pytest.mark.long
def test_a_member_whom_an_earlier_version_gave_the_whole_name_is_mended(world: World):
    partner = world.odoo.add_partner(name="Mia Miller", email=MIA)
    world.odoo.add_order(partner, 10.0, date_order=ORDERED)
    world.mailchimp.add_member("retail1", MIA, "subscribed", merge_fields={"FNAME": "Mia", "LNAME": ""})
    world.sync()
    assert names_of(world, MIA) == ("Mia Miller", "")
    world.mailchimp.edit_field("retail1", MIA, "LNAME", "Miller", by="person")
    world.sync()
    assert names_of(world, MIA) == ("Mia", "Miller")
    world.mailchimp.journal.clear()
    world.sync()
    assert world.mailchimp.journal.writes == []


@pytest.mark.long
def test_after_the_first_push_of_the_demo_no_last_name_stands_twice(tmp_path, monkeypatch):
    set_environment(monkeypatch, tmp_path)
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    seeded = seed_demo(odoo, mailchimp, partners=300)
    for name, value in seeded.environment().items():
        monkeypatch.setenv(name, value)
    with odoo.serve(), mailchimp.serve():
        world = World(odoo, mailchimp, tmp_path)
        world.config.write_text(demo_companies_yaml(odoo.url, mailchimp.api_url), encoding="utf-8")
        audiences = {each.list_id: each for each in world.settings.companies["acme_uk"].audiences.values()}

        def fields_now() -> dict[tuple[str, str], dict[str, Any]]:
            return {
                (list_id, key): dict(member.merge_fields)
                for list_id in audiences
                for key, member in mailchimp.audience(list_id).members.items()
                # Mailchimp drops who did not confirm in time: they are made anew, without their old fields.
                if member.status != "pending"
            }

        before = fields_now()
        world.sync("acme_uk")
        after = fields_now()
        assert len(after) > len(before) + 20, "the first push created nobody"
        for (list_id, key), fields in after.items():
            assert not has_last_name_twice(fields, NameFields.of(audiences[list_id]))
            assert fields.get("LNAME", "") == before.get((list_id, key), {}).get("LNAME", "")
        contacts = world.table("contacts", "acme_uk").rows
        names = {
            subscriber_hash(email): name
            for email, name in zip(contacts["email"], contacts["name"], strict=True)
        }
        at_risk = [
            key
            for (_, key), fields in before.items()
            if before_last_name(names.get(key, ""), str(fields["LNAME"]))
        ]
        assert len(at_risk) > 10, "nobody's name could have been written beside a last name"
