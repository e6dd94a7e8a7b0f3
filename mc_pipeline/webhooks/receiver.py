"""The server that Mailchimp's webhooks reach: an answer is given when the delivery is in the inbox.

An answer reveals nothing to an attacker: whatever is not a genuine delivery gets the same empty 404, a wrong
address as well as a missing signature. Nothing of a request is logged but the audience, the source and what
was wrong. TLS ends at a proxy in front of it.
"""

import asyncio
import hashlib
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mc_pipeline.ledger import InboxDelivery, LedgerError
from mc_pipeline.mailchimp.webhooks import EVENTS
from mc_pipeline.webhooks.connections import HEAD_TIMEOUT, MOST_CONNECTIONS, head_in_time, one_length
from mc_pipeline.webhooks.delivery import Delivery, UnreadableDeliveryError, read_delivery
from mc_pipeline.webhooks.hooks import Hook, WebhookSettingsError
from mc_pipeline.webhooks.signature import HEADER, is_signed

MAXIMUM_BODY = 64 * 1024
_FORM = "application/x-www-form-urlencoded"
# Mailchimp waits 10 seconds for an answer.
_BODY_TIMEOUT = timedelta(seconds=5)
_log = logging.getLogger(__name__)

Keep = Callable[[InboxDelivery], bool]
"""Writes a delivery to the inbox, committed on return; returns whether it is new."""


class _RefusedError(Exception):
    """A request to a genuine address that is no genuine delivery; the text is for our own log."""


def receiver_app(
    hooks: Sequence[Hook],
    keep: Keep,
    clock: Callable[[], datetime],
    *,
    on_new: Callable[[Hook], None] | None = None,
    body_timeout: timedelta = _BODY_TIMEOUT,
) -> Starlette:
    """Make the server's ASGI app.

    Args:
        hooks: the webhooks that are received.
        keep: called in a worker thread.
        clock: the present moment, in UTC.
        on_new: called after a new delivery was stored; must return at once.
        body_timeout: how long a body may take to arrive.
    """

    async def answer(request: Request) -> Response:
        hook = _hook_of(request, hooks)
        if hook is None:
            return _nothing()
        if request.method in ("GET", "HEAD"):
            # Mailchimp looks at the address before it makes a webhook.
            return Response()
        try:
            body = await _body_of(request, body_timeout)
            delivery = _genuine(hook, request, body, clock())
        except _RefusedError as refusal:
            _log.warning("refused for audience %s (%s): %s", hook.list_id, hook.source, refusal)
            return _nothing()
        except ClientDisconnect:
            return _nothing()
        try:
            new = await run_in_threadpool(keep, _inbox_delivery(hook, delivery, body, clock()))
        except LedgerError as error:
            _log.error("a delivery of audience %s is not kept: %s", hook.list_id, error)
            # The sender knows the secrets; Mailchimp sends it again.
            return Response(status_code=503)
        kind = delivery.type if delivery.type in EVENTS else "another event"
        _log.info("%s of audience %s (%s)%s", kind, hook.list_id, hook.source, "" if new else ": known")
        if new and on_new is not None:
            on_new(hook)
        return Response()

    return Starlette(routes=[Route("/{path:path}", _AnyMethod(answer))])


def listen(host: str, port: int) -> socket.socket:
    """Take the port, a free one for 0; after that connections wait until the server runs.

    Raises:
        WebhookSettingsError: it is taken, or no address of this machine.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise WebhookSettingsError(
            f"--host {host} --port {port} cannot be listened on ({error.strerror or error}): choose another"
        ) from None


def server(app: Starlette, *, head_timeout: timedelta = HEAD_TIMEOUT) -> uvicorn.Server:
    """Make the web server for the app. It logs no request: their addresses are secrets.

    ``head_timeout``: how long the head of a request may take to arrive.
    """
    return uvicorn.Server(
        uvicorn.Config(
            one_length(app),
            # The pure Python parser bounds the length of a request's head.
            http=head_in_time(head_timeout),
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=10,
        )
    )


class _AnyMethod:
    """An endpoint for every method: a 405 would reveal that there is something."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)


def _nothing() -> Response:
    return Response(status_code=404)


def _hook_of(request: Request, hooks: Sequence[Hook]) -> Hook | None:
    """Find the webhook by the last part of the path; a proxy may put its own parts before it."""
    if request.method not in ("GET", "HEAD", "POST"):
        return None
    path = request.scope["path"].rpartition("/")[2].encode("utf-8", "replace")
    found = [hook for hook in hooks if hmac.compare_digest(hook.path.encode(), path)]
    return found[0] if found else None


async def _body_of(request: Request, timeout: timedelta) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _RefusedError("it is no form")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            async for part in request.stream():
                size += len(part)
                if size > MAXIMUM_BODY:
                    raise _RefusedError(f"its body is longer than {MAXIMUM_BODY} bytes")
                parts.append(part)
    except TimeoutError:
        raise _RefusedError("its body took too long to arrive") from None
    return b"".join(parts)


def _genuine(hook: Hook, request: Request, body: bytes, now: datetime) -> Delivery:
    if hook.signing_secrets and not is_signed(request.headers.get(HEADER), body, hook.signing_secrets, now):
        raise _RefusedError(f"its signature is missing or wrong; the secrets are in {hook.signing_variable}")
    try:
        delivery = read_delivery(body)
    except UnreadableDeliveryError as error:
        raise _RefusedError(str(error)) from None
    if delivery.list_id != hook.list_id:
        raise _RefusedError("it is about another audience")
    return delivery


def _inbox_delivery(hook: Hook, delivery: Delivery, body: bytes, now: datetime) -> InboxDelivery:
    return InboxDelivery(
        list_id=hook.list_id,
        source=hook.source,
        type=delivery.type,
        email=delivery.email,
        new_email=delivery.new_email,
        contact_id=delivery.contact_id,
        action=delivery.action,
        reason=delivery.reason,
        campaign_id=delivery.campaign_id,
        fired_at=delivery.fired_at,
        fired_at_raw=delivery.fired_at_raw,
        received_at=now,
        body_digest=hashlib.sha256(body).hexdigest(),
    )
