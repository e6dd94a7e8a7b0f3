"""While a first load is under way, opt-outs of the same company are carried within two ticks, both ways.

The load is the command in a process of its own, held up in the middle by a slow Mailchimp; the ticks are
those of the sensor, whose requested runs are executed. ``MC_PIPELINE_TESTS_LOAD=20000`` loads more people.
"""

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.defs.consent.sensors import MAILCHIMP_OPT_OUTS
from mc_pipeline.defs.jobs import OPT_OUTS
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.cli.conftest import configure, mc_pipeline, serve_world
from mc_pipeline_tests.cli.processes import PATIENT, command
from mc_pipeline_tests.world import World

pytestmark = pytest.mark.long

PEOPLE = int(os.environ.get("MC_PIPELINE_TESTS_LOAD", "2000"))
ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
LATENCY_SECONDS = 0.01
TICKS = 2
AUDIENCES = """
    audiences:
      retail:
        list_id: retail1
        when: {}
        consent: {mailing_list: News}
"""


@pytest.fixture
def approved(tmp_path) -> Iterator[World]:
    """Many customers who all consented; the plan of their first load is approved."""
    with serve_world(tmp_path) as world:
        configure(world, audiences=AUDIENCES)
        news = world.odoo.add_mailing_list("News")
        for number in range(PEOPLE):
            partner = world.odoo.add_partner(name="Ada Lovelace", email=person(number))
            world.odoo.add_order(partner, 100.0, date_order=ORDERED)
            world.odoo.subscribe(news, person(number))
        waits = mc_pipeline("sync", "acme")
        assert waits.exit_code == 3, waits.output
        plan = re.search(r"mc-pipeline approve ([0-9a-f]{12})", waits.in_one_line)
        assert plan
        assert mc_pipeline("approve", plan[1]).exit_code == 0
        yield world


def person(number: int) -> str:
    return f"person{number}@example.com"


def tick(world: World, instance: dg.DagsterInstance) -> None:
    """Evaluate the sensor, and execute the runs that it requests."""
    (sensor,) = [each for each in world.definitions.sensors or () if each.name == MAILCHIMP_OPT_OUTS]
    assert isinstance(sensor, dg.SensorDefinition)
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    job = world.definitions.resolve_job_def(OPT_OUTS)
    for request in result.run_requests or ():
        done = job.execute_in_process(
            partition_key=request.partition_key,
            tags=request.tags,
            instance=instance,
            raise_on_error=False,
        )
        assert done.success, world.failures(done)


@pytest.mark.timeout(3600)
def test_an_unsubscribe_and_a_blacklist_row_are_applied_while_people_are_loaded(approved: World):
    world, mailchimp = approved, approved.mailchimp
    # Of the calls that create 500 people each, one is answered and the others are not, until they may be.
    held_up = mailchimp.faults.add(
        Fault("slow", "POST", r"/lists/retail1(\?|$)", skip=1, times=None, seconds=3600)
    )
    mailchimp.latency.seconds = LATENCY_SECONDS
    with (
        command(world.folder, "sync", "acme", how=PATIENT) as load,
        dagster_instance() as instance,
    ):
        load.await_event(lambda: held_up.fired > 0 and len(mailchimp.statuses("retail1")) > 0)
        joined = sorted(mailchimp.statuses("retail1"))
        unsubscribing, blacklisted = joined[0], joined[1]
        coming = next(person(n) for n in range(PEOPLE) if person(n) not in joined)
        before = mailchimp.journal.last_number
        began = time.monotonic()
        mailchimp.unsubscribe("retail1", unsubscribing)
        world.odoo.blacklist(blacklisted)
        world.odoo.blacklist(coming)
        ticks = 0
        while not is_carried(world, unsubscribing, blacklisted):
            ticks += 1
            assert ticks <= TICKS, "it takes more ticks than that"
            tick(world, instance)
        seconds = time.monotonic() - began
        requests = sum(entry.source == "api" for entry in mailchimp.journal.since(before))
        assert load.process.poll() is None, "the load is under way"
        assert len(mailchimp.statuses("retail1")) == len(joined)
        print(f"{PEOPLE:,} people: carried after {ticks} ticks, {seconds:.1f} s, {requests} requests")

        mailchimp.faults.clear()
        assert load.wait() == 0, load.output
    mailchimp.latency.seconds = 0.0
    out = {unsubscribing, blacklisted, coming}
    assert world.odoo.database.blacklisted() == out
    statuses = mailchimp.statuses("retail1")
    assert {statuses.get(email) for email in out} <= {"unsubscribed", None}
    assert len(statuses.keys() - out) == PEOPLE - len(out)
    assert {statuses[email] for email in statuses.keys() - out} == {"subscribed"}
    assert not [mail for mail in mailchimp.mails if mail.email in {coming}]


def is_carried(world: World, unsubscribing: str, blacklisted: str) -> bool:
    return (
        unsubscribing in world.odoo.database.blacklisted()
        and world.mailchimp.status("retail1", blacklisted) == "unsubscribed"
    )
