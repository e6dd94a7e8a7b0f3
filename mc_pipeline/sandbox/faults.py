"""Trouble that a stand-in server makes on request: what breaks, for which requests, how many times."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

FaultKind = Literal[
    "reset_before",  # the connection is reset; the request was not carried out
    "reset_after",  # the request was carried out; the connection is reset instead of an answer
    "empty_429",  # too many requests, no body, no content type
    "json_429",  # too many requests, with the system's own error body
    "empty_500",
    "json_500",
    "html_502",
    "html_503",
    "html_504",
    "html_403",  # "Access Denied" of the network in front of the API: nothing to do with the credentials
    "truncated",  # carried out; the answer's JSON stops in the middle, the HTTP message is whole
    "cut_off",  # carried out; the connection closes in the middle of the body
    "slow",  # waits ``seconds``, then carries out and answers as usual
    "slow_after",  # carries out, waits ``seconds``, then answers: a client may have given up by then
    "wrong_content_type",  # carried out; the answer calls itself text/html
    "empty_200",  # carried out; status 200 without a body
    "restarted",  # all connections are reset, new ones refused for ``seconds``; not carried out
    "serialization_failure",  # Odoo: other transactions were in the way five times; rolled back
    "database_gone",  # Odoo: the database that the call names is not there (any more)
]
"""What can break. Those that name no "carried out" stop the request before it has an effect, unless the
fault says ``after_applying``."""

CARRIED_OUT = frozenset(
    {"reset_after", "truncated", "cut_off", "slow", "slow_after", "wrong_content_type", "empty_200"}
)

OWN_KINDS = frozenset({"serialization_failure", "database_gone"})
"""Trouble that only a system that words it itself can have."""


@dataclass(slots=True)
class Fault:
    """One kind of trouble for the requests that match, after ``skip`` of them, ``times`` times.

    ``match_path_regex`` is searched in the path with its query string. ``match_method`` None means any.
    ``times`` None means always. ``match_body_regex`` is searched in the body, for systems whose every
    request has one path. ``after_applying`` carries the request out although the answer is an error.
    """

    kind: FaultKind
    match_method: str | None = None
    match_path_regex: str = ""
    times: int | None = 1
    skip: int = 0
    seconds: float = 1.0
    after_applying: bool = False
    match_body_regex: str = ""
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(
                f"fault kind {self.kind!r} is unknown; use one of {', '.join(get_args(FaultKind))}"
            )
        re.compile(self.match_path_regex)
        re.compile(self.match_body_regex)

    @property
    def applies(self) -> bool:
        """Whether the request is carried out all the same."""
        return self.after_applying or self.kind in CARRIED_OUT

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fault:
        """Read a fault sent as JSON; raises ValueError for an unknown key or kind."""
        known = {each.name for each in fields(cls)} - {"fired"}
        unknown = set(values) - known
        if unknown:
            raise ValueError(f"fault has unknown keys {sorted(unknown)}; use {sorted(known)}")
        if "kind" not in values:
            raise ValueError("fault needs a kind")
        return cls(**values)

    def _matches(self, method: str, target: str, body: bytes) -> bool:
        if self.match_method is not None and self.match_method.upper() != method:
            return False
        if self.match_path_regex and not re.search(self.match_path_regex, target):
            return False
        return not self.match_body_regex or bool(re.search(self.match_body_regex.encode(), body))


@dataclass(slots=True)
class Faults:
    """The trouble that is still to come. Thread-safe: tests add while the server takes."""

    waiting: list[Fault] = field(default_factory=list)
    fired: list[Fault] = field(default_factory=list)
    cleared: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, fault: Fault) -> Fault:
        """Arrange for trouble; the first fault that matches a request fires."""
        with self._lock:
            self.waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Take back all trouble that has not happened yet, and end the slowness under way."""
        with self._lock:
            self.waiting.clear()
            self.cleared += 1

    def take(self, method: str, target: str, body: bytes = b"") -> Fault | None:
        """The fault that this request (path with query string) runs into, counted as fired."""
        with self._lock:
            for fault in self.waiting:
                if not fault._matches(method, target, body):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.fired += 1
                self.fired.append(fault)
                if fault.times is not None and fault.fired >= fault.times:
                    self.waiting.remove(fault)
                return fault
        return None


@dataclass(slots=True)
class Latency:
    """Seconds that every request takes before it is carried out."""

    seconds: float = 0.0
