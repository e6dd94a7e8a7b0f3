"""Whether an address can be written to, judged by its syntax alone (no name server is asked).

Judged apart from the rules, so that each shows what the other overlooks; a test holds that both say the same.
"""

import unicodedata

from email_validator import EmailNotValidError, validate_email


def is_valid_address(address: str) -> bool:
    """Return whether ``address`` follows the rules for addresses, internationalised ones included.

    An address that the library has to fold first is none: full-width characters, another sign for the dot.
    Nor is one whose domain has no dot. Mailchimp refuses them.
    """
    try:
        # Reserved domains such as example.com are refused by default: they are how people test a pipeline.
        found = validate_email(address, check_deliverability=False, strict=True, test_environment=True)
    except EmailNotValidError:
        return False
    local_part, _, domain = unicodedata.normalize("NFC", address).rpartition("@")
    as_written = domain.lower() in {found.domain, found.ascii_domain}
    widths = {unicodedata.decomposition(character).partition(" ")[0] for character in local_part}
    return as_written and found.ascii_domain.count(".") > 0 and not widths & {"<wide>", "<narrow>"}
