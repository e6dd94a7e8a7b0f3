"""Whole runs in a small world take seconds each, and there are thousands: what lies here is ``long``.

Tests marked ``quick`` stay in ``make test``: those that show a kind of story in a few seconds.
"""

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder that is not ``quick``."""
    for item in items:
        if _HERE in item.path.parents and item.get_closest_marker("quick") is None:
            item.add_marker(pytest.mark.long)
