"""Cuts many things into parts that one call, statement or message can take."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def chunks_of(size: int, items: Iterable[Item]) -> Iterator[list[Item]]:
    """Return the items in lists of ``size``, in their order; the last may be shorter.

    Raises:
        ValueError: ``size`` is below 1.
    """
    if size < 1:
        raise ValueError(f"chunks of {size} items cannot be made")
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
