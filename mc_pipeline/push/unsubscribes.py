"""Carries Odoo's opt-outs into the audiences; nothing may hold this back."""

import pandas as pd

from mc_pipeline.push.writes import MemberWrites, Write


def push_unsubscribes(due: pd.DataFrame, writes: MemberWrites) -> pd.DataFrame:
    """Set every member of ``due`` to unsubscribed; return the rows with ``outcome`` and ``detail``.

    ``due`` has the columns of ``mailchimp_unsubscribes``.
    """
    results = writes.change(
        [
            Write(
                key=row.Index,
                list_id=row.list_id,
                audience=row.audience,
                email=row.email,
                subscriber_hash=row.subscriber_hash,
                operation="unsubscribe",
                body={"status": "unsubscribed"},
            )
            for row in due.itertuples()
        ]
    )
    outcome = pd.Series({result.key: result.outcome for result in results}, dtype=object)
    said = pd.Series({result.key: result.detail for result in results}, dtype=object)
    said = said.reindex(due.index).fillna("")
    return due.assign(
        outcome=outcome.reindex(due.index).fillna("unknown"), detail=said.where(said != "", due["detail"])
    )
