"""Equal things have equal texts and equal digests: bodies of JSON, and the addresses of members."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Write equal values as equal text: sorted keys, no spaces, no escaped letters.

    Raises ``TypeError`` for what JSON does not know (Decimal, datetime): convert it first.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def body_digest(body_json: str) -> str:
    """A digest by which a body is recognised: SHA-256 in hex of its canonical JSON.

    A body that was refused is not sent again until this changes.
    """
    return hashlib.sha256(body_json.encode()).hexdigest()


def subscriber_hash(email: str) -> str:
    """Mailchimp's id of a member: MD5 of the address in lower case."""
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()
