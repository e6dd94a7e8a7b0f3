"""The circumstances of one call: the user, the context, the companies, and the moment of the transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mc_pipeline.sandbox.odoo.access import Account, Operation, groups_with
from mc_pipeline.sandbox.odoo.errors import AccessError, UserError
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.sandbox.odoo.versions import Release

if TYPE_CHECKING:
    from mc_pipeline.sandbox.odoo.database import Database
    from mc_pipeline.sandbox.odoo.models.base import Model


class Environment:
    """Given to everything that a call does. ``account`` None is the superuser: no right and no rule holds.

    All rows that a call writes carry the same ``now``, the start of its transaction.
    """

    def __init__(
        self,
        database: Database,
        account: Account | None,
        context: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> None:
        self.database = database
        self.account = account
        self.context = dict(context or {})
        self.now = now or database.now()
        self._company_ids: tuple[int, ...] | None = None

    @property
    def release(self) -> Release:
        return self.database.release

    @property
    def uid(self) -> int:
        return 1 if self.account is None else self.account.uid

    @property
    def groups(self) -> frozenset[str]:
        return frozenset() if self.account is None else self.account.groups

    @property
    def is_superuser(self) -> bool:
        return self.account is None

    @property
    def active_test(self) -> bool:
        return bool(self.context.get("active_test", True))

    @property
    def company_ids(self) -> tuple[int, ...]:
        """The companies that the call sees: ``allowed_company_ids``, or without it all of the user's.

        Raises AccessError for a company that the user does not have, or that is archived.
        """
        if self._company_ids is None:
            users = self.database.models["res.users"].table.rows
            companies = self.database.models["res.company"].table
            if self.account is None:
                own = tuple(companies.ids)
            else:
                # Archiving a company leaves it in its users' company_ids (res.users._get_company_ids).
                own = tuple(
                    company
                    for company in users[self.account.uid].get("company_ids", ())
                    if companies.rows.get(company, {}).get("active", True)
                )
            asked = self.context.get("allowed_company_ids")
            if asked and not set(asked) <= set(own):
                raise AccessError("Access to unauthorized or invalid companies.")
            self._company_ids = tuple(asked) if asked else own
        return self._company_ids

    @property
    def company_id(self) -> int:
        """The company in which the call creates things: the first allowed one."""
        asked = self.context.get("allowed_company_ids")
        if asked:
            return self.company_ids[0]
        user = self.database.models["res.users"].table.rows.get(self.uid, {})
        return user.get("company_id") or self.company_ids[0]

    def with_context(self, **context: Any) -> Environment:
        """The same call with another context."""
        return Environment(self.database, self.account, {**self.context, **context}, self.now)

    def as_superuser(self) -> Environment:
        """The same call without rights and rules."""
        return Environment(self.database, None, self.context | {"allowed_company_ids": None}, self.now)

    def model(self, name: str) -> Model:
        """Raises UserError for a model that is not installed."""
        model = self.database.models.get(name)
        if model is None:
            raise UserError(f"Object {name} doesn't exist")
        return model

    def check_right(self, operation: Operation, model: Model) -> None:
        """Raises AccessError when the user's groups do not give the right."""
        if self.account is None or self.account.may(operation, model.name):
            return
        if self.only_own_partner(operation, model.name):
            return
        verb = {"read": "access", "write": "modify", "create": "create", "unlink": "delete"}[operation]
        groups = groups_with(operation, model.name)
        allowed = (
            "This operation is allowed for the following groups:\n"
            + "\n".join(f"\t- {name}" for name in groups)
            if groups
            else "No group currently allows this operation."
        )
        raise AccessError(
            f"You are not allowed to {verb} '{model.description}' ({model.name}) records.\n\n{allowed}\n\n"
            "Contact your administrator to request access if necessary."
        )

    def only_own_partner(self, operation: Operation, model: str) -> bool:
        """Whether the user has this right for its own partner alone: from 19.4 on every internal user may
        write that one, so that the right is reported as present when asked without records."""
        return (
            self.release.since(19, 4)
            and (operation, model) == ("write", "res.partner")
            and self.account is not None
            and "internal" in self.account.groups
            and (model, operation) not in self.account.denied
            and not self.account.may(operation, model)
        )

    def may_read_field(self, field: Field) -> bool:
        return self.account is None or not field.groups or bool(field.groups & self.groups)

    def no_field_right(self, model: str, field: Field) -> str:
        """The text of the AccessError for a field of other groups."""
        return (
            "The requested operation can not be completed due to security restrictions.\n\n"
            f"Document type: {self.model(model).description} ({model})\nOperation: read\nUser: {self.uid}\n"
            f"Fields:\n- {field.name} (allowed for groups {', '.join(sorted(field.groups))})"
        )
