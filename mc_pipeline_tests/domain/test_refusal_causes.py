"""Whose fault a refusal is, and when it is tried again (rule 6.6)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from mc_pipeline.digests import body_digest
from mc_pipeline.domain.plan.refusal_causes import (
    OUTSIDE_THE_PERSON,
    Cause,
    cause_of_refusal,
    may_be_gone,
    what_it_says,
    what_to_change,
)
from mc_pipeline.domain.plan.refused_rows import Door, rows_refused_before
from mc_pipeline.ledger import projection
from mc_pipeline.mailchimp.errors import classify_rejection

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Definition:
    type: str
    phone_format: str = ""


DEFINITIONS = {
    "FNAME": Definition("text"),
    "SPENT": Definition("text"),
    "PHONE": Definition("phone", "US"),
    "MOBILE": Definition("phone", "International"),
    "ADDRESS": Definition("address"),
    "LOYALTY": Definition("text"),
}
WANTED = {"FNAME": "text", "SPENT": "number", "PHONE": "phone", "MOBILE": "phone", "ADDRESS": "address"}
INVALID = "Your merge fields were invalid."


@pytest.mark.parametrize(
    ("detail", "fields", "sent", "cause", "field"),
    [
        ("Please provide a valid email address.", [], ["FNAME"], "person", ""),
        ("a@x.com looks fake or invalid, please enter a real email address.", [], [], "person", ""),
        ("a@x.com has signed up to a lot of lists very recently", [], [], "person", ""),
        ("a@x.com is already a list member.", [], [], "person", ""),
        ("words that nobody knows", [], ["FNAME"], "person", ""),
        (INVALID, [], ["FNAME"], "person", ""),
        (INVALID, ["FNAME"], ["FNAME"], "person", "FNAME"),
        (INVALID, ["MOBILE"], ["MOBILE"], "person", "MOBILE"),
        (INVALID, ["ADDRESS"], ["ADDRESS"], "person", "ADDRESS"),
        (INVALID, ["ADDRESS"], ["FNAME"], "required_field", "ADDRESS"),
        (INVALID, ["LOYALTY"], ["FNAME"], "required_field", "LOYALTY"),
        (INVALID, ["MMERGE9"], ["FNAME"], "required_field", "MMERGE9"),
        (INVALID, ["FNAME"], [], "required_field", "FNAME"),
        (INVALID, ["FNAME", "LOYALTY"], ["FNAME"], "required_field", "LOYALTY"),
        (INVALID, ["PHONE"], ["PHONE"], "phone_format", "PHONE"),
        (INVALID, ["FNAME", "PHONE"], ["FNAME", "PHONE"], "phone_format", "PHONE"),
        (INVALID, ["SPENT"], ["SPENT"], "field_definition", "SPENT"),
        ("could not be validated", ["email_address"], [], "person", ""),
        ("could not be validated", ["EMAIL"], [], "person", ""),
        ("could not be validated", ["members.0.merge_fields"], [], "person", ""),
        ("Your account has reached the contact limit of its plan.", [], [], "contact_limit", ""),
        ("a@x.com is in a compliance state due to unsubscribe", [], [], "compliance", ""),
        ("a@x.com was permanently deleted and cannot be re-imported.", [], [], "compliance", ""),
    ],
)
def test_a_refusal_is_booked_on_its_cause(detail, fields, sent, cause, field):
    kind = classify_rejection(None, detail, "ERROR_GENERIC", (fields or [None])[0])
    blame = cause_of_refusal(kind, fields, sent, DEFINITIONS, WANTED)
    assert (blame.cause, blame.field) == (cause, field)


def test_without_definitions_a_value_that_was_sent_is_the_person_s_own():
    assert cause_of_refusal("invalid", ["PHONE"], ["PHONE"]).cause == Cause.PERSON


def test_the_ledger_knows_the_same_causes_as_outside_the_person():
    assert projection._OUTSIDE_THE_PERSON == OUTSIDE_THE_PERSON


@pytest.mark.parametrize("cause", sorted(OUTSIDE_THE_PERSON))
def test_every_cause_outside_the_person_names_the_place_and_what_to_change_in_mailchimp(cause):
    assert "retail" in what_it_says(cause, "LOYALTY", "retail")
    assert "Mailchimp" in what_to_change(cause, "LOYALTY")
    assert (cause == Cause.CONTACT_LIMIT) != ("LOYALTY" in what_to_change(cause, "LOYALTY"))


@pytest.mark.parametrize(
    ("cause", "hours_ago", "changed_hours_ago", "gone"),
    [
        ("contact_limit", 0, None, True),
        ("required_field", 1, None, False),
        ("required_field", 1, 2, False),
        ("required_field", 2, 1, True),
        ("required_field", 24, None, True),
        ("phone_format", 23, None, False),
        ("field_definition", None, None, True),
    ],
)
def test_when_a_cause_may_be_gone(cause, hours_ago, changed_hours_ago, gone):
    def ago(hours: float | None) -> datetime | None:
        return None if hours is None else NOW - timedelta(hours=hours)

    assert may_be_gone(cause, ago(hours_ago), ago(changed_hours_ago), NOW) == gone


def refused(email: str, cause: str, body: str, **values: object) -> dict[str, object]:
    return {
        "list_id": "list1",
        "email": email,
        "rejection_key": body_digest(body),
        "rejection_cause": cause,
        "rejection_field": "LOYALTY" if cause == "required_field" else None,
        "rejection_detail": f"no {cause}",
        "rejection_title": "Invalid Resource",
        "rejected_at": pd.Timestamp(NOW - timedelta(hours=1)),
        "retry_at": pd.NaT,
        **values,
    }


def test_rows_are_found_behind_their_doors_and_those_that_changed_are_not():
    emails = ["a@x.com", "b@x.com", "c@x.com", "d@x.com", "e@x.com"]
    rows = pd.DataFrame({"list_id": "list1", "email": emails, "after_json": "{}"}, index=range(10, 15))
    records = pd.DataFrame(
        [
            refused("a@x.com", "required_field", "{}"),
            refused("b@x.com", "required_field", '{"another":1}'),
            refused("c@x.com", "contact_limit", "{}"),
            refused("d@x.com", "person", "{}"),
            refused("e@x.com", "person", "{}", retry_at=pd.Timestamp(NOW - timedelta(minutes=1))),
        ]
    )
    field, limit = Door("list1", "required_field", "LOYALTY"), Door("list1", "contact_limit", "")
    found = rows_refused_before(rows, records, {}, NOW)
    assert found.behind == {field: [10], limit: [12]}
    assert found.said == {10: "no required_field", 12: "no contact_limit"}
    assert found.by_person == {13: "no person"}
    assert found.not_now == {field}
    changed = rows_refused_before(rows, records, {"list1": NOW}, NOW)
    assert changed.not_now == frozenset()
