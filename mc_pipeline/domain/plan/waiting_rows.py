"""Which rows of a plan wait until a person approves them, and why; the others are applied (rule 7.6).

An audience that was never approved waits as a whole. When a guard tripped, every row of its kind waits, and
in the whole plan the people whom it would create, move, archive, rename, upgrade or permit: what is wrong
with one kind of change is often wrong with all of them. Updates and new tags of members continue.

What makes sense only with a row that waits, waits with it: the tags of somebody who is not created yet, the
leaving of one audience for another.
"""

from collections.abc import Set

import pandas as pd

from mc_pipeline.domain.plan.guards import GuardReport, rows_of_guard
from mc_pipeline.vocabulary import Operation

WAITS = "waits"
"""Outcome of a row that is not sent until a person approves it."""

_OF_PEOPLE = (
    Operation.CREATE,
    Operation.ARCHIVE,
    Operation.CHANGE_EMAIL,
    Operation.UPGRADE,
    Operation.PERMIT,
)
_TO_ANOTHER_PLACE = ("moved", "email_changed")
_LEAVING = (Operation.ARCHIVE, Operation.TAG, Operation.UNTAG)


def why_rows_wait(plan: pd.DataFrame, report: GuardReport, approved_row_keys: Set[str]) -> pd.Series:
    """Return per row of a plan why it waits; empty where it does not.

    Args:
        plan: rows of ``audience_plan``. Rows that are held back do not wait: no approval releases them.
        report: the plan's guards, judged with the same approvals.
        approved_row_keys: rows that a person has approved. They wait all the same if they depend on a row
            that was not approved.
    """
    reasons = pd.Series("", index=plan.index, dtype=object)
    sent = plan["held_back_because"] == ""
    first = sent & plan["audience"].isin(report.first_load_audiences)
    reasons[first] = "first load of " + plan.loc[first, "audience"]
    open_to_guards = sent & ~first & ~plan["row_key"].isin(approved_row_keys)
    exceeded = [guard for guard in report.guards if guard.exceeded]
    for guard in exceeded:
        counted = open_to_guards & (reasons == "") & rows_of_guard(guard.name, plan)
        if guard.audience:
            counted &= plan["audience"] == guard.audience
        reasons[counted] = guard.because
    if exceeded:
        people = plan["operation"].isin(_OF_PEOPLE) | (plan["cause"] == "moved")
        reasons[open_to_guards & people & (reasons == "")] = "; ".join(
            guard.because for guard in report.tripped
        )
    return _with_what_hangs_on_them(plan, sent, reasons)


def with_waiting(
    plan: pd.DataFrame, pushed: pd.DataFrame, why_waiting: pd.Series, plan_id: str
) -> pd.DataFrame:
    """Join the outcomes of a push with the rows that wait, in the plan's order.

    Args:
        plan: rows of ``audience_plan``.
        pushed: those that did not wait, with ``outcome`` and ``detail``.
        why_waiting: the reasons of :func:`why_rows_wait`.
        plan_id: the plan that a person may approve.
    """
    waiting = plan[why_waiting != ""]
    if waiting.empty:
        return pushed
    said = [f"plan {plan_id} waits for approval: {reason}" for reason in why_waiting[waiting.index]]
    left_out = waiting.assign(outcome=WAITS, detail=said)
    return pd.concat([pushed, left_out]).loc[plan.index] if len(pushed) else left_out


def _with_what_hangs_on_them(plan: pd.DataFrame, sent: pd.Series, reasons: pd.Series) -> pd.Series:
    """Give the rows that depend on a waiting one its reason, and so on, until nothing more waits."""
    while (reasons != "").any():
        others = plan[sent & (reasons == "")]
        found = _reasons_of_hanging(others, plan[reasons != ""], reasons)
        found = found[found != ""]
        if found.empty:
            break
        reasons = reasons.copy()
        reasons[found.index] = found
    return reasons


def _reasons_of_hanging(rows: pd.DataFrame, waiting: pd.DataFrame, reasons: pd.Series) -> pd.Series:
    """Return why each of these rows waits with one of ``waiting``; empty if it depends on none of them."""
    operation = waiting["operation"]
    created = waiting[operation == Operation.CREATE]
    renamed = waiting[operation == Operation.CHANGE_EMAIL]
    upgraded = waiting[operation == Operation.UPGRADE]
    leaving = waiting[operation.isin(_LEAVING) & waiting["cause"].isin(_TO_ANOTHER_PLACE)]

    said = pd.Series("", index=rows.index, dtype=object)

    def add(which: pd.Series, found: pd.Series) -> None:
        taken = which & (said == "") & (found != "")
        said[taken] = found[taken]

    everybody = pd.Series(True, index=rows.index)
    taking = rows["operation"].isin([Operation.CREATE, Operation.CHANGE_EMAIL])
    # Who is not there yet has no fields, tags or permissions, and is not subscribed.
    add(~taking, _at_address(rows, "email", created, "email", reasons))
    add(everybody, _at_address(rows, "email", renamed, "new_email", reasons))
    add(rows["operation"] == Operation.PERMIT, _at_address(rows, "email", upgraded, "email", reasons))
    # An address is freed before somebody else takes it.
    add(
        rows["operation"] == Operation.CHANGE_EMAIL, _at_address(rows, "new_email", renamed, "email", reasons)
    )
    add(rows["operation"] == Operation.CREATE, _at_address(rows, "email", renamed, "email", reasons))
    # Nobody leaves before they are where they belong, and nobody is in two places.
    elsewhere = rows["cause"].isin(_TO_ANOTHER_PLACE)
    add(elsewhere & rows["operation"].isin(_LEAVING), _of_person(rows, created, reasons))
    add(elsewhere & (rows["operation"] == Operation.CREATE), _of_person(rows, leaving, reasons))
    return said


def _at_address(
    rows: pd.DataFrame, column: str, waiting: pd.DataFrame, waiting_column: str, reasons: pd.Series
) -> pd.Series:
    """Return the reason of the waiting row about the same address of the same audience, or an empty text."""
    places = zip(waiting["list_id"], waiting[waiting_column], strict=True)
    known = dict(zip(places, reasons[waiting.index], strict=True))
    return pd.Series(
        [known.get(place, "") for place in zip(rows["list_id"], rows[column], strict=True)],
        index=rows.index,
        dtype=object,
    )


def _of_person(rows: pd.DataFrame, waiting: pd.DataFrame, reasons: pd.Series) -> pd.Series:
    """Return the reason of the waiting row about the same person in any audience, or an empty text."""
    why = reasons[waiting.index]
    by_email = dict(zip(waiting["email"], why, strict=True))
    numbered = waiting["partner_id"].notna()
    by_partner = dict(zip(waiting.loc[numbered, "partner_id"], why[numbered], strict=True))
    return pd.Series(
        [
            by_email.get(email, "") or ("" if pd.isna(partner) else by_partner.get(partner, ""))
            for email, partner in zip(rows["email"], rows["partner_id"], strict=True)
        ],
        index=rows.index,
        dtype=object,
    )
