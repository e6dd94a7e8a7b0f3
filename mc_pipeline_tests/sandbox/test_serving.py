"""The layers around every stand-in: each kind of trouble as a real HTTP client meets it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from requests.adapters import HTTPAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from urllib3.util import Retry

from mc_pipeline.sandbox.faults import Fault, Faults, Latency
from mc_pipeline.sandbox.journal import Journal
from mc_pipeline.sandbox.serving import JournalLayer, TroubleLayer, control_routes, serve


@dataclass
class Counting:
    """A server that counts what it carried out."""

    url: str
    journal: Journal
    faults: Faults
    latency: Latency
    carried_out: list[str]


@pytest.fixture
def counting() -> Iterator[Counting]:
    carried_out: list[str] = []

    async def count(request: Request) -> Response:
        carried_out.append(request.url.path)
        return JSONResponse({"count": len(carried_out), "body": (await request.body()).decode()})

    journal, faults, latency = Journal(), Faults(), Latency()
    inner = Starlette(routes=[Route("/count/{name}", count, methods=["GET", "POST"])])

    def watches(path: str) -> bool:
        return path.startswith("/count")

    app = Starlette(routes=control_routes(journal, faults, latency))
    app.mount(
        "/", JournalLayer(TroubleLayer(inner, faults, latency, watches=watches), journal, watches=watches)
    )
    with serve(app) as url:
        yield Counting(url, journal, faults, latency, carried_out)


BROKEN = requests.exceptions.ConnectionError


@pytest.mark.parametrize(("kind", "carried_out"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_connection_gives_no_answer(counting: Counting, kind: str, carried_out: int) -> None:
    counting.faults.add(Fault(kind))
    with pytest.raises(BROKEN):
        requests.post(f"{counting.url}/count/a", data="x")
    assert len(counting.carried_out) == carried_out
    (entry,) = counting.journal.requests
    assert (entry.status, entry.fault, entry.applied) == (None, kind, bool(carried_out))


def test_a_cut_off_answer_breaks_in_the_middle_of_the_body(counting: Counting) -> None:
    counting.faults.add(Fault("cut_off"))
    with pytest.raises((BROKEN, requests.exceptions.ChunkedEncodingError)):
        requests.get(f"{counting.url}/count/a")
    assert len(counting.carried_out) == 1


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "carried_out"),
    [
        ("empty_429", 429, None, 0),
        ("json_429", 429, "application/json", 0),
        ("empty_500", 500, None, 0),
        ("json_500", 500, "application/json", 0),
        ("html_502", 502, "text/html", 0),
        ("html_503", 503, "text/html", 0),
        ("html_504", 504, "text/html", 0),
        ("html_403", 403, "text/html", 0),
        ("empty_200", 200, None, 1),
        ("wrong_content_type", 200, "text/html; charset=utf-8", 1),
    ],
)
def test_a_wrong_answer_has_its_status_and_kind(
    counting: Counting, kind: str, status: int, content_type: str | None, carried_out: int
) -> None:
    counting.faults.add(Fault(kind))
    answer = requests.post(f"{counting.url}/count/a", data="x")
    assert (answer.status_code, answer.headers.get("content-type")) == (status, content_type)
    assert (answer.content == b"") == kind.startswith("empty_")
    assert len(counting.carried_out) == carried_out


def test_an_error_can_come_after_the_request_was_carried_out(counting: Counting) -> None:
    counting.faults.add(Fault("html_502", after_applying=True))
    assert requests.post(f"{counting.url}/count/a", data="x").status_code == 502
    assert len(counting.carried_out) == 1
    assert counting.journal.requests[0].applied


def test_a_truncated_answer_is_no_json(counting: Counting) -> None:
    counting.faults.add(Fault("truncated"))
    answer = requests.get(f"{counting.url}/count/a")
    with pytest.raises(ValueError):
        answer.json()
    assert answer.content


def test_a_slow_answer_outlasts_the_clients_patience(counting: Counting) -> None:
    counting.faults.add(Fault("slow_after", seconds=30))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{counting.url}/count/a", data="x", timeout=0.2)
    assert len(counting.carried_out) == 1
    counting.faults.clear()


def test_a_restarting_server_drops_all_connections_and_refuses_new_ones_until_it_is_back(
    counting: Counting,
) -> None:
    address = f"{counting.url}/count/a"
    with requests.Session() as idle, requests.Session() as asking:
        assert idle.get(address).json()["count"] == 1
        counting.faults.add(Fault("restarted", seconds=30))
        with pytest.raises(BROKEN):
            asking.post(address, data="x")
        with pytest.raises(BROKEN, match="refused"):
            requests.get(address)
        with pytest.raises(BROKEN, match="refused"):
            idle.get(address)
        counting.faults.clear()
        back = Retry(total=None, connect=200, backoff_factor=0.01, backoff_max=0.01)
        asking.mount("http://", HTTPAdapter(max_retries=back))
        assert asking.get(address).json()["count"] == 2


def test_trouble_that_only_another_system_has_cannot_be_had(counting: Counting) -> None:
    counting.faults.add(Fault("database_gone"))
    assert requests.get(f"{counting.url}/count/a").status_code == 500
    assert counting.carried_out == []


def test_a_fault_meets_only_the_requests_it_names(counting: Counting) -> None:
    counting.faults.add(
        Fault("json_500", "POST", r"/count/b\?page=2$", times=2, skip=1, match_body_regex="needle")
    )
    statuses = [
        requests.request(method, f"{counting.url}/count/{path}", data=body).status_code
        for method, path, body in [
            ("GET", "b?page=2", "needle"),
            ("POST", "a?page=2", "needle"),
            ("POST", "b?page=3", "needle"),
            ("POST", "b?page=2", "hay"),
            ("POST", "b?page=2", "needle"),
            ("POST", "b?page=2", "needle"),
            ("POST", "b?page=2", "needle"),
            ("POST", "b?page=2", "needle"),
        ]
    ]
    assert statuses == [200, 200, 200, 200, 200, 500, 500, 200]


def test_latency_passes_requests_side_by_side(counting: Counting) -> None:
    counting.latency.seconds = 0.05
    arrived = threading.Barrier(4)

    def ask() -> None:
        arrived.wait()
        requests.get(f"{counting.url}/count/a")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counting.carried_out) == 4


def test_another_process_reads_the_journal_and_arranges_trouble(counting: Counting) -> None:
    control = f"{counting.url}/_sandbox"
    assert requests.post(f"{control}/faults", json={"kind": "json_500"}).status_code == 204
    assert requests.post(f"{control}/latency", json={"seconds": 0.001}).status_code == 204
    requests.post(f"{counting.url}/count/a?x=1", json={"name": "Zoë"})
    requests.get(f"{counting.url}/count/b")
    first, second = requests.get(f"{control}/journal").json()["entries"]
    assert (first["status"], first["body"], first["query"]) == (500, {"name": "Zoë"}, {"x": "1"})
    assert (second["status"], second["method"], second["path"]) == (200, "GET", "/count/b")
    assert requests.get(f"{control}/journal?since=1").json()["entries"] == [second]
    assert requests.delete(f"{control}/journal").status_code == 204
    assert requests.get(f"{control}/journal").json() == {"last_number": 2, "entries": []}


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("faults", {"kind": "fire"}, "fault kind 'fire' is unknown"),
        ("faults", {"sort": "json_500"}, "unknown keys ['sort']"),
        ("faults", {}, "needs a kind"),
        ("latency", {"seconds": -1}, "between 0 and 600"),
        ("latency", {}, 'send {"seconds": 0.2}'),
    ],
)
def test_wrong_control_requests_say_what_to_send(
    counting: Counting, path: str, body: dict[str, object], says: str
) -> None:
    answer = requests.post(f"{counting.url}/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_bodies_are_kept_as_they_came(counting: Counting) -> None:
    for body in (b'{"a": 1}', b"not json", b""):
        requests.post(f"{counting.url}/count/a", data=body)
    assert [entry.body for entry in counting.journal.requests] == [{"a": 1}, "not json", None]
    assert [entry.raw_response for entry in counting.journal.requests] == [None, None, None]


def test_answers_are_kept_on_request(counting: Counting) -> None:
    counting.journal.keep_responses = True
    requests.post(f"{counting.url}/count/a", data="x")
    (entry,) = counting.journal.requests
    assert entry.response == {"count": 1, "body": "x"}


def test_two_stand_ins_run_side_by_side() -> None:
    numbers = itertools.count(1)

    def app() -> Starlette:
        number = next(numbers)
        return Starlette(routes=[Route("/", lambda request: JSONResponse(number))])

    with serve(app()) as first, serve(app()) as second:
        assert [requests.get(url).json() for url in (first, second)] == [1, 2]
