"""Reads Mailchimp's answers from their bytes: data, nothing, or a typed error; never a silent success.

The official library takes an error with an empty or unreadable body for a success, knows JSON only by the
content type ``application/json`` (Mailchimp's errors say ``application/problem+json``) and loses headers.
Here the status decides whether it is an error and the bytes decide what it says; content types do not.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import requests

from mc_pipeline.mailchimp.errors import (
    MailchimpBlockedError,
    MailchimpError,
    MailchimpRateLimitError,
    MailchimpServerError,
    error_class,
)

_SHOWN_BODY = 200


def read_answer(response: requests.Response, method: str, path: str) -> Any:
    """Return the decoded dict or list of a successful answer, None for 204 and ``{}``.

    Raises:
        MailchimpServerError: a success status whose body is empty or not JSON, or a 5xx.
        MailchimpError: the subclass for the error that Mailchimp reports.
    """
    context: dict[str, Any] = {
        "method": method,
        "path": path,
        "request_id": response.headers.get("X-Request-Id"),
        "headers": dict(response.headers),
    }
    if not 200 <= response.status_code < 300:
        raise _error(response, context)
    if response.status_code == 204:
        return None
    try:
        data = json.loads(response.content)
    except ValueError:
        data = None
    if not isinstance(data, dict | list):
        raise MailchimpServerError(
            status=response.status_code,
            title="Unreadable Answer",
            detail=f"the status says success, the body is {_describe(response.content, quote=False)}",
            **context,
        )
    return data if data != {} else None


def require(answer: Any, key: str, kind: type, *, path: str = "") -> Any:
    """Return ``answer[key]``, which must be of this type.

    Raises:
        MailchimpServerError: the answer is JSON of another shape (an empty ``{}`` included).
    """
    value = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise MailchimpServerError(
            title="Unexpected Answer", detail=f"the answer has no {kind.__name__} {key!r}", path=path
        )
    return value


def error_of_document(status: int, document: Mapping[str, Any], context: Mapping[str, Any]) -> MailchimpError:
    """Build the typed error for one error document, with ``context`` as further arguments."""
    title, detail = str(document.get("title") or ""), str(document.get("detail") or "")
    errors = [error for error in document.get("errors") or () if isinstance(error, Mapping)]
    return error_class(status, title, detail)(
        status=status, title=title, detail=detail, errors=errors, **context
    )


def _error(response: requests.Response, context: dict[str, Any]) -> MailchimpError:
    status, body = response.status_code, response.content
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and (document.get("title") or document.get("detail")):
        return error_of_document(status, document, context)
    described = _describe(body)
    head = body[:4096].lower()
    if (status in {403, 503} and b"access denied" in head) or (status == 403 and b"<html" in head):
        return MailchimpBlockedError(status, "Access Denied", described, **context)
    if status == 429 or (status == 403 and not body.strip()):
        return MailchimpRateLimitError(status, "Too Many Requests", described, **context)
    if status == 408 or status >= 500:
        return MailchimpServerError(status, response.reason or "", described, **context)
    if status == 401:
        return error_class(401, "", "")(status, "Unauthorized", described, **context)
    if 300 <= status < 400:
        host = response.headers.get("Location", "nowhere").split("?")[0]
        return MailchimpError(status, "Redirect", f"sent on to {host}: check base_url", **context)
    # A 404 without Mailchimp's own document may come from any proxy: it proves no absence.
    return MailchimpError(
        status,
        response.reason or "",
        f"not Mailchimp's own answer ({described}): check base_url and proxies",
        **context,
    )


def _describe(body: bytes, *, quote: bool = True) -> str:
    # The body of a success holds people's data: only error bodies and pages of proxies are quoted.
    text = body[: _SHOWN_BODY * 10].decode("utf-8", "replace").strip()
    if not text:
        return "an empty body"
    if text.startswith("<"):
        text = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", text)
        return "HTML: " + " ".join(text.split())[:_SHOWN_BODY]
    if not quote:
        return f"{len(body)} bytes that are not a JSON object"
    return f"a body that is no error document of Mailchimp: {' '.join(text.split())[:_SHOWN_BODY]}"
