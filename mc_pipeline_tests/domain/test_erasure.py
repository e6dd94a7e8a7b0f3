"""A pseudonym recognises its person again, and tells nobody who they were."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.erasure import (
    Pseudonyms,
    addresses_in,
    with_changed_addresses,
    with_former_addresses,
    without_evidence_of_before,
)
from mc_pipeline.domain.errors import RuleError

KEY = "a key of this length will do"


def test_the_spelling_of_an_address_makes_no_difference():
    pseudonyms = Pseudonyms(KEY)
    assert pseudonyms.of(" Ann@Example.COM ") == pseudonyms.of("ann@example.com")


def test_another_key_gives_other_pseudonyms_and_says_so():
    assert Pseudonyms(KEY).of("ann@example.com") != Pseudonyms(KEY + "!").of("ann@example.com")
    assert Pseudonyms(KEY).key_id != Pseudonyms(KEY + "!").key_id


def test_a_key_that_can_be_guessed_is_refused():
    with pytest.raises(RuleError, match="9 characters; use at least 16"):
        Pseudonyms("too short")


@given(st.emails())
def test_a_pseudonym_holds_nothing_of_the_address(email):
    pseudonym = Pseudonyms(KEY).of(email)
    assert "@" not in pseudonym
    assert len(pseudonym) == len("erased:") + 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.com", {"ann@example.com"}),
        ("Ann Ash <ann@example.com>; bob@example.com", {"ann@example.com", "bob@example.com"}),
        ('{"new":{"email_address":"ann@example.com"},"n":1}', {"ann@example.com"}),
        ('["jos\\u00e9@example.com"]', {"josé@example.com"}),
        ("{not JSON: ann@example.com}", {"ann@example.com"}),
        ("Write to 'o'brien@example.com'.", {"o'brien@example.com"}),
        ("nobody", set()),
        ("{}", set()),
    ],
)
def test_every_address_that_a_text_contains_is_found(text, expected):
    assert expected <= set(addresses_in(text))
    assert bool(expected) == bool(set(addresses_in(text)))


@pytest.mark.parametrize(
    ("renames", "expected"),
    [
        ([], ["c@x.org"]),
        ([("b@x.org", "c@x.org")], ["b@x.org", "c@x.org"]),
        ([("a@x.org", "b@x.org"), ("b@x.org", "c@x.org")], ["a@x.org", "b@x.org", "c@x.org"]),
        ([("c@x.org", "d@x.org")], ["c@x.org"]),
        ([("c@x.org", "b@x.org"), ("b@x.org", "c@x.org")], ["b@x.org", "c@x.org"]),
    ],
)
def test_former_addresses_lead_to_the_present_one(renames, expected):
    assert with_former_addresses("c@x.org", renames) == expected


@dataclass(frozen=True)
class Change:
    partner_id: int | None = 7
    former: str = "old@x.org"
    email: str = "new@x.org"


@pytest.mark.parametrize(
    ("named", "holders", "change", "corrected", "more"),
    [
        ("old@x.org", {"old@x.org": [7]}, Change(), (), {"new@x.org"}),
        ("old@x.org", {"old@x.org": [8]}, Change(), (), {"new@x.org"}),
        ("old@x.org", {"old@x.org": [8]}, Change(None), (), {"new@x.org"}),
        ("old@x.org", {}, Change(), (), {"new@x.org"}),
        ("old@x.org", {"old@x.org": [8]}, Change(), (7,), set()),
        ("new@x.org", {"new@x.org": [7]}, Change(), (7,), set()),
        ("new@x.org", {}, Change(), (), {"old@x.org"}),
        ("new@x.org", {"new@x.org": [8]}, Change(), (), set()),
        ("other@x.org", {"other@x.org": [9]}, Change(), (), set()),
    ],
    ids=[
        "the owner, by the former address",
        "a second contact of theirs",
        "nobody was known",
        "nobody is in Odoo any more",
        "whoever took the former address",
        "the owner, corrected in Odoo: others may have the former one",
        "the owner, by the present address",
        "another contact has the present address in Odoo",
        "somebody else",
    ],
)
def test_the_other_address_of_a_change_in_mailchimp_belongs_to_the_person(
    named, holders, change, corrected, more
):
    assert with_changed_addresses({named}, holders, [change], corrected) == {named} | more


AT = datetime(2026, 5, 3, 12, tzinfo=UTC)
BEFORE, AFTER = "2026-05-03T11:59:59+00:00", "2026-05-03T12:00:01+00:00"
NEW = "new@x.org"


def of_list(consented_at: str | None, address: str = NEW, *, opted_out: bool = False) -> dict:
    return {
        "kind": "mailing_list",
        "source": "Newsletter",
        "record_id": 1,
        "address": address,
        "consented_at": consented_at,
        "opted_out": opted_out,
    }


def of_box(consented_at: str | None, partner: int, address: str = NEW) -> dict:
    return {**of_list(consented_at, address), "kind": "boolean_field", "record_id": partner}


@pytest.mark.parametrize(
    ("partner", "email", "evidence", "counts"),
    [
        (7, NEW, of_list(BEFORE), False),
        (7, NEW, of_list(None), False),
        (7, NEW, of_list(AFTER), True),
        (7, NEW, of_list(AT.isoformat()), False),
        (7, NEW, of_list("2026-05-03T11:00:00"), False),
        (7, NEW, of_list(BEFORE, opted_out=True), True),
        (7, NEW.upper(), of_list(BEFORE), False),
        (7, NEW, of_box(BEFORE, 7), False),
        (7, NEW, of_box(None, 7), False),
        (7, NEW, of_box(AFTER, 7), True),
        # Another contact with the address: its own box counts, the subscription of the address does not.
        (8, NEW, of_box(BEFORE, 8), True),
        (8, NEW, of_box(BEFORE, 7), False),
        (8, NEW, of_list(BEFORE), False),
        (8, "other@x.org", of_list(BEFORE, "other@x.org"), True),
    ],
)
def test_consent_of_before_an_erasure_is_none_whatever_the_address(partner, email, evidence, counts):
    partners = pd.DataFrame(
        {
            "partner_id": [7, partner] if partner != 7 else [7],
            "email_normalized": [NEW, email] if partner != 7 else [email],
            "evidence_json": ["[]", json.dumps([evidence])] if partner != 7 else [json.dumps([evidence])],
        }
    )
    left = without_evidence_of_before(partners, {7: AT})
    assert json.loads(left["evidence_json"].iloc[-1]) == ([evidence] if counts else [])


def test_without_an_erased_partner_the_evidence_is_as_it_was():
    partners = pd.DataFrame(
        {"partner_id": [8], "email_normalized": [None], "evidence_json": [json.dumps([of_list(None)])]}
    )
    assert without_evidence_of_before(partners, {7: AT}) is partners
