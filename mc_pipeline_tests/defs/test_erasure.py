"""An erased person is gone from Mailchimp and from all that is kept, and stays away."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from mc_pipeline.defs.consent.erasure import ERASE_PERSON, forget_erasure_runs
from mc_pipeline.sync.erased_people import ERASURE_KEY_VARIABLE
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
KEY = "the same key on every machine"
CURRENCY = "EUR"


@pytest.fixture
def with_key(monkeypatch):
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, KEY)


def customer(world: World, email: str, name: str) -> int:
    partner = world.odoo.add_partner(name=name, email=email)
    world.odoo.add_order(partner, 120.0, date_order=ORDERED)
    return partner


def erase(world: World, **config) -> dg.ExecuteInProcessResult:
    config = {"reason": "request of 3 May", "requested_by": "Eve", **config}
    return world.definitions.resolve_job_def(ERASE_PERSON).execute_in_process(
        run_config={"ops": {"erase_people": {"config": config}}},
        instance=world.instance,
        raise_on_error=False,
    )


def report(result) -> list[dict]:
    (output,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return [record.data for record in output.event_specific_data.metadata["report"].records]


def kept(world: World) -> str:
    """Everything in the tables and in the ledger, as one text."""
    tables = [str(pq.read_table(path).to_pylist()) for path in Path(world.folder).rglob("*.parquet")]
    ledger = b"".join(path.read_bytes() for path in Path(world.folder).rglob("ledger.db*"))
    return "\n".join(tables) + ledger.decode("utf-8", "ignore")


def test_a_look_changes_nothing_and_says_where_the_person_is(world: World, with_key):
    partner = customer(world, "ann@example.com", "Ann Smith")
    world.sync()
    world.mailchimp.journal.clear()
    result = erase(world, partner_ids=[partner])
    assert result.success
    assert world.mailchimp.journal.writes == []
    places = {entry["where"] for entry in report(result)}
    assert {"audience: acme/retail", "ledger: ledger_member", "table: odoo_partners/acme"} <= places
    assert "ann@example.com" in kept(world)


def test_an_erased_person_is_gone_everywhere_and_does_not_come_back(world: World, with_key):
    partner = customer(world, "ann@example.com", "Ann Smith")
    customer(world, "joann@example.com", "Jo Doe")
    world.odoo.blacklist("ann@example.com")
    world.mailchimp.add_member("wholesale1", "ann@example.com", "subscribed")
    world.sync()
    result = erase(world, partner_ids=[partner], dry_run=False)
    assert result.success, world.failures(result)
    for audience in ("retail1", "wholesale1"):
        assert world.mailchimp.status(audience, "ann@example.com") is None
    assert world.odoo.search("mail.blacklist", [("email", "=", "ann@example.com")])
    assert world.mailchimp.status("retail1", "joann@example.com") == "transactional"
    world.mailchimp.journal.clear()
    world.sync()
    world.run(push=False)
    assert world.mailchimp.journal.writes == []
    assert "joann@example.com" in kept(world)
    assert "Ann Smith" not in kept(world)
    with world.systems() as systems:
        assert systems.ledger.erasures.traces("ann@example.com") == {}
        (tombstone,) = systems.ledger.erasures.tombstones()
    assert tombstone.partner_ids == [partner]
    assert tombstone.completed_at is not None
    assert "ann@example.com" not in kept(world).replace("joann@example.com", "")
    assert erase(world, emails=["ann@example.com"], dry_run=False).success


@pytest.mark.long
def test_orders_and_customer_leave_the_store_with_the_person(world: World, with_key):
    world.configure(
        "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
        "    audiences:\n      retail:\n        list_id: retail1\n"
        f"        store: {{id: acme-retail, name: ACME, currency: {CURRENCY}}}\n"
    )
    partner = customer(world, "ann@example.com", "Ann Smith")
    customer(world, "bob@example.com", "Bob Brown")
    world.sync()
    store = world.mailchimp.state.stores["acme-retail"]
    assert len(store.orders) == 2
    looked = report(erase(world, partner_ids=[partner]))
    assert {"where": "store: acme/retail", "what": "orders: would be deleted", "count": 1} in [
        {name: entry[name] for name in ("where", "what", "count")} for entry in looked
    ]
    assert erase(world, partner_ids=[partner], dry_run=False).success
    assert [each.email_address for each in store.customers.values()] == ["bob@example.com"]
    assert len(store.orders) == 1
    world.mailchimp.journal.clear()
    world.sync()
    assert world.mailchimp.journal.writes == []
    reasons = world.table("store_orders").rows["excluded_because"].tolist()
    assert sorted(reasons) == ["", "erased"]


@pytest.mark.long
def test_an_address_passed_on_to_somebody_else_stays_theirs(world: World, with_key):
    partner = customer(world, "old@example.com", "Ann Smith")
    world.sync()
    world.odoo.write("res.partner", [partner], {"email": "new@example.com"})
    world.sync()
    customer(world, "old@example.com", "Bob Brown")
    world.sync()
    assert erase(world, partner_ids=[partner], dry_run=False).success
    assert world.mailchimp.status("retail1", "new@example.com") is None
    assert world.mailchimp.status("retail1", "old@example.com") == "transactional"


@pytest.mark.long
@pytest.mark.parametrize("by", ["contact", "former address", "present address"])
def test_who_changed_their_address_in_mailchimp_is_erased_under_both(world: World, with_key, by: str):
    partner = customer(world, "old@example.com", "Ann Smith")
    customer(world, "bob@example.com", "Bob Brown")
    world.sync()
    world.run()
    world.mailchimp.change_address("retail1", "old@example.com", "new@example.com")
    world.sync()
    assert world.mailchimp.status("retail1", "new@example.com") == "transactional"
    address = {"former address": "old@example.com", "present address": "new@example.com"}.get(by)
    whom = {"emails": [address]} if address else {"partner_ids": [partner]}
    result = erase(world, **whom, dry_run=False)
    assert result.success, world.failures(result)
    world.sync()
    assert world.mailchimp.statuses("retail1") == {"bob@example.com": "transactional"}
    with world.systems() as systems:
        for email in ("old@example.com", "new@example.com"):
            assert systems.ledger.erasures.traces(email) == {}


@pytest.mark.long
def test_an_address_left_in_both_systems_is_erased_unless_somebody_else_has_it_now(world: World, with_key):
    left = customer(world, "left@example.com", "Ann Smith")
    passed_on = customer(world, "passed@example.com", "Eve Elm")
    world.sync()
    world.run()
    world.mailchimp.change_address("retail1", "left@example.com", "left.new@example.com")
    world.mailchimp.change_address("retail1", "passed@example.com", "passed.new@example.com")
    world.sync()
    world.odoo.write("res.partner", [left], {"email": "ann@example.com"})
    world.odoo.write("res.partner", [passed_on], {"email": "eve@example.com"})
    customer(world, "passed.new@example.com", "Bob Brown")
    world.sync()
    assert erase(world, partner_ids=[left, passed_on], dry_run=False).success
    assert set(world.mailchimp.statuses("retail1")) == {"passed.new@example.com"}


def test_a_run_goes_on_where_an_interrupted_one_stopped(world: World, with_key):
    from mc_pipeline.sandbox.faults import Fault

    partner = customer(world, "ann@example.com", "Ann Smith")
    world.sync()
    world.mailchimp.faults.add(Fault("html_403", match_path_regex="delete-permanent", times=None))
    assert not erase(world, partner_ids=[partner], dry_run=False).success
    world.mailchimp.journal.clear()
    world.mailchimp.faults.clear()
    assert erase(world, partner_ids=[partner], dry_run=False).success
    assert world.mailchimp.status("retail1", "ann@example.com") is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "fill in partner_ids or emails"),
        ({"partner_ids": [999_999]}, "partner_ids: 999999 is not in Odoo"),
        ({"emails": ["nobody"]}, "emails: n••• is not an address"),
        ({"emails": ["ann@example.com"], "reason": " "}, "Fill in reason and requested_by"),
    ],
)
def test_a_config_that_names_nobody_is_refused(world: World, with_key, config, message):
    result = erase(world, **config)
    assert not result.success
    assert message in "\n".join(world.failures(result))


def test_without_the_key_nothing_is_erased_and_nobody_is_read(world: World, monkeypatch):
    partner = customer(world, "ann@example.com", "Ann Smith")
    result = erase(world, partner_ids=[partner])
    assert f"{ERASURE_KEY_VARIABLE} is not set" in "\n".join(world.failures(result))
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, KEY)
    assert erase(world, partner_ids=[partner], dry_run=False).success
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, "another key, and long enough")
    result = world.run()
    assert not result.success
    assert "Set the former key" in "\n".join(world.failures(result))


def test_the_run_that_was_given_addresses_is_deleted(world: World, with_key):
    customer(world, "ann@example.com", "Ann Smith")
    result = erase(world, emails=["ann@example.com"], dry_run=False)
    run = world.instance.get_run_by_id(result.run_id)
    context = dg.build_run_status_sensor_context(
        sensor_name="forget_erasure_runs",
        dagster_instance=world.instance,
        dagster_run=run,
        dagster_event=result.all_events[-1],
    )
    forget_erasure_runs(context)
    assert world.instance.get_run_by_id(result.run_id) is None
