"""An HTTP server that answers with exactly the bytes a test gives it, and records what it was asked."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Asked:
    method: str
    target: str  # the path and query exactly as sent
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path).removeprefix("/3.0")

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = bytes | str | Callable[[Asked], "Answer"]

RESET = "reset"  # the request is read, then the connection is reset: applied or not, nobody knows
HANG = "hang"  # the request is read and never answered


def answer(
    status: int = 200,
    body: bytes | str | dict[str, Any] | list[Any] = b"",
    content_type: str | None = "application/json; charset=utf-8",
    **headers: str,
) -> bytes:
    """Bytes of one HTTP answer."""
    if isinstance(body, dict | list):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status} Whatever"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def problem(
    status: int, title: str, detail: str = "", errors: list[Any] | None = None, **headers: str
) -> bytes:
    document: dict[str, Any] = {"title": title, "status": status, "detail": detail, "instance": "1-2-3"}
    if errors:
        document["errors"] = errors
    return answer(status, document, "application/problem+json; charset=utf-8", **headers)


@dataclass
class ExactServer:
    """Gives the answers in turn; the last one again and again."""

    answers: list[Answer]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked: Asked) -> Answer:
        with self._lock:
            index = len(self.asked)
            self.asked.append(asked)
        self.arrived.release()
        return self.answers[min(index, len(self.answers) - 1)]

    @property
    def requests(self) -> list[tuple[str, str]]:
        return [(asked.method, asked.path) for asked in self.asked]


@contextmanager
def exact_server(*answers: Answer) -> Iterator[ExactServer]:
    server = ExactServer(list(answers) or [answer(200, {"health_status": "ok"})])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with server._lock:
                server.connections += 1

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            with server._lock:
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
            try:
                given = server.take(asked)
                while callable(given):
                    given = given(asked)
            finally:
                with server._lock:
                    server.in_flight -= 1
            if given == RESET:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
            elif given == HANG:
                server.released.wait(30)
                self.close_connection = True
            else:
                assert isinstance(given, bytes)
                self.wfile.write(given)
                self.wfile.flush()
                if b"connection: close" in given.lower():
                    self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    try:
        yield server
    finally:
        server.released.set()
        listener.shutdown()
        listener.server_close()
        thread.join(5)
