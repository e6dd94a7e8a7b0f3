"""Which tags a member gains or loses (rules 6.1 and 6.4): only tags that the settings name, and our own mark.

Mailchimp treats tag names without regard to case, and shows at most 50 of a member's tags.
"""

from collections.abc import Collection, Mapping

import pandas as pd

from mc_pipeline.domain.plan.rows import NOT_QUALIFYING_TAG
from mc_pipeline.domain.plan.view import names
from mc_pipeline.vocabulary import Operation

TAGS_SHOWN_PER_MEMBER = 50
"""Mailchimp API: a member is returned with at most this many tags."""


def rows_for_tags(
    members: pd.DataFrame, tags_of_list: Mapping[str, Collection[str]], removals_held_back: Mapping[str, str]
) -> list[pd.DataFrame]:
    """Make plan rows for the tags of people who belong in their audience.

    Args:
        members: columns audience, list_id, email, subscriber_hash, partner_id, tags (desired), observed_tags,
            record_tags; people who are not members yet have no observed tags.
        tags_of_list: names of the tags in the settings, per list.
        removals_held_back: why removals are not sent, per list, or "".
    """
    named = {list_id: {tag.casefold(): tag for tag in tags} for list_id, tags in tags_of_list.items()}
    added: list[tuple[int, str]] = []
    removed: list[tuple[int, str]] = []
    for at, (list_id, wanted, observed, recorded) in enumerate(
        zip(
            members["list_id"], members["tags"], members["observed_tags"], members["record_tags"], strict=True
        )
    ):
        desired = {tag.casefold() for tag in names(wanted)}
        shown = names(observed)
        present = {tag.casefold() for tag in shown}
        if len(shown) >= TAGS_SHOWN_PER_MEMBER:
            present |= {tag.casefold() for tag in names(recorded)}
        if not desired and not present:
            continue
        for folded, tag in named[list_id].items():
            if folded in desired:
                if folded not in present:
                    added.append((at, tag))
            elif folded in present:
                removed.append((at, tag))
        if NOT_QUALIFYING_TAG in present:
            removed.append((at, NOT_QUALIFYING_TAG))
    parts = []
    for operation, pairs in ((Operation.TAG, added), (Operation.UNTAG, removed)):
        if not pairs:
            continue
        rows = members.iloc[[at for at, _ in pairs]]
        rows = rows[["audience", "list_id", "email", "subscriber_hash", "partner_id"]].reset_index(drop=True)
        rows.insert(0, "operation", operation)
        rows["tag"] = [tag for _, tag in pairs]
        mark = rows["tag"] == NOT_QUALIFYING_TAG
        rows["cause"] = mark.map({True: "qualifies_again", False: "tag_rule"})
        rule = "the tag's rule is met" if operation == Operation.TAG else "the tag's rule is not met any more"
        rows["because"] = mark.map({True: "qualifies for the audience again", False: rule})
        rows["held_back_because"] = (
            rows["list_id"].map(removals_held_back) if operation == Operation.UNTAG else ""
        )
        parts.append(rows)
    return parts
