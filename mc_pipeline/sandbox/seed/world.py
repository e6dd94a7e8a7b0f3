"""What the demo's world consists of, for those who tell its story or test against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ODOO_USER = "integration@example.com"
ODOO_SECRET = "sandbox-odoo-secret"
"""The secret of the stand-in only; it opens nothing else."""

LISTS = {
    ("acme_uk", "wholesale"): "a1b2c3d4e5",
    ("acme_uk", "retail"): "b2c3d4e5f6",
    ("acme_fr", "professionnels"): "c3d4e5f6a7",
    ("acme_fr", "particuliers"): "d4e5f6a7b8",
}
"""Audience id by company and audience key."""


@dataclass(frozen=True)
class DemoPerson:
    """Somebody with a part in the story. ``partner_id`` is None for people whom Odoo does not know;
    ``list_id`` is the audience in which they are found or would be."""

    name: str
    email: str
    partner_id: int | None
    company: str
    audience: str
    list_id: str


@dataclass(frozen=True)
class DemoCompany:
    """One company: its key in companies.yaml, its Odoo id, its audiences' ids by key."""

    key: str
    odoo_company_id: int
    timezone: str
    currency: str
    audiences: Mapping[str, str]


@dataclass
class DemoWorld:
    """The seeded world. ``people`` names the parts that people play, such as ``cleaned`` or ``shared``."""

    companies: dict[str, DemoCompany]
    people: dict[str, DemoPerson] = field(default_factory=dict)
    partners: int = 0
    orders: int = 0
    odoo_user: str = ODOO_USER
    odoo_secret: str = field(default=ODOO_SECRET, repr=False)
    mailchimp_api_key: str = field(default="", repr=False)

    @property
    def someone_subscribed_with_partner(self) -> DemoPerson:
        """Subscribed in Mailchimp before the first run, one partner in Odoo, orders, no duplicate."""
        return self.people["subscribed"]

    def environment(self) -> dict[str, str]:
        """The variables that the demo's companies.yaml refers to."""
        return {"ODOO_SECRET": self.odoo_secret, "MAILCHIMP_API_KEY": self.mailchimp_api_key}
