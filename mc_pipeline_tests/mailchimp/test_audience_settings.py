"""Tags in bulk, merge fields, and what is set on an audience."""

import pytest

from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.lists import (
    ConnectedStore,
    connected_stores,
    get_audience,
    welcome_automations,
)
from mc_pipeline.mailchimp.merge_fields import (
    MergeField,
    compare_merge_fields,
    ensure_merge_fields,
    list_merge_fields,
)
from mc_pipeline.mailchimp.segments import change_segment_members, ensure_static_segment, list_static_segments
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp.server import SandboxMailchimp
from mc_pipeline_tests.mailchimp.conftest import API_KEY, LIST
from mc_pipeline_tests.mailchimp.exact_server import answer, exact_server, problem


def writes(sandbox):
    return [(entry.method, entry.path) for entry in sandbox.journal.requests if entry.method != "GET"]


def test_a_tag_is_created_once_and_found_whatever_its_case(sandbox, client):
    segment_id = ensure_static_segment(client, LIST, "VIP")
    assert ensure_static_segment(client, LIST, "vip") == segment_id
    assert list_static_segments(client, LIST) == {"vip": segment_id}
    assert len(writes(sandbox)) == 1


def test_a_tag_whose_creation_was_not_answered_is_found_and_not_made_twice(sandbox, client):
    sandbox.faults.add(Fault("reset_after", "POST", "segments"))
    segment_id = ensure_static_segment(client, LIST, "VIP")
    assert list_static_segments(client, LIST) == {"vip": segment_id}
    assert len(writes(sandbox)) == 1


def test_a_tag_that_could_not_be_created_is_an_error(sandbox, client):
    sandbox.faults.add(Fault("reset_before", "POST", "segments"))
    with pytest.raises(errors.MailchimpUnknownOutcomeError):
        ensure_static_segment(client, LIST, "VIP")


def test_a_tag_that_somebody_made_meanwhile_is_used(connect):
    none = answer(200, {"segments": [], "total_items": 0})
    there = answer(200, {"segments": [{"id": 7, "name": "Vip", "type": "static"}], "total_items": 1})
    with exact_server(none, problem(400, "Bad Request", "Sorry, that tag already exists."), there) as server:
        assert ensure_static_segment(connect(server.url), LIST, "VIP") == 7


def test_more_than_a_page_of_tags_is_read(connect):
    def page(asked):
        offset = int(asked.query["offset"])
        found = [{"id": n, "name": f"Tag {n}", "type": "static"} for n in range(1500)][offset : offset + 1000]
        return answer(200, {"segments": found, "total_items": 1500})

    with exact_server(page) as server:
        assert len(list_static_segments(connect(server.url), LIST)) == 1500
        assert len(server.asked) == 2


def test_500_members_are_tagged_by_one_call_and_strangers_are_named(sandbox, client):
    emails = [f"person{number}@example.com" for number in range(499)]
    for email in emails:
        sandbox.add_member(LIST, email, "transactional")
    segment_id = ensure_static_segment(client, LIST, "VIP")
    change = change_segment_members(client, LIST, segment_id, add=[*emails, "stranger@example.com"])
    assert set(change.added) == set(emails)
    assert sandbox.tags(LIST, "person0@example.com") == ["VIP"]
    named = {email for error in change.errors for email in error.emails} | set(change.unconfirmed)
    assert named == {"stranger@example.com"}


@pytest.mark.parametrize("kind", ["reset_after", "json_500", "cut_off", "empty_429"])
def test_tagging_again_after_trouble_ends_in_the_same_state(sandbox, client, kind):
    sandbox.add_member(LIST, "a@example.com", "transactional")
    sandbox.add_member(LIST, "b@example.com", "transactional", tags=["VIP"])
    segment_id = ensure_static_segment(client, LIST, "VIP")
    sandbox.faults.add(Fault(kind, "POST", "segments"))
    change_segment_members(client, LIST, segment_id, add=["a@example.com"], remove=["b@example.com"])
    assert sandbox.tags(LIST, "a@example.com") == ["VIP"]
    assert sandbox.tags(LIST, "b@example.com") == []


def test_tagging_nobody_sends_nothing(connect):
    with exact_server() as server:
        change = change_segment_members(connect(server.url), LIST, 7)
        assert (change.added, change.removed, change.errors, change.unconfirmed) == ((), (), (), ())
        assert server.asked == []


@pytest.mark.parametrize(
    ("add", "remove"),
    [([f"p{n}@example.com" for n in range(501)], []), (["a@example.com"], ["A@example.com"])],
)
def test_too_many_or_contradicting_tag_changes_are_refused(connect, add, remove):
    with exact_server() as server:
        with pytest.raises(ValueError, match=r"at most 500|both"):
            change_segment_members(connect(server.url), LIST, 7, add, remove)
        assert server.asked == []


def test_missing_merge_fields_are_created_with_their_type_and_name(sandbox, client):
    wanted = {
        "FNAME": "text",
        "ORDERS": "number",
        "LASTORDER": "date",
        "PHONE": "phone",
        "ADDRESS": "address",
    }
    result = ensure_merge_fields(client, LIST, wanted, names={"LASTORDER": "Last order"})
    assert result.created == ["ORDERS", "LASTORDER"]
    assert sorted(result.present) == ["ADDRESS", "FNAME", "PHONE"]
    assert result.problems == {}
    fields = list_merge_fields(client, LIST)
    assert (fields["ORDERS"].type, fields["ORDERS"].name) == ("number", "ORDERS")
    assert (fields["LASTORDER"].type, fields["LASTORDER"].name) == ("date", "Last order")
    assert not fields["ORDERS"].required
    assert ensure_merge_fields(client, LIST, wanted).created == []


@pytest.mark.parametrize(
    ("tag", "wanted_type", "named"),
    [
        ("FNAME", "number", "has it as text, the settings need number"),
        ("LASTORDERDATE", "date", "at most 10"),
        ("orders", "number", "upper-case"),
        ("MY FIELD", "text", "upper-case"),
        ("EMAIL", "text", "not EMAIL"),
        ("MERGE3", "text", "not EMAIL or MERGE"),
        ("", "text", "at most 10"),
        ("ORDERS", "integer", "no type of merge field"),
    ],
)
def test_a_merge_field_that_cannot_be_is_a_clear_problem_and_nothing_is_written(
    sandbox, client, tag, wanted_type, named
):
    result = ensure_merge_fields(client, LIST, {tag: wanted_type})
    assert named in str(result.problems[tag])
    assert result.created == []
    assert writes(sandbox) == []


def test_no_room_for_all_missing_merge_fields_creates_none(sandbox, client):
    have = len(list_merge_fields(client, LIST))
    wanted = {f"F{number}": "text" for number in range(30 - have + 1)}
    result = ensure_merge_fields(client, LIST, wanted)
    assert set(result.problems) == set(wanted)
    assert f"{have} of 30" in str(result.problems["F0"])
    assert writes(sandbox) == []
    wanted.popitem()
    assert ensure_merge_fields(client, LIST, wanted).problems == {}


def test_an_audience_with_more_fields_than_usual_is_of_a_plan_that_has_room_for_80(connect):
    def fields(count):
        merge_fields = [{"tag": f"F{n}", "name": "F", "type": "text", "merge_id": n} for n in range(count)]
        return answer(200, {"merge_fields": merge_fields, "total_items": count})

    created = answer(200, {"tag": "NEW", "name": "NEW", "type": "text", "merge_id": 99})
    with exact_server(fields(40), created) as server:
        assert ensure_merge_fields(connect(server.url), LIST, {"NEW": "text"}).created == ["NEW"]
    with exact_server(fields(80)) as server:
        assert "80 of 80" in str(
            ensure_merge_fields(connect(server.url), LIST, {"NEW": "text"}).problems["NEW"]
        )


def field(tag: str, merge_id: int, kind: str = "number") -> MergeField:
    return MergeField(tag, tag.title(), kind, required=False, merge_id=merge_id)


@pytest.mark.parametrize(
    ("fields", "code", "missing"),
    [
        ([field("ORDERS", 7)], None, []),
        ([field("NORD", 7)], "renamed", []),
        ([field("ORDERS", 9)], None, []),
        ([field("ORDERS", 9, "text")], "retyped", []),
        ([field("ORDERS", 9), field("NORD", 7)], None, []),
        ([field("OTHER", 8)], None, ["ORDERS"]),
    ],
    ids=["as it was", "renamed", "made anew", "made anew as text", "another one beside it", "deleted"],
)
def test_a_field_is_known_by_its_id_whatever_its_tag(fields, code, missing):
    existing = {each.tag: each for each in fields}
    compared = compare_merge_fields(existing, {"ORDERS": "number"}, {"ORDERS": field("ORDERS", 7)})
    assert [each.code for each in compared.problems.values()] == ([code] if code else [])
    assert compared.missing == missing


def test_a_merge_field_whose_creation_was_not_answered_is_not_made_twice(sandbox, client):
    sandbox.faults.add(Fault("reset_after", "POST", "merge-fields"))
    assert ensure_merge_fields(client, LIST, {"ORDERS": "number"}).created == ["ORDERS"]
    assert len(writes(sandbox)) == 1


def test_a_merge_field_that_mailchimp_refuses_is_a_problem_of_that_field(connect):
    empty = answer(200, {"merge_fields": [], "total_items": 0})
    refused = problem(400, "Invalid Resource", "The merge tag is reserved")
    created = answer(200, {"tag": "B", "name": "B", "type": "text", "merge_id": 1})
    with exact_server(empty, refused, created) as server:
        result = ensure_merge_fields(connect(server.url), LIST, {"A": "text", "B": "text"})
    assert "The merge tag is reserved" in str(result.problems["A"])
    assert result.created == ["B"]


def test_a_merge_field_created_under_another_tag_is_an_error(connect):
    empty = answer(200, {"merge_fields": [], "total_items": 0})
    other = answer(200, {"tag": "MMERGE7", "name": "A", "type": "text", "merge_id": 7})
    with exact_server(empty, other) as server, pytest.raises(errors.MailchimpError, match="MMERGE7"):
        ensure_merge_fields(connect(server.url), LIST, {"A": "text"})


def test_an_audience_tells_its_name_and_what_is_set(connect):
    sandbox = SandboxMailchimp({"main": API_KEY})
    sandbox.add_audience(LIST, "Customers", double_optin=True, marketing_permissions=True)
    sandbox.add_member(LIST, "jane@example.com", "subscribed")
    with sandbox.serve() as served:
        client = connect(served.api_url)
        audience = get_audience(client, LIST)
        assert (audience.id, audience.name) == (LIST, "Customers")
        assert audience.double_optin
        assert audience.marketing_permissions
        assert isinstance(audience.web_id, int)
        with pytest.raises(errors.MailchimpNotFoundError):
            get_audience(client, "0000000000")


def test_welcome_automations_are_those_that_run_on_this_audience(connect):
    def automation(title, status="sending", list_id=LIST, kind="welcomeSeries"):
        return {
            "settings": {"title": title},
            "status": status,
            "recipients": {"list_id": list_id},
            "trigger_settings": {"workflow_type": kind},
        }

    found = [
        automation("Hello"),
        automation("Paused", status="paused"),
        automation("Other", list_id="other"),
        automation("Birthday", kind="birthday"),
    ]
    with exact_server(answer(200, {"automations": found, "total_items": 4})) as server:
        assert welcome_automations(connect(server.url), LIST) == ["Hello"]


def test_more_than_a_page_of_stores_is_read_each_with_its_audience_and_currency(connect):
    def page(asked):
        offset = int(asked.query["offset"])
        stores = [
            {"id": f"s{n}", "name": "Shop", "list_id": LIST, "currency_code": "EUR"} for n in range(1500)
        ]
        return answer(200, {"stores": stores[offset : offset + 1000], "total_items": 1500})

    with exact_server(page) as server:
        found = connected_stores(connect(server.url))
        assert len(server.asked) == 2
    assert found[1499] == ConnectedStore("s1499", "Shop", LIST, "EUR")
    assert len(found) == 1500


def test_welcome_automations_that_cannot_be_listed_are_not_known(connect):
    with exact_server(problem(404, "Resource Not Found")) as server:
        assert welcome_automations(connect(server.url), LIST) is None
    with exact_server(problem(401, "API Key Invalid")) as server:
        client = connect(server.url)
        with pytest.raises(errors.MailchimpAuthenticationError):
            welcome_automations(client, LIST)
