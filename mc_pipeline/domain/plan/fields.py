"""Which merge fields and which language of a member have to be written, and which are left alone.

Mailchimp normalises what it is sent (numbers become text, spaces go, addresses gain a country), so "different
from what we want" is no reason to write: a value is unchanged as well when it is what came back after we
last sent exactly this. An empty value of Odoo clears only what this pipeline wrote.
"""

import re
from collections.abc import Mapping
from typing import Any

_ADDRESS_PARTS = ("addr1", "addr2", "city", "state", "zip", "country")
_AMERICAN_DATE = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{4})$")
_SPACES = re.compile(r"\s+")


def is_empty(value: Any) -> bool:
    """Return whether a merge field has no value (an address whose country alone is filled has none)."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return all(is_empty(value.get(part)) for part in ("addr1", "city", "zip"))
    return False


def same_value(left: Any, right: Any, field_type: str | None = None) -> bool:
    """Return whether two values of a merge field mean the same after Mailchimp's normalisation.

    Numbers are compared as numbers when one side is a number or the field's type is ``number``; texts
    without regard to surrounding and repeated spaces; case counts. ``00123`` and ``123`` are different texts.
    """
    if left is right or left == right:
        return True
    if is_empty(left) or is_empty(right):
        return is_empty(left) and is_empty(right)
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
            return False
        return all(_text(left.get(part)) == _text(right.get(part)) for part in _ADDRESS_PARTS)
    if field_type == "number" or isinstance(left, (int, float)) or isinstance(right, (int, float)):
        try:
            return abs(float(left) - float(right)) < 1e-9 * max(1.0, abs(float(left)))
        except (TypeError, ValueError):
            return False
    if field_type == "date":
        return _date(_text(left)) == _date(_text(right))
    return _text(left) == _text(right)


def differing_fields(
    desired: Mapping[str, Any],
    observed: Mapping[str, Any],
    sent: Mapping[str, Any],
    returned: Mapping[str, Any],
    types: Mapping[str, str],
) -> dict[str, Any]:
    """Return the merge fields to send, tag -> value; the ones that are right already are left out.

    Args:
        desired: what the member should have; a tag that is missing is never written, ``""`` means that Odoo
            has no value.
        observed: what Mailchimp has now.
        sent: what we last sent and Mailchimp accepted.
        returned: what Mailchimp had right after that.
        types: Mailchimp's type of each field, as far as known.
    """
    differing: dict[str, Any] = {}
    for tag, value in desired.items():
        present = observed.get(tag)
        if value == present:
            continue
        field_type = types.get(tag)
        if is_empty(value):
            if not is_empty(present) and is_ours(present, sent.get(tag), field_type):
                differing[tag] = ""
            continue
        if same_value(value, present, field_type):
            continue
        if tag in sent and tag in returned and sent[tag] == value and returned[tag] == present:
            continue
        differing[tag] = value
    return differing


def is_ours(present: Any, sent: Any, field_type: str | None) -> bool:
    """Return whether a present value is what we sent, in whatever spelling Mailchimp gave it.

    What came back after a write is no proof: the answer to an update of one field shows the others too, and
    somebody else may have filled those.
    """
    if is_empty(sent):
        return False
    return same_value(sent, present, field_type) or _letters(sent) == _letters(present)


def language_to_send(
    desired: str | None, observed: str | None, sent: str | None, returned: str | None
) -> str | None:
    """Return the language to send, or None when it is right already or Odoo's is not mapped."""
    if not desired:
        return None
    if desired.casefold() == (observed or "").casefold():
        return None
    if sent == desired and returned is not None and returned == observed:
        return None
    return desired


def _text(value: Any) -> str:
    return "" if value is None else _SPACES.sub(" ", str(value)).strip()


def _letters(value: Any) -> str:
    return "".join(character for character in str(value).casefold() if character.isalnum())


def _date(text: str) -> str:
    american = _AMERICAN_DATE.match(text)
    if american:
        month, day, year = american.groups()
        return f"{year}-{int(month):02}-{int(day):02}"
    return text[:10]
