"""How much a plan may change before a person has to look at it, and when a plan may be applied at all.

Guards count rows that would be sent and that nobody approved yet (rules 7.1 to 7.3). What waits because of
them is in ``waiting_rows``. Opt-outs are not in the plan and have no guard.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from mc_pipeline.domain.company import Guard, Guards
from mc_pipeline.domain.plan.rows import NOT_QUALIFYING_TAG
from mc_pipeline.vocabulary import Operation

OLDEST_OBSERVATION = timedelta(hours=2)
"""A plan made from an older observation is not applied."""

OLDEST_OBSERVATION_FOR_SUBSCRIBING = timedelta(minutes=10)
"""People are created as subscribed only after looking at the audience again when the observation is older."""


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
        first_load_audiences: audiences that nobody ever approved and that the plan, or the push of their
            store, would write to.
        needs_approval: whether something waits until a person approves the plan.
        sentence: what a person should know about it, in one sentence.
    """

    guards: tuple[GuardResult, ...]
    first_load_audiences: tuple[str, ...]
    needs_approval: bool
    sentence: str

    @property
    def tripped(self) -> tuple[GuardResult, ...]:
        """The guards that were exceeded, each listed once: by audience where that is known, else as a
        whole."""
        exceeded = [guard for guard in self.guards if guard.exceeded]
        of_audiences = {guard.name for guard in exceeded if guard.audience}
        return tuple(guard for guard in exceeded if guard.audience or guard.name not in of_audiences)


def _created(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == Operation.CREATE


def _archived(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == Operation.ARCHIVE


def _moved(plan: pd.DataFrame) -> pd.Series:
    return (plan["cause"] == "moved") & (plan["operation"] != Operation.CREATE)


def _email_changes(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == Operation.CHANGE_EMAIL


def _tags_removed(plan: pd.DataFrame) -> pd.Series:
    return (plan["operation"] == Operation.UNTAG) & (plan["tag"] != NOT_QUALIFYING_TAG)


def _upgrades(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == Operation.UPGRADE


def _permissions(plan: pd.DataFrame) -> pd.Series:
    return plan["operation"] == Operation.PERMIT


_WORDS: Mapping[str, tuple[Callable[[pd.DataFrame], pd.Series], str, bool]] = {
    "created": (_created, "contacts would be created", False),
    "archived": (_archived, "members would be archived", True),
    "moved": (_moved, "members would leave for another audience", True),
    "email_changes": (_email_changes, "e-mail addresses would change", True),
    "tags_removed": (_tags_removed, "members would lose a tag", True),
    "upgrades": (_upgrades, "transactional members would become subscribed", False),
    "permissions": (_permissions, "members would be given marketing permissions", False),
}
"""Guard -> (which rows, in words, whether it is judged per audience too). Removals are: a small audience
emptied by mistake would go unnoticed beside a large one."""


def rows_of_guard(name: str, plan: pd.DataFrame) -> pd.Series:
    """Return for every row of a plan whether this guard counts it."""
    return _WORDS[name][0](plan).astype(bool)


def evaluate_guards(
    plan: pd.DataFrame,
    audience_sizes: Mapping[str, int],
    guards: Guards,
    approved_row_keys: Set[str] = frozenset(),
    opened_audiences: Set[str] = frozenset(),
    stores_to_open: Set[str] = frozenset(),
) -> GuardReport:
    """Judge a plan.

    An audience that was never approved waits as a whole: its rows, and its members, count in no guard, so
    that its first load holds back no other audience.

    Args:
        plan: rows of ``audience_plan``; held-back rows do not count, since they are not sent.
        audience_sizes: audience (its name in the settings) -> number of its members now, archived ones aside.
        guards: the company's settings.
        approved_row_keys: rows that a person has approved; they count in no guard.
        opened_audiences: list ids of audiences whose first load a person has approved, at any time.
        stores_to_open: audiences that were never approved and whose store would be filled, though the plan
            may have no row for them.

    Returns:
        The report. People are counted, not rows: a member who loses two tags counts once.
    """
    sent = plan[plan["held_back_because"] == ""]
    closed = ~sent["list_id"].isin(opened_audiences)
    first = tuple(sorted({*sent.loc[closed, "audience"], *stores_to_open}))
    counted = sent[~closed & ~sent["row_key"].isin(approved_row_keys)]
    sizes = {audience: size for audience, size in audience_sizes.items() if audience not in first}
    total = sum(sizes.values())
    results = []
    for name, (_, words, per_audience) in _WORDS.items():
        guard: Guard = getattr(guards, name)
        rows = counted[rows_of_guard(name, counted)]
        people = rows[["audience", "list_id", "email"]].drop_duplicates()
        results.append(_judge(name, "", len(people), guard.limit(total), total, words))
        if per_audience:
            per = people.groupby("audience").size()
            for audience in sorted(sizes.keys() | set(per.index)):
                size = sizes.get(audience, 0)
                results.append(
                    _judge(name, audience, int(per.get(audience, 0)), guard.limit(size), size, words)
                )
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
    observed_at: datetime,
    now: datetime,
    newest_observation_at: datetime | None,
    applied: bool,
    leaking: int = 0,
) -> str | None:
    """Say why nothing of a plan may be applied, or None when it may (rule 7.1).

    A plan that needs an approval is applied but for what waits: ``waiting_rows``.

    Args:
        plan_id: the plan.
        observed_at: when its Mailchimp members were read, UTC.
        now: the present time, UTC.
        newest_observation_at: when the company's members were read last, as the ledger knows it.
        applied: whether the plan was applied from this same observation already, in part or as a whole. What
            was left out of it is in the plan of the next observation.
        leaking: how many of its rows would harm somebody.
    """
    if leaking:
        return (
            f"Plan {plan_id} has {leaking:,} rows that would harm somebody: nothing of it is pushed. This "
            "is a bug in mc_pipeline; report it with the plan's id. The check no_leaks lists the rows."
        )
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
    return None


def creates_need_new_observation(observed_at: datetime, now: datetime) -> bool:
    """Return whether the audience must be looked at again before anybody is created as subscribed."""
    return now - observed_at > OLDEST_OBSERVATION_FOR_SUBSCRIBING
