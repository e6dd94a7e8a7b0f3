"""Rule 6.3: whoever opted out under a former address has opted out under the present one too."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol


class EventLike(Protocol):
    """An event of the consent history."""

    @property
    def event(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...


_OPTED_OUT = frozenset({"opt_out", "clean", "complaint"})


def standing_opt_out(events: Iterable[EventLike]) -> datetime | None:
    """Return when (UTC) a person opted out who has not come back by their own act since; None: they have not.

    Args:
        events: everything known of one address, in any audience. A hard bounce is of the address, not of the
            person, yet nobody can tell whether a new address is the same mailbox: it counts.
    """
    opted_out: datetime | None = None
    for event in sorted(events, key=lambda event: event.occurred_at):
        if event.event in _OPTED_OUT:
            opted_out = event.occurred_at
        elif event.event == "subscribe" and event.origin == "person":
            opted_out = None
    return opted_out
