"""What all sensors share: they end dead runs, wait for runs under way, and say why they skipped."""

from datetime import timedelta

import dagster as dg

from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.ledger import Ledger
from mc_pipeline.masking import mask_text

_REQUESTED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
]
_LONGEST_START = timedelta(minutes=5)


def is_under_way(instance: dg.DagsterInstance, ledger: Ledger, company: str, job: str) -> bool:
    """Return whether a run of this job and company is alive, or was requested less than 5 minutes ago.

    Alive by its heartbeat in the ledger: Dagster shows a run whose process was killed as running without end.
    """
    if ledger.runs.alive(company, job):
        return True
    requested = dg.RunsFilter(
        job_name=job,
        tags={COMPANY_TAG: company},
        statuses=_REQUESTED,
        created_after=ledger.now() - _LONGEST_START,
    )
    return instance.get_runs_count(requested) > 0


def reason_of(error: Exception) -> str:
    """Say what went wrong, without personal data."""
    return mask_text(str(error)) or type(error).__name__
