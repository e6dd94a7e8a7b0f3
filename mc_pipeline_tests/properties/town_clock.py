"""One clock for both stand-in servers, the pipeline and whoever watches: days pass without waiting."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

_ASK_THEIR_OWN = (
    "mc_pipeline.mailchimp.client.datetime",
    "mc_pipeline.mailchimp.member_reading.datetime",
    "mc_pipeline.odoo.reading.datetime",
)
"""Modules that take the time from the machine, as nobody gives them a clock."""


class TownClock:
    """The machine's time and the days that passed since."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, step: timedelta) -> None:
        self._ahead += step

    @contextmanager
    def for_everybody(self) -> Iterator[None]:
        """Inside, modules of the pipeline that ask the machine get this time; Mailchimp signs by it."""
        clock = self

        class Datetime(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return clock.now().astimezone(tz)

            @classmethod
            def fromisoformat(cls, date_string: str) -> Any:
                return datetime.fromisoformat(date_string)

        with ExitStack() as patched:
            for name in _ASK_THEIR_OWN:
                patched.enter_context(patch(name, Datetime))
            seconds = SimpleNamespace(time=lambda: clock.now().timestamp())
            patched.enter_context(patch("mc_pipeline.sandbox.mailchimp.server.time", seconds))
            yield
