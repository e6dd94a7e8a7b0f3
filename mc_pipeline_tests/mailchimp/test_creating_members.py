"""Creating members: one outcome per address, whatever happens to the call."""

import math

import pytest

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.members import create_members, read_members
from mc_pipeline.mailchimp.merge_fields import ensure_merge_fields
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.mailchimp.conftest import LIST
from mc_pipeline_tests.mailchimp.exact_server import answer, exact_server

CREATION = f"/lists/{LIST}(\\?|$)"


def member(email: str, status: str = "transactional", **fields):
    return {"email_address": email, "status": status, "merge_fields": {"FNAME": "Jane"}} | fields


def people(count: int) -> list[dict]:
    return [member(f"person{number}@example.com") for number in range(count)]


def outcomes(result) -> dict[str, str]:
    found = {created["email_address"].lower(): "created" for created in result.created}
    found |= {rejection.email: rejection.kind for rejection in result.rejected}
    found |= dict.fromkeys(result.unknown, "unknown")
    assert len(found) == len(result.created) + len(result.rejected) + len(result.unknown)
    return found


def test_500_members_are_created_by_one_call_and_returned_as_mailchimp_has_them(sandbox, client):
    result = create_members(client, LIST, people(500))
    assert len(result.created) == 500
    first = result.created[0]
    assert first["id"] == subscriber_hash("person0@example.com")
    assert first["status"] == "transactional"
    assert first["merge_fields"]["FNAME"] == "Jane"
    assert [(entry.method, entry.path) for entry in sandbox.journal.requests] == [
        ("POST", f"/3.0/lists/{LIST}")
    ]


def test_each_refused_address_has_its_own_reason_and_the_others_are_created(sandbox, client):
    sandbox.add_member(LIST, "there@example.com", "subscribed")
    sandbox.add_member(LIST, "left@example.com", "unsubscribed")
    sandbox.add_member(LIST, "erased@example.com", "subscribed")
    sandbox.delete_permanently(LIST, "erased@example.com")
    sandbox.refuse_signups("popular@example.com")
    sandbox.take_for_fake("fake@example.com")
    emails = ["new", "there", "left", "erased", "popular", "fake"]
    result = create_members(client, LIST, [member(f"{name}@example.com", "subscribed") for name in emails])
    assert outcomes(result) == {
        "new@example.com": "created",
        "there@example.com": "exists",
        "left@example.com": "exists",
        "erased@example.com": "forgotten",
        "popular@example.com": "deferred",
        "fake@example.com": "invalid",
    }
    assert all(rejection.detail for rejection in result.rejected if rejection.kind != "exists")
    assert sandbox.status(LIST, "left@example.com") == "unsubscribed"


@pytest.mark.parametrize("count", [3, 120])
@pytest.mark.parametrize("kind", ["reset_after", "truncated", "cut_off", "empty_200", "json_500", "html_502"])
def test_a_creation_that_was_applied_but_not_answered_is_found_by_reading_back(sandbox, client, kind, count):
    sandbox.add_member(LIST, "there@example.com", "subscribed")
    sandbox.faults.add(Fault(kind, "POST", CREATION, after_applying=True))
    result = create_members(client, LIST, [*people(count), member("there@example.com")])
    assert outcomes(result) == {f"person{n}@example.com": "created" for n in range(count)} | {
        "there@example.com": "exists"
    }
    assert {created["status"] for created in result.created} == {"transactional"}
    assert all(created["merge_fields"]["FNAME"] == "Jane" for created in result.created)
    reads = [entry for entry in sandbox.journal.requests if entry.method == "GET"]
    assert len(reads) <= 20


@pytest.mark.parametrize("kind", ["reset_before", "json_500", "empty_500", "html_503", "empty_429"])
def test_a_creation_that_was_not_applied_is_sent_again(sandbox, client, kind):
    sandbox.faults.add(Fault(kind, "POST", CREATION, times=2))
    result = create_members(client, LIST, people(3))
    assert set(outcomes(result).values()) == {"created"}
    assert len(sandbox.journal.matching("POST", f"/lists/{LIST}")) == 3


def test_a_creation_that_is_never_answered_and_not_found_is_unknown(sandbox, client):
    sandbox.faults.add(Fault("reset_before", "POST", CREATION, times=None))
    result = create_members(client, LIST, people(3))
    assert set(outcomes(result).values()) == {"unknown"}


def test_a_creation_that_is_applied_and_never_answered_is_found(sandbox, client):
    sandbox.faults.add(Fault("reset_after", "POST", CREATION, times=None))
    result = create_members(client, LIST, people(30))
    assert set(outcomes(result).values()) == {"created"}


def test_what_cannot_be_read_back_is_unknown_and_no_success(sandbox, client):
    sandbox.faults.add(Fault("reset_after", "POST", CREATION, times=None))
    sandbox.faults.add(Fault("json_500", "GET", "members", times=None))
    result = create_members(client, LIST, people(30))
    assert set(outcomes(result).values()) == {"unknown"}


def test_somebody_who_was_there_before_is_not_taken_for_our_creation(sandbox, client):
    sandbox.add_member(LIST, "person0@example.com", "unsubscribed")
    sandbox.add_member(LIST, "person1@example.com", "archived")
    sandbox.faults.add(Fault("reset_after", "POST", CREATION))
    result = create_members(client, LIST, people(1))
    assert outcomes(result) == {"person0@example.com": "exists"}
    assert sandbox.status(LIST, "person0@example.com") == "unsubscribed"


def test_a_failure_before_anything_was_applied_is_raised(sandbox, client):
    with pytest.raises(errors.MailchimpNotFoundError):
        create_members(client, "0000000000", people(2))
    sandbox.faults.add(Fault("empty_429", "POST", CREATION, times=None))
    with pytest.raises(errors.MailchimpRateLimitError):
        create_members(client, LIST, people(2))
    assert sandbox.statuses(LIST) == {}


def test_an_address_that_the_answer_passes_over_is_not_counted_as_created(connect):
    silent = answer(200, {"new_members": [], "updated_members": [], "errors": [], "error_count": 0})
    missing = answer(404, {"title": "Resource Not Found", "status": 404, "detail": "x"})
    with exact_server(silent, missing) as server:
        result = create_members(connect(server.url), LIST, people(2))
    assert set(outcomes(result).values()) == {"unknown"}


def test_addresses_are_matched_whatever_their_case(connect):
    given = answer(
        200,
        {
            "new_members": [{"id": "a", "email_address": "jane@example.com", "status": "transactional"}],
            "errors": [{"email_address": "JOE@example.com", "error": "x", "error_code": "ERROR_GENERIC"}],
        },
    )
    with exact_server(given) as server:
        people = [member("Jane@Example.com"), member("joe@example.com")]
        result = create_members(connect(server.url), LIST, people)
        assert len(server.asked) == 1
        assert server.asked[0].json["update_existing"] is False
    assert outcomes(result) == {"jane@example.com": "created", "joe@example.com": "other"}


def test_a_field_error_names_its_field(sandbox, client):
    ensure_merge_fields(client, LIST, {"ORDERS": "number"})
    bad = member("bad@example.com", merge_fields={"ORDERS": "many"})
    result = create_members(client, LIST, [bad, member("good@example.com")])
    assert outcomes(result) == {"good@example.com": "created", "bad@example.com": "invalid"}
    assert "ORDERS" in result.rejected[0].detail


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ([member(f"p{n}@example.com") for n in range(501)], "501 members"),
        ([member("a@example.com", "archived")], "'archived'"),
        ([member("a@example.com", "cleaned")], "'cleaned'"),
        ([{"email_address": "a@example.com"}], "never created as None"),
        ([member("a@example.com"), member("A@Example.com")], "twice"),
        ([member("")], "no email_address"),
        ([member("a@example.com", tags=["VIP"])], "tags cannot be part"),
        ([member("a@example.com", status_if_new="subscribed")], "status_if_new cannot be part"),
    ],
)
def test_what_must_not_be_created_is_refused_before_anything_is_sent(connect, members, named):
    with exact_server() as server:
        with pytest.raises(errors.ForbiddenRequestError, match=named):
            create_members(connect(server.url), LIST, members)
        assert server.asked == []


def test_creating_nobody_sends_nothing(connect):
    with exact_server() as server:
        assert outcomes(create_members(connect(server.url), LIST, [])) == {}
        assert server.asked == []


def test_what_was_created_is_what_is_read(sandbox, client):
    for start in range(0, 1200, 400):
        create_members(client, LIST, people(1200)[start : start + 400])
    sandbox.add_member(LIST, "old@example.com", "archived")
    sandbox.journal.clear()
    read = read_members(client, LIST)
    assert read.complete
    assert dict(zip(read.rows["email"], read.rows["status"], strict=True)) == sandbox.statuses(LIST)
    assert all(entry.method == "GET" for entry in sandbox.journal.requests)
    assert len(sandbox.journal.requests) <= 2 * math.ceil(1201 / 1000) + 19
