"""What is expected of each table, in words and as data: who owns a check, and what its owner should do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mc_pipeline.quality.syntax import is_valid_address
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    import pandas as pd

_ADDRESS_ONLY_TYPES = ("delivery", "invoice", "other")


@dataclass(frozen=True)
class TableExpectation:
    """One expectation about rows of one table.

    ``rows`` selects what the expectation is about (and may add columns for it); ``expectation`` is the type
    of a Great Expectations expectation, or one registered in ``mc_pipeline.quality.addresses``; ``identity``
    names the id column that offenders are reported by.
    """

    name: str
    description: str
    owner: Owner
    what_to_do: str
    severity: Literal["warning", "critical"]
    expectation: str
    column: str
    identity: str
    rows: Callable[["pd.DataFrame"], "pd.DataFrame"]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def people(partners: "pd.DataFrame") -> "pd.DataFrame":
    """Select the partners that stand for a person who could be a contact, by Odoo's own columns.

    Left out: archived records, pure postal addresses, internal, public and template users, employees, and the
    Odoo companies themselves with everything below them.
    """
    own = set(partners.loc[partners["is_own_company"], "partner_id"])
    below = own
    while below:
        children = set(partners.loc[partners["parent_id"].isin(below), "partner_id"])
        below = children - own
        own |= below
    person = (
        partners["active"]
        & ~partners["type"].isin(_ADDRESS_ONLY_TYPES)
        & ~partners["is_internal_user"]
        & ~partners["is_employee"]
        & ~partners["is_public_or_template_user"]
        & ~partners["partner_id"].isin(own)
    )
    return partners.loc[person].assign(typed=_typed)


def _typed(partners: "pd.DataFrame") -> "pd.Series":
    """The e-mail as typed, with blanks counted as nothing."""
    stripped = partners["email"].astype(object).map(lambda value: value.strip() or None, na_action="ignore")
    return stripped.where(stripped.notna(), None)


def _with_typed_email(partners: "pd.DataFrame") -> "pd.DataFrame":
    rows = people(partners)
    rows = rows[rows["typed"].notna()]
    # Odoo leaves the normalised address empty when it can make nothing of what was typed. It keeps non-ASCII
    # capitals before the @; Mailchimp identifies members by the address in lower case.
    normalized = rows["email_normalized"].astype(object)
    address = normalized.map(lambda value: value.strip().lower(), na_action="ignore")
    return rows.assign(address=address.where(normalized.notna(), ""))


def _with_valid_email(partners: "pd.DataFrame") -> "pd.DataFrame":
    rows = _with_typed_email(partners)
    return rows[rows["address"].map(is_valid_address).astype(bool)]


ODOO_PARTNERS = (
    TableExpectation(
        name="emails_present",
        description="Every person in Odoo has an e-mail address.",
        owner=Owner.MARKETING_OPS,
        what_to_do="Ask the customer for an address and enter it on the Odoo contact, or leave it: "
        "without one the person is in no audience.",
        severity="warning",
        expectation="expect_column_values_to_not_be_null",
        column="typed",
        identity="partner_id",
        rows=people,
    ),
    TableExpectation(
        name="emails_valid",
        description="Every e-mail address typed in Odoo can be written to.",
        owner=Owner.MARKETING_OPS,
        what_to_do="Correct the address on the Odoo contact; the person joins the audience with the next "
        "run.",
        severity="warning",
        expectation="expect_column_values_to_be_valid_addresses",
        column="address",
        identity="partner_id",
        rows=_with_typed_email,
    ),
    TableExpectation(
        name="emails_unique",
        description="No two people in Odoo share an e-mail address.",
        owner=Owner.MARKETING_OPS,
        what_to_do=(
            "Merge the contacts in Odoo (Contacts › Merge), or give each its own address. Until then the "
            "contact with the latest order is used for the address."
        ),
        severity="warning",
        expectation="expect_column_values_to_be_unique",
        column="address",
        identity="partner_id",
        rows=_with_valid_email,
    ),
)
