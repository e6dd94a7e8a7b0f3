"""Requests that this product never makes, no matter who asks; the last line of defence for its invariants.

Judged on method, path and body alone, inside batch operations too. Whether a permitted request should
be made is decided in :mod:`mc_pipeline.domain`.

Mailchimp API, why each is refused: PUT on a member re-adds archived people and overwrites consent; POST on
/lists/{list_id} with ``update_existing`` overwrites the status of existing members; POST on /members revives
archived people; an e-commerce customer with ``opt_in_status`` true becomes subscribed; a status of an order
mails its customer, so only a new order may have one, and only "pending"; what an order is attributed to is
Mailchimp's to say, so it is never sent; tags outside the ``tags`` key are answered 204 and dropped silently;
a webhook that reports API calls sends our own writes back to us.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from mc_pipeline.mailchimp.errors import ForbiddenRequestError
from mc_pipeline.vocabulary import MARKETING_STATUSES, MemberStatus

MAX_BATCH_OPERATIONS = 500
_SETTABLE_STATUSES = {MemberStatus.UNSUBSCRIBED, MemberStatus.SUBSCRIBED}


def path_segments(path: str) -> list[str]:
    """Split a path relative to ``/3.0`` into its decoded segments (without query)."""
    return [unquote(segment) for segment in urlsplit(path).path.strip("/").split("/") if segment]


def refuse_forbidden(method: str, path: str, body: Any) -> None:
    """Raise :class:`ForbiddenRequestError` when this request breaks an invariant of the product.

    ``body`` is the request's object (not its JSON text); operations of a batch have theirs as JSON text.
    """
    method = method.upper()
    segments = path_segments(path)
    if "//" in urlsplit(path).path or any(segment in {".", ".."} for segment in segments):
        _refuse(method, path, "the path has empty or relative segments, an id must be missing")
    match segments:
        case ["lists", _] if method == "DELETE":
            _refuse(method, path, "this product never deletes an audience")
        case ["lists", _] if method == "POST":
            _check_creation(method, path, body)
        case ["lists", _, "members"] if method == "POST":
            _refuse(method, path, "members are created by POST /lists/{list_id} with update_existing false")
        case ["lists", _, "members", _] if method == "PUT":
            _refuse(method, path, "PUT on a member re-adds archived people; use PATCH")
        case ["lists", _, "members", _] if method == "PATCH":
            _check_member_status(method, path, body)
        case ["lists", _, "members", _, "tags"] if method == "POST":
            _check_member_tags(method, path, body)
        case ["lists", _, "webhooks", *_] if method in {"POST", "PATCH"}:
            _check_webhook(method, path, body)
        case ["ecommerce", *rest] if method in {"POST", "PUT", "PATCH"}:
            _check_customers(method, path, rest, body)
        case ["batches"] if method == "POST":
            _check_operations(method, path, body)


def _refuse(method: str, path: str, why: str) -> NoReturn:
    raise ForbiddenRequestError(title="Forbidden Request", detail=why, method=method, path=path)


def _check_creation(method: str, path: str, body: Any) -> None:
    if not isinstance(body, Mapping) or body.get("update_existing") is not False:
        _refuse(method, path, "update_existing must be false: existing members' status is not ours to send")
    if not isinstance(body.get("members"), list | tuple):
        _refuse(method, path, "members must be a list of members")


def _check_member_status(method: str, path: str, body: Any) -> None:
    if isinstance(body, Mapping) and "status_if_new" in body:
        _refuse(method, path, "status_if_new belongs to PUT, which this product never uses on members")
    if isinstance(body, Mapping) and "status" in body and body["status"] not in _SETTABLE_STATUSES:
        _refuse(method, path, f"an existing member's status is never set to {body['status']!r}")


def _check_member_tags(method: str, path: str, body: Any) -> None:
    tags = body.get("tags") if isinstance(body, Mapping) else None
    if not isinstance(tags, list | tuple) or not tags:
        _refuse(method, path, "tags must be a list under the key 'tags': Mailchimp drops others silently")
    for tag in tags or ():
        if (
            not isinstance(tag, Mapping)
            or not tag.get("name")
            or tag.get("status") not in {"active", "inactive"}
        ):
            _refuse(method, path, "each tag needs a name and a status active or inactive")


def _check_webhook(method: str, path: str, body: Any) -> None:
    sources = body.get("sources") if isinstance(body, Mapping) else None
    if not isinstance(sources, Mapping) or not {"user", "admin", "api"} <= set(sources):
        _refuse(method, path, "a webhook names all its sources: otherwise the others are unknown")
    if sources["api"] is not False:
        _refuse(method, path, "a webhook never reports API calls: they would be our own writes")


def _check_customers(method: str, path: str, rest: list[str], body: Any) -> None:
    writes_customer = len(rest) >= 3 and rest[0] == "stores" and rest[2] == "customers"
    if writes_customer and method in {"POST", "PUT"}:
        _check_customer(method, path, body)
    _check_nested_customers(method, path, body)
    if len(rest) >= 3 and rest[0] == "stores" and rest[2] == "orders" and isinstance(body, Mapping):
        _check_order(method, path, rest, body)


def _check_order(method: str, path: str, rest: list[str], body: Mapping[str, Any]) -> None:
    if "fulfillment_status" in body:
        _refuse(method, path, "fulfillment_status mails customers and is never sent")
    for name in ("campaign_id", "outreach"):
        if name in body:
            _refuse(
                method,
                path,
                f"{name} is never sent: Mailchimp attributes by tracked clicks",
            )
    if len(rest) > 3:
        for name in ("customer", "financial_status"):
            if name in body:
                _refuse(method, path, f"{name} belongs to a new order: a correction never sends it")
    elif "financial_status" in body and (
        body["financial_status"] != "pending" or body.get("cancelled_at_foreign")
    ):
        _refuse(method, path, "a new order is announced as pending, or not at all: others mail customers")


def _check_nested_customers(method: str, path: str, body: Any) -> None:
    if isinstance(body, Mapping):
        if "opt_in_status" in body and body["opt_in_status"] is not False:
            _refuse(method, path, "opt_in_status must be false: consent is never written through e-commerce")
        for key, value in body.items():
            if key == "customer" and isinstance(value, Mapping) and set(value) != {"id"}:
                _check_customer(method, path, value)
            _check_nested_customers(method, path, value)
    elif isinstance(body, list | tuple):
        for item in body:
            _check_nested_customers(method, path, item)


def _check_customer(method: str, path: str, customer: Any) -> None:
    if not isinstance(customer, Mapping) or customer.get("opt_in_status") is not False:
        _refuse(method, path, "a customer must say opt_in_status false, or Mailchimp may subscribe them")


def _check_operations(method: str, path: str, body: Any) -> None:
    operations = body.get("operations") if isinstance(body, Mapping) else None
    if not isinstance(operations, list | tuple) or not operations:
        _refuse(method, path, "operations must be a list that is not empty")
    if len(operations or ()) > MAX_BATCH_OPERATIONS:
        _refuse(method, path, f"a batch holds at most {MAX_BATCH_OPERATIONS} operations")
    for operation in operations or ():
        _check_operation(method, path, operation)


def _check_reaches_nobody(method: str, path: str, body: Any) -> None:
    """Nobody knows when an operation of a batch is executed, nor who has opted out by then."""
    if isinstance(body, Mapping) and (
        body.get("status") in MARKETING_STATUSES or {"marketing_permissions", "members"} & body.keys()
    ):
        _refuse(method, path, "what makes somebody reachable is sent on its own, never in a batch")


def _check_operation(method: str, path: str, operation: Any) -> None:
    if not isinstance(operation, Mapping) or not operation.get("method") or not operation.get("path"):
        _refuse(method, path, "each operation needs a method and a path")
    inner_method, inner_path = str(operation["method"]).upper(), str(operation["path"])
    inner_segments = path_segments(inner_path)
    if urlsplit(inner_path).scheme or urlsplit(inner_path).netloc or urlsplit(inner_path).query:
        _refuse(inner_method, inner_path, "an operation's path is relative to /3.0 and without query")
    if inner_segments[:1] in (["batches"], ["3.0"]):
        _refuse(inner_method, inner_path, "an operation's path is relative to /3.0 and is no batch itself")
    inner_body = operation.get("body")
    if inner_body is not None:
        if not isinstance(inner_body, str):
            _refuse(inner_method, inner_path, "an operation's body is a JSON text")
        try:
            inner_body = json.loads(inner_body)
        except ValueError:
            _refuse(inner_method, inner_path, "an operation's body is not valid JSON")
    if inner_segments[:1] == ["lists"]:
        _check_reaches_nobody(inner_method, inner_path, inner_body)
    refuse_forbidden(inner_method, inner_path, inner_body)
