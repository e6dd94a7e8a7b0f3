"""Consent that was used is taken back by its own record, or by any address of the person (rule 5.6)."""

from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD, MAILING_LIST
from mc_pipeline.domain.consent.held_addresses import Held, HeldAddresses
from mc_pipeline.domain.consent.withdrawals import Rename, TakenBack, withdrawn_consent
from mc_pipeline.ledger.used_evidence import UsedEvidence

OLD, NEW, OTHER = "old@example.com", "new@example.com", "other@example.com"
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
NEWSLETTER, SUBSCRIPTION, PARTNER = 7, 70, 1


def day(number: float) -> datetime:
    return BEGIN + timedelta(days=number)


def used(kind: str, **changes: object) -> UsedEvidence:
    of_list = kind == MAILING_LIST
    values = {
        "company": "acme",
        "list_id": "retail1",
        "email": OLD,
        "kind": kind,
        "source": "Newsletter" if of_list else "x_newsletter",
        "source_id": NEWSLETTER if of_list else 0,
        "record_id": SUBSCRIPTION if of_list else PARTNER,
        "partner_id": PARTNER,
        "consented_at": day(-9),
        "used_at": day(0),
    }
    return UsedEvidence(**{**values, **changes})  # type: ignore[arg-type]


def opted_out(
    subscription: int = SUBSCRIPTION, email: str = OLD, mailing_list: int = NEWSLETTER
) -> TakenBack:
    return TakenBack(MAILING_LIST, mailing_list, subscription, email, day(5))


def cleared(partner: int = PARTNER, email: str = "", field: str = "x_newsletter") -> TakenBack:
    return TakenBack(BOOLEAN_FIELD, field, partner, email, day(5))


STAYS = [Held(PARTNER, OLD, day(0))]
CHANGED = [Held(PARTNER, OLD, day(0), day(2)), Held(PARTNER, NEW, day(2))]
BLANKED = [Held(PARTNER, OLD, day(0), day(2))]
PASSED_ON = [*CHANGED, Held(9, OLD, day(3))]
MERGED = [Held(PARTNER, OLD, day(0), day(2)), Held(2, OTHER, day(0))]


@pytest.mark.parametrize(
    ("evidence", "said", "held", "expected"),
    [
        (used(MAILING_LIST), opted_out(), STAYS, {OLD}),
        (used(MAILING_LIST), opted_out(), CHANGED, {OLD, NEW}),
        (used(MAILING_LIST), opted_out(email=NEW), CHANGED, {OLD, NEW}),  # the mailing contact changed too
        (used(MAILING_LIST), opted_out(email=""), BLANKED, {OLD}),
        (used(MAILING_LIST), opted_out(71, NEW), CHANGED, {OLD, NEW}),  # another contact, of the new address
        (used(MAILING_LIST), opted_out(71, OLD), CHANGED, {OLD, NEW}),  # nobody else has the old one
        (used(MAILING_LIST), opted_out(71, OLD), PASSED_ON, {OLD}),  # somebody else has it
        (used(MAILING_LIST), opted_out(), PASSED_ON, {OLD, NEW}),
        (used(MAILING_LIST), opted_out(71, OTHER), CHANGED, set()),
        (used(MAILING_LIST), opted_out(mailing_list=8), CHANGED, set()),
        (used(MAILING_LIST, record_id=0), opted_out(71), STAYS, {OLD}),  # of a ledger that knows no record
        (used(MAILING_LIST, record_id=0, partner_id=None), opted_out(71, NEW), CHANGED, {OLD, NEW}),
        (used(MAILING_LIST, partner_id=None), opted_out(), [], {OLD}),  # a mailing contact without a partner
        (used(BOOLEAN_FIELD), cleared(), STAYS, {OLD}),
        (used(BOOLEAN_FIELD), cleared(), CHANGED, {OLD, NEW}),
        (used(BOOLEAN_FIELD), cleared(), BLANKED, {OLD}),
        (used(BOOLEAN_FIELD), cleared(2), STAYS, set()),
        (used(BOOLEAN_FIELD), cleared(9, OLD), PASSED_ON, {OLD}),
        (used(BOOLEAN_FIELD), cleared(field="x_other"), STAYS, set()),
    ],
)
def test_5_6_withdrawn_consent_ends_the_membership_under_every_address(
    evidence: UsedEvidence, said: TakenBack, held: list[Held], expected: set[str]
) -> None:
    found = withdrawn_consent([evidence], [said], HeldAddresses(held))
    assert {each.email for each in found} == expected
    assert all(each.list_id == "retail1" and each.at == day(5) for each in found)


def test_5_6_the_field_of_a_merged_contact_is_that_of_the_one_it_was_merged_into() -> None:
    merged = HeldAddresses(MERGED, {PARTNER: 2})
    found = withdrawn_consent([used(BOOLEAN_FIELD)], [cleared(2)], merged)
    assert {each.email for each in found} == {OLD, OTHER}
    unknown = HeldAddresses(MERGED, {PARTNER: None})
    assert withdrawn_consent([used(BOOLEAN_FIELD)], [cleared(2)], unknown) == []


def test_5_6_consent_used_in_one_audience_ends_in_that_one() -> None:
    elsewhere = used(MAILING_LIST, list_id="events1", source="Events", source_id=9, record_id=90)
    found = withdrawn_consent([used(MAILING_LIST), elsewhere], [opted_out()], HeldAddresses(STAYS))
    assert [(each.list_id, each.email) for each in found] == [("retail1", OLD)]


def test_5_6_a_member_that_was_renamed_since_is_followed_in_its_own_audience() -> None:
    renames = [
        Rename("retail1", OLD, NEW, day(1)),
        Rename("retail1", NEW, OTHER, day(2)),
        Rename("events1", OLD, "elsewhere@example.com", day(1)),
        Rename("retail1", OLD, "before@example.com", day(-3)),
    ]
    found = withdrawn_consent(
        [used(MAILING_LIST, partner_id=None)], [opted_out()], HeldAddresses([]), renames
    )
    assert {each.email for each in found} == {OLD, NEW, OTHER}
