"""The folder of Dagster's home, made ready without Dagster: some commands never need Dagster itself."""

import os
from pathlib import Path

HOME_VARIABLE = "DAGSTER_HOME"

_INSTANCE_FILE = Path(__file__).resolve().parents[1] / "dagster.yaml"


def prepare_dagster_home(folder: Path) -> Path:
    """Make a folder a home of Dagster that uses our dagster.yaml, readable for its owner only.

    A dagster.yaml that someone put there stays. Returns the absolute path, for ``DAGSTER_HOME``.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = folder / _INSTANCE_FILE.name
    is_ours = link.is_symlink() or not link.exists()
    if is_ours and not (link.is_symlink() and link.readlink() == _INSTANCE_FILE):  # the checkout may move
        # Put there in one go: a process that opens the home meanwhile finds the one or the other.
        new = folder / f".{_INSTANCE_FILE.name}.{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(_INSTANCE_FILE)
        new.replace(link)
    return folder
