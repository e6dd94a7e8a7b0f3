"""What a push to the audiences reports as open: audiences, merge fields and tags that hold people back.

One report for each cause and place, however many people wait because of it. A problem of a single
person is not a problem of the run: it is listed in ``set_aside``.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pandas as pd

from mc_pipeline.domain.contacts.rejections import DEFERRED
from mc_pipeline.domain.plan.refusal_causes import Cause, what_it_says, what_to_change
from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.vocabulary import Owner

TRIED_AGAIN = "It is tried again in the next sync."


class ProblemLike(Protocol):
    """Why a merge field cannot be written."""

    @property
    def code(self) -> str: ...
    @property
    def said(self) -> str: ...
    @property
    def what_to_do(self) -> str: ...


class FaultLike(Protocol):
    """An audience, or one of its tags, at which writing ended."""

    @property
    def list_id(self) -> str: ...
    @property
    def tag(self) -> str: ...
    @property
    def because(self) -> str: ...


def troubles_of_push(
    open_refusals: pd.DataFrame,
    unusable: Mapping[str, str],
    problems: Mapping[str, Mapping[str, ProblemLike]],
    faults: Sequence[FaultLike],
    names: Mapping[str, str],
    unanswered: pd.DataFrame | None = None,
) -> list[Trouble]:
    """Return what is open after a push, one trouble for each cause and place.

    Args:
        open_refusals: what Mailchimp refused and is not settled
            (``domain.contacts.rejections.open_refusals``).
        unusable: audiences that took nothing, by name, and why.
        problems: merge fields that cannot be written, by audience and tag.
        faults: audiences and tags at which writing ended.
        names: an audience's name in the settings by its list id.
        unanswered: rows of the push of which nobody knows whether they were applied: audience, tag, detail.
    """
    found = [
        _broken(
            "audience", audience, "merge_fields_unusable", f"{because[:1].upper()}{because[1:]}", TRIED_AGAIN
        )
        for audience, because in unusable.items()
    ]
    for audience, of_audience in problems.items():
        full = [tag for tag, problem in of_audience.items() if problem.code == "full"]
        if full:
            problem = of_audience[full[0]]
            found.append(
                _broken(
                    "audience",
                    audience,
                    "merge_fields_full",
                    f"Audience {audience}: {problem.said}. Everything else of it is written.",
                    _as_sentence(problem.what_to_do),
                )
            )
        found += [
            _broken(
                "merge_field",
                f"{audience}/{tag}",
                problem.code,
                f"Merge field {tag} of audience {audience}: {problem.said.rstrip('.')}. Everything else of "
                "the audience is written.",
                _as_sentence(problem.what_to_do),
            )
            for tag, problem in of_audience.items()
            if problem.code != "full"
        ]
    for fault in faults:
        name = names.get(fault.list_id, fault.list_id)
        found.append(
            _broken(
                "tag" if fault.tag else "audience",
                f"{name}/{fault.tag}" if fault.tag else name,
                "not_written",
                f"Tag {fault.tag} of audience {name} could not be written: {fault.because}"
                if fault.tag
                else f"Audience {name} could not be written: {fault.because}",
                TRIED_AGAIN,
            )
        )
    found += _of_lost_answers(unanswered) if unanswered is not None else []
    outside = open_refusals[open_refusals["reason"] == DEFERRED]
    by_place = outside.fillna({"field": ""}).groupby(["audience", "cause", "field"])
    for (where, why, tag), rows in by_place:
        audience, cause, field = str(where), str(why), str(tag)
        people = "1 person waits" if len(rows) == 1 else f"{len(rows):,} people wait"
        sentence = what_it_says(cause, field, audience)
        of_field = cause != Cause.CONTACT_LIMIT
        found.append(
            _broken(
                "merge_field" if of_field else "audience",
                f"{audience}/{field}" if of_field else audience,
                cause,
                f"{sentence[:1].upper()}{sentence[1:]}; {people}.",
                what_to_change(cause, field),
                owner=Owner.MARKETING_OPS,
            )
        )
    return found


def _of_lost_answers(rows: pd.DataFrame) -> list[Trouble]:
    """One trouble for each audience, and for each of its tags, whose changes got no answer."""
    found = []
    for (audience, tag), of_place in rows.fillna({"tag": ""}).groupby(["audience", "tag"]):
        changes = "1 change" if len(of_place) == 1 else f"{len(of_place):,} changes"
        place = f"tag {tag} of audience {audience}" if tag else f"audience {audience}"
        found.append(
            _broken(
                "tag" if tag else "audience",
                f"{audience}/{tag}" if tag else str(audience),
                "answer_lost",
                f"It is not known whether Mailchimp made {changes} of {place}: {of_place['detail'].iloc[0]}",
                "The next sync reads them back, and makes what is missing.",
            )
        )
    return found


def _broken(
    part: str, place: str, code: str, sentence: str, what_to_do: str, *, owner: str = Owner.DATA_ENGINEERING
) -> Trouble:
    if part == "merge_field":
        owner = Owner.MARKETING_OPS
    return Trouble(
        kind=TroubleKind.BROKEN,
        part=part,
        place=place,
        code=code,
        sentence=sentence,
        what_to_do=what_to_do,
        owner=owner,
    )


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else TRIED_AGAIN
