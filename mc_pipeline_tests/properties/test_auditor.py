"""The auditor is no witness who never saw anything: every invariant broken in a forged journal is noticed."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from typing import Any

import pytest

from mc_pipeline.sandbox.journal import Journal, JournalEntry
from mc_pipeline_tests.properties.auditor import (
    Approval,
    Erasure,
    Facts,
    RunMark,
    Story,
    audit,
    standing_withdrawals,
)

pytestmark = pytest.mark.quick

WHOLESALE, RETAIL = "wholesale1", "retail1"
ANN, BEN, FAY = "ann@example.com", "ben@example.com", "fay@example.com"
FACTS = Facts(routes={ANN: WHOLESALE, BEN: RETAIL, FAY: RETAIL}, consented=frozenset({ANN, BEN, FAY}))


class Forgery:
    """Writes journals by hand. Fay unsubscribed from retail before the story began."""

    def __init__(self) -> None:
        self.mailchimp, self.odoo = Journal(), Journal()
        self.story = Story(
            lists=frozenset({WHOLESALE, RETAIL}),
            members={(RETAIL, FAY): "unsubscribed"},
            upgrading=frozenset({WHOLESALE}),
            approvals=[Approval(0, frozenset({WHOLESALE, RETAIL}))],
            permissions={"p1": "Email", "p2": "Email"},
        )

    def run(self, facts: Facts = FACTS, **marks: Any) -> None:
        mark = RunMark(self.mailchimp.last_number + 1, facts, last=10**9, observed=True, **marks)
        self.story.runs.append(mark)

    def send(self, method: str, path: str, body: Any = None, **facts: Any) -> JournalEntry:
        raw = b"" if body is None else json.dumps(body).encode()
        return self.mailchimp.record(method, f"/3.0{path}", raw_body=raw, status=200, **facts)

    def create(self, list_id: str, email: str, status: str = "transactional", **more: Any) -> None:
        self.send(
            "POST", f"/lists/{list_id}", {"members": [{"email_address": email, "status": status}], **more}
        )

    def change(self, list_id: str, email: str, **body: Any) -> None:
        self.send("PATCH", _member(list_id, email), body)

    def act(self, action: str, list_id: str, email: str, **details: Any) -> None:
        details = {"list_id": list_id, "email": email, **details}
        self.mailchimp.act("person", action, f"/lists/{list_id}", details)

    def call_odoo(self, model: str, method: str, *args: Any) -> None:
        call = {
            "service": "object",
            "method": "execute_kw",
            "args": ["sandbox", 2, "***", model, method, list(args)],
        }
        self.odoo.record("POST", "/jsonrpc", raw_body=json.dumps({"params": call}).encode())

    def broken(self) -> list[str]:
        found = audit(self.mailchimp.entries, self.odoo.entries, self.story)
        return sorted({violation.invariant for violation in found})


def _member(list_id: str, email: str) -> str:
    return f"/lists/{list_id}/members/{md5(email.encode(), usedforsecurity=False).hexdigest()}"


def test_a_story_in_which_all_is_well_has_no_violation():
    story = Forgery()
    story.run()
    story.send("GET", f"/lists/{RETAIL}/members")
    story.create(WHOLESALE, ANN, "subscribed", update_existing=False)
    story.create(RETAIL, BEN)
    story.change(RETAIL, FAY, merge_fields={"FNAME": "Fay"})
    story.send("POST", f"{_member(RETAIL, BEN)}/tags", {"tags": [{"name": "B2C", "status": "active"}]})
    story.run(replace(FACTS, routes={ANN: WHOLESALE}))
    story.send("DELETE", _member(RETAIL, BEN))
    story.run()
    story.create(RETAIL, BEN)
    story.odoo.act("person", "blacklist", "mail.blacklist", {"email": BEN})
    story.run()
    story.change(RETAIL, BEN, status="unsubscribed")
    story.send("PATCH", f"/ecommerce/stores/s/customers/{ANN}", {"opt_in_status": False})
    story.run(unchanged=True)
    story.send("GET", f"/lists/{RETAIL}/members")
    assert story.broken() == []


def test_the_one_upgrade_that_is_allowed_is_no_violation():
    story = Forgery()
    story.run()
    story.create(WHOLESALE, ANN)
    story.run()
    story.change(WHOLESALE, ANN, status="subscribed", timestamp_opt="2026-05-04T10:00:00+00:00")
    assert story.broken() == []


def _somewhere(action: str, list_id: str) -> Callable[[Forgery], None]:
    """Ben has a past in an audience; in a later run he is created as subscribed in retail."""

    def story(forged: Forgery) -> None:
        forged.act("sign_up", list_id, BEN)
        forged.run()
        forged.act(action, list_id, BEN)
        forged.run()
        forged.create(RETAIL if list_id == WHOLESALE else WHOLESALE, BEN, "subscribed")

    return story


def _blacklisted(forged: Forgery) -> None:
    forged.odoo.act("person", "blacklist", "mail.blacklist", {"email": BEN})
    forged.run()
    forged.create(RETAIL, BEN, "pending")


def _opted_out_long_ago(forged: Forgery) -> None:
    forged.run()
    forged.act("sign_up", RETAIL, FAY)
    forged.run()
    forged.create(WHOLESALE, FAY, "subscribed")


def _in_a_batch(forged: Forgery) -> None:
    forged.run()
    body = json.dumps({"status": "subscribed"})
    operation = {"method": "PATCH", "path": _member(RETAIL, FAY), "body": body, "operation_id": "1"}
    forged.send("POST", "/batches", {"operations": [operation]})


def _upgrade(**past: Any) -> Callable[[Forgery], None]:
    def story(forged: Forgery) -> None:
        list_id = past.get("list_id", WHOLESALE)
        facts = replace(FACTS, routes={ANN: list_id})
        forged.run(facts)
        if past.get("by_us", True):
            forged.create(list_id, ANN)
        else:
            forged.story.members = {(list_id, ANN): "transactional"}
        forged.run(replace(facts, consented=past.get("consented", facts.consented)))
        forged.change(list_id, ANN, status="subscribed")

    return story


def _renamed_into_an_opt_out(forged: Forgery) -> None:
    forged.run()
    forged.create(RETAIL, BEN, "subscribed")
    forged.run()
    forged.change(RETAIL, BEN, email_address=FAY)


def _comes_back(by: str, status: str) -> Callable[[Forgery], None]:
    def story(forged: Forgery) -> None:
        forged.run()
        forged.create(RETAIL, BEN)
        if by == "us":
            forged.send("DELETE", _member(RETAIL, BEN))
        else:
            forged.act("archive", RETAIL, BEN)
        forged.run()
        forged.create(RETAIL, BEN, status)

    return story


def _erased(forged: Forgery) -> None:
    forged.run()
    forged.create(RETAIL, BEN)
    forged.run()
    forged.act("delete_permanently", RETAIL, BEN)
    forged.run()
    forged.create(RETAIL, BEN)


def _one(method: str, path: str, body: Any = None) -> Callable[[Forgery], None]:
    def story(forged: Forgery) -> None:
        forged.run()
        forged.send(method, path, body)

    return story


def _created(
    list_id: str, email: str, status: str = "transactional", **facts: Any
) -> Callable[[Forgery], None]:
    def story(forged: Forgery) -> None:
        forged.run(replace(FACTS, **facts))
        forged.create(list_id, email, status)

    return story


def _before_the_approval(method: str, path: str, body: Any) -> Callable[[Forgery], None]:
    def story(forged: Forgery) -> None:
        forged.story.approvals = [Approval(0, frozenset({WHOLESALE}))]
        forged.run()
        forged.send(method, path, body)

    return story


def _too_early(forged: Forgery) -> None:
    forged.story.approvals = [Approval(2, frozenset({RETAIL}))]
    forged.run()
    forged.create(RETAIL, BEN)


def _again(forged: Forgery) -> None:
    forged.run()
    forged.create(RETAIL, BEN)
    forged.run(unchanged=True)
    forged.change(RETAIL, BEN, merge_fields={"FNAME": "Ben"})


def _past_the_confirmation(forged: Forgery) -> None:
    forged.story.double_optin = frozenset({RETAIL})
    forged.run()
    forged.create(RETAIL, BEN, "subscribed")


def _call(model: str, method: str, *args: Any) -> Callable[[Forgery], None]:
    return lambda forged: forged.call_odoo(model, method, *args)


def _call_within_company(model: str, method: str, *args: Any) -> Callable[[Forgery], None]:
    def forge(forged: Forgery) -> None:
        forged.story.company_fields = frozenset({"x_newsletter"})
        forged.call_odoo(model, method, *args)

    return forge


def _by_json2(forged: Forgery) -> None:
    body = json.dumps({"ids": [7], "vals": {"name": "Ben"}}).encode()
    forged.odoo.record("POST", "/json/2/res.partner/write", raw_body=body)


def _lifted(*acts: Callable[[Forgery], object]) -> Callable[[Forgery], None]:
    """Row 4 is Fay's; we made it, unless a user did so first or wrote it since."""

    def forge(forged: Forgery) -> None:
        forged.story.blacklist = {4: FAY}
        for act in acts:
            act(forged)
        forged.call_odoo("mail.blacklist", "write", [4], {"active": False})

    return forge


def _made_by_us(forged: Forgery) -> None:
    forged.call_odoo("mail.blacklist", "create", [{"email": FAY}])


def _made_by_a_user(forged: Forgery) -> None:
    forged.odoo.act("person", "blacklist", "mail.blacklist", {"email": FAY})


def _comes_back_herself(forged: Forgery) -> None:
    forged.act("sign_up", RETAIL, FAY)


def _brought_back(forged: Forgery) -> None:
    details = {"list_id": RETAIL, "email": FAY}
    forged.mailchimp.act("admin", "subscribe", f"/lists/{RETAIL}", details)


def _leaves_again(forged: Forgery) -> None:
    forged.act("unsubscribe", WHOLESALE, FAY)


def _unsubscribed_by_us(forged: Forgery) -> None:
    """Ben was unsubscribed by nobody but us: that makes no row."""
    forged.odoo.act("person", "blacklist", "mail.blacklist", {"email": BEN})
    forged.run()
    forged.create(RETAIL, BEN)
    forged.change(RETAIL, BEN, status="unsubscribed")
    forged.odoo.act("person", "unblacklist", "mail.blacklist", {"email": BEN})
    forged.story.blacklist = {5: BEN}
    forged.call_odoo("mail.blacklist", "write", [5], {"active": True})


def _quiet_run_writes_to_odoo(forged: Forgery) -> None:
    forged.run(unchanged=True, last_in_odoo=10**9)
    _made_by_us(forged)


NOTE = {"model": "mail.blacklist", "res_id": 4, "body": "<p>why</p>", "message_type": "notification"}
ASKED = replace(FACTS, evidence={BEN: frozenset({("mailing.subscription", 3)})}, addresses={7: BEN})


def _asked_again(forged: Forgery) -> None:
    """Ben has confirmed and left the audience for good; his address is asked once more."""
    forged.run(ASKED)
    forged.create(RETAIL, ANN)
    forged.run(ASKED)
    forged.create(RETAIL, BEN, "pending")
    forged.run(ASKED)
    forged.create(WHOLESALE, BEN, "pending")


def _asked_in_a_first_load(forged: Forgery) -> None:
    forged.run(ASKED)
    forged.create(RETAIL, BEN, "pending")


def _asked_too_often(forged: Forgery) -> None:
    forged.story.confirmations = {RETAIL: 1}
    forged.run(ASKED)
    forged.create(RETAIL, FAY)
    forged.run(ASKED)
    forged.create(RETAIL, BEN, "pending")
    forged.create(RETAIL, ANN, "pending")


def _permit(forged: Forgery, email: str) -> None:
    forged.change(RETAIL, email, marketing_permissions=[{"marketing_permission_id": "p1", "enabled": True}])


def _permitted_twice(forged: Forgery) -> None:
    """The answer to the first was lost, and the person may have taken it back since."""
    for _ in range(2):
        forged.run(ASKED)
        _permit(forged, BEN)


def _permitted_after_taking_it_back(forged: Forgery) -> None:
    """Taken back in another audience, where the same purpose has an id of its own."""
    forged.run(ASKED)
    forged.act("withdraw_permission", WHOLESALE, BEN, permission="p2")
    forged.run(ASKED)
    _permit(forged, BEN)


def _permitted_after_an_opt_out(forged: Forgery) -> None:
    forged.run(ASKED)
    _permit(forged, FAY)


def _subscribed_under_a_new_address(forged: Forgery) -> None:
    """Fay, who unsubscribed, is partner 8; then partner 8 has another address."""
    forged.run(replace(ASKED, addresses={8: FAY}), read_partners=True)
    forged.run(replace(ASKED, addresses={8: BEN}), read_partners=True)
    forged.run(replace(ASKED, addresses={8: BEN}), read_partners=True)
    forged.create(RETAIL, BEN, "subscribed")


def _written_after_an_erasure(forged: Forgery) -> None:
    forged.story.erasures = [Erasure(0, 0, frozenset({BEN}))]
    forged.run(ASKED)
    forged.create(RETAIL, BEN)


def _subscribed_on_evidence_from_before_an_erasure(forged: Forgery) -> None:
    """The erased partner has another address by now, and so has the record of the consent."""
    forged.story.erasures = [
        Erasure(0, 0, frozenset({FAY}), frozenset({7}), frozenset({("mailing.subscription", 3)}))
    ]
    forged.run(ASKED)
    forged.create(RETAIL, BEN, "subscribed")


OPTED_OUT = "nobody who opted out is subscribed"
STATUS = "the status of a member is not sent"
APPROVAL = "nothing but opt-outs before an approval"
ODOO = "nothing but opt-outs is written to Odoo"
NO_OPT_OUT = "nobody is opted out in Odoo without an opt-out"
NOT_OURS = "only rows that we made are lifted"
NO_RETURN = "nobody is lifted who did not come back by their own act"
LEAK = "nobody leaks into an audience"
NEVER = "nothing is sent about users, employees and suppliers"
CREATIONS = "creations cannot touch members"
OPT_IN = "e-commerce never opts in"
NO_CONSENT = "nobody is subscribed without dated consent"


def _create(email: str, **body: Any) -> Callable[[Forgery], None]:
    """One creation in retail, with more in its body."""

    def story(forged: Forgery) -> None:
        forged.run()
        forged.create(RETAIL, email, **body)

    return story


def _fields_of_an_employee(forged: Forgery) -> None:
    forged.run(replace(FACTS, never=frozenset({FAY})))
    forged.change(RETAIL, FAY, merge_fields={"FNAME": "F"})


FAYS, BENS = _member(RETAIL, FAY), _member(RETAIL, BEN)
NOBODY: frozenset[str] = frozenset()
NEW_BEN = {"members": [{"email_address": BEN, "status": "transactional"}]}
ARCHIVING = {"operations": [{"method": "DELETE", "path": FAYS}]}

FORGERIES: dict[str, tuple[str, Callable[[Forgery], None]]] = {
    "unsubscribed elsewhere": (OPTED_OUT, _somewhere("unsubscribe", WHOLESALE)),
    "complained elsewhere": (OPTED_OUT, _somewhere("complain", WHOLESALE)),
    "bounced elsewhere": (OPTED_OUT, _somewhere("bounce_hard", WHOLESALE)),
    "archived elsewhere": (OPTED_OUT, _somewhere("archive", WHOLESALE)),
    "erased elsewhere": (OPTED_OUT, _somewhere("delete_permanently", WHOLESALE)),
    "on Odoo's blacklist": (OPTED_OUT, _blacklisted),
    "opted out long ago": (OPTED_OUT, _opted_out_long_ago),
    "inside a batch": (OPTED_OUT, _in_a_batch),
    "renamed into an opt-out": (OPTED_OUT, _renamed_into_an_opt_out),
    "subscribed without consent": (NO_CONSENT, _created(RETAIL, BEN, "subscribed", consented=NOBODY)),
    "double opt-in": ("nobody is subscribed past the confirmation of the audience", _past_the_confirmation),
    "PUT on a member": ("no PUT on members", _one("PUT", BENS, {"status_if_new": "transactional"})),
    "erased by us": ("nobody is erased", _one("POST", f"{FAYS}/actions/delete-permanent")),
    "update_existing": (CREATIONS, _create(BEN, update_existing=True)),
    "update_existing null": (CREATIONS, _create(BEN, update_existing=None)),
    "single creation": (CREATIONS, _one("POST", f"/lists/{RETAIL}/members", {"email_address": BEN})),
    "sync_tags": ("creations replace no tags", _create(BEN, sync_tags=True)),
    "opting in by a customer": (
        OPT_IN,
        _one("PUT", "/ecommerce/stores/s/customers/1", {"opt_in_status": True}),
    ),
    "opting in by an order": (
        OPT_IN,
        _one("POST", "/ecommerce/stores/s/orders", {"customer": {"opt_in_status": None}}),
    ),
    "upgrade of a stranger": (STATUS, _upgrade(by_us=False)),
    "upgrade without the setting": (STATUS, _upgrade(list_id=RETAIL)),
    "upgrade without consent": (STATUS, _upgrade(consented=NOBODY)),
    "another status": (STATUS, _one("PATCH", FAYS, {"status": "cleaned"})),
    "creation of a member": (STATUS, _create(FAY)),
    "unsubscribed without cause": (
        "nobody is unsubscribed without an opt-out",
        _one("PATCH", FAYS, {"status": "unsubscribed"}),
    ),
    "archived by somebody else": (
        "nobody who was archived by somebody else comes back",
        _comes_back("them", "transactional"),
    ),
    "archived by us, subscribed": (
        "who was archived by us comes back as transactional",
        _comes_back("us", "subscribed"),
    ),
    "erased and created again": ("nobody who was erased is created again", _erased),
    "wrong audience": (LEAK, _created(WHOLESALE, BEN)),
    "no audience at all": (LEAK, _created(RETAIL, BEN, routes={})),
    "renamed into an audience": (LEAK, _one("PATCH", FAYS, {"email_address": "x@example.com"})),
    "an employee": (NEVER, _created(RETAIL, BEN, never=frozenset({BEN}))),
    "fields of an employee": (NEVER, _fields_of_an_employee),
    "created before the approval": (APPROVAL, _before_the_approval("POST", f"/lists/{RETAIL}", NEW_BEN)),
    "merge field before the approval": (
        APPROVAL,
        _before_the_approval("POST", f"/lists/{RETAIL}/merge-fields", {"tag": "SPENT"}),
    ),
    "batch before the approval": (APPROVAL, _before_the_approval("POST", "/batches", ARCHIVING)),
    "before the moment of approval": (APPROVAL, _too_early),
    "somebody else's audience": (
        "an audience that is nobody's is left alone",
        _one("POST", "/lists/foreign1/segments", {"name": "x"}),
    ),
    "a run without changes": ("a run without changes writes nothing", _again),
    "a partner is written": (ODOO, _call("res.partner", "write", [7], {"name": "Ben"})),
    "a partner is written by JSON-2": (ODOO, _by_json2),
    "another field of the blacklist": (ODOO, _call("mail.blacklist", "write", [4], {"email": BEN})),
    "a row is deleted": (ODOO, _call("mail.blacklist", "unlink", [4])),
    "a mailing list": (ODOO, _call("mailing.subscription", "write", [3], {"opt_out": True})),
    "a note about a partner": (ODOO, _call("mail.message", "create", [NOTE | {"model": "res.partner"}])),
    "a note with an address": (ODOO, _call("mail.message", "create", [NOTE | {"body": f"<p>{BEN}</p>"}])),
    "a message that is no note": (
        ODOO,
        _call("mail.message", "create", [NOTE | {"message_type": "comment"}]),
    ),
    "a message to somebody": (ODOO, _call("mail.message", "create", [NOTE | {"partner_ids": [7]}])),
    "a note about the blacklist, within a company": (
        ODOO,
        _call_within_company("mail.message", "create", [NOTE]),
    ),
    "a row for nobody's opt-out": (NO_OPT_OUT, _call("mail.blacklist", "create", [{"email": BEN}])),
    "a row for our own opt-out": (NO_OPT_OUT, _unsubscribed_by_us),
    "a user's row lifted": (NOT_OURS, _lifted(_made_by_a_user, _comes_back_herself)),
    "a row lifted that a user made again": (
        NOT_OURS,
        _lifted(_made_by_us, _comes_back_herself, _made_by_a_user),
    ),
    "lifted for nobody's act": (NO_RETURN, _lifted(_made_by_us)),
    "lifted for an administrator's act": (NO_RETURN, _lifted(_made_by_us, _brought_back)),
    "lifted after leaving again": (NO_RETURN, _lifted(_made_by_us, _comes_back_herself, _leaves_again)),
    "a write to Odoo in a run without changes": (
        "a run without changes writes nothing",
        _quiet_run_writes_to_odoo,
    ),
    "the blacklist, within a company": (
        ODOO,
        _call_within_company("mail.blacklist", "create", [{"email": FAY}]),
    ),
    "opted in, within a company": (
        ODOO,
        _call_within_company("mailing.subscription", "write", [3], {"opt_out": False}),
    ),
    "ticked, within a company": (
        ODOO,
        _call_within_company("res.partner", "write", [7], {"x_newsletter": True}),
    ),
    "asked to confirm twice": ("nobody is asked to confirm twice", _asked_again),
    "asked to confirm in a first load": (
        "nobody is asked to confirm in a first load",
        _asked_in_a_first_load,
    ),
    "too many are asked to confirm": (
        "no more people are asked to confirm a day than the settings say",
        _asked_too_often,
    ),
    "permitted twice": ("a permission is given once", _permitted_twice),
    "permitted after taking it back": (
        "nobody gets a permission who took it back",
        _permitted_after_taking_it_back,
    ),
    "permitted after an opt-out": ("nobody who opted out gets a permission", _permitted_after_an_opt_out),
    "opted out under a former address": (OPTED_OUT, _subscribed_under_a_new_address),
    "written after an erasure": ("nothing is written about erased people", _written_after_an_erasure),
    "evidence from before an erasure": (
        "evidence from before an erasure counts for nothing",
        _subscribed_on_evidence_from_before_an_erasure,
    ),
    "another field of a partner": (ODOO, _call_within_company("res.partner", "write", [7], {"vat": False})),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_journal_that_breaks_an_invariant_is_caught(name: str):
    invariant, story = FORGERIES[name]
    forged = Forgery()
    story(forged)
    assert invariant in forged.broken()


def test_an_opt_out_may_go_before_any_approval():
    story = Forgery()
    story.story.approvals = []
    story.odoo.act("person", "blacklist", "mail.blacklist", {"email": FAY})
    story.run()
    story.change(RETAIL, FAY, status="unsubscribed")
    assert story.broken() == []


def test_opt_outs_go_into_odoo_and_our_own_rows_are_removed_for_people_who_came_back():
    story = Forgery()
    story.story.blacklist = {4: FAY}
    story.call_odoo("mail.blacklist", "create", [{"email": FAY}])
    story.call_odoo("mail.message", "create", [NOTE])
    story.act("sign_up", RETAIL, FAY)
    story.call_odoo("mail.blacklist", "write", [4], {"active": False})
    story.act("unsubscribe", RETAIL, FAY)
    story.call_odoo("mail.blacklist", "write", [4], {"active": True})
    assert story.broken() == []


def test_opt_outs_of_another_program_count_as_opt_outs_and_are_not_judged():
    story = Forgery()
    story.run()
    story.create(RETAIL, BEN)
    story.change(RETAIL, BEN, status="unsubscribed")
    story.story.foreign = {story.mailchimp.last_number}
    story.call_odoo("mail.blacklist", "create", [{"email": BEN}])
    assert story.broken() == []


def test_opt_outs_within_a_company_go_to_its_lists_and_fields():
    story = Forgery()
    story.story.company_fields = frozenset({"x_newsletter"})
    notes = [NOTE | {"model": "res.partner"}, NOTE | {"model": "mailing.contact"}]
    story.call_odoo("mail.message", "create", notes)
    story.call_odoo("mailing.contact", "create", [{"name": FAY, "email": FAY}])
    story.call_odoo("mailing.subscription", "create", [{"contact_id": 1, "list_id": 2, "opt_out": True}])
    story.call_odoo("mailing.subscription", "write", [3], {"opt_out": True})
    story.call_odoo("res.partner", "write", [7], {"x_newsletter": False})
    assert story.broken() == []


def test_one_confirmation_and_one_permission_are_no_violation():
    story = Forgery()
    story.story.confirmations = {RETAIL: 1}
    facts = replace(ASKED, routes={**FACTS.routes, BEN: RETAIL})
    story.run(facts)
    story.story.members = {(RETAIL, FAY): "unsubscribed", (RETAIL, ANN): "subscribed"}
    story.change(RETAIL, ANN, merge_fields={"FNAME": "Ann"})
    story.run(facts)
    story.create(RETAIL, BEN, "pending")
    _permit(story, ANN)
    assert story.broken() == []


def test_a_permission_may_be_given_again_on_newer_evidence():
    story = Forgery()
    story.run(ASKED)
    _permit(story, BEN)
    story.act("withdraw_permission", RETAIL, BEN, permission="p1")
    story.run(ASKED)
    newer = {BEN: frozenset({("mailing.subscription", 3), ("mailing.subscription", 4)})}
    story.run(replace(ASKED, evidence=newer))
    _permit(story, BEN)
    assert story.broken() == []


def test_nobody_inherits_an_opt_out_of_an_address_that_was_passed_on_before_it():
    """Ben had the address; then somebody else got it, and unsubscribed."""
    story = Forgery()
    former = "former@example.com"
    story.run(replace(ASKED, addresses={7: former}), read_partners=True)
    passed_on = replace(ASKED, addresses={7: BEN, 8: former})
    story.run(passed_on, read_partners=True)
    story.story.members = {**story.story.members, (WHOLESALE, former): "unsubscribed"}
    for _ in range(2):
        story.run(passed_on, read_partners=True)
    story.create(RETAIL, BEN, "subscribed")
    assert story.broken() == []


def test_an_erasure_deletes_for_good_and_opt_outs_of_the_erased_go_on():
    story = Forgery()
    story.story.approvals = []
    story.run(ASKED)
    story.send("POST", f"{BENS}/actions/delete-permanent")
    story.story.erasures = [Erasure(1, 1, frozenset({BEN}))]
    story.act("sign_up", RETAIL, BEN)
    story.odoo.act("person", "blacklist", "mail.blacklist", {"email": BEN})
    story.run(ASKED)
    story.change(RETAIL, BEN, status="unsubscribed")
    assert story.broken() == []


def _subscribed_on_consent(status: str = "subscribed") -> Forgery:
    """Ben is made a member on the word of subscription 3."""
    story = Forgery()
    story.run(ASKED)
    story.create(RETAIL, ANN)
    story.run(ASKED)
    story.create(RETAIL, BEN, status)
    return story


def _opt_out_of_the_newsletter(story: Forgery, opt_out: bool = True) -> None:
    details = {"ids": 3, "values": {"opt_out": opt_out}}
    story.odoo.act("person", "write", "mailing.subscription", details)


def _withdrawn(story: Forgery) -> set[tuple[str, str]]:
    return set(standing_withdrawals(story.mailchimp.entries, story.odoo.entries, story.story))


@pytest.mark.parametrize("status", ["subscribed", "pending"])
def test_consent_that_was_used_and_taken_back_stands_withdrawn_under_every_later_address(status: str):
    story = _subscribed_on_consent(status)
    assert _withdrawn(story) == set()
    story.act("change_address", RETAIL, BEN, new_email="ben@example.net")
    _opt_out_of_the_newsletter(story)
    assert _withdrawn(story) == {(RETAIL, "ben@example.net")}


def test_a_click_on_our_confirmation_outweighs_no_withdrawal_and_a_sign_up_does():
    story = _subscribed_on_consent("pending")
    _opt_out_of_the_newsletter(story)
    story.act("confirm", RETAIL, BEN)
    assert _withdrawn(story) == {(RETAIL, BEN)}
    story.act("sign_up", RETAIL, BEN)
    assert _withdrawn(story) == set()


def test_consent_given_again_does_not_stand_withdrawn():
    story = _subscribed_on_consent()
    _opt_out_of_the_newsletter(story)
    _opt_out_of_the_newsletter(story, opt_out=False)
    assert _withdrawn(story) == set()


def test_a_box_that_was_cleared_stands_withdrawn():
    story = Forgery()
    boxes = replace(ASKED, evidence={BEN: frozenset({("res.partner", 7)})})
    story.run(boxes)
    story.create(RETAIL, BEN, "subscribed")
    story.odoo.act("person", "write", "res.partner", {"ids": 7, "values": {"x_newsletter": False}})
    assert _withdrawn(story) == {(RETAIL, BEN)}
