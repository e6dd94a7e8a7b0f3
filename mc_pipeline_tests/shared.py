"""Recorded material that lies beside the checkout: tests that use it skip when it is absent."""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[2] / "shared"


def shared_path(name: str) -> Path:
    """Return the path of a recorded file, or skip the test that asked for it."""
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(f"recorded material is not beside this checkout: shared/{name}")
    return path
