"""How much a plan may change before a person has to look at it, and when a plan may be applied at all.

Guards count rows that would be sent and that nobody approved yet (rules 7.1 to 7.3). Opt-outs are not in the
plan and have no guard.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import pandas as pd

from mc_pipeline.domain.plan_rows import NOT_QUALIFYING_TAG

OLDEST_OBSERVATION = timedelta(hours=2)
"""A plan made from an older observation is not applied."""

OLDEST_OBSERVATION_FOR_SUBSCRIBING = timedelta(minutes=10)
"""People are created as subscribed only after looking at the audience again when the observation is older."""


class GuardLike(Protocol):
    """One guard: how many changes are allowed in an audience of this size."""

    def limit(self, audience_size: int) -> int: ...


class GuardSettingsLike(Protocol):
    """The guards of one company."""

    @property
    def created(self) -> GuardLike: ...
    @property
    def archived(self) -> GuardLike: ...
    @property
    def moved(self) -> GuardLike: ...
    @property
    def email_changes(self) -> GuardLike: ...
    @property
    def tags_removed(self) -> GuardLike: ...


@dataclass(frozen=True)
class GuardResult:
    """One guard judged; ``audience`` is empty for the company as a whole."""

    name: str
    audience: str
    count: int
    limit: int
    exceeded: bool
    because: str


@dataclass(frozen=True)
class GuardReport:
    """All guards of one plan.

    Attributes:
        guards: company first, then per audience; the guards that were not exceeded too.
        first_load_audiences: audiences that the plan writes to for the first time without an approval.
        needs_approval: whether a person has to approve the plan before it is applied.
        sentence: what a person should know about it, in one sentence.
    """

    guards: tuple[GuardResult, ...]
    first_load_audiences: tuple[str, ...]
    needs_approval: bool
    sentence: str


def _created(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == "create"


def _archived(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == "archive"


def _moved(plan: pd.DataFrame) -> pd.Series:
    return (plan["cause"] == "moved") & (plan["operation"] != "create")


def _email_changes(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == "change_email"


def _tags_removed(plan: pd.DataFrame) -> pd.Series:
    return (plan["operation"] == "untag") & (plan["tag"] != NOT_QUALIFYING_TAG)


_WORDS: Mapping[str, tuple[Callable[[pd.DataFrame], pd.Series], str, bool]] = {
    "created": (_created, "contacts would be created", False),
    "archived": (_archived, "members would be archived", True),
    "moved": (_moved, "members would leave for another audience", True),
    "email_changes": (_email_changes, "e-mail addresses would change", True),
    "tags_removed": (_tags_removed, "members would lose a tag", True),
}
"""Guard -> (which rows, in words, whether it is judged per audience too). Removals are: a small audience
emptied by mistake would go unnoticed beside a large one."""


def evaluate_guards(
    plan: pd.DataFrame,
    audience_sizes: Mapping[str, int],
    guards: GuardSettingsLike,
    approved_row_keys: Set[str] = frozenset(),
    opened_audiences: Set[str] = frozenset(),
) -> GuardReport:
    """Judge a plan.

    Args:
        plan: rows of ``audience_plan``; held-back rows do not count, since they are not sent.
        audience_sizes: audience (its name in the settings) -> number of its members now, archived ones aside.
        guards: the company's settings.
        approved_row_keys: rows that a person has approved; they count in no guard.
        opened_audiences: list ids of audiences that were written to with an approval before.

    Returns:
        The report. People are counted, not rows: a member who loses two tags counts once.
    """
    sent = plan[plan["held_back_because"] == ""]
    counted = sent[~sent["row_key"].isin(approved_row_keys)]
    total = sum(audience_sizes.values())
    results = []
    for name, (rows_of, words, per_audience) in _WORDS.items():
        guard: GuardLike = getattr(guards, name)
        rows = counted[rows_of(counted).astype(bool)]
        people = rows[["audience", "list_id", "email"]].drop_duplicates()
        results.append(_judge(name, "", len(people), guard.limit(total), total, words))
        if per_audience:
            per = people.groupby("audience").size()
            for audience in sorted(audience_sizes.keys() | set(per.index)):
                size = audience_sizes.get(audience, 0)
                results.append(
                    _judge(name, audience, int(per.get(audience, 0)), guard.limit(size), size, words)
                )
    first = tuple(sorted(counted.loc[~counted["list_id"].isin(opened_audiences), "audience"].unique()))
    exceeded = [result for result in results if result.exceeded]
    reasons = [f"{', '.join(first)}: first load"] if first else []
    reasons += [result.because for result in exceeded]
    if reasons:
        sentence = f"Needs approval: {'; '.join(reasons)}."
    elif sent.empty:
        sentence = "Nothing to change."
    elif counted.empty:
        sentence = "All changes are approved."
    else:
        sentence = "All changes are within the guards."
    return GuardReport(tuple(results), first, bool(reasons), sentence)


def _judge(name: str, audience: str, count: int, limit: int, size: int, words: str) -> GuardResult:
    exceeded = count > limit
    where = f"of {size:,} in {audience}" if audience else f"of {size:,} in all audiences"
    verdict = "more than" if exceeded else "within"
    return GuardResult(
        name,
        audience,
        count,
        limit,
        exceeded,
        f"{count:,} {words} ({where}), {verdict} the limit of {limit:,}",
    )


def push_refusal(
    plan_id: str,
    report: GuardReport,
    observed_at: datetime,
    now: datetime,
    newest_observation_at: datetime | None,
    applied: bool,
) -> str | None:
    """Say why a plan may not be applied, or None when it may (rule 7.1).

    Args:
        plan_id: the plan.
        report: its guards, judged with the approvals that exist now.
        observed_at: when its Mailchimp members were read, UTC.
        now: the present time, UTC.
        newest_observation_at: when the company's members were read last, as the ledger knows it.
        applied: whether the plan was applied from this same observation already.
    """
    if applied:
        return f"Plan {plan_id} has been applied already; make a new plan."
    if now - observed_at > OLDEST_OBSERVATION:
        hours = (now - observed_at) / timedelta(hours=1)
        return (
            f"Plan {plan_id} was made from an observation {hours:.1f} hours old; at most 2 hours are "
            "allowed, so make a new plan."
        )
    if newest_observation_at is not None and newest_observation_at > observed_at:
        return f"Mailchimp was observed again after plan {plan_id} was made; apply the newer plan."
    if report.needs_approval:
        return f"Plan {plan_id}: {report.sentence} Release it with: mc-pipeline approve {plan_id}"
    return None


def creates_need_new_observation(observed_at: datetime, now: datetime) -> bool:
    """Tell whether the audience must be looked at again before anybody is created as subscribed."""
    return now - observed_at > OLDEST_OBSERVATION_FOR_SUBSCRIBING
