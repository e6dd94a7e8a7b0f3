"""Who has to be unsubscribed in Mailchimp because of what was said in Odoo (rules 5.4, 5.5, 5.6 and 6.3).

Opt-outs only restrict, so they ask nobody: no guard, no completeness, no quality rule. Members who are
unsubscribed, cleaned or archived already are left as they are.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.vocabulary import REACHABLE_STATUSES, MemberStatus

UNSUBSCRIBE_COLUMNS: tuple[str, ...] = (
    "audience",
    "list_id",
    "email",
    "subscriber_hash",
    "status_before",
    "cause",
    "outcome",
    "detail",
)


_DETAILS = {
    "blacklisted": "on the blacklist of Odoo",
    "opted_out_of_company": "opted out of another audience of the company",
    "resubscribed_unproven": (
        "resubscribed after the opt-out in Odoo, and nothing proves that the contact did it: unsubscribed "
        "again; remove the opt-out in Odoo if the contact wants e-mail"
    ),
    "former_email_opted_out": "opted out under the former e-mail",
}


_NOBODY: Mapping[Any, datetime] = {}


@dataclass(frozen=True)
class Withdrawal:
    """Consent that a member of an audience was subscribed on and that was taken back in Odoo; when in UTC."""

    audience: str
    email: str
    because: str
    at: datetime | None


def members_to_unsubscribe(
    members: pd.DataFrame,
    blacklist: pd.DataFrame,
    withdrawn: Iterable[Withdrawal] = (),
    records: pd.DataFrame | None = None,
    inheriting: Set[str] = frozenset(),
    *,
    opted_out_of_company: Mapping[str, datetime] = _NOBODY,
    returned: Mapping[tuple[str, str], datetime] = _NOBODY,
) -> pd.DataFrame:
    """Return the members to set to unsubscribed, before anything else is written.

    Args:
        members: the mailchimp_members table; ``timestamp_opt`` (UTC) shows a later subscription.
        blacklist: the odoo_blacklist table (email, active, write_date UTC); archived rows count for nothing.
        withdrawn: consent taken back; concerns the audience that used it, no other.
        records: the ledger's records of members; ``opted_out`` says that a subscribed member was
            unsubscribed before.
        inheriting: present addresses of persons who opted out under a former one; see
            ``held_addresses``.
        opted_out_of_company: who opted out of a company that keeps off the blacklist, and when (UTC).
        returned: members (list id, address) who subscribed themselves after that, and when: while they
            are subscribed, neither that opt-out nor what was cleared in Odoo because of it concerns them.
            Odoo's blacklist does.

    Returns:
        One row per member, columns UNSUBSCRIBE_COLUMNS, sorted by list and address; ``outcome`` is empty
        until it is applied, ``detail`` says why in words.
    """
    if members.empty:
        return _empty()
    rows = members[members["status"].isin(REACHABLE_STATUSES)]
    rows = rows.sort_values(["list_id", "email"]).drop_duplicates(["list_id", "email"])

    active = blacklist[blacklist["active"].astype(bool)] if len(blacklist) else blacklist
    blacklisted_at = pd.to_datetime(active.get("write_date", []), utc=True)
    opted_out_at = dict(zip(active.get("email", []), blacklisted_at, strict=True))
    withdrawals = {(item.audience, item.email): item for item in withdrawn}
    unsubscribed_before = _unsubscribed_before(records)

    concerned: list[tuple[int, str, str]] = []
    for at, (audience, list_id, email, status, confirmed_at) in enumerate(
        zip(
            rows["audience"],
            rows["list_id"],
            rows["email"],
            rows["status"],
            pd.to_datetime(rows["timestamp_opt"], utc=True),
            strict=True,
        )
    ):
        withdrawal = withdrawals.get((audience, email))
        returned_at = returned.get((list_id, email)) if status == MemberStatus.SUBSCRIBED else None
        since: datetime | None = None
        if email in opted_out_at:
            cause, since = "blacklisted", opted_out_at[email]
        elif email in opted_out_of_company and returned_at is None:
            cause, since = "opted_out_of_company", opted_out_of_company[email]
        elif withdrawal is not None and not _is_over(withdrawal, returned_at):
            cause, since = "evidence_withdrawn", withdrawal.at
        elif email in inheriting:
            cause = "former_email_opted_out"
        else:
            continue
        later = since is not None and not pd.isna(since) and bool(confirmed_at > since)
        if status == MemberStatus.SUBSCRIBED and (later or (list_id, email) in unsubscribed_before):
            cause = "resubscribed_unproven"
        detail = withdrawal.because if cause == "evidence_withdrawn" and withdrawal else _DETAILS[cause]
        concerned.append((at, cause, detail))
    if not concerned:
        return _empty()
    found = rows.iloc[[at for at, _, _ in concerned]]
    return pd.DataFrame(
        {
            "audience": found["audience"].to_numpy(dtype=object),
            "list_id": found["list_id"].to_numpy(dtype=object),
            "email": found["email"].to_numpy(dtype=object),
            "subscriber_hash": [
                known if isinstance(known, str) and known else subscriber_hash(email)
                for known, email in zip(found["subscriber_hash"], found["email"], strict=True)
            ],
            "status_before": found["status"].to_numpy(dtype=object),
            "cause": [cause for _, cause, _ in concerned],
            "outcome": "",
            "detail": [detail for _, _, detail in concerned],
        }
    )


def _is_over(withdrawal: Withdrawal, returned_at: datetime | None) -> bool:
    return returned_at is not None and (withdrawal.at is None or withdrawal.at <= returned_at)


def _unsubscribed_before(records: pd.DataFrame | None) -> Set[tuple[str, str]]:
    if records is None or records.empty:
        return frozenset()
    rows = records[records["opted_out"].astype("boolean").fillna(False).astype(bool)]
    return frozenset(zip(rows["list_id"], rows["email"], strict=True))


def _empty() -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series([], dtype=object) for column in UNSUBSCRIBE_COLUMNS})
