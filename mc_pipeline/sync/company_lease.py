"""Takes a company's lease for a step that writes, and waits out one that a crashed run left behind."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from mc_pipeline.ledger import Lease, LeaseHeldError
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.sync.systems import Systems

_POLL_SECONDS = 2.0


@contextmanager
def company_lease(systems: Systems, company: str, run_id: str, log: logging.Logger) -> Iterator[Lease]:
    """Hold the company's lease as this run.

    A run that is alive renews its lease, a crashed one does not: while the expiry stays the same, wait for
    it; otherwise the step fails at once.

    Raises:
        SyncError: another run is syncing the company.
    """
    first_expiry: datetime | None = None
    while True:
        try:
            with systems.ledger.leases.hold(company, run_id, ttl=systems.lease_time_to_live) as lease:
                yield lease
            return
        except LeaseHeldError as error:
            if first_expiry is not None and error.expires_at > first_expiry:
                raise SyncError(str(error), allow_retries=True) from None
            if first_expiry is None:
                log.warning(f"{error} Waiting, in case that run crashed.")
            first_expiry = error.expires_at
            time.sleep(_POLL_SECONDS)
