"""Puts together the state of a company: what the run shows, what its steps reported, and what waits."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from mc_pipeline.domain.company_status import (
    BROKEN,
    WAITS,
    Finding,
    Report,
    RunEvents,
    StatusRow,
    as_report,
    found_in_run,
    not_yet_reported,
    status_rows,
)
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.troubles import OpenTrouble, Trouble, TroubleKind
from mc_pipeline.masking import mask_text
from mc_pipeline.tables import Table, schemas
from mc_pipeline.vocabulary import Owner

_ABOUT = "company_status/"
"""Before the name of a step: what ``company_status`` reports of it, beside what the step reports itself."""

RUN_ID, JOB, SYNCED_AT = "run_id", "job", "synced_at"
"""Facts of the table company_status. ``synced_at``: the last run of the whole sync (ISO 8601, UTC)."""


def find_status(
    company: str, run_id: str, events: RunEvents, ledger: Callable[[], Ledger], now: datetime
) -> list[StatusRow]:
    """Return what is open in a company after a run; what the run shows is kept for later runs.

    A ledger that cannot be opened or read is one of the things that are open then, beside what the run shows.
    """
    try:
        opened = ledger()
        _keep(company, run_id, events, opened)
        return status_of(company, run_id, opened)
    except Exception as error:
        in_run = found_in_run(company, events, ())
        found = [(step, finding) for step, findings in in_run.items() for finding in findings]
        found.append(("ledger", _no_ledger(error)))
        reports = [as_report(finding, step=step, run_id=run_id, at=now) for step, finding in found]
        return status_rows(reports, run_id, None)


def status_of(company: str, run_id: str, ledger: Ledger) -> list[StatusRow]:
    """Return what is open in a company by the ledger, as this run, or the last one that looked, left it."""
    run = ledger.runs.known([run_id]).get(run_id)
    began_at = run.started_at if run else None
    reports = [_as_report(each) for each in ledger.troubles.open(company)]
    for plan_id, plan in _waiting_plans(company, ledger).items():
        finding, made_at = plan
        if not_yet_reported({plan_id: finding}, reports):
            by = run_id if began_at is not None and made_at >= began_at else ""
            reports.append(as_report(finding, step="audience_plan", run_id=by, at=made_at))
    return status_rows(reports, run_id, began_at)


def as_table(rows: Iterable[StatusRow], read_at: datetime, facts: Mapping[str, str]) -> Table:
    """Make the table ``company_status`` of its rows."""
    import pandas as pd

    columns = schemas.COMPANY_STATUS.names
    records = [{name: getattr(row, name) for name in columns} for row in rows]
    empty = schemas.COMPANY_STATUS.empty()
    shown = pd.DataFrame(records, columns=columns).astype(empty.dtypes.to_dict()) if records else empty
    return Table(shown, read_at, facts=facts)


def rows_of(table: Table) -> list[StatusRow]:
    """Return the rows of a stored table ``company_status``."""
    times = ("since", "seen_at")
    return [
        StatusRow(
            **{str(name): value.to_pydatetime() if name in times else value for name, value in record.items()}
        )
        for record in table.rows[schemas.COMPANY_STATUS.names].to_dict("records")
    ]


def _keep(company: str, run_id: str, events: RunEvents, ledger: Ledger) -> None:
    """Keep what the run shows, by step: a problem counts as gone once the step has run again."""
    known = ledger.troubles.open(company)
    reported = {(each.step, each.trouble.kind.value) for each in known if each.run_id == run_id}
    told_before = {each.step for each in known}
    for step, findings in found_in_run(company, events, reported).items():
        about = f"{_ABOUT}{step}"
        if findings or about in told_before:
            troubles = [Trouble(**{**vars(each), "kind": TroubleKind(each.kind)}) for each in findings]
            ledger.troubles.report(company, about, run_id, troubles)


def _as_report(found: OpenTrouble) -> Report:
    return Report(
        **{**vars(found.trouble), "kind": found.trouble.kind.value},
        step=found.step.removeprefix(_ABOUT),
        run_id=found.run_id,
        since=found.since,
        seen_at=found.seen_at,
    )


def _waiting_plans(company: str, ledger: Ledger) -> dict[str, tuple[Finding, datetime]]:
    """Plans that wait, by id, with when they were made."""
    return {
        plan.plan_id: (
            Finding(
                kind=WAITS,
                part="plan",
                place=plan.plan_id,
                code="approval",
                sentence=str(plan.counts.get("verdict") or f"A plan of {plan.row_count:,} changes waits."),
                what_to_do=(
                    "Look at the plan and approve it with the job approve_plan, or: mc-pipeline approve "
                    f"{plan.plan_id}"
                ),
                owner=Owner.MARKETING_OPS,
            ),
            plan.saved_at or plan.observed_at,
        )
        for plan in ledger.plans.waiting(company)
    }


def _no_ledger(error: Exception) -> Finding:
    return Finding(
        kind=BROKEN,
        part="ledger",
        place="ledger",
        code="unavailable",
        sentence=mask_text(str(error)) or type(error).__name__,
        what_to_do=(
            "Until the ledger can be used, nothing is written; anything else that is open is recorded there."
        ),
        owner=Owner.DATA_ENGINEERING,
    )
