"""Asks Great Expectations: a table and its expectations in, one plain result per expectation out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mc_pipeline.quality.suites import TableExpectation

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ExpectationResult:
    """What came of one expectation.

    ``offenders`` are the ids of all rows that fail it, ascending. ``could_not_run`` is set when the question
    itself could not be answered, which is no statement about the rows.
    """

    expectation: TableExpectation
    passed: bool
    checked: int
    offenders: tuple[int, ...]
    could_not_run: str = ""


def run_expectations(
    rows: "pd.DataFrame", expectations: Sequence[TableExpectation]
) -> list[ExpectationResult]:
    """Validate ``rows`` against each expectation, by Great Expectations on the pandas engine.

    An expectation that cannot be evaluated (a column is missing, the library fails) is reported as such with
    the name of the error and never passes.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # Registers our own expectation as a side effect of the class statement.
    from mc_pipeline.quality import addresses  # noqa: F401

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("tables")
    return [_run(gx, source, rows, expectation) for expectation in expectations]


def _run(gx: Any, source: Any, rows: "pd.DataFrame", expectation: TableExpectation) -> ExpectationResult:
    try:
        selected = expectation.rows(rows)[[expectation.identity, expectation.column]]
    except KeyError as error:
        return _unanswered(expectation, f"the table lacks the column {error}")
    if selected.empty:
        return ExpectationResult(expectation, passed=True, checked=0, offenders=())
    try:
        answer = _ask(gx, source, selected, expectation)
    except Exception as error:  # a check that crashes would fail the whole run, even one that only warns
        return _unanswered(expectation, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    exception = answer.exception_info or {}
    # One exception for the whole expectation, or one per metric that could not be computed.
    raised = [info for info in (exception, *exception.values()) if isinstance(info, dict)]
    for info in raised:
        if info.get("raised_exception"):
            message = str(info.get("exception_message", ""))
            return _unanswered(expectation, message.splitlines()[0] if message else "unknown error")
    listed = answer.result.get("unexpected_index_list") or []
    offenders = tuple(sorted(int(row[expectation.identity]) for row in listed))
    return ExpectationResult(
        expectation, passed=bool(answer.success), checked=len(selected), offenders=offenders
    )


def _ask(gx: Any, source: Any, rows: "pd.DataFrame", expectation: TableExpectation) -> Any:
    definition = source.add_dataframe_asset(expectation.name).add_batch_definition_whole_dataframe("whole")
    batch = definition.get_batch({"dataframe": rows.reset_index(drop=True)})
    question = gx.expectations.registry.get_expectation_impl(expectation.expectation)(
        column=expectation.column, severity=expectation.severity, **expectation.parameters
    )
    return batch.validate(
        question,
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [expectation.identity],
            "include_unexpected_rows": False,
        },
    )


def _unanswered(expectation: TableExpectation, reason: str) -> ExpectationResult:
    return ExpectationResult(expectation, passed=False, checked=0, offenders=(), could_not_run=reason)
