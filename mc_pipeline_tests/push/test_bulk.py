"""How much is asked of Mailchimp: calls grow with hundreds of members, never with single ones."""

import json
import math

import pytest

from mc_pipeline_tests.push.desk import LIST, Desk, person

PEOPLE = 1_201
CALLS = math.ceil(PEOPLE / 500)


@pytest.fixture
def loaded(desk: Desk) -> Desk:
    """An audience of 1,201 after its first load; the journal has it."""
    people = [person(number, tags=["B2C", "VIP"]) for number in range(PEOPLE)]
    outcome = desk.push(people, first_load=True)
    assert set(outcome["outcome"]) == {"applied"}
    return desk


def test_a_first_load_creates_500_members_a_call_and_tags_them_without_starting_automations(loaded: Desk):
    assert len(loaded.sent(f"/lists/{LIST}")) == CALLS
    batches = loaded.sent("/batches")
    assert len(batches) == CALLS
    tagged = [json.loads(operation["body"]) for batch in batches for operation in batch.body["operations"]]
    assert len(tagged) == PEOPLE
    assert all(body["is_syncing"] is True for body in tagged)
    assert loaded.tags("person1200@example.com") == ["B2C", "VIP"]
    assert loaded.mailchimp.mails == []
    assert len(loaded.writes()) == 2 * CALLS
    assert all(entry.is_write or "/members/" not in entry.path for entry in loaded.mailchimp.journal.requests)


def test_later_tags_go_through_segments_500_members_a_call(loaded: Desk):
    for number in range(3):
        loaded.mailchimp.sign_up(LIST, f"person{number}@example.com")
    loaded.mailchimp.mails.clear()
    loaded.mailchimp.journal.clear()
    outcome = loaded.push([person(number, tags=["VIP"]) for number in range(PEOPLE)])
    assert set(outcome["outcome"]) == {"applied"}
    assert len(loaded.writes()) == CALLS
    assert loaded.tags("person1200@example.com") == ["VIP"]
    loaded.mailchimp.journal.clear()
    loaded.push([person(number, tags=["VIP", "B2C"]) for number in range(PEOPLE)])
    assert [entry.path.rpartition("/")[0] for entry in loaded.writes()] == [
        f"/3.0/lists/{LIST}/segments"
    ] * CALLS
    assert sorted(mail.kind for mail in loaded.mailchimp.mails) == ["tag_automation"] * 3


def test_a_second_push_writes_nothing_and_reads_1000_members_a_call(loaded: Desk):
    loaded.mailchimp.journal.clear()
    assert loaded.push([person(number, tags=["B2C", "VIP"]) for number in range(PEOPLE)]).empty
    assert loaded.writes() == []
    pages = loaded.mailchimp.journal.matching("GET", f"/lists/{LIST}/members")
    assert {page.query["count"] for page in pages} <= {"1000", "0", "1"}
    statuses = 6
    assert len(pages) <= 2 * math.ceil(PEOPLE / 1000) + 3 * statuses


def test_a_change_of_everybody_goes_in_batches_of_500(loaded: Desk):
    loaded.mailchimp.journal.clear()
    outcome = loaded.push([person(number, name="Grace", tags=["B2C", "VIP"]) for number in range(PEOPLE)])
    assert set(outcome["outcome"]) == {"applied"}
    assert [entry.path for entry in loaded.writes()] == ["/3.0/batches"] * CALLS
    assert loaded.mailchimp.member(LIST, "person1200@example.com").merge_fields["FNAME"] == "Grace"
