"""Takes the leases of the opt-outs: short ones that are waited for, since every holder is soon done."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta

from mc_pipeline.ledger import Lease, LeaseHeldError
from mc_pipeline.ledger.leases import HEARING, OPT_OUTS
from mc_pipeline.sync.systems import Systems

TIME_TO_LIVE = timedelta(seconds=60)
"""How long a run that died holds the path at most."""

LONGEST_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.25


@contextmanager
def opt_out_lease(
    systems: Systems,
    company: str,
    owner: str,
    *,
    longest_wait: float = LONGEST_WAIT_SECONDS,
    say: Callable[[str], None] = lambda words: None,
) -> Iterator[Lease]:
    """Hold the lease of a company's opt-outs as this run; ``say`` is called once when it has to wait.

    Raises LeaseHeldError when another run still applies the company's opt-outs after two minutes: that run,
    or the next one, applies what is due.
    """
    with _waited_for(
        lambda: systems.ledger.leases.hold(company, owner, TIME_TO_LIVE, path=OPT_OUTS), longest_wait, say
    ) as lease:
        yield lease


@contextmanager
def hearing_lease(
    systems: Systems, company: str, list_id: str, owner: str, *, longest_wait: float = LONGEST_WAIT_SECONDS
) -> Iterator[Lease]:
    """Hold the lease for reading an audience as this run. Raises LeaseHeldError after two minutes."""
    with _waited_for(
        lambda: systems.ledger.leases.hold(company, owner, TIME_TO_LIVE, path=HEARING, list_id=list_id),
        longest_wait,
    ) as lease:
        yield lease


@contextmanager
def _waited_for(
    hold: Callable[[], AbstractContextManager[Lease]],
    longest_wait: float,
    say: Callable[[str], None] = lambda words: None,
) -> Iterator[Lease]:
    waits_until = time.monotonic() + longest_wait
    said = False
    with ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(hold())
                break
            except LeaseHeldError as held:
                if time.monotonic() > waits_until:
                    raise
                if not said:
                    say(f"{held}. Waiting for it.")
                    said = True
            time.sleep(_POLL_SECONDS)
        yield lease
