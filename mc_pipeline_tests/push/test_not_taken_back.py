"""That Mailchimp refuses somebody for good is learned once, also when the process dies around the answer."""

import pytest

from mc_pipeline_tests.properties.runs import Death, Killed
from mc_pipeline_tests.push.desk import LIST, Desk, person

ANN, BOB = person(1), person(2)


def _forget(desk: Desk, email: str) -> None:
    desk.mailchimp.add_member(LIST, email)
    desk.mailchimp.delete_permanently(LIST, email)


def _asked(desk: Desk, email: str) -> int:
    return sum(email in str(entry.body) for entry in desk.sent(f"/lists/{LIST}"))


def _refusals(desk: Desk) -> list[tuple[str, str, str]]:
    with desk.ledger() as ledger:
        return [
            (event.email, event.origin, (event.evidence or {})["refused"])
            for event in ledger.consent.events()
            if event.event == "opt_out"
        ]


@pytest.mark.parametrize("place", ["before_request", "after_request", "ledger"])
def test_a_process_that_dies_around_the_refusal_ends_in_the_same_state(desk: Desk, place: str):
    _forget(desk, ANN.email)
    with desk.ledger():
        pass  # there is a ledger to go back to
    before = desk.save()
    deaths = 0
    for number in range(0, 60, 2 if place == "ledger" else 1):
        desk.restore(before)
        try:
            desk.push([ANN, BOB], death=Death(place, number))
        except Killed:
            deaths += 1
        else:
            break
        died_after = _asked(desk, ANN.email)
        desk.push([ANN, BOB])
        assert _refusals(desk) == [(ANN.email, "unknown", "forgotten")], number
        asked = _asked(desk, ANN.email)
        assert asked <= died_after + 1
        desk.push([person(1, name="Grace"), BOB])
        assert _asked(desk, ANN.email) == asked, "known: never sent again"
        assert desk.mailchimp.status(LIST, BOB.email) == "transactional"
    assert deaths > 3


def test_some_of_five_hundred_creations_are_refused_for_good_and_the_others_made(desk: Desk):
    people = [person(number) for number in range(500)]
    for number in (7, 99, 499):
        _forget(desk, f"person{number}@example.com")
    desk.mailchimp.refuse_signups("person8@example.com")
    desk.mailchimp.take_for_fake("person9@example.com")
    pushed = desk.push(people, first_load=True)
    created = pushed[pushed["operation"] == "create"]
    assert created["outcome"].value_counts().to_dict() == {"applied": 495, "rejected": 4, "deferred": 1}
    assert sorted(_refusals(desk)) == [
        (f"person{number}@example.com", "unknown", "forgotten") for number in (499, 7, 99)
    ]
    desk.mailchimp.journal.clear()
    desk.push([person(number, name="Grace") for number in range(500)])
    assert all(_asked(desk, f"person{number}@example.com") == 0 for number in (7, 99, 499))
    assert _asked(desk, "person9@example.com") == 1, "a refusal of a value waits for the contact to change"
