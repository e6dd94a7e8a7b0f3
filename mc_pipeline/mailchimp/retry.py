"""What is sent again after a failure, how often and after which pause.

Mailchimp API: there is no idempotency key. A refusal before processing (429, a 403 without body at very
high volume) and a connection that was never made are safe to repeat. A failure after sending (5xx, reset,
timeout, unreadable answer) leaves open whether the write was applied: only requests whose repetition ends
in the same state are sent again, whatever the person did in between.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tenacity

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
class RetryPolicy:
    """How often a request is tried, and for how long.

    Pauses are drawn between 0 and an exponentially growing bound (full jitter), so that the workers of
    one account do not come back together. ``sleep`` None: the client's own pause, which its ``stop`` ends.
    """

    attempts: int = 6
    total_seconds: float = 600
    first_wait_seconds: float = 1
    longest_wait_seconds: float = 60
    sleep: Callable[[float], None] | None = None

    def retrying(self, may_retry: Callable[[BaseException], bool], sleep: Callable[[float], None]) -> Any:
        """Return the tenacity loop; ``sleep`` is used where the policy has none of its own."""
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.total_seconds),
            wait=self.wait,
            retry=tenacity.retry_if_exception(may_retry),
            sleep=self.sleep or sleep,
            reraise=True,
        )

    def wait(self, state: tenacity.RetryCallState) -> float:
        """Return the pause before the next attempt: full jitter, or what the answer's Retry-After asks."""
        bound = min(
            self.longest_wait_seconds, self.first_wait_seconds * 2 ** min(state.attempt_number - 1, 30)
        )
        error = state.outcome.exception() if state.outcome else None
        asked = _retry_after(error) if isinstance(error, MailchimpError) else 0.0
        return max(random.uniform(0, bound), min(asked, self.longest_wait_seconds))


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
