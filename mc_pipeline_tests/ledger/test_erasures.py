"""Erasing leaves the history without the person, and a tombstone that keeps them away."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Text, text

from mc_pipeline.ledger import ConsentEvent, Ledger, LedgerError, Outcome, schema
from mc_pipeline.ledger.erasures import PERSONAL_COLUMNS
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, StandingOptOut
from mc_pipeline_tests.ledger.conftest import START, an_intent, observed

ADDRESS_COLUMNS = {"email", "old_email", "new_email", "address", "email_address"}


def opt_out(email="ann@example.com", at=START) -> ConsentEvent:
    return ConsentEvent(
        company="acme",
        audience="retail",
        list_id="list1",
        email=email,
        event="opt_out",
        origin="person",
        status_to="unsubscribed",
        occurred_at=at,
        seen_at=at,
        evidence={"note": f"said by {email}"},
    )


def everything(ledger) -> str:
    """All that the ledger holds, as one text."""
    found = []
    with ledger._database.read() as connection:
        for table in schema.metadata.tables.values():
            found += [str(tuple(row)) for row in connection.execute(table.select())]
    return "\n".join(found)


def test_no_table_with_an_address_is_forgotten():
    with_addresses = {
        table.name for table in schema.metadata.tables.values() if ADDRESS_COLUMNS & set(table.columns.keys())
    }
    assert with_addresses == set(PERSONAL_COLUMNS)
    for name, personal in PERSONAL_COLUMNS.items():
        columns = schema.metadata.tables[name].columns
        assert {*personal.addresses, *personal.about} >= ADDRESS_COLUMNS & set(columns.keys())
        if personal.is_state:
            continue
        text_columns = {column.name for column in columns if isinstance(column.type, Text)}
        kept = {
            column
            for column in text_columns - set(personal.about) - set(personal.addresses)
            if column.endswith("_json") or column.startswith("name_")
        }
        assert kept == set(), f"{name} keeps {kept}"


def test_nothing_of_the_person_stays_and_the_history_does(ledger, lease):
    (created, tagged) = ledger.intents.record(
        "acme", lease.fence, "run-1", [an_intent(name_sent="Ann Smith"), an_intent("tag")]
    )
    ledger.intents.settle(
        "acme",
        lease.fence,
        [(created, Outcome(outcome="applied", returned={"merge_fields": {"FNAME": "Ann"}}))],
    )
    ledger.consent.record([opt_out(), opt_out("bob@example.com")])
    ledger.members.observe(
        "acme",
        observed(("ann@example.com", "unsubscribed"), ("bob@example.com", "subscribed")),
        True,
        START + timedelta(hours=1),
        list_ids=["list1"],
        fence=lease.fence,
    )
    counted = ledger.erasures.traces("Ann@example.com")
    changed = ledger.erasures.forget("Ann@example.com", "erased:1")
    assert changed == counted
    assert "ann" not in everything(ledger).lower()
    assert "bob@example.com" in everything(ledger)
    assert [event.event for event in ledger.consent.events(email="erased:1")][:1] == ["opt_out"]
    assert ledger.intents.open("acme") == []
    assert {record.outcome for record in ledger.intents.for_email("erased:1")} == {"applied", "held_back"}
    assert tagged in {record.id for record in ledger.intents.for_email("erased:1")}
    assert ledger.erasures.traces("ann@example.com") == {}


def test_an_event_reported_again_after_an_erasure_can_be_erased_again(ledger):
    for _ in range(2):
        ledger.consent.record([opt_out()])
        ledger.erasures.forget("ann@example.com", "erased:1")
    assert "ann" not in everything(ledger)
    assert len(ledger.consent.events()) == 2


def test_the_history_is_still_refused_any_other_change(ledger):
    ledger.consent.record([opt_out()])
    with pytest.raises(Exception, match="append-only"), ledger._database.write() as connection:
        connection.execute(text("UPDATE ledger_consent_event SET event = 'subscribe'"))


def test_a_tombstone_keeps_every_partner_and_the_time_of_the_last_request(ledger, clock):
    for partners in ([7], [3]):
        ledger.erasures.request("erased:1", "key", partners, reason="asked on 3 May", by="Eve")
    ledger.erasures.complete("erased:1", {"done": []})
    (tombstone,) = ledger.erasures.tombstones()
    assert (tombstone.partner_ids, tombstone.completed_at) == ([3, 7], START)
    clock.pass_time(days=1)
    ledger.erasures.request("erased:1", "key", [], reason="again", by="Ada")
    (again,) = ledger.erasures.tombstones()
    assert (again.partner_ids, again.completed_at, again.requested_by) == ([3, 7], None, "Ada")
    assert again.requested_at == START + timedelta(days=1)


def test_an_erasure_says_why_and_for_whom(ledger):
    with pytest.raises(LedgerError, match="give reason and requested_by"):
        ledger.erasures.request("erased:1", "key", [], reason=" ", by="Eve")


@pytest.mark.parametrize(
    "table",
    [
        *("ledger_consent_event", "ledger_consent_origin", "ledger_intent", "ledger_odoo_opt_out"),
        *("ledger_approval", "ledger_erasure"),
    ],
)
def test_what_proves_consent_and_approvals_is_never_deleted(ledger, lease, table):
    ledger.consent.record([opt_out()])
    with ledger._database.write() as connection:
        rows = schema.metadata.tables[table]
        if connection.execute(rows.select()).first() is None:
            values = {
                column.name: START if "_at" in column.name else 1 if column.name == "id" else "1"
                for column in rows.columns
                if not column.nullable and column.server_default is None
            }
            fitting = {
                "ledger_consent_origin": {"event_id": 1, "origin": "person"},
                "ledger_odoo_opt_out": {"action": "opt_out", "scope": "everywhere", "fence": 1},
                "ledger_intent": {"fence": 1},
                "ledger_approval": {"row_count": 1},
            }
            connection.execute(rows.insert().values({**values, **fitting.get(table, {})}))
    with (
        pytest.raises(Exception, match=r"append-only|rows of this table are kept"),
        ledger._database.write() as connection,
    ):
        connection.execute(schema.metadata.tables[table].delete())
    with ledger._database.read() as connection:
        assert connection.execute(schema.metadata.tables[table].select()).first() is not None


def test_what_is_recorded_after_an_erasure_is_forgotten_again(ledger):
    ledger.consent.record([opt_out(), opt_out("bob@example.com")])
    ledger.due_in_odoo.decide("acme", ledger.due_in_odoo.due("acme"), [])
    pseudonyms = {"ann@example.com": "erased:1"}
    ledger.erasures.request("erased:1", "key", [7], reason="asked on 3 May", by="Eve")
    assert not ledger.erasures.is_any_due(START)
    assert ledger.erasures.forget_again(pseudonyms.get) == 0
    assert ledger.erasures.traces("ann@example.com"), "the erasure itself still needs to know them"
    ledger.erasures.complete("erased:1", {"done": []})
    assert ledger.erasures.is_any_due(START)
    assert not ledger.erasures.is_any_due(START + timedelta(seconds=1))
    assert ledger.erasures.forget_again(pseudonyms.get) == 1
    assert "ann" not in everything(ledger)
    assert "bob@example.com" in everything(ledger)
    assert ledger.erasures.forget_again(pseudonyms.get) == 0


def test_what_has_to_be_applied_keeps_the_address_and_the_rest_does_not(ledger):
    ledger.consent.record([opt_out()])
    ledger.standing_opt_outs.say(
        [StandingOptOut(company="acme", email="ann@example.com", cause=BLACKLISTED, said_at=START)], ["list1"]
    )
    assert ledger.erasures.forget_what_is_done("ann@example.com", "erased:1")
    assert set(ledger.erasures.traces("ann@example.com")) == {
        *("ledger_due_in_odoo", "ledger_unsubscribe_due", "ledger_standing_opt_out")
    }
    ledger.due_in_odoo.decide("acme", ledger.due_in_odoo.due("acme"), [])
    ledger.standing_opt_outs.done("acme", "list1", ledger.standing_opt_outs.due("acme", "list1"))
    ledger.erasures.forget_what_is_done("ann@example.com", "erased:1")
    assert ledger.erasures.traces("ann@example.com") == {}
    (kept,) = ledger.standing_opt_outs.of("acme")
    assert (kept.email, kept.cause) == ("erased:1", BLACKLISTED)


def test_what_was_deleted_is_in_no_file_of_the_database(ledger_url, clock):
    if not ledger_url.startswith("sqlite"):
        pytest.skip("only SQLite keeps a file")
    folder = Path(ledger_url.removeprefix("sqlite:///")).parent
    with Ledger.open(ledger_url, clock=clock) as ledger:
        ledger.consent.record([opt_out(f"ann{number}@example.com") for number in range(200)])
        ledger.due_in_odoo.decide("acme", ledger.due_in_odoo.due("acme"), [])
        pseudonyms = {f"ann{number}@example.com": f"erased:{number}" for number in range(200)}
        for pseudonym in pseudonyms.values():
            ledger.erasures.request(pseudonym, "key", [], reason="asked on 3 May", by="Eve")
            ledger.erasures.complete(pseudonym, {"done": []})
        assert ledger.erasures.forget_again(pseudonyms.get) == 200
        files = [each for each in folder.glob("ledger.db*") if b"@example.com" in each.read_bytes()]
    assert files == []
