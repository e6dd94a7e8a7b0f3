"""The API itself: which method on which path does what. Knows nothing of HTTP connections.

Direct requests and the operations inside batches come through the same :meth:`Api.answer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from mc_pipeline.sandbox.mailchimp import batches, members, merge_fields, reading, segments, shapes, stores
from mc_pipeline.sandbox.mailchimp import webhooks as hooks
from mc_pipeline.sandbox.mailchimp.problems import (
    ApiError,
    bad_request,
    method_not_allowed,
    not_found,
)
from mc_pipeline.sandbox.mailchimp.state import Audience, Batch, MailchimpState, Member, Store
from mc_pipeline.sandbox.mailchimp.times import parsed, written

Document = dict[str, Any]
BASE = "/3.0"


@dataclass(slots=True)
class Call:
    """One request to be answered. ``body`` is None for no body, and for a body that says ``null``."""

    state: MailchimpState
    account: str
    names: dict[str, str]
    query: dict[str, str]
    body: Any
    base_url: str

    @property
    def audience(self) -> Audience:
        """The audience in the path, or 404."""
        audience = self.state.audience_of_account(self.account, self.names["list_id"])
        if audience is None:
            raise not_found()
        return audience

    @property
    def store(self) -> Store:
        """The store in the path, or 404."""
        return stores.store_of(self.state, self.account, self.names["store_id"])

    @property
    def choice(self) -> reading.Choice:
        """The fields asked for."""
        return reading.Choice(self.query)

    def sent(self, shape: shapes.Shape) -> Document:
        """The body, when it has this shape."""
        return shapes.checked({} if self.body is None else self.body, shape)


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """A status with a document (None for 204) or the error."""

    status: int
    document: Document | None
    allow: str | None = None

    @property
    def is_problem(self) -> bool:
        """Whether this is an error document."""
        return self.status >= 400


Handler = Callable[[Call], Document | None]
_ROUTES: dict[int, list[tuple[str, tuple[str, ...], Handler]]] = {}


def _on(method: str, path: str) -> Callable[[Handler], Handler]:
    parts = tuple(path.strip("/").split("/")) if path != "/" else ()

    def register(handler: Handler) -> Handler:
        _ROUTES.setdefault(len(parts), []).append((method, parts, handler))
        return handler

    return register


def _find(method: str, path: str) -> tuple[Handler, dict[str, str]]:
    """The handler for a path below /3.0; 404 for an unknown path, 405 for a known one without the method.

    An empty part (as in ``//``) and an encoded slash change the path, as on the real server.
    """
    given = tuple(path.strip("/").split("/")) if path.strip("/") else ()
    allowed = set()
    for known_method, parts, handler in _ROUTES.get(len(given), ()):
        names: dict[str, str] = {}
        for part, value in zip(parts, given, strict=True):
            if part.startswith("{"):
                names[part[1:-1]] = value
            elif part != value:
                break
        else:
            if known_method == method:
                return handler, names
            allowed.add(known_method)
    if allowed:
        raise method_not_allowed(", ".join(sorted(allowed)))
    raise not_found()


class Api:
    """Answers requests of authenticated accounts on one state."""

    def __init__(self, state: MailchimpState) -> None:
        self.state = state

    def answer(
        self, account: str, method: str, path: str, query_string: str, raw_body: bytes, base_url: str
    ) -> ApiAnswer:
        """Carry out one request; ``path`` is below /3.0. Nothing is half done when the answer is an error."""
        with self.state.lock:
            try:
                handler, names = _find(method, path)
                call = Call(
                    self.state,
                    account,
                    names,
                    dict(parse_qsl(query_string, keep_blank_values=True)),
                    _body(raw_body),
                    base_url,
                )
                document = handler(call)
            except ApiError as problem:
                return ApiAnswer(problem.status, problem.document(), problem.allow)
        return ApiAnswer(204 if document is None else 200, document)

    def run_batches(self, base_url: str = "http://sandbox.invalid", *, at_most: int = 100) -> bool:
        """Take one step with the batch whose turn it is; False when none is waiting."""
        with self.state.lock:
            batch = batches.next_unfinished(self.state)
            if batch is None:
                return False
            batches.run(
                self.state, batch, lambda owner, operation: self._operate(owner, operation, base_url), at_most
            )
            return True

    def _operate(self, batch: Batch, operation: Mapping[str, Any], base_url: str) -> tuple[int, str]:
        target = urlsplit(operation["path"])
        parameters = [*parse_qsl(target.query), *(operation.get("params") or {}).items()]
        query_string = urlencode([(name, _query_text(value)) for name, value in parameters])
        raw_body = (operation.get("body") or "").encode()
        method = operation["method"]
        entry = self.state.journal.record(
            method,
            BASE + target.path,
            query_string=query_string,
            raw_body=raw_body,
            batch_id=batch.id,
            account=batch.account,
        )
        if target.path.startswith("/batches"):
            refused = bad_request("Batch operations cannot be used inside of batch operations.")
            answer = ApiAnswer(refused.status, refused.document())
        else:
            answer = self.answer(batch.account, method, target.path, query_string, raw_body, base_url)
        entry.status, entry.applied = answer.status, answer.status < 400
        text = "" if answer.document is None else json.dumps(answer.document, ensure_ascii=False)
        if self.state.journal.keep_responses:
            entry.raw_response = text.encode()
        return answer.status, text


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _body(raw_body: bytes) -> Any:
    if not raw_body.strip():
        return None
    try:
        return json.loads(raw_body, parse_constant=_no_constant)
    except ValueError as error:
        raise ApiError(
            400,
            "JSON Parse Error",
            "We encountered an unspecified JSON parsing error. This error means that your JSON is not "
            "formatted correctly.",
        ) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _paged(
    call: Call, name: str, found: list[Any], show: Callable[[Any], Document], **about: Any
) -> Document:
    count, offset = reading.page(call.query)
    document = {
        name: [show(each) for each in found[offset : offset + count]],
        **about,
        "total_items": len(found),
        "_links": [],
    }
    return call.choice.trim(document)


# --- account ----------------------------------------------------------------------------------------


@_on("GET", "/ping")
def _ping(call: Call) -> Document:
    return {"health_status": "Everything's Chimpy!"}


@_on("GET", "/")
def _root(call: Call) -> Document:
    audiences = [each for each in call.state.audiences.values() if each.account == call.account]
    document = {
        "account_id": call.account,
        "login_id": "1",
        "account_name": f"Sandbox {call.account}",
        "email": "sandbox@example.com",
        "first_name": "Sandbox",
        "last_name": "Owner",
        "username": call.account,
        "avatar_url": "",
        "role": "owner",
        "member_since": "2020-01-01T00:00:00+00:00",
        "pricing_plan_type": "monthly",
        "first_payment": "",
        "account_timezone": "UTC",
        "account_industry": "",
        "contact": {
            "company": "Sandbox",
            "addr1": "",
            "addr2": "",
            "city": "",
            "state": "",
            "zip": "",
            "country": "",
        },
        "pro_enabled": False,
        "last_login": "",
        "total_subscribers": sum(len(each.by_status["subscribed"]) for each in audiences),
        "industry_stats": {"open_rate": 0, "bounce_rate": 0, "click_rate": 0},
        "_links": [],
    }
    return call.choice.trim(document)


# --- audiences --------------------------------------------------------------------------------------


@_on("GET", "/lists")
def _lists(call: Call) -> Document:
    found = [each for each in call.state.audiences.values() if each.account == call.account]
    if call.query.get("email"):
        found = [each for each in found if each.find(call.query["email"]) is not None]
    totals = reading.flag(call.query, "include_total_contacts")
    return _paged(
        call,
        "lists",
        found,
        lambda each: reading.show_audience(call.state, each, call.base_url, include_total_contacts=totals),
        constraints={
            "may_create": True,
            "max_instances": 100,
            "current_total_instances": len(found),
        },
    )


@_on("GET", "/lists/{list_id}")
def _list(call: Call) -> Document:
    totals = reading.flag(call.query, "include_total_contacts")
    return call.choice.trim(
        reading.show_audience(call.state, call.audience, call.base_url, include_total_contacts=totals)
    )


@_on("POST", "/lists/{list_id}")
def _bulk_members(call: Call) -> Document:
    audience, body = call.audience, call.sent(shapes.BULK_MEMBERS)
    new, updated, errors = members.bulk_write(
        call.state,
        audience,
        body["members"],
        update_existing=body.get("update_existing", False),
        sync_tags=body.get("sync_tags", False),
        skip_validation=reading.flag(call.query, "skip_merge_validation"),
        skip_duplicate_check=reading.flag(call.query, "skip_duplicate_check"),
    )
    return {
        "new_members": _shown_in_bulk(call, audience, new),
        "updated_members": _shown_in_bulk(call, audience, updated),
        "errors": errors,
        "total_created": len(new),
        "total_updated": len(updated),
        "error_count": len(errors),
        "_links": [],
    }


def _shown_in_bulk(call: Call, audience: Audience, found: Iterable[Member]) -> list[Document]:
    choice = reading.Choice({})
    return reading.show_members(
        call.state, audience, found, call.base_url, choice, under="", keys=reading.BULK_MEMBER_KEYS
    )


# --- members ----------------------------------------------------------------------------------------


@_on("GET", "/lists/{list_id}/members")
def _members(call: Call) -> Document:
    audience = call.audience
    members.lapse_pending(call.state, audience)
    count, offset = reading.page(call.query)
    found = reading.find_members(call.state, audience, call.query)
    choice = call.choice
    document: Document = {"list_id": audience.id, "total_items": len(found), "_links": []}
    if choice.wants("members"):
        document["members"] = reading.show_members(
            call.state, audience, found[offset : offset + count], call.base_url, choice, under="members"
        )
    return choice.trim(document)


@_on("POST", "/lists/{list_id}/members")
def _add_member(call: Call) -> Document:
    audience = call.audience
    member = members.create_member(
        call.state, audience, call.sent(shapes.NEW_MEMBER), skip_validation=_skips_validation(call)
    )
    return _shown(call, audience, member)


@_on("GET", "/lists/{list_id}/members/{subscriber_hash}")
def _member(call: Call) -> Document:
    audience = call.audience
    members.lapse_pending(call.state, audience)
    return _shown(call, audience, members.existing(audience, call.names["subscriber_hash"]))


@_on("PUT", "/lists/{list_id}/members/{subscriber_hash}")
def _put_member(call: Call) -> Document:
    audience = call.audience
    member = members.upsert_member(
        call.state,
        audience,
        call.names["subscriber_hash"],
        call.sent(shapes.PUT_MEMBER),
        skip_validation=_skips_validation(call),
    )
    return _shown(call, audience, member)


@_on("PATCH", "/lists/{list_id}/members/{subscriber_hash}")
def _patch_member(call: Call) -> Document:
    audience = call.audience
    member = members.update_member(
        call.state,
        audience,
        call.names["subscriber_hash"],
        call.sent(shapes.PATCH_MEMBER),
        skip_validation=_skips_validation(call),
    )
    return _shown(call, audience, member)


@_on("DELETE", "/lists/{list_id}/members/{subscriber_hash}")
def _archive_member(call: Call) -> None:
    members.archive_member(call.state, call.audience, call.names["subscriber_hash"])


@_on("POST", "/lists/{list_id}/members/{subscriber_hash}/actions/delete-permanent")
def _delete_permanently(call: Call) -> None:
    members.delete_permanently(call.state, call.audience, call.names["subscriber_hash"], by="api")


@_on("GET", "/lists/{list_id}/members/{subscriber_hash}/tags")
def _member_tags(call: Call) -> Document:
    audience = call.audience
    member = members.existing(audience, call.names["subscriber_hash"])
    return _paged(
        call,
        "tags",
        list((member.tags or {}).items()),
        lambda tag: {
            "id": tag[0],
            "name": audience.segments[tag[0]].name,
            "date_added": written(tag[1]),
        },
    )


@_on("POST", "/lists/{list_id}/members/{subscriber_hash}/tags")
def _change_member_tags(call: Call) -> None:
    audience = call.audience
    member = members.existing(audience, call.names["subscriber_hash"])
    if not isinstance(call.body, dict) or "tags" not in call.body:
        return  # the real API also answers 204 and does nothing when the "tags" wrapper is missing
    body = call.sent(shapes.MEMBER_TAGS)
    is_syncing = body.get("is_syncing", False)
    for tag in body["tags"]:
        if tag["status"] == "active":
            segments.tag_member(call.state, audience, member, tag["name"], is_syncing=is_syncing)
        else:
            segments.untag_member(call.state, audience, member, tag["name"])


@_on("GET", "/lists/{list_id}/members/{subscriber_hash}/activity-feed")
def _activity_feed(call: Call) -> Document:
    audience = call.audience
    member = members.existing(audience, call.names["subscriber_hash"])
    wanted = {each for each in call.query.get("activity_filters", "").split(",") if each}
    count, offset = reading.page(call.query)
    events = [
        event for event in reversed(member.activity or []) if not wanted or event["activity_type"] in wanted
    ]
    return call.choice.trim(
        {
            "activity": events[offset : offset + count],
            "email_id": member.id,
            "list_id": audience.id,
            "_links": [],
        }
    )


def _shown(call: Call, audience: Audience, member: Member) -> Document:
    choice = call.choice
    (document,) = reading.show_members(call.state, audience, [member], call.base_url, choice, under="")
    return choice.trim(document)


def _skips_validation(call: Call) -> bool:
    return reading.flag(call.query, "skip_merge_validation")


# --- tags and segments ------------------------------------------------------------------------------


@_on("GET", "/lists/{list_id}/tag-search")
def _tag_search(call: Call) -> Document:
    prefix = call.query.get("name", "").strip().casefold()
    found = [
        {"id": each.id, "name": each.name}
        for each in call.audience.segments.values()
        if each.type == "static" and each.name.casefold().startswith(prefix)
    ]
    return {"tags": found, "total_items": len(found)}


@_on("GET", "/lists/{list_id}/segments")
def _segments(call: Call) -> Document:
    audience = call.audience
    found = [
        each
        for each in audience.segments.values()
        if call.query.get("type") in (None, "", each.type)
        and _within(call.query, "since_created_at", "before_created_at", each.created_at)
        and _within(call.query, "since_updated_at", "before_updated_at", each.updated_at)
    ]
    return _paged(
        call,
        "segments",
        found,
        lambda each: reading.show_segment(audience, each, call.query, call.base_url),
        list_id=audience.id,
    )


def _within(query: Mapping[str, str], since: str, before: str, value: int) -> bool:
    return not (
        (query.get(since) and value <= parsed(query[since], since))
        or (query.get(before) and value >= parsed(query[before], before))
    )


@_on("POST", "/lists/{list_id}/segments")
def _add_segment(call: Call) -> Document:
    audience = call.audience
    made = segments.create_segment(call.state, audience, call.sent(shapes.SEGMENT))
    return reading.show_segment(audience, made, call.query, call.base_url)


@_on("GET", "/lists/{list_id}/segments/{segment_id}")
def _segment(call: Call) -> Document:
    audience = call.audience
    found = segments.segment_by_id(audience, call.names["segment_id"])
    return call.choice.trim(reading.show_segment(audience, found, call.query, call.base_url))


@_on("PATCH", "/lists/{list_id}/segments/{segment_id}")
def _change_segment(call: Call) -> Document:
    audience = call.audience
    found = segments.segment_by_id(audience, call.names["segment_id"])
    segments.change_segment(call.state, audience, found, call.sent(shapes.SEGMENT_CHANGE))
    return reading.show_segment(audience, found, call.query, call.base_url)


@_on("DELETE", "/lists/{list_id}/segments/{segment_id}")
def _delete_segment(call: Call) -> None:
    audience = call.audience
    segments.delete_segment(call.state, audience, segments.segment_by_id(audience, call.names["segment_id"]))


@_on("POST", "/lists/{list_id}/segments/{segment_id}")
def _change_segment_members(call: Call) -> Document:
    audience, body = call.audience, call.sent(shapes.SEGMENT_MEMBERS)
    found = segments.segment_by_id(audience, call.names["segment_id"])
    added, removed = segments.change_members(
        call.state,
        audience,
        found,
        body.get("members_to_add") or [],
        body.get("members_to_remove") or [],
    )
    return {
        "members_added": _shown_in_bulk(call, audience, added),
        "members_removed": _shown_in_bulk(call, audience, removed),
        "errors": [],
        "total_added": len(added),
        "total_removed": len(removed),
        "error_count": 0,
        "_links": [],
    }


@_on("GET", "/lists/{list_id}/segments/{segment_id}/members")
def _segment_members(call: Call) -> Document:
    audience = call.audience
    found = segments.segment_by_id(audience, call.names["segment_id"])
    count, offset = reading.page(call.query)
    shown = reading.segment_members(found, call.query)
    choice = call.choice
    return choice.trim(
        {
            "members": reading.show_members(
                call.state,
                audience,
                shown[offset : offset + count],
                call.base_url,
                choice,
                under="members",
                keys=reading.SEGMENT_MEMBER_KEYS,
            ),
            "total_items": len(shown),
            "_links": [],
        }
    )


@_on("POST", "/lists/{list_id}/segments/{segment_id}/members")
def _add_segment_member(call: Call) -> Document:
    audience, email = call.audience, call.sent(shapes.SEGMENT_MEMBER)["email_address"]
    found = segments.segment_by_id(audience, call.names["segment_id"])
    member = members.existing(audience, email)
    segments.change_members(call.state, audience, found, [email], [])
    (document,) = reading.show_members(
        call.state,
        audience,
        [member],
        call.base_url,
        reading.Choice({}),
        under="",
        keys=reading.SEGMENT_MEMBER_KEYS,
    )
    return document


@_on("DELETE", "/lists/{list_id}/segments/{segment_id}/members/{subscriber_hash}")
def _remove_segment_member(call: Call) -> None:
    audience = call.audience
    found = segments.segment_by_id(audience, call.names["segment_id"])
    member = members.existing(audience, call.names["subscriber_hash"])
    segments.change_members(call.state, audience, found, [], [member.email_address])


# --- merge fields -----------------------------------------------------------------------------------


@_on("GET", "/lists/{list_id}/merge-fields")
def _merge_fields(call: Call) -> Document:
    audience = call.audience
    found = [
        each
        for each in audience.merge_fields.values()
        if call.query.get("type") in (None, "", each.type)
        and (not call.query.get("required") or each.required == reading.flag(call.query, "required"))
    ]
    return _paged(
        call,
        "merge_fields",
        found,
        lambda each: reading.show_merge_field(audience, each, call.base_url),
        list_id=audience.id,
    )


@_on("POST", "/lists/{list_id}/merge-fields")
def _add_merge_field(call: Call) -> Document:
    audience = call.audience
    made = merge_fields.add_field(audience, call.sent(shapes.MERGE_FIELD))
    return reading.show_merge_field(audience, made, call.base_url)


@_on("GET", "/lists/{list_id}/merge-fields/{merge_id}")
def _merge_field(call: Call) -> Document:
    audience = call.audience
    found = merge_fields.field_by_id(audience, call.names["merge_id"])
    return call.choice.trim(reading.show_merge_field(audience, found, call.base_url))


@_on("PATCH", "/lists/{list_id}/merge-fields/{merge_id}")
def _change_merge_field(call: Call) -> Document:
    audience = call.audience
    changed = merge_fields.change_field(
        audience, call.names["merge_id"], call.sent(shapes.MERGE_FIELD_CHANGE)
    )
    return reading.show_merge_field(audience, changed, call.base_url)


@_on("DELETE", "/lists/{list_id}/merge-fields/{merge_id}")
def _delete_merge_field(call: Call) -> None:
    merge_fields.delete_field(call.audience, call.names["merge_id"])


# --- abuse reports, webhooks ------------------------------------------------------------------------


def _shown_report(audience: Audience, report: Any) -> Document:
    return {
        "id": report.id,
        "campaign_id": report.campaign_id,
        "list_id": audience.id,
        "email_id": report.member.id,
        "email_address": report.email_address,
        "merge_fields": merge_fields.shown_values(audience, report.member),
        "vip": report.member.vip,
        "date": written(report.at),
        "_links": [],
    }


@_on("GET", "/lists/{list_id}/abuse-reports")
def _abuse_reports(call: Call) -> Document:
    audience = call.audience
    return _paged(
        call,
        "abuse_reports",
        audience.abuse_reports,
        lambda report: _shown_report(audience, report),
        list_id=audience.id,
    )


@_on("GET", "/lists/{list_id}/abuse-reports/{report_id}")
def _abuse_report(call: Call) -> Document:
    audience = call.audience
    for report in audience.abuse_reports:
        if str(report.id) == call.names["report_id"]:
            return call.choice.trim(_shown_report(audience, report))
    raise not_found()


@_on("GET", "/lists/{list_id}/webhooks")
def _webhooks(call: Call) -> Document:
    audience = call.audience
    found = [reading.show_webhook(audience, each, call.base_url) for each in audience.webhooks.values()]
    return {"webhooks": found, "list_id": audience.id, "total_items": len(found), "_links": []}


@_on("POST", "/lists/{list_id}/webhooks")
def _add_webhook(call: Call) -> Document:
    audience = call.audience
    made = hooks.add_webhook(call.state, audience, call.sent(shapes.WEBHOOK))
    return reading.show_webhook(audience, made, call.base_url) | {
        "signing_enabled": True,
        "signing_secret": made.signing_secret,
    }


@_on("GET", "/lists/{list_id}/webhooks/{webhook_id}")
def _webhook(call: Call) -> Document:
    audience = call.audience
    return reading.show_webhook(
        audience, hooks.webhook_by_id(audience, call.names["webhook_id"]), call.base_url
    )


@_on("PATCH", "/lists/{list_id}/webhooks/{webhook_id}")
def _change_webhook(call: Call) -> Document:
    audience = call.audience
    changed = hooks.change_webhook(audience, call.names["webhook_id"], call.sent(shapes.WEBHOOK))
    return reading.show_webhook(audience, changed, call.base_url)


@_on("DELETE", "/lists/{list_id}/webhooks/{webhook_id}")
def _delete_webhook(call: Call) -> None:
    audience = call.audience
    del audience.webhooks[hooks.webhook_by_id(audience, call.names["webhook_id"]).id]


# --- batches ----------------------------------------------------------------------------------------


def _shown_batch(call: Call, batch: Batch) -> Document:
    signed = batches.signed_link(call.state, batch, call.base_url)
    return reading.show_batch(batch, signed, call.base_url)


@_on("GET", "/batches")
def _batches(call: Call) -> Document:
    found = [each for each in call.state.batches.values() if each.account == call.account]
    return _paged(call, "batches", found, lambda batch: _shown_batch(call, batch))


@_on("POST", "/batches")
def _submit_batch(call: Call) -> Document:
    return _shown_batch(call, batches.submit(call.state, call.account, call.sent(shapes.BATCH)))


@_on("GET", "/batches/{batch_id}")
def _batch(call: Call) -> Document:
    found = batches.batch_of(call.state, call.account, call.names["batch_id"])
    return call.choice.trim(_shown_batch(call, found))


@_on("DELETE", "/batches/{batch_id}")
def _delete_batch(call: Call) -> None:
    found = batches.batch_of(call.state, call.account, call.names["batch_id"])
    del call.state.batches[found.id]


# --- e-commerce -------------------------------------------------------------------------------------

_STORES = "/ecommerce/stores"
_STORE = _STORES + "/{store_id}"
_CUSTOMERS = _STORE + "/customers"
_PRODUCTS = _STORE + "/products"
_VARIANTS = _PRODUCTS + "/{product_id}/variants"
_ORDERS = _STORE + "/orders"
_LINES = _ORDERS + "/{order_id}/lines"


@_on("GET", _STORES)
def _all_stores(call: Call) -> Document:
    found = [each for each in call.state.stores.values() if each.account == call.account]
    return _paged(call, "stores", found, lambda store: reading.show_store(store, call.base_url))


@_on("POST", _STORES)
def _add_store(call: Call) -> Document:
    return reading.show_store(
        stores.add_store(call.state, call.account, call.sent(shapes.STORE)), call.base_url
    )


@_on("GET", _STORE)
def _store(call: Call) -> Document:
    return call.choice.trim(reading.show_store(call.store, call.base_url))


@_on("PATCH", _STORE)
def _change_store(call: Call) -> Document:
    store = call.store
    stores.change_store(call.state, store, call.sent(shapes.STORE_CHANGE))
    return reading.show_store(store, call.base_url)


@_on("DELETE", _STORE)
def _delete_store(call: Call) -> None:
    stores.delete_store(call.state, call.store)


@_on("GET", _CUSTOMERS)
def _customers(call: Call) -> Document:
    store, email = call.store, call.query.get("email_address")
    found = list(store.customers.values())
    if email:
        found = [each for each in found if each.email_address.lower() == email.strip().lower()]
    return _paged(
        call,
        "customers",
        found,
        lambda customer: reading.show_customer(store, customer, call.base_url),
        store_id=store.id,
    )


@_on("POST", _CUSTOMERS)
def _add_customer(call: Call) -> Document:
    store, body = call.store, call.sent(shapes.CUSTOMER)
    made = stores.write_customer(call.state, store, body["id"], body, must_be_new=True)
    return reading.show_customer(store, made, call.base_url)


@_on("GET", _CUSTOMERS + "/{customer_id}")
def _customer(call: Call) -> Document:
    store = call.store
    found = stores.customer_of(store, call.names["customer_id"])
    return call.choice.trim(reading.show_customer(store, found, call.base_url))


@_on("PUT", _CUSTOMERS + "/{customer_id}")
def _put_customer(call: Call) -> Document:
    store, body = call.store, call.sent(shapes.CUSTOMER)
    written_customer = stores.write_customer(call.state, store, call.names["customer_id"], body)
    return reading.show_customer(store, written_customer, call.base_url)


@_on("PATCH", _CUSTOMERS + "/{customer_id}")
def _patch_customer(call: Call) -> Document:
    store, body = call.store, call.sent(shapes.CUSTOMER_CHANGE)
    found = stores.customer_of(store, call.names["customer_id"])
    stores.write_customer(call.state, store, found.id, body)
    return reading.show_customer(store, found, call.base_url)


@_on("DELETE", _CUSTOMERS + "/{customer_id}")
def _delete_customer(call: Call) -> None:
    store = call.store
    stores.delete_customer(store, stores.customer_of(store, call.names["customer_id"]))


@_on("GET", _PRODUCTS)
def _products(call: Call) -> Document:
    store = call.store
    return _paged(
        call,
        "products",
        list(store.products.values()),
        lambda product: reading.show_product(store, product, call.base_url),
        store_id=store.id,
    )


@_on("POST", _PRODUCTS)
def _add_product(call: Call) -> Document:
    store = call.store
    return reading.show_product(
        store, stores.add_product(call.state, store, call.sent(shapes.PRODUCT)), call.base_url
    )


@_on("GET", _PRODUCTS + "/{product_id}")
def _product(call: Call) -> Document:
    store = call.store
    found = stores.product_of(store, call.names["product_id"])
    return call.choice.trim(reading.show_product(store, found, call.base_url))


@_on("PATCH", _PRODUCTS + "/{product_id}")
def _change_product(call: Call) -> Document:
    store = call.store
    found = stores.product_of(store, call.names["product_id"])
    stores.change_product(call.state, found, call.sent(shapes.PRODUCT_CHANGE))
    return reading.show_product(store, found, call.base_url)


@_on("DELETE", _PRODUCTS + "/{product_id}")
def _delete_product(call: Call) -> None:
    store = call.store
    del store.products[stores.product_of(store, call.names["product_id"])["id"]]


@_on("GET", _VARIANTS)
def _variants(call: Call) -> Document:
    product = stores.product_of(call.store, call.names["product_id"])
    return _paged(
        call,
        "variants",
        list(product["variants"].values()),
        reading.show_variant,
        store_id=call.names["store_id"],
        product_id=product["id"],
    )


@_on("POST", _VARIANTS)
def _add_variant(call: Call) -> Document:
    product, body = stores.product_of(call.store, call.names["product_id"]), call.sent(shapes.VARIANT)
    return reading.show_variant(stores.write_variant(call.state, product, body["id"], body, must_be_new=True))


@_on("GET", _VARIANTS + "/{variant_id}")
def _variant(call: Call) -> Document:
    product = stores.product_of(call.store, call.names["product_id"])
    variant = product["variants"].get(call.names["variant_id"])
    if variant is None:
        raise not_found()
    return call.choice.trim(reading.show_variant(variant))


@_on("PUT", _VARIANTS + "/{variant_id}")
def _put_variant(call: Call) -> Document:
    product, body = stores.product_of(call.store, call.names["product_id"]), call.sent(shapes.VARIANT)
    return reading.show_variant(stores.write_variant(call.state, product, call.names["variant_id"], body))


@_on("PATCH", _VARIANTS + "/{variant_id}")
def _patch_variant(call: Call) -> Document:
    product = stores.product_of(call.store, call.names["product_id"])
    if call.names["variant_id"] not in product["variants"]:
        raise not_found()
    body = call.sent(shapes.VARIANT_CHANGE)
    return reading.show_variant(stores.write_variant(call.state, product, call.names["variant_id"], body))


@_on("DELETE", _VARIANTS + "/{variant_id}")
def _delete_variant(call: Call) -> None:
    product = stores.product_of(call.store, call.names["product_id"])
    if call.names["variant_id"] not in product["variants"]:
        raise not_found()
    if len(product["variants"]) == 1:
        raise bad_request("A product must have at least one variant.")
    del product["variants"][call.names["variant_id"]]


def _orders_of(call: Call, store: Store) -> list[tuple[Store, Document]]:
    found: Iterable[Document] = store.orders.values()
    for name, key in (("customer_id", "customer_id"), ("campaign_id", "campaign_id")):
        if call.query.get(name):
            found = [order for order in found if order.get(key) == call.query[name]]
    return [(store, order) for order in found]


@_on("GET", "/ecommerce/orders")
def _all_orders(call: Call) -> Document:
    found = [
        pair
        for store in call.state.stores.values()
        if store.account == call.account
        for pair in _orders_of(call, store)
    ]
    return _paged(call, "orders", found, lambda pair: reading.show_order(pair[0], pair[1], call.base_url))


@_on("GET", _ORDERS)
def _orders(call: Call) -> Document:
    store = call.store
    return _paged(
        call,
        "orders",
        _orders_of(call, store),
        lambda pair: reading.show_order(pair[0], pair[1], call.base_url),
        store_id=store.id,
    )


@_on("POST", _ORDERS)
def _add_order(call: Call) -> Document:
    store = call.store
    made = stores.add_order(call.state, store, call.sent(shapes.ORDER))
    return reading.show_order(store, made, call.base_url)


@_on("GET", _ORDERS + "/{order_id}")
def _order(call: Call) -> Document:
    store = call.store
    found = stores.order_of(store, call.names["order_id"])
    return call.choice.trim(reading.show_order(store, found, call.base_url))


@_on("PATCH", _ORDERS + "/{order_id}")
def _change_order(call: Call) -> Document:
    store = call.store
    found = stores.order_of(store, call.names["order_id"])
    stores.change_order(call.state, store, found, call.sent(shapes.ORDER_CHANGE))
    return reading.show_order(store, found, call.base_url)


@_on("DELETE", _ORDERS + "/{order_id}")
def _delete_order(call: Call) -> None:
    store = call.store
    stores.delete_order(store, stores.order_of(store, call.names["order_id"]))


@_on("GET", _LINES)
def _lines(call: Call) -> Document:
    store = call.store
    order = stores.order_of(store, call.names["order_id"])
    return _paged(
        call,
        "lines",
        list(order["lines"].values()),
        lambda line: reading.show_line(store, line),
        store_id=store.id,
        order_id=order["id"],
    )


@_on("POST", _LINES)
def _add_line(call: Call) -> Document:
    store = call.store
    order = stores.order_of(store, call.names["order_id"])
    return reading.show_line(store, stores.add_line(store, order, call.sent(shapes.LINE)))


@_on("GET", _LINES + "/{line_id}")
def _line(call: Call) -> Document:
    store = call.store
    order = stores.order_of(store, call.names["order_id"])
    return call.choice.trim(reading.show_line(store, stores.line_of(order, call.names["line_id"])))


@_on("PATCH", _LINES + "/{line_id}")
def _change_line(call: Call) -> Document:
    store = call.store
    line = stores.line_of(stores.order_of(store, call.names["order_id"]), call.names["line_id"])
    stores.change_line(store, line, call.sent(shapes.LINE_CHANGE))
    return reading.show_line(store, line)


@_on("DELETE", _LINES + "/{line_id}")
def _delete_line(call: Call) -> None:
    order = stores.order_of(call.store, call.names["order_id"])
    stores.delete_line(order, call.names["line_id"])


def known_operations() -> set[tuple[str, str]]:
    """Every method and path that the stand-in answers, for checks against the API's contract."""
    return {(method, "/" + "/".join(parts)) for routes in _ROUTES.values() for method, parts, _ in routes}
