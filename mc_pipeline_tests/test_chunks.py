"""Cutting into parts: nothing is lost, nothing is repeated, and the order stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.chunks import chunks_of


@given(items=st.lists(st.integers()), size=st.integers(1, 10))
def test_parts_hold_every_item_once_in_its_order(items: list[int], size: int) -> None:
    parts = list(chunks_of(size, items))
    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(1 <= len(part) <= size for part in parts[-1:])


def test_an_iterator_is_cut_as_a_list_is() -> None:
    assert list(chunks_of(2, iter("abc"))) == [["a", "b"], ["c"]]


def test_a_size_that_would_lose_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="chunks of 0 items"):
        list(chunks_of(0, [1]))
