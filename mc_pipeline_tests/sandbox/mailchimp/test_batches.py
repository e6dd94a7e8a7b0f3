"""Batches: later, in any order, results in a file that wants no key and does not stay for ever."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import timedelta
from typing import Any

import pytest
import requests

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.state import subscriber_hash
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST, client_of
from mc_pipeline_tests.sandbox.mailchimp.errors import refused


def patch(email: str, **body: Any) -> dict[str, str]:
    path = f"/lists/{LIST}/members/{subscriber_hash(email)}"
    return {"method": "PATCH", "path": path, "body": json.dumps(body), "operation_id": email}


def unpacked(content: bytes) -> list[list[dict[str, Any]]]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        files = [archive.extractfile(entry) for entry in archive if entry.isfile()]
        return [json.load(file) for file in files if file is not None]


def download(batch: dict[str, Any], **options: Any) -> requests.Response:
    return requests.get(batch["response_body_url"], timeout=10, **options)


def test_a_batch_is_carried_out_later_and_tells_each_outcome(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.pause_batches()
    people = [f"p{number}@example.org" for number in range(450)]
    for email in people:
        sandbox.add_member(LIST, email)
    operations = [patch(email, merge_fields={"FNAME": "New"}) for email in (*people, "stranger@example.org")]
    batch = client.batches.start({"operations": operations})
    assert (batch["status"], batch["response_body_url"]) == ("pending", "")
    assert client.lists.get_list_member(LIST, people[0])["merge_fields"]["FNAME"] == ""
    seen = [batch["status"]]
    while sandbox.step_batches(100):
        seen.append(client.batches.status(batch["id"])["status"])
    assert list(dict.fromkeys(seen)) == ["pending", "preprocessing", "started", "finalizing", "finished"]

    done = client.batches.status(batch["id"])
    assert (done["total_operations"], done["finished_operations"], done["errored_operations"]) == (
        451,
        451,
        1,
    )
    files = unpacked(download(done).content)
    assert len(files) == 3
    results = {each["operation_id"]: each for file in files for each in file}
    assert results.keys() == {operation["operation_id"] for operation in operations}
    assert list(results) != [operation["operation_id"] for operation in operations]
    assert json.loads(results[people[7]]["response"])["merge_fields"]["FNAME"] == "New"
    failed = results["stranger@example.org"]
    assert (failed["status_code"], json.loads(failed["response"])["title"]) == (404, "Resource Not Found")


def test_a_served_batch_goes_on_by_itself(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, "ada@example.org")
    batch = client.batches.start({"operations": [patch("ada@example.org", status="unsubscribed")]})
    for _ in range(10_000):
        if client.batches.status(batch["id"])["status"] == "finished":
            break
    assert sandbox.status(LIST, "ada@example.org") == "unsubscribed"


def test_operations_of_a_batch_are_in_the_journal_under_its_id(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.pause_batches()
    sandbox.add_member(LIST, "ada@example.org")
    batch = client.batches.start({"operations": [patch("ada@example.org", language="fr")]})
    sandbox.run_batches()
    (inner,) = [entry for entry in sandbox.journal.requests if entry.batch_id]
    assert inner.batch_id == batch["id"]
    assert (inner.method, inner.path) == (
        "PATCH",
        f"/3.0/lists/{LIST}/members/{subscriber_hash('ada@example.org')}",
    )
    assert (inner.body, inner.status, inner.account) == ({"language": "fr"}, 200, "main")


def test_the_results_want_no_key_and_exactly_their_link(sandbox: SandboxMailchimp, client: Any) -> None:
    batch = finished(sandbox, client)
    assert download(batch).status_code == 200
    with_key = download(batch, auth=("anyone", DEFAULT_KEY))
    assert (with_key.status_code, "Only one auth mechanism" in with_key.text) == (400, True)
    unquoted = requests.utils.unquote(batch["response_body_url"])
    assert requests.get(unquoted, timeout=10).status_code == 403


def test_a_link_is_good_for_ten_minutes_and_a_batch_for_seven_days(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    batch = finished(sandbox, client)
    sandbox.advance(timedelta(minutes=11))
    assert download(batch).status_code == 403
    again = client.batches.status(batch["id"])
    assert download(again).status_code == 200
    sandbox.advance(timedelta(days=8))
    with refused(404, "Resource Not Found"):
        client.batches.status(batch["id"])


def test_results_can_be_lost_while_the_batch_stays_finished(sandbox: SandboxMailchimp, client: Any) -> None:
    batch = finished(sandbox, client)
    sandbox.lose_batch_results(batch["id"])
    assert client.batches.status(batch["id"])["response_body_url"] == ""
    assert download(batch).status_code == 403


def test_a_deleted_batch_stops_and_tells_nothing(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.pause_batches()
    for number in range(10):
        sandbox.add_member(LIST, f"p{number}@example.org")
    batch = client.batches.start(
        {"operations": [patch(f"p{number}@example.org", language="fr") for number in range(10)]}
    )
    for _ in range(3):
        sandbox.step_batches(4)
    client.batches.delete_request(batch["id"])
    sandbox.run_batches()
    changed = [member for member in sandbox.audience(LIST).members.values() if member.language == "fr"]
    assert len(changed) == 4
    with refused(404):
        client.batches.status(batch["id"])


def test_five_hundred_unfinished_batches_are_the_limit(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.pause_batches()
    body = {"operations": [{"method": "GET", "path": "/ping"}]}
    with requests.Session() as session:
        session.auth = ("anyone", DEFAULT_KEY)
        codes = [
            session.post(f"{sandbox.api_url}/batches", json=body, timeout=10).status_code for _ in range(501)
        ]
    assert codes == [200] * 500 + [429]
    sandbox.run_batches()
    assert client.batches.start(body)["status"] == "pending"
    assert client.batches.list(count=1000)["total_items"] == 501


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({"path": "/ping"}, "operations.0.method"),
        ({"method": "GET"}, "operations.0.path"),
        ({"method": "PATCH", "path": "/ping", "body": {"status": "x"}}, "operations.0.body"),
        ({"method": "HEAD", "path": "/ping"}, "operations.0.method"),
    ],
)
def test_an_operation_of_the_wrong_shape_refuses_the_batch(
    sandbox: SandboxMailchimp, client: Any, operation: dict[str, Any], field: str
) -> None:
    with refused(400, "Invalid Resource") as documents:
        client.batches.start({"operations": [operation]})
    assert documents[0]["errors"][0]["field"] == field


def test_a_batch_of_one_account_is_none_of_anothers(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_account("e" * 32 + "-us2", account="other")
    batch = finished(sandbox, client)
    with refused(404):
        client_of(sandbox, "e" * 32 + "-us2").batches.status(batch["id"])


def finished(sandbox: SandboxMailchimp, client: Any) -> dict[str, Any]:
    sandbox.pause_batches()
    batch = client.batches.start({"operations": [{"method": "GET", "path": "/ping", "operation_id": "p"}]})
    sandbox.run_batches()
    done: dict[str, Any] = client.batches.status(batch["id"])
    return done
