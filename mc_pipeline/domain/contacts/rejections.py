"""Contacts whom Mailchimp refused: listed with its own message until the refusal is gone, and what to do.

``refused``: for a reason of the person's own. ``deferred``: for a cause outside the person.
"""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from mc_pipeline.domain.plan.refusal_causes import OUTSIDE_THE_PERSON, what_to_change
from mc_pipeline.vocabulary import OPTED_OUT_STATUSES, REACHABLE_STATUSES, Operation

REFUSED, DEFERRED = "refused", "deferred"
NOT_THERE = frozenset({REFUSED, DEFERRED})
"""Reasons of people who are not there, or not as they should be, because Mailchimp refused something."""

OPEN_REFUSAL: tuple[str, ...] = (
    "partner_id",
    "email",
    "audience",
    "list_id",
    "operation",
    "reason",
    "cause",
    "field",
    "said",
    "since",
    "retry_at",
)

_THERE = REACHABLE_STATUSES | OPTED_OUT_STATUSES


def open_refusals(
    contacts: pd.DataFrame,
    records: pd.DataFrame,
    list_ids: Mapping[str, str],
    not_taken_back: Collection[str] = (),
) -> pd.DataFrame:
    """Return what Mailchimp refused of present contacts and is not settled by now, in OPEN_REFUSAL.

    They stay contacts. ``said`` are Mailchimp's own words, ``since`` (UTC) when it said them last. A creation
    that was refused is settled when the person is there by now.

    Args:
        contacts: the contacts table.
        records: the ledger's records of members.
        list_ids: list id by audience.
        not_taken_back: addresses that Mailchimp refused permanently, which are listed as that.
    """
    refused = records[records["rejection_key"].notna()]
    there = refused["last_status"].isin(_THERE) & (refused["absent_reads"] == 0)
    refused = refused[~((refused["rejection_operation"] == Operation.CREATE) & there)]
    detail, title = refused["rejection_detail"], refused["rejection_title"]
    refused = pd.DataFrame(
        {
            "list_id": refused["list_id"],
            "email": refused["email"],
            "operation": refused["rejection_operation"],
            "cause": refused["rejection_cause"],
            "field": refused["rejection_field"],
            "said": detail.where(detail.notna() & (detail != ""), title),
            "since": refused["rejected_at"],
            "retry_at": refused["retry_at"],
        }
    )
    rows = contacts[["email", "partner_id", "audience"]].assign(list_id=contacts["audience"].map(list_ids))
    rows = rows[~rows["email"].isin(not_taken_back)].merge(refused, on=["list_id", "email"])
    outside = rows["cause"].isin(list(OUTSIDE_THE_PERSON))
    reason = outside.map({True: DEFERRED, False: REFUSED}).astype(object)
    said = rows["said"].fillna("no reason was given").astype(object)
    return rows.assign(reason=reason, said=said)[list(OPEN_REFUSAL)]


def rejected_contacts(
    contacts: pd.DataFrame,
    records: pd.DataFrame,
    list_ids: Mapping[str, str],
    not_taken_back: Collection[str] = (),
) -> pd.DataFrame:
    """Return set-aside rows for the contacts of :func:`open_refusals`, with the same arguments."""
    rows = open_refusals(contacts, records, list_ids, not_taken_back)
    return pd.DataFrame(
        {
            "partner_id": rows["partner_id"],
            "email": rows["email"],
            "person_email": rows["email"],
            "audience": rows["audience"],
            "reason": rows["reason"],
            "detail": "Mailchimp refused: " + rows["said"],
            "fix": [_fix(row) for row in rows.to_dict("records")],
            "duplicate_of": pd.array([pd.NA] * len(rows), dtype="Int64"),
        }
    )


def _fix(row: Mapping[Any, Any]) -> str:
    if row["reason"] == DEFERRED:
        return what_to_change(row["cause"], row["field"] if isinstance(row["field"], str) else "")
    if pd.isna(row["retry_at"]):
        return "Correct the contact in Odoo: it is tried again when it changes."
    return f"Nothing to do: it is tried again after {row['retry_at']:%Y-%m-%d %H:%M} UTC."
