"""What can go wrong with Mailchimp, as one hierarchy a caller can branch on.

Here: the exceptions, and the classification of Mailchimp's texts. Not here: what is sent again
(:mod:`mc_pipeline.mailchimp.retry`) and how an answer is read (:mod:`mc_pipeline.mailchimp.answers`).

Mailchimp API: an error document has title, status, detail, instance and sometimes errors[] of field
and message. Its ``type`` is one documentation address for all errors or is missing, so that status,
title and detail are all there is to branch on.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

from mc_pipeline.masking import mask_text

RejectionKind = Literal["exists", "compliance", "forgotten", "invalid", "deferred", "limit", "other"]

CONNECTION_FAILED = "Connection Failed"
CHECK_TOO_OLD = "Check Too Old"
_KIND_OF_TITLE: dict[str, RejectionKind] = {
    "member exists": "exists",
    "member in compliance state": "compliance",
    "forgotten email not subscribed": "forgotten",
}
REFUSED_FOR_GOOD: Mapping[RejectionKind, str] = {
    "compliance": "Member In Compliance State",
    "forgotten": "Forgotten Email Not Subscribed",
}
"""Refusals of a person, whatever is sent: kind, and Mailchimp's title, which bulk creation leaves out.
Only the person can come back, by a sign-up form (rule 6.6)."""
# In order: the first pattern that is found decides. "Signed up to a lot of lists" comes with the title
# Invalid Resource although waiting cures it.
_KIND_OF_DETAIL: tuple[tuple[re.Pattern[str], RejectionKind], ...] = (
    (re.compile(r"signed up (to|for) a lot of lists|not allowing more signups", re.I), "deferred"),
    (re.compile(r"compliance (state|review)", re.I), "compliance"),
    (re.compile(r"permanently deleted and cannot be re-?imported", re.I), "forgotten"),
    (re.compile(r"already (a list member|in (this|the) list)", re.I), "exists"),
    (re.compile(r"looks fake or invalid|provide a valid email|merge fields were invalid", re.I), "invalid"),
    # Mailchimp API: the words of a contact limit are documented nowhere; this is what they are about.
    (
        re.compile(
            r"\b(contacts?|subscribers?|members?|audiences?|plan|account|billing)\b.{0,60}\b(limit|maximum|quota)"
            r"|\b(limit|quota)\b.{0,60}\b(contacts?|subscribers?|members?|plan|account)\b"
            r"|\b(exceed\w*|over) (your|the) .{0,30}\b(plan|contacts?|subscribers?)\b"
            r"|\bupgrade your (plan|account)\b",
            re.I,
        ),
        "limit",
    ),
)
_ADDRESS = re.compile(r"\S+@\S+")


def classify_rejection(
    title: str | None, detail: str | None, error_code: str | None = None, field: str | None = None
) -> RejectionKind:
    """Say why Mailchimp refused one member; the same for single calls, bulk creation and batch results.

    ``exists``: already in the audience. ``compliance``: unsubscribed, bounced or under review, permanently.
    ``forgotten``: permanently deleted. ``invalid``: the data must change. ``deferred``: the same data may
    pass later ("signed up to a lot of lists"). ``limit``: the plan or the account takes no more contacts, no
    matter who they are. ``other``: none of these.

    ``error_code`` and ``field`` are those of the errors[] of POST /lists/{list_id}.
    """
    if error_code == "ERROR_CONTACT_EXISTS":
        return "exists"
    if error_code == "ERROR_TOO_MANY_RECENT_SIGNUPS":
        return "deferred"
    by_title = _KIND_OF_TITLE.get((title or "").strip().lower())
    if by_title:
        return by_title
    # An address may contain any of the words.
    words = _ADDRESS.sub("", detail or "")
    for pattern, kind in _KIND_OF_DETAIL:
        if pattern.search(words):
            return kind
    if field or (title or "").strip().lower() == "invalid resource":
        return "invalid"
    return "other"


class MailchimpError(Exception):
    """Anything Mailchimp, or the way to it, answered other than success.

    Attributes:
        status: HTTP status, None where there was no answer.
        title, detail: Mailchimp's own words, unmasked: ``detail`` may quote an e-mail address, so it
            belongs in tables and the ledger, never into a log. ``str()`` is masked.
        errors: Mailchimp's errors[] (field, message), unmasked.
        method, path: what was asked, the path relative to ``/3.0``.
        request_id: ``X-Request-Id`` of the answer, which Mailchimp's support asks for.
        headers: all headers of the answer.
        attempts: how often the request was tried.
    """

    advice: ClassVar[str] = "Read Mailchimp's text; the request was refused and changed nothing."

    def __init__(
        self,
        status: int | None = None,
        title: str = "",
        detail: str = "",
        errors: Sequence[Mapping[str, Any]] = (),
        method: str = "",
        path: str = "",
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = [dict(error) for error in errors]
        self.method = method
        self.path = path
        self.request_id = request_id
        self.headers = dict(headers or {})
        self.attempts = attempts
        super().__init__(str(self))

    def __str__(self) -> str:
        path = "/".join(mask_text(segment) for segment in unquote(self.path).split("/"))
        request = " ".join(part for part in ("Mailchimp", self.method, path) if part)
        answer = " ".join(str(part) for part in (self.status, self.title) if part)
        fields = "; ".join(
            f"{error.get('field') or 'request'}: {error.get('message') or error.get('error') or '?'}"
            for error in self.errors
        )
        parts = [part for part in (request, answer, mask_text(self.detail), mask_text(fields)) if part]
        text = ": ".join(parts).rstrip(". ") + ". " + self.advice
        if self.attempts > 1:
            text += f" (tried {self.attempts} times)"
        if self.request_id:
            text += f" (X-Request-Id {self.request_id})"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).__new__, (type(self), *self.args), vars(self))

    @property
    def kind(self) -> RejectionKind:
        """The rejection in one word; see :func:`classify_rejection`."""
        return classify_rejection(self.title, self.detail)


class MailchimpAuthenticationError(MailchimpError):
    """The API key is wrong, revoked, or of another data centre."""

    advice = "Check the API key of this Mailchimp account: whole, not revoked, and of this data centre."


class MailchimpBlockedError(MailchimpError):
    """The network in front of Mailchimp refused this machine's address (HTML "Access Denied")."""

    advice = (
        "This machine's IP address is blocked by the network in front of Mailchimp, the API key is not the "
        "cause: wait, or run from another address; trying again at once does not help."
    )


class MailchimpPermissionError(MailchimpError):
    """The key's user may not do this (403 with Mailchimp's own answer)."""

    advice = "Give the user of this API key the right in Mailchimp, or see why the account is restricted."


class MailchimpNotFoundError(MailchimpError):
    """Mailchimp itself says that there is no such thing."""

    advice = "Check the id: it does not exist in the account of this API key, or not any more."


class MailchimpComplianceError(MailchimpError):
    """The person unsubscribed, bounced or is under review; the API cannot subscribe them, ever."""

    advice = "Leave this person as they are: only they can subscribe again, through a Mailchimp form."


class MailchimpForgottenError(MailchimpError):
    """The person was permanently deleted and cannot be imported again."""

    advice = "Leave this person out: only they can come back, through a Mailchimp form."


class MailchimpMemberExistsError(MailchimpError):
    """The address is a member already."""

    advice = "Read the member that is there, and update or merge instead."


class MailchimpInvalidError(MailchimpError):
    """The data was refused."""

    advice = "Correct the named value at its source; the same data will be refused again."


class MailchimpTooManySignupsError(MailchimpInvalidError):
    """The address has signed up to many lists recently: the same data may pass later."""

    advice = "Try this address again later, first in minutes, then in days."


class MailchimpContactLimitError(MailchimpError):
    """The plan or the account takes no more contacts."""

    advice = "Raise the contact limit of the plan in Mailchimp (Account, Billing), or archive contacts there."


class MailchimpRateLimitError(MailchimpError):
    """Too many simultaneous connections or unfinished batches; nothing was applied."""

    advice = "Lower max_connections of this account, or look for other programs that use the same user."


class MailchimpServerError(MailchimpError):
    """Mailchimp failed, or answered what cannot be read; nothing was to be changed."""

    advice = "Mailchimp has a problem: try again later."


class MailchimpUnknownOutcomeError(MailchimpError):
    """A write was sent and no readable answer came: it may or may not have been applied."""

    advice = "It is not known whether this was applied: read it back before sending it again."


class MailchimpNotSentError(MailchimpError):
    """The request never reached Mailchimp; nothing was changed."""

    @property
    def retryable(self) -> bool:
        """Whether the way to Mailchimp failed, which may pass; refusals of our own do not."""
        return self.title in (CONNECTION_FAILED, CHECK_TOO_OLD)

    advice = "Nothing was sent; check the network, the data centre in the API key, and base_url."


class ForbiddenRequestError(MailchimpNotSentError):
    """A request that the product must never make (docs/design.md, invariants); refused before it is sent."""

    advice = "Nothing was sent: this is a bug in mc_pipeline, not a fault of the data or of Mailchimp."


class BatchLostError(MailchimpError):
    """The results of a batch cannot be had any more: each of its operations may or may not be applied."""

    advice = "Read back what the batch was to change; its own results are gone."


_CLASS_OF_KIND: dict[RejectionKind, type[MailchimpError]] = {
    "exists": MailchimpMemberExistsError,
    "compliance": MailchimpComplianceError,
    "forgotten": MailchimpForgottenError,
    "invalid": MailchimpInvalidError,
    "deferred": MailchimpTooManySignupsError,
    "limit": MailchimpContactLimitError,
    "other": MailchimpError,
}


def error_class(status: int, title: str, detail: str) -> type[MailchimpError]:
    """Choose the exception for an error document of Mailchimp (of a call, or of one batch operation)."""
    if status == 401 or title.strip().lower() in {"api key invalid", "api key missing", "wrong datacenter"}:
        return MailchimpAuthenticationError
    if status == 403:
        is_limit = classify_rejection(title, detail) == "limit"
        return MailchimpContactLimitError if is_limit else MailchimpPermissionError
    if status == 404:
        return MailchimpNotFoundError
    if status == 429:
        return MailchimpRateLimitError
    if status == 408 or status >= 500:
        return MailchimpServerError
    return _CLASS_OF_KIND[classify_rejection(title, detail)]
