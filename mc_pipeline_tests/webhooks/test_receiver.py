"""What reaches the inbox over HTTP, what does not, and how little an answer tells."""

import logging
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_pipeline.ledger import InboxDelivery, Ledger, LedgerUnavailableError
from mc_pipeline.ledger.database import utc_now
from mc_pipeline.webhooks.hooks import Hook
from mc_pipeline.webhooks.receiver import MAXIMUM_BODY, receiver_app
from mc_pipeline_tests.webhooks.receiving import receiving
from mc_pipeline_tests.webhooks.signing import form, signature

SIGNED = Hook(
    company="acme",
    audience="retail",
    list_id="retail1",
    source="user",
    path="5e" * 32,
    signing_secrets=("s3cret", "older"),
)
UNSIGNED = Hook(company="acme", audience="retail", list_id="retail1", source="admin", path="a1" * 32)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Receiver:
    """A running receiver and its ledger."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.url, self.ledger = url, ledger

    def post(self, body: bytes, hook: Hook = UNSIGNED, **headers: str) -> requests.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(f"{self.url}/{hook.path}", data=body, headers=FORM | given, timeout=10)

    def post_signed(self, body: bytes, secret: str = "s3cret", at: int = 0) -> requests.Response:
        return self.post(body, SIGNED, X_Mailchimp_Signature=signature(secret, at or int(time.time()), body))

    @property
    def kept(self) -> int:
        return self.ledger.inbox.count_waiting(["retail1"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    path = tmp_path_factory.mktemp("receiver") / "ledger.db"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        app = receiver_app(
            [SIGNED, UNSIGNED], ledger.inbox.keep, utc_now, body_timeout=timedelta(milliseconds=300)
        )
        with receiving(app) as url:
            yield Receiver(url, ledger)


@pytest.fixture
def receiver(served: Receiver) -> Receiver:
    """The module's receiver with an empty inbox."""
    served.ledger.erasures.forget("ada@example.org", "erased:1")
    assert served.kept == 0
    return served


def answered(answer: requests.Response) -> tuple[int, bytes, dict[str, str]]:
    """All that an answer tells whoever asked, but the time."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    headers.pop("date")
    headers.pop("connection", None)
    return answer.status_code, answer.content, headers


def test_a_signed_delivery_is_kept_with_its_source_and_its_time(receiver: Receiver) -> None:
    answer = receiver.post_signed(form())
    assert answered(answer) == (200, b"", {"content-length": "0"})
    (kept,) = receiver.ledger.inbox.waiting(["retail1"])
    assert (kept.source, kept.type, kept.email, kept.action) == (
        "user",
        "unsubscribe",
        "ada@example.org",
        "unsub",
    )
    assert kept.fired_at_raw == "2026-03-02 09:00:00"
    assert utc_now() - kept.received_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    "answered", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01 00:00:00", ""]
)
def test_a_signed_delivery_with_a_time_that_is_none_is_kept_without_one(
    receiver: Receiver, answered: str
) -> None:
    assert receiver.post_signed(form(fired_at=answered)).status_code == 200
    (kept,) = receiver.ledger.inbox.waiting(["retail1"])
    assert (kept.fired_at, kept.fired_at_raw) == (None, answered)


def test_each_of_several_secrets_is_good(receiver: Receiver) -> None:
    assert receiver.post_signed(form(), secret="older").status_code == 200
    assert receiver.kept == 1


def test_a_webhook_without_a_secret_needs_no_signature(receiver: Receiver) -> None:
    assert receiver.post(form()).status_code == 200
    assert receiver.ledger.inbox.waiting(["retail1"])[0].source == "admin"


def test_mailchimp_gets_200_when_it_looks_at_the_address_and_nobody_else_does(receiver: Receiver) -> None:
    assert requests.get(f"{receiver.url}/{SIGNED.path}", timeout=10).status_code == 200
    assert requests.get(f"{receiver.url}/hooks/mailchimp/{SIGNED.path}", timeout=10).status_code == 200
    for path in ("", "/", "/" + "0" * 64, f"/{SIGNED.path[:-1]}", f"/{SIGNED.path}/", "/%ff%00é", "/docs"):
        assert requests.get(receiver.url + path, timeout=10).status_code == 404


def test_the_answer_to_whatever_is_not_genuine_is_one_and_the_same(receiver: Receiver) -> None:
    good, now = form(), int(time.time())
    large = good + b"&data[x]=" + b"x" * MAXIMUM_BODY
    answers = {
        "wrong address": requests.post(f"{receiver.url}/{'0' * 64}", data=good, headers=FORM, timeout=10),
        "no address": requests.post(receiver.url, data=good, headers=FORM, timeout=10),
        "wrong address, too large": requests.post(
            f"{receiver.url}/{'0' * 64}", data=large, headers=FORM, timeout=10
        ),
        "no signature": receiver.post(good, SIGNED),
        "malformed signature": receiver.post(good, SIGNED, X_Mailchimp_Signature="t=,v1="),
        "wrong signature": receiver.post_signed(good, secret="guessed"),
        "signature of another body": receiver.post(
            form(email="eve@example.org"), SIGNED, X_Mailchimp_Signature=signature("s3cret", now, good)
        ),
        "old signature": receiver.post_signed(good, at=now - 400),
        "future signature": receiver.post_signed(good, at=now + 400),
        "another audience": receiver.post(form(list_id="wholesale1")),
        "no type": receiver.post(good.replace(b"type=", b"typ=")),
        "too large": receiver.post(large),
        "no form": receiver.post(good, Content_Type="application/json"),
        "no body": receiver.post(b""),
        "other method": requests.put(f"{receiver.url}/{SIGNED.path}", data=good, headers=FORM, timeout=10),
        "deleting": requests.delete(f"{receiver.url}/{SIGNED.path}", timeout=10),
    }
    assert {name: answered(answer) for name, answer in answers.items()} == dict.fromkeys(
        answers, (404, b"", {"content-length": "0"})
    )
    assert receiver.kept == 0


def test_a_repeated_delivery_is_answered_and_kept_once(receiver: Receiver) -> None:
    now = int(time.time())
    assert [receiver.post_signed(form(), at=now - age).status_code for age in (0, 0, 60)] == [200, 200, 200]
    assert receiver.kept == 1


def test_a_body_past_the_limit_is_refused_before_its_end(receiver: Receiver) -> None:
    address = urlsplit(receiver.url)
    head = f"POST /{UNSIGNED.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    chunk = b"1000\r\n" + form().ljust(4096, b"&") + b"\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(MAXIMUM_BODY // 4096 + 1):
            connection.sendall(chunk)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 404")
    assert receiver.kept == 0


def test_a_body_that_does_not_arrive_in_time_is_refused(receiver: Receiver) -> None:
    address = urlsplit(receiver.url)
    head = f"POST /{UNSIGNED.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 500\r\n\r\ntype=uns".encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 404")
    assert receiver.kept == 0


def test_a_crash_before_the_answer_makes_mailchimp_repeat_and_the_delivery_is_one(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        crashes = [True]

        def keep_and_crash(delivery: InboxDelivery) -> bool:
            new = ledger.inbox.keep(delivery)
            if crashes.pop():
                raise LedgerUnavailableError("the connection to the database is lost")
            return new

        with receiving(receiver_app([UNSIGNED], keep_and_crash, utc_now)) as url:
            receiver = Receiver(url, ledger)
            assert answered(receiver.post(form())) == (503, b"", {"content-length": "0"})
            crashes.append(False)
            assert receiver.post(form()).status_code == 200
            assert receiver.kept == 1


def test_new_deliveries_alone_are_reported_to_whoever_acts_on_them(tmp_path: Path) -> None:
    heard: list[Hook] = []
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        app = receiver_app([UNSIGNED], ledger.inbox.keep, utc_now, on_new=heard.append)
        with receiving(app) as url:
            receiver = Receiver(url, ledger)
            for _ in range(2):
                receiver.post(form())
    assert heard == [UNSIGNED]


def test_no_address_and_no_secret_is_logged(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.post_signed(form())
    receiver.post_signed(form())
    receiver.post_signed(form("ada@example.org"))
    receiver.post_signed(form(), secret="guessed")
    receiver.post(form("x" * 400))
    requests.get(f"{receiver.url}/{SIGNED.path}", timeout=10)
    address = urlsplit(receiver.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"BROKEN {SIGNED.path} ada@example.org\r\n\r\n".encode())
        connection.recv(4096)
    ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
    said = "\n".join(record.getMessage() for record in ours)
    assert "unsubscribe of audience retail1 (user)" in said
    assert "its signature is missing or wrong" in said
    for secret in ("ada@", "example.org", SIGNED.path, UNSIGNED.path, "s3cret", "guessed"):
        assert secret not in said


def test_the_secret_addresses_are_in_no_picture_of_a_hook() -> None:
    assert SIGNED.path not in repr(SIGNED)
    assert "s3cret" not in repr(SIGNED)


_NAMES = ["type", "fired_at", *(f"data[{name}]" for name in ("list_id", "email", "id", "reason"))]
_VALUES = st.text(max_size=20) | st.sampled_from(["retail1", "unsubscribe"])
_FORMS = st.dictionaries(st.sampled_from(_NAMES), _VALUES).map(
    lambda fields: "&".join(map("=".join, fields.items())).encode()
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300) | _FORMS)
def test_whatever_is_posted_the_receiver_answers_200_or_404(served: Receiver, body: bytes) -> None:
    assert served.post(body).status_code in (200, 404)
    assert served.post(body, SIGNED).status_code == 404
