"""The main job end to end, through Dagster and real HTTP: who gets where, and what is never sent."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline.sync.errors import SyncError
from mc_pipeline_tests.world import TWO_AUDIENCES, World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


def customer(world: World, email: str, *, spent: float = 100.0, company_id: int = 1, **values) -> int:
    """Add a partner with one confirmed order."""
    partner = world.odoo.add_partner(name=values.pop("name", "Ada Lovelace"), email=email, **values)
    world.odoo.add_order(partner, spent, date_order=ORDERED, company_id=company_id)
    return partner


def bodies(world: World) -> list:
    """Everything that was sent to Mailchimp to change something, operations of batches included."""
    return [entry.body for entry in world.mailchimp.journal.writes if not entry.path.endswith("/batches")]


def test_a_second_run_writes_nothing(world: World):
    for number in range(30):
        customer(world, f"person{number}@example.com", name=f"Person Number {number}", spent=50 * number)
    world.odoo.blacklist("person3@example.com")
    world.sync()
    assert world.mailchimp.status("retail1", "person29@example.com") == "transactional"
    assert world.mailchimp.tags("retail1", "person29@example.com") == ["B2C", "VIP"]
    assert world.mailchimp.status("retail1", "person3@example.com") is None
    assert world.mailchimp.mails == []
    world.mailchimp.journal.clear()
    world.sync()
    assert [entry.path for entry in world.mailchimp.journal.writes] == []


def test_nothing_of_a_first_load_is_sent_before_a_person_approves(world: World):
    customer(world, "ada@example.com")
    result = world.run()
    assert result.success
    assert world.mailchimp.journal.writes == []
    check = world.checks(result)["audience_plan/within_guards"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "mc-pipeline approve" in (check.description or "")


def test_what_waits_is_told_apart_from_what_was_not_applied(world: World):
    company = world.odoo.add_partner(name="Globex", is_company=True, email="info@globex.example.com")
    customer(world, "ada@example.com")
    world.sync()
    customer(world, "buyer@globex.example.com", parent_id=company)
    customer(world, "fake@example.com")
    world.mailchimp.take_for_fake("fake@example.com")
    result = world.run()
    assert result.success
    (waits,) = world.approve()
    check = world.checks(result)["audience_push/everything_applied"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    # Of the one in retail his creation, and his tag with it; of the one in wholesale the same.
    assert check.description == (
        "2 of 4 rows were not applied. Mailchimp still refuses something for 1 person. 2 of 4 rows wait "
        f"for the approval of plan {waits}."
    )
    assert [check.metadata[name].value for name in ("not_applied", "waiting")] == [2, 2]
    outcomes = world.table("audience_push").rows.groupby("audience")["outcome"].agg(set).to_dict()
    assert outcomes == {"retail": {"rejected", "held_back"}, "wholesale": {"waits"}}
    with world.systems() as systems:
        (open_,) = systems.ledger.troubles.open("acme")
    assert (open_.step, open_.trouble.place) == ("audience_push", "wholesale")
    assert f"mc-pipeline approve {waits}" in open_.trouble.what_to_do
    result = world.sync()
    assert world.mailchimp.status("wholesale1", "buyer@globex.example.com") == "transactional"
    with world.systems() as systems:
        assert systems.ledger.troubles.open("acme") == []


def test_opt_outs_go_out_although_the_plan_waits(world: World):
    customer(world, "ada@example.com")
    world.mailchimp.add_member("retail1", "grace@example.com", "subscribed")
    world.odoo.blacklist("Grace@example.com")
    assert world.run().success
    assert world.mailchimp.status("retail1", "grace@example.com") == "unsubscribed"
    assert bodies(world) == [{"status": "unsubscribed"}]


def test_the_opt_out_job_needs_no_plan(world: World):
    world.mailchimp.add_member("wholesale1", "grace@example.com", "subscribed")
    world.odoo.blacklist("grace@example.com")
    result = world.definitions.resolve_job_def(OPT_OUTS).execute_in_process(
        partition_key="acme", instance=world.instance
    )
    assert result.success
    assert world.mailchimp.status("wholesale1", "grace@example.com") == "unsubscribed"


def test_buyers_of_companies_and_private_customers_are_kept_apart(world: World):
    company = world.odoo.add_partner(name="Globex", is_company=True, email="info@globex.example.com")
    customer(world, "buyer@globex.example.com", parent_id=company)
    customer(world, "ada@example.com")
    world.odoo.add_partner(name="Only a supplier", email="supplier@example.com", supplier_rank=3)
    world.sync()
    assert set(world.mailchimp.statuses("wholesale1")) == {"buyer@globex.example.com"}
    assert set(world.mailchimp.statuses("retail1")) == {"ada@example.com"}


def test_one_company_never_sees_the_customers_of_another(world: World):
    second = world.odoo.add_company("Second")
    for company_id in (1, second):
        customer(world, f"of{company_id}@example.com", company_id=company_id)
    world.mailchimp.add_audience("second1", "Second")
    world.configure(
        "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
        + TWO_AUDIENCES
        + f"  second:\n    odoo_company_id: {second}\n    mailchimp: main\n    timezone: Europe/Paris\n"
        "    audiences:\n"
        "      all: {list_id: second1, when: {}, merge_fields: {FNAME: first_name}, tags: {}}\n"
    )
    world.sync("acme")
    world.sync("second")
    assert set(world.mailchimp.statuses("retail1")) == {"of1@example.com"}
    assert set(world.mailchimp.statuses("second1")) == {f"of{second}@example.com"}


def test_anyone_who_unsubscribed_bounced_or_was_archived_stays_so_while_their_name_is_kept(world: World):
    before = {}
    for status in ("unsubscribed", "cleaned", "archived", "pending", "subscribed", "transactional"):
        email = f"{status}@example.com"
        customer(world, email, name="New Name")
        world.mailchimp.add_member("retail1", email, status, merge_fields={"FNAME": "Old"})
        before[email] = status
    world.sync()
    assert world.mailchimp.statuses("retail1") == before
    assert not [body for body in bodies(world) if body and "status" in body]
    assert world.mailchimp.member("retail1", "unsubscribed@example.com").merge_fields["FNAME"] == "New Name"
    assert world.mailchimp.member("retail1", "archived@example.com").merge_fields["FNAME"] == "Old"
    assert world.mailchimp.mails == []


def test_somebody_who_unsubscribes_between_two_runs_is_not_subscribed_again(world: World):
    partner = customer(world, "ada@example.com")
    world.sync()
    world.mailchimp.sign_up("retail1", "ada@example.com")
    world.mailchimp.unsubscribe("retail1", "ada@example.com")
    world.odoo.edit_partner(partner, name="Ada King")
    world.mailchimp.journal.clear()
    world.sync()
    assert world.mailchimp.status("retail1", "ada@example.com") == "unsubscribed"
    assert [set(body) for body in bodies(world)] == [{"merge_fields"}]


def test_one_member_that_mailchimp_refuses_is_set_aside_with_its_reason_and_stops_nobody(world: World):
    partner = customer(world, "fake@example.com")
    customer(world, "ada@example.com")
    world.mailchimp.take_for_fake("fake@example.com")
    result = world.sync()
    assert not world.checks(result)["audience_push/everything_applied"].passed
    assert set(world.mailchimp.statuses("retail1")) == {"ada@example.com"}
    world.mailchimp.journal.clear()
    world.sync()
    assert bodies(world) == []
    aside = world.table("set_aside").rows.set_index("partner_id")
    assert aside.at[partner, "reason"] == "refused"
    assert "looks fake or invalid" in aside.at[partner, "detail"]


def test_clicking_the_push_alone_applies_a_plan_once_and_never_an_old_one(world: World):
    customer(world, "ada@example.com")
    world.sync()
    world.mailchimp.journal.clear()
    job = world.definitions.resolve_job_def(SYNC_COMPANY)

    def push_alone() -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            partition_key="acme",
            instance=world.instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey("audience_push")],
        )

    again = push_alone()
    assert not again.success
    assert any("applied already" in reason for reason in world.failures(again))
    customer(world, "grace@example.com")
    assert world.run(push=False).success
    observed_again = job.execute_in_process(
        partition_key="acme", instance=world.instance, asset_selection=[dg.AssetKey("mailchimp_members")]
    )
    assert observed_again.success
    stale = push_alone()
    assert any("observed again" in reason for reason in world.failures(stale))
    assert world.mailchimp.journal.writes == []


def test_a_wrong_list_id_is_reported_and_delays_no_other_audience(world: World):
    company = world.odoo.add_partner(name="Globex", is_company=True, email="info@globex.example.com")
    customer(world, "buyer@globex.example.com", parent_id=company)
    customer(world, "ada@example.com")
    world.mailchimp.add_member("wholesale1", "grace@example.com", "subscribed")
    world.odoo.blacklist("grace@example.com")
    world.config.write_text(world.config.read_text().replace("retail1", "nosuchlist"))
    world.run()
    world.approve()
    result = world.run()
    assert world.went_through(result), world.failures(result)
    assert world.mailchimp.statuses("wholesale1") == {
        "grace@example.com": "unsubscribed",
        "buyer@globex.example.com": "transactional",
    }
    assert not [entry for entry in world.mailchimp.journal.writes if "nosuchlist" in entry.path]
    check = world.checks(result)["mailchimp_members/read_is_complete"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    said = str(check.description)
    assert "retail (nosuchlist) could not be read" in said
    assert "404" in said
    assert "Check the id: it does not exist in the account of this API key" in said
    # What is read there, its opt-outs, and Odoo's opt-outs of its members: one cause, reported once.
    (row,) = world.table("company_status").rows.to_dict("records")
    assert (row["kind"], row["part"], row["place"], row["sentence"]) == ("broken", "audience", "retail", said)
    assert row["step"] == "mailchimp_members, mailchimp_opt_outs, mailchimp_unsubscribes"
    plan = world.table("audience_plan").rows
    held = plan[plan["held_back_because"] != ""]
    assert held[["email", "held_back_because"]].values.tolist() == [
        ["ada@example.com", "the audience retail could not be read"]
    ]


def test_a_read_that_lost_half_of_odoo_takes_nobody_away(world: World):
    partners = [customer(world, f"person{number}@example.com") for number in range(40)]
    world.sync()
    world.odoo.hide("res.partner", partners[:20])
    world.odoo.edit_partner(partners[30], name="Still Updated")
    world.mailchimp.journal.clear()
    result = world.sync()
    check = world.checks(result)["odoo_partners/read_is_complete"]
    assert not check.passed
    assert len(world.mailchimp.statuses("retail1")) == 40
    assert "archived" not in world.mailchimp.statuses("retail1").values()
    assert [set(body) for body in bodies(world)] == [{"merge_fields"}]


def test_a_run_of_a_company_that_left_the_settings_says_so(world: World):
    with world.systems() as systems, pytest.raises(SyncError) as failed:
        systems.company("gone")
    assert "has no company 'gone'" in failed.value.message
    assert "acme" in failed.value.message
    assert not failed.value.allow_retries


def test_an_old_order_does_not_count_twice_and_dates_are_days_of_the_company(world: World):
    partner = customer(world, "ada@example.com")
    world.odoo.add_order(partner, 50, date_order=ORDERED + timedelta(days=1), state="cancel")
    world.sync()
    contact = world.table("contacts").rows.iloc[0]
    assert (contact["order_count"], contact["total_spent"]) == (1, 100.0)
