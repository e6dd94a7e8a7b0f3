"""Reads from Dagster's event log what happened in a run: which steps and checks failed, and why."""

import builtins
from collections.abc import Iterable

import dagster as dg
from dagster import DagsterEventType

from mc_pipeline.defs.audience.checks import WITHIN_GUARDS
from mc_pipeline.defs.partitions import COMPANY_STATUS
from mc_pipeline.domain.company_status import FailedCheck, FailedStep, RunEvents
from mc_pipeline.masking import mask_text
from mc_pipeline.vocabulary import Owner

_WAITING = frozenset({WITHIN_GUARDS})
"""Checks that say what waits for a person; all others say what is broken."""

_INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
_THAT_EXPLAIN_THEMSELVES = ("mc_pipeline.", "dagster.")
"""Beginnings of the names of errors that are written for people; all others are faults of the program, but
for those of the machine (OSError: a full disk, a folder that cannot be written)."""

_READ = {
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_CHECK_EVALUATION,
}


def events_of(instance: dg.DagsterInstance, run_id: str, job: dg.JobDefinition) -> RunEvents:
    """Say what happened in a run of a job until now, except in the step ``company_status`` itself."""
    ran: set[str] = set()
    planned: dict[str, set[str]] = {}
    made: set[str] = set()
    failures: dict[str, dg.DagsterEvent] = {}
    checks: list[tuple[str, dg.AssetCheckEvaluation]] = []
    for entry in instance.all_logs(run_id, of_type=_READ):
        event = entry.dagster_event
        if event is None or event.step_key in (None, COMPANY_STATUS):
            continue
        step = str(event.step_key)
        if event.event_type is DagsterEventType.STEP_START:
            ran.add(step)
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            if not _was_interrupted(event):
                failures[step] = event
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            checks.append((step, event.asset_check_evaluation_data))
        elif event.asset_key is not None:
            asset = event.asset_key.to_user_string()
            if event.event_type is DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                planned.setdefault(step, set()).add(asset)
            else:
                made.add(asset)
    about = {step: {evaluation.asset_key.to_user_string()} for step, evaluation in checks}
    return RunEvents(
        ran=frozenset(ran),
        failed=tuple(
            _failed_step(step, event, planned.get(step, set()) | about.get(step, set()))
            for step, event in failures.items()
        ),
        checks=tuple(_failed_checks(checks, job)),
        not_made={
            asset: _made_from(job, asset) for step in planned for asset in planned[step] if asset not in made
        },
    )


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether somebody ended the run in this step: nothing is broken then, and the next run continues."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name in _INTERRUPTIONS


def _failed_step(step: str, event: dg.DagsterEvent, assets: Iterable[str]) -> FailedStep:
    data = event.step_failure_data
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    failure = data.user_failure_data
    if failure is not None and failure.description:
        sentence = failure.description
    else:
        sentence = _sentence(step, error.message if error else "")
    said = {name: _text(value) for name, value in (failure.metadata if failure else {}).items()}
    return FailedStep(
        step=step,
        sentence=mask_text(" ".join(sentence.split())),
        what_to_do=mask_text(said.get("what_to_do", "")),
        part=said.get("part", ""),
        place=said.get("place", ""),
        code=said.get("code", ""),
        assets=frozenset(assets),
    )


def _sentence(step: str, message: str) -> str:
    """Say why a step failed, by its error's message, in front of which Dagster puts the error's class."""
    name, _, words = message.strip().partition(":")
    words = words.strip()
    if name.startswith(_THAT_EXPLAIN_THEMSELVES):
        return words or f"{step} ended with {name.rpartition('.')[2]}"
    known = vars(builtins).get(name)
    if isinstance(known, type) and issubclass(known, OSError):
        return f"{step} could not continue: {words}"
    return (
        f"{step} failed because of a bug in mc_pipeline, {' '.join(message.split()) or 'without a message'}"
    )


def _text(value: object) -> str:
    return str(getattr(value, "value", value) or "")


def _failed_checks(
    checks: Iterable[tuple[str, dg.AssetCheckEvaluation]], job: dg.JobDefinition
) -> Iterable[FailedCheck]:
    graph = job.asset_layer.asset_graph
    for step, evaluation in checks:
        if evaluation.passed or (
            evaluation.severity != dg.AssetCheckSeverity.ERROR and evaluation.check_name not in _WAITING
        ):
            continue
        spec = graph.get_check_spec(evaluation.asset_check_key)
        owner = _text((spec.metadata or {}).get("owner")) or Owner.DATA_ENGINEERING
        yield FailedCheck(
            step=step,
            asset=evaluation.asset_key.to_user_string(),
            name=evaluation.check_name,
            sentence=mask_text(evaluation.description or f"{evaluation.check_name} failed"),
            what_to_do=_what_to_do(spec.description or "", owner),
            owner=owner,
            waits=evaluation.check_name in _WAITING,
        )


def _what_to_do(description: str, owner: str) -> str:
    """The part of a check's description that says what its owner does."""
    advice = description.partition(f"For {owner}: ")[2].strip()
    return advice[:1].upper() + advice[1:]


def _made_from(job: dg.JobDefinition, asset: str) -> frozenset[str]:
    """Everything of the job that an asset is made from, however far back."""
    graph = job.asset_layer.asset_graph
    found: set[dg.AssetKey] = set()
    waiting = [dg.AssetKey.from_user_string(asset)]
    while waiting:
        for parent in graph.get(waiting.pop()).parent_keys:
            if parent not in found and graph.has(parent):
                found.add(parent)
                waiting.append(parent)
    return frozenset(key.to_user_string() for key in found)
