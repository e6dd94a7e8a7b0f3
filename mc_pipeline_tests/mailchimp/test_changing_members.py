"""Updating, renaming, unsubscribing, upgrading, tagging and archiving one member."""

from datetime import UTC, datetime

import pytest

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.members import (
    archive_member,
    change_member_tags,
    get_member,
    member_tags,
    subscribe_member,
    unsubscribe_member,
    update_member,
)
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.mailchimp.conftest import LIST

JANE = "jane@example.com"
HASH = subscriber_hash(JANE)


def bodies(sandbox, method):
    return [entry.body for entry in sandbox.journal.requests if entry.method == method]


def test_an_update_says_nothing_about_the_status(sandbox, client):
    sandbox.add_member(LIST, JANE, "unsubscribed")
    returned = update_member(client, LIST, HASH, merge_fields={"FNAME": "Jane"}, language="de")
    assert bodies(sandbox, "PATCH") == [{"merge_fields": {"FNAME": "Jane"}, "language": "de"}]
    assert returned["status"] == "unsubscribed"
    assert returned["merge_fields"]["FNAME"] == "Jane"
    assert sandbox.status(LIST, JANE) == "unsubscribed"


def test_an_update_of_nothing_is_refused(client):
    with pytest.raises(ValueError, match="nothing to change"):
        update_member(client, LIST, HASH)


def test_a_renaming_keeps_the_person(sandbox, client):
    before = sandbox.add_member(LIST, JANE, "transactional").contact_id
    returned = update_member(client, LIST, HASH, email_address="new@example.com")
    assert returned["email_address"] == "new@example.com"
    assert returned["contact_id"] == before


def test_a_renaming_whose_answer_is_lost_is_resolved_by_reading(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional")
    sandbox.faults.add(Fault("reset_after", "PATCH", "members"))
    returned = update_member(client, LIST, HASH, email_address="new@example.com")
    assert returned["email_address"] == "new@example.com"
    assert len(bodies(sandbox, "PATCH")) == 1


def test_a_renaming_that_may_not_have_been_applied_is_unknown(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional")
    sandbox.faults.add(Fault("reset_before", "PATCH", "members"))
    with pytest.raises(errors.MailchimpUnknownOutcomeError):
        update_member(client, LIST, HASH, email_address="new@example.com")


def test_a_renaming_to_an_address_that_is_there_is_its_own_error(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional")
    sandbox.add_member(LIST, "new@example.com", "subscribed")
    with pytest.raises(errors.MailchimpMemberExistsError):
        update_member(client, LIST, HASH, email_address="new@example.com")


@pytest.mark.parametrize("kind", ["reset_after", "json_500", "truncated", "empty_429"])
def test_an_unsubscription_gets_through_trouble(sandbox, client, kind):
    sandbox.add_member(LIST, JANE, "subscribed")
    sandbox.faults.add(Fault(kind, "PATCH", "members", times=2))
    assert unsubscribe_member(client, LIST, HASH)["status"] == "unsubscribed"
    assert sandbox.status(LIST, JANE) == "unsubscribed"


def test_an_upgrade_carries_the_time_of_the_consent(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional")
    consented_at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert subscribe_member(client, LIST, HASH, consented_at=consented_at)["status"] == "subscribed"
    assert bodies(sandbox, "PATCH") == [
        {"status": "subscribed", "timestamp_opt": "2026-03-01T12:00:00+00:00"}
    ]


def test_an_upgrade_is_never_sent_twice_blindly(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional")
    sandbox.faults.add(Fault("reset_after", "PATCH", "members"))
    with pytest.raises(errors.MailchimpUnknownOutcomeError):
        subscribe_member(client, LIST, HASH)
    assert len(bodies(sandbox, "PATCH")) == 1


def test_mailchimp_keeps_somebody_who_unsubscribed(sandbox, client):
    sandbox.add_member(LIST, JANE, "subscribed")
    sandbox.unsubscribe(LIST, JANE)
    with pytest.raises(errors.MailchimpComplianceError):
        subscribe_member(client, LIST, HASH)
    assert sandbox.status(LIST, JANE) == "unsubscribed"


@pytest.mark.parametrize(
    ("status", "outcome", "after"),
    [
        ("transactional", "applied", "archived"),
        ("subscribed", "applied", "archived"),
        ("archived", "unchanged", "archived"),
        ("cleaned", "unchanged", "cleaned"),
        ("pending", "unchanged", "pending"),
        (None, "unchanged", None),
    ],
)
def test_archiving_is_done_or_was_not_needed(sandbox, client, status, outcome, after):
    if status:
        sandbox.add_member(LIST, JANE, status)
    assert archive_member(client, LIST, HASH) == outcome
    assert sandbox.status(LIST, JANE) == after


def test_archiving_again_after_a_lost_answer_is_no_failure(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional")
    sandbox.faults.add(Fault("reset_after", "DELETE", "members"))
    assert archive_member(client, LIST, HASH) == "unchanged"
    assert sandbox.status(LIST, JANE) == "archived"


def test_tags_of_one_member_are_really_there_afterwards(sandbox, client):
    sandbox.add_member(LIST, JANE, "transactional", tags=["Old"])
    change_member_tags(client, LIST, HASH, active=["VIP", "B2B"], inactive=["Old"], is_syncing=True)
    assert sorted(member_tags(client, LIST, HASH)) == ["B2B", "VIP"]
    assert bodies(sandbox, "POST")[0]["is_syncing"] is True


def test_one_member_is_read_with_the_fields_that_matter(sandbox, client):
    sandbox.add_member(LIST, JANE, "pending", merge_fields={"FNAME": "Jane"}, language="de")
    found = get_member(client, LIST, HASH)
    assert (found["status"], found["language"], found["merge_fields"]["FNAME"]) == ("pending", "de", "Jane")
    assert get_member(client, LIST, subscriber_hash("nobody@example.com")) is None


def test_the_hash_is_that_of_the_lower_cased_address():
    assert subscriber_hash("Jane@Example.com") == subscriber_hash("jane@example.com")
    assert subscriber_hash("urist.mcvankab@freddiesjokes.com") == "62eeb292278cc15f5817cb78f7790b08"
