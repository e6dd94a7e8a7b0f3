"""Rows of a plan that Mailchimp refused before: of those for a cause outside the person, some are tried.

A cause like a required field or a contact limit holds for thousands of rows. They stay in the plan, and a run
sends some of them: where these are refused again, the others are not sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from mc_pipeline.digests import body_digest
from mc_pipeline.domain.plan.refusal_causes import OUTSIDE_THE_PERSON, may_be_gone

PROBES = 3
"""Rows of each cause that are tried before the rest is sent."""


class Door(NamedTuple):
    """What keeps rows of an audience out: a cause, and the merge field that it is about."""

    list_id: str
    cause: str
    field: str


@dataclass(frozen=True)
class Waiting:
    """Rows of a plan behind their doors, by index, and what Mailchimp said of each when it refused it.

    ``not_now``: doors that are not worth a try yet. ``by_person``: rows that Mailchimp refused just as they
    are for a reason of the person's own, by index, and its words: they are not sent before they change.
    """

    behind: dict[Door, list[int]] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)
    not_now: frozenset[Door] = frozenset()
    by_person: dict[int, str] = field(default_factory=dict)


def rows_refused_before(
    rows: pd.DataFrame,
    refused: pd.DataFrame,
    definitions_changed_at: Mapping[str, datetime],
    now: datetime,
) -> Waiting:
    """Find the rows that were refused before, just as they are.

    Args:
        rows: rows of the plan (list_id, email, after_json: what is sent).
        refused: the ledger's records with an open refusal (``ledger.members.refused``).
        definitions_changed_at: since when the merge fields of each audience are as they are, by list id.
        now: the present moment.
    """
    known: dict[tuple[str, str], Mapping[Any, Any]] = {
        (row["list_id"], row["email"]): row for row in refused.to_dict("records")
    }
    if not known:
        return Waiting()
    found = Waiting()
    last: dict[Door, datetime] = {}
    for index, list_id, email, body in zip(
        rows.index, rows["list_id"], rows["email"], rows["after_json"], strict=True
    ):
        row = known.get((list_id, email))
        if row is None or row["rejection_key"] != body_digest(body):
            continue
        said = _text(row["rejection_detail"]) or _text(row["rejection_title"])
        if row["rejection_cause"] not in OUTSIDE_THE_PERSON:
            if pd.isna(row["retry_at"]) or row["retry_at"] > now:
                found.by_person[index] = said
            continue
        door = Door(list_id, row["rejection_cause"], _text(row["rejection_field"]))
        found.behind.setdefault(door, []).append(index)
        found.said[index] = said
        at = row["rejected_at"]
        if not pd.isna(at):
            last[door] = max(last.get(door, at), at)
    shut = frozenset(
        door
        for door in found.behind
        if not may_be_gone(door.cause, last.get(door), definitions_changed_at.get(door.list_id), now)
    )
    return Waiting(found.behind, found.said, shut, found.by_person)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
