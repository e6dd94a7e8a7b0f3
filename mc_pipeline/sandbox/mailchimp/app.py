"""The stand-in over HTTP: credentials, the limit on connections, the results of batches, the pages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mc_pipeline.sandbox.faults import Faults, Latency
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.mailchimp import batches, pages
from mc_pipeline.sandbox.mailchimp.api import BASE, Api, ApiAnswer
from mc_pipeline.sandbox.mailchimp.problems import (
    ApiError,
    api_key_invalid,
    internal_server_error,
    too_many_requests,
)
from mc_pipeline.sandbox.mailchimp.state import Credential, MailchimpState
from mc_pipeline.sandbox.serving import ENTRY, JournalLayer, TroubleLayer, control_routes

MAXIMUM_CONNECTIONS = 10
"""Requests of one user that may be under way at once, over all the user's keys (Mailchimp API: limits)."""

PROBLEM_TYPE = "application/problem+json; charset=utf-8"
_CREDENTIAL = "mc_pipeline.sandbox.mailchimp.credential"
_BATCH_PAUSE_SECONDS = 0.005


def create_app(
    state: MailchimpState, *, faults: Faults | None = None, latency: Latency | None = None
) -> Starlette:
    """The stand-in as an ASGI app: the API under /3.0, batch results, pages for people, the controls.

    While it runs, batches are carried out in the background, unless ``state.batches_paused``.
    """
    faults, latency = faults or Faults(), latency or Latency()
    api = Api(state)
    served = Starlette(
        routes=[
            Route("/batch-results/{name}", _batch_results(state), methods=["GET"]),
            Route("/3.0", _endpoint(api), methods=list(batches.METHODS)),
            Route("/3.0/{path:path}", _endpoint(api), methods=list(batches.METHODS)),
        ]
    )
    watched: ASGIApp = TroubleLayer(served, faults, latency, watches=_is_api, error_body=_error_body)
    watched = _ConnectionLayer(watched, state)
    watched = JournalLayer(watched, state.journal, watches=_is_api)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(_carry_out_batches(api))
        yield
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker

    return Starlette(
        routes=[
            *control_routes(state.journal, faults, latency),
            *pages.page_routes(state),
            Mount("/", watched),
        ],
        lifespan=lifespan,
    )


def _is_api(path: str) -> bool:
    return path == BASE or path.startswith((BASE + "/", "/batch-results/"))


async def _carry_out_batches(api: Api) -> None:
    """Go on with batches, a few operations at a time, so that direct requests come in between."""
    while True:
        if api.state.batches_paused or not api.run_batches():
            await asyncio.sleep(_BATCH_PAUSE_SECONDS)
        else:
            await asyncio.sleep(0)


class _ConnectionLayer:
    """Lets in who has a key, and at most ten requests of one user at once.

    A request holds its place until the server is done with it, also when the client has given up. Refusals
    come by turns with the API's error body and with no body at all, as the real ones do.
    """

    def __init__(self, app: ASGIApp, state: MailchimpState) -> None:
        self._app, self._state = app, state
        self._under_way: Counter[str] = Counter()
        self._refusals = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/batch-results/"):
            await self._app(scope, receive, send)
            return
        entry: JournalEntry | None = scope.get(ENTRY)
        credential = self._credential(scope)
        if credential is None:
            if entry is not None:
                entry.applied = False
            await _problem_response(api_key_invalid())(scope, receive, send)
            return
        scope[_CREDENTIAL] = credential
        if entry is not None:
            entry.account = credential.account
        if self._under_way[credential.user] >= MAXIMUM_CONNECTIONS:
            if entry is not None:
                entry.fault, entry.applied = "too_many_connections", False
            self._refusals += 1
            refusal = (
                _problem_response(too_many_requests()) if self._refusals % 2 else Response(status_code=429)
            )
            await refusal(scope, receive, send)
            return
        self._under_way[credential.user] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[credential.user] -= 1

    def _credential(self, scope: Scope) -> Credential | None:
        """Whom the Authorization header belongs to: any user name with a key, or a bearer token."""
        given = Request(scope).headers.get("authorization", "")
        scheme, _, value = given.partition(" ")
        key = value.strip()
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key, validate=True).decode().partition(":")[2]
            except ValueError:
                return None
        elif scheme.lower() != "bearer":
            return None
        return self._state.credentials.get(key)


def _endpoint(api: Api) -> Any:
    async def endpoint(request: Request) -> Response:
        credential: Credential = request.scope[_CREDENTIAL]
        base_url = f"{request.url.scheme}://{request.url.netloc}"
        answer = api.answer(
            credential.account,
            request.method,
            request.scope["path"].removeprefix(BASE) or "/",
            request.url.query,
            await request.body(),
            base_url,
        )
        entry: JournalEntry | None = request.scope.get(ENTRY)
        if entry is not None and answer.is_problem:
            entry.applied = False
        response = _api_response(answer)
        # In place of the server's own: what a client knows of Mailchimp's clock.
        response.headers["Date"] = format_datetime(api.state.clock(), usegmt=True)
        return response

    return endpoint


def _api_response(answer: ApiAnswer) -> Response:
    headers = {"X-Request-Id": str(uuid4())}
    if answer.allow:
        headers["Allow"] = answer.allow
    if answer.document is None:
        return Response(status_code=answer.status, headers=headers)
    kind = PROBLEM_TYPE if answer.is_problem else "application/json; charset=utf-8"
    content = json.dumps(answer.document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, answer.status, headers, media_type=kind)


def _problem_response(problem: ApiError) -> Response:
    return _api_response(ApiAnswer(problem.status, problem.document(), problem.allow))


def _error_body(status: int) -> tuple[str, bytes]:
    problem = too_many_requests() if status == 429 else internal_server_error()
    return PROBLEM_TYPE, json.dumps(problem.document()).encode()


def _batch_results(state: MailchimpState) -> Any:
    """Results lie with a file store that knows nothing of API keys: it refuses a request that brings one."""

    async def download(request: Request) -> Response:
        if "authorization" in request.headers:
            return _file_store_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        batch_id = request.path_params["name"].removesuffix("-response.tar.gz")
        with state.lock:
            archive = batches.results_by_link(state, batch_id, request.url.query)
        if archive is None:
            return _file_store_error(403, "AccessDenied", "Request has expired")
        return Response(archive, media_type="application/octet-stream")

    return download


def _file_store_error(status: int, code: str, message: str) -> Response:
    content = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return Response(content, status, media_type="application/xml")
