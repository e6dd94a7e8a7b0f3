"""What every run of ours carries, whoever starts it: its tags, and its heartbeat from start to exit."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from rich.console import Console

from mc_pipeline.cli.running import run_company
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline.defs.partitions import COMPANY_TAG, SYNC_TAG
from mc_pipeline.defs.systems import kept_alive
from mc_pipeline.ledger import Ledger
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.world import World

TAGS = {
    SYNC_COMPANY: {COMPANY_TAG: "acme", SYNC_TAG: "acme"},
    OPT_OUTS: {COMPANY_TAG: "acme"},
}


def ours(tags: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.startswith("mc_pipeline/")}


@pytest.mark.parametrize("job", TAGS)
def test_a_run_that_is_launched_in_the_ui_carries_the_tags_of_its_job(world: World, job: str) -> None:
    """The launchpad and *Materialize all* ask for the tags of the partition in this way."""
    definition = world.definitions.resolve_job_def(job)
    tags = definition.get_tags_for_partition_key("acme", selected_asset_keys=None)
    assert ours(dict(tags)) == TAGS[job]
    assert definition.get_run_config_for_partition_key("acme") == {}


@pytest.mark.parametrize("job", TAGS)
def test_a_run_that_a_sensor_or_a_schedule_requests_carries_the_tags_of_its_job(
    world: World, job: str
) -> None:
    definition = world.definitions.resolve_job_def(job)
    request = dg.RunRequest(partition_key="acme")
    resolved = request.with_resolved_tags_and_config(definition, [], world.instance)
    assert ours(dict(resolved.tags)) == TAGS[job]


def test_the_nightly_schedule_requests_runs_with_both_tags(world: World) -> None:
    repository = world.definitions.get_repository_def()
    schedule = repository.get_schedule_def("nightly_acme")
    context = dg.build_schedule_context(
        instance=world.instance,
        scheduled_execution_time=datetime(2026, 3, 1, 4, tzinfo=UTC),
        repository_def=repository,
    )
    (request,) = schedule.evaluate_tick(context).run_requests or ()
    assert ours(dict(request.tags)) == TAGS[SYNC_COMPANY]


@pytest.mark.parametrize("job", TAGS)
def test_a_run_at_the_terminal_carries_the_tags_of_its_job_and_keeps_a_heartbeat(
    world: World, job: str
) -> None:
    # The run is asked about while it reads Mailchimp, in which it fails.
    seen = []
    world.mailchimp.faults.add(Fault("html_403", times=None))

    class Noticing(Console):
        """The terminal, at which somebody looks into the ledger after each line."""

        def print(self, *said: object, **how: object) -> None:
            with Ledger.open() as ledger:
                seen.extend(ledger.runs.alive("acme", job))

    run = run_company(world.settings, "acme", world.instance, Noticing(quiet=True), job_name=job)
    stored = world.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert ours(dict(stored.tags)) == TAGS[job]
    assert {each.run_id for each in seen} == {run.run_id}
    with Ledger.open() as ledger:
        assert ledger.runs.alive("acme") == []
        assert ledger.runs.known([run.run_id])[run.run_id].ended_at is not None


def test_materializing_one_asset_keeps_a_heartbeat_too(world: World) -> None:
    result = world.run(push=False)
    with Ledger.open() as ledger:
        beat = ledger.runs.known([result.run_id])[result.run_id]
    assert (beat.company, beat.job) == ("acme", SYNC_COMPANY)
    assert beat.ended_at is not None


def test_outside_of_a_run_there_is_nothing_to_keep_alive(world: World) -> None:
    with world.systems() as systems, kept_alive(systems, None):
        assert systems.ledger.runs.alive("acme") == []
