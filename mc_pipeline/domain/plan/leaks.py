"""Looks at a finished plan for what may never be in one, without knowing how it was made.

The planner is supposed to make none of these rows; a mistake there must not be enough to harm somebody. So
nothing of it is used here: every rule is judged again from the tables.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mc_pipeline.domain.company import JudgedCompany
from mc_pipeline.vocabulary import (
    DATA_OPERATIONS,
    MARKETING_STATUSES,
    MOST_RESTRICTIVE_FIRST,
    REACHABLE_STATUSES,
    REACHING_OPERATIONS,
    MemberStatus,
    Operation,
)

_FORBIDDEN_FLAGS: Mapping[str, str] = {
    "is_internal_user": "the partner is an internal user",
    "is_employee": "the partner is an employee",
    "is_own_company": "the partner is one of your own companies",
    "is_public_or_template_user": "the partner is a public or template user",
}
_STATUSES_OF = {
    Operation.CREATE: REACHABLE_STATUSES | {MemberStatus.UNSUBSCRIBED},
    Operation.UPGRADE: frozenset({MemberStatus.SUBSCRIBED}),
}
_OPERATIONS = frozenset(
    {
        Operation.CREATE,
        Operation.UPDATE,
        Operation.CHANGE_EMAIL,
        Operation.ARCHIVE,
        Operation.TAG,
        Operation.UNTAG,
        Operation.UPGRADE,
        Operation.PERMIT,
    }
)

LEAK_COLUMNS: tuple[str, ...] = (
    "row_key",
    "operation",
    "audience",
    "list_id",
    "email",
    "partner_id",
    "reason",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeakFacts:
    """What a finished plan is judged by.

    Attributes:
        company: settings of the company.
        contacts: the contacts table of the same company.
        partners: the odoo_partners table.
        members: the mailchimp_members table.
        opted_out_ever: addresses that ever opted out of any audience of any company.
        blacklisted_emails: addresses that are opted out in Odoo.
    """

    company: JudgedCompany
    contacts: pd.DataFrame
    partners: pd.DataFrame
    members: pd.DataFrame
    opted_out_ever: Set[str]
    blacklisted_emails: Set[str]


def find_leaks(plan: pd.DataFrame, facts: LeakFacts) -> pd.DataFrame:
    """Return the offending rows of a plan, with one reason each; empty: the plan is clean.

    Args:
        plan: rows of ``audience_plan``; held-back rows are judged too.
        facts: what the plan is judged by.

    Returns:
        Columns LEAK_COLUMNS; a row of the plan appears once per reason.
    """
    if plan.empty:
        return pd.DataFrame({column: pd.Series([], dtype=object) for column in LEAK_COLUMNS})
    contacts, company = facts.contacts, facts.company
    list_of = {key: audience.list_id for key, audience in company.audiences.items()}
    rows = plan.reset_index(drop=True)
    operation = rows["operation"]
    target = rows["email"].where(rows["new_email"].isna(), rows["new_email"])
    contact_keys = set(zip(contacts["audience"], contacts["email"], strict=True))
    is_contact = _each(zip(rows["audience"], target, strict=True), contact_keys)
    status_of = _statuses(facts.members)
    before = pd.Series(
        [status_of.get(key) for key in zip(rows["list_id"], rows["email"], strict=True)], dtype=object
    )
    writes_contact = operation.isin(DATA_OPERATIONS | REACHING_OPERATIONS)
    subscribes = rows["status"].isin(MARKETING_STATUSES)
    refused = set(facts.opted_out_ever) | set(facts.blacklisted_emails)
    returning = (
        (operation == Operation.CREATE) & (rows["cause"] == "returning") & (before == MemberStatus.ARCHIVED)
    )
    newly_made = set(
        zip(
            rows.loc[operation.isin({Operation.CREATE, Operation.CHANGE_EMAIL}), "list_id"],
            target[operation.isin({Operation.CREATE, Operation.CHANGE_EMAIL})],
            strict=True,
        )
    )
    made_here = _each(zip(rows["list_id"], rows["email"], strict=True), newly_made)
    allowed_status = pd.Series(
        [
            (status in _STATUSES_OF[name]) if name in _STATUSES_OF else pd.isna(status)
            for name, status in zip(operation, rows["status"], strict=True)
        ],
        dtype=bool,
    )
    body_status = rows["after_json"].str.contains('"status":', regex=False)

    offences: list[tuple[pd.Series, str]] = [
        (~operation.isin(_OPERATIONS), "the operation is not one of the plan's"),
        (
            rows["audience"].map(list_of).astype(object) != rows["list_id"].astype(object),
            "the list is not an audience of this company",
        ),
        (writes_contact & ~is_contact, "no routing rule put this address into the audience"),
        (
            (operation == Operation.ARCHIVE) & is_contact,
            "somebody who belongs in the audience would be archived",
        ),
        (~allowed_status, "the status is not one that this operation may send"),
        (
            body_status & ~operation.isin({Operation.CREATE, Operation.UPGRADE}),
            "the body would send a status for an existing member",
        ),
        (
            subscribes & target.isin(refused),
            "the address opted out and would be subscribed",
        ),
        (
            (operation == Operation.PERMIT) & target.isin(refused),
            "the address opted out and would get a marketing permission",
        ),
        (
            (operation == Operation.CREATE) & before.notna() & ~returning,
            "the address is in the audience already and would be created",
        ),
        (
            returning & (rows["status"] != MemberStatus.TRANSACTIONAL),
            "an archived member may return as transactional only",
        ),
        (
            (operation != Operation.CREATE) & (before == MemberStatus.ARCHIVED) & ~made_here,
            "an archived member would be changed",
        ),
        (
            (operation != Operation.CREATE) & before.isna() & ~made_here,
            "the address is not in the audience and would be changed",
        ),
        (
            (operation == Operation.ARCHIVE) & (before != MemberStatus.TRANSACTIONAL),
            "only transactional members may be archived",
        ),
        (
            (operation == Operation.UPGRADE) & (before != MemberStatus.TRANSACTIONAL),
            "only transactional members may be upgraded",
        ),
    ]
    concerned = writes_contact | ((operation == Operation.TAG) & is_contact)
    partner_ids = _partners_behind(rows, target, contacts)
    for partner_set, reason in _forbidden_partners(facts.partners, contacts, company):
        behind = pd.Series([not partner_set.isdisjoint(ids) for ids in partner_ids], dtype=bool)
        offences.append((concerned & behind, reason))

    found = [
        rows.loc[mask.fillna(False).to_numpy(dtype=bool), list(LEAK_COLUMNS[:-1])].assign(reason=reason)
        for mask, reason in offences
    ]
    leaks = pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)
    return leaks.sort_values(["list_id", "email", "operation", "reason"], ignore_index=True)[
        list(LEAK_COLUMNS)
    ]


def _statuses(members: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The status of each member; of one that changed while the audience was read, the most restrictive."""
    found: dict[tuple[str, str], str] = {}
    for list_id, email, status in zip(members["list_id"], members["email"], members["status"], strict=True):
        known = found.get((list_id, email))
        if known is None or MOST_RESTRICTIVE_FIRST.index(status) < MOST_RESTRICTIVE_FIRST.index(known):
            found[(list_id, email)] = status
    return found


def _each(keys: Iterable[tuple[Any, Any]], known: Set[tuple[Any, Any]]) -> pd.Series:
    return pd.Series([key in known for key in keys], dtype=bool)


def _partners_behind(rows: pd.DataFrame, target: pd.Series, contacts: pd.DataFrame) -> list[set[int]]:
    """The partners behind each row: the row's own and all of the contact's."""
    of_contact = {
        (audience, email): ids
        for audience, email, ids in zip(
            contacts["audience"], contacts["email"], contacts["partner_ids"], strict=True
        )
    }
    behind = []
    for audience, email, own in zip(rows["audience"], target, rows["partner_id"], strict=True):
        ids = of_contact.get((audience, email))
        together = set() if ids is None else {int(number) for number in ids}
        if not pd.isna(own):
            together.add(int(own))
        behind.append(together)
    return behind


def _forbidden_partners(
    partners: pd.DataFrame, contacts: pd.DataFrame, company: JudgedCompany
) -> list[tuple[set[int], str]]:
    """Partners who may be no contact, with the reason."""
    forbidden = [
        (set(partners.loc[partners[flag].astype(bool), "partner_id"].astype(int)), reason)
        for flag, reason in _FORBIDDEN_FLAGS.items()
    ]
    own = forbidden[list(_FORBIDDEN_FLAGS).index("is_own_company")][0]
    forbidden.append((_descendants(partners, own), "the partner belongs to one of your own companies"))
    if company.exclude_suppliers:
        suppliers = set(partners.loc[partners["supplier_rank"].fillna(0) > 0, "partner_id"].astype(int))
        forbidden.append((suppliers, "the partner is a supplier"))
    if company.customers.contacts == "order":
        without_order = contacts.loc[contacts["order_count"] == 0, "partner_ids"].explode().dropna()
        forbidden.append((set(without_order.astype(int)), "nobody ordered under this address"))
    return forbidden


def _descendants(partners: pd.DataFrame, roots: Set[int]) -> set[int]:
    """Everybody below these partners, at any depth."""
    parents = partners.loc[partners["parent_id"].notna(), ["partner_id", "parent_id"]].astype(int)
    below: set[int] = set()
    level = set(roots)
    while level:
        level = set(parents.loc[parents["parent_id"].isin(level), "partner_id"]) - below - set(roots)
        below |= level
    return below
