"""When the first load of an audience is over: what of it a push has left to do (rules 4.3 and 7.3).

The first load lasts until the outcome of all writes of the approved first plan is known. A crash, an approval
and a refusal by Mailchimp do not end it by themselves: what was refused is known, what was not sent or not
answered is not.
"""

from collections.abc import Collection

import pandas as pd

from mc_pipeline.domain.plan.waiting_rows import WAITS
from mc_pipeline.vocabulary import Operation, OutcomeKind

_NOT_KNOWN = (OutcomeKind.UNKNOWN, OutcomeKind.NOT_SENT)


def still_loading(
    outcome: pd.DataFrame,
    released: Collection[str],
    *,
    known_details: Collection[str],
    unread: Collection[str],
    open_lists: Collection[str],
) -> set[str]:
    """Return the list ids for which writes of their first load are still to come.

    Rows that wait for approval or are held back do not count when they were never part of a first plan, such
    as an archive. A creation always counts: a person who is not a member yet belongs to the load.

    Args:
        outcome: the rows of a plan that was pushed to its end, with ``outcome`` and ``detail``.
        released: keys of the rows of the approved first plans.
        known_details: details of held-back rows of which it is known that no later plan has them.
        unread: list ids of audiences that were not read: the plan has no row of most of their people.
        open_lists: list ids of audiences with writes of which nobody knows yet whether they were applied.
    """
    waits = (outcome["outcome"] == OutcomeKind.HELD_BACK) & ~outcome["detail"].isin(list(known_details))
    waits |= outcome["outcome"] == WAITS
    waits &= (outcome["operation"] == Operation.CREATE) | outcome["row_key"].isin(list(released))
    waits |= outcome["outcome"].isin(_NOT_KNOWN)
    return {*unread, *open_lists, *outcome.loc[waits, "list_id"]}
