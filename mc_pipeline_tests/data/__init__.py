"""Test data: what real servers answered, and the contract of Mailchimp's API; README.md says from where."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def data_path(name: str) -> Path:
    """Return the path of a file below this folder; an unknown name is an error of the test that asks."""
    path = _FOLDER / name
    assert path.is_file(), f"no test data of this name: {name}"
    return path
