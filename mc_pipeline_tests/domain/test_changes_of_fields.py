"""When a field counts as unchanged (rule 6.4): every wrong "different" is a write in every run."""

import pytest

from mc_pipeline.domain.plan.fields import differing_fields, language_to_send, same_value

LEEDS = {"addr1": "1 High St", "addr2": "", "city": "Leeds", "state": "", "zip": "LS1", "country": "GB"}


@pytest.mark.parametrize(
    ("left", "right", "field_type", "same"),
    [
        (12, "12", None, True),
        (12.5, "12.50", None, True),
        (0.1 + 0.2, "0.3", None, True),
        (0, "0", None, True),
        (12, "", None, False),
        ("00123", "123", None, False),
        ("00123", "123", "number", True),
        (" Ada  Lovelace ", "Ada Lovelace", None, True),
        ("ada", "Ada", None, False),
        (None, "", None, True),
        ("", {"addr1": "", "city": "", "state": "", "zip": "", "country": "US"}, None, True),
        (LEEDS, {**LEEDS, "addr1": "1  High St"}, None, True),
        (LEEDS, {key: value for key, value in LEEDS.items() if key != "addr2"}, None, True),
        (LEEDS, {**LEEDS, "zip": "LS2"}, None, False),
        (LEEDS, "1 High St", None, False),
        ("2026-01-05", "01/05/2026", "date", True),
        ("2026-01-05", "2026-01-05 00:00:00", "date", True),
        ("2026-01-05", "2026-05-01", "date", False),
        ("2026-01-05", "01/05/2026", None, False),
        ("many", 3, None, False),
    ],
)
def test_values_are_compared_as_mailchimp_keeps_them(left, right, field_type, same):
    assert same_value(left, right, field_type) is same
    assert same_value(right, left, field_type) is same


def test_a_value_that_mailchimp_dropped_is_not_sent_again():
    assert differing_fields({"PHONE": "?"}, {"PHONE": ""}, {"PHONE": "?"}, {"PHONE": ""}, {}) == {}


def test_a_tag_that_is_not_desired_at_all_is_left_alone():
    assert differing_fields({}, {"ADDRESS": LEEDS}, {"ADDRESS": LEEDS}, {"ADDRESS": LEEDS}, {}) == {}


@pytest.mark.parametrize(
    ("desired", "observed", "sent", "returned", "result"),
    [
        ("fr", "en", None, None, "fr"),
        ("fr", "FR", None, None, None),
        (None, "fr", "fr", "fr", None),
        ("pt_BR", "pt", "pt_BR", "pt", None),
        ("pt_BR", "en", "pt_BR", "pt", "pt_BR"),
    ],
)
def test_a_language_is_sent_when_it_is_mapped_and_not_what_came_back_before(
    desired, observed, sent, returned, result
):
    assert language_to_send(desired, observed, sent, returned) == result
