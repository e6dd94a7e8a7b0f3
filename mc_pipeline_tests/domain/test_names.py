"""First and last name as a pair, where Odoo has one name for both (rule 6.4)."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.contacts.names import COMPANY, PERSON, NameFields, before_last_name, decide_names
from mc_pipeline.domain.plan.fields import differing_fields
from mc_pipeline.settings.models import AudienceSettings
from mc_pipeline_tests.domain.audience_model import (
    OURS,
    RETAIL,
    Audiences,
    Member,
    Person,
    Record,
    World,
    company,
)
from mc_pipeline_tests.domain.odoo_rows import built, company_partner, contact, order, partner
from mc_pipeline_tests.domain.odoo_rows import company as company_of

MIA = "mia@example.com"
BOTH = {"FNAME": "first_name", "LNAME": "last_name"}
FIRST_ALONE = {"FNAME": "first_name"}


def with_names(names: str = "whole", fields: dict[str, str] | None = None) -> Any:
    one = company()
    audiences = {
        key: AudienceSettings.model_validate(
            {**each.model_dump(exclude_unset=True), "merge_fields": fields or BOTH, "names": names}
        )
        for key, each in one.audiences.items()
    }
    return one.model_copy(update={"audiences": audiences})


def mia(name: str = "Mia Miller", one_name: str = PERSON, fields: dict[str, str] | None = None) -> Person:
    """A contact with one name in Odoo, as ``contacts`` has it: the whole of it as first name."""
    by_source = {"first_name": "" if one_name == COMPANY else name, "last_name": "", "name": name}
    desired = {tag: by_source[source] for tag, source in (fields or BOTH).items()}
    return Person(MIA, name=name, one_name=one_name, fields=desired)


def world(
    person: Person,
    present: dict[str, str] | None,
    sent: dict[str, str] | None = None,
    names: str = "whole",
    fields: dict[str, str] | None = None,
    status: str = "subscribed",
) -> World:
    record = replace(OURS, sent={"merge_fields": sent}, returned=None) if sent else Record(partner_id=1)
    members = {} if present is None else {(RETAIL, MIA): Member(status, present)}
    records = {} if present is None else {(RETAIL, MIA): record}
    return World([person], Audiences(members, records), settings=with_names(names, fields))


def planned(of: World) -> dict[str, Any]:
    """The merge fields that the plan sends for Mia."""
    rows = of.plan()
    return json.loads(rows.iloc[0]["after_json"]).get("merge_fields", {}) if len(rows) else {}


def not_written(of: World) -> list[str]:
    return of.decide().not_written["reason"].tolist()


@pytest.mark.parametrize(
    ("present", "sent", "written"),
    [
        pytest.param({}, None, {"FNAME": "Mia Miller"}, id="no last name"),
        pytest.param({"FNAME": "M.", "LNAME": " "}, None, {"FNAME": "Mia Miller"}, id="blank last name"),
        pytest.param({"FNAME": "Mia", "LNAME": "Miller"}, None, {}, id="both of the person's own"),
        pytest.param({"FNAME": "M", "LNAME": "Miller"}, None, {"FNAME": "Mia"}, id="ends the name"),
        pytest.param({"FNAME": "", "LNAME": "MILLER"}, None, {"FNAME": "Mia"}, id="in capitals"),
        pytest.param(
            {"FNAME": "Mia Miller", "LNAME": "Miller"}, {"FNAME": "Mia Miller"}, {"FNAME": "Mia"},
            id="damaged by an earlier version",
        ),
        pytest.param({"FNAME": "Mia", "LNAME": "Smith"}, None, {}, id="another last name"),
        pytest.param({"FNAME": "Mia", "LNAME": "iller"}, None, {}, id="an end, but no word"),
        pytest.param(
            {"FNAME": "Mia", "LNAME": "Miller"}, {"FNAME": "Mia", "LNAME": "Miller"},
            {"FNAME": "Mia Miller", "LNAME": ""}, id="ours",
        ),
        pytest.param(
            {"FNAME": "Mia", "LNAME": "Smith"}, {"FNAME": "Mia", "LNAME": "Miller"}, {},
            id="ours once, somebody's now",
        ),
    ],
)  # fmt: skip
def test_whole_the_name_goes_where_no_last_name_of_somebody_else_stands(present, sent, written) -> None:
    assert planned(world(mia(), present, sent)) == written


def test_a_last_name_that_does_not_end_the_name_is_listed_and_nothing_is_written() -> None:
    of = world(mia(), {"FNAME": "Mia", "LNAME": "Smith"})
    assert of.plan().empty
    (row,) = of.decide().not_written.to_dict("records")
    assert (row["reason"], row["partner_id"]) == ("name_not_decided", 1)
    assert "LNAME" in row["detail"]
    assert "names: leave" in row["detail"]
    assert "Smith" not in row["detail"]


def test_other_fields_of_such_a_member_are_written() -> None:
    fields = {**BOTH, "CITY": "city"}
    person = replace(mia(), fields={"FNAME": "Mia Miller", "LNAME": "", "CITY": "Leeds"})
    assert planned(world(person, {"FNAME": "Mia", "LNAME": "Smith"}, fields=fields)) == {"CITY": "Leeds"}


@pytest.mark.parametrize(
    ("present", "sent", "written", "listed"),
    [
        ({"FNAME": "M", "LNAME": "Miller"}, None, {"FNAME": "Mia"}, []),
        ({"FNAME": "M", "LNAME": "Smith"}, None, {}, ["name_not_decided"]),
        # It would stay there: nobody clears a field that the settings do not name.
        ({"FNAME": "M", "LNAME": "Miller"}, {"LNAME": "Miller"}, {"FNAME": "Mia"}, []),
        ({"FNAME": "Mia Miller", "LNAME": "Miller"}, {"FNAME": "Mia Miller"}, {"FNAME": "Mia"}, []),
    ],
)
@pytest.mark.parametrize("source", ["first_name", "name"])
def test_a_last_name_that_the_settings_do_not_name_is_read_and_never_written(
    source, present, sent, written, listed
) -> None:
    fields = {"FNAME": source}
    of = world(mia(fields=fields), present, sent, fields=fields)
    assert planned(of) == written
    assert not_written(of) == listed


def test_a_field_of_the_whole_name_beside_the_first_name_stays_whole() -> None:
    fields = {**BOTH, "CALLED": "name"}
    of = world(mia(fields=fields), {"FNAME": "Mia", "LNAME": "Miller"}, fields=fields)
    assert planned(of) == {"CALLED": "Mia Miller"}


@pytest.mark.parametrize(
    ("name", "one_name", "present", "written"),
    [
        ("Mia Miller", PERSON, {}, {"FNAME": "Mia", "LNAME": "Miller"}),
        ("Mia Miller", PERSON, {"FNAME": "Mia Miller"}, {"FNAME": "Mia", "LNAME": "Miller"}),
        ("Mia de Miller", PERSON, {"LNAME": "Smith"}, {"FNAME": "Mia de", "LNAME": "Miller"}),
        ("Mia", PERSON, {}, {"FNAME": "Mia"}),
        ("Mia", PERSON, {"FNAME": "M", "LNAME": "Smith"}, {}),
        ("Mia Miller", COMPANY, {}, {"FNAME": "Mia Miller"}),
        ("Mia Miller", COMPANY, {"LNAME": "Miller"}, {"FNAME": "Mia"}),
    ],
)
def test_split_puts_the_last_word_of_a_person_into_the_last_name(name, one_name, present, written) -> None:
    fields = {"FNAME": "name", "LNAME": "last_name"}
    assert planned(world(mia(name, one_name, fields), present, names="split", fields=fields)) == written


@pytest.mark.parametrize(
    ("present", "written"),
    [
        ({}, {"FNAME": "Mia Miller"}),
        ({"FNAME": "M"}, {}),
        ({"LNAME": "Miller"}, {}),
        ({"FNAME": "Mia Miller", "LNAME": "Miller"}, {}),
    ],
)
@pytest.mark.parametrize("sent", [None, {"FNAME": "Mia Miller", "LNAME": "Miller"}])
def test_leave_never_writes_to_a_member_who_has_a_name(present, written, sent) -> None:
    of = world(mia(), present, sent, names="leave")
    assert planned(of) == written
    assert not_written(of) == []


@pytest.mark.parametrize(
    ("names", "created"),
    [
        ("whole", {"FNAME": "Mia Miller"}),
        ("split", {"FNAME": "Mia", "LNAME": "Miller"}),
        ("leave", {"FNAME": "Mia Miller"}),
    ],
)
def test_a_new_member_gets_the_name_as_the_setting_says(names, created) -> None:
    assert planned(world(mia(), None, names=names)) == created


@pytest.mark.parametrize("names", ["whole", "split", "leave"])
@pytest.mark.parametrize("present", [None, {}, {"FNAME": "M", "LNAME": "Miller"}, {"LNAME": "Smith"}])
def test_an_unchanged_night_writes_nothing(names, present) -> None:
    of = world(mia(), present, names=names)
    for name in ("Mia Miller", "Mia Smith"):
        of.people = [mia(name)]
        of.apply(of.plan())
        assert of.plan().empty


def test_an_archived_member_comes_back_with_its_last_name_once() -> None:
    record = replace(OURS, archived_by_us=True, last_status="archived")
    of = world(mia(), {"FNAME": "M", "LNAME": "Miller"}, status="archived")
    of.audiences.records[RETAIL, MIA] = record
    assert planned(of) == {"FNAME": "Mia"}


def test_where_odoo_has_first_and_last_name_they_are_used_as_they_are() -> None:
    person = replace(mia(one_name=""), fields={"FNAME": "Mia", "LNAME": "Miller"})
    assert planned(world(person, {"FNAME": "Eve", "LNAME": "Smith"})) == {"FNAME": "Mia", "LNAME": "Miller"}


def test_a_company_keeps_its_name_out_of_the_first_name_but_not_out_of_a_field_of_names() -> None:
    shop = mia("Miller Limited", COMPANY)
    assert planned(world(shop, {"FNAME": "Mia", "LNAME": "Miller"})) == {}
    fields = {"FNAME": "name"}
    shop = mia("Miller Limited", COMPANY, fields)
    assert planned(world(shop, {"LNAME": "Limited"}, fields=fields)) == {"FNAME": "Miller"}


def test_a_plan_says_why_a_first_name_is_not_the_whole_name() -> None:
    (row,) = world(mia(), {"FNAME": "Mia Miller", "LNAME": "Miller"}).plan().to_dict("records")
    assert row["because"] == (
        "differs from Odoo: FNAME; FNAME without the last name, which is in LNAME and was not written by "
        "this pipeline"
    )


WORDS = st.lists(st.sampled_from(["Mia", "Miller", "van", "Jö", "山田"]), max_size=3).map(" ".join)


@given(
    st.lists(WORDS.filter(bool), min_size=1, max_size=3),
    WORDS, WORDS, st.none() | WORDS, st.none() | WORDS,
    st.sampled_from(["whole", "split", "leave"]),
    st.sampled_from([BOTH, FIRST_ALONE, {"FNAME": "name"}, {"FNAME": "name", "LNAME": "last_name"}]),
    st.sampled_from([PERSON, PERSON, COMPANY]),
)  # fmt: skip
def test_names_settle_in_one_night_and_no_last_name_of_somebody_else_is_cleared(
    odoo, first, last, sent_first, sent_last, names, fields, one_name
) -> None:
    """Whatever is there: after each edit in Odoo one night writes, the next one nothing."""
    where = NameFields.of(SimpleNamespace(merge_fields=fields, names=names))
    present = {"FNAME": first, "LNAME": last}
    sent = {tag: each for tag, each in (("FNAME", sent_first), ("LNAME", sent_last)) if each is not None}

    def to_write(name: str) -> dict[str, Any]:
        desired = mia(name, one_name, fields).fields
        decided = decide_names(dict(desired), one_name, where, present, sent).desired
        return differing_fields(decided, present, sent, present, {})

    for name in odoo:
        before, had_sent = dict(present), sent.get("LNAME", "")
        written = to_write(name)
        present |= written
        sent |= written
        assert to_write(name) == {}
        if before["LNAME"] and not present["LNAME"]:
            assert before["LNAME"].casefold() == had_sent.casefold()
        if "LNAME" not in fields:
            assert "LNAME" not in written
        if names == "leave" and (before["FNAME"] or before["LNAME"]):
            assert written == {}
        if written.get("FNAME") and names != "split" and present["LNAME"]:
            assert name.split() == [*present["FNAME"].split(), *present["LNAME"].split()]


@pytest.mark.parametrize(
    ("whole", "last_name", "before"),
    [
        ("Mia Miller", "Miller", "Mia"),
        ("Jan van der Berg", "van  der Berg", "Jan"),
        ("Miller", "Miller", ""),
        ("Mia Sandmiller", "miller", None),
        ("Miller Mia", "Miller", None),
        ("Jo\u0308 Ångström", "ÅNGSTRÖM", "Jo\u0308"),
        ("Mia", "", None),
        ("", "Miller", None),
    ],
)
def test_what_stands_before_a_last_name(whole, last_name, before) -> None:
    assert before_last_name(whole, last_name) == before


def test_the_contacts_say_for_whom_odoo_has_one_name() -> None:
    result = built(
        [
            partner(1, name="Mia Miller"),
            partner(2, name="Mia Miller", first_name="Mia", last_name="Miller"),
            partner(3, name="Mia", first_name="Mia"),
            company_partner(4, name="Miller Limited"),
        ],
        [order(number, number) for number in (1, 2, 3, 4)],
        company_of({"all": {"merge_fields": BOTH}}),
    )
    said = {email: contact(result, email)["one_name"] for email in result.contacts["email"]}
    assert [said[f"person{number}@example.com"] for number in (1, 2, 3, 4)] == [PERSON, "", "", COMPANY]


def test_name_fields_are_found_in_the_settings() -> None:
    def of(**fields: str) -> NameFields:
        return NameFields.of(with_names(fields=fields).audiences["retail"])

    assert of(FNAME="name") == NameFields(("FNAME",), (), ("LNAME",), "whole")
    assert of(FIRST="first_name", SURNAME="last_name") == NameFields(
        ("FIRST",), ("SURNAME",), ("SURNAME",), "whole"
    )
    assert of(FNAME="name", LNAME="company_name") == NameFields(("FNAME",), (), (), "whole")
