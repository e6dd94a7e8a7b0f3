"""What is open in a company after a run: one row for each cause, however many steps met it.

Steps report what is wrong with a part (``ledger.troubles``), and continue. What nobody reports is found in
the run itself: steps that failed, checks that failed. Here both become rows, one for each cause.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mc_pipeline.vocabulary import Owner

BROKEN, WAITS, NOT_LOOKED_AT = "broken", "waits", "not_looked_at"
KINDS = (BROKEN, WAITS, NOT_LOOKED_AT)
"""Kinds of what is open, the worst first."""

OK, NEVER_RUN = "ok", "never_run"
"""Further states of a company: nothing is open that a person has to do, and no run has reported anything."""

EXIT_CODES = {OK: 0, NEVER_RUN: 0, WAITS: 3, BROKEN: 1}
"""State of a company, or of a run, to the exit code of a command."""

STEP, CHECK = "step", "check"
"""Parts of what is found in the run itself."""

REPORTED_BY = {"audience_plan": "audience_push"}
"""Assets of which another step reports what waits, when it runs."""

_SHORTEST_CAUSE = 20
_OF_ONE_REQUEST = re.compile(r" \((?:tried \d+ times|X-Request-Id [^)]*)\)")
_RELEASED_BY = re.compile(r"mc-pipeline approve ([\w-]+)")
_AGAIN = "The next run tries again. If it fails again: mc-pipeline doctor {company}."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is open; ``part``, ``place`` and ``code`` say which (see ``ledger.troubles``)."""

    kind: str
    part: str
    place: str
    code: str
    sentence: str
    what_to_do: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class Report(Finding):
    """A finding as a step reported it: by which run; when it was first and last found (UTC)."""

    step: str
    run_id: str
    since: datetime
    seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class FailedStep:
    """A step that failed, and the error that began it, in one sentence.

    ``part``, ``place`` and ``code``: the cause as the step itself names it; empty when it names none.
    ``assets``: what it would have made, or the assets that its checks are about.
    """

    step: str
    sentence: str
    what_to_do: str = ""
    part: str = ""
    place: str = ""
    code: str = ""
    assets: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class FailedCheck:
    """A check that failed with severity ERROR. ``waits``: it says that a person has to approve something."""

    step: str
    asset: str
    name: str
    sentence: str
    what_to_do: str
    owner: str
    waits: bool = False


@dataclass(frozen=True, kw_only=True)
class RunEvents:
    """What happened in a run, as far as it came.

    ran       steps that began
    not_made  assets that were to be made and were not → everything they are made from
    """

    ran: frozenset[str]
    failed: tuple[FailedStep, ...] = ()
    checks: tuple[FailedCheck, ...] = ()
    not_made: Mapping[str, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class StatusRow(Finding):
    """One row of the table ``company_status``.

    step         the steps that reported it
    since        since when it is open (UTC)
    seen_at      when a run last looked (UTC)
    new          it was first seen in this run
    of_this_run  this run looked; otherwise it is as the last run left it that looked
    """

    step: str
    since: datetime
    seen_at: datetime
    new: bool
    of_this_run: bool

    @property
    def sentence_with_age(self) -> str:
        """The sentence, and how old it is when this run did not look."""
        if self.of_this_run:
            return self.sentence
        return f"{self.sentence} (from the last run that looked, at {self.seen_at:%Y-%m-%d %H:%M} UTC)"


def found_in_run(
    company: str, events: RunEvents, reported: Collection[tuple[str, str]]
) -> dict[str, list[Finding]]:
    """Say of each step that ran what is open because of it, beside what it reported itself.

    ``reported``: steps, each with a kind of trouble that it reported in this run. A failed check of such an
    asset says only what was reported already, part by part.
    """
    found: dict[str, list[Finding]] = {step: [] for step in events.ran}
    # What waits fails no step: a step that failed beside such a check has another reason.
    checks_of = {check.step for check in events.checks if not check.waits}
    for check in events.checks:
        by_whom = {check.asset, REPORTED_BY.get(check.asset, check.asset) if check.waits else check.asset}
        if not any((step, _kind(check)) in reported for step in by_whom):
            found.setdefault(check.step, []).append(_of_check(check))
    causes: dict[tuple[str, ...], list[FailedStep]] = {}
    for failed in events.failed:
        # A blocking check fails its step; the check says why.
        if failed.step not in checks_of:
            causes.setdefault(_cause(failed), []).append(failed)
    for steps in causes.values():
        held_up = _held_up(steps, events.not_made)
        for failed in steps:
            found.setdefault(failed.step, []).append(_of_step(company, failed, held_up))
    return found


def status_rows(reports: Iterable[Report], run_id: str, began_at: datetime | None) -> list[StatusRow]:
    """Make the rows of a company's status: the worst first, then the newest run's, then the oldest.

    ``began_at``: when the run began (UTC), after which everything is new in it; None: nobody knows, and only
    what was never found before is.
    """
    return sorted(
        (_row(together, run_id, began_at) for together in _by_cause(list(reports))),
        key=lambda row: (KINDS.index(row.kind), not row.of_this_run, row.since, row.part, row.place),
    )


def state_of(rows: Iterable[StatusRow]) -> str:
    """Say what these rows mean for the company, or for the run: broken, waits or ok."""
    kinds = {row.kind for row in rows}
    return BROKEN if BROKEN in kinds else WAITS if WAITS in kinds else OK


def worst_of(states: Iterable[str]) -> str:
    """Return the state of several companies: the worst of theirs."""
    found = set(states)
    return BROKEN if BROKEN in found else WAITS if WAITS in found else OK


def first_line(company: str, rows: Sequence[StatusRow], at: str) -> str:
    """Say in one line how a company stands; ``at`` is when it was looked at, as people read it."""
    broken, waiting, unknown = (sum(row.kind == kind for row in rows) for kind in KINDS)
    said = [
        f"{_things(broken)} broken" if broken else "",
        # "1 thing is broken, 2 wait for you"
        _that_wait(waiting, after=bool(broken)) if waiting else "",
        f"{unknown:,} {'was' if unknown == 1 else 'were'} not checked" if unknown else "",
    ]
    if not (broken or waiting):
        said.insert(0, "everything else is done" if unknown else "everything is done")
    return f"{company}: {', '.join(filter(None, said))}, {at}"


def failure_sentences(rows: Iterable[StatusRow]) -> list[str]:
    """Say why a run is red, a sentence for each cause; empty: it is not."""
    return [
        " ".join(filter(None, (row.sentence, row.what_to_do)))
        for row in rows
        if row.kind == BROKEN and row.of_this_run
    ]


def _things(count: int) -> str:
    return f"{count:,} thing is" if count == 1 else f"{count:,} things are"


def _that_wait(count: int, *, after: bool) -> str:
    noun = "" if after else " thing" if count == 1 else " things"
    return f"{count:,}{noun} {'waits' if count == 1 else 'wait'} for you"


def _kind(check: FailedCheck) -> str:
    return WAITS if check.waits else BROKEN


def _of_check(check: FailedCheck) -> Finding:
    return Finding(
        kind=_kind(check),
        part=CHECK,
        place=f"{check.asset}/{check.name}",
        code="failed",
        sentence=check.sentence,
        # Some checks say what to do in their own sentence.
        what_to_do="" if _says(check.sentence, check.what_to_do) else check.what_to_do,
        owner=check.owner,
    )


def _says(sentence: str, what_to_do: str) -> bool:
    return bool(what_to_do) and what_to_do.rstrip(".").lower() in sentence.lower()


def _of_step(company: str, failed: FailedStep, held_up: Sequence[str]) -> Finding:
    sentence = failed.sentence
    if held_up:
        sentence = f"{sentence.rstrip('. ')}. Held up by it: {', '.join(held_up)}."
    return Finding(
        kind=BROKEN,
        part=failed.part or STEP,
        place=failed.place or failed.step,
        code=failed.code or "failed",
        sentence=sentence,
        what_to_do=failed.what_to_do or _AGAIN.format(company=company),
        owner=Owner.DATA_ENGINEERING,
    )


def _cause(failed: FailedStep) -> tuple[str, ...]:
    return (failed.part, failed.place, failed.code) if failed.code else (plain_words(failed.sentence),)


def _held_up(failed: Iterable[FailedStep], not_made: Mapping[str, frozenset[str]]) -> list[str]:
    """Name what was not made because of these steps, without what they would have made themselves."""
    theirs = frozenset[str]().union(*(each.assets for each in failed))
    return sorted(
        asset for asset, made_from in not_made.items() if made_from & theirs and asset not in theirs
    )


def _by_cause(reports: Sequence[Report]) -> list[list[Report]]:
    """Put together what has one cause: the same fault of a place, or the same words."""
    groups: list[list[Report]] = []
    # Longest words first: what only repeats a part of them joins.
    for report in sorted(reports, key=lambda each: -len(each.sentence)):
        for group in groups:
            if any(_is_same(report, other) for other in group):
                group.append(report)
                break
        else:
            groups.append([report])
    return groups


def _is_same(one: Report, other: Report) -> bool:
    if (one.part, one.place, one.code) == (other.part, other.place, other.code):
        return True
    if {one.kind, other.kind} == {NOT_LOOKED_AT}:
        return (one.part, one.place) == (other.part, other.place)
    if {one.kind, other.kind} != {BROKEN}:
        return False  # of two things that wait, each has a release of its own
    shorter, longer = sorted((plain_words(one.sentence), plain_words(other.sentence)), key=len)
    if len(shorter) < _SHORTEST_CAUSE:
        return False
    # A step that failed says what it holds up behind the words; a check may report several things at once.
    return shorter == longer or (STEP in (one.part, other.part) and longer.startswith(shorter))


def plain_words(sentence: str) -> str:
    """Return a sentence without what differs from one request to the next: two of one cause are equal."""
    return _OF_ONE_REQUEST.sub("", sentence).rstrip(". ")


def _row(reports: Sequence[Report], run_id: str, began_at: datetime | None) -> StatusRow:
    """One row of several reports: what the worst of the present ones says, and all steps that met it."""
    present = [each for each in reports if each.run_id == run_id] or list(reports)
    worst = min(present, key=lambda each: (KINDS.index(each.kind), -len(each.sentence), each.step))
    since = min(each.since for each in reports)
    seen_at = max(each.seen_at for each in present)
    of_this_run = any(each.run_id == run_id for each in reports)
    is_first = since >= began_at if began_at is not None else since == seen_at
    return StatusRow(
        kind=worst.kind,
        part=worst.part,
        place=worst.place,
        code=worst.code,
        sentence=worst.sentence,
        what_to_do=worst.what_to_do or next((each.what_to_do for each in present if each.what_to_do), ""),
        owner=worst.owner,
        step=", ".join(sorted({each.step for each in present})),
        since=since,
        seen_at=seen_at,
        new=of_this_run and is_first,
        of_this_run=of_this_run,
    )


def not_yet_reported(waiting: Mapping[str, Finding], reports: Iterable[Report]) -> list[Finding]:
    """Return what waits, by the id that releases it, unless a report of something that waits names the id."""
    reported = " ".join(f"{each.sentence} {each.what_to_do}" for each in reports if each.kind == WAITS)
    return [finding for plan_id, finding in waiting.items() if plan_id not in reported]


def approval_ids(row: StatusRow) -> frozenset[str]:
    """Return the ids with which a person approves what a row reports."""
    return (
        frozenset(_RELEASED_BY.findall(f"{row.sentence} {row.what_to_do}"))
        if row.kind == WAITS
        else frozenset()
    )


def as_report(finding: Finding, *, step: str, run_id: str, at: datetime) -> Report:
    """Take a finding for one that was found just now."""
    return Report(**vars(finding), step=step, run_id=run_id, since=at, seen_at=at)
