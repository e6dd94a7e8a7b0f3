"""A process that syncs the small world's company once, and may be killed by the system at a chosen moment.

Called as ``python -m mc_pipeline_tests.properties.sync_process FOLDER PLACE NUMBER``.
"""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from mc_pipeline.settings import load_settings
from mc_pipeline_tests.properties.runs import Death, Killed, MortalSystems, run_company
from mc_pipeline_tests.properties.small_world import COMPANY, SECRETS

LEASE = timedelta(seconds=2)
"""The next run waits so long for a lease whose owner was killed."""


class Kill(Death):
    """SIGKILL instead of an exception: nothing is cleaned up, nothing is given back."""

    def passes(self, place: str) -> None:
        try:
            super().passes(place)
        except Killed:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, place: str, number: int) -> None:
    """Sync once; ends with 0 when the sync succeeded."""
    settings = load_settings(folder / "companies.yaml", SECRETS)
    systems = MortalSystems(
        settings, folder / "ledger.db", death=Kill(place, number), lease_time_to_live=LEASE
    )
    run = run_company(systems, COMPANY)
    systems.close()
    if run.failure is not None:
        raise run.failure


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
