"""Amounts as whole numbers of a currency's smallest unit: exact to add, and without Odoo's float noise."""

import numpy as np
import pandas as pd


def units(amounts: pd.Series, scale: int | np.ndarray | pd.Series) -> pd.Series:
    """Return amounts in smallest units, of which ``scale`` make one unit of the currency."""
    return (amounts.astype("float64").fillna(0.0) * scale).round().astype("int64")


def convert(amounts: pd.Series, factor: pd.Series) -> pd.Series:
    """Return smallest units of another currency, rounded half up; ``factor`` is what one unit is worth."""
    exact = amounts * factor
    # Rounded first to what a float can tell, so that a half is seen as one.
    rounded: pd.Series = np.sign(exact) * np.floor(exact.abs().round(6) + 0.5)
    return rounded.astype("int64")


def scale_of(decimal_places: pd.Series) -> pd.Series:
    """Return how many smallest units make one unit of the currency."""
    return 10.0 ** decimal_places.astype("float64")
