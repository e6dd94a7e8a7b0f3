"""Which members get the marketing permissions (GDPR) that their consent in Odoo covers (rule 4.5).

Only whom we subscribed, and once per person, purpose and evidence in the whole company. A permission that was
taken back in any audience stays taken back in all of them, until newer evidence speaks for it.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime

import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.plan.members import evidence_time, still_refused
from mc_pipeline.domain.plan.view import parse
from mc_pipeline.vocabulary import Operation

LastWords = Mapping[tuple[str, str], datetime]
"""Address and purpose (the permission's text in small letters) to the moment that evidence must be later than
for the permission to be given: the latest of the evidence on which it was given, a withdrawal, and a giving
with an unknown outcome, in any audience of the company."""


def rows_for_permissions(
    members: pd.DataFrame,
    created: pd.DataFrame,
    subscribed_by_us: Set[tuple[str, str]],
    blocked: Set[str],
    permissions_of_list: Mapping[str, Sequence[str]],
    last_words: LastWords,
    former_addresses: pd.DataFrame,
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
        last_words: what was given and taken back before.
        former_addresses: ``view.former_addresses``: what was said under a former address counts.
        planned_at: a refusal "for now" is tried again from its time on.
    """
    ours = pd.Series(
        [key in subscribed_by_us for key in zip(members["list_id"], members["email"], strict=True)],
        index=members.index,
        dtype=bool,
    )
    rows = pd.concat([members[ours], created])
    rows = rows[~rows["permitted"] & ~rows["opted_out"] & ~rows["email"].isin(blocked)]
    addresses_of: dict[str, set[str]] = {}
    for old, email in zip(former_addresses["old_email"], former_addresses["email"], strict=True):
        addresses_of.setdefault(email, {email}).add(old)
    missing = [
        [
            name
            for name in permissions_of_list.get(list_id, ())
            if not _has(observed, name)
            and _is_news(name, evidence_time(evidence), addresses_of.get(email, {email}), last_words)
        ]
        for list_id, email, observed, evidence in zip(
            rows["list_id"], rows["email"], rows["permissions_json"], rows["evidence_json"], strict=True
        )
    ]
    rows = rows[pd.Series([bool(names) for names in missing], index=rows.index, dtype=bool)]
    bodies = [canonical_json({"marketing_permissions": names}) for names in missing if names]
    permitted = rows[["audience", "list_id", "email", "subscriber_hash", "partner_id"]].assign(
        operation=Operation.PERMIT,
        cause="permission_given",
        because="consented in Odoo, and not yet given the permissions that this consent covers",
        before_json="{}",
        after_json=bodies,
    )
    return permitted[~still_refused(rows, bodies, planned_at)]


def _is_news(name: str, consented_at: datetime | None, addresses: Set[str], last_words: LastWords) -> bool:
    """Whether dated consent speaks for a permission, and is later than all that was said about it before."""
    if consented_at is None:
        return False
    said = [last_words.get((address, name.casefold())) for address in addresses]
    return all(moment is None or consented_at > moment for moment in said)


def _has(permissions_json: object, name: str) -> bool:
    """Whether a member has a permission; Mailchimp's words are compared without regard to case."""
    wanted = name.casefold()
    return any(
        bool(enabled) for text, enabled in parse(permissions_json).items() if text.casefold() == wanted
    )
