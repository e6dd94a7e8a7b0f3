"""What is sent again, and what must not be, against a server that fails in exact ways."""

import threading

import pytest

from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.retry import RetryPolicy, may_be_resent
from mc_pipeline_tests.mailchimp.conftest import API_KEY
from mc_pipeline_tests.mailchimp.exact_server import HANG, RESET, answer, exact_server, problem

MEMBER = answer(200, {"id": "ab", "email_address": "jane@example.com", "status": "transactional"})
FAILURES = {
    "json 500": problem(500, "Internal Server Error"),
    "empty 503": answer(503, b"", None),
    "html 502": answer(502, "<html>Bad Gateway</html>", "text/html"),
    "reset": RESET,
    "empty 200": answer(200, b"", None),
    "cut json": answer(200, b'{"id": "a'),
    "html 200": answer(200, "<html>hello</html>", "text/html"),
}
REFUSALS_BEFORE_PROCESSING = {
    "empty 429": answer(429, b"", None),
    "json 429": problem(429, "Too Many Requests"),
    "html 429": answer(429, "<html>slow down</html>", "text/html"),
    "empty 403": answer(403, b"", None),
}


def create_tag(client):
    return client.lists.create_segment("1a2b", {"name": "VIP", "static_segment": []})


def create_members(client):
    return client.lists.batch_list_members("1a2b", {"members": [], "update_existing": False})


def rename(client):
    return client.lists.update_list_member("1a2b", "ab", {"email_address": "new@example.com"})


def subscribe(client):
    return client.lists.update_list_member("1a2b", "ab", {"status": "subscribed"})


def start_batch(client):
    return client.batches.start({"operations": [{"method": "GET", "path": "/ping"}]})


def read(client):
    return client.ping.get()


def update(client):
    return client.lists.update_list_member("1a2b", "ab", {"language": "de"})


def unsubscribe(client):
    return client.lists.update_list_member("1a2b", "ab", {"status": "unsubscribed"})


def archive(client):
    return client.lists.delete_list_member("1a2b", "ab")


def tag(client):
    return client.lists.update_list_member_tags("1a2b", "ab", {"tags": [{"name": "VIP", "status": "active"}]})


def change_segment(client):
    return client.lists.batch_segment_members({"members_to_add": ["jane@example.com"]}, "1a2b", "7")


REPEATABLE = [read, update, unsubscribe, archive, tag, change_segment]
NOT_REPEATABLE = [create_tag, create_members, rename, subscribe, start_batch]


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("call", REPEATABLE)
def test_what_ends_in_the_same_state_is_sent_again_after_any_failure(connect, pauses, call, failure):
    with exact_server(failure, failure, MEMBER) as server:
        assert call(connect(server.url))["id"] == "ab"
        assert len(server.asked) == 3
        assert server.asked[0].body == server.asked[2].body
    assert len(pauses) == 2


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("call", NOT_REPEATABLE)
def test_a_creation_of_unknown_outcome_is_not_sent_again(connect, pauses, call, failure):
    with exact_server(failure, MEMBER) as server:
        with pytest.raises(errors.MailchimpUnknownOutcomeError, match="read it back"):
            call(connect(server.url))
        assert len(server.asked) == 1
    assert pauses == []


@pytest.mark.parametrize("refusal", REFUSALS_BEFORE_PROCESSING.values(), ids=REFUSALS_BEFORE_PROCESSING)
@pytest.mark.parametrize("call", REPEATABLE + NOT_REPEATABLE)
def test_what_was_refused_before_processing_is_always_sent_again(connect, call, refusal):
    with exact_server(refusal, MEMBER) as server:
        assert call(connect(server.url))["id"] == "ab"
        assert len(server.asked) == 2


@pytest.mark.parametrize("call", [create_tag, update, read])
def test_a_write_that_is_never_answered_may_be_applied(connect, call):
    expected = errors.MailchimpServerError if call is read else errors.MailchimpUnknownOutcomeError
    with exact_server(HANG) as server, pytest.raises(expected, match="no answer in time"):
        call(connect(server.url, timeout=(5, 0.05), attempts=2))


@pytest.mark.parametrize("call", [create_tag, update])
def test_a_connection_that_was_never_made_is_tried_again_and_changes_nothing(connect, pauses, call):
    with exact_server() as server:
        url = server.url
    with pytest.raises(errors.MailchimpNotSentError) as caught:
        call(connect(url, attempts=3))
    assert caught.value.attempts == 3
    assert len(pauses) == 2


@pytest.mark.parametrize(
    "last",
    [
        answer(429, b"", None),
        answer(403, "<html>Access Denied</html>", "text/html"),
        problem(401, "API Key Invalid"),
        answer(500, b"", None),
    ],
    ids=["429", "blocked", "key", "500"],
)
def test_a_later_failure_does_not_hide_that_an_earlier_try_may_have_been_applied(connect, last):
    with exact_server(RESET, last) as server, pytest.raises(errors.MailchimpUnknownOutcomeError):
        update(connect(server.url, attempts=2))


def test_a_refusal_of_the_data_settles_what_an_earlier_try_left_open(connect):
    invalid = problem(400, "Invalid Resource", "Your merge fields were invalid.")
    with exact_server(RESET, invalid) as server, pytest.raises(errors.MailchimpInvalidError):
        update(connect(server.url))


@pytest.mark.parametrize(
    "refusal",
    [
        problem(400, "Invalid Resource", "x"),
        problem(401, "API Key Invalid"),
        problem(403, "Forbidden"),
        problem(404, "Resource Not Found"),
        answer(403, "<html>Access Denied</html>", "text/html"),
    ],
    ids=["400", "401", "403", "404", "blocked"],
)
def test_a_decided_refusal_is_not_tried_again(connect, pauses, refusal):
    with exact_server(refusal) as server:
        with pytest.raises(errors.MailchimpError):
            read(connect(server.url))
        assert len(server.asked) == 1
    assert pauses == []


def test_attempts_are_bounded_and_told(connect, pauses):
    with exact_server(answer(429, b"", None)) as server:
        with pytest.raises(errors.MailchimpRateLimitError, match="tried 4 times") as caught:
            read(connect(server.url, attempts=4))
        assert len(server.asked) == 4
    assert caught.value.attempts == 4
    assert len(pauses) == 3


def test_pauses_are_jittered_below_a_growing_bound(connect, pauses):
    with exact_server(answer(429, b"", None)) as server:
        policy = RetryPolicy(
            attempts=40, first_wait_seconds=1, longest_wait_seconds=8, total_seconds=9e9, sleep=pauses.sleep
        )
        with pytest.raises(errors.MailchimpRateLimitError):
            read(connect(server.url, retry=policy))
    bounds = [min(2**number, 8) for number in range(39)]
    assert all(0 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses)) > 30


def test_the_total_time_is_bounded(connect, pauses):
    with exact_server(answer(429, b"", None)) as server:
        policy = RetryPolicy(attempts=1000, first_wait_seconds=5, total_seconds=0, sleep=pauses.sleep)
        with pytest.raises(errors.MailchimpRateLimitError):
            read(connect(server.url, retry=policy))
        assert len(server.asked) == 1


def test_a_pause_that_the_answer_asks_for_is_kept_within_the_bound(connect, pauses):
    answers = [answer(429, b"", None, Retry_After="20"), answer(429, b"", None, Retry_After="9999")]
    with exact_server(*answers, MEMBER) as server:
        read(connect(server.url))
    assert pauses == [20, 60]


def test_stopping_ends_a_pause_and_the_retries(connect):
    with exact_server(answer(429, b"", None)) as server:
        client = MailchimpClient(
            "main", API_KEY, base_url=server.url, retry=RetryPolicy(first_wait_seconds=3600)
        )
        caught: list[BaseException] = []

        def call() -> None:
            try:
                read(client)
            except errors.MailchimpError as error:
                caught.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        assert server.arrived.acquire(timeout=10)
        client.stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert [type(error) for error in caught] == [errors.MailchimpNotSentError]
        assert len(server.asked) == 1


class InterruptedRunError(BaseException):
    """As Dagster's: no Exception."""


def test_an_interruption_during_a_pause_is_raised_as_it_is(connect):
    def interrupt(_: float) -> None:
        raise InterruptedRunError

    with exact_server(answer(429, b"", None)) as server:
        client = connect(server.url, max_connections=1, retry=RetryPolicy(sleep=interrupt))
        with pytest.raises(InterruptedRunError):
            read(client)
        assert len(server.asked) == 1


def test_no_connection_is_held_during_a_pause(connect):
    other_answers = []

    def use_the_only_connection(_: float) -> None:
        other_answers.append(other.ping.get())

    with exact_server(answer(429, b"", None), MEMBER) as server:
        policy = RetryPolicy(sleep=use_the_only_connection)
        other = client = connect(server.url, max_connections=1, retry=policy)
        read(client)
    assert len(other_answers) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/lists/1/members", None, True),
        ("DELETE", "/lists/1/members/ab", None, True),
        ("PUT", "/ecommerce/stores/s/customers/c", {"opt_in_status": False}, True),
        ("PATCH", "/lists/1/members/ab", {"merge_fields": {}}, True),
        ("PATCH", "/lists/1/members/ab", {"status": "unsubscribed"}, True),
        ("PATCH", "/lists/1/members/ab", {"status": "subscribed"}, False),
        ("PATCH", "/lists/1/members/ab", {"email_address": "new@example.com"}, False),
        ("POST", "/lists/1/members/ab/tags", {"tags": []}, True),
        ("POST", "/lists/1/segments/7", {}, True),
        ("POST", "/lists/1/members/ab/actions/delete-permanent", None, True),
        ("POST", "/lists/1", {"members": []}, False),
        ("POST", "/lists/1/segments", {"name": "VIP"}, False),
        ("POST", "/lists/1/merge-fields", {"tag": "X"}, False),
        ("POST", "/batches", {"operations": []}, False),
        ("POST", "/ecommerce/stores/s/orders", {"id": "1"}, False),
    ],
)
def test_which_requests_end_in_the_same_state_when_sent_twice(method, path, body, expected):
    assert may_be_resent(method, path, body) is expected
