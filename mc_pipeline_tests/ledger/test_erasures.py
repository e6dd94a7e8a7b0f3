"""Erasing leaves the history without the person, and a tombstone that keeps them away."""

from datetime import timedelta

import pytest
from sqlalchemy import Text, text

from mc_pipeline.ledger import ConsentEvent, LedgerError, Outcome, schema
from mc_pipeline.ledger.erasures import PERSONAL_COLUMNS
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
        told = {column.name for column in columns if isinstance(column.type, Text)}
        kept = {
            column
            for column in told - set(personal.about) - set(personal.addresses)
            if column.endswith("_json") or column.startswith("name_")
        }
        assert kept == set(), f"{name} keeps {kept}"


def test_nothing_of_the_person_stays_and_the_history_does(ledger, lease):
    (created, tagged) = ledger.intents.record(
        "acme", lease.fence, "run-1", [an_intent(name_sent="Ann Smith"), an_intent("tag")]
    )
    ledger.intents.settle(
        lease.fence,
        [Outcome(intent_id=created, outcome="applied", returned={"merge_fields": {"FNAME": "Ann"}})],
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


def test_an_event_told_again_after_an_erasure_can_be_erased_again(ledger):
    for _ in range(2):
        ledger.consent.record([opt_out()])
        ledger.erasures.forget("ann@example.com", "erased:1")
    assert "ann" not in everything(ledger)
    assert len(ledger.consent.events()) == 2


def test_the_history_is_still_refused_any_other_change(ledger):
    ledger.consent.record([opt_out()])
    with pytest.raises(Exception, match="append-only"), ledger._database.write() as connection:
        connection.execute(text("UPDATE ledger_consent_event SET event = 'subscribe'"))


def test_a_tombstone_keeps_every_partner_it_was_told(ledger):
    for partners in ([7], [3]):
        ledger.erasures.request("erased:1", "key", partners, reason="asked on 3 May", by="Eve")
    ledger.erasures.complete("erased:1", {"done": []})
    (tombstone,) = ledger.erasures.tombstones()
    assert (tombstone.partner_ids, tombstone.completed_at) == ([3, 7], START)
    ledger.erasures.request("erased:1", "key", [], reason="again", by="Eve")
    assert ledger.erasures.tombstones()[0].completed_at is None


def test_an_erasure_says_why_and_for_whom(ledger):
    with pytest.raises(LedgerError, match="give reason and requested_by"):
        ledger.erasures.request("erased:1", "key", [], reason=" ", by="Eve")
