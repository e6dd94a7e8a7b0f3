"""What holds after the history of consent was lost, and a person accepted a ledger without it."""

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd


def without_evidence_of_before(partners: pd.DataFrame, accepted_at: datetime | None) -> pd.DataFrame:
    """Take from partners the evidence of consent that is not newer than the loss, or undated.

    Nobody knows any more whether it was used already, withdrawn in Mailchimp or overruled by an opt-out of a
    member who was deleted since; so it subscribes nobody. Opt-outs stay, for they restrict.

    Args:
        partners: ``odoo_partners``, with the column evidence_json.
        accepted_at: when the loss was accepted (UTC); None: nothing was lost.
    """
    if accepted_at is None:
        return partners

    def left(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        items = json.loads(text)
        kept = [item for item in items if item.get("opted_out") or _is_newer(item, accepted_at)]
        return text if len(kept) == len(items) else json.dumps(kept, ensure_ascii=False)

    return partners.assign(evidence_json=partners["evidence_json"].map(left))


def _is_newer(item: dict[str, Any], accepted_at: datetime) -> bool:
    date = item.get("consented_at")
    if not date:
        return False
    consented_at = datetime.fromisoformat(date)
    return (consented_at if consented_at.tzinfo else consented_at.replace(tzinfo=UTC)) > accepted_at
