"""The retry policy of both clients: how often and how long a call is repeated; each decides which may be."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import tenacity


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried, and for how long.

    Pauses are drawn between 0 and an exponentially growing bound (full jitter), so that the workers of one
    account do not come back together. The other side may ask for a longer one, up to the longest.
    ``sleep`` None: the client's own pause.
    """

    attempts: int
    total_seconds: float
    first_wait_seconds: float
    longest_wait_seconds: float
    sleep: Callable[[float], None] | None = None

    def asked_seconds(self, error: BaseException) -> float:
        """Return the pause that an error asks for; 0 where it asks for none."""
        return 0.0

    def retrying(
        self,
        may_repeat: Callable[[BaseException], bool],
        sleep: Callable[[float], None],
    ) -> tenacity.Retrying:
        """Return the loop that makes a call until it succeeds; its last error is raised as it is.

        ``may_repeat`` judges an error; ``sleep`` is used where the policy has none of its own.
        """

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            bound = self.first_wait_seconds * 2 ** min(state.attempt_number - 1, 30)
            asked = self.asked_seconds(error) if error is not None else 0.0
            return max(
                random.uniform(0, min(bound, self.longest_wait_seconds)),
                min(asked, self.longest_wait_seconds),
            )

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.total_seconds),
            wait=wait,
            retry=tenacity.retry_if_exception(may_repeat),
            sleep=self.sleep or sleep,
            reraise=True,
        )
