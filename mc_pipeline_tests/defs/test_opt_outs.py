"""Opt-outs of Mailchimp in Dagster: the table, its checks, and the sensor that requests runs."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mc_pipeline.defs.consent.sensors import MAILCHIMP_OPT_OUTS, RED_AFTER_TICKS
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp.people import People
from mc_pipeline_tests.world import World

ANN, BOB = "ann@example.com", "bob@example.com"
LONG_AGO = datetime(2024, 2, 1, 8, tzinfo=UTC)


def poll(world: World) -> dg.ExecuteInProcessResult:
    """Only the opt-outs, and their checks."""
    return world.definitions.resolve_job_def(OPT_OUTS).execute_in_process(
        partition_key="acme",
        instance=world.instance,
        raise_on_error=False,
    )


def look(world: World, cursor: str | None = None) -> dg.SensorResult:
    (sensor,) = [each for each in world.definitions.sensors or () if each.name == MAILCHIMP_OPT_OUTS]
    assert isinstance(sensor, dg.SensorDefinition)
    result = sensor(dg.build_sensor_context(instance=world.instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def skipped_because(result: dg.SensorResult) -> str:
    assert not result.run_requests
    return str(result.skip_reason.skip_message if result.skip_reason else "")


def members(world: World, *emails: str) -> People:
    for email in emails:
        world.mailchimp.add_member("retail1", email, last_changed=LONG_AGO)
    return People(world.mailchimp.state)


def test_an_opt_out_is_a_row_with_its_origin(world: World):
    people = members(world, ANN, BOB)
    assert poll(world).success
    people.unsubscribe("retail1", ANN, "Too many mails")
    assert poll(world).success
    (row,) = world.table("mailchimp_opt_outs").rows.to_dict("records")
    assert (row["audience"], row["email"], row["event"], row["origin"], row["source"]) == (
        "retail",
        ANN,
        "opt_out",
        "person",
        "poll",
    )


def test_an_audience_that_cannot_be_read_delays_no_other_and_is_reported(world: World):
    people = members(world, ANN)
    world.mailchimp.add_member("wholesale1", BOB, last_changed=LONG_AGO)
    assert poll(world).success
    people.unsubscribe("retail1", ANN)
    people.unsubscribe("wholesale1", BOB)
    world.mailchimp.faults.add(Fault("html_403", match_path_regex="wholesale1", times=None))
    result = poll(world)
    assert world.went_through(result)
    assert world.table("mailchimp_opt_outs").rows["email"].tolist() == [ANN]
    check = world.checks(result)["mailchimp_opt_outs/opt_outs_are_read"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "wholesale" in str(check.description)
    world.mailchimp.faults.clear()
    assert world.checks(poll(world))["mailchimp_opt_outs/opt_outs_are_read"].passed
    assert world.table("mailchimp_opt_outs").rows["email"].tolist() == [BOB]


def test_the_first_read_is_usual_and_an_unusual_number_is_said_and_held_back_by_nothing(world: World):
    crowd = [f"person{number}@example.com" for number in range(30)]
    people = members(world, *crowd)
    for email in crowd[:5]:
        world.mailchimp.add_member("wholesale1", email, "unsubscribed")
    first = world.checks(poll(world))["mailchimp_opt_outs/opt_outs_are_usual"]
    assert first.passed
    for email in crowd:
        people.unsubscribe("retail1", email)
    result = poll(world)
    assert result.success
    check = world.checks(result)["mailchimp_opt_outs/opt_outs_are_usual"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "35 opt-outs in the last 24 hours; the usual number is 0.0" in str(check.description)
    assert check.metadata["opt_outs_in_24_hours"].value == 35
    assert len(world.table("mailchimp_opt_outs").rows) == 30


def test_the_sensor_requests_a_run_until_the_news_are_in_the_ledger_and_then_is_quiet(world: World):
    people = members(world, ANN, BOB)
    (request,) = look(world).run_requests or []
    assert request.partition_key == "acme"
    assert request.tags == {**request.tags, COMPANY_TAG: "acme"}
    assert poll(world).success
    assert "no new opt-outs" in skipped_because(look(world))
    people.bounce_hard("retail1", ANN)
    assert look(world).run_requests
    assert look(world).run_requests, "what was requested and never ran is requested again"
    assert poll(world).success
    assert "no new opt-outs" in skipped_because(look(world))


def test_the_sensor_sees_who_came_back_and_not_what_else_changes(world: World):
    people = members(world, ANN, BOB)
    people.unsubscribe("retail1", ANN)
    assert poll(world).success
    people.edit_field("retail1", BOB, "FNAME", "Robert")
    people.sign_up("retail1", "newcomer@example.com")
    assert "no new opt-outs" in skipped_because(look(world))
    world.mailchimp.advance(timedelta(minutes=5))
    people.sign_up("retail1", ANN)
    assert look(world).run_requests


def test_somebody_who_is_out_and_was_edited_is_asked_about_once(world: World):
    """They may have come back and left again: the date of the last change alone does not tell."""
    people = members(world, ANN)
    people.unsubscribe("retail1", ANN)
    assert poll(world).success
    world.mailchimp.advance(timedelta(minutes=1))
    people.edit_field("retail1", ANN, "FNAME", "Anna")
    assert look(world).run_requests
    assert poll(world).success
    assert "no new opt-outs" in skipped_because(look(world))


def test_a_look_takes_four_requests_an_audience(world: World):
    members(world, ANN)
    assert poll(world).success
    before = world.mailchimp.journal.last_number
    look(world)
    assert len(world.mailchimp.journal.since(before)) == 8


def test_what_cannot_be_looked_at_turns_the_sensor_red_after_some_ticks(world: World):
    members(world, ANN)
    assert poll(world).success
    world.mailchimp.faults.add(Fault("html_403", match_path_regex="wholesale1", times=None))
    cursor = None
    for _ in range(RED_AFTER_TICKS - 1):
        result = look(world, cursor)
        assert "acme: no new opt-outs" in skipped_because(result)
        cursor = result.cursor
    with pytest.raises(dg.Failure) as red:
        look(world, cursor)
    assert "acme: audience wholesale" in str(red.value.description)
    assert "mc-pipeline doctor" in str(red.value.description)
    # Dagster keeps the cursor of a tick that fails: it is red until the audience can be asked again.
    with pytest.raises(dg.Failure):
        look(world, cursor)
    world.mailchimp.faults.clear()
    assert json.loads(look(world, cursor).cursor or "")["failed"] == {}


def test_somebody_who_is_due_in_an_audience_that_cannot_be_asked_requests_no_run_until_it_can(world: World):
    members(world, ANN)
    assert poll(world).success
    world.odoo.blacklist(ANN)
    world.mailchimp.faults.add(Fault("html_503", match_path_regex="retail1", times=None))
    assert world.went_through(poll(world))
    assert world.mailchimp.status("retail1", ANN) == "subscribed"
    assert "no new opt-outs" in skipped_because(look(world))
    world.mailchimp.faults.clear()
    assert look(world).run_requests
    assert poll(world).success
    assert world.mailchimp.status("retail1", ANN) == "unsubscribed"


def test_an_audience_that_was_never_read_requests_a_run_once_it_can_be(world: World):
    wholesale = world.mailchimp.state.audiences.pop("wholesale1")
    assert world.went_through(poll(world))
    assert "no new opt-outs" in skipped_because(look(world))
    world.mailchimp.state.audiences["wholesale1"] = wholesale
    assert look(world).run_requests


def test_a_refused_key_turns_the_sensor_red_at_once(world: World, monkeypatch: pytest.MonkeyPatch):
    members(world, ANN)
    assert poll(world).success
    monkeypatch.setenv("MAILCHIMP_API_KEY", "0123456789abcdef0123456789abcdee-us1")
    with pytest.raises(dg.Failure, match="audience retail"):
        look(world)


def test_odoo_that_cannot_be_asked_is_said_and_mailchimp_is_looked_at(world: World):
    people = members(world, ANN)
    assert poll(world).success
    people.unsubscribe("retail1", ANN)
    world.odoo.faults.add(Fault("html_503", times=None))
    result = look(world)
    assert result.run_requests
    assert json.loads(result.cursor or "")["failed"] == {"acme: Odoo": 1}


def test_while_runs_are_requested_the_sensor_is_red_at_every_other_tick(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    people = members(world, ANN)
    assert poll(world).success
    people.unsubscribe("retail1", ANN)
    world.odoo.faults.add(Fault("html_503", times=None))
    cursor = json.dumps({"failed": {"acme: Odoo": RED_AFTER_TICKS}})
    seen: list[bool | None] = []
    for minute in range(4):
        moment = datetime(2026, 11, 30, 12, minute, tzinfo=UTC)
        monkeypatch.setattr("mc_pipeline.defs.consent.sensors.utc_now", lambda moment=moment: moment)
        try:
            result = look(world, cursor)
            cursor = result.cursor or ""
            seen.append(bool(result.run_requests))
        except dg.Failure:
            seen.append(None)
    assert seen == [True, None, True, None]


def test_a_new_row_of_odoos_blacklist_is_news(world: World):
    members(world, ANN)
    world.odoo.add_partner(name="Ann", email=ANN)
    assert poll(world).success
    row = world.odoo.blacklist(ANN)
    assert look(world).run_requests
    assert poll(world).success
    assert world.mailchimp.status("retail1", ANN) == "unsubscribed"
    assert "no new opt-outs" in skipped_because(look(world))
    world.odoo.write("mail.blacklist", row, {"active": False})
    assert look(world).run_requests
    assert poll(world).success
    assert world.mailchimp.status("retail1", ANN) == "unsubscribed"
    assert "no new opt-outs" in skipped_because(look(world))


def test_consent_that_is_taken_back_in_odoo_is_news(world: World):
    newsletter = world.odoo.add_mailing_list("News")
    settings = world.config.read_text()
    world.config.write_text(
        settings.replace("list_id: retail1", "list_id: retail1\n        consent: {mailing_list: News}")
    )
    partner = world.odoo.add_partner(name="Ann", email=ANN)
    world.odoo.add_order(partner, 10.0)
    world.odoo.subscribe(newsletter, ANN)
    world.sync()
    assert world.mailchimp.status("retail1", ANN) == "subscribed"
    assert "no new opt-outs" in skipped_because(look(world))
    (row,) = world.odoo.search("mailing.subscription", [("list_id", "=", newsletter)])
    world.odoo.write("mailing.subscription", row, {"opt_out": True})
    assert look(world).run_requests
    assert poll(world).success
    assert world.mailchimp.status("retail1", ANN) == "unsubscribed"
    assert "no new opt-outs" in skipped_because(look(world))


def test_a_subject_that_odoo_refuses_is_named_and_the_others_are_looked_at(world: World):
    members(world, ANN)
    assert poll(world).success
    (administrator,) = world.odoo.search("res.users", [("login", "=", "admin")])
    world.odoo.deny(administrator, "mail.blacklist")
    looked = look(world)
    assert json.loads(looked.cursor or "")["failed"] == {"acme: Odoo's blacklist": 1}


def test_the_sensor_waits_while_opt_outs_of_the_company_are_under_way(world: World):
    with world.systems() as systems:
        systems.ledger.runs.begin("run-1", company="acme", job=OPT_OUTS, owner="host:1")
    assert "a run is in progress" in skipped_because(look(world))


def test_the_sensor_waits_for_no_sync_and_for_no_run_that_is_dead(world: World):
    members(world, ANN)
    assert poll(world).success
    world.mailchimp.unsubscribe("retail1", ANN)
    with world.systems() as systems:
        systems.ledger.runs.begin("run-1", company="acme", job=SYNC_COMPANY, owner="host:1")
    for job in (SYNC_COMPANY, OPT_OUTS):
        world.instance.create_run_for_job(
            world.definitions.resolve_job_def(job),
            tags={COMPANY_TAG: "acme"},
            status=dg.DagsterRunStatus.STARTED,
        )
    (request,) = look(world).run_requests or ()
    assert request.partition_key == "acme"
    assert request.tags[COMPANY_TAG] == "acme"


def test_the_sensor_starts_switched_off_and_looks_every_minute(world: World):
    (sensor,) = [each for each in world.definitions.sensors or () if each.name == MAILCHIMP_OPT_OUTS]
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.minimum_interval_seconds == 60
