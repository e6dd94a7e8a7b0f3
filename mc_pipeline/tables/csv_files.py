"""CSV files for people who open them in a spreadsheet.

RFC 4180 (comma, CRLF), numbers with a decimal point and fixed decimals, and UTF-8 with a byte order mark,
without which Excel takes the text for another encoding. A text that a spreadsheet would run as a formula is
led by an apostrophe; numbers below zero are numbers.
"""

import csv
import io
from typing import TYPE_CHECKING, Any

from upath import UPath

from mc_pipeline.tables.files import whole_file

if TYPE_CHECKING:
    import pandas as pd

_BYTE_ORDER_MARK = "\ufeff"
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_text(rows: "pd.DataFrame", decimal_places: int) -> str:
    """Return the rows as CSV with a header; columns of floats are written with ``decimal_places``."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    columns = []
    for name in rows.columns:
        values = rows[name].tolist()
        if is_numeric_dtype(rows[name]) and not is_bool_dtype(rows[name]):
            whole = not str(rows[name].dtype).lower().startswith("float")
            columns.append([_number(value, 0 if whole else decimal_places) for value in values])
        else:
            columns.append([_text(value) for value in values])
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_text(str(name)) for name in rows.columns])
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def write_csv(rows: "pd.DataFrame", decimal_places: int, path: UPath) -> None:
    """Write a file for its owner only; a reader sees the old one or the new one, never a part."""
    content = _BYTE_ORDER_MARK + csv_text(rows, decimal_places)
    with whole_file(path) as file:
        file.write(content.encode())


def _number(value: Any, decimal_places: int) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    shown = f"{value:.{decimal_places}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def _text(value: Any) -> str:
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return ""
    text = str(value)
    return f"'{text}" if text.lstrip(" ").startswith(_STARTS_A_FORMULA) else text
