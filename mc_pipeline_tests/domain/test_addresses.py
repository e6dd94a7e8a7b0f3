"""Which address stands for a partner, and whether it can be written to (rules 2.1 and 2.5)."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from mc_pipeline.domain.contacts.addresses import holds_several_addresses, is_valid_address, read_addresses
from mc_pipeline.quality.syntax import is_valid_address as valid_by_the_checks
from mc_pipeline_tests.domain.odoo_rows import built, contact, order, partner, partners_table


def by_the_library(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True


@pytest.mark.parametrize(
    ("typed", "normalized", "email", "problem"),
    [
        ("Ada@Example.com ", "ada@example.com", "ada@example.com", ""),
        (None, None, None, "missing_email"),
        ("", None, None, "missing_email"),
        ("   ", None, None, "missing_email"),
        ("not an address", None, None, "invalid_email"),
        ("ada@example", "ada@example", None, "invalid_email"),
        ("ada..l@example.com", "ada..l@example.com", None, "invalid_email"),
        ("ada@server.local", "ada@server.local", None, "invalid_email"),
        ("ada@example.test", "ada@example.test", "ada@example.test", ""),
        ("ÉLISE@exämple.com", "ÉLISE@exämple.com", "élise@exämple.com", ""),
        ("ada@-example.com", "ada@-example.com", None, "invalid_email"),
        (f"a@{'b' * 64}.com", f"a@{'b' * 64}.com", None, "invalid_email"),
        ("a@test", "a@test", None, "invalid_email"),
        ("ａ@shop.example", "ａ@shop.example", None, "invalid_email"),
        ("a@shop．example", "a@shop．example", None, "invalid_email"),
        ("a@shop。example", "a@shop。example", None, "invalid_email"),
        ("a@ｓhop.example", "a@ｓhop.example", None, "invalid_email"),
        ("o'brien+shop@example.com", "o'brien+shop@example.com", "o'brien+shop@example.com", ""),
        ("a@xn--exmple-cua.com", "a@xn--exmple-cua.com", "a@xn--exmple-cua.com", ""),
        ("иван@почта.рф", "иван@почта.рф", "иван@почта.рф", ""),
        ("a@straße.de", "a@straße.de", "a@straße.de", ""),
    ],
)
def test_an_address_is_odoos_normalised_one_in_lower_case_or_a_named_problem(
    typed: str | None, normalized: str | None, email: str | None, problem: str
) -> None:
    table = partners_table([partner(1, typed, email_normalized=normalized)])
    found = read_addresses(table).iloc[0]
    assert (found["person_email"], found["email_problem"]) == (email, problem)


@pytest.mark.parametrize(
    ("typed", "several"),
    [
        ("a@example.com, b@example.com", True),
        ("a@example.com;b@example.com", True),
        ('"Ada" <a@example.com>, b@example.com', True),
        ("a@example.com A@EXAMPLE.COM", False),
        ('"a@example.com" <a@example.com>', False),
        ("a@example.com", False),
        ("a@@example.com", False),
        (None, False),
    ],
)
def test_several_addresses_in_one_field_are_noticed(typed: str | None, several: bool) -> None:
    assert holds_several_addresses(typed) is several


def test_of_several_addresses_the_first_is_the_person_and_the_contact_says_so() -> None:
    two = partner(1, "a@example.com, b@example.com", email_normalized="a@example.com")
    result = built([two, partner(2)], [order(1, 1), order(2, 2)])
    assert contact(result, "a@example.com")["several_addresses"]
    assert not contact(result, "person2@example.com")["several_addresses"]
    assert "b@example.com" not in set(result.contacts["email"])


@given(
    st.builds(
        "{}@{}".format,
        st.text(alphabet="abz09.-_+!'", max_size=70),
        st.text(alphabet="abz09.-", max_size=80).map(lambda text: f"{text}.com"),
    )
)
@example("a@b--c.com")
@example("a@xn--a.com")
@example("a@example.local")
@example(f"{'a' * 64}@{'b' * 63}.com")
@example(f"a@{'b' * 64}.com")
@example("a@" + "b." * 130 + "com")
@example("a@example.com\n")
def test_the_short_way_of_judging_an_address_agrees_with_the_library(address: str) -> None:
    assert is_valid_address(address) == by_the_library(address)


@given(
    st.builds(
        "{}{}{}".format,
        st.text(alphabet="abz09.-_+!'éßЖ山\u0301ａ９ｱ½ﬁ", max_size=8),
        st.sampled_from(["@", "@", "@", "＠", ""]),
        st.text(alphabet="abz09.-．。｡éßЖ山\u0301ａ９ｱ½ﬁ", max_size=12)
        | st.sampled_from(
            ["test", "shop.test", "xn--exmple-cua.com", "shop．example", "ｓhop.example", "localhost"]
        ),
    )
)
@example("a@test")
@example("ａ@shop.example")
@example("a@shop．example")
@example("e\u0301@exa\u0308mple.com")
def test_the_rules_and_the_checks_judge_every_address_alike(address: str) -> None:
    """The checks of Odoo's data name the people whom the rules set aside, and nobody else."""
    lowered = address.strip().lower()
    assert is_valid_address(lowered) == valid_by_the_checks(lowered)


@given(st.emails())
def test_any_standard_address_is_judged_as_by_the_library(address: str) -> None:
    assert is_valid_address(address.lower()) == by_the_library(address.lower())
