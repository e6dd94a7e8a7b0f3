"""Lists of members: filters, order, pages, fields, stale statistics."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.reading import Choice
from mc_pipeline.sandbox.mailchimp.state import STATUSES, subscriber_hash
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST, START
from mc_pipeline_tests.sandbox.mailchimp.errors import refused


def emails(answer: dict[str, Any]) -> list[str]:
    return [member["email_address"] for member in answer["members"]]


def test_without_a_status_archived_and_cleaned_people_are_hidden(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    for status in STATUSES:
        sandbox.add_member(LIST, f"{status}@example.org", status)
    shown = client.lists.get_list_members_info(LIST, count=1000)
    assert {member["status"] for member in shown["members"]} == {
        "subscribed",
        "unsubscribed",
        "pending",
        "transactional",
    }
    assert shown["total_items"] == 4
    for status in STATUSES:
        assert emails(client.lists.get_list_members_info(LIST, status=status)) == [f"{status}@example.org"]


def test_a_page_has_ten_members_unless_asked_and_a_thousand_at_most(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    for number in range(1005):
        sandbox.add_member(LIST, f"p{number}@example.org")
    first = client.lists.get_list_members_info(LIST)
    assert (len(first["members"]), first["total_items"]) == (10, 1005)
    assert len(client.lists.get_list_members_info(LIST, count=1000)["members"]) == 1000
    assert len(client.lists.get_list_members_info(LIST, count=1000, offset=1000)["members"]) == 5
    assert client.lists.get_list_members_info(LIST, count=1000, offset=2000)["members"] == []
    too_many = requests.get(
        f"{sandbox.api_url}/lists/{LIST}/members?count=1001", auth=("anyone", DEFAULT_KEY), timeout=10
    )
    assert (too_many.status_code, too_many.json()["errors"][0]["field"]) == (400, "count")


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_pages_in_order_of_change_are_whole_while_nothing_changes(
    sandbox: SandboxMailchimp, client: Any, direction: str
) -> None:
    for number in range(30):
        sandbox.add_member(LIST, f"p{number}@example.org", last_changed=START - timedelta(hours=number % 7))
    read = []
    for offset in range(0, 30, 8):
        page = client.lists.get_list_members_info(
            LIST, count=8, offset=offset, sort_field="last_changed", sort_dir=direction
        )
        read += page["members"]
    changed = [member["last_changed"] for member in read]
    assert changed == sorted(changed, reverse=direction == "DESC")
    assert len({member["id"] for member in read}) == 30


def test_somebody_who_joins_between_two_pages_shifts_them(sandbox: SandboxMailchimp, client: Any) -> None:
    people = sorted((f"p{number}@example.org" for number in range(20)), key=subscriber_hash)
    for email in people[1:]:
        sandbox.add_member(LIST, email)
    first = emails(client.lists.get_list_members_info(LIST, count=10))
    sandbox.add_member(LIST, people[0])
    second = emails(client.lists.get_list_members_info(LIST, count=10, offset=10))
    assert set(first) & set(second) == {people[10]}


def test_time_bounds_are_exclusive_and_count_whole_seconds(sandbox: SandboxMailchimp, client: Any) -> None:
    for second in range(3):
        sandbox.add_member(LIST, f"s{second}@example.org", last_changed=START + timedelta(seconds=second))
    at = (START + timedelta(seconds=1)).isoformat()
    assert emails(client.lists.get_list_members_info(LIST, since_last_changed=at)) == ["s2@example.org"]
    assert emails(client.lists.get_list_members_info(LIST, before_last_changed=at)) == ["s0@example.org"]


def test_unsubscribed_since_needs_the_status(sandbox: SandboxMailchimp, client: Any) -> None:
    for email in ("early@example.org", "late@example.org"):
        sandbox.add_member(LIST, email)
        sandbox.unsubscribe(LIST, email)
        sandbox.advance(timedelta(hours=1))
    since = (START + timedelta(minutes=30)).isoformat()
    found = client.lists.get_list_members_info(LIST, status="unsubscribed", unsubscribed_since=since)
    assert emails(found) == ["late@example.org"]
    with refused(400, "Invalid Resource") as documents:
        client.lists.get_list_members_info(LIST, unsubscribed_since=since)
    assert documents[0]["errors"][0]["field"] == "unsubscribed_since"


def test_wrong_filters_are_refused_by_name(sandbox: SandboxMailchimp, client: Any) -> None:
    for wrong in (
        {"status": "gone"},
        {"sort_field": "email"},
        {"since_last_changed": "yesterday"},
        {"offset": -1},
    ):
        with refused(400, "Invalid Resource") as documents:
            client.lists.get_list_members_info(LIST, **wrong)
        assert [each["field"] for each in documents[0]["errors"]] == list(wrong)


def test_fields_and_exclude_fields_choose_what_is_shown(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, "ada@example.org", merge_fields={"FNAME": "Ada", "LNAME": "L"})
    chosen = client.lists.get_list_members_info(
        LIST, fields=["members.email_address", "members.merge_fields.FNAME"]
    )
    assert chosen == {"members": [{"email_address": "ada@example.org", "merge_fields": {"FNAME": "Ada"}}]}
    rest = client.lists.get_list_members_info(
        LIST, exclude_fields=["members._links", "members.stats", "_links"]
    )
    assert {"_links", "stats"}.isdisjoint(rest["members"][0])
    assert "_links" not in rest
    assert rest["total_items"] == 1
    assert client.lists.get_list_member(LIST, "ada@example.org", fields=["id"]) == {
        "id": subscriber_hash("ada@example.org")
    }


DOCUMENTS = st.recursive(
    st.integers(),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
PATHS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join), min_size=1, max_size=3
)


@given(document=st.dictionaries(st.sampled_from("abc"), DOCUMENTS, max_size=3), paths=PATHS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_excluded_and_what_is_kept_share_no_leaf(document: dict[str, Any], paths: list[str]) -> None:
    kept = set(leaves(Choice({"fields": ",".join(paths)}).trim(document)))
    rest = set(leaves(Choice({"exclude_fields": ",".join(paths)}).trim(document)))
    assert kept.isdisjoint(rest)
    assert kept | rest == set(leaves(document))


def leaves(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where the numbers are, by names; positions in lists count as no name."""
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in leaves(inner, (*at, name))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner, at)]
    return [at]


def test_statistics_may_be_five_minutes_old(sandbox: SandboxMailchimp, client: Any) -> None:
    assert client.lists.get_list(LIST)["stats"]["member_count"] == 0
    sandbox.add_member(LIST, "ada@example.org")
    sandbox.advance(timedelta(minutes=4))
    assert client.lists.get_list(LIST)["stats"]["member_count"] == 0
    sandbox.advance(timedelta(minutes=2))
    stats = client.lists.get_list(LIST, include_total_contacts="true")["stats"]
    assert (stats["member_count"], stats["total_contacts"]) == (1, 1)


def test_times_are_whole_seconds_in_utc(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.advance(timedelta(milliseconds=1700))
    member = client.lists.add_list_member(
        LIST,
        {
            "email_address": "ada@example.org",
            "status": "subscribed",
            "timestamp_opt": "2020-05-01T10:00:00+02:00",
            "timestamp_signup": "2020-05-01 07:00:00",
        },
    )
    assert datetime.fromisoformat(member["last_changed"]) == START + timedelta(seconds=1)
    assert member["timestamp_opt"] == "2020-05-01T08:00:00+00:00"
    assert member["timestamp_signup"] == "2020-05-01T07:00:00+00:00"


def test_accounts_do_not_see_each_other(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_account("f" * 32 + "-us2", account="other")
    sandbox.add_audience("other00001", "Other", account="other")
    assert [each["id"] for each in client.lists.get_all_lists()["lists"]] == [LIST]
    with refused(404, "Resource Not Found"):
        client.lists.get_list("other00001")
    with refused(404, "Resource Not Found"):
        client.lists.get_list("nosuchlist")
