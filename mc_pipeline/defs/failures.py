"""Shows in Dagster why a step could not go on: here alone an error of ``sync`` becomes a failure."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import dagster as dg

from mc_pipeline.sync.errors import SyncError

_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")


def shows_failures(step: Callable[_Given, _Returned]) -> Callable[_Given, _Returned]:
    """Let an asset, a check or an op end with a failure of Dagster in place of a :class:`SyncError`.

    Belongs directly above the function, below Dagster's own decorator.
    """
    if inspect.isgeneratorfunction(step):

        @wraps(step)
        def of_generator(*args: _Given.args, **kwargs: _Given.kwargs) -> Iterator[Any]:
            with _shown():
                yield from cast("Iterator[Any]", step(*args, **kwargs))

        return cast("Callable[_Given, _Returned]", of_generator)

    @wraps(step)
    def of_function(*args: _Given.args, **kwargs: _Given.kwargs) -> _Returned:
        with _shown():
            return step(*args, **kwargs)

    return of_function


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except SyncError as error:
        failure = dg.Failure(
            error.message, metadata=dict(error.about) or None, allow_retries=error.allow_retries
        )
        # The stack is that of the error; the error itself is no cause of its own.
        raise failure.with_traceback(error.__traceback__) from error.__cause__
