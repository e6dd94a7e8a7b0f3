"""The signature of a delivery: made by Mailchimp over the raw body with the secret of the webhook.

``X-Mailchimp-Signature: t=<seconds since 1970>,v1=<hex HMAC-SHA256 of "{t}.{raw body}">``. While a secret is
being exchanged there may be several ``v1``. Webhooks older than 2026 are not signed.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime, timedelta

HEADER = "X-Mailchimp-Signature"
TOLERANCE = timedelta(minutes=5)

# No more than a clock can show: a longer number would cost time to read.
_TIME = re.compile(r"[0-9]{1,12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAXIMUM_PARTS = 10


def is_signed(header: str | None, body: bytes, secrets: Iterable[str], now: datetime) -> bool:
    """Return whether the header signs exactly this body with one of the secrets, within five minutes of now.

    Anything malformed is unsigned. How long this takes reveals nothing about the secrets.
    """
    parts = [part.strip().partition("=") for part in (header or "").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    digests = [value for name, _, value in parts if name == "v1" and _DIGEST.fullmatch(value)]
    if len(parts) > _MAXIMUM_PARTS or len(times) != 1 or not _TIME.fullmatch(times[0]):
        return False
    if abs(now.timestamp() - int(times[0])) > TOLERANCE.total_seconds():
        return False
    # Every pair is compared, whatever came of those before.
    matches = [
        hmac.compare_digest(_digest(secret, times[0], body), digest)
        for secret in secrets
        for digest in digests
    ]
    return any(matches)


def _digest(secret: str, time: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
