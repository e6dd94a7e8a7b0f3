"""Runs a stand-in server over real HTTP: the server thread, and the layers around every stand-in's app.

From the outside in: the journal, the limit on simultaneous connections (where a system has one), latency and
faults, the app itself. What a system answers is none of this module's business.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from mc_pipeline.sandbox.faults import OWN_KINDS, Fault, FaultKind, Faults, Latency
from mc_pipeline.sandbox.journal import Journal, JournalEntry, as_json

ENTRY = "mc_pipeline.sandbox.entry"
"""Where a request's journal entry is found in its ASGI scope."""

CONTROL = "/_sandbox"
"""Where other processes read the journal and arrange trouble; never journalled, never faulty."""

OwnError = tuple[int, str, bytes]
"""An error as only one system words it: status, content type, body."""

_transports: MutableMapping[tuple[Any, Any], asyncio.Transport] = {}
_servers: MutableMapping[Any, _Server] = {}


_HttpProtocol: Any = AutoHTTPProtocol


class _KnownConnection(_HttpProtocol):
    """Remembers the transport of each connection, so that a fault can break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._between = _ends(transport)
        _transports[self._between] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _transports.pop(self._between, None)
        super().connection_lost(exc)


def _ends(transport: asyncio.BaseTransport) -> tuple[Any, Any]:
    here, there = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    return (tuple(here) if here else None, tuple(there) if there else None)


async def break_connection(scope: Scope, *, reset: bool) -> None:
    """Reset the connection of a request, or close it after what was written so far."""
    between = (tuple(scope["server"]), tuple(scope["client"]))
    transport = _transports.get(between)
    if transport is None:
        raise RuntimeError(
            "this connection cannot be broken: run the app through mc_pipeline.sandbox.serving"
        )
    if reset:
        _reset(transport)
    else:
        transport.close()
    await _are_gone(lambda: between in _transports)


def _reset(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _are_gone(still_there: Callable[[], bool]) -> None:
    while still_there():
        await asyncio.sleep(0.001)


class _Server(uvicorn.Server):
    """A server that can be away for a moment, like one that is restarted, and that ends at once.

    uvicorn looks ten times a second whether it should end, and then waits another tenth: too long for tests
    that serve a world each.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _end_requested: asyncio.Event

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or ():
            _servers[tuple(sock.getsockname())] = self

    async def main_loop(self) -> None:
        self._end_requested, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self.should_exit:  # end() came before there was a loop to wake
            return
        waiting = [asyncio.create_task(super().main_loop()), asyncio.create_task(self._end_requested.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        unfinished = self.server_state.tasks
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                await _are_gone(lambda: bool(self.server_state.connections or unfinished))
        except TimeoutError:
            for task in unfinished:
                task.cancel()
        await self.lifespan.shutdown()

    def end(self) -> None:
        """End soon; called from another thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._end_requested.set)

    async def be_away(self, address: tuple[Any, ...], until: Awaitable[None]) -> None:
        """Reset all connections, refuse new ones until the awaitable is done, then listen again."""
        for server in self.servers:
            server.close()
        for between, transport in list(_transports.items()):
            if between[0] == address:
                _reset(transport)
        await _are_gone(lambda: any(between[0] == address for between in _transports))
        # Bound, nobody else gets the port; without listening, connections are refused.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        try:
            await until
        finally:
            protocol = partial(
                _KnownConnection,
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )
            loop = asyncio.get_running_loop()
            self.servers = [await loop.create_server(protocol, sock=listener, backlog=256)]


class JournalLayer:
    """Writes every request to the journal on arrival and its answer when it is given."""

    def __init__(self, app: ASGIApp, journal: Journal, *, watches: Callable[[str], bool]) -> None:
        self._app, self._journal, self._watches = app, journal, watches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._watches(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        entry = self._journal.record(
            scope["method"], scope["path"], query_string=scope["query_string"].decode(), raw_body=body
        )
        scope[ENTRY] = entry
        parts: list[bytes] = []

        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                for name, value in message["headers"]:
                    if name.lower() == b"content-type":
                        entry.response_content_type = value.decode()
            elif self._journal.keep_responses:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    entry.raw_response = b"".join(parts)
            await send(message)

        await self._app(scope, _replay(body, receive), observed_send)


class TroubleLayer:
    """Waits out the latency and lets faults happen. ``error_body`` gives the system's own error as
    ``(content type, body)`` for a status, so that a 500 looks like that system's 500; ``own_errors`` are the
    answers to kinds of trouble that only that system has."""

    def __init__(
        self,
        app: ASGIApp,
        faults: Faults,
        latency: Latency,
        *,
        watches: Callable[[str], bool],
        error_body: Callable[[int], tuple[str, bytes]] | None = None,
        own_errors: Mapping[FaultKind, OwnError] | None = None,
    ) -> None:
        self._app, self._faults, self._latency, self._watches = app, faults, latency, watches
        self._error_body = error_body or _plain_error
        self._own_errors = own_errors or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._watches(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        entry: JournalEntry | None = scope.get(ENTRY)
        target = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        fault = self._faults.take(scope["method"], target, body)
        if self._latency.seconds > 0:
            await asyncio.sleep(self._latency.seconds)
        if fault is None:
            await self._app(scope, _replay(body, receive), send)
            return
        if entry is not None:
            entry.fault, entry.applied = fault.kind, fault.applies
        if fault.kind == "slow":
            await self._be_slow(fault.seconds)
        answer = await self._carry_out(scope, body, receive) if fault.applies else None
        if fault.kind == "slow_after":
            await self._be_slow(fault.seconds)
        await self._answer(fault, answer, scope, send)

    def _be_slow(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait; no longer once all faults are taken back, so that slowness does not outlive its test.

        What counts as taken back is judged from the call on, not from when the waiting begins: until then
        a client may have met the fault and taken it back.
        """
        cleared, loop = self._faults.cleared, asyncio.get_running_loop()
        end = loop.time() + seconds

        async def waiting() -> None:
            while self._faults.cleared == cleared and loop.time() < end:
                await asyncio.sleep(min(0.02, seconds))

        return waiting()

    async def _carry_out(self, scope: Scope, body: bytes, receive: Receive) -> list[Message]:
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._app(scope, _replay(body, receive), collect)
        return messages

    async def _answer(self, fault: Fault, answer: list[Message] | None, scope: Scope, send: Send) -> None:
        kind = fault.kind
        if kind in ("reset_before", "reset_after"):
            await break_connection(scope, reset=True)
        elif kind == "restarted":
            address = tuple(scope["server"])
            await _servers[address].be_away(address, self._be_slow(fault.seconds))
        elif kind in OWN_KINDS:
            if kind not in self._own_errors:
                raise RuntimeError(f"{kind} is no trouble of this system")
            await _send(send, *self._own_errors[kind])
        elif kind.startswith("empty_"):
            await _send(send, int(kind[-3:]), None, b"")
        elif kind.startswith("json_"):
            status = int(kind[-3:])
            content_type, content = self._error_body(status)
            await _send(send, status, content_type, content)
        elif kind.startswith("html_"):
            status = int(kind[-3:])
            await _send(send, status, "text/html", _PAGES[status].encode())
        else:
            assert answer is not None
            start, content = answer[0], b"".join(part.get("body", b"") for part in answer[1:])
            if kind in ("slow", "slow_after"):
                for message in answer:
                    await send(message)
            elif kind == "truncated":
                headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                half = content[: len(content) // 2]
                headers.append((b"content-length", str(len(half)).encode()))
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": half})
            elif kind == "cut_off":
                await send(start)
                await send(
                    {"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True}
                )
                await break_connection(scope, reset=False)
            else:  # wrong_content_type
                await _send(send, start["status"], "text/html; charset=utf-8", content)


async def _send(send: Send, status: int, content_type: str | None, content: bytes) -> None:
    headers = [(b"content-length", str(len(content)).encode())]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _plain_error(status: int) -> tuple[str, bytes]:
    return "application/json", json.dumps({"error": {"code": status}}).encode()


_PAGES = {
    502: "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>",
    503: "<html><head><title>503 Service Unavailable</title></head><body><h1>Service Unavailable</h1>"
    "<p>The service is temporarily unavailable.</p></body></html>",
    504: "<html><head><title>504 Gateway Timeout</title></head><body><h1>Gateway Timeout</h1></body></html>",
    403: "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n \n"
    "You don't have permission to access this resource on this server.<P>\n"
    "Reference&#32;&#35;18&#46;4c8f1402&#46;1700000000&#46;1b2c3d4e\n</BODY>\n</HTML>\n",
}


def control_routes(journal: Journal, faults: Faults, latency: Latency) -> list[Route]:
    """Routes by which another process reads the journal and arranges trouble.

    ``GET /_sandbox/journal?since=N`` gives ``{"last_number", "entries": [...]}``, ``DELETE`` forgets them;
    ``POST /_sandbox/faults`` takes one fault as JSON, ``DELETE`` takes back those to come;
    ``POST /_sandbox/latency`` takes ``{"seconds": 0.2}``.
    """

    async def read_journal(request: Request) -> Response:
        if request.method == "DELETE":
            journal.clear()
            return Response(status_code=204)
        try:
            since = int(request.query_params.get("since", "0"))
        except ValueError:
            return _refused("since must be a whole number: the number of the last entry you have seen")
        return JSONResponse({"last_number": journal.last_number, "entries": as_json(journal.since(since))})

    async def arrange_fault(request: Request) -> Response:
        if request.method == "DELETE":
            faults.clear()
            return Response(status_code=204)
        try:
            faults.add(Fault.from_dict(await request.json()))
        except (ValueError, TypeError) as problem:
            return _refused(str(problem))
        return Response(status_code=204)

    async def set_latency(request: Request) -> Response:
        try:
            seconds = float((await request.json())["seconds"])
        except (ValueError, TypeError, KeyError):
            return _refused('send {"seconds": 0.2}: how long every request takes')
        if not 0 <= seconds <= 600:
            return _refused("seconds must be between 0 and 600")
        latency.seconds = seconds
        return Response(status_code=204)

    return [
        Route(f"{CONTROL}/journal", read_journal, methods=["GET", "DELETE"]),
        Route(f"{CONTROL}/faults", arrange_fault, methods=["POST", "DELETE"]),
        Route(f"{CONTROL}/latency", set_latency, methods=["POST"]),
    ]


def _refused(problem: str) -> Response:
    return JSONResponse({"error": problem}, status_code=400)


def server_config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """How a stand-in runs: connections that faults can break, quiet logs, a short goodbye."""
    return uvicorn.Config(
        app,
        http=_KnownConnection,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
        **options,
    )


@contextmanager
def serve(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, date_header: bool = True) -> Iterator[str]:
    """Run an app in a thread on a loopback port (a free one unless given) and give its URL.

    ``date_header`` False leaves the date of an answer to an app that has a clock of its own. Raises OSError
    when the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
        address = tuple(listener.getsockname())
        server = _Server(server_config(app, date_header=date_header))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="sandbox-server", daemon=True
        )
        thread.start()
        try:
            yield f"http://{host}:{address[1]}"
        finally:
            server.end()
            thread.join(timeout=10)
            _servers.pop(address, None)
