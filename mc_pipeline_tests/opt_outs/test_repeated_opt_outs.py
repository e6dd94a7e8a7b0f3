"""Opt-outs between two reads that show the same status: asked about, once for each change, few at a time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.ledger import Intent, Outcome
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.mailchimp.members import unsubscribe_member, update_member
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sync.opt_outs.polling import SAME_STATUS
from mc_pipeline_tests.opt_outs.desk import ANN, AUDIENCE, BOB, COMPANY, LIST, Desk

LONG_AGO = datetime(2024, 2, 1, 8, tzinfo=UTC)
FEED = "activity-feed"


@pytest.fixture
def known(desk: Desk) -> Desk:
    """Ann unsubscribed, Bob did not, and both is known; twenty minutes pass."""
    for email in (ANN, BOB):
        desk.mailchimp.add_member(LIST, email, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    desk.observe()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=20))
    return desk


def later(desk: Desk, seconds: int = 20) -> datetime:
    desk.mailchimp.advance(timedelta(seconds=seconds))
    return datetime.fromtimestamp(desk.mailchimp.state.now(), UTC)


def feeds(desk: Desk, since: int) -> int:
    return desk.requests_since(since)[FEED]


def quiet(desk: Desk) -> None:
    """Three more hearings tell nothing and ask about nobody, also when the overlap has passed."""
    before, recorded = desk.mailchimp.journal.last_number, len(desk.events())
    for minutes in (0, 1, 15):
        desk.mailchimp.advance(timedelta(minutes=minutes))
        assert not desk.poll().events
    assert feeds(desk, before) == 0
    assert len(desk.events()) == recorded


@pytest.mark.parametrize(
    ("leave", "origin"),
    [
        (lambda people: people.unsubscribe(LIST, ANN), "person"),
        (lambda people: people.unsubscribe_by_admin(LIST, ANN), "admin"),
    ],
)
@pytest.mark.parametrize("minutes_since_the_last_read", [0, 20])
def test_somebody_who_signed_up_and_left_again_between_two_reads_opted_out_again(
    desk: Desk, leave: Callable[..., None], origin: str, minutes_since_the_last_read: int
) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=minutes_since_the_last_read))
    signed_up = later(desk)
    desk.people.sign_up(LIST, ANN)
    left = later(desk)
    leave(desk.people)
    later(desk)
    poll = desk.poll()
    assert [(each.event, each.origin) for each in poll.events] == [
        ("subscribe", "person"),
        ("opt_out", origin),
    ]
    assert [
        abs(each.occurred_at - at) < timedelta(seconds=3)
        for each, at in zip(poll.events, (signed_up, left), strict=True)
    ] == [True, True]
    assert not poll.doubts
    quiet(desk)


def test_the_change_of_a_field_after_it_is_not_its_date(known: Desk) -> None:
    known.people.sign_up(LIST, ANN)
    left = later(known)
    known.people.unsubscribe(LIST, ANN)
    later(known, 600)
    known.people.edit_field(LIST, ANN, "FNAME", "Anna")
    (_, opt_out) = known.poll().events
    assert abs(opt_out.occurred_at - left) < timedelta(seconds=3)
    quiet(known)


def test_fields_of_somebody_who_unsubscribed_long_ago_ask_nothing(known: Desk) -> None:
    known.poll()
    before = known.mailchimp.journal.last_number
    known.people.edit_field(LIST, ANN, "FNAME", "Anna")
    update_member(known.client, LIST, subscriber_hash(ANN), merge_fields={"FNAME": "Ann"})
    assert not known.poll().events
    assert feeds(known, before) == 0


def test_our_own_field_after_a_hidden_opt_out_hides_it_no_more(known: Desk) -> None:
    known.people.sign_up(LIST, ANN)
    later(known)
    known.people.unsubscribe(LIST, ANN)
    later(known)
    _ours(known, ANN, "update", {"merge_fields": {"FNAME": "Ann"}})
    assert [each.event for each in known.poll().events] == ["subscribe", "opt_out"]
    quiet(known)


@pytest.mark.parametrize("skew", [timedelta(), timedelta(minutes=-30), timedelta(hours=3)])
def test_our_own_unsubscribe_is_no_opt_out_of_somebody_else(desk: Desk, skew: timedelta) -> None:
    desk.later = skew
    desk.mailchimp.add_member(LIST, ANN, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    before = desk.mailchimp.journal.last_number
    _ours(desk, ANN, "unsubscribe", {"status": "unsubscribed"})
    assert not desk.poll().events
    assert feeds(desk, before) == 0
    later(desk)
    _ours(desk, ANN, "update", {"merge_fields": {"FNAME": "Ann"}})
    assert not desk.poll().events
    assert desk.recorded() == [("opt_out", "ours", "write")]
    quiet(desk)


def test_who_comes_and_goes_after_our_own_unsubscribe_opted_out(desk: Desk) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    _ours(desk, ANN, "unsubscribe", {"status": "unsubscribed"})
    later(desk)
    desk.people.sign_up(LIST, ANN)
    later(desk)
    desk.people.unsubscribe(LIST, ANN)
    later(desk)
    desk.poll()
    assert desk.recorded() == [
        ("opt_out", "ours", "write"),
        ("subscribe", "person", "poll"),
        ("opt_out", "person", "poll"),
    ]
    quiet(desk)


def _ours(desk: Desk, email: str, operation: str, body: dict[str, object]) -> None:
    """A write of ours, with its answer."""
    with desk.ledger.leases.hold(COMPANY, "run", timedelta(minutes=5), path=OPT_OUTS) as lease:
        intent = Intent(list_id=LIST, audience=AUDIENCE, email=email, operation=operation, body=body)
        (number,) = desk.ledger.intents.record(COMPANY, lease.fence, "run", [intent], path=OPT_OUTS)
        member = subscriber_hash(email)
        if operation == "unsubscribe":
            answer = unsubscribe_member(desk.client, LIST, member)
        else:
            answer = update_member(desk.client, LIST, member, **body)  # type: ignore[arg-type]
        desk.ledger.intents.settle(
            "acme", lease.fence, [(number, Outcome(outcome="applied", returned=answer))]
        )


def test_who_left_and_came_back_between_two_reads_opted_out_in_between(known: Desk) -> None:
    known.people.unsubscribe(LIST, BOB)
    later(known)
    known.people.sign_up(LIST, BOB)
    later(known)
    known.poll()
    assert known.recorded(BOB) == [("opt_out", "person", "poll"), ("subscribe", "person", "poll")]
    assert known.ledger.members.of_email(BOB)["opted_out"].tolist() == [True]
    quiet(known)


def test_edits_of_subscribed_members_ask_nothing(known: Desk) -> None:
    before = known.mailchimp.journal.last_number
    known.people.edit_field(LIST, BOB, "FNAME", "Bob", by="person")
    update_member(known.client, LIST, subscriber_hash(BOB), merge_fields={"FNAME": "Bobby"})
    assert not known.poll().events
    assert feeds(known, before) == 0


def test_an_address_that_bounced_came_back_and_bounced_again_is_reported(desk: Desk) -> None:
    desk.mailchimp.add_member(LIST, ANN, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    desk.people.bounce_hard(LIST, ANN)
    desk.poll()
    later(desk)
    desk.people.sign_up(LIST, ANN)
    later(desk)
    desk.people.bounce_hard(LIST, ANN)
    later(desk)
    desk.poll()
    assert [event for event, _, _ in desk.recorded()] == ["clean", "subscribe", "clean"]
    quiet(desk)


def test_a_second_complaint_is_one_event(known: Desk) -> None:
    known.people.sign_up(LIST, ANN)
    later(known)
    known.people.complain(LIST, ANN)
    later(known)
    known.poll()
    assert known.recorded()[1:] == [("complaint", "person", "poll")]
    quiet(known)


def test_an_opt_out_that_the_feed_does_not_show_is_reported_at_the_latest_moment(known: Desk) -> None:
    known.people.sign_up(LIST, ANN)
    later(known)
    known.people.unsubscribe(LIST, ANN)
    member = known.mailchimp.member(LIST, ANN)
    assert member is not None
    member.activity = []
    (opt_out,) = known.poll().events
    assert (opt_out.event, opt_out.origin) == ("opt_out", "unknown")
    assert int(opt_out.occurred_at.timestamp()) == member.last_changed
    assert (opt_out.evidence or {})["dated_at_the_latest"] is True
    quiet(known)


def test_a_silent_feed_makes_no_opt_out_of_a_change_that_is_none(desk: Desk) -> None:
    """Shortly after the last read, the known opt-out is among the answers once more."""
    desk.mailchimp.add_member(LIST, ANN, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    later(desk)
    desk.people.edit_field(LIST, ANN, "FNAME", "Anna")
    member = desk.mailchimp.member(LIST, ANN)
    assert member is not None
    member.activity = []
    before = desk.mailchimp.journal.last_number
    assert not desk.poll().events
    assert feeds(desk, before) == 1
    assert len(desk.recorded()) == 1
    quiet(desk)


def test_few_are_asked_about_at_a_time_and_the_rest_by_the_next_hearings(desk: Desk) -> None:
    crowd = [f"person{number}@example.com" for number in range(6)]
    for email in crowd:
        desk.mailchimp.add_member(LIST, email, "subscribed", last_changed=LONG_AGO)
    desk.poll()
    for email in crowd:
        desk.people.unsubscribe(LIST, email)
    desk.poll()
    later(desk)
    for email in crowd:
        desk.people.sign_up(LIST, email)
    later(desk)
    for email in crowd:
        desk.people.unsubscribe(LIST, email)
    later(desk)
    cursor = desk.read_until()
    recorded, left = 0, []
    for _ in range(3):
        before = desk.mailchimp.journal.last_number
        with desk.polling() as polling:
            polling._questions._asked_at_most = 2
            poll = polling.poll(AUDIENCE, LIST)
        assert feeds(desk, before) == 2
        recorded += sum(event.event == "opt_out" for event in poll.events)
        left.append(poll.doubts.get(SAME_STATUS, "").partition(" ")[0])
    assert (recorded, left) == (6, ["4", "2", ""])
    moved = desk.read_until()
    assert cursor is not None
    assert moved is not None
    assert moved > cursor, "the reading does not wait for the asking"
    quiet(desk)


def test_a_feed_that_cannot_be_read_is_asked_for_again_and_delays_nothing(known: Desk) -> None:
    known.people.sign_up(LIST, ANN)
    later(known)
    known.people.unsubscribe(LIST, ANN)
    known.people.unsubscribe(LIST, BOB)
    known.mailchimp.faults.add(Fault("html_503", match_path_regex=FEED, times=None))
    poll = known.poll()
    assert [(event.email, event.event) for event in poll.events] == [(BOB, "opt_out")]
    assert list(poll.doubts) == [SAME_STATUS]
    assert "1 members" in poll.doubts[SAME_STATUS]
    assert "503" in poll.doubts[SAME_STATUS]
    assert "@" not in poll.doubts[SAME_STATUS]
    known.mailchimp.faults.clear()
    known.mailchimp.advance(timedelta(hours=2))
    assert [event.event for event in known.poll().events] == ["subscribe", "opt_out"]
    quiet(known)


def test_somebody_who_is_erased_is_asked_about_no_more(known: Desk) -> None:
    known.people.sign_up(LIST, ANN)
    later(known)
    known.people.unsubscribe(LIST, ANN)
    known.mailchimp.faults.add(Fault("html_503", match_path_regex=FEED, times=None))
    known.poll()
    assert known.ledger.opt_out_questions.count([LIST]) == 1
    known.ledger.erasures.forget(ANN, "somebody")
    assert known.ledger.opt_out_questions.count([LIST]) == 0
