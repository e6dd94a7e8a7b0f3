"""The stand-in against the API's contract; and the judge itself, which must be able to say no.

Every other test here is held against the contract too, see conftest.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.api import known_operations
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST, START
from mc_pipeline_tests.sandbox.mailchimp.contract import ApiContract


@pytest.fixture(scope="module")
def contract() -> ApiContract:
    return ApiContract.load()


def test_every_operation_of_the_stand_in_is_one_of_the_api(contract: ApiContract) -> None:
    assert known_operations() - contract.operations() == set()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_every_kind_of_write_is_judged_inside_batches_too(
    sandbox: SandboxMailchimp, client: Any, contract: ApiContract, method: str
) -> None:
    sandbox.pause_batches()
    sandbox.add_member(LIST, "ada@example.org")
    path = f"/lists/{LIST}/members" + ("" if method == "POST" else "/ada@example.org")
    body = {"email_address": "ada@example.org" if method == "PUT" else "new@example.org"}
    body |= {"POST": {"status": "transactional"}, "PUT": {"status_if_new": "transactional"}}.get(method, {})
    operation = {"method": method, "path": path}
    client.batches.start(
        {"operations": [operation if method in ("GET", "DELETE") else operation | {"body": json.dumps(body)}]}
    )
    sandbox.run_batches()
    (inner,) = [entry for entry in sandbox.journal.requests if entry.batch_id]
    assert inner.status in (200, 204)
    assert contract.check([inner]) == []
    assert contract.check([replace(inner, query_string="nonsense=1")]) == [
        f"{method} {inner.path}: the query parameter nonsense is unknown"
    ]


def taken(**about: Any) -> JournalEntry:
    """A request that was taken and answered as it should be, but for what ``about`` says."""
    member = {"id": "x", "email_address": "ada@example.org", "status": "subscribed"}
    entry = JournalEntry(
        number=1,
        at=START,
        method="POST",
        path=f"/3.0/lists/{LIST}/members",
        raw_body=json.dumps({"email_address": "ada@example.org", "status": "subscribed"}).encode(),
        status=200,
        raw_response=json.dumps(member).encode(),
        response_content_type="application/json; charset=utf-8",
    )
    for name, value in about.items():
        setattr(entry, name, value if isinstance(value, bytes | str | int) else json.dumps(value).encode())
    return entry


PROBLEM = {"type": "t", "title": "Resource Not Found", "status": 404, "detail": "d", "instance": "i"}


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"path": "/3.0/nothing"}, "the contract has no such operation"),
        ({"method": "PUT"}, "the contract has no such operation"),
        ({"status": 201}, "status 201 is not among"),
        ({"query_string": "nonsense=1"}, "the query parameter nonsense is unknown"),
        ({"query_string": "skip_merge_validation=True"}, "is no boolean"),
        ({"raw_body": b""}, "the body is missing"),
        ({"raw_body": {"status": "subscribed"}}, "'email_address' is a required property"),
        ({"raw_body": {"email_address": "a", "status": "archived"}}, "'archived' is not one of"),
        ({"raw_body": {"email_address": "a", "status": "pending", "colour": 1}}, "body: colour is unknown"),
        ({"raw_response": {"status": "gone"}}, "'gone' is not one of"),
        ({"raw_response": {"tags": [{"id": 1, "colour": 2}]}}, "answer: tags.colour is unknown"),
        ({"raw_response": {"vip": "yes"}}, "'yes' is not of type 'boolean'"),
        ({"response_content_type": "text/html"}, "the answer's content type is text/html"),
        ({"status": 404, "raw_response": {"title": "x"}}, "is a required property"),
        ({"status": 400, "raw_response": PROBLEM}, "it says 404, the answer was 400"),
        ({"status": 404, "raw_response": PROBLEM}, "its content type is application/json"),
    ],
)
def test_the_judge_says_no(contract: ApiContract, about: dict[str, Any], says: str) -> None:
    assert contract.check([taken()]) == []
    complaints = contract.check([taken(**about)])
    assert any(says in complaint for complaint in complaints), complaints
