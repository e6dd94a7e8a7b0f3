"""The kinds of value that settings are made of: how each is checked, and what is said when it is wrong.

A message reads after "found 'x';". Values that come from the environment or are secrets never enter one.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from mc_pipeline.domain.contacts.merge_fields import MERGE_FIELD_SOURCES

# Mailchimp's language codes ("View and edit contact languages"); pt is Brazilian, es is Mexican.
MAILCHIMP_LANGUAGES = frozenset(
    "en ar af be bg ca zh hr cs da nl et fa fi fr fr_CA de el he hi hu is id ga it ja km ko lv lt mt ms mk no"
    " pl pt pt_PT ro ru sr sk sl es es_ES sw sv ta th tr uk vi".split()
)
_MERGE_TAG = re.compile(r"[A-Z][A-Z0-9_]{0,9}")
_RESERVED_MERGE_TAGS = ("EMAIL", "MERGE0")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,50}")


def suggestion(wrong: str, allowed: Iterable[str]) -> str:
    """Return `` (did you mean x?)`` for the allowed name that looks most like the wrong one, else nothing."""
    by_folded = {name.casefold(): name for name in allowed}
    close = difflib.get_close_matches(wrong.casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean {by_folded[close[0]]}?)" if close else ""


def at_field(field: str, message: str) -> PydanticCustomError:
    """Return the error of one field that shows only beside the others of its entry."""
    return PydanticCustomError("at_field", "{message}", {"field": field, "message": message})


def _one_of(allowed: Iterable[str], what: str) -> Callable[[str], str]:
    names = frozenset(allowed)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be {what}{suggestion(value, names)}")
        return value

    return check


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"must be {what}")
        return value

    return check


def _as_text(value: Any) -> Any:
    """Take a plain number for the text it looks like: an id of digits only, a tag named 2024."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_list(value: Any) -> Any:
    """Take a single value for a list of one."""
    return (value,) if isinstance(value, str | int) and not isinstance(value, bool) else value


def _check_web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 (raises when the port is no number)
    except ValueError:
        raise ValueError("must be a web address such as https://odoo.example.com") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user or password; they have keys of their own")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a web address such as https://odoo.example.com, without ? or #")
    return value.rstrip("/")


def check_identifier(value: str) -> str:
    """Refuse an id that does not reach the Mailchimp API unchanged.

    Mailchimp's Python client 3.0.80 replaces "server" anywhere in an address by the data centre and leaves
    "/" as it is, so both lead elsewhere; ids of more than 50 characters are answered with a bare 404.
    """
    if "server" in value:
        raise ValueError(
            "must not contain 'server': Mailchimp's client replaces it by the data centre's name"
        )
    if "/" in value:
        raise ValueError("must not contain '/': it would lead to another address of the API")
    if len(value) > 50:
        raise ValueError(f"must have at most 50 characters, has {len(value)}")
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError("must consist of letters, digits, dashes, underscores and dots")
    return value


def _check_base_url(value: str) -> str:
    value = _check_web_address(value)
    if "server" in value:
        raise ValueError(
            "must not contain 'server': Mailchimp's client replaces it by the data centre's name"
        )
    return value


def _check_country(value: str) -> str:
    code = value.upper()
    if code in ("UK", "EL"):
        raise ValueError(f"must be Odoo's country code: {'GB' if code == 'UK' else 'GR'}, not {code}")
    if not re.fullmatch(r"[A-Z]{2}", code):
        raise ValueError("must be a country code of two letters (ISO 3166), such as GB")
    return code


def _check_currency(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError("must be a currency code of three capital letters (ISO 4217), such as GBP")
    return value


def _check_timezone(value: str) -> str:
    names = available_timezones()  # reads the machine's time zone files: when asked, not at import
    if value not in names:
        raise ValueError(f"must be an IANA time zone such as Europe/London{suggestion(value, names)}")
    return value


def _check_month(value: str) -> str:
    if not re.fullmatch(r"(19|20)\d\d-(0[1-9]|1[0-2])", value):
        raise ValueError("must be a month written YYYY-MM, such as 2023-01")
    return value


def _check_merge_tag(value: str) -> str:
    if value in _RESERVED_MERGE_TAGS:
        raise ValueError("must be another tag: this one is the address itself, which is always sent")
    if not _MERGE_TAG.fullmatch(value):
        raise ValueError(
            "must be a merge tag: 1 to 10 capital letters, digits and underscores, such as FNAME"
        )
    return value


def _check_tag_name(value: str) -> str:
    if not value or len(value) > 100:
        raise ValueError("must be the name of a Mailchimp tag: 1 to 100 characters")
    if value.casefold() == "odoo-not-qualifying":
        raise ValueError("must be another name: this tag marks members who stopped qualifying")
    return value


def _check_record(value: Any) -> int | str:
    """Check how an Odoo record is named: by its id, or by its (full) name."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError("must be a name (with its parents: 'Parent / Child') or an id of the record in Odoo")


def _check_bound(value: Any) -> float | date | None:
    if value is None or isinstance(value, date):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return date.fromisoformat(value) if "-" in value[1:] else float(value)
        except ValueError:
            pass
    raise ValueError("must be a number, or a date written YYYY-MM-DD")


def _check_not_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


Text = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_not_empty)]
WebAddress = Annotated[str, AfterValidator(_check_web_address)]
BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
Identifier = Annotated[str, BeforeValidator(_as_text), AfterValidator(check_identifier)]
Timezone = Annotated[str, AfterValidator(_check_timezone)]
Month = Annotated[str, AfterValidator(_check_month)]
Currency = Annotated[str, AfterValidator(_check_currency)]
CountryCode = Annotated[str, AfterValidator(_check_country)]
OdooLanguage = Annotated[
    str,
    AfterValidator(
        _matching(r"[a-z]{2,3}(_[A-Z0-9]{2,4})?(@[a-z]+)?", "an Odoo language code such as en_GB")
    ),
]
MailchimpLanguage = Annotated[
    str, AfterValidator(_one_of(MAILCHIMP_LANGUAGES, "a Mailchimp language code such as en, fr_CA or pt_PT"))
]
MergeTag = Annotated[str, AfterValidator(_check_merge_tag)]
MergeFieldSource = Annotated[
    str,
    AfterValidator(_one_of(MERGE_FIELD_SOURCES, f"one of {', '.join(MERGE_FIELD_SOURCES)}")),
]
TagName = Annotated[str, AfterValidator(_check_tag_name)]
OdooRecord = Annotated[int | str, BeforeValidator(_check_record)]
OdooField = Annotated[
    str, AfterValidator(_matching(r"[a-z_][a-z0-9_]*", "the technical name of a yes/no field of res.partner"))
]
Bound = Annotated[float | date | None, BeforeValidator(_check_bound)]
OneOrMore = BeforeValidator(_as_list)
