"""E-mail addresses: which one is a partner's, and whether it can receive mail.

Only the syntax is judged; no name server is asked. Reserved domains such as ``example.com`` are accepted,
because they are what people try a pipeline with. Stricter than the library in two things that Mailchimp
refuses, though they can be read as an address: a domain without a dot, and full-width characters.
"""

import re
import unicodedata

import pandas as pd
from email_validator import EmailNotValidError, validate_email

from mc_pipeline.domain.columns import map_texts, texts

# Addresses of this form are valid by every rule of the library, which takes 50 times as long to say so.
_PLAIN = re.compile(
    r"(?=.{1,254}\Z)(?=[^@]{1,64}@)(?!.*--)"
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
_SPECIAL_USE = re.compile(r"(?:[@.])(?:arpa|invalid|local|localhost|onion|test)\Z")
_ONE_ADDRESS = re.compile(r"[^\s@<>\"',;:()\[\]]+@[^\s@<>\"',;:()\[\]]+")


def is_valid_address(address: str) -> bool:
    """Return whether ``address`` follows the rules for addresses, internationalised ones included.

    The domain has a dot, and is written as it stands in the name system, in letters of its language or in
    ASCII (``xn--``). Full- and half-width forms, which only fold to such an address, are none.
    """
    if _PLAIN.fullmatch(address) and not _SPECIAL_USE.search(address):
        return True
    try:
        read = validate_email(address, check_deliverability=False, strict=True, test_environment=True)
    except EmailNotValidError:
        return False
    domain = unicodedata.normalize("NFC", address.rpartition("@")[2].lower())
    return "." in domain and domain in (read.domain, read.ascii_domain) and not _has_width_form(address)


def _has_width_form(text: str) -> bool:
    return not text.isascii() and any(
        unicodedata.decomposition(character).startswith(("<wide>", "<narrow>")) for character in text
    )


def holds_several_addresses(typed: str | None) -> bool:
    """Return whether an e-mail field holds more than one address (Odoo and we use the first)."""
    if not typed or typed.count("@") < 2:
        return False
    return len({address.lower() for address in _ONE_ADDRESS.findall(typed)}) > 1


def read_addresses(partners: pd.DataFrame) -> pd.DataFrame:
    """Find the address of every partner.

    Args:
        partners: rows with ``email`` (as typed) and ``email_normalized`` (Odoo's first address, or none).

    Returns:
        On the same index: ``person_email`` (lower case, as Mailchimp identifies members; None when there is
        no valid one), ``email_problem`` (``missing_email``, ``invalid_email`` or empty),
        ``several_addresses``.
    """
    typed = map_texts(texts(partners, "email"), lambda text: text.strip() or None)
    # Odoo keeps non-ASCII capitals before the @; Mailchimp's member id is of the lower-case address.
    normalized = map_texts(texts(partners, "email_normalized"), lambda text: text.strip().lower())
    valid = {address for address in normalized.dropna().unique() if is_valid_address(address)}
    usable = typed.notna() & normalized.isin(valid)
    problem = pd.Series("", index=partners.index, dtype=object)
    problem[typed.isna()] = "missing_email"
    problem[typed.notna() & ~usable] = "invalid_email"
    return pd.DataFrame(
        {
            "person_email": normalized.where(usable, None),
            "email_problem": problem,
            "several_addresses": [holds_several_addresses(text) for text in typed],
        }
    )
