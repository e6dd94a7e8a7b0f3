"""The command in a process of its own, whose times are short: a test need not wait minutes for a dead run.

``python -m mc_pipeline_tests.cli.impatient sync acme``. Everything else is as in the installed command.
"""

from datetime import timedelta

from mc_pipeline.cli import main
from mc_pipeline.ledger import connections, runs
from mc_pipeline.sync import systems

SILENCE = timedelta(seconds=8)
"""So long nobody hears of a run that counts as dead, and so long the lease of a killed one is taken."""

if __name__ == "__main__":
    systems.LEASE_TIME_TO_LIVE = SILENCE
    runs.LONGEST_SILENCE = SILENCE
    runs.BETWEEN_BEATS = timedelta(seconds=1)
    connections.USUAL_TIMES = connections.SlotTimes(live=SILENCE.total_seconds())
    main()
