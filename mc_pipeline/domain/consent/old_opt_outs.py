"""What people read about old opt-outs that wait: those from before an audience was first read."""

from collections.abc import Iterable
from typing import Protocol


class WaitingLike(Protocol):
    """The old opt-outs of one audience, and the id by which a person releases them."""

    @property
    def plan_id(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def people(self) -> int: ...


def what_waits(waiting: WaitingLike) -> str:
    """Say in one sentence how many wait, and how to release them."""
    count = waiting.people
    who = f"{count:,} people who opted out" if count != 1 else "1 person who opted out"
    return (
        f"{who} of {waiting.audience} before it was first read {'wait' if count != 1 else 'waits'} for "
        f"approval and {'are' if count != 1 else 'is'} not opted out in Odoo (mc-pipeline approve "
        f"{waiting.plan_id})."
    )


def people_that_wait(waiting: Iterable[WaitingLike]) -> int:
    """Count the people of all audiences whose old opt-outs wait."""
    return sum(each.people for each in waiting)
