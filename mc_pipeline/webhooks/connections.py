"""Connections to the receiver that cannot be held up by those who never finish a request.

uvicorn has no limit of time for the head of a request, and answers 503 to everybody once a hundred
connections are open. So a client that opens a hundred and sends half a head each would keep all deliveries
out. Here a head must be complete in time; and where no place is left, the connection that has waited longest
without a request gives its place to the new one, which may be a delivery.
"""

import asyncio
from datetime import timedelta
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 100
HEAD_TIMEOUT = timedelta(seconds=5)


def head_in_time(timeout: timedelta = HEAD_TIMEOUT) -> type[asyncio.Protocol]:
    """Make uvicorn's protocol with a limit of time for what a sender owes before anybody answers, or after.

    That is the head of a request, counted from the opening of the connection or from the first byte of a
    further request on it; and the rest of a body that was answered before its end. How long a body may take
    that is waited for, the app decides.
    """

    class HeadInTime(H11Protocol):
        _given_up_at: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._limit()
            if len(self.connections) >= MOST_CONNECTIONS:
                self._make_room()

        def connection_lost(self, exc: Exception | None) -> None:
            self._lift()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._limit() if self.owes else self._lift()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:
                self._limit()
            elif not self.owes:
                self._lift()

        @property
        def owes(self) -> bool:
            """Whether nobody works on a request of this connection: it is not there, or is answered."""
            ours, theirs = self.conn.our_state, self.conn.their_state
            return theirs is h11.IDLE or (theirs is h11.SEND_BODY and ours is h11.DONE)

        @property
        def given_up_at(self) -> float:
            """When it is closed if nothing more comes, by the clock of the loop."""
            timers = (self._given_up_at, self.timeout_keep_alive_task)
            return min((timer.when() for timer in timers if timer is not None), default=0.0)

        def _limit(self) -> None:
            # What has begun is not begun again by every further byte.
            if self._given_up_at is None and not self.transport.is_closing():
                self._given_up_at = self.loop.call_later(timeout.total_seconds(), self.transport.abort)

        def _lift(self) -> None:
            if self._given_up_at is not None:
                self._given_up_at.cancel()
                self._given_up_at = None

        def _make_room(self) -> None:
            owing = [
                other
                for other in self.connections
                if isinstance(other, HeadInTime) and other is not self and other.owes
            ]
            if owing:
                oldest = min(owing, key=lambda other: other.given_up_at)
                # Not counted from now on, though the loop closes it a moment later.
                self.connections.discard(oldest)
                oldest.transport.abort()

    return HeadInTime


def one_length(app: ASGIApp) -> ASGIApp:
    """Refuse a request that gives the length of its body twice.

    A proxy may believe the one (Content-Length) and we the other (Transfer-Encoding): where the first request
    ends and the next one begins is then for the sender to choose (RFC 9112, 6.3). The connection is closed,
    since nobody knows what the rest of it is.
    """

    async def refuse_or_answer(scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]}
        if not {b"content-length", b"transfer-encoding"} <= names:
            await app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = [(b"content-length", b"0"), (b"connection", b"close")]
        start: dict[str, Any] = {"type": "http.response.start", "status": 400, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    return refuse_or_answer
