"""Where the commands keep their state: the same home as Dagster's."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mc_pipeline.home import HOME_VARIABLE, prepare_dagster_home

if TYPE_CHECKING:
    import dagster as dg


def dagster_home() -> Path:
    """Return Dagster's home, made ready; ``.dagster_home`` of the working directory when none is set."""
    home = prepare_dagster_home(Path(os.environ.get(HOME_VARIABLE) or ".dagster_home").expanduser())
    os.environ[HOME_VARIABLE] = str(home)
    return home


def dagster_instance() -> "dg.DagsterInstance":
    """Open the Dagster instance of the home: runs started here show in the UI."""
    import dagster as dg  # three quarters of a second that a command with only the ledger need not pay

    dagster_home()
    return dg.DagsterInstance.get()
