"""Where the commands keep their state: the same home as Dagster's."""

import os
from pathlib import Path

import dagster as dg

from mc_pipeline.instance import HOME_VARIABLE, prepare_dagster_home


def dagster_home() -> Path:
    """Return Dagster's home, made ready; ``.dagster_home`` of the working directory when none is set."""
    home = prepare_dagster_home(Path(os.environ.get(HOME_VARIABLE) or ".dagster_home").expanduser())
    os.environ[HOME_VARIABLE] = str(home)
    return home


def dagster_instance() -> dg.DagsterInstance:
    """Open the Dagster instance of the home: runs started here show in the UI."""
    dagster_home()
    return dg.DagsterInstance.get()
