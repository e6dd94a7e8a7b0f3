"""How often a call to Odoo is repeated, and when that is safe."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mc_pipeline import retrying
from mc_pipeline.odoo.errors import OdooError, Retry

Result = TypeVar("Result")


@dataclass(frozen=True)
class RetryPolicy(retrying.RetryPolicy):
    """How often and how patiently a call to Odoo is repeated, unless somebody says otherwise."""

    attempts: int = 5
    total_seconds: float = math.inf
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 20.0

    def asked_seconds(self, error: BaseException) -> float:
        """Return what Odoo's answer asks for, or what stands before it."""
        return (error.retry_after or 0.0) if isinstance(error, OdooError) else 0.0

    def repeat(self, call: Callable[[], Result], *, reads: bool) -> Result:
        """Do a call, again when that is safe, and give up after all attempts with the last error.

        ``reads``: the call changes nothing, so that it may be repeated when it is unknown whether it arrived.
        """

        def may_repeat(error: BaseException) -> bool:
            return isinstance(error, OdooError) and (
                error.retry is Retry.ALWAYS or (reads and error.retry is Retry.READS)
            )

        return self.retrying(may_repeat, time.sleep)(call)


USUAL_RETRY = RetryPolicy()
