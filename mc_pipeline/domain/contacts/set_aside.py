"""Why a person is left out (suppliers, too many bounces, no order, no audience), and what is said about it.

Who is never a contact (employees, internal users) is decided in ``people``, which audience a person is in by
``routing``. Sentences name ids, settings and audiences, never a person.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from mc_pipeline.domain.company import CompanyRules
from mc_pipeline.domain.contacts.people import NEVER, first_reason

_NOTHING = "Nothing to do."

DESCRIPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "internal_user": ("is a user of this Odoo (portal users are customers)", _NOTHING),
        "employee": ("is an employee", _NOTHING),
        "own_company": ("is one of your own companies, or belongs to one", _NOTHING),
        "public_or_template_user": ("is the public user or a template of users", _NOTHING),
        "address_type": ("is a postal address of a contact, not a person", _NOTHING),
        "archived": ("is archived in Odoo", "Unarchive the contact if the person is still a customer."),
        "missing_email": ("has no e-mail address", "Enter the person's address on the contact."),
        "invalid_email": ("has an address that cannot receive mail", "Correct the address on the contact."),
        "supplier": (
            "is a supplier, and suppliers are excluded",
            "Set exclude_suppliers: false if suppliers who buy are customers.",
        ),
        "no_order": ("has no confirmed order in this company", _NOTHING),
        "no_audience": (
            "is a customer, but matches no audience rule",
            "Tag or complete the contact or its company in Odoo, or add an audience that takes it.",
        ),
        "without_evidence": (
            "has no valid evidence of consent, and the audience takes nobody without it; an existing "
            "member is kept up to date",
            "Nothing to do; the person joins when consent with a date is recorded in Odoo.",
        ),
    }
)
"""What was found and what to do, per reason; reasons that say more are made in ``describe_set_aside``."""

_MERGE = "Merge the contacts in Odoo (Contacts › Merge), or give each its own address."


_NEVER_THROUGH = frozenset(NEVER)


def why_no_contact(persons: pd.DataFrame, company: CompanyRules) -> pd.Series:
    """Say why a person is no contact: the first reason that applies, empty for a contact.

    Each employee, internal user and so on (``people.NEVER``) comes with their reason in ``never_as``.
    """
    reasons: dict[str, Any] = {
        "bounced": persons["bounces"] > company.maximum_bounces,
        **{never: persons["never_as"] == never for never in persons["never_as"].dropna().unique()},
        "supplier": persons["is_supplier"] & company.exclude_suppliers,
        "no_order": ~persons["qualifies"],
        "conflicting_routes": persons["conflict"].map(bool),
        "no_audience": persons["audience"].isna(),
    }
    return first_reason(reasons, persons.index)


def are_suppliers(partners: pd.DataFrame, judged: pd.DataFrame) -> pd.Series:
    """Mark the partners that have vendor bills, or whose commercial partner has."""
    supplier_rank = judged.set_index("partner_id")["supplier_rank"]
    of_commercial = partners["commercial_partner_id"].map(supplier_rank).fillna(0)
    return (partners["supplier_rank"] > 0) | (of_commercial > 0)


def describe_set_aside(rows: pd.DataFrame, company: CompanyRules) -> tuple[pd.Series, pd.Series]:
    """Return detail and fix of every row (columns as ``contacts.list_set_aside`` gathers them)."""
    described = [_describe(row, company) for row in rows.itertuples(index=False)]
    return (
        pd.Series([detail for detail, _ in described], index=rows.index, dtype=object),
        pd.Series([fix for _, fix in described], index=rows.index, dtype=object),
    )


def _describe(row: Any, company: CompanyRules) -> tuple[str, str]:
    if row.reason == "duplicate":
        if row.partner_id == row.winner:
            others = _count(row.size - 1, "other partner")
            return (
                f"shares its address with {others}, so the person is not created (duplicates: set_aside); "
                "an existing member is kept up to date",
                _MERGE,
            )
        return f"shares its address with partner {int(row.winner)}, which is the winner", _MERGE
    if row.reason == "bounced":
        return (
            f"mail to the address bounced {_count(row.bounces, 'time')}, more than maximum_bounces: "
            f"{company.maximum_bounces}",
            "Correct the address on the contact; Odoo then counts from zero.",
        )
    if row.reason == "conflicting_routes":
        return (
            f"partners with this address match several audiences: {', '.join(row.conflict)}",
            "Merge the contacts in Odoo, tag them so that all match one audience, or set restrictive: true "
            "on the one audience that should win.",
        )
    detail, fix = DESCRIPTIONS[row.reason]
    if row.excluded_as == "" and row.reason in _NEVER_THROUGH:
        return f"has the same address as partner {int(row.never_through)}, which {detail}", fix
    if row.reason == "no_order" and row.is_supplier:
        return f"{detail}; it is a supplier", fix
    return detail, fix


def _count(number: float, noun: str) -> str:
    return f"{int(number)} {noun}{'' if number == 1 else 's'}"
