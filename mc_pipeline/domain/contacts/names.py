"""First and last name where Odoo has one name field: decided together, given what Mailchimp has (rule 6.4).

A mail that begins "Dear {first name} {last name}" shows both fields. So the whole name may be in the first
one only where the last one is empty or written by this pipeline: next to somebody else's last name it would
be there twice.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mc_pipeline.domain.company import NamedAudience
from mc_pipeline.domain.plan.fields import is_empty, is_ours

WHOLE, SPLIT, LEAVE = "whole", "split", "leave"
"""The setting ``names`` of an audience."""

PERSON, COMPANY = "person", "company"
"""What a contact with one name is (column ``one_name`` of the contacts; empty where Odoo has two names)."""

NOT_DECIDED = "name_not_decided"
"""Reason code of members whose name is left as it is, since their last name is not the end of Odoo's name."""

WHAT_TO_DO = (
    "correct the name in Odoo, or the last name in Mailchimp, so that the one ends in the other; or choose "
    "names: leave for the audience in companies.yaml."
)
"""What to do about them."""

_DEFAULT_LAST = "LNAME"  # Mailchimp makes it in every audience, and its templates use it


@dataclass(frozen=True)
class NameFields:
    """Where the names of an audience's members stand.

    ``first`` and ``last``: the merge fields that are filled with first and last name. ``read``: those that
    show a last name, among them an LNAME that the settings do not name, which is never written. ``names``:
    the setting.
    """

    first: tuple[str, ...]
    last: tuple[str, ...]
    read: tuple[str, ...]
    names: str

    @classmethod
    def of(cls, audience: NamedAudience) -> "NameFields":
        """Find them in the settings.

        A field of the whole name (``name``) beside one of the first name stands for itself, and is no part of
        the pair.
        """
        filled = audience.merge_fields

        def filled_with(source: str) -> tuple[str, ...]:
            return tuple(tag for tag, each in filled.items() if each == source)

        last = filled_with("last_name")
        unnamed = () if last or _DEFAULT_LAST in filled else (_DEFAULT_LAST,)
        return cls(filled_with("first_name") or filled_with("name"), last, last + unnamed, audience.names)


@dataclass(frozen=True)
class Names:
    """The merge fields that a member should have, names decided. ``not_decided``: the merge field with the
    last name that is not ours and does not end the name, so that neither name is written; empty otherwise."""

    desired: dict[str, Any]
    not_decided: str = ""


def decide_names(
    desired: dict[str, Any],
    one_name: Any,
    fields: NameFields,
    present: Mapping[str, Any],
    sent: Mapping[str, Any],
) -> Names:
    """Decide first and last name of one member together.

    Args:
        desired: merge fields by Odoo, with the whole name as first name and no last name.
        one_name: ``PERSON`` or ``COMPANY``; anything else: Odoo has first and last name, nothing is decided.
        fields: where names stand.
        present: the merge fields that Mailchimp has; empty for somebody new.
        sent: the merge fields that we last sent: a last name among them is ours, if it is still there.
    """
    if one_name not in (PERSON, COMPANY):
        return Names(desired)
    if fields.names == LEAVE:
        has_a_name = any(not is_empty(present.get(tag)) for tag in (*fields.first, *fields.read))
        return Names(_without(desired, fields) if has_a_name else desired)
    whole = next((str(desired[tag]) for tag in fields.first or () if not is_empty(desired.get(tag))), "")
    if not whole:
        return Names(desired)
    words = whole.split()
    if fields.names == SPLIT and one_name == PERSON and fields.last and len(words) > 1:
        first, last = " ".join(words[:-1]), words[-1]
        return Names({**desired, **dict.fromkeys(fields.first, first), **dict.fromkeys(fields.last, last)})
    theirs = next((tag for tag in fields.read if _is_theirs(tag, fields, present, sent)), "")
    if not theirs:
        return Names(desired)
    before = before_last_name(whole, str(present[theirs]))
    if before is None:
        return Names(_without(desired, fields), theirs)
    return Names({**desired, **dict.fromkeys(fields.first, before)})


def before_last_name(whole: str, last_name: str) -> str | None:
    """Return what stands before a last name that ends a name; None where it does not end it.

    Whole words are compared, without regard to case: ``Miller`` does not end ``Sandmiller``.
    """
    words, ending = whole.split(), _folded(last_name).split()
    if not ending or _folded(whole).split()[-len(ending) :] != ending:
        return None
    return " ".join(words[: len(words) - len(ending)])


def has_last_name_twice(present: Mapping[str, Any], fields: NameFields) -> bool:
    """Return whether a member's first name ends in their last name, so that a greeting shows it twice."""
    last_names = [str(present[tag]) for tag in fields.read if not is_empty(present.get(tag))]
    return any(
        before_last_name(str(present.get(tag) or ""), last_name) is not None
        for tag in fields.first
        for last_name in last_names
    )


def _is_theirs(tag: str, fields: NameFields, present: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Return whether a last name stays, because it is somebody else's, or in a field that is never
    written."""
    value = present.get(tag)
    if is_empty(value):
        return False
    return tag not in fields.last or not is_ours(value, sent.get(tag), "text")


def _without(desired: Mapping[str, Any], fields: NameFields) -> dict[str, Any]:
    names = {*fields.first, *fields.last}
    return {tag: value for tag, value in desired.items() if tag not in names}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
