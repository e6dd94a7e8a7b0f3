"""Errors as the Mailchimp API words them (application/problem+json)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

DOCUMENTATION = "https://mailchimp.com/developer/marketing/docs/errors/"
NOT_VALIDATED = (
    "The resource submitted could not be validated. For field-specific details, see the 'errors' array."
)
MERGE_FIELDS_INVALID = "Your merge fields were invalid."

FieldError = tuple[str, str]
"""A field and what is wrong with it."""


class ApiError(Exception):
    """An answer that is an error. ``code`` is the error code that a bulk call gives for it."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        has_type: bool = True,
        allow: str | None = None,
        code: str = "ERROR_GENERIC",
    ) -> None:
        super().__init__(f"{status} {title}")
        self.status, self.title, self.detail = status, title, detail
        self.errors, self.has_type, self.allow, self.code = tuple(errors), has_type, allow, code

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        document: dict[str, Any] = {"type": DOCUMENTATION} if self.has_type else {}
        document |= {
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": str(uuid4()),
        }
        if self.errors:
            document["errors"] = [{"field": field, "message": message} for field, message in self.errors]
        return document


def invalid(detail: str, *errors: FieldError) -> ApiError:
    """Data that the API refuses."""
    return ApiError(400, "Invalid Resource", detail, errors=errors)


def not_validated(*errors: FieldError) -> ApiError:
    """A body of the wrong shape: the whole call is refused."""
    return invalid(NOT_VALIDATED, *errors)


def bad_request(detail: str) -> ApiError:
    """A request that makes no sense in the present state."""
    return ApiError(400, "Bad Request", detail)


def not_found() -> ApiError:
    """No such resource, or one of another account."""
    return ApiError(404, "Resource Not Found", "The requested resource could not be found.")


def method_not_allowed(allow: str, detail: str | None = None) -> ApiError:
    """The resource exists and does not do that."""
    return ApiError(
        405,
        "Method Not Allowed",
        detail or "The requested method and resource are not compatible. See the Allow header.",
        allow=allow,
    )


def member_exists(email: str) -> ApiError:
    """The address is on the list already (Mailchimp API: POST members, and a change to a used address)."""
    return ApiError(
        400,
        "Member Exists",
        f"{email} is already a list member. Use PUT to insert or update list members.",
        code="ERROR_CONTACT_EXISTS",
    )


def in_compliance_state(email: str) -> ApiError:
    """The person unsubscribed, bounced or complained: the API may not subscribe them."""
    return ApiError(
        400,
        "Member In Compliance State",
        f"{email} is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be "
        "subscribed.",
    )


def forgotten(email: str) -> ApiError:
    """The contact was permanently deleted. This error comes without the ``type`` key."""
    return ApiError(
        400,
        "Forgotten Email Not Subscribed",
        f"{email} was permanently deleted and cannot be re-imported. The contact must re-subscribe to get "
        "back on the list.",
        has_type=False,
    )


def too_many_signups(email: str) -> ApiError:
    """A refusal that passes with time."""
    return invalid(
        f"{email} has signed up to a lot of lists very recently; we're not allowing more signups for now"
    )


def contact_limit_reached() -> ApiError:
    """The plan takes no more contacts. Mailchimp API: the words are documented nowhere."""
    return ApiError(
        400,
        "Bad Request",
        "Your account has reached the contact limit of its plan. Upgrade your plan to add more contacts.",
    )


def api_key_invalid() -> ApiError:
    """Unknown or missing credentials."""
    return ApiError(
        401,
        "API Key Invalid",
        "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
    )


def too_many_requests() -> ApiError:
    """More than ten simultaneous connections of one user, or more than 500 unfinished batches."""
    return ApiError(
        429,
        "Too Many Requests",
        "You have exceeded the limit of 10 simultaneous connections.",
    )


def internal_server_error() -> ApiError:
    """What a fault answers."""
    return ApiError(
        500,
        "Internal Server Error",
        "An unexpected internal error has occurred. Please contact Support for more information.",
    )
