"""Email addresses as Odoo reads them: which addresses a text holds and their normal form."""

from __future__ import annotations

import inspect
from email.utils import getaddresses
from typing import Any

_LENIENT: dict[str, Any] = {"strict": False} if "strict" in inspect.signature(getaddresses).parameters else {}


def addresses_in(text: str) -> list[str]:
    """The addresses in a text such as ``"Zed" <Zed@E.com>, b@e.com``, as written."""
    found = []
    for name, address in getaddresses([text], **_LENIENT):
        if not name and " " in address:
            inside = [each for _, each in getaddresses([address.replace(" ", ",")], **_LENIENT)]
            address = next((each for each in reversed(inside) if "@" in each), address)
        if "@" in address:
            found.append(address)
    return found


def normalized(text: object, *, only_one: bool = False) -> str | bool:
    """The first address in its normal form, False without one, or (``only_one``) with several.

    The part before @ keeps its case when it is not ASCII, as in Odoo.
    """
    if not isinstance(text, str) or not text:
        return False
    found = addresses_in(text)
    if not found or (only_one and len(found) > 1):
        return False
    local, at, domain = found[0].rpartition("@")
    return (local.lower() if local.isascii() else local) + at + domain.lower()
