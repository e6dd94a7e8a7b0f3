"""Opt-outs from before an audience was first read: which are that old, and what people read of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from mc_pipeline.domain.consent.events import ConsentEventLike


class WaitingLike(Protocol):
    """The old opt-outs of one audience, and the id by which a person releases them."""

    @property
    def plan_id(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def people(self) -> int: ...


def is_old(event: ConsentEventLike, old_until: Mapping[str, datetime]) -> bool:
    """Whether an opt-out waits for a person (rule 5.3).

    ``old_until``: by list id, when an audience was first read, while nobody has released its old opt-outs.
    """
    first_read = old_until.get(event.list_id)
    return first_read is not None and event.occurred_at <= first_read


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
