"""Who sends half a request keeps nobody out, and nobody hides a second request in a first one."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.database import utc_now
from mc_pipeline.webhooks.connections import MOST_CONNECTIONS
from mc_pipeline.webhooks.hooks import Hook
from mc_pipeline.webhooks.receiver import receiver_app
from mc_pipeline_tests.webhooks.receiving import receiving
from mc_pipeline_tests.webhooks.signing import form

HOOK = Hook(company="acme", audience="retail", list_id="retail1", source="admin", path="a1" * 32)
FORM = "application/x-www-form-urlencoded"
HEAD = f"POST /{HOOK.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n"
LONG, SHORT = timedelta(hours=1), timedelta(milliseconds=300)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


@contextmanager
def served(ledger: Ledger, head_timeout: timedelta) -> Iterator[str]:
    with receiving(receiver_app([HOOK], ledger.inbox.keep, utc_now), head_timeout=head_timeout) as url:
        yield url


def connect(url: str, sent: str = "") -> socket.socket:
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    connection.sendall(sent.encode())
    return connection


def is_closed_by_the_receiver(connection: socket.socket) -> bool:
    """Wait until it is; a time-out of the test's own is an error."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answers_until_the_end(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_a_hundred_and_ten_half_heads_keep_no_delivery_out(ledger: Ledger) -> None:
    """They may stay as long as they like, while there is room; a delivery finds room at once."""
    with served(ledger, LONG) as url, ExitStack() as open_connections:
        halves = [
            open_connections.enter_context(connect(url, HEAD[:-20])) for _ in range(MOST_CONNECTIONS + 10)
        ]
        answer = requests.post(f"{url}/{HOOK.path}", data=form(), headers={"Content-Type": FORM}, timeout=20)
        assert answer.status_code == 200
        assert is_closed_by_the_receiver(halves[0]), "the oldest gave its place"
        halves[-1].sendall((HEAD[-20:] + "Content-Length: 0\r\n\r\n").encode())
        assert halves[-1].recv(12) == b"HTTP/1.1 404", "the newest is still served"
    assert ledger.inbox.count_waiting(["retail1"]) == 1


@pytest.mark.parametrize("sent", ["", "PO", HEAD, HEAD[:30]])
def test_a_head_that_is_not_complete_in_time_ends_the_connection(ledger: Ledger, sent: str) -> None:
    with served(ledger, SHORT) as url, connect(url, sent) as connection:
        assert is_closed_by_the_receiver(connection)


def test_bytes_that_come_one_by_one_win_no_time(ledger: Ledger) -> None:
    with served(ledger, SHORT) as url, connect(url, HEAD) as connection:
        connection.settimeout(0.02)
        for _ in range(1000):
            try:
                connection.sendall(b"X: y\r\n")
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        else:
            pytest.fail("20 seconds of a head were read")


def test_a_second_request_on_the_connection_has_its_own_time(ledger: Ledger) -> None:
    with served(ledger, SHORT) as url, connect(url, f"GET /{HOOK.path} HTTP/1.1\r\nHost: x\r\n\r\n") as again:
        assert again.recv(12) == b"HTTP/1.1 200"
        again.sendall(b"GET /half")
        answers_until_the_end(again)  # comes to its end


def test_the_rest_of_a_body_that_was_answered_already_holds_no_connection(ledger: Ledger) -> None:
    head = f"POST /nobody HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 60000\r\n\r\n"
    with served(ledger, SHORT) as url, connect(url, head) as connection:
        assert connection.recv(12) == b"HTTP/1.1 404"
        connection.sendall(b"x")
        answers_until_the_end(connection)


@pytest.mark.parametrize("path", [HOOK.path, "nobody"])
@pytest.mark.parametrize("first", ["Content-Length: 4\r\n", "content-length: 4\r\nX: y\r\n"])
def test_a_body_whose_length_is_reported_twice_is_refused_and_nothing_behind_it_is_read(
    ledger: Ledger, first: str, path: str
) -> None:
    body = form().decode()
    hidden = f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}"
    request = (
        f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n{first}"
        f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
    )
    with served(ledger, LONG) as url, connect(url, request) as connection:
        answer = answers_until_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert ledger.inbox.count_waiting(["retail1"]) == 0
