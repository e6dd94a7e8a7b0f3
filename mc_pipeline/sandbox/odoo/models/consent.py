"""Marketing consent: the blacklist of addresses, and mailing lists with their contacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipeline.sandbox.odoo.addresses import normalized
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import BuiltinError, UserError
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.sandbox.odoo.models.base import Model, remote
from mc_pipeline.sandbox.odoo.tables import Row


class Blacklist(Model):
    """mail.blacklist. Creating an address that has an archived row gives that row's id and leaves it
    archived: the person stays reachable, and no error says so."""

    description = "Mail Blacklist"
    indexed_texts = frozenset({"email"})
    ignores_missing = frozenset({"unlink"})

    def own_name(self, env: Environment, row: Row) -> str:
        return str(row.get("email", ""))

    def search_value(self, field: str, operator: str, value: Any) -> Any:
        """``=`` on the address normalises what it looks for, ``in`` does not."""
        if field == "email" and operator in ("=", "!=") and isinstance(value, str):
            return normalized(value) or value
        return value

    def create_records(self, env: Environment, vals_list: Sequence[Mapping[str, Any]]) -> list[int]:
        ids: list[int] = []
        for values in vals_list:
            if "email" not in values:
                raise BuiltinError(KeyError, "email")
            email = normalized(values["email"], only_one=True)
            if not email:
                raise UserError(env.release.invalid_email(values["email"]))
            known = self.table.with_value("email", email)
            ids += list(known) or [self._create_one(env, {**values, "email": email})]
        return list(dict.fromkeys(ids))

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        if "email" in values:
            values["email"] = normalized(values["email"]) or values["email"]
        return values

    def add(self, env: Environment, email: str) -> int:
        """Blacklist an address as Odoo's own screens do: an archived row becomes active again."""
        (id,) = self.create_records(env, [{"email": email}])
        if not self.table.rows[id].get("active", True):
            self.write_records(env, [id], {"active": True})
        return id

    def remove(self, env: Environment, email: str, reason: str = "") -> None:
        """Take an address off: its row is archived; without a row an archived one is made, like in Odoo."""
        address = normalized(email, only_one=True)
        if not address:
            raise UserError(env.release.invalid_email(email))
        found = sorted(self.table.with_value("email", address))
        ids = found or [self._create_one(env, {"email": address})]
        self.write_records(env, ids, {"active": False})
        if reason:
            self.database.models["mail.message"].create_records(
                env,
                [{"model": self.name, "res_id": ids[0], "date": env.now, "body": f"<p>{reason}</p>"}],
            )


class BlacklistRemove(Model):
    """mail.blacklist.remove: the wizard by which people take an address off the blacklist."""

    description = "Remove email from blacklist wizard"
    transient = True

    @remote(on_records=True)
    def action_unblacklist_apply(self, env: Environment, ids: Sequence[int]) -> bool:
        blacklist = self.database.models["mail.blacklist"]
        assert isinstance(blacklist, Blacklist)
        env.check_right("write", blacklist)
        for id in ids:
            row = self.table.rows[id]
            blacklist.remove(env, str(row["email"]), str(row.get("reason") or ""))
        return True


class MailingList(Model):
    """mailing.list: shown with the number of its contacts."""

    description = "Mailing List"
    order = "name"

    def _subscribed(self, row: Row) -> list[int]:
        return sorted(self.database.models["mailing.subscription"].table.with_value("list_id", row["id"]))

    def compute_contact_ids(self, env: Environment, row: Row) -> tuple[int, ...]:
        rows = self.database.models["mailing.subscription"].table.rows
        return tuple(dict.fromkeys(rows[id]["contact_id"] for id in self._subscribed(row)))

    def compute_contact_count(self, env: Environment, row: Row) -> int:
        return len(self.compute_contact_ids(env, row))

    def own_name(self, env: Environment, row: Row) -> str:
        return f"{row.get('name')} ({self.compute_contact_count(env, row)})"

    def name_matches(self, env: Environment, text: str, operator: str) -> list[int]:
        """A list is found by its name alone, without the number."""
        wanted = text.casefold()
        exact = operator in ("=", "!=")
        return [
            id
            for id, row in self.table.rows.items()
            if (str(row.get("name")) == text if exact else wanted in str(row.get("name")).casefold())
        ]


class MailingContact(Model):
    """mailing.contact: a person on mailing lists, apart from partners."""

    description = "Mailing Contact"
    order = "name, id desc"
    indexed_texts = frozenset({"email_normalized", "email"})

    def compute_is_blacklisted(self, env: Environment, row: Row) -> bool:
        return row.get("email_normalized", False) in self.database.blacklisted()

    def _subscriptions(self, row: Row) -> list[Row]:
        table = self.database.models["mailing.subscription"].table
        return [table.rows[id] for id in sorted(table.with_value("contact_id", row["id"]))]

    def compute_list_ids(self, env: Environment, row: Row) -> tuple[int, ...]:
        return tuple(dict.fromkeys(each["list_id"] for each in self._subscriptions(row)))

    def compute_opt_out(self, env: Environment, row: Row) -> bool:
        """Means something only in the context of one list."""
        lists = env.context.get("default_list_ids")
        if not isinstance(lists, (list, tuple)) or len(lists) != 1:
            return False
        return any(
            each.get("opt_out", False) for each in self._subscriptions(row) if each["list_id"] == lists[0]
        )

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        values["email_normalized"] = normalized(values.get("email"))
        return values

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        if "email" in values:
            values["email_normalized"] = normalized(values["email"])
        return values

    def relate(self, env: Environment, row: Row, field: Field, ids: tuple[int, ...]) -> None:
        """Subscriptions made through ``list_ids`` have no dates at all: the ORM does not write them."""
        if field.name != "list_ids":
            super().relate(env, row, field, ids)
            return
        subscriptions = self.database.models["mailing.subscription"]
        current = {each["list_id"]: each["id"] for each in self._subscriptions(row)}
        for gone in set(current) - set(ids):
            subscriptions.table.delete(current[gone])
        for list_id in ids:
            if list_id not in current:
                subscriptions.table.insert({"contact_id": row["id"], "list_id": list_id})

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        subscriptions = self.database.models["mailing.subscription"]
        for id in ids:
            for each in list(subscriptions.table.with_value("contact_id", id)):
                subscriptions.table.delete(each)


class MailingSubscription(Model):
    """mailing.subscription: one contact on one list, opted out or not."""

    description = "Mailing List Subscription"
    order = "list_id desc, contact_id desc"
    unique = (("contact_id", "list_id"),)

    def own_name(self, env: Environment, row: Row) -> str:
        contacts = self.database.models["mailing.contact"]
        contact = contacts.table.rows.get(row.get("contact_id") or 0)
        return contacts.display_name(env, contact) if contact is not None else ""

    def compute_is_blacklisted(self, env: Environment, row: Row) -> bool:
        contact = self.database.models["mailing.contact"].table.rows.get(row.get("contact_id") or 0, {})
        return contact.get("email_normalized", False) in self.database.blacklisted()

    def _dated(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        if "opt_out" in values and "opt_out_datetime" not in values:
            values["opt_out_datetime"] = env.now.replace(microsecond=0) if values["opt_out"] else False
        return values

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("opt_out"):
            values = self._dated(env, values)
        return values

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        return self._dated(env, values)
