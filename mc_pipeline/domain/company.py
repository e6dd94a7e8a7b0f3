"""What the rules need to know about a company's settings.

Protocols only: the settings models satisfy them by having the same attributes, so the rules need no import
of the settings, and a test can pass a plain dataclass.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol


class AmountRule(Protocol):
    """A bound on what a person ordered: ``{field: total_spent, at_least: 5000}``; both ends count in.

    Amounts are untaxed, net of credit notes, in the company's currency; dates are days in its timezone.
    """

    @property
    def field(self) -> str: ...
    @property
    def at_least(self) -> float | date | None: ...
    @property
    def at_most(self) -> float | date | None: ...


class RoutingRule(Protocol):
    """Who belongs in an audience. Every condition that is given must hold; an empty rule takes everyone."""

    @property
    def company_type(self) -> str | None: ...
    @property
    def countries(self) -> Sequence[str]: ...
    @property
    def industries(self) -> Sequence[str | int]: ...
    @property
    def any_tag(self) -> Sequence[str | int]: ...
    @property
    def all_tags(self) -> Sequence[str | int]: ...
    @property
    def no_tag(self) -> Sequence[str | int]: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def amounts(self) -> Sequence[AmountRule]: ...


class ConsentRule(Protocol):
    """Which evidence of consent an audience accepts, and what it makes of a person without any."""

    @property
    def mailing_list(self) -> str | int | None: ...
    @property
    def boolean_field(self) -> str | None: ...
    @property
    def accept_undated(self) -> bool: ...
    @property
    def without_evidence(self) -> str: ...
    @property
    def send_confirmation(self) -> bool: ...


class AudienceRules(Protocol):
    """One audience: who is in it, with which status, fields and tags."""

    @property
    def when(self) -> RoutingRule: ...
    @property
    def restrictive(self) -> bool: ...
    @property
    def consent(self) -> ConsentRule | None: ...
    @property
    def merge_fields(self) -> Mapping[str, str]: ...
    @property
    def tags(self) -> Mapping[str, str | AmountRule]: ...


class CustomerRules(Protocol):
    """``order``: everyone who ordered; ``order_and_children``: their contact persons too."""

    @property
    def contacts(self) -> str: ...


class CompanyIfRule(Protocol):
    """What makes a partner a company that Odoo calls a person, where Odoo has no company types."""

    @property
    def any_tag(self) -> Sequence[str | int]: ...
    @property
    def field(self) -> str | None: ...


class CompanyRules(Protocol):
    """One company; its audiences in the order of the settings, the first that matches wins."""

    @property
    def timezone(self) -> str: ...
    @property
    def customers(self) -> CustomerRules: ...
    @property
    def duplicates(self) -> str: ...
    @property
    def company_if(self) -> CompanyIfRule | None: ...
    @property
    def exclude_suppliers(self) -> bool: ...
    @property
    def maximum_bounces(self) -> int: ...
    @property
    def languages(self) -> Mapping[str, str]: ...
    @property
    def audiences(self) -> Mapping[str, AudienceRules]: ...


class UpgradeRules(Protocol):
    """What the plan may do on evidence of consent: subscribe members, ask for it, give permissions."""

    @property
    def upgrade(self) -> bool: ...
    @property
    def max_confirmations(self) -> int: ...
    @property
    def marketing_permissions(self) -> Sequence[str]: ...


class NamedAudience(Protocol):
    """The settings of an audience that say where names go."""

    @property
    def merge_fields(self) -> Mapping[str, str]: ...
    @property
    def names(self) -> str: ...


class PlannedCompany(Protocol):
    """A company whose audiences are planned; each has at least a ``list_id``."""

    @property
    def key(self) -> str: ...
    @property
    def audiences(self) -> Mapping[str, Any]: ...


class JudgedCompany(PlannedCompany, Protocol):
    """What decides who may be in no plan of a company."""

    @property
    def exclude_suppliers(self) -> bool: ...
    @property
    def customers(self) -> CustomerRules: ...


class Guard(Protocol):
    """One guard: how many changes are allowed in an audience of this size."""

    def limit(self, audience_size: int) -> int: ...


class Guards(Protocol):
    """The guards of one company."""

    @property
    def created(self) -> Guard: ...
    @property
    def archived(self) -> Guard: ...
    @property
    def moved(self) -> Guard: ...
    @property
    def email_changes(self) -> Guard: ...
    @property
    def tags_removed(self) -> Guard: ...
    @property
    def upgrades(self) -> Guard: ...
    @property
    def permissions(self) -> Guard: ...


class StoreSettings(Protocol):
    """A store in Mailchimp and its currency."""

    @property
    def id(self) -> str: ...
    @property
    def currency(self) -> str: ...


class SellingAudience(Protocol):
    """An audience, perhaps with a store."""

    @property
    def list_id(self) -> str: ...
    @property
    def store(self) -> StoreSettings | None: ...


class SellingCompany(Protocol):
    """A company: since when its orders count, which of them are revenue, and its audiences."""

    @property
    def orders_since(self) -> str | None: ...
    @property
    def revenue(self) -> str: ...
    @property
    def audiences(self) -> Mapping[str, SellingAudience]: ...
