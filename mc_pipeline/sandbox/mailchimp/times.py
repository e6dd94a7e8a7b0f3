"""Points in time as Mailchimp keeps them: whole seconds, written in ISO 8601 with an offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from mc_pipeline.sandbox.mailchimp.problems import not_validated


class SandboxClock:
    """The present time, which tests can move on (or stop) without waiting."""

    def __init__(self, frozen_at: datetime | None = None) -> None:
        self._frozen_at = frozen_at
        self._offset = timedelta()

    def __call__(self) -> datetime:
        return (self._frozen_at or datetime.now(UTC)) + self._offset

    def advance(self, step: timedelta) -> None:
        """Let time pass."""
        self._offset += step


@lru_cache(maxsize=8192)
def written(second: int | None) -> str:
    """``2026-01-31T12:00:00+00:00``; an empty text for a time that is not known, as Mailchimp has it."""
    return "" if second is None else datetime.fromtimestamp(second, UTC).isoformat()


def parsed(text: object, field: str) -> int:
    """Seconds since 1970 of an ISO 8601 time; without an offset it is UTC. Refuses anything else."""
    if isinstance(text, str) and text:
        try:
            moment = datetime.fromisoformat(text.strip().replace(" 00:00", "+00:00"))
        except ValueError:
            pass
        else:
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    raise not_validated((field, "This value should be a date and time in ISO 8601 format."))
