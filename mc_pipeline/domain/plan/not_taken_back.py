"""Rule 6.6: people whom Mailchimp does not accept again, whatever is sent: forgotten, unsubscribed or
bounced.

They opted out, and it is not known when and to whom they said it. Only they themselves can come back, by a
sign-up form; then they are a member as Mailchimp says.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import pandas as pd

from mc_pipeline.vocabulary import MARKETING_STATUSES

NOT_TAKEN_BACK = "not_taken_back"

_BECAUSE: Mapping[str, str] = {
    "forgotten": "it was permanently deleted there (forgotten)",
    "compliance": "it unsubscribed, bounced or is under review there",
}
_HOW_BACK = "only the person can sign up again"


class RefusalLike(Protocol):
    """The event that a refusal is kept as."""

    @property
    def audience(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def evidence(self) -> dict[str, Any] | None: ...


def why_not_taken_back(refusal: RefusalLike) -> str:
    """Say it in words, without personal data."""
    because = _BECAUSE.get(str((refusal.evidence or {}).get("refused")), "it refused the person")
    return f"Mailchimp does not accept this address again: {because}; {_HOW_BACK}"


def contacts_not_taken_back(
    contacts: pd.DataFrame,
    refusals: Mapping[str, RefusalLike],
    records: pd.DataFrame,
    list_ids: Mapping[str, str],
) -> pd.DataFrame:
    """Return set-aside rows for contacts whom Mailchimp does not accept again, and who did not come back.

    Args:
        contacts: the contacts table.
        refusals: the latest refusal by address.
        records: the ledger's records of members (list_id, email, last_status, absent_reads).
        list_ids: list id by audience.
    """
    there = records[records["last_status"].isin(MARKETING_STATUSES) & (records["absent_reads"] == 0)]
    came_back = set(zip(there["list_id"], there["email"], strict=True))
    places = zip(contacts["audience"].map(dict(list_ids)), contacts["email"], strict=True)
    listed = [place[1] in refusals and place not in came_back for place in places]
    rows = contacts[pd.Series(listed, index=contacts.index, dtype=bool)]
    theirs = [refusals[email] for email in rows["email"]]
    return pd.DataFrame(
        {
            "partner_id": rows["partner_id"],
            "email": rows["email"],
            "person_email": rows["email"],
            "audience": rows["audience"],
            "reason": NOT_TAKEN_BACK,
            "detail": [
                f"{why_not_taken_back(each)} (audience {each.audience}, {each.occurred_at:%Y-%m-%d})"
                for each in theirs
            ],
            "fix": "Nothing to do: only the person can sign up again, this pipeline cannot.",
            "duplicate_of": pd.array([pd.NA] * len(rows), dtype="Int64"),
        }
    ).reset_index(drop=True)
