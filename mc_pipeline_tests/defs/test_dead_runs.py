"""Runs whose process died are ended by whoever looks next, by their heartbeat; nothing alive ever is."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

from mc_pipeline.defs.dead_runs import MAX_RETRIES_TAG, dead_run_sensors, end_dead_runs
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY
from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.defs.sensing import is_under_way
from mc_pipeline.home import prepare_dagster_home
from mc_pipeline.ledger import Ledger
from mc_pipeline_tests.ledger.conftest import Clock
from mc_pipeline_tests.world import World

LOG = logging.getLogger("test")
STARTING, STARTED, CANCELING = (
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
FAILURE, CANCELED = DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED


@dg.op
def work() -> None:
    """Nothing: no run of these tests is carried out."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_dagster_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def instance(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster with our own dagster.yaml, retries of crashed runs included."""
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        yield instance
        for run in instance.get_runs():
            instance.delete_run(run.run_id)


@pytest.fixture
def clock() -> Clock:
    """Starts now: Dagster dates its runs by the machine's clock."""
    clock = Clock()
    clock.moment = datetime.now(UTC)
    return clock


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=clock) as ledger:
        yield ledger


def a_run(
    instance: dg.DagsterInstance,
    status: DagsterRunStatus = STARTED,
    *,
    job: str = SYNC_COMPANY,
    company: str | None = "acme",
) -> str:
    """A run as Dagster shows it, requested and started now by its clock."""
    definition = dg.GraphDefinition(name=job, node_defs=[work]).to_job()
    tags = {COMPANY_TAG: company} if company else {}
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("ours"), "__repository__")
    run = instance.create_run_for_job(
        definition,
        tags=tags,
        status=DagsterRunStatus.NOT_STARTED,
        # As of a run that the daemon launches: one of a terminal is never queued.
        remote_job_origin=origin.get_job_origin(job),
    )
    for happened, reached in (
        (DagsterEventType.RUN_STARTING, {STARTING, STARTED, CANCELING}),
        (DagsterEventType.RUN_START, {STARTED, CANCELING}),
        (DagsterEventType.RUN_CANCELING, {CANCELING}),
        (DagsterEventType.RUN_ENQUEUED, {DagsterRunStatus.QUEUED}),
    ):
        if status in reached:
            instance.report_dagster_event(DagsterEvent(happened.value, job), run_id=run.run_id)
    return run.run_id


def begin(ledger: Ledger, run_id: str, job: str = SYNC_COMPANY, company: str = "acme") -> None:
    ledger.runs.begin(run_id, company=company, job=job, owner="host:1")


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("before", "heartbeat_ago", "after"),
    [
        (STARTED, 179, STARTED),
        (STARTED, 181, FAILURE),
        (STARTING, 179, STARTING),
        (STARTING, 181, FAILURE),
        (CANCELING, 179, CANCELING),
        (CANCELING, 181, CANCELED),
        # By Dagster's own word, without any heartbeat: from five minutes on, and never what has not started.
        (STARTED, None, STARTED),
        (DagsterRunStatus.QUEUED, 3600, DagsterRunStatus.QUEUED),
        (DagsterRunStatus.NOT_STARTED, 3600, DagsterRunStatus.NOT_STARTED),
    ],
)
def test_a_run_is_ended_when_it_runs_by_dagsters_word_and_its_heartbeat_is_old(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    clock: Clock,
    before: DagsterRunStatus,
    heartbeat_ago: int | None,
    after: DagsterRunStatus,
) -> None:
    run_id = a_run(instance, before)
    if heartbeat_ago is not None:
        begin(ledger, run_id)
        clock.pass_time(seconds=heartbeat_ago)
    ended = end_dead_runs(instance, ledger, LOG)
    assert status(instance, run_id) == after
    assert [each.run_id for each in ended] == ([run_id] if after != before else [])


@pytest.mark.parametrize(
    ("before", "after"), [(STARTED, FAILURE), (CANCELING, CANCELED), (STARTING, STARTING)]
)
@pytest.mark.parametrize("later", [299, 310])
def test_a_run_that_never_had_a_heartbeat_is_dead_five_minutes_after_its_start(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    clock: Clock,
    before: DagsterRunStatus,
    after: DagsterRunStatus,
    later: int,
) -> None:
    run_id = a_run(instance, before)
    clock.pass_time(seconds=later)
    end_dead_runs(instance, ledger, LOG)
    assert status(instance, run_id) == (after if later > 300 else before)


def test_a_healthy_run_of_ten_hours_is_never_ended(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock
) -> None:
    run_id = a_run(instance)
    for _ in range(60):
        ledger.runs.beat(run_id, company="acme", job=SYNC_COMPANY, owner="host:1")
        clock.pass_time(minutes=10)
        ledger.runs.beat(run_id, company="acme", job=SYNC_COMPANY, owner="host:1")
        assert end_dead_runs(instance, ledger, LOG) == []
    assert status(instance, run_id) == STARTED


def test_runs_of_others_are_left_alone(instance: dg.DagsterInstance, ledger: Ledger, clock: Clock) -> None:
    run_id = a_run(instance, job="somebody_elses", company=None)
    clock.pass_time(hours=10)
    assert end_dead_runs(instance, ledger, LOG) == []
    assert status(instance, run_id) == STARTED


def test_a_run_of_single_assets_counts_by_its_heartbeat(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock
) -> None:
    """What is materialized from the asset graph has another job's name, and no tag of ours."""
    run_id = a_run(instance, job="__ASSET_JOB", company=None)
    begin(ledger, run_id, "__ASSET_JOB")
    clock.pass_time(minutes=4)
    assert [each.run_id for each in end_dead_runs(instance, ledger, LOG)] == [run_id]


def test_a_dead_run_is_not_run_again_and_says_what_happened(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock
) -> None:
    run_id = a_run(instance)
    begin(ledger, run_id)
    clock.pass_time(minutes=4)
    (ended,) = end_dead_runs(instance, ledger, LOG)
    assert (ended.job, ended.company) == (SYNC_COMPANY, "acme")
    assert str(ended).startswith(f"Run {run_id[:8]} (sync_company of acme) is ended: its process (host:1) ")
    assert str(ended).endswith("The next run continues from there.")
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags[MAX_RETRIES_TAG] == "0"
    assert run.tags["dagster/will_retry"] == "false"
    (event,) = instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE)
    assert event.message == str(ended)
    assert end_dead_runs(instance, ledger, LOG) == []


def test_what_a_dead_run_holds_in_a_pool_of_an_older_version_is_freed(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock
) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("mailchimp", 4)
    run_id = a_run(instance)
    begin(ledger, run_id)
    storage.claim_concurrency_slot("mailchimp", run_id, "audience_push")
    assert storage.get_concurrency_info("mailchimp").active_run_ids == {run_id}
    clock.pass_time(minutes=4)
    end_dead_runs(instance, ledger, LOG)
    assert storage.get_concurrency_info("mailchimp").active_run_ids == set()


def test_a_run_that_said_good_bye_and_died_before_dagster_heard_is_ended_later(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock
) -> None:
    run_id = a_run(instance)
    begin(ledger, run_id)
    ledger.runs.end(run_id)
    assert end_dead_runs(instance, ledger, LOG) == []
    clock.pass_time(minutes=4)
    assert [each.run_id for each in end_dead_runs(instance, ledger, LOG)] == [run_id]


def test_an_end_that_dagster_refuses_delays_no_other_and_is_tried_again(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = a_run(instance), a_run(instance)
    for run_id in (first, second):
        begin(ledger, run_id)
    clock.pass_time(minutes=4)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON run_tags WHEN NEW.run_id = '"
            + second
            + "' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with caplog.at_level(logging.WARNING):
        assert [each.run_id for each in end_dead_runs(instance, ledger, LOG)] == [first]
    assert f"Run {second} is dead and could not be ended" in caplog.text
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("DROP TRIGGER refuse")
    clock.pass_time(minutes=4)
    assert [each.run_id for each in end_dead_runs(instance, ledger, LOG)] == [second]


def test_a_ledger_that_cannot_be_read_ends_nothing(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = a_run(instance)
    begin(ledger, run_id)
    clock.pass_time(minutes=4)
    with closing(sqlite3.connect(ledger.location.removeprefix("sqlite:///"))) as other:
        other.execute("DROP TABLE ledger_run")
    with caplog.at_level(logging.WARNING):
        assert end_dead_runs(instance, ledger, LOG) == []
    assert "It is not known whether there are dead runs" in caplog.text
    assert status(instance, run_id) == STARTED


@pytest.mark.parametrize(
    ("job", "waits"), [(SYNC_COMPANY, True), (OPT_OUTS, False)], ids=["same job", "another job"]
)
def test_under_way_is_a_run_of_the_same_job_that_is_alive(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock, job: str, waits: bool
) -> None:
    begin(ledger, a_run(instance))
    assert is_under_way(instance, ledger, "acme", job) is waits
    assert not is_under_way(instance, ledger, "other", job)
    clock.pass_time(minutes=3)
    assert not is_under_way(instance, ledger, "acme", job)


def test_what_dagster_calls_started_is_under_way_only_by_its_heartbeat(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    a_run(instance, STARTED)
    assert not is_under_way(instance, ledger, "acme", SYNC_COMPANY)


@pytest.mark.parametrize(
    "requested", [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING]
)
def test_what_was_requested_is_under_way_for_five_minutes(
    instance: dg.DagsterInstance, ledger: Ledger, clock: Clock, requested: DagsterRunStatus
) -> None:
    a_run(instance, requested)
    assert is_under_way(instance, ledger, "acme", SYNC_COMPANY)
    assert not is_under_way(instance, ledger, "acme", OPT_OUTS)
    assert not is_under_way(instance, ledger, "other", SYNC_COMPANY)
    clock.pass_time(seconds=310)
    assert not is_under_way(instance, ledger, "acme", SYNC_COMPANY)


def test_a_sensor_ends_dead_runs_where_all_others_are_switched_off(world: World) -> None:
    (sensor,) = dead_run_sensors(world.settings)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    run_id = a_run(world.instance)
    with Ledger.open(clock=lambda: datetime.now(UTC) - timedelta(minutes=4)) as ledger:
        begin(ledger, run_id)
    skipped = sensor(dg.build_sensor_context(instance=world.instance))
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message is not None
    assert f"Run {run_id[:8]} (sync_company of acme) is ended" in skipped.skip_message
    assert status(world.instance, run_id) == FAILURE
