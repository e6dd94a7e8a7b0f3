"""What stops a push, what stops one member only, and what is tried again later."""

from datetime import timedelta

import pandas as pd
import pytest

from mc_pipeline.ledger import LeaseLostError
from mc_pipeline.mailchimp.errors import MailchimpBlockedError
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.properties.runs import Death, Killed
from mc_pipeline_tests.push.desk import COMPANY, LIST, Desk, person


def outcomes(pushed: pd.DataFrame) -> dict[str, str]:
    """Outcome of each created address."""
    created = pushed[pushed["operation"] == "create"]
    return dict(zip(created["email"], created["outcome"], strict=True))


def test_a_lost_lease_stops_the_writing_and_the_new_owner_goes_on(desk: Desk):
    people = [person(number) for number in range(1_200)]
    sent_before = []

    def take_over(plan: pd.DataFrame) -> pd.DataFrame:
        """Somebody else takes the company over, as after a long sleep of this process."""
        desk.later += timedelta(hours=1)
        with desk.ledger() as ledger, ledger.leases.hold(COMPANY, "another run"):
            sent_before.append(len(desk.writes()))
        return plan

    with pytest.raises(LeaseLostError):
        desk.push(people, first_load=True, edit_plan=take_over)
    assert len(desk.writes()) == sent_before[0] == 0
    desk.push(people, first_load=True)
    assert len(desk.mailchimp.statuses(LIST)) == len(people)


def test_a_lease_lost_between_two_calls_stops_the_second(desk: Desk):
    people = [person(number) for number in range(1_200)]

    class Sleeping(Death):
        def passes(self, place: str) -> None:
            if place == "after_request" and desk.sent(f"/lists/{LIST}"):
                desk.later = timedelta(hours=1)

    with pytest.raises(LeaseLostError):
        desk.push(people, first_load=True, death=Sleeping())
    assert len(desk.sent(f"/lists/{LIST}")) == 1
    with desk.ledger() as ledger:
        assert len(ledger.intents.open(COMPANY)) == 500
    desk.push(people, first_load=True)
    assert len(desk.sent(f"/lists/{LIST}")) == 3
    assert desk.state()["open"] == 0


def test_an_interruption_ends_the_sending_and_keeps_what_was_done(desk: Desk):
    people = [person(number) for number in range(2_000)]
    with pytest.raises(Killed):
        desk.push(people, first_load=True, death=Death("after_request", 1, writes_afterwards=True))
    assert len(desk.sent(f"/lists/{LIST}")) == 2
    with desk.ledger() as ledger:
        records = ledger.members.load([LIST])
        assert int(records["created_by_us"].sum()) == 500
        assert len(ledger.intents.open(COMPANY)) == 500
    desk.push(people, first_load=True)
    assert len(desk.sent(f"/lists/{LIST}")) == 4


def test_one_member_that_spoils_the_whole_call_is_found_by_halves(desk: Desk):
    def spoil(plan: pd.DataFrame) -> pd.DataFrame:
        spoilt = (plan["operation"] == "create") & (plan["email"] == "person7@example.com")
        body = '{"email_address":"person7@example.com","merge_fields":"Ada","status":"transactional"}'
        return plan.assign(after_json=plan["after_json"].mask(spoilt, body))

    pushed = outcomes(desk.push([person(number) for number in range(20)], edit_plan=spoil))
    assert {email for email, outcome in pushed.items() if outcome != "applied"} == {"person7@example.com"}
    assert pushed["person7@example.com"] == "rejected"
    assert len(desk.sent(f"/lists/{LIST}")) <= 2 * 5 + 1
    assert len(desk.mailchimp.statuses(LIST)) == 19


def test_a_member_that_mailchimp_refuses_is_left_until_they_change(desk: Desk):
    desk.mailchimp.take_for_fake("person1@example.com")
    pushed = desk.push([person(0), person(1)])
    assert outcomes(pushed) == {"person0@example.com": "applied", "person1@example.com": "rejected"}
    assert set(pushed.loc[pushed["email"] == "person1@example.com", "outcome"]) == {"rejected", "held_back"}
    desk.later = timedelta(days=1)
    assert outcomes(desk.push([person(0), person(1)])) == {}
    assert outcomes(desk.push([person(0), person(1, name="Grace")])) == {"person1@example.com": "rejected"}


def test_somebody_who_signed_up_to_many_lists_is_tried_again_when_the_time_has_come(desk: Desk):
    desk.mailchimp.refuse_signups("person1@example.com")
    people = [person(0), person(1)]
    assert outcomes(desk.push(people)) == {
        "person0@example.com": "applied",
        "person1@example.com": "deferred",
    }
    desk.later = timedelta(minutes=4)
    assert outcomes(desk.push(people)) == {}
    desk.later = timedelta(minutes=6)
    assert outcomes(desk.push(people)) == {"person1@example.com": "deferred"}
    desk.later += timedelta(hours=23)
    assert outcomes(desk.push(people)) == {}
    desk.mailchimp.allow_signups("person1@example.com")
    desk.later += timedelta(hours=2)
    assert outcomes(desk.push(people)) == {"person1@example.com": "applied"}
    assert desk.tags("person1@example.com") == ["B2C"]


@pytest.mark.parametrize("kind", ["json_500", "empty_500", "html_502"])
def test_creations_without_an_answer_stay_open_until_they_are_read_back(desk: Desk, kind: str):
    fault = desk.mailchimp.faults.add(Fault(kind, "POST", f"/lists/{LIST}$", times=None))
    people = [person(number) for number in range(30)]
    assert set(outcomes(desk.push(people, first_load=True)).values()) == {"unknown"}
    assert fault.fired > 0
    assert desk.mailchimp.statuses(LIST) == {}
    desk.mailchimp.faults.clear()
    assert set(outcomes(desk.push(people, first_load=True)).values()) == {"applied"}


def test_a_block_of_our_network_ends_the_push_and_nothing_counts_as_sent(desk: Desk):
    desk.mailchimp.faults.add(Fault("html_403", "POST", f"/lists/{LIST}$", times=None))
    people = [person(number) for number in range(30)]
    with pytest.raises(MailchimpBlockedError):
        desk.push(people, first_load=True)
    assert desk.state()["open"] == 0
    desk.mailchimp.faults.clear()
    assert set(outcomes(desk.push(people, first_load=True)).values()) == {"applied"}


def test_somebody_who_became_a_member_meanwhile_keeps_their_status(desk: Desk):
    def sign_up(plan: pd.DataFrame) -> pd.DataFrame:
        desk.mailchimp.sign_up(LIST, "person0@example.com")
        return plan

    assert outcomes(desk.push([person(0)], edit_plan=sign_up)) == {"person0@example.com": "unchanged"}
    assert desk.mailchimp.status(LIST, "person0@example.com") == "subscribed"
    with desk.ledger() as ledger:
        assert not ledger.members.load([LIST])["created_by_us"].any()
