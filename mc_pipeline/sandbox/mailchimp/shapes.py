"""The shapes of request bodies that Mailchimp checks before it looks at their meaning.

A body of the wrong shape is refused as a whole, with the field named, whatever else is in it. Unknown keys
are ignored without a word, as the API does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mc_pipeline.sandbox.mailchimp.problems import FieldError, not_validated

WRITABLE = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")


@dataclass(frozen=True)
class Shape:
    """The type of a value: ``kind`` is text, number, whole, flag, object, list or a choice of texts."""

    kind: str
    choices: tuple[str, ...] = ()
    fields: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    items: Shape | None = None


TEXT, NUMBER, WHOLE, FLAG, ANY = Shape("text"), Shape("number"), Shape("whole"), Shape("flag"), Shape("any")


def one_of(*choices: str) -> Shape:
    """A text out of a few."""
    return Shape("choice", choices=choices)


def obj(fields: Mapping[str, Shape] | None = None, required: tuple[str, ...] = ()) -> Shape:
    """An object; keys not named may hold anything."""
    return Shape("object", fields=fields or {}, required=required)


def items(shape: Shape) -> Shape:
    """A list."""
    return Shape("list", items=shape)


_MEMBER = {
    "email_address": TEXT,
    "email_type": TEXT,
    "status": one_of(*WRITABLE),
    "merge_fields": obj(),
    "interests": obj(),
    "language": TEXT,
    "vip": FLAG,
    "location": obj({"latitude": NUMBER, "longitude": NUMBER}),
    "marketing_permissions": items(obj({"marketing_permission_id": TEXT, "enabled": FLAG})),
    "ip_signup": TEXT,
    "timestamp_signup": TEXT,
    "ip_opt": TEXT,
    "timestamp_opt": TEXT,
}
NEW_MEMBER = obj({**_MEMBER, "tags": items(TEXT)}, ("email_address", "status"))
PUT_MEMBER = obj({**_MEMBER, "status_if_new": one_of(*WRITABLE)})
PATCH_MEMBER = obj({**_MEMBER, "status": one_of("subscribed", "unsubscribed", "cleaned", "pending")})
BULK_MEMBERS = obj(
    {"members": items(obj({**_MEMBER, "tags": ANY})), "update_existing": FLAG, "sync_tags": FLAG},
    ("members",),
)
MEMBER_TAGS = obj(
    {
        "tags": items(obj({"name": TEXT, "status": one_of("active", "inactive")}, ("name", "status"))),
        "is_syncing": FLAG,
    }
)

MERGE_FIELD = obj(
    {
        "tag": TEXT,
        "name": TEXT,
        "type": TEXT,
        "required": FLAG,
        "default_value": TEXT,
        "public": FLAG,
        "display_order": WHOLE,
        "options": obj({"choices": items(TEXT)}),
        "help_text": TEXT,
    },
    ("name", "type"),
)
MERGE_FIELD_CHANGE = obj(MERGE_FIELD.fields)

SEGMENT = obj({"name": TEXT, "static_segment": items(TEXT), "options": obj()}, ("name",))
SEGMENT_CHANGE = obj(SEGMENT.fields)
SEGMENT_MEMBERS = obj({"members_to_add": items(TEXT), "members_to_remove": items(TEXT)})
SEGMENT_MEMBER = obj({"email_address": TEXT}, ("email_address",))

_FLAGS = dict.fromkeys(("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"), FLAG)
WEBHOOK = obj(
    {"url": TEXT, "events": obj(_FLAGS), "sources": obj({"user": FLAG, "admin": FLAG, "api": FLAG})}
)

BATCH = obj(
    {
        "operations": items(
            obj(
                {"method": TEXT, "path": TEXT, "params": obj(), "body": TEXT, "operation_id": TEXT},
                ("method", "path"),
            )
        )
    },
    ("operations",),
)

_STORE = {
    **dict.fromkeys(
        (
            "id",
            "list_id",
            "name",
            "platform",
            "domain",
            "email_address",
            "currency_code",
            "money_format",
            "primary_locale",
            "timezone",
            "phone",
        ),
        TEXT,
    ),
    "is_syncing": FLAG,
    "address": obj(),
}
STORE = obj(_STORE, ("id", "list_id", "name", "currency_code"))
STORE_CHANGE = obj(_STORE)

_CUSTOMER = {
    "id": TEXT,
    "email_address": TEXT,
    "opt_in_status": FLAG,
    "company": TEXT,
    "first_name": TEXT,
    "last_name": TEXT,
    "address": obj(),
}
CUSTOMER = obj(_CUSTOMER, ("id", "email_address", "opt_in_status"))
CUSTOMER_CHANGE = obj(_CUSTOMER)

_VARIANT = {
    "id": TEXT,
    "title": TEXT,
    "url": TEXT,
    "sku": TEXT,
    "price": NUMBER,
    "inventory_quantity": WHOLE,
    "image_url": TEXT,
    "backorders": TEXT,
    "visibility": TEXT,
}
VARIANT = obj(_VARIANT, ("id", "title"))
VARIANT_CHANGE = obj(_VARIANT)
_PRODUCT = {
    **dict.fromkeys(("id", "title", "handle", "url", "description", "type", "vendor", "image_url"), TEXT),
    "variants": items(VARIANT),
    "images": items(obj()),
}
PRODUCT = obj(_PRODUCT, ("id", "title", "variants"))
PRODUCT_CHANGE = obj(_PRODUCT)

_LINE = {
    "id": TEXT,
    "product_id": TEXT,
    "product_variant_id": TEXT,
    "quantity": WHOLE,
    "price": NUMBER,
    "discount": NUMBER,
}
LINE = obj(_LINE, ("id", "product_id", "product_variant_id", "quantity", "price"))
LINE_CHANGE = obj(_LINE)
_PROMO = obj(
    {"code": TEXT, "amount_discounted": NUMBER, "type": one_of("fixed", "percentage")},
    ("code", "amount_discounted", "type"),
)
_ORDER = {
    "id": TEXT,
    "customer": obj(_CUSTOMER, ("id",)),
    **dict.fromkeys(
        (
            "campaign_id",
            "landing_site",
            "financial_status",
            "fulfillment_status",
            "currency_code",
            "order_url",
            "processed_at_foreign",
            "cancelled_at_foreign",
            "updated_at_foreign",
            "tracking_number",
            "tracking_carrier",
            "tracking_url",
        ),
        TEXT,
    ),
    **dict.fromkeys(("order_total", "discount_total", "tax_total", "shipping_total"), NUMBER),
    "tracking_code": one_of("prec"),
    "shipping_address": obj(),
    "billing_address": obj(),
    "promos": items(_PROMO),
    "lines": items(LINE),
    "outreach": obj({"id": TEXT}),
}
ORDER = obj(_ORDER, ("id", "customer", "currency_code", "order_total", "lines"))
ORDER_CHANGE = obj({**_ORDER, "customer": CUSTOMER_CHANGE, "lines": items(LINE_CHANGE)})


def checked(body: Any, shape: Shape) -> dict[str, Any]:
    """The body when it has the shape; raises the error that names every field at fault."""
    errors: list[FieldError] = []
    _check(body, shape, "", errors)
    if errors:
        raise not_validated(*errors)
    document: dict[str, Any] = body
    return document


_NAMES = {
    "text": "string",
    "number": "number",
    "whole": "integer",
    "flag": "boolean",
    "object": "object",
    "list": "array",
    "choice": "string",
}


def _check(value: Any, shape: Shape, path: str, errors: list[FieldError]) -> None:
    kind = shape.kind
    if kind == "any":
        return
    found = _kind(value)
    expected = _NAMES[kind]
    if found != expected and not (expected == "number" and found == "integer"):
        errors.append((path, f"Schema describes {expected}, {found} found instead"))
    elif kind == "choice" and value not in shape.choices:
        errors.append((path, f"Value must be one of: {', '.join(shape.choices)}"))
    elif kind == "object":
        prefix = f"{path}." if path else ""
        for name in shape.required:
            if name not in value:
                errors.append((prefix + name, "Required fields were not provided: " + name))
        for name, inner in shape.fields.items():
            if name in value:
                _check(value[name], inner, prefix + name, errors)
    elif kind == "list" and shape.items is not None:
        prefix = f"{path}." if path else ""
        for number, item in enumerate(value):
            _check(item, shape.items, f"{prefix}{number}", errors)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "NULL"
