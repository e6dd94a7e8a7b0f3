"""How often a call to Odoo is repeated, and when that is safe."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from mc_pipeline.odoo.errors import OdooError, Retry

Result = TypeVar("Result")


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently a call is repeated: full jitter, bounded in count and in each wait."""

    attempts: int = 5
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep

    def repeat(self, call: Callable[[], Result], *, reads: bool) -> Result:
        """Do a call, again when that is safe, and give up after all attempts with the last error.

        ``reads``: the call changes nothing, so that it may be repeated when it is unknown whether it arrived.
        """
        jitter = tenacity.wait_random_exponential(
            multiplier=self.first_wait_seconds, max=self.longest_wait_seconds
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, OdooError) else None
            return max(jitter(state), min(asked or 0.0, self.longest_wait_seconds))

        def repeatable(error: BaseException) -> bool:
            return isinstance(error, OdooError) and (
                error.retry is Retry.ALWAYS or (reads and error.retry is Retry.READS)
            )

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=wait,
            retry=tenacity.retry_if_exception(repeatable),
            sleep=self.sleep,
            reraise=True,
        )(call)


USUAL_RETRY = RetryPolicy()
