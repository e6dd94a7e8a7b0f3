"""Masks personal data for everything that people and log collectors read: logs, metadata, errors.

Full addresses stay in the tables, the ledger and the two systems; nothing else may contain them.
"""

import re

_ADDRESS = re.compile(r"[^\s@<>\"',;:()\[\]]+@[^\s@<>\"',;:()\[\]]+")


def mask_email(email: str | None) -> str:
    """Show the first letter and the domain of an address: ``j•••@example.com``.

    A text that is no address shows its first letter only, an absent one ``—``.
    """
    if not email:
        return "—"
    local, at, domain = email.strip().rpartition("@")
    if not at:
        return f"{email.strip()[:1]}•••"
    return f"{local[:1]}•••@{domain}"


def mask_text(text: str) -> str:
    """Replace every e-mail address inside a text by its mask (API errors quote addresses)."""
    return _ADDRESS.sub(lambda match: mask_email(match.group()), text)
