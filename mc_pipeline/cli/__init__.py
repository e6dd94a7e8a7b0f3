"""The command ``mc-pipeline``: what people do at a terminal, each command in a module of its own.

Commands do nothing by themselves that the UI could not do: a sync is a Dagster run, recorded in the instance.
"""

from mc_pipeline.cli.main import main

__all__ = ["main"]
