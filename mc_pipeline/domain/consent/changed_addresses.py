"""Rule 6.6: members who changed their address in Mailchimp, while Odoo still has the former one.

The member is the same person: nobody is made under the former address again, the change is listed for Odoo to
correct, and an opt-out of either address restricts the person. Anyone who has the former address in Odoo once
it is corrected is somebody else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pandas as pd

from mc_pipeline.domain.consent.held_addresses import HeldAddresses
from mc_pipeline.vocabulary import OdooAction

CHANGED_IN_MAILCHIMP = "changed_in_mailchimp"
_FIX = (
    "Enter the new address on the contact in Odoo, if it is the person's: the member is theirs then. Until "
    "then nothing is written about them."
)


class ChangeLike(Protocol):
    """A change of address in Mailchimp. ``partner_id`` None: the partner that has the former address in
    Odoo."""

    @property
    def id(self) -> int: ...
    @property
    def list_id(self) -> str: ...
    @property
    def former(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def partner_id(self) -> int | None: ...
    @property
    def changed_at(self) -> datetime: ...


class DoneLike(Protocol):
    """An opt-out that we made in Odoo because of an event of Mailchimp."""

    @property
    def action(self) -> str: ...
    @property
    def list_id(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def made_by_us(self) -> bool: ...


def is_about(change: ChangeLike, email: str, partner_ids: Iterable[Any]) -> bool:
    """Whether partners with this address in Odoo are the person who changed it."""
    if change.former != email:
        return False
    return change.partner_id is None or change.partner_id in {int(number) for number in partner_ids}


@dataclass(frozen=True)
class CorrectedInOdoo:
    """What Odoo says about open changes: ids of those that are over, and of others whose partner they are."""

    over: list[int] = field(default_factory=list)
    partner_of: dict[int, int] = field(default_factory=dict)


def who_had_it(change: ChangeLike, held: HeldAddresses) -> set[int]:
    """The partners who had the former address when it was changed: they are one person (rule 2.1).

    Of partners that were merged since, the one that stands for them now.
    """
    return {
        held.person(row.partner_id)
        for row in held.at(change.former)
        if row.first_seen_at < change.changed_at and (row.left_at is None or row.left_at > change.changed_at)
    }


def compare_with_odoo(
    changes: Iterable[ChangeLike], partners: pd.DataFrame, held: HeldAddresses | None = None
) -> CorrectedInOdoo:
    """Find the changes that Odoo knows by now.

    A partner without an address was not corrected, and one that is not there any more may have been merged
    into the partner that has the former address now. Where several partners had the former address, it is
    over when all of them have another; until then it is a change of one that is left.

    Args:
        changes: the open ones.
        partners: the odoo_partners table.
        held: who has and had the former addresses in Odoo.
    """
    held = held or HeldAddresses(())
    address_of = dict(zip(partners["partner_id"].astype("int64"), partners["email_normalized"], strict=True))
    holders: dict[str, list[int]] = {}
    for number, email in address_of.items():
        if isinstance(email, str):
            holders.setdefault(email, []).append(int(number))
    found = CorrectedInOdoo()
    for change in changes:
        having_it = holders.get(change.former, [])
        if change.partner_id is None:
            if having_it:
                found.partner_of[change.id] = min(having_it)
            elif change.email in holders:
                found.over.append(change.id)
            continue
        now = address_of.get(change.partner_id)
        left = who_had_it(change, held).intersection(having_it)
        if now != change.former and left:
            found.partner_of[change.id] = min(left)
        elif isinstance(now, str) and now != change.former:
            found.over.append(change.id)
    return found


def list_changes(
    changes: Iterable[ChangeLike], partners: pd.DataFrame, audience_of: Mapping[str, str]
) -> pd.DataFrame:
    """Return set-aside rows for the partners who have an address that its owner changed in Mailchimp.

    Args:
        changes: the open ones.
        partners: the odoo_partners table (partner_id, email_normalized).
        audience_of: audience by list id; changes in other audiences are left out.
    """
    rows: list[dict[str, Any]] = []
    by_email = partners[partners["email_normalized"].notna()].groupby("email_normalized")["partner_id"]
    holders = {str(email): [int(number) for number in numbers] for email, numbers in by_email}
    for change in changes:
        having_it = holders.get(change.former, [])
        if change.list_id not in audience_of or not having_it or not _is_theirs(change, having_it):
            continue
        audience = audience_of[change.list_id]
        rows += [
            {
                "partner_id": number,
                "email": change.former,
                "person_email": change.former,
                "audience": audience,
                "reason": CHANGED_IN_MAILCHIMP,
                "detail": why_left_behind(change, audience),
                "fix": _FIX,
            }
            for number in having_it
        ]
    columns = ["partner_id", "email", "person_email", "audience", "reason", "detail", "fix"]
    listed = pd.DataFrame(rows, columns=columns)
    return listed.assign(duplicate_of=pd.array([pd.NA] * len(rows), dtype="Int64"))


def _is_theirs(change: ChangeLike, having_it: Sequence[int]) -> bool:
    return is_about(change, change.former, having_it)


def why_left_behind(change: ChangeLike, audience: str) -> str:
    """Say it in words, with the new address in full."""
    return (
        f"changed their e-mail in Mailchimp to {change.email} (audience {audience}, "
        f"{change.changed_at:%Y-%m-%d}); Odoo has the former one"
    )


def concerns(change: ChangeLike, done: DoneLike | None, own_times: Iterable[datetime]) -> bool:
    """Whether an opt-out of the former address, which Odoo says, is one of the person who left it.

    Args:
        change: the open change.
        done: the last thing that we did in Odoo about the former address, if that is what Odoo says now.
        own_times: when (UTC) the present address opted out of the audience, by the history.

    It is not when we made it because of an event in this audience that came after the change and is none of
    the present address: that was another member, who took the former address.
    """
    if (
        done is None
        or done.action != OdooAction.OPT_OUT
        or not done.made_by_us
        or done.list_id != change.list_id
    ):
        return True
    return done.occurred_at <= change.changed_at or done.occurred_at in set(own_times)
