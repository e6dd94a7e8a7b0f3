"""What we write into Mailchimp's merge fields: where a value comes from, and its format and limits.

Only desired values are made here. Whether an empty one is sent is decided by the plan: an empty Odoo
value may only clear what this pipeline wrote.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

from mc_pipeline.domain.contacts.names import COMPANY, PERSON
from mc_pipeline.domain.errors import RuleError

MERGE_FIELD_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "first_name": "text",
        "last_name": "text",
        "name": "text",
        "company_name": "text",
        "is_company": "text",
        "industry": "text",
        "street": "text",
        "street2": "text",
        "city": "text",
        "state": "text",
        "zip": "text",
        "country": "text",
        "address": "address",
        "phone": "phone",
        "language": "text",
        "currency": "text",
        "order_count": "number",
        "total_spent": "number",
        "first_order_date": "date",
        "last_order_date": "date",
        "partner_id": "number",
    }
)
"""What a merge field may be filled from (``merge_fields: {SPENT: total_spent}``), and the Mailchimp type of
the field that is created for it. ``zip`` is text: Mailchimp's own zip type takes US codes only."""

TEXT_BYTES = 255
"""Mailchimp API: a text merge field holds 255 bytes, not characters."""

EMPTY = ""
"""An empty value in the desired fields, whatever the type; Mailchimp clears a field by it."""

_JOINER = "\u200d"
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)


@dataclass(frozen=True, slots=True)
class ContactFacts:
    """The facts of one contact that merge fields are filled from; None where there is none.

    ``total_spent`` is in ``currency``; dates are days in the company's timezone; ``country`` is an ISO 3166
    two-letter code; ``language`` a Mailchimp language code; ``address`` a complete address or None.
    """

    partner_id: int
    name: str | None
    first_name: str | None
    last_name: str | None
    company_name: str | None
    is_company: bool
    industry: str | None
    street: str | None
    street2: str | None
    city: str | None
    state: str | None
    zip: str | None
    country: str | None
    phone: str | None
    language: str | None
    currency: str | None
    order_count: int
    total_spent: float
    first_order_date: date | None
    last_order_date: date | None

    @property
    def address(self) -> dict[str, str] | None:
        return complete_address(self.street, self.street2, self.city, self.state, self.zip, self.country)

    @property
    def has_no_address(self) -> bool:
        """Whether Odoo has nothing of an address; a country alone is nothing, anything else is incomplete."""
        return not any((self.street, self.street2, self.city, self.state, self.zip))


def desired_merge_fields(merge_fields: Mapping[str, str], facts: ContactFacts) -> dict[str, Any]:
    """Return what the member's merge fields should be, by tag.

    ``EMPTY`` stands for a value that Odoo does not have. An incomplete address is left out: Mailchimp refuses
    it, and what is there may be better.

    Raises:
        RuleError: a source is not one of ``MERGE_FIELD_SOURCES``.
    """
    desired = {}
    for tag, source in merge_fields.items():
        kind = MERGE_FIELD_SOURCES.get(source)
        if kind is None:
            raise RuleError(f"merge_fields.{tag}: {source!r} is not one of {', '.join(MERGE_FIELD_SOURCES)}")
        value = getattr(facts, source)
        if kind == "address" and value is None and not facts.has_no_address:
            continue
        desired[tag] = _FORMATS[kind](value)
    return desired


def split_name(
    name: str | None, first_name: str | None, last_name: str | None, *, is_company: bool
) -> tuple[str | None, str | None]:
    """Return first and last name.

    Taken from Odoo's first and last name fields where some module adds them and they are filled; otherwise
    the whole name is the first name: cutting a name in two is wrong for most of the world. A company has
    neither. What of a whole name goes to a member is decided beside what they have, in ``names``.
    """
    if is_company:
        return None, None
    if first_name or last_name:
        return first_name or None, last_name or None
    return name or None, None


def one_name(first_name: str | None, last_name: str | None, is_company: bool) -> str:
    """Return whether Odoo has one name field for a contact: of a ``person`` or a ``company``; else empty."""
    if first_name or last_name:
        return ""
    return COMPANY if is_company else PERSON


def complete_address(
    street: str | None,
    street2: str | None,
    city: str | None,
    state: str | None,
    zip_code: str | None,
    country: str | None,
) -> dict[str, str] | None:
    """Return an address as Mailchimp wants it, None unless street, city, state, zip and country are there.

    Mailchimp API: an address without one of them is refused, and one without a country is taken for a US one.
    """
    address = {
        "addr1": format_text(street),
        "addr2": format_text(street2),
        "city": format_text(city),
        "state": format_text(state),
        "zip": format_text(zip_code),
        "country": format_text(country).upper(),
    }
    return address if all(value for part, value in address.items() if part != "addr2") else None


def format_text(value: str | bool | None) -> str:
    """Return a text on one line, at most 255 bytes; booleans as ``true`` and ``false``."""
    if value is None:
        return EMPTY
    if isinstance(value, bool):
        return "true" if value else "false"
    if not value.isprintable():
        value = "".join(character for character in value if _is_text(character))
    line = " ".join(value.split())
    return cut_text(line)


def _is_text(character: str) -> bool:
    """Return whether it is one: no control character but white space, no half of a surrogate pair."""
    return character.isspace() or unicodedata.category(character) not in ("Cc", "Cs")


def cut_text(text: str, limit: int = TEXT_BYTES) -> str:
    """Cut a text to ``limit`` bytes of UTF-8, never inside a character as people see it.

    An accent, a joined emoji or a flag is kept whole or dropped whole. Halves of surrogate pairs, which are
    no text at all, are dropped.
    """
    if len(text) <= limit and text.isascii():
        return text
    encoded = text.encode("utf-8", "ignore")
    whole = encoded.decode("utf-8")
    if len(encoded) <= limit:
        return whole
    kept = len(encoded[:limit].decode("utf-8", "ignore"))
    end = kept
    while end > 0 and _belong_together(whole, end):
        end -= 1
    # Nothing but one endless character: better cut it than send nothing.
    return whole[: end or kept].rstrip()


def _belong_together(text: str, position: int) -> bool:
    """Return whether the characters before and at ``position`` make one as people see it."""
    before, after = text[position - 1], text[position]
    if after == _JOINER or before == _JOINER or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if 0x1F3FB <= ord(after) <= 0x1F3FF:  # a skin tone
        return True
    if ord(after) in _REGIONAL_INDICATORS:
        flags = 0
        while position - flags > 0 and ord(text[position - flags - 1]) in _REGIONAL_INDICATORS:
            flags += 1
        return flags % 2 == 1
    return False


def format_number(value: float | int | None) -> float | int | str:
    """Return a JSON number without float noise, whole numbers as such."""
    if value is None:
        return EMPTY
    rounded = round(float(value), 4)
    return int(rounded) if rounded.is_integer() else rounded


def format_date(value: date | None) -> str:
    """Return ``YYYY-MM-DD``, the form in which Mailchimp takes dates."""
    return value.isoformat() if value is not None else EMPTY


def format_address(value: dict[str, str] | None) -> dict[str, str] | str:
    """Return an address object, or what clears one."""
    return EMPTY if value is None else value


_FORMATS: Mapping[str, Any] = MappingProxyType(
    {
        "text": format_text,
        "phone": format_text,
        "number": format_number,
        "date": format_date,
        "address": format_address,
    }
)
