"""Who is a member of an audience, so that a store may hold their orders (rule 9.1)."""

from collections.abc import Collection

import pandas as pd

from mc_pipeline.vocabulary import MemberStatus


def members_in_audiences(known: pd.DataFrame, left_addresses: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Return who is in an audience by now, in whatever status but archived: ``list_id``, ``email``.

    Args:
        known: the ledger's members: list_id, email, last_status, absent_reads, vanished.
        left_addresses: list id and address of members whose owner changed it in Mailchimp. Who has such an
            address by now is somebody else: Odoo's orders are not theirs.
    """
    there = (
        known["last_status"].notna()
        & (known["last_status"] != MemberStatus.ARCHIVED)
        & (known["absent_reads"] == 0)
    )
    members = known.loc[there & ~known["vanished"], ["list_id", "email"]]
    taken = [place in left_addresses for place in zip(members["list_id"], members["email"], strict=True)]
    return members.drop(members.index[taken])
