"""Rules 5.4 to 5.6: an opt-out in Odoo reaches every audience, and harms no record of a harder one."""

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.consent.opt_outs_into_mailchimp import UNSUBSCRIBE_COLUMNS, members_to_unsubscribe
from mc_pipeline_tests.domain.audience_model import (
    EARLIER,
    NOW,
    RETAIL,
    WHOLESALE,
    Audiences,
    Member,
    Record,
    withdrawal,
)

ADA = "ada@example.com"


def blacklist(*rows: tuple[str, bool]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["email", "active"])
    return frame.assign(blacklist_id=range(1, len(rows) + 1), write_date=pd.Timestamp(EARLIER))


def causes(members: dict, rows=None, withdrawn=(), records=None, inheriting=frozenset()) -> dict:
    audiences = Audiences(members, records or {})
    found = members_to_unsubscribe(
        audiences.members_table(),
        blacklist() if rows is None else rows,
        withdrawn,
        audiences.records_table(),
        inheriting,
    )
    assert list(found.columns) == list(UNSUBSCRIBE_COLUMNS)
    return {(row.list_id, row.email): row.cause for row in found.itertuples()}


@pytest.mark.parametrize("status", ["subscribed", "pending", "transactional"])
def test_somebody_blacklisted_in_odoo_is_unsubscribed_in_every_audience(status):
    members = {(RETAIL, ADA): Member(status), (WHOLESALE, ADA): Member(status)}
    assert causes(members, blacklist((ADA, True))) == {
        (RETAIL, ADA): "blacklisted",
        (WHOLESALE, ADA): "blacklisted",
    }


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "archived"])
def test_who_gets_no_mail_already_is_left_as_they_are(status):
    """A write to a cleaned or archived member could revive them; to an unsubscribed one it is noise."""
    assert causes({(RETAIL, ADA): Member(status)}, blacklist((ADA, True))) == {}


def test_a_removed_row_restricts_nobody():
    assert causes({(RETAIL, ADA): Member("subscribed")}, blacklist((ADA, False))) == {}


def test_an_opt_out_reaches_members_who_signed_up_in_mailchimp_too():
    assert causes({(RETAIL, ADA): Member("subscribed")}, blacklist((ADA, True)), records={}) != {}


@pytest.mark.parametrize(
    ("member", "record", "cause"),
    [
        (Member("subscribed", timestamp_opt=NOW), None, "resubscribed_unproven"),
        (Member("subscribed"), Record(opted_out=True), "resubscribed_unproven"),
        (Member("subscribed", timestamp_opt=EARLIER - timedelta(days=1)), None, "blacklisted"),
        (Member("subscribed"), Record(opted_out=False), "blacklisted"),
        (Member("transactional", timestamp_opt=NOW), None, "blacklisted"),
    ],
)
def test_somebody_who_was_subscribed_after_the_opt_out_without_proof_is_unsubscribed_and_listed(
    member, record, cause
):
    """Rule 5.5: somebody else may have switched them on; the conflict is shown to a human."""
    records = {} if record is None else {(RETAIL, ADA): record}
    assert causes({(RETAIL, ADA): member}, blacklist((ADA, True)), records=records) == {(RETAIL, ADA): cause}


def test_withdrawn_evidence_ends_the_subscription_that_used_it_and_no_other():
    """Rule 5.6."""
    members = {(RETAIL, ADA): Member("subscribed"), (WHOLESALE, ADA): Member("subscribed")}
    assert causes(members, withdrawn=[withdrawal("retail", ADA)]) == {(RETAIL, ADA): "evidence_withdrawn"}


def test_the_reason_of_a_withdrawal_is_reported():
    audiences = Audiences({(RETAIL, ADA): Member("subscribed")})
    found = members_to_unsubscribe(audiences.members_table(), blacklist(), [withdrawal("retail", ADA)])
    assert found["detail"].tolist() == ["opted out of Newsletter in Odoo"]
    assert found["status_before"].tolist() == ["subscribed"]


def test_an_opt_out_under_a_former_address_restricts_the_present_one():
    """Rule 6.3."""
    assert causes({(RETAIL, ADA): Member("subscribed")}, inheriting={ADA}) == {
        (RETAIL, ADA): "former_email_opted_out"
    }


def test_no_members_means_nothing_to_do():
    assert causes({}, blacklist((ADA, True))) == {}


emails = [f"{letter}@example.com" for letter in "abcd"]


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from([RETAIL, WHOLESALE]), st.sampled_from(emails)),
        st.sampled_from(["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"]),
    ),
    st.dictionaries(st.sampled_from(emails), st.booleans()),
    st.frozensets(st.sampled_from(emails)),
)
def test_afterwards_nobody_who_opted_out_can_get_mail_and_nobody_else_lost_anything(
    statuses, rows, withdrawn
):
    members = {key: Member(status) for key, status in statuses.items()}
    found = causes(
        members, blacklist(*rows.items()), [withdrawal("retail", email) for email in sorted(withdrawn)]
    )
    for (list_id, email), status in statuses.items():
        opted_out = rows.get(email, False) or (list_id == RETAIL and email in withdrawn)
        must = opted_out and status in ("subscribed", "pending", "transactional")
        assert ((list_id, email) in found) is must
