"""Credentials, the ten connections of a user, faults as the official client meets them, a large load."""

from __future__ import annotations

import threading
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import mailchimp_marketing
import psutil
import pytest
import requests
from mailchimp_marketing.api_client import ApiClientError

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST
from mc_pipeline_tests.sandbox.mailchimp.errors import refused


def test_any_user_name_with_a_key_and_a_bearer_token_are_let_in(sandbox: SandboxMailchimp) -> None:
    url = f"{sandbox.api_url}/ping"
    for user in ("user", "anystring", ""):
        assert requests.get(url, auth=(user, DEFAULT_KEY), timeout=10).ok
    assert requests.get(url, headers={"Authorization": f"Bearer {DEFAULT_KEY}"}, timeout=10).ok
    token = mailchimp_marketing.Client({"access_token": DEFAULT_KEY, "server": "us1"})
    token.api_client.host = sandbox.api_url
    assert token.ping.get() == {"health_status": "Everything's Chimpy!"}


def test_answers_carry_the_time_of_the_stand_ins_own_clock(sandbox: SandboxMailchimp) -> None:
    sandbox.advance(timedelta(hours=3))
    answer = requests.get(f"{sandbox.api_url}/ping", auth=("user", DEFAULT_KEY), timeout=10)
    assert parsedate_to_datetime(answer.headers["Date"]) == sandbox.state.clock()


@pytest.mark.parametrize(
    "header", [None, "Basic ???", "Basic dXNlcjp3cm9uZw==", "Bearer wrong", "Digest x", "Basic"]
)
def test_somebody_who_has_no_key_is_refused(sandbox: SandboxMailchimp, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    answer = requests.get(f"{sandbox.api_url}/ping", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["title"]) == (401, "API Key Invalid")
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert not sandbox.journal.requests[0].applied


def test_unknown_paths_methods_and_bodies(sandbox: SandboxMailchimp) -> None:
    def ask(method: str, path: str, **options: Any) -> tuple[int, str]:
        answer = requests.request(
            method, sandbox.api_url + path, auth=("u", DEFAULT_KEY), timeout=10, **options
        )
        return answer.status_code, answer.json()["title"]

    assert ask("GET", "/nothing") == (404, "Resource Not Found")
    assert ask("GET", f"/lists/{LIST}/members/a/b/c") == (404, "Resource Not Found")
    assert ask("PUT", f"/lists/{LIST}") == (405, "Method Not Allowed")
    assert ask("POST", f"/lists/{LIST}", data="{not json") == (400, "JSON Parse Error")
    assert ask("POST", f"/lists/{LIST}", data='{"members": [{"location": {"latitude": NaN}}]}') == (
        400,
        "JSON Parse Error",
    )
    assert ask("POST", f"/lists/{LIST}", data="null") == (400, "Invalid Resource")
    assert ask("POST", f"/lists/{LIST}", data="[]") == (400, "Invalid Resource")


def test_one_user_has_ten_connections_over_all_keys(sandbox: SandboxMailchimp) -> None:
    second, stranger = "b" * 32 + "-us1", "c" * 32 + "-us1"
    sandbox.add_account(second, account="main")
    sandbox.add_account(stranger, account="main", user="somebody else")
    sandbox.faults.add(Fault("slow", seconds=0.6, times=None))
    together = threading.Barrier(14)
    codes: dict[str, list[tuple[int, bool]]] = {"owner": [], "somebody else": []}

    def ask(user: str, key: str) -> None:
        together.wait()
        answer = requests.get(f"{sandbox.api_url}/ping", auth=("u", key), timeout=30)
        codes[user].append((answer.status_code, bool(answer.content)))

    callers = [("owner", DEFAULT_KEY)] * 6 + [("owner", second)] * 6 + [("somebody else", stranger)] * 2
    threads = [threading.Thread(target=ask, args=caller) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes["owner"]) == [(200, True)] * 10 + [(429, False), (429, True)]
    assert codes["somebody else"] == [(200, True)] * 2
    refused_entries = [entry for entry in sandbox.journal.requests if entry.status == 429]
    assert {(entry.fault, entry.applied) for entry in refused_entries} == {("too_many_connections", False)}


def test_a_client_that_gave_up_still_holds_its_connection(sandbox: SandboxMailchimp) -> None:
    patience = "d" * 32 + "-us1"
    sandbox.add_account(patience, user="without patience")
    sandbox.faults.add(Fault("slow_after", seconds=20, times=10))
    gave_up = []

    def ask() -> None:
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(f"{sandbox.api_url}/ping", auth=("u", patience), timeout=(5, 0.3))
        gave_up.append(1)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gave_up) == 10
    url = f"{sandbox.api_url}/ping"
    assert requests.get(url, auth=("u", patience), timeout=10).status_code == 429
    assert requests.get(url, auth=("u", DEFAULT_KEY), timeout=10).status_code == 200


NEW = {"members": [{"email_address": "ada@example.org", "status": "transactional"}]}


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("reset_before", False), ("reset_after", True), ("cut_off", True), ("slow_after", True)],
)
def test_a_write_whose_answer_never_came_may_have_been_carried_out(
    sandbox: SandboxMailchimp, kind: Any, applied: bool
) -> None:
    sandbox.add_account("9" * 32 + "-us1", user="unlucky")
    client = mailchimp_marketing.Client({"api_key": "9" * 32 + "-us1", "timeout": 0.5})
    client.api_client.host = sandbox.api_url
    sandbox.faults.add(Fault(kind, "POST", f"/lists/{LIST}$", seconds=2))
    with pytest.raises(ApiClientError) as caught:
        client.lists.batch_list_members(LIST, NEW)
    assert caught.value.status_code is None
    assert (sandbox.status(LIST, "ada@example.org") is not None) == applied


@pytest.mark.parametrize(
    ("kind", "status"), [("empty_429", 429), ("empty_500", 500), ("truncated", 200), ("empty_200", 200)]
)
def test_the_official_client_takes_empty_and_broken_answers_for_no_error(
    sandbox: SandboxMailchimp, client: Any, kind: Any, status: int
) -> None:
    sandbox.faults.add(Fault(kind))
    answer = client.lists.batch_list_members(LIST, NEW)
    assert isinstance(answer, requests.Response)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("json_500", 500, "Internal Server Error"),
        ("json_429", 429, "Too Many Requests"),
        ("html_502", 502, "Bad Gateway"),
        ("html_503", 503, "Service Unavailable"),
        ("html_403", 403, "Access Denied"),
    ],
)
def test_errors_come_as_problem_documents_or_pages(
    sandbox: SandboxMailchimp, client: Any, kind: Any, status: int, text: str
) -> None:
    sandbox.faults.add(Fault(kind))
    with pytest.raises(ApiClientError) as caught:
        client.lists.batch_list_members(LIST, NEW)
    assert caught.value.status_code == status
    assert text in str(caught.value.text)
    assert sandbox.statuses(LIST) == {}


def test_the_state_can_be_kept_and_brought_back(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, "ada@example.org", tags=["VIP"])
    kept = sandbox.snapshot()
    client.lists.update_list_member(LIST, "ada@example.org", {"status": "unsubscribed", "language": "fr"})
    client.lists.create_segment(LIST, {"name": "More", "static_segment": ["ada@example.org"]})
    sandbox.restore(kept)
    member = client.lists.get_list_member(LIST, "ada@example.org")
    assert (member["status"], member["language"]) == ("subscribed", "")
    assert [tag["name"] for tag in member["tags"]] == ["VIP"]
    assert client.lists.get_list_members_info(LIST)["total_items"] == 1


def test_a_large_audience_is_created_and_read_back_in_few_calls_and_little_memory(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.journal.keep_responses = False
    before = psutil.Process().memory_info().rss
    total = 20_000
    try:
        for start in range(0, total, 500):
            people = [
                {"email_address": f"p{number}@example.org", "status": "transactional"}
                for number in range(start, start + 500)
            ]
            client.lists.batch_list_members(LIST, {"members": people})
        found: set[str] = set()
        for offset in range(0, total, 1000):
            page = client.lists.get_list_members_info(
                LIST, count=1000, offset=offset, fields=["members.id", "total_items"]
            )
            found |= {member["id"] for member in page["members"]}
    finally:
        sandbox.journal.keep_responses = True
        sandbox.journal.clear()
    assert len(found) == page["total_items"] == total
    assert (psutil.Process().memory_info().rss - before) / total < 5_000


def test_errors_name_the_method_that_would_do(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, "ada@example.org", "cleaned")
    answer = requests.delete(
        f"{sandbox.api_url}/lists/{LIST}/members/ada@example.org", auth=("u", DEFAULT_KEY), timeout=10
    )
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT")
    with refused(404):
        client.lists.get_list_member(LIST, "stranger@example.org")
