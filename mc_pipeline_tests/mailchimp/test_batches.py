"""Batch operations: submitted, waited for, and their results read by operation id alone."""

import gzip
import io
import json
import tarfile
from decimal import Decimal

import pytest

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.mailchimp import batches, errors
from mc_pipeline.mailchimp.batches import Operation, PollPolicy
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.mailchimp.conftest import API_KEY, LIST
from mc_pipeline_tests.mailchimp.exact_server import RESET, answer, exact_server, problem

HASH = subscriber_hash("jane@example.com")


def entry(operation_id, status_code=200, response=None):
    text = json.dumps(response) if response is not None else ""
    return {"operation_id": operation_id, "status_code": status_code, "response": text}


def archive(*files: list[dict] | bytes) -> bytes:
    """A gzipped tar of result files, with the folder entries that Mailchimp's archives have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number, content in enumerate(files):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(f"./{number}.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def batch(url: str = "", status: str = "finished", total: int = 1) -> bytes:
    document = {"id": "b1", "status": status, "total_operations": total, "finished_operations": total}
    return answer(200, document | {"errored_operations": 0, "response_body_url": url})


class Storage:
    """A Mailchimp with one finished batch whose results lie at another address."""

    def __init__(self, connect, *downloads, total=1):
        self.downloads = [
            answer(200, given, "application/gzip") if given[:2] == b"\x1f\x8b" else given
            for given in downloads
        ]
        self.total = total
        self.connect = connect

    def results(self, expected=(), **arguments):
        with exact_server(*self.downloads) as storage:
            signed = storage.url + "/results/b1.tar.gz?Signature=a%2Bb%2F%3D&Expires=1"
            with exact_server(batch(signed, total=self.total)) as mailchimp:
                try:
                    return batches.results(self.connect(mailchimp.url, **arguments), "b1", expected)
                finally:
                    self.asked = storage.asked
                    self.asked_mailchimp = mailchimp.asked


def submit_and_run(sandbox, client, operations: list[Operation]) -> str:
    sandbox.pause_batches()
    batch_id = batches.submit(client, operations)
    sandbox.run_batches()
    return batch_id


def test_operations_are_carried_out_and_matched_by_their_id_alone(sandbox, client):
    for name in ("jane", "joe", "left"):
        sandbox.add_member(LIST, f"{name}@example.com", "transactional")
    operations = [
        batches.member_update_operation("u1", LIST, HASH, merge_fields={"FNAME": "Jane"}, language="de"),
        batches.unsubscribe_operation("n1", LIST, subscriber_hash("left@example.com")),
        batches.archive_operation("a1", LIST, subscriber_hash("joe@example.com")),
        batches.archive_operation("a2", LIST, subscriber_hash("nobody@example.com")),
        batches.member_tags_operation("t1", LIST, HASH, active=["VIP"], is_syncing=True),
    ]
    batch_id = submit_and_run(sandbox, client, operations)
    assert batches.wait(client, batch_id).total == 5
    found = batches.results(client, batch_id, [operation.operation_id for operation in operations])
    assert found.missing == ()
    assert found["u1"].ok
    assert found["u1"].response["merge_fields"]["FNAME"] == "Jane"
    assert found["n1"].response["status"] == "unsubscribed"
    assert (found["a1"].status_code, found["a1"].response) == (204, None)
    assert isinstance(found["a2"].error, errors.MailchimpNotFoundError)
    assert (found["t1"].ok, found["t1"].error) == (True, None)
    assert sandbox.status(LIST, "joe@example.com") == "archived"
    assert sandbox.tags(LIST, "jane@example.com") == ["VIP"]


def test_a_refused_operation_is_the_same_typed_error_as_a_refused_call(sandbox, client):
    sandbox.add_member(LIST, "jane@example.com", "subscribed")
    sandbox.add_member(LIST, "joe@example.com", "subscribed")
    renaming = batches.member_update_operation("s1", LIST, HASH, email_address="joe@example.com")
    batch_id = submit_and_run(sandbox, client, [renaming])
    error = batches.results(client, batch_id)["s1"].error
    assert isinstance(error, errors.MailchimpMemberExistsError)
    assert error.kind == "exists"
    assert "joe@" not in str(error)


def test_the_body_of_an_operation_is_json_text_and_parameters_are_written_for_mailchimp(connect):
    with exact_server(answer(200, {"id": "b1", "status": "pending"})) as server:
        operation = batches.member_update_operation(
            "u1", LIST, HASH, merge_fields={"SPENT": Decimal("9.50")}, skip_merge_validation=True
        )
        opt_out = batches.unsubscribe_operation("s1", LIST, HASH)
        assert batches.submit(connect(server.url), [operation, opt_out]) == "b1"
        sent, unsubscribed = server.asked[0].json["operations"]
    assert sent["path"] == f"/lists/{LIST}/members/{HASH}"
    assert sent["params"] == {"skip_merge_validation": "true"}
    assert json.loads(sent["body"]) == {"merge_fields": {"SPENT": 9.5}}
    assert json.loads(unsubscribed["body"]) == {"status": "unsubscribed"}
    # A required merge field that is empty holds no opt-out up.
    assert unsubscribed["params"] == {"skip_merge_validation": "true"}


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [Operation(str(number), "GET", "/ping") for number in range(501)],
        [Operation("1", "GET", "/ping"), Operation("1", "GET", "/ping")],
        [Operation("", "GET", "/ping")],
        [Operation("1", "PUT", f"/lists/{LIST}/members/{HASH}", body={"status": "subscribed"})],
        [Operation("1", "POST", f"/lists/{LIST}", body={"members": [], "update_existing": True})],
    ],
    ids=["none", "501", "id twice", "no id", "put", "update existing"],
)
def test_a_batch_that_must_not_be_is_refused_before_anything_is_sent(connect, operations):
    with exact_server() as server:
        with pytest.raises(errors.ForbiddenRequestError):
            batches.submit(connect(server.url), operations)
        assert server.asked == []


def test_a_batch_whose_submission_was_not_answered_is_not_submitted_again(connect):
    with exact_server(RESET, answer(200, {"id": "b1"})) as server:
        with pytest.raises(errors.MailchimpUnknownOutcomeError):
            batches.submit(connect(server.url), [Operation("1", "GET", "/ping")])
        assert len(server.asked) == 1


def test_a_full_queue_of_batches_is_waited_for(connect):
    with exact_server(problem(429, "Too Many Requests", "500 pending"), answer(200, {"id": "b1"})) as server:
        assert batches.submit(connect(server.url), [Operation("1", "GET", "/ping")]) == "b1"


def test_pauses_between_questions_double_up_to_a_bound(connect, pauses):
    with exact_server(*[batch(status="started")] * 6, batch()) as server:
        policy = PollPolicy(first_wait_seconds=1, longest_wait_seconds=8, total_seconds=100)
        assert batches.wait(connect(server.url), "b1", policy).is_finished
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_waiting_is_bounded_and_the_batch_can_be_asked_for_again(connect, pauses):
    with exact_server(batch(status="started")) as server:
        policy = PollPolicy(first_wait_seconds=1, longest_wait_seconds=8, total_seconds=10)
        with pytest.raises(batches.BatchUnfinishedError, match="later"):
            batches.wait(connect(server.url), "b1", policy)
    assert sum(pauses) <= 10


def test_waiting_ends_when_the_client_is_stopped(connect, pauses):
    with exact_server(batch(status="started")) as server:
        client = connect(server.url)
        client.stop.set()
        with pytest.raises(errors.MailchimpNotSentError):
            batches.wait(client, "b1")
    assert pauses == []


def test_a_batch_that_mailchimp_forgot_is_lost(connect):
    with exact_server(problem(404, "Resource Not Found")) as server:
        client = connect(server.url)
        for ask in (batches.status, batches.wait, batches.results):
            with pytest.raises(errors.BatchLostError, match="Read back"):
                ask(client, "b1")


def test_a_finished_batch_without_address_of_its_results_is_lost_after_some_tries(sandbox, client, pauses):
    sandbox.add_member(LIST, "jane@example.com", "transactional")
    batch_id = submit_and_run(sandbox, client, [batches.unsubscribe_operation("n1", LIST, HASH)])
    sandbox.lose_batch_results(batch_id)
    with pytest.raises(errors.BatchLostError, match="response_body_url"):
        batches.results(client, batch_id)
    assert len(pauses) == 3


def test_an_address_that_comes_a_little_later_is_used(connect):
    given = answer(200, archive([entry("1")]), "application/gzip")
    with exact_server(given) as storage, exact_server(batch(""), lambda _: batch(storage.url)) as mailchimp:
        assert batches.results(connect(mailchimp.url), "b1")["1"].ok
        assert len(mailchimp.asked) == 2


def test_results_of_an_unfinished_batch_are_not_asked_for(connect):
    unfinished = batch("http://127.0.0.1:1/x", "finalizing")
    with exact_server(unfinished) as server, pytest.raises(batches.BatchUnfinishedError):
        batches.results(connect(server.url), "b1")


def test_the_signed_address_is_used_as_it_is_without_any_credentials(connect, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    storage = Storage(connect, archive([entry("1")]))
    assert storage.results()["1"].ok
    assert storage.asked[0].target == "/results/b1.tar.gz?Signature=a%2Bb%2F%3D&Expires=1"
    assert "Authorization" not in storage.asked[0].headers
    assert API_KEY not in str(storage.asked[0].headers)


def test_every_file_is_read_in_whatever_order(connect):
    files = [[entry("3"), entry("1", 404, {"title": "Resource Not Found", "status": 404})], [entry("2", 204)]]
    found = Storage(connect, archive(*files), total=3).results(["1", "2", "3"])
    assert {key: result.status_code for key, result in found.items()} == {"1": 404, "2": 204, "3": 200}
    assert found.missing == ()


def test_operations_without_a_result_are_named(connect):
    storage = Storage(connect, archive([entry("1")]), total=3)
    found = storage.results(["1", "2", "3"], attempts=2)
    assert found.missing == ("2", "3")
    assert list(found) == ["1"]


@pytest.mark.parametrize(
    "broken",
    [
        archive([entry(str(n), 200, {"x": "y" * 50 + str(n)}) for n in range(2)])[:-60],
        answer(200, b"", "application/gzip"),
        answer(200, b"<html>oops</html>", "text/html"),
        answer(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml"),
        answer(404, b"", None),
        answer(503, b"", None),
        RESET,
        archive(b'[{"operation_id": "1"'),
        answer(200, archive([entry("1")]), "application/gzip").replace(b"Length: ", b"Length: 9"),
    ],
    ids=["cut archive", "empty", "html", "expired", "404", "503", "reset", "cut json", "cut bytes"],
)
def test_a_broken_download_is_repeated_with_a_fresh_address(connect, broken):
    if isinstance(broken, bytes):
        broken = broken.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    storage = Storage(connect, broken, archive([entry("1"), entry("2")]), total=2)
    assert set(storage.results(["1", "2"])) == {"1", "2"}
    assert len(storage.asked) == 2
    assert [asked.path for asked in storage.asked_mailchimp] == ["/batches/b1", "/batches/b1"]


def test_results_that_stay_broken_are_lost(connect):
    storage = Storage(connect, answer(403, b"", None))
    with pytest.raises(errors.BatchLostError, match="403"):
        storage.results(attempts=3)
    assert len(storage.asked) == 3


def test_an_archive_that_the_way_declares_as_content_encoding_is_read_too(connect):
    plain_tar = gzip.decompress(archive([entry("1")]))
    given = answer(200, gzip.compress(plain_tar), "application/x-tar", Content_Encoding="gzip")
    assert Storage(connect, given).results()["1"].ok


@pytest.mark.parametrize("response", ["", "{}", "null", "not json", None, "[]"])
def test_an_operation_without_a_readable_body_has_none(connect, response):
    storage = Storage(connect, archive([{"operation_id": "1", "status_code": 204, "response": response}]))
    result = storage.results()["1"]
    assert (result.ok, result.response, result.error) == (True, None, None)


def test_an_operation_that_failed_without_a_document_is_an_error(connect):
    found = Storage(connect, archive([entry("1", 500), entry("2", 429)]), total=2).results()
    assert isinstance(found["1"].error, errors.MailchimpServerError)
    assert isinstance(found["2"].error, errors.MailchimpRateLimitError)


@pytest.mark.parametrize("bad", ["", "a/b"])
def test_an_operation_for_an_id_that_changes_the_route_is_refused(bad):
    with pytest.raises(ValueError, match="no '/'"):
        batches.archive_operation("1", LIST, bad)


@pytest.mark.parametrize("kind", ["json_500", "cut_off", "empty_429", "html_503"])
def test_questions_about_a_batch_get_through_trouble(sandbox, client, kind):
    sandbox.add_member(LIST, "jane@example.com", "transactional")
    batch_id = submit_and_run(sandbox, client, [batches.unsubscribe_operation("n1", LIST, HASH)])
    sandbox.faults.add(Fault(kind, "GET", "batches", times=2))
    assert batches.results(client, batch_id, ["n1"])["n1"].ok
