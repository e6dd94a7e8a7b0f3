"""Tags, which are static segments: the silent cases above all."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.state import subscriber_hash
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST
from mc_pipeline_tests.sandbox.mailchimp.errors import refused

ADA = "ada@example.org"
ADA_ID = subscriber_hash(ADA)


@pytest.mark.off_contract
def test_tags_without_their_wrapper_are_accepted_and_do_nothing(sandbox: SandboxMailchimp) -> None:
    sandbox.add_member(LIST, ADA)
    url = f"{sandbox.api_url}/lists/{LIST}/members/{ADA_ID}/tags"
    for body in ({"name": "VIP", "status": "active"}, [{"name": "VIP", "status": "active"}]):
        answer = requests.post(url, json=body, auth=("anyone", DEFAULT_KEY), timeout=10)
        assert (answer.status_code, answer.content) == (204, b"")
    assert sandbox.tags(LIST, ADA) == []


def test_tags_come_and_go_whatever_their_case(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA)

    def send(*tags: tuple[str, str], **options: Any) -> None:
        body = {"tags": [{"name": name, "status": status} for name, status in tags], **options}
        client.lists.update_list_member_tags(LIST, ADA_ID, body)

    send(("vip customer", "active"), ("B2B", "active"), ("unknown", "inactive"))
    send(("VIP  Customer", "active"), ("b2b", "inactive"))
    assert sandbox.tags(LIST, ADA) == ["Vip customer"]
    shown = client.lists.get_list_member_tags(LIST, ADA_ID)
    assert [tag["name"] for tag in shown["tags"]] == ["Vip customer"]
    names = [tag["name"] for tag in client.lists.tag_search(LIST)["tags"]]
    assert names == ["Vip customer", "B2B"]
    assert [tag["name"] for tag in client.lists.tag_search(LIST, name="vip")["tags"]] == ["Vip customer"]


def test_a_member_shows_fifty_tags_and_the_tag_pages_all(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA, tags=[f"Tag {number}" for number in range(60)])
    member = client.lists.get_list_member(LIST, ADA_ID)
    assert (len(member["tags"]), member["tags_count"]) == (50, 60)
    page = client.lists.get_list_member_tags(LIST, ADA_ID, count=1000)
    assert (len(page["tags"]), page["total_items"]) == (60, 60)


def test_a_static_segment_takes_those_on_the_list_and_ignores_the_rest(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    for email, status in [
        (ADA, "subscribed"),
        ("b@example.org", "transactional"),
        ("c@example.org", "archived"),
    ]:
        sandbox.add_member(LIST, email, status)
    made = client.lists.create_segment(LIST, {"name": "B2B", "static_segment": []})
    answer = client.lists.batch_segment_members(
        {"members_to_add": [ADA.upper(), "b@example.org", "c@example.org", "stranger@example.org"]},
        LIST,
        made["id"],
    )
    assert (answer["total_added"], answer["errors"], answer["error_count"]) == (2, [], 0)
    assert sandbox.tags(LIST, ADA) == sandbox.tags(LIST, "b@example.org") == ["B2B"]
    assert sandbox.tags(LIST, "c@example.org") == []
    again = client.lists.batch_segment_members(
        {"members_to_add": [ADA], "members_to_remove": ["b@example.org"]}, LIST, made["id"]
    )
    assert (again["total_added"], again["total_removed"]) == (0, 1)


def test_a_segment_counts_subscribed_members_unless_asked_for_more(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    for status in ("subscribed", "transactional", "unsubscribed"):
        sandbox.add_member(LIST, f"{status}@example.org", status, tags=["B2B"])
    (segment,) = client.lists.list_segments(LIST, count=1000)["segments"]
    assert (segment["type"], segment["member_count"]) == ("static", 1)
    every = {"include_transactional": "true", "include_unsubscribed": "true"}
    assert client.lists.get_segment(LIST, segment["id"], **every)["member_count"] == 3
    assert client.lists.get_segment_members_list(LIST, segment["id"])["total_items"] == 1
    assert client.lists.get_segment_members_list(LIST, segment["id"], **every)["total_items"] == 3


def test_limits_and_names_of_segments(sandbox: SandboxMailchimp, client: Any) -> None:
    made = client.lists.create_segment(LIST, {"name": "big buyers", "static_segment": []})
    assert made["name"] == "Big buyers"
    with refused(400, "Invalid Resource"):
        client.lists.create_segment(LIST, {"name": "BIG BUYERS", "static_segment": []})
    with refused(400, "Invalid Resource"):
        client.lists.batch_segment_members(
            {"members_to_add": [f"p{number}@example.org" for number in range(501)]}, LIST, made["id"]
        )
    with refused(404):
        client.lists.get_segment(LIST, "999999")


def test_changing_and_deleting_a_segment_moves_its_members(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA, tags=["Old"])
    sandbox.add_member(LIST, "b@example.org")
    (segment,) = client.lists.list_segments(LIST)["segments"]
    changed = client.lists.update_segment(
        LIST, segment["id"], {"name": "New", "static_segment": ["b@example.org"]}
    )
    assert changed["name"] == "New"
    assert (sandbox.tags(LIST, ADA), sandbox.tags(LIST, "b@example.org")) == ([], ["New"])
    client.lists.create_segment_member(LIST, segment["id"], {"email_address": ADA})
    client.lists.remove_segment_member(LIST, segment["id"], subscriber_hash("b@example.org"))
    assert (sandbox.tags(LIST, ADA), sandbox.tags(LIST, "b@example.org")) == (["New"], [])
    client.lists.delete_segment(LIST, segment["id"])
    assert sandbox.tags(LIST, ADA) == []


def test_tag_automations_mail_subscribers_unless_it_is_a_first_load(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.audience(LIST).tag_automation = True
    for email, status in [(ADA, "subscribed"), ("b@example.org", "transactional")]:
        sandbox.add_member(LIST, email, status)
        for name, is_syncing in [("Loaded", True), ("Later", False)]:
            client.lists.update_list_member_tags(
                LIST,
                subscriber_hash(email),
                {"tags": [{"name": name, "status": "active"}], "is_syncing": is_syncing},
            )
    made = client.lists.create_segment(LIST, {"name": "Bulk", "static_segment": []})
    client.lists.batch_segment_members({"members_to_add": [ADA, "b@example.org"]}, LIST, made["id"])
    assert [(mail.kind, mail.email, mail.because) for mail in sandbox.mails] == [
        ("tag_automation", ADA, "tagged Later"),
        ("tag_automation", ADA, "tagged Bulk"),
    ]
