"""A pseudonym recognises its person again, and tells nobody who they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.erasure import Pseudonyms, addresses_in, with_former_addresses
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
def test_every_address_that_a_text_tells_is_found(text, expected):
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
