"""Request bodies and query values as Mailchimp reads them; refuses what has no JSON form before sending.

The official library hands bodies to ``json.dumps`` and queries to ``str``: a Decimal or a datetime fails
in a way that looks like a network error, and a boolean in a query becomes ``True``.
"""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any


class UnsendableValueError(ValueError):
    """A value that has no JSON form; names the place of the value, never the value itself."""


def to_json(body: Any) -> str:
    """Serialize a request body. Decimals become numbers, aware datetimes and dates ISO 8601 texts.

    Raises:
        UnsendableValueError: naive datetimes, NaN and infinity, sets, bytes and other objects.
    """
    return json.dumps(_plain(body, "body"), ensure_ascii=False, allow_nan=False)


def query_value(value: Any) -> Any:
    """Write one query value as Mailchimp expects it: ``true``/``false``, ISO 8601 dates."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return _iso(value, "query")
    return value


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, date):
        return _iso(value, place)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real | Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise UnsendableValueError(f"{place} is not a finite number: send a number or leave the key out")
        return number
    raise UnsendableValueError(
        f"{place} is a {type(value).__name__}: "
        "send a text, number, boolean, list, mapping, date or aware datetime"
    )


def _key(key: Any, place: str) -> str:
    if not isinstance(key, str):
        raise UnsendableValueError(f"{place} has a key that is a {type(key).__name__}: keys must be texts")
    return key


def _iso(value: date, place: str) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None or value != value:  # NaT is a datetime that differs from itself
            raise UnsendableValueError(f"{place} is a datetime without timezone: send one in UTC")
        return value.isoformat(timespec="seconds")
    return value.isoformat()
