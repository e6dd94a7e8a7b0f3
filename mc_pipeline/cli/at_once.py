"""Runs the opt-outs of a company as soon as a webhook was delivered, one company at a time, in a thread.

A company whose opt-outs another process applies waits until that has ended; a sync of the company is nothing
to wait for. What comes while opt-outs are under way is one more run after it, however much it is.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from mc_pipeline.defs.jobs import OPT_OUTS

if TYPE_CHECKING:
    from mc_pipeline.ledger.runs import Runs

_log = logging.getLogger(__name__)


def opt_outs_under_way(runs: "Runs") -> Callable[[str], bool]:
    """Return for each company whether a process that is alive applies its opt-outs."""
    return lambda company: bool(runs.alive(company, OPT_OUTS))


class AtOnce:
    """The worker; within its context ``notice`` asks for a run.

    Args:
        run: applies the opt-outs of a company.
        is_busy: whether another process applies the opt-outs of the company.
        pause: seconds until a busy company is looked at again.
    """

    def __init__(self, run: Callable[[str], None], is_busy: Callable[[str], bool], pause: float = 5) -> None:
        self._run = run
        self._is_busy = is_busy
        self._pause = pause
        self._due: list[str] = []
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="opt-outs at once", daemon=True)

    def notice(self, company: str) -> None:
        """Ask for a run; returns at once."""
        with self._changed:
            if company not in self._due:
                self._due.append(company)
            self._changed.notify()

    def __enter__(self) -> "AtOnce":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Start no further run, and wait for the one that is under way."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while (company := self._next()) is not None:
            try:
                self._run(company)
            except Exception as error:
                # What was delivered stays in the ledger; the next run takes it.
                _log.error("the opt-outs of %s could not be applied: %s", company, type(error).__name__)

    def _next(self) -> str | None:
        """Wait for a company that is due and free; None at the end."""
        while True:
            with self._changed:
                due = list(self._due)
                if not due and not self._ending:
                    self._changed.wait()
                    continue
            if self._ending:
                return None
            # Asked without the lock, so that giving notice never waits for a database.
            free = next((company for company in due if self._is_free(company)), None)
            with self._changed:
                if free is not None:
                    self._due.remove(free)
                    return free
                if self._due == due and not self._ending:
                    self._changed.wait(self._pause)

    def _is_free(self, company: str) -> bool:
        try:
            return not self._is_busy(company)
        except Exception as error:
            _log.error(
                "it is not known whether a run for the opt-outs of %s is in progress: %s",
                company,
                type(error).__name__,
            )
            return False
