"""Takes the lease of a company's opt-outs: short, and waited for, as every holder is soon done."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from mc_pipeline.ledger import Lease, LeaseHeldError
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.sync.systems import Systems

TIME_TO_LIVE = timedelta(seconds=60)
"""How long a run that died holds the path at most."""

LONGEST_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.25


@contextmanager
def opt_out_lease(
    systems: Systems, company: str, owner: str, *, longest_wait: float = LONGEST_WAIT_SECONDS
) -> Iterator[Lease]:
    """Hold the lease as this run.

    Raises LeaseHeldError when another run still carries the company's opt-outs after two minutes: what is due
    is then carried by that one, or by the next.
    """
    waits_until = time.monotonic() + longest_wait
    with ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(
                    systems.ledger.leases.hold(company, owner, TIME_TO_LIVE, path=OPT_OUTS)
                )
                break
            except LeaseHeldError:
                if time.monotonic() > waits_until:
                    raise
            time.sleep(_POLL_SECONDS)
        yield lease
