"""Which status a new person may have, and when evidence of consent is void or withdrawn (rules 4 and 5.6)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.consent.evidence import (
    Evidence,
    counting_evidence,
    parse_evidence,
)
from mc_pipeline.domain.consent.status_for_new import status_for_new, status_in_run
from mc_pipeline.domain.errors import RuleError
from mc_pipeline.settings import ConsentSettings
from mc_pipeline_tests.domain.odoo_rows import (
    Row,
    built,
    company,
    contact,
    order,
    partner,
    reasons,
    subscription,
    ticked,
)

ADA = "ada@example.com"
MAY = datetime(2024, 5, 1, 10, tzinfo=UTC)


def listed(at: datetime | None = MAY, **values: Any) -> Evidence:
    return Evidence(**{"source": "Newsletter", "kind": "mailing_list", "address": ADA, "record_id": 7,
                       "consented_at": at, **values})  # fmt: skip


def boxed(at: datetime | None = MAY) -> Evidence:
    return Evidence("x_newsletter", "boolean_field", ADA, 1, at)


def consent(**values: Any) -> ConsentSettings:
    return ConsentSettings.model_validate({"mailing_list": "Newsletter", **values})


BY_BOX = ConsentSettings(boolean_field="x_newsletter")


def status(
    evidence: list[Evidence],
    settings: ConsentSettings | None,
    *,
    double_optin: bool = False,
    ever_opted_out: bool = False,
    blacklisted: bool = False,
) -> str:
    return status_for_new(
        evidence, settings, double_optin=double_optin, ever_opted_out=ever_opted_out, blacklisted=blacklisted
    ).status


# 4.2 evidence


@pytest.mark.parametrize(
    ("evidence", "settings", "expected"),
    [
        ([], None, "transactional"),
        ([listed()], None, "transactional"),
        ([], consent(), "transactional"),
        ([listed()], consent(), "subscribed"),
        ([listed()], consent(mailing_list=7), "subscribed"),
        ([listed()], consent(mailing_list=8), "transactional"),
        ([listed()], consent(mailing_list="newsletter "), "subscribed"),
        ([listed()], consent(mailing_list="Events"), "transactional"),
        ([listed()], BY_BOX, "transactional"),
        ([boxed()], BY_BOX, "subscribed"),
        ([boxed()], consent(), "transactional"),
        ([listed(None)], consent(), "transactional"),
        ([listed(None)], consent(accept_undated=True), "subscribed"),
        ([listed(None), listed()], consent(), "subscribed"),
        ([listed(opted_out=True)], consent(), "transactional"),
        ([listed(opted_out=True)], consent(accept_undated=True), "transactional"),
        ([listed(), listed(opted_out=True)], consent(), "transactional"),
        ([listed(), listed(opted_out=True, record_id=8, source="Events")], consent(), "subscribed"),
        ([], consent(without_evidence="leave_out"), ""),
        ([listed(None)], consent(without_evidence="leave_out"), ""),
        ([listed()], consent(without_evidence="leave_out"), "subscribed"),
    ],
)
def test_4_2_subscribed_only_with_dated_evidence_of_the_named_kind_that_nobody_opted_out_of(
    evidence: list[Evidence], settings: ConsentSettings | None, expected: str
) -> None:
    assert status(evidence, settings) == expected


def test_4_2_the_latest_evidence_counts_with_its_own_time_and_none_is_invented() -> None:
    older, newer = listed(MAY.replace(year=2020)), listed(MAY.replace(year=2024))
    assert counting_evidence([older, newer, listed(None)], consent()).evidence == newer
    undated = counting_evidence([listed(None)], consent(accept_undated=True)).evidence
    assert undated is not None
    assert undated.as_json()["at"] is None


def test_4_2_a_list_name_that_two_lists_have_is_refused_even_when_no_person_is_on_both() -> None:
    partners = [
        partner(1, evidence=[subscription("person1@example.com")]),
        partner(2, evidence=[subscription("person2@example.com", record_id=8)]),
    ]
    settings = company({"all": {"consent": {"mailing_list": "Newsletter"}}})
    with pytest.raises(RuleError, match="fits several lists in Odoo: 7, 8"):
        built(partners, [order(1, 1), order(2, 2)], settings)


# 4.3 double opt-in


@pytest.mark.parametrize(
    ("evidence", "settings", "expected"),
    [
        ([listed()], consent(), "transactional"),
        ([listed()], consent(send_confirmation=True), "pending"),
        ([], consent(send_confirmation=True), "transactional"),
        ([listed(None)], consent(send_confirmation=True), "transactional"),
        ([], consent(send_confirmation=True, without_evidence="leave_out"), ""),
    ],
)
def test_4_3_in_a_double_opt_in_audience_nobody_is_subscribed_and_confirmations_need_the_setting(
    evidence: list[Evidence], settings: ConsentSettings, expected: str
) -> None:
    assert status(evidence, settings, double_optin=True) == expected


def test_4_3_outside_double_opt_in_no_confirmation_is_sent() -> None:
    assert status([listed()], consent(send_confirmation=True)) == "subscribed"


# 5.6 void, and blacklisted


@pytest.mark.parametrize(
    ("settings", "double_optin", "expected"),
    [
        (consent(), False, "transactional"),
        (consent(accept_undated=True), False, "transactional"),
        (consent(without_evidence="leave_out"), False, ""),
        (consent(send_confirmation=True), True, "transactional"),
    ],
)
def test_5_6_evidence_is_void_for_an_address_that_ever_opted_out(
    settings: ConsentSettings, double_optin: bool, expected: str
) -> None:
    assert status([listed(), boxed()], settings, double_optin=double_optin, ever_opted_out=True) == expected


EVIDENCE = st.builds(
    Evidence,
    source=st.sampled_from(["Newsletter", "Events", "x_newsletter"]),
    kind=st.sampled_from(["mailing_list", "boolean_field"]),
    address=st.just(ADA),
    record_id=st.just(7),
    consented_at=st.none() | st.just(MAY),
    opted_out=st.booleans(),
)
SETTINGS = st.none() | st.builds(
    ConsentSettings,
    mailing_list=st.just("Newsletter"),
    accept_undated=st.booleans(),
    without_evidence=st.sampled_from(["transactional", "leave_out"]),
    send_confirmation=st.booleans(),
)


@given(st.lists(EVIDENCE, max_size=4), SETTINGS, st.booleans(), st.booleans(), st.booleans())
def test_nobody_who_opted_out_or_is_blacklisted_is_ever_subscribed_or_pending(
    evidence: list[Evidence],
    settings: ConsentSettings | None,
    double_optin: bool,
    opted_out: bool,
    blacklisted: bool,
) -> None:
    decision = status_for_new(
        evidence, settings, double_optin=double_optin, ever_opted_out=opted_out, blacklisted=blacklisted
    )
    assert decision.status in ("", "transactional", "subscribed", "pending")
    assert decision.because
    if blacklisted:
        assert decision.status == ""
    if decision.status in ("subscribed", "pending"):
        assert not opted_out
        assert settings is not None
        assert decision.evidence in evidence
        assert decision.evidence is not None
        assert not decision.evidence.opted_out
        assert decision.evidence.consented_at is not None or settings.accept_undated
        assert double_optin == (decision.status == "pending")
        assert not any(item.opted_out and item.source == "Newsletter" and item.kind == "mailing_list"
                       for item in evidence)  # fmt: skip


# the status that a run creates somebody with

NOTHING_MORE: dict[str, Any] = {
    "left_out": "",
    **dict.fromkeys(("inherits_opt_out", "ever_opted_out", "returns", "consented_elsewhere"), False),
    **dict.fromkeys(("double_optin", "first_load", "asked_before"), False),
}
STRONGER = ("unsubscribed", "transactional", "pending", "subscribed")


@pytest.mark.parametrize("allowed", ["", "transactional", "subscribed", "pending"])
def test_where_the_run_knows_no_more_the_evidence_decides(allowed: str) -> None:
    assert status_in_run(allowed, **NOTHING_MORE) == allowed


@pytest.mark.parametrize(
    ("known", "of_subscribed", "of_pending"),
    [
        ({"left_out": "blacklisted"}, "", ""),
        ({"inherits_opt_out": True}, "unsubscribed", "unsubscribed"),
        ({"ever_opted_out": True}, "transactional", "transactional"),
        ({"returns": True}, "transactional", "transactional"),
        ({"consented_elsewhere": True}, "transactional", "transactional"),
        ({"double_optin": True}, "transactional", "pending"),
        ({"first_load": True}, "subscribed", "transactional"),
        ({"asked_before": True}, "subscribed", "transactional"),
    ],
    ids=lambda known: next(iter(known)) if isinstance(known, dict) else "",
)
def test_what_the_run_knows_besides_only_weakens_the_status(
    known: dict[str, Any], of_subscribed: str, of_pending: str
) -> None:
    assert status_in_run("subscribed", **{**NOTHING_MORE, **known}) == of_subscribed
    assert status_in_run("pending", **{**NOTHING_MORE, **known}) == of_pending


@given(
    st.sampled_from(["", "transactional", "subscribed", "pending"]),
    st.fixed_dictionaries(
        {
            name: st.sampled_from(["", "absent"]) if name == "left_out" else st.booleans()
            for name in NOTHING_MORE
        }
    ),
)
def test_no_run_creates_somebody_with_more_than_the_evidence_allows(
    allowed: str, known: dict[str, Any]
) -> None:
    decided = status_in_run(allowed, **known)
    if decided:
        assert allowed
        assert not known["left_out"]
        assert STRONGER.index(decided) <= STRONGER.index(allowed)


# the tables


CONSENTING = {"all": {"consent": {"mailing_list": "Newsletter"}}}


def person(evidence: list[Row], settings: dict[str, Any] | None = None, **opinions: Any) -> Row:
    partners = [partner(1, ADA, evidence=evidence)]
    return contact(built(partners, [order(1, 1)], company(settings or CONSENTING), **opinions), ADA)


def test_the_evidence_relied_on_stands_beside_the_status() -> None:
    found = person([subscription(ADA)])
    assert found["status_for_new"] == "subscribed"
    assert found["status_because"] == "consent by Newsletter on 2024-05-01"
    assert json.loads(found["evidence_json"]) == {
        "source": "Newsletter",
        "kind": "mailing_list",
        "record_id": 7,
        "address": ADA,
        "at": "2024-05-01T10:00:00+00:00",
    }


def test_without_evidence_nothing_stands_beside_the_status() -> None:
    assert person([])["evidence_json"] is None


def test_evidence_about_another_address_is_none() -> None:
    assert person([subscription("other@example.com")])["status_for_new"] == "transactional"


def test_an_opt_out_anywhere_voids_the_evidence_whatever_the_case_of_the_address() -> None:
    assert (
        person([subscription(ADA)], opted_out_emails={"ADA@example.com"})["status_for_new"] == "transactional"
    )


def test_double_opt_in_is_known_by_audience() -> None:
    found = person([subscription(ADA)], double_optin_audiences={"all"})
    assert found["status_for_new"] == "transactional"
    assert found["evidence_json"] is not None


def test_a_blacklisted_person_stays_a_contact_so_that_fields_stay_right_but_is_never_created() -> None:
    result = built([partner(1, ADA, is_blacklisted=True, evidence=[subscription(ADA)])], [order(1, 1)],
                   company(CONSENTING))  # fmt: skip
    found = contact(result, ADA)
    assert (found["status_for_new"], found["evidence_json"]) == ("", None)
    assert "blacklist" in found["status_because"]
    assert result.set_aside.empty


def test_one_blacklisted_partner_among_several_with_the_address_is_enough() -> None:
    partners = [partner(1, ADA, is_blacklisted=True, active=False), partner(2, ADA)]
    assert contact(built(partners, [order(1, 2)]), ADA)["status_for_new"] == ""


def test_somebody_who_is_left_out_without_evidence_is_listed_and_stays_a_contact() -> None:
    settings = {"all": {"consent": {"mailing_list": "Newsletter", "without_evidence": "leave_out"}}}
    result = built([partner(1, ADA), partner(2, evidence=[subscription("person2@example.com")])],
                   [order(1, 1), order(2, 2)], company(settings))  # fmt: skip
    assert contact(result, ADA)["status_for_new"] == ""
    assert reasons(result) == {1: "without_evidence"}
    assert result.set_aside["audience"].iloc[0] == "all"


def test_an_opt_out_of_an_archived_duplicate_counts_but_its_consent_does_not() -> None:
    opted_out = subscription(ADA, opted_out=True, opted_out_at="2024-06-01T00:00:00+00:00")
    for evidence, mine, expected in (
        ([opted_out], [subscription(ADA)], "transactional"),
        ([subscription(ADA)], [], "transactional"),
        ([], [subscription(ADA)], "subscribed"),
    ):
        partners = [partner(1, ADA, active=False, evidence=evidence), partner(2, ADA, evidence=mine)]
        result = built(partners, [order(1, 2)], company(CONSENTING))
        assert contact(result, ADA)["status_for_new"] == expected


def test_a_box_ticked_on_an_archived_partner_is_no_consent_though_listed_by_address() -> None:
    settings = company({"all": {"consent": {"boolean_field": "x_newsletter"}}})
    for ticked_on, expected in ((1, "transactional"), (2, "subscribed")):
        evidence = [ticked(ADA, ticked_on)]
        partners = [partner(1, ADA, active=False, evidence=evidence), partner(2, ADA, evidence=evidence)]
        assert contact(built(partners, [order(1, 2)], settings), ADA)["status_for_new"] == expected


def test_evidence_that_cannot_be_read_is_an_error_and_not_consent() -> None:
    for text in ("{", '["Newsletter"]', '[{"source": "Newsletter"}]'):
        with pytest.raises(RuleError, match="evidence_json"):
            parse_evidence(text)


def test_a_time_without_a_zone_is_utc() -> None:
    (evidence,) = parse_evidence(json.dumps([subscription(ADA, "2024-05-01 10:00:00")]))
    assert evidence.consented_at == MAY
