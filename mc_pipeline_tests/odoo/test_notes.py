"""Notes on records: in few calls, as an ordinary user, one refused record among others, and in trouble."""

from collections.abc import Iterator

import pytest

from mc_pipeline.odoo.client import ConnectedClient
from mc_pipeline.odoo.notes import (
    PAGE,
    SPARE_CALLS,
    Note,
    NoteWriter,
    RecordInOdoo,
    company_name,
    language_of_user,
    records_with,
)
from mc_pipeline.odoo.opting_out import blacklist
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in

ROW = "mail.blacklist"
BREAKS = ("reset_before", "reset_after", "truncated", "html_502", "json_500", "serialization_failure")


@pytest.fixture
def marketer(sandbox: SandboxOdoo) -> Iterator[ConnectedClient]:
    """A user whose only further right is Email Marketing / User."""
    sandbox.add_user("marketer", "secret", groups=("email_marketing",))
    with logged_in(sandbox, "marketer", "secret") as client:
        yield client


def rows(client: ConnectedClient, number: int, name: str = "person") -> list[RecordInOdoo]:
    addresses = [f"{name}{each}@example.com" for each in range(number)]
    return [RecordInOdoo(ROW, result.blacklist_id or 0) for result in blacklist(client, addresses)]


def notes(records: list[RecordInOdoo]) -> list[Note]:
    return [Note(record, "<p>why</p>") for record in records]


def calls_for_notes(sandbox: SandboxOdoo) -> int:
    return sum(entry.action == "mail.message.create" for entry in sandbox.journal.requests)


def with_notes(sandbox: SandboxOdoo, records: list[RecordInOdoo]) -> int:
    return sum(sandbox.notes(record.model, record.record_id) == ["<p>why</p>"] for record in records)


def test_five_thousand_notes_need_a_bounded_number_of_calls(sandbox: SandboxOdoo, marketer: ConnectedClient):
    records = rows(marketer, 5000)
    before = len(sandbox.journal.requests)
    assert NoteWriter(marketer).write(notes(records)) == [""] * 5000
    assert len(sandbox.journal.requests) - before == 1 + 5000 // PAGE, "the subtype, and a call for each page"
    assert with_notes(sandbox, records) == 5000


def test_a_note_is_an_internal_note_of_the_user_and_notifies_nobody(
    sandbox: SandboxOdoo, marketer: ConnectedClient
):
    (record,) = rows(marketer, 1)
    NoteWriter(marketer).write(notes([record]))
    (message,) = marketer.search_read(
        "mail.message",
        [("model", "=", ROW), ("res_id", "=", record.record_id)],
        ["message_type", "subtype_id", "author_id", "notified_partner_ids"],
    )
    (subtype,) = sandbox.search("mail.message.subtype", [("name", "=", "Note")])
    author = sandbox.read("res.users", marketer.user_id, "partner_id")["partner_id"]
    assert (message["message_type"], message["subtype_id"]) == ("notification", subtype)
    assert (message["author_id"], message["notified_partner_ids"]) == (author, [])


def test_a_note_leaves_the_record_as_it_was_written_last(sandbox: SandboxOdoo, marketer: ConnectedClient):
    (record,) = rows(marketer, 1)
    before = sandbox.read(ROW, record.record_id, "write_date", "write_uid")
    with logged_in(sandbox) as administrator:
        assert NoteWriter(administrator).write(notes([record])) == [""]
    assert sandbox.read(ROW, record.record_id, "write_date", "write_uid") == before


def test_records_that_odoo_refuses_cost_no_note_but_theirs(sandbox: SandboxOdoo, marketer: ConnectedClient):
    records = rows(marketer, 1000)
    gone, hidden = records[3], records[777]
    sandbox.unlink(ROW, gone.record_id)
    sandbox.hide(ROW, [hidden.record_id], uid=marketer.user_id)
    reasons = NoteWriter(marketer).write(notes(records))
    assert {record for record, reason in zip(records, reasons, strict=True) if reason} == {gone, hidden}
    assert with_notes(sandbox, records) == 998
    assert calls_for_notes(sandbox) <= 2 + SPARE_CALLS


def test_a_right_that_is_missing_is_named_and_not_asked_for_again_and_again(
    sandbox: SandboxOdoo, marketer: ConnectedClient
):
    records = rows(marketer, 3000)
    sandbox.deny(marketer.user_id, "mail.message", "create")
    reasons = NoteWriter(marketer).write(notes(records))
    assert all("may not do mail.message.create" in reason for reason in reasons)
    assert calls_for_notes(sandbox) <= 3000 // PAGE + SPARE_CALLS
    assert with_notes(sandbox, records) == 0


def test_partners_need_another_right_than_the_blacklist(sandbox: SandboxOdoo, marketer: ConnectedClient):
    partner = RecordInOdoo("res.partner", sandbox.add_partner(name="Ada", email="ada@example.com"))
    (row,) = rows(marketer, 1)
    refused, written = NoteWriter(marketer).write(notes([partner, row]))
    assert "to change the records that it writes notes about" in refused
    assert written == ""
    sandbox.add_user("clerk", "secret", groups=("partner_manager",))
    with logged_in(sandbox, "clerk", "secret") as clerk:
        assert NoteWriter(clerk).write(notes([partner])) == [""]
    assert (with_notes(sandbox, [partner]), with_notes(sandbox, [row])) == (1, 1)


@pytest.mark.parametrize("kind", BREAKS)
def test_a_note_that_was_perhaps_lost_is_not_written_twice_and_stops_the_others(
    sandbox: SandboxOdoo, marketer: ConnectedClient, kind: str
):
    records = rows(marketer, 1200)
    sandbox.faults.add(Fault(kind, match_body_regex='"mail.message", "create"', times=None))  # type: ignore[arg-type]
    writer = NoteWriter(marketer)
    reasons = writer.write(notes(records[:700]))
    sandbox.faults.clear()
    reasons += writer.write(notes(records[700:]))
    assert all(reasons)
    assert all(len(sandbox.notes(each.model, each.record_id)) <= 1 for each in records)
    assert with_notes(sandbox, records[PAGE:]) == 0


def test_an_odoo_without_messages_says_so(sandbox: SandboxOdoo, marketer: ConnectedClient):
    records = rows(marketer, 2)
    for model in ("mail.message", "mail.message.subtype"):
        del sandbox.database.models[model]
    assert all("has no model mail.message" in reason for reason in NoteWriter(marketer).write(notes(records)))


def test_an_odoo_without_the_subtype_gets_its_notes_all_the_same(
    sandbox: SandboxOdoo, marketer: ConnectedClient
):
    sandbox.unlink("mail.message.subtype", sandbox.search("mail.message.subtype"))
    records = rows(marketer, 2)
    assert NoteWriter(marketer).write(notes(records)) == ["", ""]
    assert with_notes(sandbox, records) == 2


def test_the_language_is_the_users_and_the_company_the_clients(
    sandbox: SandboxOdoo, marketer: ConnectedClient
):
    sandbox.write("res.users", marketer.user_id, {"lang": "de_DE"})
    assert language_of_user(marketer) == "de_DE"
    assert company_name(marketer) == "My Company"


def test_an_address_is_that_of_all_its_partners_or_of_mailing_contacts(
    sandbox: SandboxOdoo, client: ConnectedClient
):
    twins = [sandbox.add_partner(name="Ada", email=email) for email in ("ada@example.com", "ADA@example.com")]
    newsletter = sandbox.add_mailing_list("Newsletter")
    for email in ("ada@example.com", "bob@example.com"):
        sandbox.subscribe(newsletter, email)
    (bob,) = sandbox.search("mailing.contact", [("email", "=", "bob@example.com")])
    found = records_with(client, ["ada@example.com", "bob@example.com", "nobody@example.com"])
    assert {address: set(records) for address, records in found.items()} == {
        "ada@example.com": {RecordInOdoo("res.partner", twin) for twin in twins},
        "bob@example.com": {RecordInOdoo("mailing.contact", bob)},
    }


def test_addresses_are_looked_up_without_mailing_contacts_where_that_module_is_missing():
    with SandboxOdoo((18, 0), modules={"sale"}).serve() as sandbox, logged_in(sandbox) as client:
        assert records_with(client, ["nobody@example.com"]) == {}
