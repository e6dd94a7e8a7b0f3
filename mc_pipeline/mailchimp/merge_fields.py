"""Merge fields (an audience's columns): what there is, and those that the settings name created.

Mailchimp API: 30 fields per audience (80 on Premium), tags of at most 10 upper-case letters, digits and
underscores; names and types of existing fields are the audience owner's and are never changed here.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpInvalidError, MailchimpUnknownOutcomeError

ROOM = 30
PREMIUM_ROOM = 80
_PAGE_SIZE = 1000
_TAG = re.compile(r"[A-Z][A-Z0-9_]{0,9}")
TYPES = frozenset(
    {"text", "number", "address", "phone", "date", "url", "imageurl", "radio", "dropdown", "birthday", "zip"}
)
# Mailchimp's own: the address itself and the positional names of all fields.
_RESERVED = re.compile(r"EMAIL|MERGE[0-9]+")


@dataclass(frozen=True)
class MergeField:
    """One field of an audience; ``required`` ones make writes without a value fail."""

    tag: str
    name: str
    type: str
    required: bool
    merge_id: int


@dataclass(frozen=True)
class Comparison:
    """What the settings name, beside an audience's fields, by tag; ``problems``: tag to a sentence.

    Where there is no room for all missing fields, each of them is a problem and ``missing`` is empty.
    """

    present: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EnsureResult:
    """``created`` and ``present``: tags; ``problems``: tag to one sentence that says what to do."""

    created: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def list_merge_fields(client: MailchimpClient, list_id: str) -> dict[str, MergeField]:
    """Return the fields of an audience by tag."""
    found: dict[str, MergeField] = {}
    offset, total = 0, 1
    while offset < total:
        page = client.lists.get_list_merge_fields(
            list_id,
            count=_PAGE_SIZE,
            offset=offset,
            fields=["total_items"]
            + [f"merge_fields.{name}" for name in ("merge_id", "tag", "name", "type", "required")],
        )
        total = require(page, "total_items", int)
        fields = require(page, "merge_fields", list)
        for record in fields:
            merge_field = _merge_field(record)
            found[merge_field.tag] = merge_field
        if not fields:
            break
        offset += len(fields)
    return found


def room_of(existing: Collection[str]) -> int:
    """Return how many fields an audience may have: more than the usual ones are there with Premium alone.

    Mailchimp API: which plan an account has is not told.
    """
    return ROOM if len(existing) <= ROOM else PREMIUM_ROOM


def compare_merge_fields(existing: Mapping[str, MergeField], wanted: Mapping[str, str]) -> Comparison:
    """Say which fields of ``wanted`` (tag to type) an audience has, lacks, or has wrongly."""
    result = Comparison()
    for tag, wanted_type in wanted.items():
        problem = _problem(tag, wanted_type, existing.get(tag))
        if problem:
            result.problems[tag] = problem
        elif tag in existing:
            result.present.append(tag)
        else:
            result.missing.append(tag)
    room = room_of(existing)
    free = max(room - len(existing), 0)
    if len(result.missing) > free:
        for tag in result.missing:
            result.problems[tag] = (
                f"the audience has {len(existing)} of {room} merge fields, which leaves no room for the "
                f"{len(result.missing)} missing ones ({', '.join(result.missing)}): delete unused fields in "
                "Mailchimp or name fewer in the settings"
            )
        result.missing.clear()
    return result


def ensure_merge_fields(
    client: MailchimpClient,
    list_id: str,
    wanted: Mapping[str, str],
    *,
    names: Mapping[str, str] | None = None,
) -> EnsureResult:
    """Create the fields of ``wanted`` (tag to type) that the audience does not have.

    Nothing is created when there is no room for all missing ones, so that an audience is not left half
    way. ``names`` are the labels that people see; the tag otherwise.
    """
    compared = compare_merge_fields(list_merge_fields(client, list_id), wanted)
    result = EnsureResult(present=compared.present, problems=compared.problems)
    missing = compared.missing
    for tag in missing:
        name = (names or {}).get(tag, tag)
        try:
            _create(client, list_id, tag, name, wanted[tag])
        except MailchimpInvalidError as error:
            result.problems[tag] = f"Mailchimp refused to create the merge field: {error}"
        else:
            result.created.append(tag)
    return result


def _problem(tag: str, wanted_type: str, existing: MergeField | None) -> str:
    if not _TAG.fullmatch(tag) or _RESERVED.fullmatch(tag):
        return (
            "not a merge tag Mailchimp accepts: use at most 10 upper-case letters, digits and underscores, "
            "begin with a letter, and not EMAIL or MERGE with a number"
        )
    if wanted_type not in TYPES:
        return f"{wanted_type!r} is no type of merge field: use one of {', '.join(sorted(TYPES))}"
    if existing is not None and existing.type != wanted_type:
        return (
            f"the audience has it as {existing.type}, the settings need {wanted_type}: "
            "name another tag in the settings, or delete the field in Mailchimp (its values are lost)"
        )
    return ""


def _create(client: MailchimpClient, list_id: str, tag: str, name: str, wanted_type: str) -> None:
    body: dict[str, Any] = {
        "tag": tag, "name": name, "type": wanted_type, "required": False, "public": False
    }  # fmt: skip
    if wanted_type == "phone":
        body["options"] = {"phone_format": "International"}
    try:
        created = client.lists.add_list_merge_field(list_id, body)
        require(created, "tag", str, path=f"/lists/{list_id}/merge-fields")
    except MailchimpUnknownOutcomeError:
        if tag not in list_merge_fields(client, list_id):
            raise
    else:
        if created["tag"] != tag:
            raise MailchimpError(
                title="Unexpected Answer",
                detail=f"the merge field {tag} was created as {created['tag']}: delete it in Mailchimp",
                method="POST",
                path=f"/lists/{list_id}/merge-fields",
            )


def _merge_field(record: Mapping[str, Any]) -> MergeField:
    return MergeField(
        tag=str(record["tag"]),
        name=str(record.get("name") or ""),
        type=str(record["type"]),
        required=bool(record.get("required")),
        merge_id=int(record.get("merge_id") or 0),
    )
