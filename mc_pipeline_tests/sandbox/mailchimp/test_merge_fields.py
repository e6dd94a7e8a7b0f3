"""Merge fields: limits, and what each type takes and turns a value into."""

from __future__ import annotations

from typing import Any

import pytest

from mc_pipeline.sandbox.mailchimp import ActRefusedError, SandboxMailchimp
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST
from mc_pipeline_tests.sandbox.mailchimp.errors import refused

ADA = "ada@example.org"
STREET = {"addr1": "1 High St", "city": "London", "state": "-", "zip": "E1 1AA"}


def add_field(client: Any, kind: str, **about: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.lists.add_list_merge_field(
        LIST, {"tag": "F", "name": "Field", "type": kind, **about}
    )
    return made


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("text", "  spaced out ", "spaced out"),
        ("text", 12, "12"),
        ("text", "é" * 127, "é" * 127),
        ("number", "12.50", 12.5),
        ("number", 3, 3),
        ("number", "7.0", 7),
        ("date", "2026-01-31", "2026-01-31"),
        ("date", "01/31/2026", "2026-01-31"),
        ("date", "2026-01-31T23:59:59+00:00", "2026-01-31"),
        ("birthday", "1/5", "01/05"),
        ("phone", "+44 20 7946 0000", "+44 20 7946 0000"),
        ("url", "https://example.org/a", "https://example.org/a"),
        ("zip", "90210", "90210"),
        ("address", STREET, {**STREET, "addr2": "", "country": "US"}),
        ("address", {**STREET, "addr1": "", "city": "", "state": "", "zip": ""}, ""),
        ("text", "", ""),
        ("number", "", ""),
    ],
)
def test_values_are_kept_in_mailchimps_own_form(
    sandbox: SandboxMailchimp, client: Any, kind: str, sent: Any, kept: Any
) -> None:
    add_field(client, kind)
    body = {"email_address": ADA, "status": "transactional", "merge_fields": {"F": sent, "UNKNOWN": "x"}}
    member = client.lists.add_list_member(LIST, body)
    assert member["merge_fields"]["F"] == kept
    assert "UNKNOWN" not in member["merge_fields"]


@pytest.mark.parametrize(
    ("kind", "sent", "message"),
    [
        ("number", "twelve", "Please enter a number"),
        ("number", "nan", "Please enter a number"),
        ("number", True, "Please enter a number"),
        ("date", "31.01.2026", "Please enter a valid date"),
        ("date", "2026-02-30", "Please enter a valid date"),
        ("date", False, "Please enter a valid date"),
        ("birthday", "31/01", "Please enter a month (01-12) and a day (01-31)"),
        ("text", "é" * 128, "Please enter at most 255 bytes"),
        ("text", True, "Please enter a text"),
        ("text", None, "Please enter a text"),
        ("zip", "E1 1AA", "Please enter a valid zip code (5 digits)"),
        ("url", "example.org", "Please enter a valid URL"),
        ("address", {**STREET, "state": ""}, "Please enter a complete address"),
        ("address", "1 High St, London", "Please enter a complete address"),
    ],
)
def test_values_of_the_wrong_type_are_refused_by_field(
    sandbox: SandboxMailchimp, client: Any, kind: str, sent: Any, message: str
) -> None:
    add_field(client, kind)
    body = {"email_address": ADA, "status": "transactional", "merge_fields": {"F": sent}}
    with refused(400, "Invalid Resource", "Your merge fields were invalid.") as documents:
        client.lists.add_list_member(LIST, body, skip_merge_validation="true")
    assert documents[0]["errors"] == [{"field": "F", "message": message}]
    assert sandbox.status(LIST, ADA) is None


def test_a_choice_is_one_of_the_options(sandbox: SandboxMailchimp, client: Any) -> None:
    add_field(client, "dropdown", options={"choices": ["Red", "Blue"]})
    sandbox.add_member(LIST, ADA)
    changed = client.lists.update_list_member(LIST, ADA, {"merge_fields": {"F": "Red"}})
    assert changed["merge_fields"]["F"] == "Red"
    with refused(400, "Invalid Resource"):
        client.lists.update_list_member(LIST, ADA, {"merge_fields": {"F": "Green"}})


def test_a_required_field_must_be_there_unless_validation_is_skipped(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    add_field(client, "text", required=True)
    body = {"email_address": ADA, "status": "transactional"}
    with refused(400, "Invalid Resource") as documents:
        client.lists.add_list_member(LIST, body)
    assert documents[0]["errors"] == [{"field": "F", "message": "Please enter a value"}]
    client.lists.add_list_member(LIST, body, skip_merge_validation="true")
    with refused(400, "Invalid Resource"):
        client.lists.update_list_member(LIST, ADA, {"language": "fr"})


def test_an_empty_text_empties_a_field(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA, merge_fields={"FNAME": "Ada", "LNAME": "Lovelace"})
    changed = client.lists.update_list_member(LIST, ADA, {"merge_fields": {"FNAME": ""}})
    assert changed["merge_fields"]["FNAME"] == ""
    assert changed["merge_fields"]["LNAME"] == "Lovelace"


def test_an_audience_has_room_for_thirty_fields(sandbox: SandboxMailchimp, client: Any) -> None:
    present = client.lists.get_list_merge_fields(LIST, count=1000)["total_items"]
    for number in range(30 - present):
        add_field(client, "text", tag=f"F{number}")
    with refused(400, "Invalid Resource", "more than 30 merge fields"):
        add_field(client, "text", tag="ONEMORE")


@pytest.mark.parametrize("tag", ["ELEVENCHARS", "WITH SPACE", "FNAME", "EMAIL", "fname"])
def test_a_tag_that_is_too_long_odd_or_taken_is_refused(
    sandbox: SandboxMailchimp, client: Any, tag: str
) -> None:
    with refused(400, "Invalid Resource"):
        add_field(client, "text", tag=tag)


def test_an_administrator_renames_requires_and_makes_fields_again(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.add_merge_field(LIST, "SPENT", "number")
    sandbox.add_member(LIST, ADA, merge_fields={"SPENT": 5})
    before = next(
        each
        for each in client.lists.get_list_merge_fields(LIST, count=100)["merge_fields"]
        if each["tag"] == "SPENT"
    )
    sandbox.change_merge_field(LIST, "SPENT", tag="PAID", required=True)
    shown = client.lists.get_list_merge_field(LIST, before["merge_id"])
    assert (shown["tag"], shown["required"], shown["type"]) == ("PAID", True, "number")
    assert client.lists.get_list_member(LIST, ADA)["merge_fields"]["PAID"] == 5
    sandbox.remake_merge_field(LIST, "PAID", "text")
    with refused(404):
        client.lists.get_list_merge_field(LIST, before["merge_id"])
    assert client.lists.get_list_member(LIST, ADA)["merge_fields"]["PAID"] == ""
    sandbox.delete_merge_field(LIST, "PAID")
    assert "PAID" not in client.lists.get_list_member(LIST, ADA)["merge_fields"]
    with pytest.raises(ActRefusedError):
        sandbox.change_merge_field(LIST, "PAID", required=False)


def test_fields_are_renamed_and_deleted_with_their_values(sandbox: SandboxMailchimp, client: Any) -> None:
    made = add_field(client, "number")
    sandbox.add_member(LIST, ADA, merge_fields={"F": 5})
    client.lists.update_list_merge_field(LIST, made["merge_id"], {"name": "Value", "tag": "VALUE"})
    assert client.lists.get_list_member(LIST, ADA)["merge_fields"]["VALUE"] == 5
    assert client.lists.get_list_merge_field(LIST, made["merge_id"])["name"] == "Value"
    client.lists.delete_list_merge_field(LIST, made["merge_id"])
    assert "VALUE" not in client.lists.get_list_member(LIST, ADA)["merge_fields"]
    with refused(404):
        client.lists.get_list_merge_field(LIST, made["merge_id"])
