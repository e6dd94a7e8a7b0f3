"""What all sensors share: they wait for runs under way, and say why they skipped."""

import dagster as dg

from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.masking import mask_text

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def is_under_way(instance: dg.DagsterInstance, company: str) -> bool:
    """Tell whether a run of the company waits or runs, as far as it has the company's tag."""
    wanted = dg.RunsFilter(tags={COMPANY_TAG: company}, statuses=_UNDER_WAY)
    return instance.get_runs_count(wanted) > 0


def reason_of(error: Exception) -> str:
    """Say what went wrong, without personal data."""
    return mask_text(str(error)) or type(error).__name__
