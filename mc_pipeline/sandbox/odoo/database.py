"""One Odoo database: its models, its clock, its users, and calls as transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from mc_pipeline.sandbox.odoo.access import STANDARD_RULES, Account, RecordRule
from mc_pipeline.sandbox.odoo.catalogue import Fields, mirrors
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import AccessDeniedError, MissingError
from mc_pipeline.sandbox.odoo.models import accounting, consent, messages, organisation, partner, sales
from mc_pipeline.sandbox.odoo.models.base import Model
from mc_pipeline.sandbox.odoo.tables import UndoLog
from mc_pipeline.sandbox.odoo.versions import Release

_CLASSES: dict[str, type[Model]] = {
    "res.partner": partner.Partner,
    "res.partner.category": partner.PartnerCategory,
    "res.country": partner.Country,
    "res.country.state": partner.CountryState,
    "base.partner.merge.automatic.wizard": partner.MergeWizard,
    "res.users": organisation.User,
    "res.company": organisation.Company,
    "res.currency": organisation.Currency,
    "res.lang": organisation.Language,
    "product.template": organisation.ProductTemplate,
    "product.product": organisation.Product,
    "product.category": organisation.ProductCategory,
    "sale.order": sales.SaleOrder,
    "sale.order.line": sales.SaleOrderLine,
    "sale.order.cancel": sales.SaleOrderCancel,
    "account.move": accounting.Move,
    "account.move.line": accounting.MoveLine,
    "mail.message": messages.Message,
    "mail.blacklist": consent.Blacklist,
    "mail.blacklist.remove": consent.BlacklistRemove,
    "mailing.list": consent.MailingList,
    "mailing.contact": consent.MailingContact,
    "mailing.subscription": consent.MailingSubscription,
}
_RENAMED = {
    ("sale.order.line", "tax_id"): "tax_ids",
    ("res.users", "groups_id"): "group_ids",
}
"""Fields that a later version calls otherwise, with the same content."""


def utc_now() -> datetime:
    """The clock of a database that nobody gave another one."""
    return datetime.now(UTC)


class Database:
    """Models by name, accounts by user id. Calls run one after the other; one that fails leaves no trace."""

    def __init__(
        self,
        name: str,
        release: Release,
        fields: Mapping[str, Fields],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self.release = release
        self.clock = clock
        self.undo = UndoLog()
        self.lock = RLock()
        self.rules: list[RecordRule] = list(STANDARD_RULES)
        self.accounts: dict[int, Account] = {}
        self.models: dict[str, Model] = {}
        self.foreign_names: dict[tuple[str | None, int], str] = {}
        self._backdated: datetime | None = None
        self._blacklisted: tuple[int, frozenset[str]] = (-1, frozenset())
        self._warm: set[tuple[int, str]] = set()
        for model, definitions in fields.items():
            self.define(model, definitions)
        register = self.models["ir.model"]
        for model in sorted(self.models):
            register.table.insert({"model": model, "name": self.models[model].description})

    def define(self, name: str, fields: Fields) -> Model:
        """Add a model."""
        known = mirrors()
        for (model, field), mirror in known.items():
            if model == name and field in fields and mirror[0] in {*self.models, *_CLASSES}:
                fields[field] = replace(fields[field], mirror=mirror)
        self.models[name] = _CLASSES.get(name, Model)(self, name, fields)
        return self.models[name]

    def upgrade(self, release: Release, fields: Mapping[str, Fields], before: Mapping[str, Fields]) -> None:
        """Go on as another release with the same records. ``before`` are the built-in fields until now: what
        was added to them (a customised field or model) stays, as does the content of renamed fields."""
        old, self.release, self.models = self.models, release, {}
        added_models = {name: model.fields for name, model in old.items() if name not in before}
        for name, definitions in {**fields, **added_models}.items():
            model = self.define(name, definitions)
            known = old.get(name)
            if known is None:
                continue
            for field_name, field in known.fields.items():
                if field_name not in before.get(name, known.fields) and field_name not in model.fields:
                    model.add_field(field)
            model.table, model.recorded_names = known.table, known.recorded_names
            for row in model.table.rows.values():
                for field_name in set(row) - set(model.fields) - {"id"}:
                    value, renamed = row.pop(field_name), _RENAMED.get((name, field_name))
                    if renamed in model.fields:
                        row[renamed] = value
            model.table.changes += 1
            model.table.forget_indexes()
        register = self.models["ir.model"].table
        for name in sorted(set(self.models) - set(old)):
            register.insert({"model": name, "name": self.models[name].description})
        self._warm.clear()

    def now(self) -> datetime:
        """The moment as kept in rows: naive UTC with microseconds."""
        moment = self._backdated or self.clock()
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Everything inside happens at this moment (UTC): history, or a transaction that began long ago."""
        before, self._backdated = self._backdated, moment
        try:
            yield
        finally:
            self._backdated = before

    @contextmanager
    def transaction(self, env: Environment) -> Iterator[Environment]:
        """Run alone; undo everything when an error leaves the block."""
        with self.lock:
            own = self.undo.begin()
            try:
                yield env
            except BaseException:
                if own:
                    self.undo.rollback()
                raise
            if own:
                self.undo.commit()

    def superuser(self, **context: Any) -> Environment:
        """An environment without rights, rules and hidden archived records."""
        return Environment(self, None, {"active_test": False, **context})

    def blacklisted(self) -> frozenset[str]:
        """Addresses with an active row on the blacklist."""
        table = self.models["mail.blacklist"].table if "mail.blacklist" in self.models else None
        if table is None:
            return frozenset()
        if self._blacklisted[0] != table.changes:
            emails = frozenset(row["email"] for row in table.rows.values() if row.get("active", True))
            self._blacklisted = (table.changes, emails)
        return self._blacklisted[1]

    # logging in

    def login(self, login: object, secret: object) -> int | bool:
        """The id of the active user with this login and password or API key, False otherwise."""
        for account in self.accounts.values():
            user = self.models["res.users"].table.rows.get(account.uid)
            if account.login == login and user is not None and user.get("active", True):
                return account.uid if self._accepts(account, secret) else False
        return False

    def authenticated(self, uid: object, secret: object) -> Account:
        """The account of a call. A secret that worked once goes on working until ``restart_workers``, as in
        a real Odoo whose workers remember it."""
        account = self.accounts.get(uid) if isinstance(uid, int) else None
        if account is None or uid not in self.models["res.users"].table:
            raise MissingError(
                f"Record does not exist or has been deleted.\n(Record: res.users({uid},), User: {uid})"
            )
        if (account.uid, str(secret)) in self._warm:
            return account
        if not self._accepts(account, secret) or not self.models["res.users"].table.rows[account.uid].get(
            "active", True
        ):
            raise AccessDeniedError()
        self._warm.add((account.uid, str(secret)))
        return account

    def _accepts(self, account: Account, secret: object) -> bool:
        return account.accepts_password(secret) or self._is_key(account, secret)

    def _is_key(self, account: Account, secret: object) -> bool:
        """Whether this is an API key of the account that has not ended."""
        if secret not in account.api_keys:
            return False
        row = self.models["res.users.apikeys"].table.rows[account.api_keys[str(secret)]]
        accepted = ("rpc",) if self.release.since(20) else (False, "rpc")
        if row.get("scope", False) not in accepted:
            return False
        return not row.get("expiration_date") or row["expiration_date"] >= self.now()

    def holder_of_key(self, key: str) -> Account | None:
        """The active user who has this API key; nobody for one that has expired."""
        users = self.models["res.users"].table.rows
        for account in self.accounts.values():
            if self._is_key(account, key) and users.get(account.uid, {}).get("active", True):
                return account
        return None

    def restart_workers(self) -> None:
        """Forget which secrets were checked."""
        self._warm.clear()
