"""Runs that read only what changed in Odoo, and the sensor that requests them."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from mc_pipeline.cli.running import Outcome, run_company
from mc_pipeline.defs.jobs import SYNC_COMPANY
from mc_pipeline.defs.odoo.sensors import ODOO_CHANGES
from mc_pipeline.defs.partitions import CHANGES, COMPANY_TAG, READ_TAG
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
READING = ("odoo_partners", "odoo_refunds", "odoo_orders", "odoo_blacklist")


def customers(world: World, count: int) -> list[int]:
    """Customers who have been there for a while."""
    with world.odoo.at(datetime.now(UTC) - timedelta(days=3)):
        partners = [
            world.odoo.add_partner(name=f"Person {number}", email=f"person{number}@example.com")
            for number in range(count)
        ]
        for partner in partners:
            world.odoo.add_order(
                partner,
                lines=[{"name": "Book", "product_uom_qty": 2, "price_unit": 20.0}],
                date_order=ORDERED,
            )
    return partners


def read(world: World, *, changes: bool) -> dg.ExecuteInProcessResult:
    """Only what reads Odoo."""
    result = world.definitions.resolve_job_def(SYNC_COMPANY).execute_in_process(
        partition_key="acme",
        instance=world.instance,
        asset_selection=[dg.AssetKey(name) for name in READING],
        tags={READ_TAG: CHANGES} if changes else {},
        raise_on_error=False,
    )
    assert result.success, world.failures(result)
    return result


def how(result: dg.ExecuteInProcessResult, table: str) -> str:
    """What the metadata of a table says about its reading."""
    (made,) = result.asset_materializations_for_node(table)
    return str(made.metadata["read"].value)


def records_read(world: World, model: str) -> int:
    return sum(
        len(entry.body["params"]["args"][5][0])
        for entry in world.odoo.journal.requests
        if getattr(entry, "action", "") == f"{model}.read"
    )


def test_a_run_asked_to_reads_only_what_changed_and_tables_say_so(world: World):
    partners = customers(world, 40)
    assert "all 4" in how(read(world, changes=False), "odoo_partners")
    world.odoo.edit_partner(partners[7], name="Grace Hopper")
    order = world.odoo.search("sale.order", [("partner_id", "=", partners[9])])[0]
    invoice = world.odoo.invoice_order(order)
    world.odoo.credit_invoice(invoice, quantity=1)
    world.odoo.journal.clear()
    result = read(world, changes=True)
    assert "of 45 records were read again" in how(result, "odoo_partners")
    for table in READING:
        (made,) = result.asset_materializations_for_node(table)
        assert str(made.metadata["connection"].value).startswith("over JSON-RPC: ")
    assert records_read(world, "res.partner") < 10
    assert records_read(world, "sale.order") <= 1
    rows = world.table("odoo_partners").rows.set_index("partner_id")
    assert rows.loc[partners[7], "name"] == "Grace Hopper"
    kept = world.table("odoo_orders").rows.set_index("order_id")["kept_untaxed_company"]
    assert (kept[order], kept.drop(order).unique().tolist()) == (20.0, [40.0])


@pytest.mark.parametrize("undo", ["nothing stored", "damaged", "incomplete", "another user"])
def test_without_a_read_to_build_upon_everything_is_read_and_the_reason_reported(
    world: World, undo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    partners = customers(world, 12)
    if undo != "nothing stored":
        read(world, changes=False)
    reason = "no earlier complete read is stored"
    match undo:
        case "damaged":
            for path in tmp_path.rglob("res.partner.parquet"):
                path.write_bytes(path.read_bytes()[:100])
        case "incomplete":
            world.odoo.hide("res.partner", partners[:9])
            read(world, changes=False)
            world.odoo.database.rules.pop()
        case "another user":
            world.odoo.add_user("other@example.com", "secret", groups=["admin"])
            text = world.config.read_text().replace("user: admin", "user: other@example.com")
            world.config.write_text(text)
            monkeypatch.setenv("ODOO_SECRET", "secret")
            reason = "other fields, companies, user or server"
    result = read(world, changes=True)
    said = how(result, "odoo_partners")
    assert "records were read, because" in said
    assert reason in said
    assert set(partners) <= set(world.table("odoo_partners").rows["partner_id"])
    again = how(read(world, changes=True), "odoo_partners")
    assert "read again" in again


def test_a_run_without_the_tag_always_reads_everything(world: World):
    customers(world, 3)
    read(world, changes=False)
    assert "read again" not in how(read(world, changes=False), "odoo_orders")


def test_stored_records_are_for_their_owner_only(world: World, tmp_path: Path):
    customers(world, 2)
    read(world, changes=False)
    stored = list((tmp_path / "mc_pipeline").rglob("odoo_records/**/*.parquet"))
    assert {path.name for path in stored} >= {"res.partner.parquet", "sale.order.parquet"}
    assert {path.stat().st_mode & 0o777 for path in stored} == {0o600}


def test_a_sync_of_changes_from_the_terminal_brings_them_to_mailchimp(world: World):
    partners = customers(world, 5)
    world.sync()
    world.odoo.edit_partner(partners[0], name="Ada Lovelace")
    run = run_company(world.settings, "acme", world.instance, Console(file=StringIO()), only_changes=True)
    assert run.outcome == Outcome.DONE, run.reasons
    stored = world.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert stored.tags[READ_TAG] == CHANGES
    member = world.mailchimp.member("retail1", "person0@example.com")
    assert member.merge_fields["FNAME"].startswith("Ada")


# the sensor


def look(world: World, cursor: str | None) -> dg.SensorResult:
    (sensor,) = [each for each in world.definitions.sensors or () if each.name == ODOO_CHANGES]
    assert isinstance(sensor, dg.SensorDefinition)
    result = sensor(dg.build_sensor_context(instance=world.instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def some_time_passes(world: World) -> None:
    """What was written in the very second of a look is looked at once more; here, all is some minutes old."""
    partners = world.odoo.model("res.partner").table
    for partner in list(partners.ids):
        partners.update(
            partner, {"write_date": datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=6)}
        )


def skipped_because(result: dg.SensorResult) -> str:
    assert not result.run_requests
    return str(result.skip_reason.skip_message if result.skip_reason else "")


def test_the_sensor_requests_one_run_for_new_changes_and_none_when_all_is_quiet(world: World):
    partners = customers(world, 3)
    some_time_passes(world)
    first = look(world, None)
    assert len(first.run_requests or []) == 1
    quiet = look(world, first.cursor)
    assert "nothing changed" in skipped_because(quiet)
    with world.odoo.at(datetime.now(UTC) - timedelta(minutes=5)):
        world.odoo.edit_partner(partners[0], name="Ada")
    changed = look(world, quiet.cursor)
    (request,) = changed.run_requests or []
    assert request.partition_key == "acme"
    assert request.tags[COMPANY_TAG] == "acme"
    assert request.tags[READ_TAG] == CHANGES
    assert "nothing changed" in skipped_because(look(world, changed.cursor))


def test_the_sensor_sees_a_transaction_that_committed_late(world: World):
    customers(world, 2)
    some_time_passes(world)
    seen = look(world, None)
    assert "nothing changed" in skipped_because(look(world, seen.cursor))
    with world.odoo.at(datetime.now(UTC) - timedelta(minutes=14)):
        world.odoo.blacklist("person1@example.com")
    assert look(world, seen.cursor).run_requests


def test_a_look_that_fails_is_skipped_with_its_reason_and_forgets_nothing(world: World):
    customers(world, 2)
    first = look(world, None)
    world.odoo.faults.add(Fault("html_502", times=100))
    failed = look(world, first.cursor)
    assert "acme: " in skipped_because(failed)
    assert json.loads(failed.cursor or "") == json.loads(first.cursor or "")


def test_the_sensor_waits_while_a_run_of_the_company_is_under_way(world: World):
    first = look(world, None)
    with world.systems() as systems:
        systems.ledger.runs.begin("run-1", company="acme", job=SYNC_COMPANY, owner="host:1")
    waiting = look(world, first.cursor)
    assert "a run is in progress" in skipped_because(waiting)
    assert json.loads(waiting.cursor or "") == json.loads(first.cursor or "")


def test_the_sensor_starts_switched_off(world: World):
    (sensor,) = [each for each in world.definitions.sensors or () if each.name == ODOO_CHANGES]
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert (sensor.minimum_interval_seconds or 0) >= 600
