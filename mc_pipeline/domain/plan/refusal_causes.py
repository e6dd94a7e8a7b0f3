"""Rule 6.6: what caused a refusal: the person, a field, the audience or the plan.

Only a reason about the person's own value waits for the contact to change. All others are said once, with
what to change in Mailchimp, and tried again when the cause may be gone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol


class Cause(StrEnum):
    """What Mailchimp's refusal is about."""

    PERSON = "person"
    """A value of this person's own: tried again when the contact changes, or when its time has come."""
    COMPLIANCE = "compliance"
    """The person opted out, nobody knows when: never tried again."""
    REQUIRED_FIELD = "required_field"
    """A field of which nothing was sent for this person: the audience requires it."""
    PHONE_FORMAT = "phone_format"
    """A phone field that takes numbers of the United States only."""
    FIELD_DEFINITION = "field_definition"
    """A field that has another type by now than the value that was sent."""
    CONTACT_LIMIT = "contact_limit"
    """The plan or the account takes no more contacts."""


OUTSIDE_THE_PERSON: frozenset[str] = frozenset(
    {Cause.REQUIRED_FIELD, Cause.PHONE_FORMAT, Cause.FIELD_DEFINITION, Cause.CONTACT_LIMIT}
)
"""Causes that somebody removes in Mailchimp, for everybody at once."""

OF_A_SENT_FIELD: frozenset[str] = frozenset({Cause.PHONE_FORMAT, Cause.FIELD_DEFINITION})
"""Causes that hold back one field alone: the rest of the person is written without it."""

TRIED_AGAIN_AFTER = timedelta(days=1)
"""A refusal outside the person is tried again after this time, whatever Mailchimp shows."""

EXISTS_UNSEEN_TRIED_AGAIN_AFTER = timedelta(days=7)
"""An address that Mailchimp calls a member and shows nowhere: tried again after this time."""


class DefinitionLike(Protocol):
    """A merge field as the audience defines it."""

    @property
    def type(self) -> str: ...
    @property
    def phone_format(self) -> str: ...


@dataclass(frozen=True)
class Blame:
    """The cause of a refusal, and the merge field that it is about (its tag; empty: none)."""

    cause: Cause
    field: str = ""

    @property
    def is_outside(self) -> bool:
        """Whether the cause is outside the person's own data."""
        return self.cause in OUTSIDE_THE_PERSON


NOT_KNOWN: Mapping[str, DefinitionLike] = MappingProxyType({})
_FOR_GOOD = frozenset({"compliance", "forgotten"})


def cause_of_refusal(
    kind: str,
    fields: Collection[str],
    sent: Collection[str],
    definitions: Mapping[str, DefinitionLike] = NOT_KNOWN,
    wanted_types: Mapping[str, str] = MappingProxyType({}),
) -> Blame:
    """Book a refusal on its cause.

    Args:
        kind: what Mailchimp's words say, in one word (``mailchimp.errors.classify_rejection``).
        fields: tags of the merge fields that Mailchimp named as wrong.
        sent: tags of the merge fields that were sent with a value.
        definitions: the audience's fields by tag, as they are now.
        wanted_types: the type that each value sent was made for, by tag.

    Returns:
        Words that nobody knows are booked on the person. Where several fields are at fault, one that nothing
        was sent for comes first: without it the write cannot succeed.
    """
    if kind in _FOR_GOOD:
        return Blame(Cause.COMPLIANCE)
    if kind == "limit":
        return Blame(Cause.CONTACT_LIMIT)
    if kind not in ("invalid", "other"):
        return Blame(Cause.PERSON)
    at_fault = sorted(field for field in fields if field and field.upper() not in ("EMAIL", "EMAIL_ADDRESS"))
    with_value = {tag.upper() for tag in sent}
    # Mailchimp names what is wrong with the request itself in the same place, in small letters.
    for field in at_fault:
        if field == field.upper() and field not in with_value:
            return Blame(Cause.REQUIRED_FIELD, field)
    for field in at_fault:
        definition = definitions.get(field)
        if definition is None:
            continue
        if field in wanted_types and definition.type != wanted_types[field]:
            return Blame(Cause.FIELD_DEFINITION, field)
        if definition.type == "phone" and definition.phone_format == "US":
            return Blame(Cause.PHONE_FORMAT, field)
    return Blame(Cause.PERSON, next((field for field in at_fault if field in with_value), ""))


def may_be_gone(
    cause: str, refused_at: datetime | None, definitions_changed_at: datetime | None, now: datetime
) -> bool:
    """Whether a refusal outside the person is worth another try: a few rows, and the rest if they are taken.

    Nothing shows that a contact limit was raised: it is tried in every run. What a field is like is read in
    every run: it is tried when that changed, and once a day.
    """
    if cause == Cause.CONTACT_LIMIT or refused_at is None or now - refused_at >= TRIED_AGAIN_AFTER:
        return True
    return definitions_changed_at is not None and definitions_changed_at > refused_at


def what_it_says(cause: str, field: str, audience: str) -> str:
    """Say a cause outside the person in one sentence that names the audience and the field."""
    match cause:
        case Cause.REQUIRED_FIELD:
            return (
                f"the audience {audience} requires the field {field} of people for whom nothing is sent there"
            )
        case Cause.PHONE_FORMAT:
            return (
                f"the field {field} of the audience {audience} takes phone numbers of the United States only"
            )
        case Cause.FIELD_DEFINITION:
            return f"the field {field} of the audience {audience} has another type than what is sent there"
        case Cause.CONTACT_LIMIT:
            return (
                f"Mailchimp accepts no more contacts: the limit of the plan is reached (audience {audience})"
            )
    raise ValueError(f"{cause!r} is no cause outside the person")


def what_to_change(cause: str, field: str) -> str:
    """Say what a person changes, in which system and on which page."""
    page = "in Mailchimp (Audience, Settings, Audience fields)"
    match cause:
        case Cause.REQUIRED_FIELD:
            return (
                f"Make the field {field} optional {page}, or fill it by merge_fields in companies.yaml; the "
                "next sync writes these people."
            )
        case Cause.PHONE_FORMAT:
            return (
                f"Set the phone format of {field} to International {page}; the next sync writes the numbers."
            )
        case Cause.FIELD_DEFINITION:
            return (
                f"Delete the field {field} {page}: the next sync creates it again and fills it; or name "
                "another tag in companies.yaml."
            )
        case Cause.CONTACT_LIMIT:
            return (
                "Raise the plan's contact limit in Mailchimp (Account, Billing, Monthly plans), or archive "
                "contacts there; the next sync writes these people."
            )
    raise ValueError(f"{cause!r} is no cause outside the person")
