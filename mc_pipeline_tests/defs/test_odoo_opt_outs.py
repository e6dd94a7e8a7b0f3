"""Opt-outs of Mailchimp in Odoo, end to end: both stand-ins over HTTP, the real job between them."""

from datetime import timedelta

import dagster as dg
import pytest

from mc_pipeline.defs.jobs import OPT_OUTS
from mc_pipeline.sandbox.mailchimp.people import People
from mc_pipeline_tests.world import World

ADA, GRACE = "ada@example.com", "grace@example.com"


def run(world: World, company: str = "acme") -> dg.ExecuteInProcessResult:
    """Only the opt-outs; they must always come to their end, whatever trouble the last step tells of."""
    result = world.definitions.resolve_job_def(OPT_OUTS).execute_in_process(
        partition_key=company, instance=world.instance, raise_on_error=False
    )
    assert result.success or world.went_through(result), world.failures(result)
    return result


def writes(world: World) -> list[str]:
    """What was written to either system since the journals were cleared."""
    odoo = [
        str(entry.body["params"]["args"][3:5])
        for entry in world.odoo.journal.requests
        if isinstance(entry.body, dict)
        and entry.body.get("params", {}).get("method") == "execute_kw"
        and entry.body["params"]["args"][4] in ("create", "write", "unlink")
    ]
    return odoo + [entry.path for entry in world.mailchimp.journal.writes]


def clear(world: World) -> None:
    world.odoo.journal.clear()
    world.mailchimp.journal.clear()


def come_back(world: World, list_id: str) -> None:
    """Ada signs up again by the form, surely later: Mailchimp tells whole seconds."""
    world.mailchimp.advance(timedelta(seconds=5))
    People(world.mailchimp.state).sign_up(list_id, ADA)


def is_out(world: World, email: str) -> bool:
    return email in world.odoo.database.blacklisted()


def outcome(world: World, email: str, company: str = "acme") -> tuple[str, str, str]:
    rows = world.table("odoo_opt_outs", company).rows.set_index("email")
    return tuple(rows.loc[email, ["action", "outcome", "conflict"]])


@pytest.fixture
def opened(world: World) -> World:
    """Ada is a subscribed member of both audiences, and both have been read."""
    world.odoo.add_partner(name="Ada Lovelace", email="Ada@Example.com")
    world.odoo.add_partner(name="Ada's office", email=" ada@example.com", active=False)
    for list_id in ("wholesale1", "retail1"):
        world.mailchimp.add_member(list_id, ADA, "subscribed")
    run(world)
    assert not is_out(world, ADA)
    clear(world)
    return world


def test_an_unsubscribe_reaches_odoo_and_every_audience_in_one_run_and_a_return_removes_the_entry(
    opened: World,
):
    world = opened
    People(world.mailchimp.state).unsubscribe("retail1", ADA)
    result = run(world)
    assert is_out(world, ADA)
    assert {row["is_blacklisted"] for row in partners(world)} == {True}
    assert world.mailchimp.status("wholesale1", ADA) == "unsubscribed"
    assert outcome(world, ADA) == ("opt_out", "applied", "")
    assert world.checks(result)["odoo_opt_outs/opt_outs_agree"].passed
    clear(world)
    run(world)
    assert writes(world) == []
    assert world.table("odoo_opt_outs").rows.empty, "nothing is due any more"
    come_back(world, "retail1")
    run(world)
    assert not is_out(world, ADA)
    assert outcome(world, ADA) == ("lift", "applied", "")
    assert world.mailchimp.statuses("retail1")[ADA] == "subscribed"
    assert world.mailchimp.statuses("wholesale1")[ADA] == "unsubscribed"
    clear(world)
    run(world)
    assert writes(world) == []


def partners(world: World) -> list[dict]:
    return [
        world.odoo.read("res.partner", partner, "is_blacklisted")
        for partner in world.odoo.search("res.partner", [("email_normalized", "=", ADA)])
    ]


def test_old_opt_outs_wait_once_and_new_ones_never(world: World):
    for email in (ADA, GRACE):
        world.odoo.add_partner(name=email, email=email)
        world.mailchimp.add_member("wholesale1", email, "subscribed")
    world.mailchimp.add_member("retail1", ADA, "unsubscribed")
    world.mailchimp.add_member("retail1", "nobody@example.com", "unsubscribed")
    result = run(world)
    assert outcome(world, ADA) == ("opt_out", "held_back", "")
    assert outcome(world, "nobody@example.com") == ("none", "unchanged", "")
    assert not is_out(world, ADA)
    assert world.mailchimp.status("wholesale1", ADA) == "subscribed"
    check = world.checks(result)["odoo_opt_outs/opt_outs_agree"]
    assert "1 person who opted out of retail" in (check.description or "")
    (made,) = result.asset_materializations_for_node("odoo_opt_outs")
    numbers = ("carried_into_odoo", "wait_for_a_release", "not_in_odoo_yet")
    assert [made.metadata[name].value for name in numbers] == [0, 1, 0]
    assert "mc-pipeline approve opt-outs-retail1" in (check.description or "")
    world.mailchimp.unsubscribe("wholesale1", GRACE)
    run(world)
    assert (is_out(world, ADA), is_out(world, GRACE)) == (False, True)
    job = world.definitions.resolve_job_def("approve_plan")
    config = {"plan_id": "opt-outs-retail1", "approved_by": "Ada", "reason": "looked at them"}
    approved = job.execute_in_process(
        run_config={"ops": {"release_plan": {"config": config}}}, instance=world.instance
    )
    assert approved.success
    run(world)
    assert is_out(world, ADA)
    assert world.mailchimp.status("wholesale1", ADA) == "unsubscribed"
    world.odoo.add_partner(name="Nobody", email="nobody@example.com")
    world.sync()
    assert is_out(world, "nobody@example.com"), "the comparison of everything finds that its address appeared"


def test_an_odoo_that_may_not_be_written_delays_nothing_else(opened: World):
    world = opened
    world.odoo.blacklist(GRACE)
    world.mailchimp.add_member("retail1", GRACE, "subscribed")
    world.mailchimp.unsubscribe("retail1", ADA)
    (administrator,) = world.odoo.search("res.users", [("login", "=", "admin")])
    denied = world.odoo.database.accounts[administrator].denied
    for operation in ("create", "write"):
        world.odoo.deny(administrator, "mail.blacklist", operation)
    result = run(world)
    check = world.checks(result)["odoo_opt_outs/opt_outs_are_carried"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "Email Marketing / User" in (check.description or "")
    assert outcome(world, ADA) == ("opt_out", "deferred", "")
    assert world.mailchimp.status("retail1", GRACE) == "unsubscribed"
    assert world.mailchimp.status("wholesale1", ADA) == "unsubscribed"
    denied.clear()
    run(world)
    assert is_out(world, ADA)


def test_a_company_of_its_own_opts_out_of_its_list_and_its_field(world: World):
    newsletter = world.odoo.add_mailing_list("Acme News")
    world.config.write_text(
        world.config.read_text()
        .replace("timezone: Europe/Paris", "timezone: Europe/Paris\n    opt_out_scope: company")
        .replace("list_id: wholesale1", "list_id: wholesale1\n        consent: {mailing_list: Acme News}")
        .replace("list_id: retail1", f"list_id: retail1\n        consent: {{mailing_list: {newsletter}}}")
    )
    world.odoo.add_partner(name="Ada", email=ADA)
    for list_id in ("wholesale1", "retail1"):
        world.mailchimp.add_member(list_id, ADA, "subscribed")
    run(world)
    world.mailchimp.unsubscribe("retail1", ADA)
    run(world)
    assert not is_out(world, ADA)
    (row,) = world.odoo.search("mailing.subscription", [("list_id", "=", newsletter)])
    assert world.odoo.read("mailing.subscription", row, "opt_out")["opt_out"] is True
    assert world.mailchimp.status("wholesale1", ADA) == "unsubscribed"
    come_back(world, "wholesale1")
    clear(world)
    run(world)
    assert writes(world) == []
    assert world.mailchimp.statuses("wholesale1")[ADA] == "subscribed"
    assert world.odoo.read("mailing.subscription", row, "opt_out")["opt_out"] is True
