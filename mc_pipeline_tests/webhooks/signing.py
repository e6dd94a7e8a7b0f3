"""Deliveries and their signatures, written here once more so that the product's own code is not its judge."""

import hashlib
import hmac
from urllib.parse import urlencode


def signature(secret: str, at: int, body: bytes) -> str:
    digest = hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def form(type: str = "unsubscribe", fired_at: str = "2026-03-02 09:00:00", **data: str) -> bytes:
    """A delivery as Mailchimp writes it, for audience retail1 unless told otherwise."""
    given = {
        "id": "8a25ff1d98",
        "list_id": "retail1",
        "email": "ada@example.org",
        "email_type": "html",
        "merges][EMAIL": "ada@example.org",
        "merges][FNAME": "Ada",
        **({"action": "unsub", "reason": "manual"} if type == "unsubscribe" else {}),
        **data,
    }
    fields = {"type": type, "fired_at": fired_at, **{f"data[{name}]": value for name, value in given.items()}}
    return urlencode(fields).encode()
