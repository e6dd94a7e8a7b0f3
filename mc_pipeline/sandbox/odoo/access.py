"""Who may do what: accounts, the rights that groups give on models, and rules that hide records.

The groups are Odoo's, by the names below; ``admin`` is an administrator with every application's rights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mc_pipeline.sandbox.odoo.environment import Environment

Operation = Literal["read", "write", "create", "unlink"]

GROUPS = {
    "internal": "Role / User",
    "portal": "User types / Portal",
    "partner_manager": "Extra Rights / Contact Creation",
    "sales_own": "Sales/User: Own Documents Only",
    "sales_all": "Sales/User: All Documents",
    "sales_manager": "Sales/Administrator",
    "accounting": "Accounting/Billing",
    "email_marketing": "Email Marketing/User",
    "hr": "Employees/Officer",
    "admin": "Role / Administrator",
}
"""Group name here: the name that Odoo shows, as in the text of an AccessError."""

EXTERNAL_IDS = {
    "base.group_user": "internal",
    "base.group_portal": "portal",
    "base.group_partner_manager": "partner_manager",
    "base.group_system": "admin",
    "base.group_erp_manager": "admin",
    "sales_team.group_sale_salesman": "sales_own",
    "sales_team.group_sale_salesman_all_leads": "sales_all",
    "sales_team.group_sale_manager": "sales_manager",
    "account.group_account_invoice": "accounting",
    "account.group_account_readonly": "accounting",
    "mass_mailing.group_mass_mailing_user": "email_marketing",
    "hr.group_hr_user": "hr",
}

_IMPLIED = {
    "sales_manager": {"sales_all", "sales_own", "partner_manager", "internal"},
    "sales_all": {"sales_own", "internal"},
    "sales_own": {"internal"},
    "accounting": {"internal"},
    "email_marketing": {"internal"},
    "hr": {"internal"},
    "partner_manager": {"internal"},
    "admin": set(GROUPS) - {"portal"},
}

_ALL: tuple[Operation, ...] = ("read", "write", "create", "unlink")
_READ: tuple[Operation, ...] = ("read",)
_NO_UNLINK: tuple[Operation, ...] = ("read", "write", "create")

_RIGHTS: dict[str, dict[str, tuple[Operation, ...]]] = {
    "res.partner": {"internal": _READ, "sales_own": _NO_UNLINK, "partner_manager": _ALL},
    "res.partner.category": {"internal": _READ, "partner_manager": _ALL},
    "base.partner.merge.automatic.wizard": {"partner_manager": _ALL},
    "sale.order": {"sales_own": _NO_UNLINK, "sales_manager": _ALL, "accounting": _READ},
    "sale.order.line": {"sales_own": _ALL, "accounting": _READ},
    "sale.order.cancel": {"sales_own": _ALL},
    "account.move": {"accounting": _ALL, "sales_own": _READ},
    "account.move.line": {"accounting": _ALL, "sales_own": _READ},
    "mail.message": {"internal": _ALL, "portal": _ALL},
    "mail.message.subtype": {"internal": _READ, "portal": _READ, "admin": _ALL},
    "mail.blacklist": {"email_marketing": _ALL},
    "mail.blacklist.remove": {"email_marketing": _ALL},
    "mailing.contact": {"email_marketing": _ALL},
    "mailing.list": {"email_marketing": _ALL},
    "mailing.subscription": {"email_marketing": _ALL},
    "mailing.subscription.optout": {"email_marketing": _ALL},
    "hr.employee": {"hr": _ALL},
    "ir.module.module": {"admin": _READ},
    "ir.rule": {"admin": _READ},
    "ir.access": {"admin": _READ},
}
_DEFAULT_RIGHTS: dict[str, tuple[Operation, ...]] = {"internal": _READ, "admin": _ALL}


@dataclass
class Account:
    """How a user logs in and what the user may do. Secrets are never shown.

    ``api_keys``: key to its row in res.users.apikeys, which tells when it ends. ``denied`` takes single
    rights away from this user, as a customised database may. ``debug``: the user works in debug mode.
    """

    uid: int
    login: str
    password: str = field(repr=False)
    groups: frozenset[str]
    api_keys: dict[str, int] = field(default_factory=dict, repr=False)
    two_factor: bool = False
    debug: bool = False
    denied: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        unknown = self.groups - set(GROUPS)
        if unknown:
            raise ValueError(f"groups {sorted(unknown)} are unknown; use {sorted(GROUPS)}")
        self.groups = frozenset(
            self.groups | {each for group in self.groups for each in _IMPLIED.get(group, ())}
        )

    def accepts_password(self, secret: object) -> bool:
        """Whether this password logs the user in over RPC (none does with two factors)."""
        return not self.two_factor and bool(self.password) and secret == self.password

    def may(self, operation: Operation, model: str) -> bool:
        """Whether the user's groups give this right."""
        if (model, operation) in self.denied:
            return False
        rights = _RIGHTS.get(model, _DEFAULT_RIGHTS)
        return any(operation in rights.get(group, ()) for group in self.groups)


def groups_with(operation: Operation, model: str) -> list[str]:
    """Names of the groups that would give the right, for the error text."""
    rights = _RIGHTS.get(model, _DEFAULT_RIGHTS)
    return [GROUPS[group] for group, operations in rights.items() if operation in operations]


@dataclass(frozen=True)
class RecordRule:
    """Hides records of a model: only those in the domain remain.

    ``domain`` makes the domain for a call; ``applies`` says for which users (None: for all of them).
    """

    model: str
    domain: Callable[[Environment], list[Any]]
    applies: Callable[[Environment], bool] | None = None

    @property
    def name(self) -> str:
        """What an error text calls it."""
        return f"{self.model} rule"


def _companies_and_above(env: Environment) -> list[int]:
    """The call's companies and all above them: Odoo's ``parent_of company_ids``, for branches."""
    companies = env.database.models["res.company"].table.rows
    found: list[int] = []
    due = list(env.company_ids)
    while due:
        company = due.pop()
        if company and company not in found:
            found.append(company)
            due.append(companies.get(company, {}).get("parent_id") or 0)
    return found


def _own_company_or_shared(env: Environment) -> list[Any]:
    # Measured: Odoo 17 shows a branch no contact of the company above, unless the call names that company.
    companies = _companies_and_above(env) if env.release.since(18, 0) else env.company_ids
    return [
        "|",
        ("company_id", "in", [False, *companies]),
        ("partner_share", "=", False),
    ]  # fmt: skip


def _own_company(env: Environment) -> list[Any]:
    return [("company_id", "in", list(env.company_ids))]


def _own_company_or_none(env: Environment) -> list[Any]:
    return [("company_id", "in", [False, *env.company_ids])]


def _company_above_or_none(env: Environment) -> list[Any]:
    return [("company_id", "in", [False, *_companies_and_above(env)])]


def _own_documents(env: Environment) -> list[Any]:
    return [("user_id", "in", [False, env.uid])]


def _only_own_documents(env: Environment) -> bool:
    return "sales_own" in env.groups and not {"sales_all", "accounting"} & env.groups


STANDARD_RULES = (
    RecordRule("res.partner", _own_company_or_shared),
    RecordRule("sale.order", _own_company),
    RecordRule("sale.order.line", _own_company),
    RecordRule("account.move", _own_company),
    RecordRule("account.move.line", _own_company),
    RecordRule("hr.employee", _own_company_or_none),
    RecordRule("product.template", _company_above_or_none),
    RecordRule("product.product", _company_above_or_none),
    RecordRule(
        "res.users", lambda env: ["|", ("share", "=", False), ("company_ids", "in", list(env.company_ids))]
    ),
    RecordRule(
        "res.company",
        lambda env: [("id", "in", list(env.company_ids))],
        lambda env: "admin" not in env.groups,
    ),
    RecordRule("sale.order", _own_documents, _only_own_documents),
    RecordRule(
        "res.users.apikeys",
        lambda env: [("user_id", "=", env.uid)],
        lambda env: "admin" not in env.groups,
    ),
)
"""What a plain Odoo has: companies, and "Own Documents Only" for such sales people."""
