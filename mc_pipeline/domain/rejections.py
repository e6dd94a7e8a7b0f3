"""Contacts whom Mailchimp refused: listed with its own words, and tried again when that makes sense."""

from collections.abc import Collection, Mapping

import pandas as pd

REJECTED = "rejected_by_mailchimp"


def rejected_contacts(
    contacts: pd.DataFrame,
    records: pd.DataFrame,
    list_ids: Mapping[str, str],
    not_taken_back: Collection[str] = (),
) -> pd.DataFrame:
    """Return set-aside rows for contacts whose last data Mailchimp refused.

    They stay contacts: a refused row is planned again once its contact changes, a deferred one once its time
    has come.

    Args:
        contacts: the contacts table.
        records: the ledger's records of members.
        list_ids: list id by audience.
        not_taken_back: addresses that Mailchimp refused for good, which are listed as that.
    """
    refused = records.loc[
        records["rejection_key"].notna(),
        ["list_id", "email", "rejection_title", "rejection_detail", "retry_at"],
    ]
    rows = contacts[["email", "partner_id", "audience"]].assign(list_id=contacts["audience"].map(list_ids))
    rows = rows[~rows["email"].isin(not_taken_back)].merge(refused, on=["list_id", "email"])
    said = rows["rejection_detail"].where(rows["rejection_detail"].notna(), rows["rejection_title"])
    return pd.DataFrame(
        {
            "partner_id": rows["partner_id"],
            "email": rows["email"],
            "person_email": rows["email"],
            "audience": rows["audience"],
            "reason": REJECTED,
            "detail": "Mailchimp refused: " + said.fillna("no reason was given").astype(object),
            "fix": [
                "Correct the contact in Odoo: it is tried again when it changes."
                if pd.isna(retry_at)
                else f"Nothing to do: it is tried again after {retry_at:%Y-%m-%d %H:%M} UTC."
                for retry_at in rows["retry_at"]
            ],
            "duplicate_of": pd.array([pd.NA] * len(rows), dtype="Int64"),
        }
    )
