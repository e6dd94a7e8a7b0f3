"""What every function that reads a table from Odoo returns, and how Odoo's values become columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class OdooRead:
    """A table read from Odoo.

    ``observed_at`` (UTC) is when the reading began: later changes may be missing. ``complete`` is False when
    rows may be missing, with the reason and what to do in ``incomplete_because``. ``notes`` are sentences for
    people, such as a module that is not installed.
    """

    rows: pd.DataFrame
    observed_at: datetime
    complete: bool = True
    incomplete_because: str = ""
    notes: tuple[str, ...] = ()


def now() -> datetime:
    """The present time, UTC."""
    return datetime.now(UTC)


def joined(reasons: Iterable[str]) -> str:
    """Several reasons as one text, without empty and repeated ones."""
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))


_RIGHTS_MISSING = ("the Odoo user may not", "the Odoo user sees only", "its user may not read")


def is_right_missing(incomplete_because: str) -> bool:
    """Whether a read is incomplete because of a right that a person has to give in Odoo; it does not pass."""
    return any(words in incomplete_because for words in _RIGHTS_MISSING)


def text(value: Any) -> str | None:
    """A text of Odoo; its False and an empty text are None."""
    return str(value) if value else None


def ids(values: Iterable[Any]) -> pd.Series:
    """Ids that are always there, int64."""
    return pd.Series(list(values), dtype="int64")


def optional_ids(values: Iterable[Any]) -> pd.Series:
    """Ids or none (Odoo's False), nullable Int64."""
    return pd.Series([None if value is False or pd.isna(value) else value for value in values], dtype="Int64")


def texts(values: Iterable[Any]) -> pd.Series:
    """Texts; Odoo's False and empty texts become missing values."""
    return pd.Series([text(value) for value in values], dtype="str")


def names_of(values: Iterable[Any]) -> pd.Series:
    """Texts that are always there; Odoo's False becomes an empty text."""
    return pd.Series([str(value or "") for value in values], dtype="str")


def flags(values: Iterable[Any]) -> pd.Series:
    """Booleans, never missing."""
    return pd.Series([bool(value) for value in values], dtype="bool")


def integers(values: Iterable[Any]) -> pd.Series:
    """Whole numbers; Odoo's False is 0."""
    return pd.Series([int(value or 0) for value in values], dtype="int64")


def numbers(values: Iterable[Any]) -> pd.Series:
    """Numbers; Odoo's False is 0."""
    return pd.Series([float(value or 0.0) for value in values], dtype="float64")


def lists(values: Iterable[Sequence[Any]]) -> pd.Series:
    """A list in every row."""
    return pd.Series([list(value) for value in values], dtype="object")


def times(values: Iterable[Any]) -> pd.Series:
    """Odoo's datetimes ("2026-11-23 08:35:29", UTC, whole seconds) as UTC timestamps; False is missing."""
    return pd.Series(
        pd.to_datetime(
            pd.Series([value or None for value in values], dtype="object"),
            format="%Y-%m-%d %H:%M:%S",
            utc=True,
        )
    ).astype("datetime64[us, UTC]")


def dates(values: Iterable[Any]) -> pd.Series:
    """Odoo's dates ("2026-11-23") as timestamps without timezone; False is missing."""
    return pd.Series(
        pd.to_datetime(pd.Series([value or None for value in values], dtype="object"), format="%Y-%m-%d")
    ).astype("datetime64[us]")


def frame(columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """A table of equally long columns."""
    return pd.DataFrame(dict(columns))


def iso_time(value: Any) -> str | None:
    """An Odoo datetime or date as ISO 8601 in UTC, for JSON columns; a date is its first moment."""
    if not value:
        return None
    moment = datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC).isoformat()


def money(value: Any, decimal_places: int) -> float:
    """An amount rounded half up to the currency's decimal places; Odoo's own values have float noise."""
    unit = Decimal(1).scaleb(-decimal_places)
    rounded = Decimal(repr(float(value or 0.0))).quantize(unit, rounding=ROUND_HALF_UP)
    return float(rounded) + 0.0
