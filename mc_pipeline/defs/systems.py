"""The resource that opens both systems and the ledger for a run, and keeps its heartbeat in the ledger."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import dagster as dg

from mc_pipeline.defs.partitions import company_of
from mc_pipeline.ledger.runs import heartbeat
from mc_pipeline.settings import Settings
from mc_pipeline.sync.systems import Systems, utc_now


def systems_resource(settings: Settings, clock: Callable[[], datetime] = utc_now) -> dg.ResourceDefinition:
    """Make the resource that opens :class:`Systems` for a run, and keeps its heartbeat in the ledger."""

    @dg.resource(description="Odoo, Mailchimp and the ledger, as companies.yaml describes them")
    def systems(context: dg.InitResourceContext) -> Iterator[Systems]:
        opened = Systems(settings, clock=clock)
        try:
            with kept_alive(opened, context.run):
                yield opened
        finally:
            opened.close()

    return systems


@contextmanager
def kept_alive(systems: Systems, run: dg.DagsterRun | None) -> Iterator[None]:
    """Keep the heartbeat of a run in the ledger: what others know of it is this alone (RULES 7.5)."""
    if run is None:  # the resource is used outside of a run
        yield
        return

    company = company_of(run)
    with heartbeat(
        lambda: systems.ledger.runs, run.run_id, company=company, job=run.job_name, owner=systems.owner
    ):
        yield
