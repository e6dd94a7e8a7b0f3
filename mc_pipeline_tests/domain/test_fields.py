"""Formats and limits of merge fields (rule 6.4)."""

import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.contacts.merge_fields import (
    MERGE_FIELD_SOURCES,
    TEXT_BYTES,
    ContactFacts,
    complete_address,
    cut_text,
    desired_merge_fields,
    format_number,
    format_text,
    split_name,
)
from mc_pipeline.domain.errors import RuleError

ADA = ContactFacts(
    partner_id=7,
    name="Ada Lovelace",
    first_name="Ada",
    last_name="Lovelace",
    company_name="Analytical Engines",
    is_company=False,
    industry="Computing",
    street="12 St James's Square",
    street2="Attic",
    city="London",
    state="Greater London",
    zip="SW1Y 4JH",
    country="gb",
    phone="+44 20 7946 0000",
    language="en",
    currency="GBP",
    order_count=3,
    total_spent=1234.5,
    first_order_date=date(2023, 1, 31),
    last_order_date=date(2024, 12, 1),
)


def without(**values: object) -> ContactFacts:
    from dataclasses import replace

    return replace(ADA, **values)  # type: ignore[arg-type]


def test_every_source_gives_a_value_of_its_type() -> None:
    desired = desired_merge_fields({name.upper(): name for name in MERGE_FIELD_SOURCES}, ADA)
    assert desired == {
        "FIRST_NAME": "Ada",
        "LAST_NAME": "Lovelace",
        "NAME": "Ada Lovelace",
        "COMPANY_NAME": "Analytical Engines",
        "IS_COMPANY": "false",
        "INDUSTRY": "Computing",
        "STREET": "12 St James's Square",
        "STREET2": "Attic",
        "CITY": "London",
        "STATE": "Greater London",
        "ZIP": "SW1Y 4JH",
        "COUNTRY": "gb",
        "ADDRESS": {
            "addr1": "12 St James's Square",
            "addr2": "Attic",
            "city": "London",
            "state": "Greater London",
            "zip": "SW1Y 4JH",
            "country": "GB",
        },
        "PHONE": "+44 20 7946 0000",
        "LANGUAGE": "en",
        "CURRENCY": "GBP",
        "ORDER_COUNT": 3,
        "TOTAL_SPENT": 1234.5,
        "FIRST_ORDER_DATE": "2023-01-31",
        "LAST_ORDER_DATE": "2024-12-01",
        "PARTNER_ID": 7,
    }


def test_only_the_tags_named_in_settings_are_desired_so_that_other_fields_are_never_touched() -> None:
    assert desired_merge_fields({"FNAME": "first_name"}, ADA) == {"FNAME": "Ada"}


@pytest.mark.parametrize(
    ("source", "empty"),
    [("phone", without(phone=None)), ("last_order_date", without(last_order_date=None)),
     ("last_name", without(last_name=None)), ("language", without(language=None))],
)  # fmt: skip
def test_an_empty_value_is_the_empty_text_whatever_the_type(source: str, empty: ContactFacts) -> None:
    assert desired_merge_fields({"TAG": source}, empty) == {"TAG": ""}


@pytest.mark.parametrize("missing", ["street", "city", "state", "zip", "country"])
def test_an_incomplete_address_is_not_desired_at_all_since_mailchimp_refuses_it(missing: str) -> None:
    assert desired_merge_fields({"ADDRESS": "address"}, without(**{missing: None})) == {}
    assert desired_merge_fields({"ADDRESS": "address"}, without(**{missing: "  "})) == {}


def test_no_address_at_all_is_an_empty_value_and_not_an_incomplete_one() -> None:
    empty = without(street=None, street2=None, city=None, state=None, zip=None)
    assert desired_merge_fields({"ADDRESS": "address"}, empty) == {"ADDRESS": ""}


def test_the_second_line_of_an_address_may_be_empty() -> None:
    address = complete_address("Main Street 1", None, "Gent", "Oost-Vlaanderen", "9000", "BE")
    assert address is not None
    assert address["addr2"] == ""


def test_an_unknown_source_is_refused_by_name() -> None:
    with pytest.raises(RuleError, match=r"merge_fields\.SPENT: 'spend'"):
        desired_merge_fields({"SPENT": "spend"}, ADA)


@pytest.mark.parametrize(
    ("name", "first", "last", "is_company", "expected"),
    [
        ("Ada Lovelace", "Ada", "Lovelace", False, ("Ada", "Lovelace")),
        ("Ada Lovelace", None, None, False, ("Ada Lovelace", None)),
        ("Ada Lovelace", "", "", False, ("Ada Lovelace", None)),
        ("Lovelace", None, "Lovelace", False, (None, "Lovelace")),
        ("Analytical Engines", None, None, True, (None, None)),
        ("Analytical Engines", "Analytical", "Engines", True, (None, None)),
        (None, None, None, False, (None, None)),
    ],
)
def test_names_come_from_their_fields_or_stay_whole_and_a_company_is_not_greeted_as_a_person(
    name: str | None,
    first: str | None,
    last: str | None,
    is_company: bool,
    expected: tuple[str | None, str | None],
) -> None:
    assert split_name(name, first, last, is_company=is_company) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1 + 0.2, 0.3), (1e15 + 0.5, 1e15 + 0.5), (20.0, 20), (3, 3), (1234.5678, 1234.5678), (-0.0, 0)],
)
def test_numbers_carry_no_float_noise(value: float, expected: float) -> None:
    formatted = format_number(value)
    assert formatted == expected
    assert repr(formatted) == repr(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  two\n lines\t here ", "two lines here"),
        ("null\x00byte", "nullbyte"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        ("half \ud83d of a pair", "half of a pair"),
    ],
)
def test_texts_are_one_clean_line_and_booleans_are_words(value: str | bool | None, expected: str) -> None:
    assert format_text(value) == expected


FAMILY = "👨‍👩‍👧‍👦"
FLAG = "🇧🇪"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a" * 300, "a" * 255),
        ("é" * 200, "é" * 127),
        ("a" * 254 + "é", "a" * 254),
        ("a" * 253 + "e\u0301", "a" * 253),  # an e and its accent stay together
        ("a" * 240 + FAMILY, "a" * 240),  # a family of four is one picture
        ("a" * 251 + FLAG, "a" * 251),  # half a flag is a letter
        ("a" * 243 + FLAG + FLAG, "a" * 243 + FLAG),
        ("a" * 250 + "👍🏽", "a" * 250),  # a thumb keeps its skin tone
        ("a" * 254 + " b", "a" * 254),
        ("é" * 127 + "a", "é" * 127 + "a"),
    ],
)
def test_the_limit_is_bytes_and_no_visible_character_is_cut(text: str, kept: str) -> None:
    assert cut_text(text) == kept


def test_one_endless_character_is_cut_rather_than_dropped() -> None:
    assert cut_text("e" + "\u0301" * 400).startswith("e\u0301")


@given(st.text(max_size=400))
def test_a_formatted_text_fits_is_stable_and_is_a_beginning(text: str) -> None:
    formatted = format_text(text)
    assert len(formatted.encode("utf-8")) <= TEXT_BYTES
    assert format_text(formatted) == formatted
    assert not any(unicodedata.category(character) == "Cc" for character in formatted)


VISIBLE = ["a", "é", "e\u0301", "€", FAMILY, FLAG, "👍🏽", "कि"]


@given(st.lists(st.sampled_from(VISIBLE), min_size=20, max_size=120))
def test_what_is_kept_is_a_row_of_whole_visible_characters(characters: list[str]) -> None:
    kept = cut_text("".join(characters), 120)
    assert len(kept.encode("utf-8")) <= 120
    count = next(
        number for number in range(len(characters) + 1) if len("".join(characters[:number])) >= len(kept)
    )
    assert kept == "".join(characters[:count])
    if count < len(characters):
        assert len("".join(characters[: count + 1]).encode("utf-8")) > 120
