"""What is sent again after a failure, how often and after which pause.

Mailchimp API: there is no idempotency key. A refusal before processing (429, a 403 without body at very
high volume) and a connection that was never made are safe to repeat. A failure after sending (5xx, reset,
timeout, unreadable answer) leaves open whether the write was applied: only requests whose repetition ends
in the same state are sent again, whatever the person did in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mc_pipeline import retrying
from mc_pipeline.mailchimp.errors import (
    MailchimpAuthenticationError,
    MailchimpBlockedError,
    MailchimpError,
    MailchimpNotSentError,
    MailchimpPermissionError,
    MailchimpRateLimitError,
    MailchimpServerError,
    MailchimpUnknownOutcomeError,
)
from mc_pipeline.mailchimp.guard import path_segments
from mc_pipeline.vocabulary import MemberStatus


@dataclass(frozen=True)
class RetryPolicy(retrying.RetryPolicy):
    """How often a request to Mailchimp is tried, and for how long, unless somebody says otherwise.

    ``sleep`` None: the pause of the client, which its ``stop`` ends.
    """

    attempts: int = 6
    total_seconds: float = 600
    first_wait_seconds: float = 1
    longest_wait_seconds: float = 60

    def asked_seconds(self, error: BaseException) -> float:
        """Return what the answer's Retry-After says."""
        return _retry_after(error) if isinstance(error, MailchimpError) else 0.0


def _retry_after(error: MailchimpError) -> float:
    value = next((text for name, text in error.headers.items() if name.lower() == "retry-after"), "")
    return float(value) if value.isdigit() else 0.0


def may_be_resent(method: str, path: str, body: Any) -> bool:
    """Say whether sending this twice ends in the same state as sending it once.

    Not so: creations; a PATCH that renames (the old address is gone the second time); a PATCH to
    ``subscribed`` (the person may have unsubscribed in between), and one that gives marketing permissions
    (the person may have taken them back in between). POST /lists/{list_id} is not either at
    this level: its second answer reports the first one's members as existing, which
    :func:`mc_pipeline.mailchimp.members.create_members` resolves by reading back.
    """
    method = method.upper()
    if method in {"GET", "HEAD", "OPTIONS", "DELETE", "PUT"}:
        return True
    if method == "PATCH":
        return not (
            isinstance(body, Mapping)
            and (
                "email_address" in body
                or "marketing_permissions" in body
                or body.get("status") == MemberStatus.SUBSCRIBED
            )
        )
    match path_segments(path):
        case ["lists", _, "members", _, "tags"] | ["lists", _, "segments", _]:
            return True
        case ["lists", _, "members", _, "actions", "delete-permanent"]:
            return True
    return False


def outcome_is_open(error: BaseException, method: str) -> bool:
    """Say whether this failure leaves open that the request was applied."""
    return method != "GET" and isinstance(error, MailchimpServerError | MailchimpUnknownOutcomeError)


def may_retry(error: BaseException, resendable: bool) -> bool:
    """Say whether this failure of this request may be followed by another attempt."""
    if isinstance(error, MailchimpRateLimitError):
        return True
    if isinstance(error, MailchimpNotSentError):
        return error.retryable
    if isinstance(error, MailchimpServerError | MailchimpUnknownOutcomeError):
        return resendable
    return False


def says_nothing_about_earlier_attempts(error: BaseException) -> bool:
    """Say whether a last failure leaves an earlier attempt's unknown outcome unknown.

    A refusal of the data does not: it would have met the earlier attempt too.
    """
    return isinstance(
        error,
        MailchimpRateLimitError
        | MailchimpNotSentError
        | MailchimpServerError
        | MailchimpBlockedError
        | MailchimpAuthenticationError
        | MailchimpPermissionError
        | MailchimpUnknownOutcomeError,
    )
