"""The status rules: who may become what, through which call, and who is mailed for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mc_pipeline.sandbox.mailchimp import ActRefusedError, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.state import subscriber_hash
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST, client_of
from mc_pipeline_tests.sandbox.mailchimp.errors import refused, status_of

ADA = "ada@example.org"
ADA_ID = subscriber_hash(ADA)


def put_in(sandbox: SandboxMailchimp, history: str) -> None:
    """Bring Ada to a state by the way that people and programs get there."""
    if history in ("subscribed", "transactional", "pending"):
        sandbox.add_member(LIST, ADA, history)
        return
    sandbox.add_member(LIST, ADA, "subscribed")
    if history == "unsubscribed by the person":
        sandbox.unsubscribe(LIST, ADA)
    elif history == "unsubscribed by an administrator":
        sandbox.unsubscribe_by_admin(LIST, ADA)
    elif history == "unsubscribed by the API":
        client_of(sandbox).lists.update_list_member(LIST, ADA_ID, {"status": "unsubscribed"})
    elif history == "complained":
        sandbox.complain(LIST, ADA)
    elif history == "bounced":
        sandbox.bounce_hard(LIST, ADA)
    elif history == "archived":
        sandbox.archive(LIST, ADA)
    elif history == "opted out and archived":
        sandbox.unsubscribe(LIST, ADA)
        sandbox.archive(LIST, ADA)
    elif history == "erased":
        sandbox.delete_permanently(LIST, ADA)


COMPLIANCE = "Member In Compliance State"


@pytest.mark.parametrize(
    ("history", "status", "outcome"),
    [
        ("transactional", "subscribed", "subscribed"),
        ("pending", "subscribed", "subscribed"),
        ("subscribed", "pending", "pending"),
        ("unsubscribed by the API", "subscribed", "subscribed"),
        ("unsubscribed by an administrator", "subscribed", "subscribed"),
        ("unsubscribed by the person", "subscribed", COMPLIANCE),
        ("complained", "subscribed", COMPLIANCE),
        ("bounced", "subscribed", COMPLIANCE),
        ("unsubscribed by the person", "pending", "pending"),
        ("complained", "pending", COMPLIANCE),
        ("bounced", "pending", COMPLIANCE),
        ("unsubscribed by the person", "unsubscribed", "unsubscribed"),
        ("archived", "subscribed", "subscribed"),
        ("opted out and archived", "subscribed", "subscribed"),
    ],
)
@pytest.mark.parametrize("call", ["PATCH", "PUT", "bulk", "batch"])
def test_a_status_sent_for_an_existing_member(
    sandbox: SandboxMailchimp, client: Any, history: str, status: str, outcome: str, call: str
) -> None:
    put_in(sandbox, history)
    before = sandbox.status(LIST, ADA)
    detail = (
        f"{ADA} is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be "
        "subscribed."
    )
    body = {"email_address": ADA, "status_if_new": status, "status": status}
    if call == "bulk":
        answer = client.lists.batch_list_members(
            LIST, {"members": [{"email_address": ADA, "status": status}], "update_existing": True}
        )
        errors = [(each["error"], each["error_code"], each["email_address"]) for each in answer["errors"]]
        assert errors == ([(detail, "ERROR_GENERIC", ADA)] if outcome == COMPLIANCE else [])
    elif call == "batch":
        client.batches.start(
            {
                "operations": [
                    {
                        "method": "PATCH",
                        "path": f"/lists/{LIST}/members/{ADA_ID}",
                        "body": f'{{"status": "{status}"}}',
                    }
                ]
            }
        )
        sandbox.run_batches()
        (inner,) = [entry for entry in sandbox.journal.requests if entry.batch_id]
        assert inner.status == (400 if outcome == COMPLIANCE else 200)
    elif outcome == COMPLIANCE:
        with refused(400, COMPLIANCE, detail):
            send_status(client, call, status, body)
    else:
        send_status(client, call, status, body)
    assert sandbox.status(LIST, ADA) == (before if outcome == COMPLIANCE else outcome)


def send_status(client: Any, call: str, status: str, body: dict[str, Any]) -> None:
    if call == "PATCH":
        client.lists.update_list_member(LIST, ADA_ID, {"status": status})
    else:
        client.lists.set_list_member(LIST, ADA_ID, body)


@pytest.mark.parametrize(
    ("history", "keeps"),
    [
        ("subscribed", "subscribed"),
        ("transactional", "transactional"),
        ("unsubscribed by the person", "unsubscribed"),
        ("bounced", "cleaned"),
    ],
)
def test_status_if_new_leaves_an_existing_member_alone(
    sandbox: SandboxMailchimp, client: Any, history: str, keeps: str
) -> None:
    put_in(sandbox, history)
    client.lists.set_list_member(LIST, ADA_ID, {"email_address": ADA, "status_if_new": "subscribed"})
    assert sandbox.status(LIST, ADA) == keeps


@pytest.mark.parametrize("call", ["PUT", "POST", "bulk"])
def test_careless_writes_bring_archived_people_back(
    sandbox: SandboxMailchimp, client: Any, call: str
) -> None:
    put_in(sandbox, "opted out and archived")
    if call == "PUT":
        client.lists.set_list_member(LIST, ADA_ID, {"email_address": ADA, "status_if_new": "subscribed"})
    elif call == "POST":
        client.lists.add_list_member(LIST, {"email_address": ADA, "status": "subscribed"})
    else:
        answer = client.lists.batch_list_members(
            LIST, {"members": [{"email_address": ADA, "status": "subscribed"}], "update_existing": False}
        )
        assert answer["total_created"] == 1
    assert sandbox.status(LIST, ADA) == "subscribed"


def test_fields_of_an_archived_member_change_without_bringing_them_back(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    put_in(sandbox, "archived")
    client.lists.update_list_member(LIST, ADA_ID, {"merge_fields": {"FNAME": "Ada"}})
    assert sandbox.status(LIST, ADA) == "archived"


def test_an_existing_member_cannot_be_made_transactional_by_patch(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    put_in(sandbox, "subscribed")
    with refused(400, "Invalid Resource") as documents:
        client.lists.update_list_member(LIST, ADA_ID, {"status": "transactional"})
    assert documents[0]["errors"][0]["field"] == "status"
    client.lists.set_list_member(
        LIST, ADA_ID, {"email_address": ADA, "status_if_new": "transactional", "status": "transactional"}
    )
    assert sandbox.status(LIST, ADA) == "transactional"


@pytest.mark.parametrize("history", ["subscribed", "unsubscribed by the person", "bounced"])
def test_adding_an_existing_member_is_refused(sandbox: SandboxMailchimp, client: Any, history: str) -> None:
    put_in(sandbox, history)
    with refused(400, "Member Exists", f"{ADA} is already a list member. Use PUT to insert or update"):
        client.lists.add_list_member(LIST, {"email_address": ADA, "status": "subscribed"})


@pytest.mark.parametrize(
    ("history", "code"), [("subscribed", 204), ("unsubscribed by the person", 204), ("transactional", 204)]
)
def test_archiving_hides_a_member_who_is_then_told_by_name(
    sandbox: SandboxMailchimp, client: Any, history: str, code: int
) -> None:
    put_in(sandbox, history)
    assert status_of(lambda: client.lists.delete_list_member(LIST, ADA_ID)) == code
    assert client.lists.get_list_member(LIST, ADA_ID)["status"] == "archived"
    assert client.lists.get_list_members_info(LIST)["total_items"] == 0
    assert client.lists.get_list_members_info(LIST, status="archived")["total_items"] == 1


@pytest.mark.parametrize("history", ["bounced", "pending", "archived"])
def test_bounced_pending_and_archived_members_cannot_be_archived(
    sandbox: SandboxMailchimp, client: Any, history: str
) -> None:
    put_in(sandbox, history)
    with refused(405, "Method Not Allowed", "bounced, pending or archived"):
        client.lists.delete_list_member(LIST, ADA_ID)


def test_an_erased_member_is_gone_and_never_comes_back_through_the_api(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    put_in(sandbox, "subscribed")
    assert status_of(lambda: client.lists.delete_list_member_permanent(LIST, ADA_ID)) == 204
    with refused(404, "Resource Not Found"):
        client.lists.get_list_member(LIST, ADA_ID)
    for status in ("subscribed", "pending", "transactional", "unsubscribed"):
        with refused(400, "Forgotten Email Not Subscribed", "was permanently deleted") as documents:
            client.lists.add_list_member(LIST, {"email_address": ADA.upper(), "status": status})
        assert "type" not in documents[0]
    answer = client.lists.batch_list_members(
        LIST, {"members": [{"email_address": ADA, "status": "transactional"}]}
    )
    assert answer["errors"][0]["error"].startswith(f"{ADA} was permanently deleted")
    sandbox.sign_up(LIST, ADA)
    assert sandbox.status(LIST, ADA) == "subscribed"


# --- the bulk call ----------------------------------------------------------------------------------


def bulk(client: Any, *members: dict[str, Any], **options: Any) -> dict[str, Any]:
    query = {
        name: options.pop(name)
        for name in ("skip_duplicate_check", "skip_merge_validation")
        if name in options
    }
    answer: dict[str, Any] = client.lists.batch_list_members(
        LIST, {"members": list(members), **options}, **query
    )
    return answer


def test_a_full_plan_takes_nobody_new_and_an_unlisted_address_exists_for_creations_alone(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.add_member(LIST, "old@example.org")
    sandbox.list_nowhere("ghost@example.org")

    def errors(*emails: str) -> dict[str, str]:
        members = [{"email_address": email, "status": "transactional"} for email in emails]
        return {each["email_address"]: each["error"] for each in bulk(client, *members)["errors"]}

    assert "already a list member" in errors("ghost@example.org")["ghost@example.org"]
    assert status_of(lambda: client.lists.get_list_member(LIST, "ghost@example.org")) == 404
    sandbox.limit_contacts(2)
    assert list(errors("new@example.org", ADA)) == [ADA]
    assert "contact limit" in errors(ADA)[ADA]
    client.lists.update_list_member(LIST, "old@example.org", {"merge_fields": {"FNAME": "Old"}})
    sandbox.archive(LIST, "old@example.org")
    sandbox.list_again("ghost@example.org")
    assert errors("ghost@example.org") == {}
    sandbox.limit_contacts(None)
    assert errors(ADA) == {}


def test_a_member_at_fault_stops_no_other(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, "old@example.org")
    sandbox.take_for_fake("fake@example.org")
    sandbox.refuse_signups("busy@example.org")
    answer = bulk(
        client,
        *(
            {"email_address": email, "status": "transactional"}
            for email in ("OLD@example.org", "nobody@", "fake@example.org", "busy@example.org", ADA)
        ),
    )
    assert [each["email_address"] for each in answer["new_members"]] == [ADA]
    assert (answer["total_created"], answer["total_updated"], answer["error_count"]) == (1, 0, 4)
    assert {each["email_address"]: each["error_code"] for each in answer["errors"]} == {
        "OLD@example.org": "ERROR_CONTACT_EXISTS",
        "nobody@": "ERROR_GENERIC",
        "fake@example.org": "ERROR_GENERIC",
        "busy@example.org": "ERROR_GENERIC",
    }
    texts = [each["error"] for each in answer["errors"]]
    assert texts[1] == "Please provide a valid email address."
    assert texts[2] == "fake@example.org looks fake or invalid, please enter a real email address."
    assert "has signed up to a lot of lists very recently; we're not allowing more signups" in texts[3]
    sandbox.allow_signups("busy@example.org")
    assert (
        bulk(client, {"email_address": "busy@example.org", "status": "transactional"})["total_created"] == 1
    )


def test_the_bulk_call_names_the_field_at_fault(sandbox: SandboxMailchimp, client: Any) -> None:
    client.lists.add_list_merge_field(LIST, {"tag": "LTV", "name": "Value", "type": "number"})
    answer = bulk(client, {"email_address": ADA, "status": "transactional", "merge_fields": {"LTV": "much"}})
    assert answer["errors"] == [
        {
            "email_address": ADA,
            "error": "Your merge fields were invalid.",
            "error_code": "ERROR_GENERIC",
            "field": "LTV",
            "field_message": "Please enter a number",
        }
    ]
    assert sandbox.status(LIST, ADA) is None


def test_an_address_twice_in_a_call_is_refused_or_the_first_wins(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    twice = [
        {"email_address": ADA, "status": "transactional"},
        {"email_address": ADA.upper(), "status": "subscribed"},
    ]
    assert bulk(client, *twice)["error_count"] == 2
    assert sandbox.status(LIST, ADA) is None
    answer = bulk(client, *twice, skip_duplicate_check="true")
    assert (answer["total_created"], answer["error_count"]) == (1, 0)
    assert sandbox.status(LIST, ADA) == "transactional"


def test_more_than_500_members_in_a_call_are_refused_whole(sandbox: SandboxMailchimp, client: Any) -> None:
    people = [{"email_address": f"p{n}@example.org", "status": "transactional"} for n in range(501)]
    with refused(400, "Invalid Resource"):
        bulk(client, *people)
    assert not sandbox.statuses(LIST)
    assert bulk(client, *people[:500])["total_created"] == 500


def test_one_wrong_type_refuses_the_whole_call(sandbox: SandboxMailchimp, client: Any) -> None:
    with refused(400, "Invalid Resource") as documents:
        bulk(
            client,
            {"email_address": ADA, "status": "transactional"},
            {"email_address": "b@example.org", "status": "archived"},
        )
    assert documents[0]["errors"][0]["field"] == "members.1.status"
    assert not sandbox.statuses(LIST)


def test_tags_in_a_bulk_call_are_not_applied_unless_they_replace_all(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.add_member(LIST, "old@example.org", tags=["Kept by hand"])
    bulk(client, {"email_address": ADA, "status": "transactional", "tags": ["VIP"]})
    assert sandbox.tags(LIST, ADA) == []
    bulk(client, {"email_address": "old@example.org", "tags": ["VIP"]}, update_existing=True, sync_tags=True)
    assert sandbox.tags(LIST, "old@example.org") == ["VIP"]


# --- e-mail addresses -------------------------------------------------------------------------------


def test_a_new_address_keeps_the_contact_and_changes_the_hash(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA, tags=["VIP"])
    before = client.lists.get_list_member(LIST, ADA_ID)
    after = client.lists.update_list_member(LIST, ADA_ID, {"email_address": "lovelace@example.org"})
    assert after["id"] == subscriber_hash("lovelace@example.org") != before["id"]
    assert (after["contact_id"], after["tags"]) == (before["contact_id"], before["tags"])
    with refused(404):
        client.lists.get_list_member(LIST, ADA_ID)
    assert client.lists.get_list_member(LIST, before["contact_id"])["id"] == after["id"]


@pytest.mark.parametrize("status", ["subscribed", "unsubscribed", "cleaned", "archived"])
def test_a_used_address_cannot_be_taken_over(sandbox: SandboxMailchimp, client: Any, status: str) -> None:
    sandbox.add_member(LIST, ADA)
    sandbox.add_member(LIST, "taken@example.org", status)
    with refused(400, "Member Exists", "taken@example.org is already a list member"):
        client.lists.update_list_member(
            LIST, ADA_ID, {"email_address": "taken@example.org", "merge_fields": {"FNAME": "A"}}
        )
    assert client.lists.get_list_member(LIST, ADA_ID)["merge_fields"]["FNAME"] == ""


def test_a_member_is_found_by_hash_address_and_contact_id(sandbox: SandboxMailchimp, client: Any) -> None:
    contact_id = sandbox.add_member(LIST, ADA).contact_id
    found = {client.lists.get_list_member(LIST, key)["id"] for key in (ADA_ID, ADA.upper(), contact_id)}
    assert found == {ADA_ID}


# --- mails ------------------------------------------------------------------------------------------


def test_who_is_mailed_and_why(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.audience(LIST).welcome_automation = True
    for status, expected in [
        ("transactional", []),
        ("unsubscribed", []),
        ("subscribed", ["welcome"]),
        ("pending", ["confirmation"]),
    ]:
        sandbox.mails.clear()
        bulk(client, {"email_address": f"{status}@example.org", "status": status})
        assert [mail.kind for mail in sandbox.mails] == expected, status
    sandbox.mails.clear()
    sandbox.unsubscribe(LIST, "subscribed@example.org")
    client.lists.update_list_member(LIST, subscriber_hash("subscribed@example.org"), {"status": "pending"})
    assert [(mail.kind, mail.email) for mail in sandbox.mails] == [("confirmation", "subscribed@example.org")]


def test_a_double_opt_in_form_asks_and_the_api_does_not(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.audience(LIST).double_optin = True
    bulk(client, {"email_address": "api@example.org", "status": "subscribed"})
    sandbox.sign_up(LIST, "form@example.org")
    assert sandbox.statuses(LIST) == {"api@example.org": "subscribed", "form@example.org": "pending"}
    sandbox.confirm(LIST, "form@example.org")
    assert sandbox.status(LIST, "form@example.org") == "subscribed"
    assert client.lists.get_list(LIST)["double_optin"] is True


def test_people_who_never_confirm_lapse_after_sixty_days(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA, "pending")
    sandbox.advance(timedelta(days=59))
    assert client.lists.get_list_members_info(LIST)["total_items"] == 1
    sandbox.advance(timedelta(days=2))
    with refused(404):
        client.lists.get_list_member(LIST, ADA_ID)


# --- what people do ---------------------------------------------------------------------------------


def test_the_api_does_not_tell_an_administrators_opt_out_from_its_own(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    reasons = {}
    for who, act in [
        ("person", lambda email: sandbox.unsubscribe(LIST, email, "Too many mails")),
        ("admin", lambda email: sandbox.unsubscribe_by_admin(LIST, email)),
        (
            "api",
            lambda email: client.lists.update_list_member(
                LIST, subscriber_hash(email), {"status": "unsubscribed"}
            ),
        ),
    ]:
        email = f"{who}@example.org"
        sandbox.add_member(LIST, email)
        act(email)
        reasons[who] = client.lists.get_list_member(LIST, email)["unsubscribe_reason"]
        (event,) = client.lists.get_list_member_activity_feed(LIST, email)["activity"]
        assert (event["activity_type"], event["is_admin_unsubscribed"]) == ("unsub", who != "person")
    assert reasons["person"] == "Too many mails"
    assert reasons["admin"] == reasons["api"]


def test_a_complaint_is_an_opt_out_with_an_abuse_report(sandbox: SandboxMailchimp, client: Any) -> None:
    put_in(sandbox, "complained")
    assert sandbox.status(LIST, ADA) == "unsubscribed"
    (report,) = client.lists.get_list_abuse_reports(LIST)["abuse_reports"]
    assert (report["email_address"], report["email_id"]) == (ADA, ADA_ID)
    assert client.lists.get_list_abuse_report_details(LIST, report["id"])["date"] == report["date"]


def test_what_people_do_is_in_the_journal_apart_from_requests(sandbox: SandboxMailchimp) -> None:
    sandbox.add_member(LIST, ADA)
    sandbox.unsubscribe(LIST, ADA)
    sandbox.sign_up(LIST, ADA)
    sandbox.edit_field(LIST, ADA, "FNAME", "Ada", by="person")
    sandbox.archive(LIST, ADA)
    assert [(act.source, act.action) for act in sandbox.journal.acts] == [
        ("person", "unsubscribe"),
        ("person", "sign_up"),
        ("person", "edit_field"),
        ("admin", "archive"),
    ]
    assert sandbox.journal.acts[0].body == {"list_id": LIST, "email": ADA, "reason": ""}
    assert sandbox.journal.requests == []


def test_an_act_that_makes_no_sense_says_so(sandbox: SandboxMailchimp) -> None:
    with pytest.raises(ActRefusedError, match="no member with this address"):
        sandbox.unsubscribe(LIST, ADA)
    put_in(sandbox, "bounced")
    with pytest.raises(ActRefusedError, match="this member is cleaned"):
        sandbox.unsubscribe(LIST, ADA)
    with pytest.raises(ActRefusedError, match="no merge field NOPE"):
        sandbox.edit_field(LIST, ADA, "NOPE", "x")


def test_the_activity_feed_says_how_somebody_came_back(sandbox: SandboxMailchimp, client: Any) -> None:
    sandbox.add_member(LIST, ADA, "unsubscribed", opted_out_by="admin")
    sandbox.subscribe_by_admin(LIST, ADA)
    sandbox.unsubscribe(LIST, ADA)
    sandbox.sign_up(LIST, ADA)
    feed = client.lists.get_list_member_activity_feed(LIST, ADA, activity_filters=["generic_signup"])
    assert [event["signup_category"] for event in feed["activity"]] == ["Hosted Signup Form", "Admin Add"]


@pytest.mark.parametrize("history", ["unsubscribed by the person", "complained", "bounced"])
def test_an_administrator_subscribes_nobody_who_opted_out_themselves(
    sandbox: SandboxMailchimp, history: str
) -> None:
    put_in(sandbox, history)
    before = sandbox.status(LIST, ADA)
    with pytest.raises(ActRefusedError, match="compliance state"):
        sandbox.subscribe_by_admin(LIST, ADA)
    assert sandbox.status(LIST, ADA) == before
