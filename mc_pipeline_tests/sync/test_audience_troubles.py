"""What a push reports as open: one trouble for each cause and place, with what to do."""

from dataclasses import dataclass

import pandas as pd

from mc_pipeline.domain.contacts.rejections import OPEN_REFUSAL
from mc_pipeline.ledger.troubles import TroubleKind
from mc_pipeline.mailchimp.merge_fields import FieldProblem
from mc_pipeline.sync.audience_troubles import troubles_of_push

NAMES = {"list1": "retail"}


@dataclass(frozen=True)
class Fault:
    list_id: str
    tag: str
    because: str


def refusals(*rows: tuple[str, str, str, str | None]) -> pd.DataFrame:
    """Open refusals of people: audience, reason, cause, field."""
    frame = pd.DataFrame(rows, columns=["audience", "reason", "cause", "field"])
    return frame.reindex(columns=list(OPEN_REFUSAL)).assign(email=[f"p{n}@x.com" for n in frame.index])


def test_nothing_open_is_nothing_to_report():
    assert troubles_of_push(refusals(), {}, {}, [], NAMES) == []


def test_people_refused_for_one_cause_are_one_trouble_and_their_own_values_are_none():
    found = troubles_of_push(
        refusals(
            ("retail", "deferred", "required_field", "LOYALTY"),
            ("retail", "deferred", "required_field", "LOYALTY"),
            ("retail", "deferred", "contact_limit", None),
            ("retail", "refused", "person", None),
        ),
        {},
        {},
        [],
        NAMES,
    )
    assert [(each.part, each.place, each.code) for each in found] == [
        ("audience", "retail", "contact_limit"),
        ("merge_field", "retail/LOYALTY", "required_field"),
    ]
    assert "2 people wait" in found[1].sentence
    assert {each.kind for each in found} == {TroubleKind.BROKEN}
    assert "@" not in str(found)


def test_fields_without_room_are_one_trouble_of_the_audience_and_others_each_their_own():
    full = FieldProblem("full", "the audience has 30 of 30 merge fields", "delete unused ones")
    renamed = FieldProblem("renamed", "the field was renamed NORD in Mailchimp", "rename it back")
    found = troubles_of_push(refusals(), {}, {"retail": {"A": full, "B": full, "ORDERS": renamed}}, [], NAMES)
    assert [(each.part, each.place, each.code) for each in found] == [
        ("audience", "retail", "merge_fields_full"),
        ("merge_field", "retail/ORDERS", "renamed"),
    ]
    assert found[1].what_to_do == "Rename it back."


def test_where_writing_ended_is_named_by_audience_and_tag():
    found = troubles_of_push(
        refusals(),
        {"wholesale": "audience wholesale (w1) cannot take the merge fields: 503"},
        {},
        [Fault("list1", "VIP", "503"), Fault("list1", "", "403")],
        NAMES,
    )
    assert [(each.part, each.place, each.sentence[:8]) for each in found] == [
        ("audience", "wholesale", "Audience"),
        ("tag", "retail/VIP", "Tag VIP "),
        ("audience", "retail", "Audience"),
    ]


def test_changes_without_an_answer_are_one_trouble_for_each_audience_and_tag():
    rows = pd.DataFrame(
        [
            ("retail", "VIP", "POST: 500"),
            ("retail", "VIP", "POST: 500"),
            ("retail", None, "PATCH: reset"),
            ("wholesale", None, "PATCH: reset"),
        ],
        columns=["audience", "tag", "detail"],
    )
    found = troubles_of_push(refusals(), {}, {}, [], NAMES, rows)
    assert [(each.part, each.place, each.code) for each in found] == [
        ("audience", "retail", "answer_lost"),
        ("tag", "retail/VIP", "answer_lost"),
        ("audience", "wholesale", "answer_lost"),
    ]
    assert "2 changes of tag VIP of audience retail: POST: 500" in found[1].sentence
    assert troubles_of_push(refusals(), {}, {}, [], NAMES, rows.iloc[:0]) == []
