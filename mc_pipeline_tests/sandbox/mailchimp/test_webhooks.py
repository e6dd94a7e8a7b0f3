"""Webhooks: what is reported to whom, as a form, signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.serving import serve
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST
from mc_pipeline_tests.sandbox.mailchimp.errors import refused

ADA = "ada@example.org"
Received = list[tuple[str, bytes]]


@pytest.fixture
def listener() -> Iterator[tuple[str, Received]]:
    """A web server that keeps what is posted to it: signature and raw body."""
    received: Received = []

    async def receive(request: Request) -> Response:
        if request.method == "POST":
            received.append((request.headers["x-mailchimp-signature"], await request.body()))
        return Response()

    with serve(Starlette(routes=[Route("/hook", receive, methods=["GET", "POST"])])) as url:
        yield f"{url}/hook", received


def test_events_reach_the_listener_as_a_signed_form(
    sandbox: SandboxMailchimp, client: Any, listener: tuple[str, Received]
) -> None:
    url, received = listener
    made = client.lists.create_list_webhook(
        LIST, {"url": url, "sources": {"user": True, "admin": True, "api": False}}
    )
    sandbox.add_member(LIST, ADA, merge_fields={"FNAME": "Ada"})
    client.lists.update_list_member(LIST, ADA, {"status": "unsubscribed"})
    client.lists.update_list_member(LIST, ADA, {"status": "subscribed"})
    sandbox.unsubscribe(LIST, ADA)
    assert sandbox.deliver_webhooks() == [200]
    ((signature, body),) = received
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    assert form["type"] == "unsubscribe"
    assert form["fired_at"] == "2026-03-02 09:00:00"
    assert (form["data[action]"], form["data[reason]"], form["data[email]"]) == ("unsub", "manual", ADA)
    assert (form["data[list_id]"], form["data[merges][FNAME]"]) == (LIST, "Ada")
    stamp, _, digest = signature.partition(",v1=")
    expected = hmac.new(
        made["signing_secret"].encode(), f"{stamp.removeprefix('t=')}.".encode() + body, hashlib.sha256
    )
    assert digest == expected.hexdigest()


@pytest.mark.parametrize(
    ("act", "event", "facts"),
    [
        (lambda s: s.bounce_hard(LIST, ADA), "cleaned", {"reason": "hard"}),
        (lambda s: s.complain(LIST, ADA), "unsubscribe", {"action": "unsub", "reason": "abuse"}),
        (lambda s: s.archive(LIST, ADA), "unsubscribe", {"action": "delete"}),
        (lambda s: s.sign_up(LIST, "new@example.org"), "subscribe", {"email": "new@example.org"}),
        (
            lambda s: s.change_address(LIST, ADA, "l@example.org"),
            "upemail",
            {"old_email": ADA, "new_email": "l@example.org"},
        ),
        (lambda s: s.edit_field(LIST, ADA, "FNAME", "Augusta"), "profile", {"email": ADA}),
    ],
)
def test_each_act_has_its_event(
    sandbox: SandboxMailchimp, client: Any, act: Any, event: str, facts: dict[str, str]
) -> None:
    sandbox.state.asks_webhooks_first = False
    client.lists.create_list_webhook(LIST, {"url": "http://127.0.0.1:9/hook"})
    sandbox.add_member(LIST, ADA)
    act(sandbox)
    (delivery,) = sandbox.state.webhook_deliveries
    assert delivery["form"]["type"] == event
    assert facts.items() <= delivery["form"]["data"].items()


def test_a_webhook_nobody_answers_is_lost(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.state.asks_webhooks_first = False
    client.lists.create_list_webhook(LIST, {"url": "http://127.0.0.1:9/hook"})
    sandbox.sign_up(LIST, ADA)
    assert sandbox.deliver_webhooks(timeout=1) == [0]
    assert sandbox.deliver_webhooks() == []


def test_webhooks_are_listed_changed_and_deleted(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.state.asks_webhooks_first = False
    body = {"url": "http://127.0.0.1:9/hook", "events": {"profile": False}}
    made = client.lists.create_list_webhook(LIST, body)
    assert made["sources"] == {"user": True, "admin": True, "api": True}
    with refused(400, "Invalid Resource"):
        client.lists.create_list_webhook(LIST, body)
    changed = client.lists.update_list_webhook(LIST, made["id"], {"sources": {"api": False}})
    assert (changed["sources"]["api"], changed["events"]["profile"]) == (False, False)
    assert "signing_secret" not in client.lists.get_list_webhook(LIST, made["id"])
    assert client.lists.get_list_webhooks(LIST)["total_items"] == 1
    client.lists.delete_list_webhook(LIST, made["id"])
    with refused(404):
        client.lists.get_list_webhook(LIST, made["id"])


def test_an_address_that_does_not_answer_200_gets_no_webhook(
    client: Any, listener: tuple[str, Received]
) -> None:
    url, _ = listener
    with refused(400, "Invalid Resource"):
        client.lists.create_list_webhook(LIST, {"url": "http://127.0.0.1:9/hook"})
    with refused(400, "Invalid Resource"):
        client.lists.create_list_webhook(LIST, {"url": f"{url}/elsewhere"})
    assert client.lists.create_list_webhook(LIST, {"url": url})["url"] == url


def test_each_source_goes_to_the_webhook_that_hears_it(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.state.asks_webhooks_first = False
    for source in ("user", "admin"):
        sources = {name: name == source for name in ("user", "admin", "api")}
        client.lists.create_list_webhook(LIST, {"url": f"http://127.0.0.1:9/{source}", "sources": sources})
    for email in (ADA, "bob@example.org"):
        sandbox.add_member(LIST, email)
    sandbox.change_address(LIST, ADA, "l@example.org")
    sandbox.unsubscribe_by_admin(LIST, "bob@example.org")
    client.lists.update_list_member(LIST, "l@example.org", {"status": "unsubscribed"})
    delivered = [(each["form"]["type"], each["url"][-5:]) for each in sandbox.state.webhook_deliveries]
    assert delivered == [("upemail", "/user"), ("unsubscribe", "admin")]


def test_what_was_not_answered_is_repeated_when_asked_for_and_a_delivery_may_come_twice(
    sandbox: SandboxMailchimp, client: Any, listener: tuple[str, Received]
) -> None:
    url, received = listener
    client.lists.create_list_webhook(LIST, {"url": url})
    sandbox.sign_up(LIST, ADA)
    for webhook in sandbox.state.webhook_deliveries:
        webhook["url"] = "http://127.0.0.1:9/hook"
    assert sandbox.deliver_webhooks(timeout=1, again_later=True) == [0]
    for webhook in sandbox.state.webhook_deliveries:
        webhook["url"] = url
    assert sandbox.deliver_webhooks(times=2, again_later=True) == [200, 200]
    assert len(received) == 2
    assert len({body for _, body in received}) == 1
    assert sandbox.deliver_webhooks() == []


def test_a_webhook_older_than_signatures_sends_none(sandbox: SandboxMailchimp, client: Any) -> None:
    seen: list[str | None] = []

    async def receive(request: Request) -> Response:
        seen.append(request.headers.get("x-mailchimp-signature"))
        return Response()

    with serve(Starlette(routes=[Route("/hook", receive, methods=["GET", "POST"])])) as url:
        client.lists.create_list_webhook(LIST, {"url": f"{url}/hook"})
        sandbox.forget_signing_secrets(LIST)
        sandbox.sign_up(LIST, ADA)
        assert sandbox.deliver_webhooks() == [200]
    assert seen == [None, None]
