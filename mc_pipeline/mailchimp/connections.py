"""Who may hold a connection to Mailchimp now.

Mailchimp API: 10 simultaneous connections per user, shared by all keys and processes of that user.
The default holds the limit inside this process; a ledger-backed implementation holds it across processes.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class ConnectionSlots(Protocol):
    """Hands out at most so many simultaneous connections; a slot is held for one request."""

    def slot(self) -> AbstractContextManager[None]:
        """Wait for a free connection and hold it inside the ``with`` block."""
        ...


class InProcessSlots:
    """At most ``maximum`` connections at the same time among the threads of this process."""

    def __init__(self, maximum: int) -> None:
        if not 1 <= maximum <= 10:
            raise ValueError(
                f"max_connections is {maximum}: Mailchimp allows 1 to 10 simultaneous connections per user"
            )
        self.maximum = maximum
        self._free = threading.BoundedSemaphore(maximum)

    @contextmanager
    def slot(self) -> Iterator[None]:
        with self._free:
            yield
