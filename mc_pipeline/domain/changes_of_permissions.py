"""Which members get the marketing permissions (GDPR) that their consent in Odoo stands for (rule 4.5).

Only whom we subscribed on that evidence, and once for ever: a permission that a person takes back stays
taken back.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.audience_view import parse
from mc_pipeline.domain.changes_of_members import evidence_time, still_refused
from mc_pipeline.domain.plan_rows import canonical_json


def rows_for_permissions(
    members: pd.DataFrame,
    created: pd.DataFrame,
    subscribed_by_us: Set[tuple[str, str]],
    blocked: Set[str],
    permissions_of_list: Mapping[str, Sequence[str]],
    planned_at: datetime,
) -> pd.DataFrame:
    """Make the plan's permit rows: one per member, with all permissions that are missing.

    Args:
        members: rows of ``view.desired`` that are members now.
        created: rows of ``view.desired`` that this plan creates as subscribed.
        subscribed_by_us: list id and address of members whom this pipeline subscribed on evidence, or whom
            this plan subscribes.
        blocked: addresses that opted out, bounced or were archived anywhere.
        permissions_of_list: names of the permissions to give, per list that asks for some.
        planned_at: a refusal "for now" is tried again from its time on.
    """
    ours = pd.Series(
        [key in subscribed_by_us for key in zip(members["list_id"], members["email"], strict=True)],
        index=members.index,
        dtype=bool,
    )
    rows = pd.concat([members[ours], created])
    dated = pd.Series(
        [evidence_time(evidence) is not None for evidence in rows["evidence_json"]],
        index=rows.index,
        dtype=bool,
    )
    rows = rows[dated & ~rows["permitted"] & ~rows["opted_out"] & ~rows["email"].isin(blocked)]
    missing = [
        [name for name in permissions_of_list.get(list_id, ()) if not _has(observed, name)]
        for list_id, observed in zip(rows["list_id"], rows["permissions_json"], strict=True)
    ]
    rows = rows[pd.Series([bool(names) for names in missing], index=rows.index, dtype=bool)]
    bodies = [canonical_json({"marketing_permissions": names}) for names in missing if names]
    permitted = rows[["audience", "list_id", "email", "subscriber_hash", "partner_id"]].assign(
        operation="permit",
        cause="permission_given",
        because="consented in Odoo, and not yet given the permissions that stand for it",
        before_json="{}",
        after_json=bodies,
    )
    return permitted[~still_refused(rows, bodies, planned_at)]


def _has(permissions_json: object, name: str) -> bool:
    """Whether a member has a permission; Mailchimp's words are compared without regard to case."""
    wanted = name.casefold()
    return any(
        bool(enabled) for text, enabled in parse(permissions_json).items() if text.casefold() == wanted
    )
