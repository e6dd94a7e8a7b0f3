"""How structured values are kept in a text or binary column of the ledger."""

import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import Any


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, letters as they are.

    Raises ``TypeError`` for what JSON does not know (Decimal, datetime): convert it first.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def body_digest(body_json: str) -> str:
    """The identity of what was sent: SHA-256 in hex of the canonical JSON of a body."""
    return hashlib.sha256(body_json.encode()).hexdigest()


def compress_keys(keys: Iterable[str]) -> bytes:
    """Row keys as one compressed value; they hold no line breaks."""
    return zlib.compress("\n".join(keys).encode(), level=6)


def expand_keys(blob: bytes | None) -> list[str]:
    """The row keys of ``compress_keys``; of nothing, nothing."""
    if not blob:
        return []
    joined = zlib.decompress(blob).decode()
    return joined.split("\n") if joined else []


def address_key(email: str) -> str:
    """An address as the ledger keys it: without surrounding space, in lower case."""
    return email.strip().lower()
