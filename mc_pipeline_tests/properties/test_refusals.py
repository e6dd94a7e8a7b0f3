"""Refusals are booked on their cause (rule 6.6): each holds back what depends on it, and is reported once.

Whole runs in a small town. How a single refusal is judged is in ``domain/test_refusal_causes.py``.
"""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import dagster as dg
import pytest

from mc_pipeline.definitions import build_defs
from mc_pipeline.ledger import TroubleKind
from mc_pipeline.ledger.troubles import Trouble
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.settings import Settings
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

ANN, BOB, CLEO, DAN, FIRM = (f"{name}@example.com" for name in ("ann", "bob", "cleo", "dan", "firm"))


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    with small_world() as world:
        yield world


def customer(world: SmallWorld, email: str, **values: object) -> int:
    name = str(values.pop("name", email.partition("@")[0].title()))
    partner = world.odoo.add_partner(name=name, email=email, **values)
    world.odoo.add_order(partner, 100.0, date_order=ORDERED)
    return partner


def with_fields(world: SmallWorld, audience: str, **fields: str) -> Settings:
    """The settings with other merge fields of one audience."""
    company = world.settings.companies[COMPANY]
    changed = company.audiences[audience].model_copy(update={"merge_fields": fields})
    audiences = {**company.audiences, audience: changed}
    companies = {
        **world.settings.companies, COMPANY: company.model_copy(update={"audiences": audiences})
    }  # fmt: skip
    return world.settings.model_copy(update={"companies": companies})


def troubles(world: SmallWorld) -> list[Trouble]:
    with world._ledger_of_a_person() as systems:
        return [
            each.trouble
            for each in systems.ledger.troubles.open(COMPANY)
            if each.step == "audience_push" and each.trouble.kind == TroubleKind.BROKEN
        ]


def places(world: SmallWorld) -> list[tuple[str, str, str]]:
    return sorted((each.part, each.place, each.code) for each in troubles(world))


def listed(run: Run, email: str) -> list[tuple[str, str, str]]:
    rows = run.tables["set_aside"].rows
    rows = rows[rows["person_email"] == email]
    return list(zip(rows["reason"], rows["detail"], rows["fix"], strict=True))


def writes(world: SmallWorld, since: int) -> list[JournalEntry]:
    return [each for each in world.mailchimp.journal.since(since) if each.is_write]


def everything_applied(world: SmallWorld, done: Run) -> dg.AssetCheckResult:
    """The check of that name, after a run."""
    (checks,) = [
        each
        for each in build_defs(world.settings).asset_checks or ()
        if each.op.name == "audience_push_checks"
    ]
    judge = checks.op.compute_fn.decorated_fn
    tables = {name: done.tables[name] for name in ("audience_push", "contacts")}
    with world._ledger_of_a_person() as systems:
        (result,) = judge(SimpleNamespace(partition_key=COMPANY), systems=systems, **tables)
    return result


def run(world: SmallWorld) -> tuple[Run, list[JournalEntry]]:
    """One run, and what it wrote to Mailchimp."""
    before = world.mailchimp.journal.last_number
    done = world.run()
    assert done.failure is None or done.needs_approval, done.failure
    return done, writes(world, before)


def loaded(world: SmallWorld, *emails: str) -> None:
    """A town after its first load, with these customers of retail, and a firm."""
    for email in emails:
        customer(world, email)
    customer(world, FIRM, is_company=True)
    world.run_until_done()


def test_a_required_field_holds_up_newcomers_until_it_is_put_right_in_mailchimp(world: SmallWorld):
    loaded(world, ANN)
    world.mailchimp.add_merge_field(RETAIL, "LOYALTY", required=True)
    customer(world, BOB)
    done, _ = run(world)
    assert world.mailchimp.status(RETAIL, BOB) is None
    check = everything_applied(world, done)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    (trouble,) = troubles(world)
    assert trouble.sentence in str(check.description)
    assert (trouble.kind, trouble.part, trouble.place) == ("broken", "merge_field", "retail/LOYALTY")
    assert trouble.sentence.startswith("The audience retail requires the field LOYALTY")
    assert "1 person waits" in trouble.sentence
    assert "Make the field LOYALTY optional in Mailchimp" in trouble.what_to_do
    done, wrote = run(world)
    assert wrote == [], "nothing shows that the cause is gone"
    assert places(world) == [("merge_field", "retail/LOYALTY", "required_field")]
    ((reason, detail, fix),) = listed(done, BOB)
    assert reason == "deferred"
    assert "LOYALTY" in detail
    assert "Mailchimp" in fix
    world.mailchimp.change_merge_field(RETAIL, "LOYALTY", required=False)
    done, wrote = run(world)
    assert world.mailchimp.status(RETAIL, BOB) == "transactional"
    assert world.mailchimp.tags(RETAIL, BOB) == ["B2C"]
    assert troubles(world) == []
    done, wrote = run(world)
    assert wrote == []
    assert listed(done, BOB) == []
    world.check_everybody_is_where_they_belong()
    world.check_nothing_is_left_to_do()
    assert not world.violations()


def test_a_field_that_is_required_delays_no_update_of_a_member(world: SmallWorld):
    loaded(world, ANN)
    world.mailchimp.add_merge_field(WHOLESALE, "LOYALTY", required=True)
    partner = world.odoo.model("res.partner").table.rows
    firm = next(number for number, row in partner.items() if row.get("email") == FIRM)
    world.odoo.edit_partner(firm, name="Firm Limited")
    run(world)
    assert world.member_fields(WHOLESALE, FIRM)["FNAME"] == "Firm Limited"
    assert troubles(world) == []


def test_a_required_field_is_tried_again_daily_by_a_few_and_then_by_all(world: SmallWorld):
    loaded(world, ANN)
    world.mailchimp.add_merge_field(RETAIL, "LOYALTY", required=True)
    people = [f"person{number}@example.com" for number in range(9)]
    for email in people:
        customer(world, email)
    run(world)
    world.time_passes(timedelta(hours=25))
    _, wrote = run(world)
    assert [len(each.body["members"]) for each in wrote] == [3], "no storm: a few are tried"
    assert "9 people wait" in troubles(world)[0].sentence
    _, wrote = run(world)
    assert wrote == []
    world.mailchimp.change_merge_field(RETAIL, "LOYALTY", required=False)
    _, wrote = run(world)
    assert {world.mailchimp.status(RETAIL, email) for email in people} == {"transactional"}
    assert [len(each.body["members"]) for each in wrote if "members" in (each.body or {})] == [3, 6]


@pytest.mark.quick
def test_a_contact_limit_is_probed_and_the_rest_follows_when_it_is_raised(world: SmallWorld):
    loaded(world, ANN)
    count = len(world.mailchimp.statuses(RETAIL)) + len(world.mailchimp.statuses(WHOLESALE))
    world.mailchimp.limit_contacts(count)
    people = [f"person{number}@example.com" for number in range(5)]
    for email in people:
        customer(world, email)
    run(world)
    (trouble,) = troubles(world)
    assert (trouble.part, trouble.place, trouble.code) == ("audience", "retail", "contact_limit")
    assert "5 people wait" in trouble.sentence
    assert "contact limit in Mailchimp" in trouble.what_to_do
    customer(world, DAN)
    done, wrote = run(world)
    assert [len(each.body["members"]) for each in wrote] == [3, 1], "a few old ones, and the new one"
    assert {reason for email in people for reason, _, _ in listed(done, email)} == {"deferred"}
    world.mailchimp.limit_contacts(None)
    run(world)
    assert {world.mailchimp.status(RETAIL, email) for email in (*people, DAN)} == {"transactional"}
    assert troubles(world) == []
    world.check_nothing_is_left_to_do()
    assert not world.violations()


def test_a_first_load_lasts_until_the_plan_takes_everybody(world: SmallWorld):
    people = [f"person{number}@example.com" for number in range(4)]
    for email in people:
        customer(world, email)
    assert world.approve_what_waits(world.run())
    world.mailchimp.limit_contacts(2)
    run(world)
    assert len(world.mailchimp.statuses(RETAIL)) == 2
    with world._ledger_of_a_person() as systems:
        assert systems.ledger.plans.in_first_load(COMPANY, [RETAIL]) == {RETAIL}
    world.mailchimp.limit_contacts(None)
    world.run_until_done()
    assert set(world.mailchimp.statuses(RETAIL)) == set(people)
    assert all(world.mailchimp.tags(RETAIL, email) == ["B2C"] for email in people)
    assert [mail.kind for mail in world.mailchimp.mails] == [], "tags of a first load start no automation"
    with world._ledger_of_a_person() as systems:
        assert systems.ledger.plans.in_first_load(COMPANY, [RETAIL]) == set()


def test_a_phone_field_in_us_format_holds_back_the_number_alone(world: SmallWorld):
    world.settings = with_fields(world, "retail", FNAME="name", PHONE="phone")
    loaded(world, ANN)
    world.mailchimp.change_merge_field(RETAIL, "PHONE", options={"phone_format": "US"})
    customer(world, BOB, phone="+33 1 40 20 50 50")
    done, _ = run(world)
    assert world.mailchimp.status(RETAIL, BOB) == "transactional"
    assert world.member_fields(RETAIL, BOB) == {"FNAME": "Bob"}
    assert places(world) == [("merge_field", "retail/PHONE", "phone_format")]
    assert "phone format of PHONE to International" in troubles(world)[0].what_to_do
    done, wrote = run(world)
    assert wrote == []
    assert [reason for reason, _, _ in listed(done, BOB)] == ["deferred"]
    assert places(world) == [("merge_field", "retail/PHONE", "phone_format")]
    world.mailchimp.change_merge_field(RETAIL, "PHONE", options={"phone_format": "none"})
    run(world)
    assert world.member_fields(RETAIL, BOB)["PHONE"] == "+33 1 40 20 50 50"
    assert troubles(world) == []
    world.check_nothing_is_left_to_do()


def test_refused_people_stay_listed_until_they_are_taken(world: SmallWorld):
    loaded(world, ANN)
    partner = customer(world, BOB)
    customer(world, CLEO)
    world.mailchimp.take_for_fake(BOB)
    world.mailchimp.take_for_fake(CLEO)
    run(world)
    for _ in range(2):
        done, wrote = run(world)
        assert wrote == []
        assert [reason for reason, _, _ in listed(done, BOB)] == ["refused"]
        assert "looks fake" in listed(done, CLEO)[0][1]
        assert troubles(world) == [], "it is the person's own value"
        check = everything_applied(world, done)
        assert not check.passed
        assert "still refuses something for 2 people" in check.description
        assert BOB not in str(check.metadata), "personal data stays in the tables"
    world.mailchimp.state.fake_addresses.clear()
    world.odoo.edit_partner(partner, name="Bob Birk")
    run(world)
    done, _ = run(world)
    assert world.mailchimp.status(RETAIL, BOB) == "transactional"
    assert listed(done, BOB) == []
    assert [reason for reason, _, _ in listed(done, CLEO)] == ["refused"]
    assert "still refuses something for 1 person" in str(everything_applied(world, done).description)


def test_an_address_that_no_list_shows_is_asked_for_once_in_seven_days(world: SmallWorld):
    loaded(world, ANN)
    world.mailchimp.list_nowhere(BOB)
    customer(world, BOB)
    _, wrote = run(world)
    assert len(wrote) == 1, "no tag of somebody who is not there"
    for _ in range(2):
        done, wrote = run(world)
        assert wrote == []
        ((reason, detail, fix),) = listed(done, BOB)
        assert reason == "refused"
        assert "is already a list member" in detail
        assert "tried again after" in fix
    world.mailchimp.list_again(BOB)
    world.time_passes(timedelta(days=8))
    run(world)
    assert world.mailchimp.status(RETAIL, BOB) == "transactional"
    assert world.mailchimp.tags(RETAIL, BOB) == ["B2C"]


def test_a_renamed_merge_tag_is_reported_and_no_second_field_is_made(world: SmallWorld):
    loaded(world, ANN)
    firm = next(
        number
        for number, row in world.odoo.model("res.partner").table.rows.items()
        if row.get("email") == FIRM
    )
    world.mailchimp.change_merge_field(WHOLESALE, "ORDERS", tag="NORD")
    world.odoo.edit_partner(firm, name="Firm Limited")
    world.odoo.add_order(firm, 100.0, date_order=ORDERED)
    run(world)
    assert "ORDERS" not in world.mailchimp.audience(WHOLESALE).merge_fields
    assert world.member_fields(WHOLESALE, FIRM) == {"FNAME": "Firm Limited", "NORD": 1}
    (trouble,) = troubles(world)
    assert (trouble.part, trouble.place, trouble.code) == ("merge_field", "wholesale/ORDERS", "renamed")
    assert "renamed NORD" in trouble.sentence
    assert "write NORD in the place of ORDERS in companies.yaml" in trouble.what_to_do
    _, wrote = run(world)
    assert wrote == []
    assert len(troubles(world)) == 1
    world.settings = with_fields(world, "wholesale", FNAME="name", NORD="order_count")
    run(world)
    assert world.member_fields(WHOLESALE, FIRM) == {"FNAME": "Firm Limited", "NORD": 2}
    assert troubles(world) == []
    world.check_nothing_is_left_to_do()


def test_a_field_made_again_as_another_type_holds_back_itself_alone(world: SmallWorld):
    partners = {email: customer(world, email) for email in (ANN, BOB, CLEO)}
    firms = {name: customer(world, f"{name}@example.com", is_company=True) for name in ("old", "closing")}
    world.run_until_done()
    world.mailchimp.remake_merge_field(RETAIL, "SPENT", "text")
    # Retail is broken; in wholesale somebody is archived, renamed and new, in retail as well.
    world.odoo.archive_partner(firms["closing"])
    world.odoo.edit_partner(firms["old"], name="Old Limited")
    customer(world, FIRM, is_company=True)
    world.odoo.archive_partner(partners[BOB])
    world.odoo.edit_partner(partners[ANN], name="Ann King")
    world.mailchimp.unsubscribe(RETAIL, CLEO)
    customer(world, DAN)
    done, _ = run(world)
    assert done.succeeded
    wholesale, retail = world.mailchimp.statuses(WHOLESALE), world.mailchimp.statuses(RETAIL)
    assert wholesale == {
        "old@example.com": "transactional",
        "closing@example.com": "archived",
        FIRM: "transactional",
    }
    assert world.member_fields(WHOLESALE, "old@example.com")["FNAME"] == "Old Limited"
    assert retail == {ANN: "transactional", BOB: "archived", CLEO: "unsubscribed", DAN: "transactional"}
    assert world.member_fields(RETAIL, ANN) == {"FNAME": "Ann King"}
    assert world.member_fields(RETAIL, DAN) == {"FNAME": "Dan"}
    assert world.mailchimp.tags(RETAIL, DAN) == ["B2C"]
    assert places(world) == [("merge_field", "retail/SPENT", "retyped")]
    assert "Everything else of the audience is written" in troubles(world)[0].sentence
    _, wrote = run(world)
    assert wrote == []
    world.mailchimp.delete_merge_field(RETAIL, "SPENT")
    run(world)
    assert world.member_fields(RETAIL, ANN) == {"FNAME": "Ann King", "SPENT": 100}
    assert world.member_fields(RETAIL, DAN) == {"FNAME": "Dan", "SPENT": 100}
    assert troubles(world) == []
    world.check_nothing_is_left_to_do()
    assert not world.violations()


def test_a_full_list_of_merge_fields_is_reported_once_and_the_rest_is_written(world: SmallWorld):
    for number in range(25):
        world.mailchimp.add_merge_field(RETAIL, f"X{number}")
    world.settings = with_fields(world, "retail", FNAME="name", SPENT="total_spent", ORDERS="order_count")
    loaded(world, ANN)
    assert world.member_fields(RETAIL, ANN) == {"FNAME": "Ann"}
    (trouble,) = troubles(world)
    assert (trouble.part, trouble.place, trouble.code) == ("audience", "retail", "merge_fields_full")
    assert "30 of 30 merge fields" in trouble.sentence
    assert "SPENT, ORDERS" in trouble.sentence
    world.mailchimp.delete_merge_field(RETAIL, "X1")
    world.mailchimp.delete_merge_field(RETAIL, "X2")
    run(world)
    assert world.member_fields(RETAIL, ANN) == {"FNAME": "Ann", "SPENT": 100, "ORDERS": 1}
    assert troubles(world) == []


def test_a_tag_whose_segment_fails_holds_back_that_tag_alone(world: SmallWorld):
    loaded(world, ANN)
    customer(world, BOB)
    rich = customer(world, CLEO)
    world.odoo.add_order(rich, 5000.0, date_order=ORDERED)
    vip = Fault("html_503", "POST", rf"/lists/{RETAIL}/segments$", times=None)
    world.mailchimp.faults.add(vip)
    run(world)
    assert vip.fired
    assert world.mailchimp.tags(RETAIL, BOB) == ["B2C"]
    assert world.mailchimp.tags(RETAIL, CLEO) == ["B2C"]
    assert places(world) == [("tag", "retail/VIP", "not_written")]
    world.mailchimp.faults.clear()
    run(world)
    assert world.mailchimp.tags(RETAIL, CLEO) == ["B2C", "VIP"]
    assert troubles(world) == []
    world.check_nothing_is_left_to_do()
