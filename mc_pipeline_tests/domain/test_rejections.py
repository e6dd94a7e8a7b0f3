"""Whom Mailchimp refused stays listed until the refusal is gone."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from mc_pipeline.domain.contacts.rejections import open_refusals, rejected_contacts

AT = pd.Timestamp(datetime(2026, 12, 1, 12, tzinfo=UTC))
CONTACTS = pd.DataFrame({"email": ["ann@x.com"], "partner_id": [7], "audience": ["retail"]})
LISTS = {"retail": "list1"}


def record(**values: object) -> pd.DataFrame:
    row = {
        "list_id": "list1",
        "email": "ann@x.com",
        "last_status": None,
        "absent_reads": 0,
        "rejection_operation": "create",
        "rejection_key": "digest",
        "rejection_detail": "looks fake",
        "rejection_title": "Invalid Resource",
        "rejection_cause": "person",
        "rejection_field": None,
        "rejected_at": AT,
        "retry_at": pd.NaT,
        **values,
    }
    return pd.DataFrame([row]).assign(retry_at=pd.to_datetime([row["retry_at"]], utc=True))


@pytest.mark.parametrize(
    ("values", "reason", "fix"),
    [
        ({}, "refused", "Correct the contact in Odoo"),
        ({"rejection_cause": None}, "refused", "Correct the contact in Odoo"),
        ({"retry_at": AT}, "refused", "tried again after 2026-12-01 12:00 UTC"),
        (
            {"rejection_cause": "required_field", "rejection_field": "LOYALTY"},
            "deferred",
            "Make the field LOYALTY optional in Mailchimp",
        ),
        ({"rejection_cause": "contact_limit"}, "deferred", "contact limit in Mailchimp"),
        ({"rejection_operation": "update", "last_status": "subscribed"}, "refused", "Correct"),
    ],
)
def test_an_open_refusal_is_listed_with_its_reason_and_what_to_do(values, reason, fix):
    (row,) = rejected_contacts(CONTACTS, record(**values), LISTS).to_dict("records")
    assert row["reason"] == reason
    assert row["detail"] == "Mailchimp refused: looks fake"
    assert fix in row["fix"]


@pytest.mark.parametrize(
    ("values", "contacts", "not_taken_back"),
    [
        ({"rejection_key": None}, CONTACTS, ()),
        ({"last_status": "subscribed"}, CONTACTS, ()),
        ({}, CONTACTS.iloc[:0], ()),
        ({}, CONTACTS, {"ann@x.com"}),
    ],
    ids=["none", "there by now", "no contact any more", "listed as not taken back"],
)
def test_what_is_settled_or_told_elsewhere_is_not_listed(values, contacts, not_taken_back):
    assert open_refusals(contacts, record(**values), LISTS, not_taken_back).empty
