"""Members whose partner in Odoo is gone from the company, and customers who belong to another company.

Both are rows of the set-aside table. A member whose partner is gone stopped qualifying (rule 6.1, see
``plan.archiving``); of one whose partner is only hidden nothing is known, and nothing happens.
"""

from collections.abc import Collection, Mapping
from typing import Protocol

import pandas as pd

from mc_pipeline.vocabulary import MemberStatus

DELETED, MERGED, MOVED = "deleted_in_odoo", "merged_in_odoo", "moved_to_other_company"
HIDDEN, OTHER_COMPANY = "hidden_in_odoo", "other_company"

GONE: Mapping[str, str] = {
    DELETED: "the contact was deleted in Odoo",
    MERGED: "the contact was merged in Odoo",
    MOVED: "the contact belongs to another company in Odoo now",
}
"""Reasons which say that a member's partner is gone from the company, in words."""

_REASONS = {"deleted": DELETED, "merged": MERGED, "moved": MOVED, "hidden": HIDDEN}
_NOTHING = "Nothing to do, if that was meant."


class FateLike(Protocol):
    """What happened to a partner: ``here``, ``deleted``, ``merged``, ``moved`` or ``hidden``."""

    @property
    def fate(self) -> str: ...
    @property
    def merged_into(self) -> int | None: ...
    @property
    def company(self) -> str: ...
    @property
    def survivor_known(self) -> bool: ...
    @property
    def told_apart(self) -> bool: ...


def members_without_partner(
    records: pd.DataFrame, partners: pd.DataFrame, erased_partners: Collection[int] = ()
) -> pd.DataFrame:
    """Return the members whose recorded partner a read does not show, nor any partner with their address.

    Args:
        records: the ledger's records of members (``ledger.members.load``).
        partners: the odoo_partners table (partner_id, email_normalized), of a complete read.
        erased_partners: ids of partners of people who were erased; they are in no table any more.

    Returns:
        list_id, email and partner_id of members in whatever status but archived.
    """
    there = records["last_status"].notna() & (records["last_status"] != MemberStatus.ARCHIVED)
    there &= records["absent_reads"].fillna(0).astype("int64") == 0
    there &= ~records["vanished"].astype("boolean").fillna(False).astype(bool)
    rows = records[there & records["partner_id"].notna()]
    unseen = ~rows["partner_id"].isin([*partners["partner_id"], *erased_partners])
    held = {str(email).lower() for email in partners["email_normalized"].dropna()}
    rows = rows[unseen & ~rows["email"].isin(held)]
    found = rows[["list_id", "email", "partner_id"]].reset_index(drop=True)
    return found.assign(partner_id=found["partner_id"].astype("int64"))


def list_gone_partners(
    members: pd.DataFrame, fates: Mapping[int, FateLike], audience_of: Mapping[str, str]
) -> pd.DataFrame:
    """Return set-aside rows for the members of ``members_without_partner``, with what happened to the
    partner.

    Of a partner that is there after all, or that nothing is known of, there is none.

    Args:
        members: list_id, email, partner_id.
        fates: what happened to each partner.
        audience_of: audience by list id.
    """
    rows = []
    for list_id, email, partner in zip(
        members["list_id"], members["email"], members["partner_id"], strict=True
    ):
        fate = fates.get(int(partner))
        reason = None if fate is None else _REASONS.get(fate.fate)
        if fate is not None and reason is not None:
            detail, fix = _described(fate)
            rows.append((int(partner), email, email, audience_of[list_id], reason, detail, fix))
    return _set_aside(rows)


def _described(fate: FateLike) -> tuple[str, str]:
    if fate.fate == "deleted" and not fate.survivor_known:
        return (
            "was deleted in Odoo, or merged: the Odoo user may not read the messages that tell of a merge",
            f"Give the Odoo user the right to read messages (mail.message) of Contacts. {_NOTHING}",
        )
    if fate.fate == "merged":
        return f"was merged into partner {fate.merged_into} in Odoo", _NOTHING
    if fate.fate == "moved":
        return f"belongs to company {fate.company} now", _NOTHING
    if fate.fate == "deleted":
        return "was deleted in Odoo", _NOTHING
    if not fate.told_apart:
        return (
            "is not shown to the Odoo user, and Odoo did not say whether it is hidden by a record rule or "
            "gone; the member stays as it is",
            "The next run asks again. If it is listed again, change the record rules on Contacts in Odoo, so "
            "that the Odoo user sees all of its companies.",
        )
    return (
        "is hidden from the Odoo user by a record rule; the member stays as it is",
        "Change the record rules on Contacts in Odoo, so that the Odoo user sees all of its companies.",
    )


def list_customers_elsewhere(elsewhere: Mapping[int, str], listed: Collection[int] = ()) -> pd.DataFrame:
    """Return set-aside rows for customers of orders who belong to another company (partner id to its name).

    ``listed``: partners that have a row already.
    """
    return _set_aside(
        [
            (
                partner,
                None,
                None,
                None,
                OTHER_COMPANY,
                f"is the customer of an order here, and belongs to company {name}: its orders count for "
                "nobody here",
                "If the person is a customer of both companies, empty Company on the contact in Odoo, which "
                "shares it.",
            )
            for partner, name in sorted(elsewhere.items())
            if partner not in listed
        ]
    )


def _set_aside(rows: Collection[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["partner_id", "email", "person_email", "audience", "reason", "detail", "fix"]
    table = pd.DataFrame(list(rows), columns=columns, dtype=object)
    return table.assign(
        partner_id=table["partner_id"].astype("int64"),
        duplicate_of=pd.array([pd.NA] * len(table), dtype="Int64"),
    )
