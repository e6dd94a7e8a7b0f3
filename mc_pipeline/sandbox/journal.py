"""What a stand-in server was asked to do and what people did in it, in the order in which it arrived.

The journal is the witness of the tests: it is written by the server, never by the code under test.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

Source = Literal["api", "person", "admin"]


def utc_now() -> datetime:
    """The clock of a sandbox that nobody gave another one."""
    return datetime.now(UTC)


@dataclass(slots=True)
class JournalEntry:
    """One request to the API, one operation inside a batch, or one act of a person.

    ``status`` is None while the answer is under way, and for good when the connection was broken before an
    answer. ``applied`` says whether the server carried the request out: False for a request that a fault or
    a limit stopped on its way, or that the system refused with an error. ``batch_id`` names the batch whose
    operation this is. ``account`` is the Mailchimp account or the Odoo user that the credentials belong to.
    """

    number: int
    at: datetime
    method: str
    path: str
    query_string: str = ""
    raw_body: bytes = b""
    status: int | None = None
    batch_id: str | None = None
    source: Source = "api"
    account: str | None = None
    fault: str | None = None
    applied: bool = True
    raw_response: bytes | None = None
    response_content_type: str | None = None
    action: str | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one, the last."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def body(self) -> Any:
        """The body as JSON, as text where it is no JSON, None where there was none."""
        return _read(self.raw_body)

    @property
    def response(self) -> Any:
        """The answer like ``body``; kept only by a journal with ``keep_responses``."""
        return _read(self.raw_response)

    @property
    def is_write(self) -> bool:
        """Whether the HTTP method is one that changes things."""
        return self.method not in ("GET", "HEAD", "OPTIONS")

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON can carry, for readers in another process."""
        return {
            "number": self.number,
            "at": self.at.isoformat(),
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "body": self.body,
            "status": self.status,
            "batch_id": self.batch_id,
            "source": self.source,
            "account": self.account,
            "fault": self.fault,
            "applied": self.applied,
            "action": self.action,
        }


def _read(content: bytes | None) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", errors="replace")


@dataclass(slots=True)
class Journal:
    """Entries in order of arrival. Bodies are kept as they came, so a large load stays small in memory.

    ``keep_responses`` also keeps the answers (for checks against an API contract).
    """

    clock: Callable[[], datetime] = utc_now
    keep_responses: bool = False
    entries: list[JournalEntry] = field(default_factory=list)
    _next: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def record(self, method: str, path: str, **facts: Any) -> JournalEntry:
        """Append an entry; its status and answer are filled in by the code that answers."""
        with self._lock:
            entry = JournalEntry(number=self._next, at=self.clock(), method=method, path=path, **facts)
            self._next += 1
            self.entries.append(entry)
        return entry

    def act(self, source: Source, action: str, path: str, details: dict[str, Any]) -> JournalEntry:
        """Append what a person or an administrator did outside the API."""
        body = json.dumps(details, ensure_ascii=False, default=str).encode()
        return self.record("ACT", path, source=source, action=action, raw_body=body)

    @property
    def requests(self) -> list[JournalEntry]:
        """Requests to the API and operations inside batches, without what people did."""
        with self._lock:
            return [entry for entry in self.entries if entry.source == "api"]

    @property
    def acts(self) -> list[JournalEntry]:
        """What people and administrators did."""
        with self._lock:
            return [entry for entry in self.entries if entry.source != "api"]

    @property
    def writes(self) -> list[JournalEntry]:
        """Requests to the API whose HTTP method changes things."""
        return [entry for entry in self.requests if entry.is_write]

    def since(self, number: int) -> list[JournalEntry]:
        """Entries with a number above the given one; 0 for all."""
        with self._lock:
            return [entry for entry in self.entries if entry.number > number]

    @property
    def last_number(self) -> int:
        """The number of the newest entry, 0 when there never was one; clearing does not turn it back."""
        with self._lock:
            return self._next - 1

    def matching(self, method: str, path_part: str) -> list[JournalEntry]:
        """Requests with this HTTP method whose path contains ``path_part``."""
        return [entry for entry in self.requests if entry.method == method and path_part in entry.path]

    def clear(self) -> None:
        """Forget all entries; numbering goes on."""
        with self._lock:
            self.entries.clear()


def as_json(entries: Iterable[JournalEntry]) -> list[dict[str, Any]]:
    """Entries in a form that JSON can carry."""
    return [entry.as_dict() for entry in entries]
