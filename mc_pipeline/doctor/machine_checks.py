"""Checks of what the pipeline keeps on this machine, or on the servers that its environment names."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mc_pipeline.doctor.findings import Check, Result, ok, problem
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.tables.parquet import storage_folder


@dataclass(frozen=True)
class Machine:
    """Where state is kept; ``prepare_home`` makes Dagster's home ready and returns its path."""

    prepare_home: Callable[[], Path]
    systems: CheckupSystems


def check_home(machine: Machine) -> Iterator[Result]:
    """Dagster's home can be made and written to."""
    home = machine.prepare_home()
    if not os.access(home, os.W_OK | os.X_OK):
        yield problem(
            f"{home} cannot be written to", "Name another folder in DAGSTER_HOME, or correct its rights."
        )
        return
    yield ok(str(home))


def check_ledger(machine: Machine) -> Iterator[Result]:
    """The ledger opens, with its schema up to date, and is the one that the stored tables were made with."""
    because = machine.systems.why_not_this_ledger()
    if because:
        yield problem(
            f"{machine.systems.ledger.location} {because}",
            "Restore the correct ledger (README, Backing up). Only if its contents are lost permanently: "
            "mc-pipeline ledger accept. Until then only opt-outs are applied.",
        )
        return
    yield ok(machine.systems.ledger.location)


def check_tables(_: Machine) -> Iterator[Result]:
    """The folder of the tables is there."""
    folder = storage_folder()
    if folder.protocol in ("", "file", "local") and not os.access(folder.path, os.W_OK | os.X_OK):
        yield problem(
            f"{folder} cannot be written to",
            "Name another place in MC_PIPELINE_STORAGE, or correct its rights.",
        )
        return
    folder.exists()  # asks the object storage, where it is one
    yield ok(str(folder))


def check_erasure(machine: Machine) -> Iterator[Result]:
    """Erased people are still recognised, so that nobody of them is sent to Mailchimp again."""
    count = machine.systems.erased.count
    yield ok(f"{count:,} erased addresses are recognised and left out" if count else "nobody was erased")


MACHINE_CHECKS: tuple[Check[Machine], ...] = (
    Check("Dagster's home", check_home),
    Check("ledger", check_ledger, gate=True),
    Check("erased people", check_erasure),
    Check("tables", check_tables),
)
