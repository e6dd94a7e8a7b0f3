"""The one expectation that Great Expectations lacks: an address follows the rules for addresses.

Importing this module imports Great Expectations: only the runner may do so, when it validates.
"""

from typing import Any

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

from mc_pipeline.quality.syntax import is_valid_address


class ColumnValuesValidAddress(ColumnMapMetricProvider):
    """The row-wise condition: true where the value is an address."""

    condition_metric_name = "column_values.valid_address"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:  # noqa: N805 - a class method by decorator
        return column.map(is_valid_address).astype(bool)


class ExpectColumnValuesToBeValidAddresses(ColumnMapExpectation):
    """Expect every value of a column to be an e-mail address."""

    map_metric = "column_values.valid_address"
    success_keys = ("mostly",)
