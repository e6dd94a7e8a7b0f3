"""Whether an address can be written to, judged by its syntax alone (no name server is asked)."""

from email_validator import EmailNotValidError, validate_email


def is_valid_address(address: str) -> bool:
    """Tell whether ``address`` follows the rules for addresses, internationalised ones included."""
    try:
        # Reserved domains such as example.com are refused by default: they are how people test a pipeline.
        validate_email(address, check_deliverability=False, strict=True, test_environment=True)
    except EmailNotValidError:
        return False
    return True
