"""The merge fields of an audience: making them, and what each type accepts and turns a value into."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from mc_pipeline.sandbox.mailchimp.problems import (
    MERGE_FIELDS_INVALID,
    ApiError,
    FieldError,
    invalid,
    not_found,
)
from mc_pipeline.sandbox.mailchimp.state import Audience, Member, MergeField

MAXIMUM = 30
"""Merge fields an audience may have (Mailchimp API: plans below Premium)."""
TAG_LENGTH = 10
TEXT_BYTES = 255

TYPES = (
    "text",
    "number",
    "address",
    "phone",
    "date",
    "url",
    "imageurl",
    "radio",
    "dropdown",
    "birthday",
    "zip",
)

_REFUSED = object()


def add_default_fields(audience: Audience) -> None:
    """The fields every new audience has. Their owner may rename or delete them."""
    for tag, name, kind in [
        ("FNAME", "First Name", "text"),
        ("LNAME", "Last Name", "text"),
        ("ADDRESS", "Address", "address"),
        ("PHONE", "Phone Number", "phone"),
        ("BIRTHDAY", "Birthday", "birthday"),
    ]:
        add_field(audience, {"tag": tag, "name": name, "type": kind})


def add_field(audience: Audience, body: Mapping[str, Any]) -> MergeField:
    """Make a merge field; refuses one too many, a tag that is taken or too long, an unknown type."""
    kind = body["type"]
    if kind not in TYPES:
        raise invalid(
            "The resource submitted could not be validated.", ("type", f"Use one of {', '.join(TYPES)}.")
        )
    if len(audience.merge_fields) >= MAXIMUM:
        raise invalid(f"You can not create more than {MAXIMUM} merge fields for this audience.")
    if kind in ("radio", "dropdown") and not (body.get("options") or {}).get("choices"):
        raise invalid("Merge field choices are required.", ("options.choices", "Please enter choices"))
    merge_id = audience.next_merge_id
    tag = _checked_tag(audience, body.get("tag") or f"MMERGE{merge_id}")
    audience.next_merge_id += 1
    options = dict(body.get("options") or {})
    if kind == "date":
        options.setdefault("date_format", "MM/DD/YYYY")
    if kind == "phone":
        options.setdefault("phone_format", "none")
    if kind in ("text", "address"):
        options.setdefault("size" if kind == "text" else "default_country", 25 if kind == "text" else 164)
    made = MergeField(
        merge_id=merge_id,
        tag=tag,
        name=body["name"],
        type=kind,
        required=bool(body.get("required", False)),
        default_value=str(body.get("default_value", "")),
        public=bool(body.get("public", False)),
        display_order=body.get("display_order") or merge_id + 1,
        options=options,
        help_text=body.get("help_text", ""),
    )
    audience.merge_fields[tag] = made
    return made


def change_field(audience: Audience, merge_id: str, body: Mapping[str, Any]) -> MergeField:
    """Change a field; a new tag carries the members' values along, the type never changes."""
    found = field_by_id(audience, merge_id)
    if "tag" in body and body["tag"].upper() != found.tag:
        tag = _checked_tag(audience, body["tag"])
        del audience.merge_fields[found.tag]
        for member in audience.members.values():
            if found.tag in member.merge_fields:
                member.merge_fields[tag] = member.merge_fields.pop(found.tag)
        found.tag = tag
        audience.merge_fields[tag] = found
    for name in ("name", "required", "default_value", "public", "display_order", "help_text"):
        if name in body:
            setattr(found, name, body[name])
    if "options" in body:
        found.options |= body["options"]
    return found


def delete_field(audience: Audience, merge_id: str) -> None:
    """Delete a field and every member's value of it."""
    found = field_by_id(audience, merge_id)
    del audience.merge_fields[found.tag]
    for member in audience.members.values():
        member.merge_fields.pop(found.tag, None)


def field_by_id(audience: Audience, merge_id: str) -> MergeField:
    """A field by its number."""
    for each in audience.merge_fields.values():
        if str(each.merge_id) == merge_id:
            return each
    raise not_found()


def _checked_tag(audience: Audience, tag: str) -> str:
    tag = tag.upper()
    if not re.fullmatch(r"[A-Z0-9_]+", tag) or len(tag) > TAG_LENGTH:
        raise invalid(
            "Merge Field tags may hold letters, numbers and underscores only, at most 10 of them.",
            ("tag", "Please enter at most 10 letters, numbers or underscores"),
        )
    if tag in audience.merge_fields or tag == "EMAIL":
        raise invalid(f'A Merge Field with the tag "{tag}" already exists for this list.')
    return tag


def accepted_values(
    audience: Audience, values: Mapping[str, Any], present: Mapping[str, Any], *, skip_validation: bool
) -> dict[str, Any]:
    """What Mailchimp keeps of the values sent, in its own form; "" empties a field.

    Unknown tags are dropped without a word. Raises the merge field error with every field at fault.
    ``skip_validation`` lets required fields stay empty; types are checked all the same.
    """
    kept: dict[str, Any] = {}
    errors: list[FieldError] = []
    fields = audience.merge_fields
    for tag, value in values.items():
        known = fields.get(tag) or fields.get(tag.upper())
        if known is None:
            continue
        if value == "" and isinstance(value, str):
            kept[known.tag] = ""
            continue
        accepted, complaint = _ACCEPTS[known.type](value, known)
        if accepted is _REFUSED:
            errors.append((known.tag, complaint))
        else:
            kept[known.tag] = accepted
    if not skip_validation:
        for each in fields.values():
            if each.required and not kept.get(each.tag, present.get(each.tag, "")) and not each.default_value:
                errors.append((each.tag, "Please enter a value"))
    if errors:
        raise ApiError(400, "Invalid Resource", MERGE_FIELDS_INVALID, errors=errors)
    return kept


def apply_values(member: Member, kept: Mapping[str, Any]) -> bool:
    """Put accepted values on a member; says whether anything changed."""
    changed = False
    for tag, value in kept.items():
        if value == "":
            changed |= member.merge_fields.pop(tag, None) is not None
        elif member.merge_fields.get(tag) != value:
            member.merge_fields[tag] = value
            changed = True
    return changed


def shown_values(audience: Audience, member: Member) -> dict[str, Any]:
    """Every field of the audience: the member's value, the default, or ""."""
    values = member.merge_fields
    return {tag: values.get(tag, each.default_value) for tag, each in audience.merge_fields.items()}


Accepted = tuple[Any, str]


def _text(value: Any, known: MergeField) -> Accepted:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _REFUSED, "Please enter a text"
    text = str(value).strip()
    if len(text.encode()) > TEXT_BYTES:
        return _REFUSED, f"Please enter at most {TEXT_BYTES} bytes"
    return text, ""


def _number(value: Any, known: MergeField) -> Accepted:
    refused = (_REFUSED, "Please enter a number")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return refused
    try:
        number = float(value)
    except ValueError:
        return refused
    if not math.isfinite(number):
        return refused
    return int(number) if number.is_integer() else number, ""


def _date(value: Any, known: MergeField) -> Accepted:
    if isinstance(value, str):
        text = value.strip()
        try:
            return date.fromisoformat(text[:10]).isoformat(), ""
        except ValueError:
            pass
        american = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text)
        if american is not None:
            month, day, year = map(int, american.groups())
            try:
                return date(year, month, day).isoformat(), ""
            except ValueError:
                pass
    return _REFUSED, "Please enter a valid date"


def _birthday(value: Any, known: MergeField) -> Accepted:
    found = re.fullmatch(r"\s*(\d{1,2})[/-](\d{1,2})\s*", value) if isinstance(value, str) else None
    if found is None or not (1 <= int(found[1]) <= 12 and 1 <= int(found[2]) <= 31):
        return _REFUSED, "Please enter a month (01-12) and a day (01-31)"
    return f"{int(found[1]):02d}/{int(found[2]):02d}", ""


def _address(value: Any, known: MergeField) -> Accepted:
    if not isinstance(value, dict):
        return _REFUSED, "Please enter a complete address"
    parts = {}
    for part in ("addr1", "addr2", "city", "state", "zip", "country"):
        text = value.get(part) or ""
        if not isinstance(text, str):
            return _REFUSED, "Please enter a complete address"
        parts[part] = text.strip()
    if not any(parts.values()):
        return "", ""
    if not all(parts[part] for part in ("addr1", "city", "state", "zip")):
        return _REFUSED, "Please enter a complete address"
    parts["country"] = parts["country"] or "US"
    return parts, ""


def _phone(value: Any, known: MergeField) -> Accepted:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return _REFUSED, "Please enter a phone number"
    text = str(value).strip()
    if known.options.get("phone_format") == "US":
        digits = re.sub(r"\D", "", text)
        if len(digits) != 10:
            return _REFUSED, "Please enter a valid phone number"
        return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}", ""
    return _text(text, known)


def _url(value: Any, known: MergeField) -> Accepted:
    if not isinstance(value, str) or not re.fullmatch(r"https?://\S+", value.strip()):
        return _REFUSED, "Please enter a valid URL"
    return _text(value, known)


def _choice(value: Any, known: MergeField) -> Accepted:
    if value not in known.options.get("choices", []):
        return _REFUSED, "Please choose one of the options"
    return value, ""


def _zip(value: Any, known: MergeField) -> Accepted:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{5}", text):
        return _REFUSED, "Please enter a valid zip code (5 digits)"
    return text, ""


_ACCEPTS: dict[str, Callable[[Any, MergeField], Accepted]] = {
    "text": _text,
    "number": _number,
    "address": _address,
    "phone": _phone,
    "date": _date,
    "url": _url,
    "imageurl": _url,
    "radio": _choice,
    "dropdown": _choice,
    "birthday": _birthday,
    "zip": _zip,
}
