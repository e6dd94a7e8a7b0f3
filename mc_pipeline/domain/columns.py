"""Converts columns of input tables to one form, no matter how they were read.

A table straight from Odoo and the same table back from Parquet differ in types (None or NaN, lists or
arrays, objects or nullable integers); the rules see no difference.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from mc_pipeline.domain.errors import RuleError


def texts(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a text column as objects, None where there is no text. An absent column has none anywhere."""
    if column not in table.columns:
        return pd.Series([None] * len(table), index=table.index, dtype=object)
    values = [value if isinstance(value, str) and value else None for value in table[column].tolist()]
    return pd.Series(values, index=table.index, dtype=object)


def map_texts(values: pd.Series, function: Callable[[str], Any]) -> pd.Series:
    """Apply a function to every text that is there; where there is none, None stays."""
    # Series.map would turn the result into another type, with NaN in place of None.
    mapped = [None if value is None else function(value) for value in values]
    return pd.Series(mapped, index=values.index, dtype=object)


def flags(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a boolean column; nothing counts as false."""
    return table[column].astype("boolean").fillna(False).astype(bool)


def ids(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of ids as nullable integers."""
    return table[column].astype("Int64")


def numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of counts; nothing counts as 0."""
    return table[column].astype("Int64").fillna(0).astype("int64")


def times(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of times in UTC, NaT where there is none."""
    return pd.to_datetime(table[column], utc=True).astype("datetime64[us, UTC]")


def items(value: Any) -> list[Any]:
    """Return the list of one cell, empty when the cell has none."""
    if value is None or isinstance(value, float):
        return []
    return list(value)


def require_unique(table: pd.DataFrame, column: str) -> None:
    """Refuse a table that has an id twice: counting a row twice would be a silent error.

    Raises:
        RuleError: naming the column and the first such id.
    """
    repeated = table[column].duplicated()
    if repeated.any():
        raise RuleError(
            f"{column} {table.loc[repeated, column].iloc[0]} appears in more than one row; "
            "the table must have one row per id, read it again"
        )


def lower(addresses: Iterable[str]) -> frozenset[str]:
    """Return addresses in the form in which they are compared everywhere."""
    return frozenset(address.strip().lower() for address in addresses)
