"""Reading audiences for opt-outs: one event per happening, nothing lost, and no cursor that runs ahead."""

import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mc_pipeline.ledger import Intent
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.opt_out_reading import OVERLAP, ConsentChanges
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sync.opt_outs.polling import AudiencePolling
from mc_pipeline_tests.opt_outs.desk import ANN, AUDIENCE, BOB, COMPANY, LIST, OTHER_LIST, Desk

LONG_AGO = datetime(2024, 2, 1, 8, tzinfo=UTC)


def audience(desk: Desk, *emails: str, status: str = "subscribed") -> None:
    for email in emails:
        desk.mailchimp.add_member(LIST, email, status, last_changed=LONG_AGO)


def test_the_first_read_tells_the_full_present_state_and_nothing_of_who_is_content(desk: Desk) -> None:
    for status in ("subscribed", "unsubscribed", "cleaned", "archived", "pending", "transactional"):
        audience(desk, f"{status}@example.com", status=status)
    poll = desk.poll()
    assert poll.first
    assert {(event.email.partition("@")[0], event.event) for event in poll.events} == {
        ("unsubscribed", "opt_out"),
        ("cleaned", "clean"),
        ("archived", "archive"),
    }
    assert {event.occurred_at for event in poll.events} == {LONG_AGO}
    assert not desk.poll().events


@pytest.mark.parametrize(
    ("act", "reported"),
    [
        (lambda people: people.unsubscribe(LIST, ANN), ("opt_out", "unknown", "poll")),
        (lambda people: people.unsubscribe(LIST, ANN, "Too many"), ("opt_out", "person", "poll")),
        (lambda people: people.unsubscribe_by_admin(LIST, ANN), ("opt_out", "admin", "poll")),
        (lambda people: people.bounce_hard(LIST, ANN), ("clean", "unknown", "poll")),
        (lambda people: people.complain(LIST, ANN), ("complaint", "person", "poll")),
        (lambda people: people.archive(LIST, ANN), ("archive", "unknown", "poll")),
    ],
)
def test_what_happens_is_one_event_whoever_reads_first_and_however_often(
    desk: Desk, act: Callable[..., None], reported: tuple[str, str, str]
) -> None:
    audience(desk, ANN, BOB)
    desk.poll()
    desk.observe()
    act(desk.people)
    assert len(desk.poll().events) == 1
    assert desk.observe() == {}
    assert not desk.poll().events
    assert desk.recorded() == [reported]


def test_an_event_that_a_whole_read_recorded_is_none_for_the_next_poll(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.observe()
    desk.people.unsubscribe(LIST, ANN)
    assert desk.observe() == {"opt_out": 1}
    assert not desk.poll().events
    assert len(desk.recorded()) == 1


def test_a_member_edited_after_an_opt_out_is_still_told(desk: Desk) -> None:
    """``last_changed`` has moved on; who unsubscribed since is asked for as such."""
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.mailchimp.advance(timedelta(minutes=1))
    desk.people.edit_field(LIST, ANN, "FNAME", "Anna")
    assert [event.event for event in desk.poll().events] == ["opt_out"]


def test_somebody_who_came_back_by_the_form_is_known_by_the_activity_feed(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=5))
    desk.people.sign_up(LIST, ANN)
    desk.poll()
    assert desk.recorded()[1:] == [("subscribe", "person", "poll")]


def test_somebody_who_was_brought_back_by_others_is_not_the_persons_own_act(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe_by_admin(LIST, ANN)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=5))
    desk.people.subscribe_by_admin(LIST, ANN)
    desk.poll()
    assert desk.recorded()[1:] == [("subscribe", "unknown", "poll")]


def test_somebody_who_opted_out_elsewhere_and_signs_up_to_a_further_audience_is_reported(desk: Desk) -> None:
    desk.mailchimp.add_member(OTHER_LIST, ANN, "unsubscribed", last_changed=LONG_AGO)
    audience(desk, BOB)
    desk.poll(OTHER_LIST)
    desk.poll()
    desk.people.sign_up(LIST, ANN)
    desk.people.sign_up(LIST, "newcomer@example.com")
    poll = desk.poll()
    assert [(event.email, event.event, event.origin) for event in poll.events] == [
        (ANN, "subscribe", "person")
    ]


def test_the_whole_read_tells_who_came_back_before_it_records_them(desk: Desk) -> None:
    """Nobody's own act may become an unknown one because it came between the two reads of a run."""
    audience(desk, ANN)
    desk.poll()
    desk.observe()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    assert not desk.changes()
    desk.people.sign_up(LIST, ANN)
    (change,) = desk.changes()
    assert (change.status_from, change.status_to, change.after_opt_out) == (
        "unsubscribed",
        "subscribed",
        True,
    )


def test_the_activity_of_few_is_asked_for_and_the_rest_stay_unknown(desk: Desk) -> None:
    crowd = [f"person{number}@example.com" for number in range(6)]
    audience(desk, *crowd)
    desk.poll()
    for email in crowd:
        desk.people.unsubscribe(LIST, email)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=5))
    for email in crowd:
        desk.people.sign_up(LIST, email)
    before = desk.mailchimp.journal.last_number
    origins = [event.origin for event in desk.poll(asked_at_most=4).events]
    assert sorted(origins) == ["person"] * 4 + ["unknown"] * 2
    assert desk.requests_since(before)["activity-feed"] == 4


def test_an_opt_out_that_we_sent_and_never_heard_of_is_ours(desk: Desk) -> None:
    audience(desk, ANN, BOB)
    desk.poll()
    desk.observe()
    with desk.ledger.leases.hold(COMPANY, "crashed", timedelta(minutes=5)) as lease:
        desk.ledger.intents.record(
            COMPANY,
            lease.fence,
            "crashed",
            [
                Intent(
                    list_id=LIST,
                    audience=AUDIENCE,
                    email=ANN,
                    operation="unsubscribe",
                    body={"status": "unsubscribed"},
                )
            ],
        )
    desk.client.lists.update_list_member(LIST, ANN, {"status": "unsubscribed"})
    desk.people.unsubscribe(LIST, BOB, "Too many")
    desk.poll()
    assert [origin for _, origin, _ in desk.recorded(ANN)] == ["ours"]
    assert [origin for _, origin, _ in desk.recorded(BOB)] == ["person"]


# --- complaints ---------------------------------------------------------------------------------------


def test_an_old_complaint_counts_although_the_member_was_archived_since(desk: Desk) -> None:
    audience(desk, ANN)
    desk.people.complain(LIST, ANN)
    desk.mailchimp.advance(timedelta(hours=2))
    desk.people.archive(LIST, ANN)
    desk.poll()
    assert sorted(desk.recorded()) == [("archive", "unknown", "poll"), ("complaint", "person", "poll")]
    assert not desk.poll().events


def test_a_complaint_is_no_second_event_beside_the_opt_out_that_it_made(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.complain(LIST, ANN)
    desk.observe()
    assert [event for event, _, _ in desk.recorded()] == ["complaint"]
    assert not desk.poll().events


# --- the cursor ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["status=unsubscribed", "status=archived"])
def test_a_read_that_fails_half_way_leaves_the_cursor_and_the_next_one_tells_everything_once(
    desk: Desk, page: str
) -> None:
    audience(desk, ANN, BOB)
    desk.poll()
    cursor = desk.read_until()
    desk.people.unsubscribe(LIST, ANN)
    desk.people.archive(LIST, BOB)
    desk.mailchimp.faults.add(Fault("json_500", match_path_regex=page, times=2))
    with pytest.raises(MailchimpError):
        desk.poll()
    assert desk.read_until() == cursor
    desk.poll()
    assert [event for event, _, _ in desk.recorded(ANN)] == ["opt_out"]
    assert [event for event, _, _ in desk.recorded(BOB)] == ["archive"]
    moved = desk.read_until()
    assert moved is not None
    assert cursor is not None
    assert moved >= cursor


def test_complaints_that_cannot_be_read_hold_up_nothing_else(desk: Desk) -> None:
    audience(desk, ANN, BOB)
    desk.poll()
    cursor = desk.read_until()
    desk.people.unsubscribe(LIST, ANN)
    desk.mailchimp.faults.add(Fault("html_503", match_path_regex="abuse-reports", times=None))
    poll = desk.poll()
    assert [event.event for event in poll.events] == ["opt_out"]
    assert list(poll.doubts) == ["complaints"]
    moved = desk.read_until()
    assert cursor is not None
    assert moved is not None
    assert moved >= cursor
    desk.mailchimp.faults.clear()
    assert desk.poll().doubts == {}


def test_a_complaint_is_heard_when_the_members_cannot_be_read(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.complain(LIST, ANN)
    desk.mailchimp.faults.add(Fault("html_503", match_path_regex="/members", times=None))
    with pytest.raises(MailchimpError):
        desk.poll()
    assert [event for event, _, _ in desk.recorded()] == ["complaint"]


def test_an_opt_out_that_a_webhook_told_is_taken_when_mailchimp_cannot_be_asked(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.deliver("unsubscribe", ANN, "user")
    desk.mailchimp.faults.add(Fault("html_503", times=None))
    with pytest.raises(MailchimpError):
        desk.poll()
    assert desk.recorded() == [("opt_out", "person", "webhook")]
    # It waits in the inbox until the member is read, and is no second event then.
    desk.mailchimp.faults.clear()
    desk.poll()
    assert {event for event, _, _ in desk.recorded()} == {"opt_out"}
    assert desk.ledger.inbox.waiting([LIST]) == []


def test_a_crash_between_reading_and_recording_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    audience(desk, ANN)
    desk.poll()
    cursor = desk.read_until()
    desk.people.unsubscribe(LIST, ANN)
    with desk.polling() as polling, monkeypatch.context() as crash:
        crash.setattr(polling._ledger.members, "observe_some", _dies)
        with pytest.raises(KeyboardInterrupt):
            polling.poll(AUDIENCE, LIST)
    assert desk.read_until() == cursor
    assert [event.email for event in desk.poll().events] == [ANN]


def _dies(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_activity_feed_that_cannot_be_read_leaves_the_change_for_the_next_run(desk: Desk) -> None:
    """Recorded as unknown, somebody's own act would never be found out."""
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=5))
    desk.people.sign_up(LIST, ANN)
    desk.mailchimp.faults.add(Fault("json_500", match_path_regex="activity-feed", times=2))
    with pytest.raises(MailchimpError):
        desk.poll()
    assert len(desk.recorded()) == 1
    desk.poll()
    assert desk.recorded()[1:] == [("subscribe", "person", "poll")]


@pytest.mark.parametrize("skew", [timedelta(minutes=-7), timedelta(minutes=7), timedelta(hours=3)])
def test_clocks_that_differ_lose_nothing(desk: Desk, skew: timedelta) -> None:
    """Windows end by Mailchimp's clock, not by ours."""
    desk.later = skew
    audience(desk, ANN, BOB)
    desk.poll()
    desk.mailchimp.advance(timedelta(minutes=1))
    desk.people.unsubscribe(LIST, ANN)
    assert [event.email for event in desk.poll().events] == [ANN]
    desk.mailchimp.advance(timedelta(minutes=20))
    desk.people.bounce_hard(LIST, BOB)
    assert [event.email for event in desk.poll().events] == [BOB]


def test_a_change_that_shows_late_is_in_the_overlap_of_the_next_read(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.mailchimp.advance(timedelta(hours=1))
    desk.poll()
    desk.people.bounce_hard(LIST, ANN)
    late = desk.mailchimp.member(LIST, ANN)
    assert late is not None
    late.last_changed -= int(OVERLAP.total_seconds()) - 30
    assert [event.event for event in desk.poll().events] == ["clean"]


def test_pages_that_move_while_they_are_read_lose_nobody(desk: Desk) -> None:
    """Somebody of the first page leaves the window: the second page would begin one too far."""
    crowd = [f"person{number:04}@example.com" for number in range(1500)]
    audience(desk, *crowd, status="cleaned")
    desk.client.lists.get_list(LIST)
    changes = ConsentChanges(desk.client, LIST, None, None)
    seen: set[str] = set()
    for rows in changes:
        if not seen:
            desk.mailchimp.advance(timedelta(minutes=2))
            desk.people.archive(LIST, rows["email"].iloc[0])
        seen |= set(rows["email"])
    assert changes.doubts == {}
    assert seen == set(crowd)


def test_a_window_that_never_stands_still_is_doubtful_and_keeps_the_cursor(desk: Desk) -> None:
    crowd = [f"person{number:04}@example.com" for number in range(1030)]
    audience(desk, *crowd, status="cleaned")
    with desk.polling() as polling:
        original = polling._origins.find

        def find(changes, reported, complaints):  # type: ignore[no-untyped-def]
            desk.mailchimp.advance(timedelta(minutes=2))
            desk.people.archive(LIST, next(iter(desk.mailchimp.audience(LIST).by_status["cleaned"])))
            return original(changes, reported, complaints)

        polling._origins.find = find  # type: ignore[method-assign]
        poll = polling.poll(AUDIENCE, LIST)
    assert list(poll.doubts) == ["cleaned"]
    assert desk.read_until() is None
    assert not desk.poll().doubts
    assert desk.read_until() is not None


# --- webhooks -----------------------------------------------------------------------------------------


def test_webhooks_tell_the_person_from_the_administrator(desk: Desk) -> None:
    audience(desk, ANN, BOB)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.people.unsubscribe_by_admin(LIST, BOB)
    desk.deliver("unsubscribe", ANN, "user")
    desk.deliver("unsubscribe", BOB, "admin")
    desk.poll()
    assert desk.recorded(ANN) == [("opt_out", "person", "poll")]
    assert desk.recorded(BOB) == [("opt_out", "admin", "poll")]
    assert not desk.poll().events


def test_a_late_delivery_of_what_is_known_adds_nothing(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.poll()
    happened = datetime.now(UTC)
    for minutes in (1, 45, 180):
        desk.deliver(
            "unsubscribe",
            ANN,
            "user",
            fired_at=happened,
            fired_at_raw=str(minutes),
            received_at=happened + timedelta(minutes=minutes),
        )
    assert not desk.poll().events
    assert len(desk.recorded()) == 1


def test_an_opt_out_taken_back_between_two_reads_is_known_by_its_webhooks(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.observe()
    desk.people.unsubscribe(LIST, ANN)
    desk.deliver("unsubscribe", ANN, "user")
    desk.mailchimp.advance(timedelta(minutes=1))
    desk.people.sign_up(LIST, ANN)
    desk.deliver("subscribe", ANN, "user")
    desk.poll()
    assert desk.recorded() == [("opt_out", "person", "webhook"), ("subscribe", "person", "webhook")]
    assert desk.ledger.members.of_email(ANN)["opted_out"].tolist() == [True]
    assert desk.ledger.inbox.count_waiting([LIST]) == 0


def test_deliveries_can_be_taken_at_once_and_the_next_poll_finds_nothing_new(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    desk.people.unsubscribe(LIST, ANN)
    desk.deliver("unsubscribe", ANN, "user")
    with desk.polling() as polling:
        polling.take_deliveries(AUDIENCE, LIST)
    assert desk.recorded() == [("opt_out", "person", "webhook")]
    assert not desk.poll().events


# --- many ---------------------------------------------------------------------------------------------

MANY = 50_000


def test_fifty_thousand_opt_outs_take_one_request_per_thousand(desk: Desk) -> None:
    for number in range(MANY):
        desk.mailchimp.add_member(LIST, f"person{number}@example.com", "unsubscribed")
    desk.mailchimp.advance(timedelta(minutes=1))
    before = desk.mailchimp.journal.last_number
    desk.client.lists.get_list(LIST)
    longest = rows = 0
    for page in ConsentChanges(desk.client, LIST, LONG_AGO, LONG_AGO):
        rows, longest = rows + len(page), max(longest, len(page))
    assert (rows, longest) == (MANY, 1000)
    assert desk.requests_since(before) == {
        LIST: 1,
        # One for whoever changes during the read.
        "unsubscribed": MANY // 1000 + 1,
        "cleaned": 1,
        "archived": 1,
        "subscribed": 1,
    }


def test_many_opt_outs_are_recorded_page_by_page_and_none_is_held_back(desk: Desk) -> None:
    audience(desk, ANN)
    desk.poll()
    for number in range(4000):
        desk.mailchimp.add_member(LIST, f"person{number}@example.com", "unsubscribed")
    desk.mailchimp.advance(timedelta(minutes=1))
    with desk.polling() as polling, Watched(polling) as watched:
        poll = polling.poll(AUDIENCE, LIST)
    assert len({event.email for event in poll.events}) == 4000
    assert watched.most_pages_alive <= 2


class Watched:
    """Counts how many pages of members are alive while they are taken over."""

    def __init__(self, polling: AudiencePolling) -> None:
        self._polling = polling
        self._pages: list[weakref.ref[Any]] = []
        self.most_pages_alive = 0

    def __enter__(self) -> "Watched":
        of_interest = self._polling._of_interest

        def watching(list_id: str, rows: Any) -> Any:
            self._pages = [page for page in self._pages if page() is not None]
            self._pages.append(weakref.ref(rows))
            self.most_pages_alive = max(self.most_pages_alive, len(self._pages))
            return of_interest(list_id, rows)

        self._polling._of_interest = watching  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        del self._polling._of_interest
