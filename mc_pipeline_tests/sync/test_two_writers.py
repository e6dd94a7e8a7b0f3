"""Two writers of one company side by side: whichever comes first, who is out ends unsubscribed (rule 7.5)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mc_pipeline.ledger import ConsentEvent
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, StandingOptOut
from mc_pipeline.mailchimp.members import read_members
from mc_pipeline.push.member_writes import Write
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sync.opt_outs.into_mailchimp import PAGES_FROM
from mc_pipeline_tests.sync.desk import (
    AUDIENCE,
    COMPANY,
    LIST,
    Acts,
    Asked,
    Died,
    TwoWriters,
    change,
    creation,
)

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[TwoWriters]:
    mailchimp = SandboxMailchimp()
    mailchimp.add_audience(LIST, "Retail")
    with mailchimp.serve():
        desk = TwoWriters(mailchimp, tmp_path)
        yield desk
        desk.close()


def event(desk: TwoWriters, email: str, kind: str = "opt_out", list_id: str = "other") -> ConsentEvent:
    now = desk.ledger.now()
    return ConsentEvent(
        company="another",
        audience="other",
        list_id=list_id,
        email=email,
        event=kind,
        origin="person",
        status_to="unsubscribed",
        occurred_at=now,
        seen_at=now,
        source="poll",
    )


# --- the opt-out is written down first ----------------------------------------------------------------


@pytest.mark.parametrize("status", ["subscribed", "pending", "transactional"])
def test_nobody_is_created_who_is_on_odoos_blacklist_by_then(desk: TwoWriters, status: str) -> None:
    desk.say_out(ANN)
    results = desk.write(creation(ANN, status), creation(BOB, status))
    assert results[f"create {ANN}"].outcome == "held_back"
    assert "opted out in Odoo" in results[f"create {ANN}"].detail
    assert desk.status(ANN) is None
    assert desk.status(BOB) == status


@pytest.mark.parametrize(
    "write",
    [
        change(ANN, "upgrade", status="subscribed"),
        change(ANN, "change_email", email_address="new@example.com"),
    ],
    ids=lambda write: write.operation,
)
def test_a_member_who_is_out_by_then_is_neither_upgraded_nor_renamed(desk: TwoWriters, write: Write) -> None:
    desk.write(creation(ANN, "transactional"))
    desk.say_out(ANN)
    (result,) = desk.write(write).values()
    assert result.outcome == "held_back"
    assert desk.status(ANN) == "transactional"


def test_the_new_address_of_a_renamed_member_may_not_be_out_either(desk: TwoWriters) -> None:
    desk.write(creation(ANN, "transactional"))
    desk.say_out("new@example.com")
    (result,) = desk.write(change(ANN, "change_email", email_address="new@example.com")).values()
    assert result.outcome == "held_back"


def test_consent_is_void_for_who_opted_out_of_any_audience_of_any_company(desk: TwoWriters) -> None:
    desk.ledger.consent.record([event(desk, ANN)])
    results = desk.write(creation(ANN), creation(BOB))
    assert results[f"create {ANN}"].outcome == "held_back"
    assert (desk.status(ANN), desk.status(BOB)) == (None, "subscribed")


def test_who_opted_out_of_another_audience_may_still_be_created_as_transactional(desk: TwoWriters) -> None:
    desk.ledger.consent.record([event(desk, ANN)])
    desk.write(creation(ANN, "transactional"))
    assert desk.status(ANN) == "transactional"


@pytest.mark.parametrize("operation", ["update", "tag"])
def test_fields_and_tags_of_somebody_who_is_out_are_written(desk: TwoWriters, operation: str) -> None:
    desk.mailchimp.add_member(LIST, ANN, "unsubscribed")
    desk.say_out(ANN)
    if operation == "update":
        (result,) = desk.write(change(ANN, "update", merge_fields={"FNAME": "Ann"})).values()
        assert result.outcome == "applied"
    assert desk.status(ANN) == "unsubscribed"


# --- the write is recorded first -----------------------------------------------------------------------


def test_blacklisted_while_a_creating_call_is_in_flight(desk: TwoWriters) -> None:
    desk.changing.before.append(lambda: desk.say_out(ANN))
    desk.write(creation(ANN))
    assert desk.status(ANN) == "unsubscribed"  # by the look behind the outcome
    desk.carry()
    assert desk.due() == []


def test_blacklisted_after_the_call_was_answered_and_before_that_was_written_down(desk: TwoWriters) -> None:
    desk.changing.after.append(lambda: desk.say_out(ANN))
    desk.write(creation(ANN))
    assert desk.status(ANN) == "unsubscribed"


def test_blacklisted_behind_the_outcome(desk: TwoWriters) -> None:
    desk.write(creation(ANN))
    desk.say_out(ANN)
    assert list(desk.carry().rows["outcome"]) == ["applied"]
    assert desk.status(ANN) == "unsubscribed"
    assert desk.due() == []


def test_both_writers_at_once_and_the_opt_out_looks_before_the_member_is_there(desk: TwoWriters) -> None:
    def opt_out_meanwhile() -> None:
        desk.say_out(ANN)
        desk.carry()
        # Nobody is there yet, and the creation is under way: she stays due.
        assert desk.due() == [ANN]

    desk.changing.before.append(opt_out_meanwhile)
    desk.write(creation(ANN))
    assert desk.status(ANN) == "unsubscribed"
    desk.carry()
    assert desk.due() == []


def test_unsubscribed_in_another_audience_while_a_creating_call_is_in_flight(desk: TwoWriters) -> None:
    desk.changing.before.append(lambda: desk.ledger.consent.record([event(desk, ANN)]))
    desk.write(creation(ANN), creation(BOB))
    assert (desk.status(ANN), desk.status(BOB)) == ("unsubscribed", "subscribed")


# --- a push that dies ------------------------------------------------------------------------------------


def test_a_push_that_dies_right_after_it_subscribed_somebody_who_is_out(desk: TwoWriters) -> None:
    def die() -> None:
        desk.say_out(ANN)
        raise Died

    desk.changing.after.append(die)
    with pytest.raises(Died):
        desk.write(creation(ANN))
    assert desk.status(ANN) == "subscribed"
    desk.carry()
    assert desk.status(ANN) == "unsubscribed"
    # What became of the creation is the other writer's to find out; until then she is looked at again.
    assert desk.due() == [ANN]
    assert len(desk.ledger.intents.open(COMPANY, path="changes")) == 1


def test_a_request_of_a_dead_push_that_arrives_late_is_found_by_the_next_run(desk: TwoWriters) -> None:
    def die() -> None:
        desk.say_out(ANN)
        raise Died

    desk.changing.before.append(die)
    with pytest.raises(Died):
        desk.write(creation(ANN))
    desk.carry()
    assert desk.due() == [ANN]
    desk.mailchimp.add_member(LIST, ANN, "subscribed")  # here it arrives
    desk.carry()
    assert desk.status(ANN) == "unsubscribed"


def test_a_run_of_the_opt_outs_that_dies_is_found_out_about_by_the_next_one(desk: TwoWriters) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed")
    desk.say_out(ANN)

    def die() -> None:
        raise Died

    desk.opting_out.after += [lambda: None, die]  # the look, then the unsubscribing
    with pytest.raises(Died):
        desk.carry()
    assert desk.status(ANN) == "unsubscribed"
    assert desk.due() == [ANN]
    before = len(desk.mailchimp.journal.writes)
    desk.carry()
    assert len(desk.mailchimp.journal.writes) == before
    assert (desk.due(), desk.ledger.intents.open(COMPANY)) == ([], [])


def test_neither_writer_settles_what_the_other_left_open(desk: TwoWriters) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed")
    desk.say_out(ANN)
    desk.mailchimp.faults.add(Fault("reset_after", match_method="PATCH", times=None))
    desk.carry()
    assert [each.path for each in desk.ledger.intents.open(COMPANY)] == ["opt_outs"]
    assert desk.ledger.intents.open(COMPANY, path="changes") == []


# --- the look before sending, and before sending again --------------------------------------------------


def test_who_opts_out_while_a_refused_call_waits_is_left_out_when_it_is_sent_again(desk: TwoWriters) -> None:
    desk.mailchimp.faults.add(Fault("empty_429", match_method="POST"))
    asked = Asked()
    desk.changing.after.append(lambda: desk.say_out(ANN))  # behind the refusal
    # The refusal is an answer too: what is heard behind it counts for the second sending.
    results = desk.write(creation(ANN), creation(BOB), since=asked)
    assert results[f"create {ANN}"].outcome == "held_back"
    assert (desk.status(ANN), desk.status(BOB)) == (None, "subscribed")
    assert desk.bodies_that_reach(ANN)[1:] == []


def test_what_cannot_be_asked_is_not_sent_and_says_why(desk: TwoWriters) -> None:
    asked = Asked(unknown="opt-outs since are not known: audience other (503)")
    results = desk.write(creation(ANN), creation(BOB, "transactional"), since=asked)
    assert results[f"create {ANN}"].outcome == "held_back"
    assert "audience other (503)" in results[f"create {ANN}"].detail
    # Who is not made reachable is not held up.
    assert (desk.status(ANN), desk.status(BOB)) == (None, "transactional")


def test_a_look_that_is_too_old_when_a_connection_is_free_sends_nothing(desk: TwoWriters) -> None:
    asked = Asked(recent=False)
    (result,) = desk.write(creation(ANN), since=asked).values()
    assert result.outcome == "held_back"
    assert "last look for opt-outs" in result.detail
    assert desk.status(ANN) is None
    assert asked.times > 1


def test_a_call_that_may_have_been_carried_out_is_read_back_when_it_is_called_off(desk: TwoWriters) -> None:
    """Answered 504 and applied all the same: nobody of it counts as not sent."""
    desk.mailchimp.faults.add(Fault("html_504", match_method="POST", after_applying=True))
    desk.changing.after.append(lambda: desk.say_out(ANN))
    desk.write(creation(ANN), creation(BOB), since=Asked())
    assert (desk.status(ANN), desk.status(BOB)) == ("unsubscribed", "subscribed")
    (record,) = desk.ledger.members.of_email(BOB).to_dict("records")
    assert record["created_by_us"]


def test_somebody_who_was_archived_while_a_refused_call_waited_is_not_subscribed(desk: TwoWriters) -> None:
    desk.write(creation(ANN, "transactional"))
    desk.mailchimp.faults.add(Fault("empty_429", match_method="PATCH"))

    def archived() -> None:
        with desk.client(Acts()) as client:
            rows = read_members(client, LIST).rows.assign(audience=AUDIENCE, status="archived")
        desk.ledger.members.observe_some(COMPANY, rows, desk.ledger.now())

    desk.changing.after.append(archived)
    (result,) = desk.write(change(ANN, "upgrade", status="subscribed"), since=Asked()).values()
    assert result.outcome == "held_back"
    assert desk.status(ANN) == "transactional"


# --- whose act it was -----------------------------------------------------------------------------------


def test_an_opt_out_behind_a_creation_that_was_never_answered_is_the_persons_own(desk: TwoWriters) -> None:
    def die() -> None:
        raise Died

    desk.changing.after.append(die)
    with pytest.raises(Died):
        desk.write(creation(ANN))
    desk.mailchimp.unsubscribe(LIST, ANN)
    with desk.client(Acts()) as client:
        rows = read_members(client, LIST).rows.assign(audience=AUDIENCE)
    (seen,) = desk.ledger.members.observe_some(COMPANY, rows, desk.ledger.now())
    assert (seen.event, seen.origin) == ("opt_out", "unknown")
    assert desk.ledger.due_in_odoo.due(COMPANY) == {ANN: 1}


# --- what is due stays due ------------------------------------------------------------------------------


def test_what_is_heard_while_it_is_decided_stays_due(desk: TwoWriters) -> None:
    desk.ledger.due_in_odoo.add(COMPANY, [ANN, BOB])
    known = desk.ledger.due_in_odoo.due(COMPANY)
    desk.ledger.due_in_odoo.add(COMPANY, [ANN])
    desk.ledger.due_in_odoo.decide(COMPANY, known, [])
    assert list(desk.ledger.due_in_odoo.due(COMPANY)) == [ANN]


def test_who_comes_back_after_the_look_stays_due(desk: TwoWriters) -> None:
    desk.say_out(ANN, BOB)
    known = desk.ledger.standing_opt_outs.due(COMPANY, LIST)
    desk.ledger.standing_opt_outs.add_due(COMPANY, LIST, [ANN])
    desk.ledger.standing_opt_outs.done(COMPANY, LIST, known)
    assert desk.due() == [ANN]


def test_somebody_who_is_out_by_an_event_alone_is_due_from_the_outcome_on(desk: TwoWriters) -> None:
    """The unsubscribing behind the outcome may fail or its process die: the path does it."""

    def opt_out_and_break() -> None:
        desk.ledger.consent.record([event(desk, ANN)])
        desk.mailchimp.faults.add(Fault("html_403", match_method="PATCH"))

    desk.changing.after.append(opt_out_and_break)
    desk.write(creation(ANN))
    assert desk.status(ANN) == "subscribed"
    assert desk.due() == [ANN]
    desk.carry()
    assert (desk.status(ANN), desk.due()) == ("unsubscribed", [])


def test_an_older_word_of_odoos_changes_nothing(desk: TwoWriters) -> None:
    now = desk.ledger.now()
    desk.say_out(ANN, at=now)
    lifted = StandingOptOut(company=COMPANY, email=ANN, cause=BLACKLISTED, active=False, said_at=now)
    earlier = replace(lifted, said_at=now - timedelta(minutes=1))
    assert desk.ledger.standing_opt_outs.say([earlier], [LIST]) == []
    assert len(desk.ledger.standing_opt_outs.of(COMPANY)) == 1
    assert desk.ledger.standing_opt_outs.say([lifted], [LIST]) == [lifted]
    assert desk.ledger.standing_opt_outs.of(COMPANY) == []


# --- many at once ------------------------------------------------------------------------------------------


def test_many_addresses_are_looked_at_by_pages_of_the_audience(desk: TwoWriters) -> None:
    people = [f"person{number}@example.com" for number in range(PAGES_FROM + 50)]
    for email in people[:5]:
        desk.mailchimp.add_member(LIST, email, "subscribed")
    desk.mailchimp.add_member(LIST, "other@example.com", "subscribed")
    desk.say_out(*people)
    desk.mailchimp.journal.clear()
    done = desk.carry()
    reads = [entry for entry in desk.mailchimp.journal.requests if entry.method == "GET"]
    # A page for each status of who can be reached, always in this order.
    assert [entry.query["status"] for entry in reads] == ["subscribed", "pending", "transactional"]
    assert sorted(done.rows["email"]) == sorted(people[:5])
    assert desk.status("other@example.com") == "subscribed"
    assert desk.due() == []


def test_an_audience_that_cannot_be_asked_keeps_its_people_due(desk: TwoWriters) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed")
    desk.say_out(ANN)
    desk.mailchimp.faults.add(Fault("html_503", times=None))
    carried = desk.carry()
    assert list(carried.troubles) == [AUDIENCE]
    desk.mailchimp.faults.clear()
    assert desk.due() == [ANN]
    desk.carry()
    assert (desk.status(ANN), desk.due()) == ("unsubscribed", [])


def test_an_opt_out_that_was_asked_for_before_the_write_and_written_down_behind_it(desk: TwoWriters) -> None:
    """Hearing an audience takes a while: an event is dated by when Mailchimp was asked, not by its record."""
    asked_before = desk.ledger.now() - timedelta(seconds=30)

    def record_it() -> None:
        desk.ledger.consent.record([replace(event(desk, ANN), seen_at=asked_before)])

    desk.changing.before.append(record_it)
    desk.write(creation(ANN))
    assert desk.status(ANN) == "unsubscribed"


def test_an_audience_that_is_not_there_is_not_taken_for_one_without_these_members(desk: TwoWriters) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed")
    desk.say_out(ANN)
    audience = desk.mailchimp.state.audiences.pop(LIST)
    carried = desk.carry()
    desk.mailchimp.state.audiences[LIST] = audience
    assert list(carried.troubles) == [AUDIENCE]
    assert desk.due() == [ANN]
    desk.carry()
    assert (desk.status(ANN), desk.due()) == ("unsubscribed", [])
