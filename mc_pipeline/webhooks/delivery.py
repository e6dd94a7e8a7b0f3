"""What Mailchimp posts to a webhook: a form with nested names, as PHP writes them, read into a Delivery.

Nothing is decided here. A type that this version does not know is a Delivery like any other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from mc_pipeline.masking import mask_email

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_KEYS = re.compile(r"\[([^\[\]]*)\]")
_MAXIMUM_FIELDS = 2000
_MAXIMUM_DEPTH = 8
_LONGEST_TEXT = 320
"""No address, id or reason is longer."""


class UnreadableDeliveryError(ValueError):
    """A body that Mailchimp did not write: says what is wrong, and nothing of what is in it."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event of an audience, as Mailchimp reported it.

    type         subscribe, unsubscribe, cleaned, upemail, profile, campaign, or one that is new
    email        the member's address in lower case; of ``upemail`` the former one; "" if none is given
    new_email    of ``upemail``, the present address
    contact_id   Mailchimp's id of the member (``data[id]``, of ``upemail`` ``data[new_id]``)
    action       of ``unsubscribe``: unsub, or delete when the member was archived or deleted
    reason       manual or abuse; of ``cleaned`` hard or abuse
    fired_at_raw Mailchimp's text ``YYYY-MM-DD HH:MM:SS``, which names no timezone
    merges       merge fields as they are now; not kept
    """

    type: str
    list_id: str
    email: str
    new_email: str = ""
    contact_id: str = ""
    action: str = ""
    reason: str = ""
    campaign_id: str = ""
    fired_at_raw: str = ""
    merges: Mapping[str, Any]

    @property
    def fired_at(self) -> datetime | None:
        """The reported time, read as UTC; None if there is none that can be read."""
        try:
            fired_at = datetime.fromisoformat(self.fired_at_raw)
            return fired_at.replace(tzinfo=UTC) if fired_at.tzinfo is None else fired_at.astimezone(UTC)
        except (ValueError, OverflowError):
            # Before the year 1 or after 9999 in UTC there are no times.
            return None

    def __repr__(self) -> str:
        return f"Delivery({self.type!r}, list_id={self.list_id!r}, email={mask_email(self.email)!r})"


def read_delivery(body: bytes) -> Delivery:
    """Read the body of a webhook.

    Raises:
        UnreadableDeliveryError: it is no form, says neither type nor audience, or holds what Mailchimp never
            sends.
    """
    form = nested_form(body)
    data = form.get("data")
    if not isinstance(data, dict):
        raise UnreadableDeliveryError("the form has no data")
    kind, list_id = _text(form, "type"), _text(data, "list_id")
    if not kind or not list_id:
        raise UnreadableDeliveryError("the form names no type, or no data[list_id]")
    moved = kind == "upemail"
    merges = data.get("merges")
    return Delivery(
        type=kind,
        list_id=list_id,
        email=_address(data, "old_email" if moved else "email"),
        new_email=_address(data, "new_email") if moved else "",
        contact_id=_text(data, "new_id" if moved else "id"),
        action=_text(data, "action"),
        reason=_text(data, "reason"),
        campaign_id=_text(data, "campaign_id"),
        fired_at_raw=_text(form, "fired_at"),
        merges=merges if isinstance(merges, dict) else {},
    )


def nested_form(body: bytes) -> dict[str, Any]:
    """Decode a form: ``data[merges][GROUPINGS][0][name]=x`` becomes mappings inside mappings.

    Of names given twice the last one counts; a name whose brackets do not match is left out.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAXIMUM_FIELDS
        )
    except ValueError:
        raise UnreadableDeliveryError(f"the form has more than {_MAXIMUM_FIELDS} fields") from None
    form: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        keys = [match.group(1), *_KEYS.findall(match.group(2))] if match else []
        if keys and len(keys) <= _MAXIMUM_DEPTH:
            _put(form, keys, value)
    return form


def _put(form: dict[str, Any], keys: list[str], value: str) -> None:
    place = form
    for key in keys[:-1]:
        inner = place.get(key)
        if not isinstance(inner, dict):
            inner = place[key] = {}
        place = inner
    place[keys[-1]] = value


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise UnreadableDeliveryError(f"{name} is a group of fields and should be one text")
    value = value.strip()
    if len(value) > _LONGEST_TEXT or not value.isprintable():
        raise UnreadableDeliveryError(f"{name} is too long, or holds what cannot be printed")
    return value


def _address(data: Mapping[str, Any], name: str) -> str:
    return _text(data, name).lower()
