"""How the API shows its records: the documents, the choice of fields, the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mc_pipeline.sandbox.mailchimp.merge_fields import shown_values
from mc_pipeline.sandbox.mailchimp.problems import not_validated
from mc_pipeline.sandbox.mailchimp.state import (
    STATUSES,
    Audience,
    Batch,
    Customer,
    MailchimpState,
    Member,
    MergeField,
    Segment,
    Store,
    Webhook,
)
from mc_pipeline.sandbox.mailchimp.stores import ecommerce_data, totals
from mc_pipeline.sandbox.mailchimp.times import parsed, written

DEFAULT_COUNT = 10
MAXIMUM_COUNT = 1000
TAGS_SHOWN = 50
STATS_SECONDS = 300
"""How old the statistics of an audience may be: they are counted again after five minutes only."""

HIDDEN = ("archived", "cleaned")
"""Statuses that a list of members leaves out unless it is asked for one of them."""

SCHEMAS = "https://us1.api.mailchimp.com/schema/3.0/Definitions/"

Document = dict[str, Any]


class Choice:
    """The fields a caller wants: ``fields`` names those to keep, ``exclude_fields`` those to leave out."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._keep = _paths(query.get("fields"))
        self._drop = _paths(query.get("exclude_fields"))
        self._looks_into_members = any(
            path.startswith("members.") and path.count(".") > 1 for path in self._keep | self._drop
        )

    def wants(self, path: str) -> bool:
        """Whether anything at or below this dotted path is asked for."""
        if path in self._drop:
            return False
        if not self._keep:
            return True
        return any(
            kept == path or kept.startswith(path + ".") or path.startswith(kept + ".") for kept in self._keep
        )

    def _wants_value(self, path: str) -> bool:
        """Whether a plain value at this path is asked for: a path that goes on below it is not it."""
        return not self._keep or any(kept == path or path.startswith(kept + ".") for kept in self._keep)

    def trim(self, document: Document) -> Document:
        """The document with the wanted fields only."""
        if not self._keep and not self._drop:
            return document
        kept: Document = self._trimmed(document, "")
        return kept

    def _trimmed(self, value: Any, path: str) -> Any:
        if path == "members" and not self._looks_into_members:
            return value  # made with the wanted keys only
        if isinstance(value, list):
            if not any(each.startswith(path + ".") for each in (*self._keep, *self._drop)):
                return value
            wanted: dict[str, bool] = {}
            plain = self._wants_value(path)
            return [
                self._trimmed_object(item, path, wanted)
                for item in value
                if plain or isinstance(item, dict | list)
            ]
        if isinstance(value, dict):
            return self._trimmed_object(value, path, {})
        return value

    def _trimmed_object(self, value: Any, path: str, wanted: dict[str, bool]) -> Any:
        if not isinstance(value, dict):
            return self._trimmed(value, path)
        kept = {}
        for name, inner in value.items():
            inner_path = f"{path}.{name}" if path else name
            if name not in wanted:
                wanted[name] = self.wants(inner_path)
            if not wanted[name]:
                continue
            if isinstance(inner, dict | list):
                kept[name] = self._trimmed(inner, inner_path)
            elif self._wants_value(inner_path):
                kept[name] = inner
        return kept


def _paths(text: str | None) -> frozenset[str]:
    return frozenset(part.strip() for part in (text or "").split(",") if part.strip())


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """``count`` (10 unless asked, at most 1,000) and ``offset``."""
    count, offset = (_whole(query, "count", DEFAULT_COUNT), _whole(query, "offset", 0))
    if count > MAXIMUM_COUNT:
        raise not_validated(("count", f"This value should be {MAXIMUM_COUNT} or less."))
    return count, offset


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return default
    if not text.isdigit():
        raise not_validated((name, "This value should be a whole number, 0 or more."))
    return int(text)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A yes or no in the query. ``True`` with a capital, as some clients write it, is not one: it is no."""
    return query.get(name) in ("true", "1")


def link(base_url: str, rel: str, path: str, method: str = "GET", schema: str | None = None) -> Document:
    """Where a resource is found."""
    made: Document = {"rel": rel, "href": f"{base_url}/3.0{path}", "method": method}
    if schema:
        made["targetSchema"] = SCHEMAS + schema
    return made


# --- members ----------------------------------------------------------------------------------------


def find_members(state: MailchimpState, audience: Audience, query: Mapping[str, str]) -> list[Member]:
    """The members that the filters of GET /lists/{id}/members leave, in the order asked for.

    Bounds in time are exclusive at both ends and count whole seconds. Without a sort field the order is
    that of the ids, so people who join while pages are read land anywhere.
    """
    status = query.get("status") or None
    if status is not None and status not in STATUSES:
        raise not_validated(("status", f"Value must be one of: {', '.join(STATUSES)}"))
    if query.get("unsubscribed_since") and status != "unsubscribed":
        raise not_validated(
            ("unsubscribed_since", "This filter can be used with the status unsubscribed only.")
        )
    sort_field = query.get("sort_field") or None
    if sort_field not in (None, "timestamp_opt", "timestamp_signup", "last_changed"):
        raise not_validated(
            ("sort_field", "Value must be one of: timestamp_opt, timestamp_signup, last_changed")
        )
    direction = (query.get("sort_dir") or "ASC").upper()
    if direction not in ("ASC", "DESC"):
        raise not_validated(("sort_dir", "Value must be one of: ASC, DESC"))
    tests = _time_tests(query)
    statuses = (status,) if status else tuple(each for each in STATUSES if each not in HIDDEN)
    email_type, vip_only, unique = (
        query.get("email_type"),
        flag(query, "vip_only"),
        query.get("unique_email_id"),
    )

    def collect() -> list[Member]:
        found = [
            member
            for member in audience.in_statuses(statuses)
            if all(test(member) for test in tests)
            and (not email_type or member.email_type == email_type)
            and (not vip_only or member.vip)
            and (not unique or member.unique_email_id == unique)
        ]
        if sort_field is None:
            found.sort(key=lambda member: member.id)
        else:
            found.sort(
                key=lambda member: (getattr(member, sort_field) or 0, member.id), reverse=direction == "DESC"
            )
        return found

    filters = tuple(
        sorted(
            (name, value)
            for name, value in query.items()
            if name not in ("count", "offset", "fields", "exclude_fields")
        )
    )
    return audience.sorted_once(filters, collect)


def _time_tests(query: Mapping[str, str]) -> list[Callable[[Member], bool]]:
    tests: list[Callable[[Member], bool]] = []
    for name, attribute, is_lower in [
        ("since_last_changed", "last_changed", True),
        ("before_last_changed", "last_changed", False),
        ("since_timestamp_opt", "timestamp_opt", True),
        ("before_timestamp_opt", "timestamp_opt", False),
        ("unsubscribed_since", "opted_out_at", True),
    ]:
        if query.get(name):
            tests.append(_time_test(attribute, parsed(query[name], name), is_lower))
    return tests


def _time_test(attribute: str, bound: int, is_lower: bool) -> Callable[[Member], bool]:
    def test(member: Member) -> bool:
        value = getattr(member, attribute)
        return value is not None and (value > bound if is_lower else value < bound)

    return test


MEMBER_KEYS = (
    "id",
    "email_address",
    "unique_email_id",
    "contact_id",
    "full_name",
    "web_id",
    "email_type",
    "status",
    "unsubscribe_reason",
    "consents_to_one_to_one_messaging",
    "merge_fields",
    "interests",
    "stats",
    "ip_signup",
    "timestamp_signup",
    "ip_opt",
    "timestamp_opt",
    "member_rating",
    "last_changed",
    "language",
    "vip",
    "email_client",
    "location",
    "marketing_permissions",
    "source",
    "tags_count",
    "tags",
    "list_id",
    "_links",
)
BULK_MEMBER_KEYS = tuple(
    key
    for key in MEMBER_KEYS
    if key
    not in (
        "contact_id",
        "full_name",
        "web_id",
        "unsubscribe_reason",
        "consents_to_one_to_one_messaging",
        "marketing_permissions",
        "source",
    )
)
"""What a bulk call shows of a member: less than GET does, no contact id above all."""
SEGMENT_MEMBER_KEYS = tuple(key for key in BULK_MEMBER_KEYS if key not in ("tags", "tags_count"))
"""What the members of a segment show: no tags."""


def show_members(
    state: MailchimpState,
    audience: Audience,
    members: Iterable[Member],
    base_url: str,
    choice: Choice,
    *,
    under: str,
    keys: Sequence[str] = MEMBER_KEYS,
) -> list[Document]:
    """Members as documents, of which only wanted fields are worked out; ``under`` is where they will lie."""
    prefix = f"{under}." if under else ""
    parts = [(key, _MEMBER_PARTS[key]) for key in keys if choice.wants(prefix + key)]
    has_stores = any(key == "stats" for key, _ in parts) and bool(state.stores_of(audience))
    context = _Context(state, audience, base_url, has_stores, in_bulk=keys is not MEMBER_KEYS)
    shown = []
    for member in members:
        document = {key: part(member, context) for key, part in parts}
        if "unsubscribe_reason" in document and member.status != "unsubscribed":
            del document["unsubscribe_reason"]
        shown.append(document)
    return shown


@dataclass(frozen=True, slots=True)
class _Context:
    state: MailchimpState
    audience: Audience
    base_url: str
    has_stores: bool
    in_bulk: bool


def _full_name(member: Member, context: _Context) -> str:
    names = (str(member.merge_fields.get(tag, "")) for tag in ("FNAME", "LNAME"))
    return " ".join(name for name in names if name)


def _member_stats(member: Member, context: _Context) -> Document:
    stats: Document = {"avg_open_rate": 0, "avg_click_rate": 0}
    if context.has_stores:
        sold = ecommerce_data(context.state, context.audience, member.email_address)
        if sold is not None:
            stats["ecommerce_data"] = sold
    return stats


def _location(member: Member, context: _Context) -> Document:
    place = member.location or {}
    shown = {
        "latitude": place.get("latitude", 0),
        "longitude": place.get("longitude", 0),
        "gmtoff": 0,
        "dstoff": 0,
        "country_code": "",
        "timezone": "",
    }
    return shown if context.in_bulk else {**shown, "region": ""}


def _shown_tags(member: Member, context: _Context) -> list[Document]:
    names = context.audience.segments
    return [{"id": each, "name": names[each].name} for each in list(member.tags or ())[:TAGS_SHOWN]]


def _permissions(member: Member, context: _Context) -> list[Document]:
    given = member.marketing_permissions or {}
    return [
        {"marketing_permission_id": each, "text": text, "enabled": given.get(each, False)}
        for each, text in context.audience.permissions.items()
    ]


def _member_links(member: Member, context: _Context) -> list[Document]:
    path = f"/lists/{context.audience.id}/members"
    base = context.base_url
    return [
        link(base, "self", f"{path}/{member.id}", schema="Lists/Members/Response.json"),
    ]


_MEMBER_PARTS: dict[str, Callable[[Member, _Context], Any]] = {
    "id": lambda member, context: member.id,
    "email_address": lambda member, context: member.email_address,
    "unique_email_id": lambda member, context: member.unique_email_id,
    "contact_id": lambda member, context: member.contact_id,
    "full_name": _full_name,
    "web_id": lambda member, context: member.number,
    "email_type": lambda member, context: member.email_type,
    "status": lambda member, context: member.status,
    "unsubscribe_reason": lambda member, context: member.unsubscribe_reason,
    "consents_to_one_to_one_messaging": lambda member, context: member.status == "subscribed",
    "merge_fields": lambda member, context: shown_values(context.audience, member),
    "interests": lambda member, context: member.interests or {},
    "stats": _member_stats,
    "ip_signup": lambda member, context: member.ip_signup,
    "timestamp_signup": lambda member, context: written(member.timestamp_signup),
    "ip_opt": lambda member, context: member.ip_opt,
    "timestamp_opt": lambda member, context: written(member.timestamp_opt),
    "member_rating": lambda member, context: 2,
    "last_changed": lambda member, context: written(member.last_changed),
    "language": lambda member, context: member.language,
    "vip": lambda member, context: member.vip,
    "email_client": lambda member, context: "",
    "location": _location,
    "marketing_permissions": _permissions,
    "source": lambda member, context: member.source,
    "tags_count": lambda member, context: len(member.tags or ()),
    "tags": _shown_tags,
    "list_id": lambda member, context: context.audience.id,
    "_links": _member_links,
}


# --- audiences --------------------------------------------------------------------------------------


def show_audience(
    state: MailchimpState, audience: Audience, base_url: str, *, include_total_contacts: bool
) -> Document:
    """An audience with statistics that may be five minutes old."""
    path = f"/lists/{audience.id}"
    stats = dict(cached_stats(state, audience))
    if not include_total_contacts:
        del stats["total_contacts"]
    return {
        "id": audience.id,
        "web_id": audience.web_id,
        "name": audience.name,
        "contact": {
            "company": audience.name,
            "address1": "1 Sandbox Street",
            "address2": "",
            "city": "Sandbox",
            "state": "",
            "zip": "00000",
            "country": "US",
            "phone": "",
        },
        "permission_reminder": "You are a customer of ours.",
        "use_archive_bar": True,
        "campaign_defaults": {
            "from_name": audience.name,
            "from_email": "sandbox@example.com",
            "subject": "",
            "language": "en",
        },
        "notify_on_subscribe": "",
        "notify_on_unsubscribe": "",
        "date_created": written(audience.created_at),
        "list_rating": 0,
        "email_type_option": False,
        "subscribe_url_short": f"{base_url}/audiences/{audience.id}",
        "subscribe_url_long": f"{base_url}/audiences/{audience.id}",
        "beamer_address": f"us1-{audience.id}@inbound.example.com",
        "visibility": "prv",
        "double_optin": audience.double_optin,
        "has_welcome": audience.welcome_automation,
        "marketing_permissions": audience.marketing_permissions,
        "modules": [],
        "stats": stats,
        **audience.details,
        "_links": [
            link(base_url, "self", path, schema="Lists/Response.json"),
            link(base_url, "members", f"{path}/members", schema="Lists/Members/CollectionResponse.json"),
        ],
    }


def cached_stats(state: MailchimpState, audience: Audience) -> Document:
    """Counts as of the last counting, at most once in five minutes."""
    now = state.clock().timestamp()
    if audience.stats and now - audience.stats_at < STATS_SECONDS:
        return audience.stats
    sizes = {status: len(members) for status, members in audience.by_status.items()}
    audience.stats_at = now
    audience.stats = {
        "member_count": sizes["subscribed"],
        "total_contacts": sum(sizes.values()),
        "unsubscribe_count": sizes["unsubscribed"],
        "cleaned_count": sizes["cleaned"],
        "member_count_since_send": sizes["subscribed"],
        "unsubscribe_count_since_send": sizes["unsubscribed"],
        "cleaned_count_since_send": sizes["cleaned"],
        "campaign_count": 0,
        "campaign_last_sent": "",
        "merge_field_count": len(audience.merge_fields),
        "avg_sub_rate": 0,
        "avg_unsub_rate": 0,
        "target_sub_rate": 0,
        "open_rate": 0,
        "click_rate": 0,
        "last_sub_date": written(audience.last_sub),
        "last_unsub_date": written(audience.last_unsub),
    }
    return audience.stats


def show_merge_field(audience: Audience, each: MergeField, base_url: str) -> Document:
    """A merge field."""
    path = f"/lists/{audience.id}/merge-fields/{each.merge_id}"
    return {
        "merge_id": each.merge_id,
        "tag": each.tag,
        "name": each.name,
        "type": each.type,
        "required": each.required,
        "default_value": each.default_value,
        "public": each.public,
        "display_order": each.display_order,
        "options": dict(each.options),
        "help_text": each.help_text,
        "list_id": audience.id,
        "_links": [link(base_url, "self", path, schema="Lists/MergeFields/Response.json")],
    }


def segment_members(segment: Segment, query: Mapping[str, str]) -> list[Member]:
    """The members of a segment that are shown: subscribed ones, and the others that the query asks for."""
    statuses = {"subscribed"}
    for name, status in [
        ("include_cleaned", "cleaned"),
        ("include_transactional", "transactional"),
        ("include_unsubscribed", "unsubscribed"),
    ]:
        if flag(query, name):
            statuses.add(status)
    return [member for member in segment.members.values() if member.status in statuses]


def show_segment(audience: Audience, segment: Segment, query: Mapping[str, str], base_url: str) -> Document:
    """A segment; its count is of the members that :func:`segment_members` gives."""
    path = f"/lists/{audience.id}/segments/{segment.id}"
    document = {
        "id": segment.id,
        "name": segment.name,
        "member_count": len(segment_members(segment, query)),
        "type": segment.type,
        "created_at": written(segment.created_at),
        "updated_at": written(segment.updated_at),
        "list_id": audience.id,
        "_links": [link(base_url, "self", path, schema="Lists/Segments/Response.json")],
    }
    if segment.options is not None:
        document["options"] = segment.options
    return document


def show_webhook(audience: Audience, webhook: Webhook, base_url: str) -> Document:
    """A webhook, without its secret."""
    path = f"/lists/{audience.id}/webhooks/{webhook.id}"
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": dict(webhook.events),
        "sources": dict(webhook.sources),
        "list_id": audience.id,
        "_links": [link(base_url, "self", path, schema="Lists/Webhooks/Response.json")],
    }


# --- batches ----------------------------------------------------------------------------------------


def show_batch(batch: Batch, result_link: str, base_url: str) -> Document:
    """A batch and how far it is."""
    total = len(batch.order)
    return {
        "id": batch.id,
        "status": batch.status,
        "total_operations": total,
        "finished_operations": total if batch.status == "finished" else len(batch.results),
        "errored_operations": batch.errored,
        "submitted_at": written(batch.submitted_at),
        "completed_at": written(batch.completed_at),
        "response_body_url": result_link,
        "_links": [link(base_url, "self", f"/batches/{batch.id}", schema="Batches/Response.json")],
    }


# --- e-commerce -------------------------------------------------------------------------------------


def show_store(store: Store, base_url: str) -> Document:
    """A store."""
    path = f"/ecommerce/stores/{store.id}"
    return {
        "id": store.id,
        "list_id": store.list_id,
        **store.details,
        "is_syncing": store.is_syncing,
        "currency_code": store.currency_code,
        "list_is_active": True,
        "created_at": written(store.created_at),
        "updated_at": written(store.updated_at),
        "_links": [link(base_url, "self", path, schema="Ecommerce/Stores/Response.json")],
    }


def show_customer(store: Store, customer: Customer, base_url: str) -> Document:
    """A customer with the sums over their orders."""
    count, spent = totals(store, customer)
    path = f"/ecommerce/stores/{store.id}/customers/{customer.id}"
    return {
        "id": customer.id,
        "email_address": customer.email_address,
        "opt_in_status": customer.opt_in_status,
        "company": customer.company,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "orders_count": count,
        "total_spent": spent,
        "address": dict(customer.address),
        "created_at": written(customer.created_at),
        "updated_at": written(customer.updated_at),
        "_links": [link(base_url, "self", path, schema="Ecommerce/Stores/Customers/Response.json")],
    }


def show_variant(variant: Document) -> Document:
    """A variant; the price is 0 unless it was sent."""
    return {"price": 0, "inventory_quantity": 0, "sku": "", **variant}


def show_product(store: Store, product: Document, base_url: str) -> Document:
    """A product with its variants."""
    path = f"/ecommerce/stores/{store.id}/products/{product['id']}"
    return {
        **product,
        "currency_code": store.currency_code,
        "variants": [show_variant(variant) for variant in product["variants"].values()],
        "images": product.get("images", []),
        "_links": [link(base_url, "self", path, schema="Ecommerce/Stores/Products/Response.json")],
    }


def show_line(store: Store, line: Document) -> Document:
    """An order line with the titles of what was bought, as far as the product still exists."""
    product = store.products.get(line["product_id"], {})
    variant = product.get("variants", {}).get(line["product_variant_id"], {})
    return {
        **line,
        "product_title": product.get("title", ""),
        "product_variant_title": variant.get("title", ""),
        "discount": line.get("discount", 0),
    }


def show_order(store: Store, order: Document, base_url: str) -> Document:
    """An order with its customer and lines."""
    path = f"/ecommerce/stores/{store.id}/orders/{order['id']}"
    details = {name: value for name, value in order.items() if name not in ("customer_id", "lines")}
    return {
        "discount_total": 0,
        "tax_total": 0,
        "shipping_total": 0,
        "financial_status": "",
        "fulfillment_status": "",
        "promos": [],
        **details,
        "store_id": store.id,
        "customer": show_customer(store, store.customers[order["customer_id"]], base_url),
        "lines": [show_line(store, line) for line in order["lines"].values()],
        "_links": [link(base_url, "self", path, schema="Ecommerce/Stores/Orders/Response.json")],
    }
