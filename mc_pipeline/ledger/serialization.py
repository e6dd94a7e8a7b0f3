"""How structured values are kept in a text or binary column of the ledger."""

import zlib
from collections.abc import Iterable


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
