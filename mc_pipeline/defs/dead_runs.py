"""Ends the runs whose process died: Dagster shows them as running forever (RULES 7.5).

A process that is killed, or whose machine loses power, reports nothing. Its run keeps the status STARTED, and
what the status holds up (a tag limit, a slot of a pool, a person who waits) is held up with it. What looks
next, a sensor or a command, ends it here: alone by the heartbeat in the ledger, so that it is the same for
runs of the terminal, of the daemon and of Celery, and nothing that is alive is ever ended.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from mc_pipeline.defs.consent.erasure import ERASE_PERSON
from mc_pipeline.defs.jobs import APPROVE_PLAN, OPT_OUTS, SYNC_COMPANY
from mc_pipeline.defs.partitions import COMPANY_TAG, company_of
from mc_pipeline.defs.sensing import reason_of
from mc_pipeline.ledger import Ledger, RunBeat
from mc_pipeline.ledger.runs import LONGEST_SILENCE
from mc_pipeline.settings import Settings
from mc_pipeline.sync.systems import Systems

DEAD_RUNS = "dead_runs"
_SECONDS_BETWEEN_LOOKS = 60
MAX_RETRIES_TAG = "dagster/max_retries"
LONGEST_START = timedelta(minutes=5)
"""A run that runs by Dagster's word for longer, and never had a heartbeat, is dead too."""
_UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class EndedRun:
    """A run that was found dead and ended. ``company`` is empty for a job of all companies."""

    run_id: str
    job: str
    company: str
    because: str

    def __str__(self) -> str:
        what = f"{self.job} of {self.company}" if self.company else self.job
        return f"Run {self.run_id[:8]} ({what}) is ended: {self.because}"


def end_dead_runs(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    log: logging.Logger,
    *,
    longest_silence: timedelta | None = None,
) -> list[EndedRun]:
    """End every run of ours that Dagster shows as running and whose heartbeat says that it is dead.

    Trouble with one run is logged, and the others are ended; the caller continues in any case.
    ``longest_silence`` is 3 minutes (``mc_pipeline.ledger.runs.LONGEST_SILENCE``).
    """
    silence = LONGEST_SILENCE if longest_silence is None else longest_silence
    try:
        unfinished = instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
        # The heartbeats are read after the statuses: a run that started meanwhile has one.
        beats = ledger.runs.known([record.dagster_run.run_id for record in unfinished]) if unfinished else {}
    except Exception as error:
        log.warning(f"It is not known whether there are dead runs: {reason_of(error)}")
        return []
    ended = []
    for record in unfinished:
        beat = beats.get(record.dagster_run.run_id)
        try:
            because = _why_dead(record, beat, ledger.now(), silence)
            if because and (beat is None or ledger.runs.end_silent(beat)):
                done = _end(instance, record.dagster_run.run_id, because)
                ended += [done] if done else []
        except Exception as error:
            log.warning(f"Run {record.dagster_run.run_id} is dead and could not be ended: {reason_of(error)}")
    return ended


def end_dead_runs_at_a_tick(context: dg.SensorEvaluationContext, systems: Systems) -> None:
    """End dead runs before a sensor looks; whatever happens here, it looks afterwards."""
    try:
        for ended in end_dead_runs(context.instance, systems.ledger, context.log):
            context.log.warning(str(ended))
    except Exception as error:
        context.log.warning(f"It is not known whether there are dead runs: {reason_of(error)}")


def dead_run_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Make the sensor ``dead_runs``, the only one that looks where the others are switched off."""

    @dg.sensor(
        name=DEAD_RUNS,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Ends runs whose process was killed, so that nothing waits for them. They are recognised by "
            "their heartbeat; a run that is alive is never ended, however long it takes."
        ),
    )
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        systems = Systems(settings)
        try:
            ended = end_dead_runs(context.instance, systems.ledger, context.log)
        finally:
            systems.close()
        return dg.SkipReason("; ".join(map(str, ended)) or "no dead runs")

    return [dead_runs]


def _why_dead(record: dg.RunRecord, beat: RunBeat | None, now: datetime, silence: timedelta) -> str:
    """Say why a run is dead; empty when it is alive, or not ours."""
    run = record.dagster_run
    if beat is not None:
        if now - beat.last_sign <= silence:
            return ""
        return (
            f"its process ({beat.owner}) was last alive at {_moment(beat.last_sign)}, so it was "
            "killed or its machine went down"
        )
    # Which starts are too slow, Dagster's own monitoring knows.
    if not _is_ours(run) or run.status == dg.DagsterRunStatus.STARTING or record.start_time is None:
        return ""
    started = datetime.fromtimestamp(record.start_time, UTC)
    if now - started <= LONGEST_START:
        return ""
    return f"its process started at {_moment(started)} and sent no heartbeat since, so it was killed"


def _is_ours(run: dg.DagsterRun) -> bool:
    return COMPANY_TAG in run.tags or run.job_name in (SYNC_COMPANY, OPT_OUTS, APPROVE_PLAN, ERASE_PERSON)


def _end(instance: dg.DagsterInstance, run_id: str, because: str) -> EndedRun | None:
    """End one run in Dagster, with what it left there; None when it has ended on its own."""
    ended = None
    if _unfinished(instance, run_id):
        # First of all: the daemon would start a second one, as if this one had crashed just now.
        instance.add_run_tags(run_id, {MAX_RETRIES_TAG: "0"})
    if run := _unfinished(instance, run_id):
        ended = EndedRun(
            run_id, run.job_name, company_of(run), f"{because}. The next run continues from there."
        )
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, str(ended))
        else:
            instance.report_run_failed(run, str(ended))
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return ended


def _unfinished(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run is not None and run.status in _UNFINISHED else None


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
