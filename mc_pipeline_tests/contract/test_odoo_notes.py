"""Notes about opt-outs: that creating ``mail.message`` does what ``mc_pipeline.odoo.notes`` says of it.

The same over both transports, on the stand-in and on real servers.
"""

from datetime import UTC, datetime

import pytest

from mc_pipeline.domain.consent.opt_out_notes import NoteKind, OptOutNote, note_html
from mc_pipeline.odoo.client import ConnectedClient
from mc_pipeline.odoo.errors import OdooAccessError, OdooRecordMissingError
from mc_pipeline.odoo.notes import (
    Note,
    NoteWriter,
    RecordInOdoo,
    company_name,
    language_of_user,
    records_with,
)
from mc_pipeline.odoo.opting_out import BlacklistRow, blacklist, lift

FIELDS = ("body", "message_type", "author_id", "subtype_id", "notified_partner_ids")


def messages(odoo, record: RecordInOdoo, holding: str) -> list[dict[str, object]]:
    """Odoo has messages of its own about a record, such as that it was created."""
    domain = [("model", "=", record.model), ("res_id", "=", record.record_id), ("body", "ilike", holding)]
    return odoo.client.search_read("mail.message", domain, FIELDS)


@pytest.mark.parametrize("model", ["mail.blacklist", "res.partner", "mailing.contact"])
def test_a_note_is_an_internal_note_of_the_user_and_notifies_nobody(odoo, mark, model):
    values = {} if model == "mail.blacklist" else {"name": mark}
    record = RecordInOdoo(model, odoo.create(model, email=f"{mark}@example.com", **values))
    body = note_html(
        OptOutNote(NoteKind.COMPLAINED, f"{mark} <b>", "Smith & Sons", datetime.now(UTC)), "en_US"
    )
    assert NoteWriter(odoo.client).write([Note(record, body)]) == [""]
    (message,) = messages(odoo, record, mark)
    assert f"{mark} &lt;b&gt;" in str(message["body"])
    assert "Smith &amp; Sons" in str(message["body"])
    (user,) = odoo.client.read("res.users", [odoo.client.user_id], ["partner_id"])
    (subtype,) = odoo.client.read("mail.message.subtype", [message["subtype_id"]], ["internal", "name"])
    assert message["author_id"] == user["partner_id"]
    assert (subtype["internal"], subtype["name"]) == (True, "Note")
    assert (message["message_type"], message["notified_partner_ids"]) == ("notification", [])


def test_a_note_leaves_the_row_ours(odoo, mark):
    (made,) = blacklist(odoo.client, [f"{mark}@example.com"])
    assert made.blacklist_id is not None
    record = RecordInOdoo("mail.blacklist", made.blacklist_id)
    NoteWriter(odoo.client).write([Note(record, f"<p>{mark}</p>")])
    assert len(messages(odoo, record, mark)) == 1
    (row,) = odoo.client.read("mail.blacklist", [made.blacklist_id], ["write_date", "write_uid"])
    assert row["write_date"] == f"{made.write_date:%Y-%m-%d %H:%M:%S}"
    (lifted,) = lift(odoo.client, [BlacklistRow(made.address, made.blacklist_id, made.write_date)])
    assert lifted.outcome == "applied"


@pytest.mark.parametrize("model", ["mail.blacklist", "res.partner"])
def test_many_records_get_their_notes_in_one_call_and_one_that_is_gone_costs_its_own_only(odoo, mark, model):
    values = {} if model == "mail.blacklist" else {"name": mark}
    made = [odoo.create(model, email=f"{mark}-{number}@example.com", **values) for number in range(8)]
    records = [RecordInOdoo(model, each) for each in made]
    odoo.client.execute(model, "unlink", [records[2].record_id])
    reasons = NoteWriter(odoo.client).write([Note(record, f"<p>{mark}</p>") for record in records])
    # From 19 on Odoo looks for the record only where the model has a record rule to hold it against.
    refused = model == "res.partner" or odoo.client.version < (19, 0)
    assert [bool(reason) for reason in reasons] == [refused and number == 2 for number in range(8)]
    found = [len(messages(odoo, record, mark)) for record in records]
    assert found == [not refused or number != 2 for number in range(8)]


def test_odoo_refuses_notes_about_what_is_gone_and_about_what_the_user_may_not_write(odoo, mark):
    def write(client: ConnectedClient, record: int) -> None:
        values = {"model": "res.partner", "res_id": record, "body": f"<p>{mark}</p>"}
        client.execute("mail.message", "create", [values])

    partner = odoo.create("res.partner", name=mark, email=f"{mark}@example.com")
    refused = pytest.raises(OdooAccessError, match="to change the records that it writes notes about")
    with odoo.connected_as_plain_user(mark) as plain, refused:
        write(plain, partner)
    assert messages(odoo, RecordInOdoo("res.partner", partner), mark) == []
    odoo.client.execute("res.partner", "unlink", [partner])
    with pytest.raises(OdooRecordMissingError):
        write(odoo.client, partner)


def test_a_user_without_the_right_hears_why_and_nothing_is_raised(odoo, mark):
    (made,) = blacklist(odoo.client, [f"{mark}@example.com"])
    record = RecordInOdoo("mail.blacklist", made.blacklist_id or 0)
    with odoo.connected_as_plain_user(mark) as plain:
        (reason,) = NoteWriter(plain).write([Note(record, f"<p>{mark}</p>")])
    assert "mail.message.create" in reason
    assert messages(odoo, record, mark) == []


def test_what_a_note_is_written_with_can_be_asked_for(odoo, mark):
    assert "_" in language_of_user(odoo.client)
    assert company_name(odoo.client)
    partner = odoo.create("res.partner", name=mark, email=f"{mark}-1@example.com")
    contact = odoo.create("mailing.contact", name=mark, email=f"{mark}-2@example.com")
    assert records_with(odoo.client, [f"{mark}-{number}@example.com" for number in (1, 2, 3)]) == {
        f"{mark}-1@example.com": [RecordInOdoo("res.partner", partner)],
        f"{mark}-2@example.com": [RecordInOdoo("mailing.contact", contact)],
    }
