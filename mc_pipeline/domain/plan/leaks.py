"""Looks at a finished plan for what may never be in one, without knowing how it was made.

The planner is supposed to make none of these rows; a mistake there must not be enough to harm somebody. So
nothing of it is used here: every rule is judged again from the tables.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Any, Protocol

import pandas as pd

_FORBIDDEN_FLAGS: Mapping[str, str] = {
    "is_internal_user": "the partner is an internal user",
    "is_employee": "the partner is an employee",
    "is_own_company": "the partner is one of your own companies",
    "is_public_or_template_user": "the partner is a public or template user",
}
_STATUSES_OF = {
    "create": frozenset({"transactional", "subscribed", "pending", "unsubscribed"}),
    "upgrade": frozenset({"subscribed"}),
}
_RESTRICTIVE_FIRST = ("archived", "cleaned", "unsubscribed", "pending", "transactional", "subscribed")
_OPERATIONS = frozenset(
    {"create", "update", "change_email", "archive", "tag", "untag", "upgrade"} | {"permit"}
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


class CustomersLike(Protocol):
    """Who is a customer: ``order`` everyone who ordered, ``order_and_children`` their contact persons too."""

    @property
    def contacts(self) -> str: ...


class LeakSettings(Protocol):
    """What the settings of a company say that matters for leaks."""

    @property
    def key(self) -> str: ...
    @property
    def exclude_suppliers(self) -> bool: ...
    @property
    def customers(self) -> CustomersLike: ...
    @property
    def audiences(self) -> Mapping[str, Any]: ...


def find_leaks(
    plan: pd.DataFrame,
    contacts: pd.DataFrame,
    partners: pd.DataFrame,
    company: LeakSettings,
    opted_out_ever: Set[str],
    members: pd.DataFrame,
    blacklisted_emails: Set[str] = frozenset(),
) -> pd.DataFrame:
    """Return the offending rows of a plan, with one reason each; empty: the plan is clean.

    Args:
        plan: rows of ``audience_plan``; held-back rows are judged too.
        contacts: the contacts table of the same company.
        partners: the odoo_partners table.
        company: settings of the company.
        opted_out_ever: addresses that ever opted out of any audience of any company.
        members: the mailchimp_members table.
        blacklisted_emails: addresses with an active row in Odoo's blacklist.

    Returns:
        Columns LEAK_COLUMNS; a row of the plan appears once per reason.
    """
    if plan.empty:
        return pd.DataFrame({column: pd.Series([], dtype=object) for column in LEAK_COLUMNS})
    list_of = {key: audience.list_id for key, audience in company.audiences.items()}
    rows = plan.reset_index(drop=True)
    operation = rows["operation"]
    target = rows["email"].where(rows["new_email"].isna(), rows["new_email"])
    contact_keys = set(zip(contacts["audience"], contacts["email"], strict=True))
    is_contact = _each(zip(rows["audience"], target, strict=True), contact_keys)
    status_of = _statuses(members)
    before = pd.Series(
        [status_of.get(key) for key in zip(rows["list_id"], rows["email"], strict=True)], dtype=object
    )
    writes_contact = operation.isin({"create", "update", "change_email", "upgrade", "permit"})
    subscribes = rows["status"].isin({"subscribed", "pending"})
    refused = set(opted_out_ever) | set(blacklisted_emails)
    returning = (operation == "create") & (rows["cause"] == "returning") & (before == "archived")
    newly_made = set(
        zip(
            rows.loc[operation.isin({"create", "change_email"}), "list_id"],
            target[operation.isin({"create", "change_email"})],
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
        ((operation == "archive") & is_contact, "somebody who belongs in the audience would be archived"),
        (~allowed_status, "the status is not one that this operation may send"),
        (
            body_status & ~operation.isin({"create", "upgrade"}),
            "the body would send a status for an existing member",
        ),
        (
            subscribes & target.isin(refused),
            "the address opted out and would be subscribed",
        ),
        (
            (operation == "permit") & target.isin(refused),
            "the address opted out and would get a marketing permission",
        ),
        (
            (operation == "create") & before.notna() & ~returning,
            "the address is in the audience already and would be created",
        ),
        (
            returning & (rows["status"] != "transactional"),
            "an archived member may return as transactional only",
        ),
        (
            (operation != "create") & (before == "archived") & ~made_here,
            "an archived member would be changed",
        ),
        (
            (operation != "create") & before.isna() & ~made_here,
            "the address is not in the audience and would be changed",
        ),
        (
            (operation == "archive") & (before != "transactional"),
            "only transactional members may be archived",
        ),
        (
            (operation == "upgrade") & (before != "transactional"),
            "only transactional members may be upgraded",
        ),
    ]
    concerned = writes_contact | ((operation == "tag") & is_contact)
    partner_ids = _partners_behind(rows, target, contacts)
    for partner_set, reason in _forbidden_partners(partners, contacts, company):
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
        if known is None or _RESTRICTIVE_FIRST.index(status) < _RESTRICTIVE_FIRST.index(known):
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
    partners: pd.DataFrame, contacts: pd.DataFrame, company: LeakSettings
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
