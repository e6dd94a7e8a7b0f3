"""Applies Odoo's opt-outs to the audiences; nothing may hold this back."""

import pandas as pd

from mc_pipeline.push.member_writes import MemberWrites, Write
from mc_pipeline.vocabulary import MemberStatus, Operation, OutcomeKind


def push_unsubscribes(due: pd.DataFrame, writes: MemberWrites) -> pd.DataFrame:
    """Set every member of ``due`` to unsubscribed; return the rows with ``outcome`` and ``detail``.

    ``due`` has the columns of ``mailchimp_unsubscribes``.
    """
    results = writes.change(
        [
            Write(
                key=key,
                list_id=list_id,
                audience=audience,
                email=email,
                subscriber_hash=subscriber_hash,
                operation=Operation.UNSUBSCRIBE,
                body={"status": MemberStatus.UNSUBSCRIBED},
            )
            for key, list_id, audience, email, subscriber_hash in zip(
                due.index, due["list_id"], due["audience"], due["email"], due["subscriber_hash"], strict=True
            )
        ]
    )
    outcome = pd.Series({result.key: result.outcome for result in results}, dtype=object)
    said = pd.Series({result.key: result.detail for result in results}, dtype=object)
    said = said.reindex(due.index).fillna("")
    return due.assign(
        outcome=outcome.reindex(due.index).fillna(OutcomeKind.UNKNOWN),
        detail=said.where(said != "", due["detail"]),
    )
