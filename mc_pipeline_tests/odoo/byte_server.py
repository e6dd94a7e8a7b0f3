"""A small HTTP server that answers exactly the bytes a test gives it, on real sockets.

A script is a list of steps, one per request; the last step repeats. A step is the bytes to send, a function
that makes them from the request's JSON, or one of the signs below. ``requests`` holds what arrived,
``connections`` how many connections were made.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

CLOSE = object()  # read the request, then close without an answer
SILENCE = object()  # read the request and never answer, until the server stops

Step = bytes | Callable[[Any], bytes] | object


def http(status: str, body: bytes, content_type: str = "application/json", *headers: str) -> bytes:
    """A whole HTTP answer that keeps the connection open."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def result(value: Any) -> bytes:
    return http("200 OK", json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode())


def error(name: str, message: str, debug: str = "Traceback (most recent call last): secret-debug") -> bytes:
    data = {"name": name, "message": message, "arguments": [message], "context": {}, "debug": debug}
    envelope = {"code": 0, "message": "Odoo Server Error", "data": data}
    return http("200 OK", json.dumps({"jsonrpc": "2.0", "id": 1, "error": envelope}).encode())


def plain(value: Any) -> bytes:
    """An answer of JSON-2: the bare result."""
    return http("200 OK", json.dumps(value).encode(), "application/json; charset=utf-8")


def json2_error(status: str, name: str, message: str) -> bytes:
    """An error of JSON-2: a status, and the exception as the body."""
    described = {"name": name, "message": message, "arguments": [message], "context": {}}
    content = {**described, "debug": "Traceback (most recent call last): secret-debug"}
    return http(status, json.dumps(content).encode(), "application/json; charset=utf-8")


def page(status: str, title: str, text: str = "", *headers: str) -> bytes:
    """A web page."""
    content = f"<!doctype html>\n<title>{title}</title>\n{text}"
    return http(status, content.encode(), "text/html; charset=utf-8", *headers)


VERSION = result({"server_version": "18.0", "server_version_info": [18, 0, 0, "final", 0, ""]})
LOGGED_IN = (
    VERSION,
    result(7),
    result({"lang": "en_US", "tz": "UTC"}),
    result([{"id": 7, "company_ids": [1, 2]}]),
)


VERSION_19 = result({"server_version": "19.0", "server_version_info": [19, 0, 0, "final", 0, ""]})
LOGGED_IN_19 = (VERSION_19, *LOGGED_IN[1:])
WEB_VERSION = plain({"version_info": [19, 0, 0, "final", 0, ""], "version": "19.0"})
KEY_ACCEPTED = (
    plain({"lang": "en_US", "tz": False, "uid": 7}),
    plain([{"id": 7, "login": "integration@example.com"}]),
)
COMPANIES = plain([{"id": 7, "company_ids": [1, 2]}])
LOGGED_IN_JSON2 = (WEB_VERSION, *KEY_ACCEPTED, COMPANIES)
"""What is asked with ``api: json2``; with ``auto`` the version is asked as for JSON-RPC."""


@dataclass
class ByteServer:
    url: str
    script: list[Step]
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_step(self) -> Step:
        with self.lock:
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def methods(self) -> list[str]:
        """The model methods and services that were called, in order."""
        called = []
        for path, _, body in self.requests:
            params = (body or {}).get("params") or {}
            if path.startswith("/json/2/"):
                called.append(".".join(path.split("/")[3:]))
            elif params.get("service") == "object":
                called.append(f"{params['args'][3]}.{params['args'][4]}")
            else:
                called.append(params.get("method") or path)
        return called


@contextmanager
def serve(*script: Step) -> Iterator[ByteServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = ByteServer(f"http://127.0.0.1:{listener.getsockname()[1]}", list(script))
    open_sockets: list[socket.socket] = []

    def accept() -> None:
        while not server.stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with server.lock:
                server.connections += 1
                open_sockets.append(connection)
            threading.Thread(target=_talk, args=(server, connection), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _talk(server: ByteServer, connection: socket.socket) -> None:
    reader = connection.makefile("rb")
    try:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # the first byte of a TLS connection
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        while request_line := reader.readline():
            headers: dict[str, str] = {}
            while (line := reader.readline().strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = reader.read(int(headers.get("content-length", 0)))
            with server.lock:
                arrived = json.loads(body) if body else None
                server.requests.append((request_line.decode().split()[1], headers, arrived))
            step = server.next_step()
            if step is SILENCE:
                server.stopping.wait(30)
                return
            if step is CLOSE:
                return
            answer = step(arrived) if callable(step) else step
            assert isinstance(answer, bytes)
            connection.sendall(answer)
            if b"\r\nConnection: close\r\n" in answer:
                return
    except (OSError, ValueError):
        return
    finally:
        # makefile holds the socket open until both are closed
        reader.close()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
