"""Merge fields (an audience's columns): what there is, and those that the settings name created.

Mailchimp API: 30 fields per audience (80 on Premium), tags of at most 10 upper-case letters, digits and
underscores; names and types of existing fields are the audience owner's and are never changed here.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import (
    MailchimpError,
    MailchimpInvalidError,
    MailchimpServerError,
    MailchimpUnknownOutcomeError,
)
from mc_pipeline.mailchimp.paging import pages

ROOM = 30
PREMIUM_ROOM = 80
_PAGE_SIZE = 1000
_PARTS = ("merge_id", "tag", "name", "type", "required", "default_value", "options")
US_PHONE = "US"
_TAG = re.compile(r"[A-Z][A-Z0-9_]{0,9}")
TYPES = frozenset(
    {"text", "number", "address", "phone", "date", "url", "imageurl", "radio", "dropdown", "birthday", "zip"}
)
# Mailchimp's own: the address itself and the positional names of all fields.
_RESERVED = re.compile(r"EMAIL|MERGE[0-9]+")
_NEVER_USED: Mapping[str, "UsedFieldLike"] = MappingProxyType({})


@dataclass(frozen=True)
class MergeField:
    """One field of an audience; ``required`` ones make writes without a value fail.

    ``merge_id`` stays when somebody gives the field another tag. ``phone_format`` is that of a phone field:
    ``US`` takes ten digits only.
    """

    tag: str
    name: str
    type: str
    required: bool
    merge_id: int
    default_value: str = ""
    phone_format: str = ""


class UsedFieldLike(Protocol):
    """A field that was used under the tag of the settings before."""

    @property
    def merge_id(self) -> int: ...
    @property
    def type(self) -> str: ...


ProblemCode = Literal["not_a_tag", "renamed", "retyped", "another_type", "full", "refused", "unread"]


@dataclass(frozen=True)
class FieldProblem:
    """Why a field of the settings cannot be used, in one sentence, and what to do about it in another.

    not_a_tag       Mailchimp takes no such tag, or no such type
    renamed         somebody gave the field that we used another tag
    retyped         somebody created the field again, with another type
    another_type    the field has another type than the settings need, as far as is known from the beginning
    full            the audience has no room for another field
    refused         Mailchimp did not make the field, in its own words
    unread          Mailchimp does not show the fields
    """

    code: ProblemCode
    said: str
    what_to_do: str = ""

    def __str__(self) -> str:
        return f"{self.said}: {self.what_to_do}" if self.what_to_do else self.said


@dataclass(frozen=True)
class Comparison:
    """What the settings name, beside an audience's fields, by tag; ``problems``: tag to what is wrong.

    Where there is no room for all missing fields, each of them is a problem and ``missing`` is empty.
    """

    present: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: dict[str, FieldProblem] = field(default_factory=dict)


@dataclass(frozen=True)
class EnsureResult:
    """``created`` and ``present``: tags; ``problems``: tag to what is wrong; ``fields``: all there are."""

    created: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    problems: dict[str, FieldProblem] = field(default_factory=dict)
    fields: dict[str, MergeField] = field(default_factory=dict)


def list_merge_fields(client: MailchimpClient, list_id: str) -> dict[str, MergeField]:
    """Return the fields of an audience by tag."""
    found: dict[str, MergeField] = {}
    ask = client.lists.get_list_merge_fields
    for page in pages(ask, "merge_fields", list_id, fields=_PARTS, count=_PAGE_SIZE):
        for record in page.items:
            merge_field = _merge_field(record)
            found[merge_field.tag] = merge_field
    return found


def room_of(existing: Collection[str]) -> int:
    """Return how many fields an audience may have: more than the usual ones are there with Premium alone.

    Mailchimp API: the API does not say which plan an account has.
    """
    return ROOM if len(existing) <= ROOM else PREMIUM_ROOM


def compare_merge_fields(
    existing: Mapping[str, MergeField],
    wanted: Mapping[str, str],
    used: Mapping[str, UsedFieldLike] = _NEVER_USED,
) -> Comparison:
    """Say which fields of ``wanted`` (tag to type) an audience has, lacks, or has wrongly.

    ``used`` are the fields that were used under these tags before: one that has another tag now is not made
    a second time.
    """
    result = Comparison()
    by_id = {each.merge_id: each for each in existing.values()}
    for tag, wanted_type in wanted.items():
        before = used.get(tag)
        renamed_to = by_id.get(before.merge_id) if before is not None and tag not in existing else None
        problem = _problem(tag, wanted_type, existing.get(tag), before, renamed_to)
        if problem is not None:
            result.problems[tag] = problem
        elif tag in existing:
            result.present.append(tag)
        else:
            result.missing.append(tag)
    room = room_of(existing)
    free = max(room - len(existing), 0)
    if len(result.missing) > free:
        for tag in result.missing:
            result.problems[tag] = FieldProblem(
                "full",
                f"the audience has {len(existing)} of {room} merge fields, which leaves no room for the "
                f"{len(result.missing)} missing ones ({', '.join(result.missing)})",
                "delete unused fields in Mailchimp (Audience, Settings, Audience fields), or name fewer in "
                "the settings",
            )
        result.missing.clear()
    return result


def ensure_merge_fields(
    client: MailchimpClient,
    list_id: str,
    wanted: Mapping[str, str],
    *,
    names: Mapping[str, str] | None = None,
    used: Mapping[str, UsedFieldLike] = _NEVER_USED,
    create: bool = True,
) -> EnsureResult:
    """Create the fields of ``wanted`` (tag to type) that the audience does not have.

    Nothing is created when there is no room for all missing ones, so that an audience is not left half
    way. ``names`` are the labels that people see; the tag otherwise. ``used``: see
    :func:`compare_merge_fields`. Without ``create`` the audience is only looked at.
    """
    existing = list_merge_fields(client, list_id)
    compared = compare_merge_fields(existing, wanted, used)
    result = EnsureResult(present=compared.present, problems=compared.problems, fields=existing)
    for tag in compared.missing if create else ():
        name = (names or {}).get(tag, tag)
        try:
            existing[tag] = _create(client, list_id, tag, name, wanted[tag])
        except (MailchimpInvalidError, MailchimpServerError) as error:
            result.problems[tag] = FieldProblem(
                "refused",
                f"Mailchimp did not create the merge field: {error}",
                "create the field in Mailchimp (Audience, Settings, Audience fields), or name another tag "
                "in the settings",
            )
        else:
            result.created.append(tag)
    return result


def _problem(
    tag: str,
    wanted_type: str,
    existing: MergeField | None,
    used: UsedFieldLike | None,
    renamed_to: MergeField | None,
) -> FieldProblem | None:
    if not _TAG.fullmatch(tag) or _RESERVED.fullmatch(tag):
        return FieldProblem(
            "not_a_tag",
            "not a merge tag Mailchimp accepts",
            "use at most 10 upper-case letters, digits and underscores, begin with a letter, and not EMAIL "
            "or MERGE with a number",
        )
    if wanted_type not in TYPES:
        return FieldProblem(
            "not_a_tag",
            f"{wanted_type!r} is no type of merge field",
            f"use one of {', '.join(sorted(TYPES))}",
        )
    if renamed_to is not None:
        return FieldProblem(
            "renamed",
            f"the field was renamed {renamed_to.tag} in Mailchimp",
            f"rename it back to {tag} there (Audience, Settings, Audience fields), or write {renamed_to.tag} "
            f"in the place of {tag} in companies.yaml",
        )
    if existing is not None and existing.type != wanted_type:
        if used is not None and used.type == wanted_type:
            return FieldProblem(
                "retyped",
                f"the field was created again in Mailchimp as {existing.type}, the settings need "
                f"{wanted_type}",
                "delete the field in Mailchimp (Audience, Settings, Audience fields): the next run creates "
                "it again and fills it; or name another tag in companies.yaml",
            )
        return FieldProblem(
            "another_type",
            f"the audience has it as {existing.type}, the settings need {wanted_type}",
            "name another tag in the settings, or delete the field in Mailchimp (its values are lost)",
        )
    return None


def _create(client: MailchimpClient, list_id: str, tag: str, name: str, wanted_type: str) -> MergeField:
    body: dict[str, Any] = {
        "tag": tag, "name": name, "type": wanted_type, "required": False, "public": False
    }  # fmt: skip
    if wanted_type == "phone":
        body["options"] = {"phone_format": "International"}
    try:
        created = client.lists.add_list_merge_field(list_id, body)
        require(created, "tag", str, path=f"/lists/{list_id}/merge-fields")
    except MailchimpUnknownOutcomeError:
        found = list_merge_fields(client, list_id).get(tag)
        if found is None:
            raise
        return found
    else:
        if created["tag"] != tag:
            raise MailchimpError(
                title="Unexpected Answer",
                detail=f"the merge field {tag} was created as {created['tag']}: delete it in Mailchimp",
                method="POST",
                path=f"/lists/{list_id}/merge-fields",
            )
        return _merge_field({"type": wanted_type, **created})


def _merge_field(record: Mapping[str, Any]) -> MergeField:
    return MergeField(
        tag=str(record["tag"]),
        name=str(record.get("name") or ""),
        type=str(record["type"]),
        required=bool(record.get("required")),
        merge_id=int(record.get("merge_id") or 0),
        default_value=str(record.get("default_value") or ""),
        phone_format=str((record.get("options") or {}).get("phone_format") or ""),
    )
