"""Partners and what belongs to them: tags, countries, the merge of duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipeline.sandbox.odoo.addresses import normalized
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import AccessError, UserError, ValidationError
from mc_pipeline.sandbox.odoo.models.base import Model, remote
from mc_pipeline.sandbox.odoo.tables import Row

ADDRESS = ("street", "street2", "zip", "city", "state_id", "country_id")
COMMERCIAL = ("vat", "industry_id")
VOID_TAX_IDS = (False, "", "/", "na", "NA")


class Partner(Model):
    """res.partner: people, companies and addresses."""

    description = "Contact"
    order = "complete_name, id desc"
    indexed_texts = frozenset({"email_normalized", "email", "ref"})

    # names and hierarchy

    def compute_commercial_partner_id(self, env: Environment, row: Row) -> int:
        """The first company upwards; from 19.1 on the topmost parent, whatever ``is_company`` says."""
        seen = {row["id"]}
        topmost = env.release.since(19, 1)
        while row.get("parent_id") and (topmost or not row.get("is_company")):
            parent = self.table.rows.get(row["parent_id"])
            if parent is None or parent["id"] in seen:
                return int(row.get("commercial_partner_id") or row["id"])
            seen.add(parent["id"])
            row = parent
        return int(row["id"])

    def compute_commercial_company_name(self, env: Environment, row: Row) -> Any:
        """From 19.4 on the commercial partner's name, also where that is a private person."""
        commercial = self.table.rows.get(self.compute_commercial_partner_id(env, row), row)
        if env.release.since(19, 4):
            return commercial.get("name", False)
        return (
            commercial.get("name", False) if commercial.get("is_company") else row.get("company_name", False)
        )

    def compute_complete_name(self, env: Environment, row: Row) -> str:
        return self.own_name(env, row)

    def own_name(self, env: Environment, row: Row) -> str:
        name = row.get("name") or ""
        if row.get("company_name") or row.get("parent_id"):
            if not name and row.get("type", "contact") in ("invoice", "delivery", "other"):
                name = dict(self.fields["type"].selection).get(row["type"], "")
            if not row.get("is_company"):
                parent = self.table.rows.get(row.get("parent_id") or 0, {})
                company = self.compute_commercial_company_name(env, row) or parent.get("name") or ""
                name = f"{company}, {name}"
        return name.strip()

    def compute_parent_name(self, env: Environment, row: Row) -> Any:
        return self.table.rows.get(row.get("parent_id") or 0, {}).get("name", False)

    def compute_company_type(self, env: Environment, row: Row) -> str:
        return "company" if row.get("is_company") else "person"

    def compute_has_vat(self, env: Environment, row: Row) -> bool:
        return row.get("vat", False) not in VOID_TAX_IDS

    def judge_company(self, env: Environment, row: Row) -> None:
        """From 19.1 on ``is_company`` is stored and computed: its own commercial partner, with a tax id.

        Which tax ids are a company's is refined by modules of some countries, which are not here.
        """
        own = self.compute_commercial_partner_id(env, row) == row["id"]
        is_company = own and self.compute_has_vat(env, row)
        if bool(row.get("is_company")) != is_company:
            self.table.update(row["id"], {"is_company": is_company})

    def compute_country_code(self, env: Environment, row: Row) -> Any:
        countries = self.database.models["res.country"].table.rows
        return countries.get(row.get("country_id") or 0, {}).get("code", False)

    def compute_contact_address(self, env: Environment, row: Row) -> str:
        country = self.database.models["res.country"].table.rows.get(row.get("country_id") or 0, {})
        parts = [row.get("street"), row.get("street2"), row.get("zip"), row.get("city"), country.get("name")]
        return "\n".join(str(part) for part in parts if part)

    # people and consent

    def compute_is_blacklisted(self, env: Environment, row: Row) -> bool:
        return row.get("email_normalized", False) in self.database.blacklisted()

    def compute_email_formatted(self, env: Environment, row: Row) -> Any:
        email = row.get("email_normalized") or row.get("email")
        return f'"{row.get("name") or ""}" <{email}>' if email else False

    def _users(self, row: Row) -> list[Row]:
        users = self.database.models["res.users"].table
        return [users.rows[id] for id in users.with_value("partner_id", row["id"])]

    def compute_partner_share(self, env: Environment, row: Row) -> bool:
        """False for partners of active internal users and of the system user; true again once the user is
        archived."""
        users = self._users(row)
        return all(
            user.get("share", False) or not (user.get("active", True) or user["id"] == 1) for user in users
        )

    def compute_is_public(self, env: Environment, row: Row) -> bool:
        return any(user.get("login") == "public" for user in self._users(row))

    # sales

    def _count(self, model: str, field: str, row: Row) -> set[int]:
        other = self.database.models.get(model)
        return set() if other is None else other.table.with_value(field, row["id"])

    def compute_sale_order_count(self, env: Environment, row: Row) -> int:
        """Orders in any state, of the partner and its contacts, in the companies of the call."""
        orders = self.database.models.get("sale.order")
        if orders is None:
            return 0
        family, border = {row["id"]}, {row["id"]}
        while border:
            border = {child for id in border for child in self.table.with_value("parent_id", id)} - family
            family |= border
        found = {order for id in family for order in orders.table.with_value("partner_id", id)}
        return sum(1 for id in found if orders.table.rows[id].get("company_id") in env.company_ids)

    def _invoiced(self, env: Environment, row: Row, field: str) -> float:
        moves = self.database.models.get("account.move")
        if moves is None:
            return 0.0
        found = (moves.table.rows[id] for id in self._count("account.move", "partner_id", row))
        total: float = sum(
            move.get(field, 0.0)
            for move in found
            if move.get("state") == "posted"
            and move.get("move_type") in ("out_invoice", "out_refund")
            and move.get("company_id") in env.company_ids
        )
        return round(total, 2)

    def compute_total_invoiced(self, env: Environment, row: Row) -> float:
        return self._invoiced(env, row, "amount_untaxed_signed")

    def compute_credit(self, env: Environment, row: Row) -> float:
        return self._invoiced(env, row, "amount_residual_signed")

    # changes

    def _completed(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        if env.release.since(19, 1):
            values.pop("is_company", None)  # computed there: Odoo passes over what is written
        elif "company_type" in values:
            values["is_company"] = values.pop("company_type") == "company"
        if "email" in values:
            values["email_normalized"] = normalized(values["email"])
        return values

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        values = self._completed(env, values)
        parent = self.table.rows.get(values.get("parent_id") or 0)
        if parent is not None and values.get("type", "contact") == "contact":
            address = {name: parent.get(name, False) for name in ADDRESS}
            if any(address.values()):
                values = {**values, **address}
        if parent is not None and not values.get("is_company"):
            values = {**{name: parent.get(name, False) for name in COMMERCIAL}, **values}
        return values

    def after_create(self, env: Environment, row: Row, values: Mapping[str, Any]) -> None:
        if not row.get("name") and row.get("type", "contact") == "contact":
            raise ValidationError("The operation cannot be completed: Contacts require a name")
        if env.release.since(19, 1):
            self.judge_company(env, row)

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        if values.get("active") is False:
            for id in ids:
                if any(user.get("active", True) for user in self._users(self.table.rows[id])):
                    raise UserError(
                        "You cannot archive contacts linked to an active user.\n"
                        "You first need to archive their associated user."
                    )
        if values.get("parent_id") in ids:
            raise ValidationError("You cannot create recursive Partner hierarchies.")
        return self._completed(env, values)

    def after_write(
        self, env: Environment, row: Row, before: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        changed = {name for name, old in before.items() if row.get(name, self.fields[name].default) != old}
        children = sorted(self.table.with_value("parent_id", row["id"]))
        follows_parents = env.release.since(19, 1)
        if follows_parents and changed & {"vat", "parent_id"}:
            self.judge_company(env, row)
        if changed & {"name", "is_company", "company_name"}:
            self.touch(env, children)
        if "active" in values and env.release.major >= 18:
            self.touch(env, children)
        for child in children:
            other = self.table.rows[child]
            copied: dict[str, Any] = {}
            if changed & set(ADDRESS) and other.get("type", "contact") == "contact":
                copied |= {name: row.get(name, False) for name in ADDRESS}
            if changed & set(COMMERCIAL) and (follows_parents or not other.get("is_company")):
                copied |= {name: row.get(name, False) for name in COMMERCIAL}
            if copied:
                self.write_records(env, [child], copied)

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        for id in ids:
            row = self.table.rows[id]
            if self._users(row):
                raise UserError("You cannot delete contacts linked to an active user.")
            moves = self.database.models.get("account.move")
            posted = moves is not None and any(
                moves.table.rows[move].get("state") == "posted"
                for move in self._count("account.move", "partner_id", row)
            )
            if posted:
                raise UserError("The partner cannot be deleted because it is used in Accounting")
            if self._count("sale.order", "partner_id", row) or self._count(
                "sale.order", "partner_invoice_id", row
            ):
                raise ValidationError(
                    "The operation cannot be completed: another model requires the record being deleted. "
                    "If possible, archive it instead.\n\nModel: Sales Order (sale.order)\nConstraint: "
                    "sale_order_partner_id_fkey"
                )
            for child in sorted(self.table.with_value("parent_id", id)):
                self.write_records(env, [child], {"parent_id": False})

    @remote(on_records=True)
    def mail_action_blacklist_remove(self, env: Environment, ids: Sequence[int]) -> dict[str, Any]:
        """Only opens a window in Odoo; changes nothing."""
        return {
            "name": "Are you sure you want to unblacklist this Email Address?",
            "type": "ir.actions.act_window",
            "view_mode": "form",
            "res_model": "mail.blacklist.remove",
            "target": "new",
        }


class PartnerCategory(Model):
    """res.partner.category: tags, in a hierarchy."""

    description = "Partner Tags"
    order = "name, id"
    ignores_missing = frozenset({"write", "unlink"})

    def own_name(self, env: Environment, row: Row) -> str:
        names = [str(row.get("name") or "")]
        seen = {row["id"]}
        while row.get("parent_id") and row["parent_id"] not in seen and row["parent_id"] in self.table:
            row = self.table.rows[row["parent_id"]]
            seen.add(row["id"])
            names.append(str(row.get("name") or ""))
        return " / ".join(reversed(names))

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        for id in ids:
            for child in sorted(self.table.with_value("parent_id", id) - set(ids)):
                self.unlink_records(env, [child])


class Country(Model):
    """res.country, in the order of names."""

    description = "Country"
    order = "name"
    indexed_texts = frozenset({"code"})


class CountryState(Model):
    """res.country.state: shown with the country's code."""

    description = "Country state"

    def own_name(self, env: Environment, row: Row) -> str:
        countries = self.database.models["res.country"].table.rows
        return f"{row.get('name')} ({countries.get(row.get('country_id') or 0, {}).get('code')})"


class MergeWizard(Model):
    """base.partner.merge.automatic.wizard: sources are deleted, everything points to the survivor."""

    description = "Merge Partner Wizard"
    transient = True

    @remote(on_records=True)
    def action_merge(self, env: Environment, ids: Sequence[int]) -> dict[str, Any]:
        for id in ids:
            row = self.table.rows[id]
            merged = list(row.get("partner_ids", ()))
            self.merge(env, merged, row.get("dst_partner_id") or (merged[-1] if merged else 0))
        return {"type": "ir.actions.act_window_close"}

    def merge(self, env: Environment, partner_ids: Sequence[int], survivor: int) -> None:
        """Merge partners into one of them, with Odoo's limits: three at a time, different addresses only by
        an administrator. Orders that change their partner keep their ``write_date``."""
        partners = self.database.models["res.partner"]
        rows = partners.table.rows
        existing = [id for id in dict.fromkeys([*partner_ids, survivor]) if id in rows]
        if len(existing) > 3:
            raise UserError(
                "For safety reasons, you cannot merge more than 3 contacts together. You can re-open the "
                "wizard several times if needed."
            )
        emails = {rows[id].get("email", False) for id in existing} - {False}
        if len(emails) > 1 and not env.is_superuser and "admin" not in env.groups:
            raise AccessError(
                "All contacts must have the same email. Only the Administrator can merge contacts with "
                "different emails."
            )
        sources = [id for id in existing if id != survivor]
        merged = ", ".join(
            f"{rows[id].get('name')} <{rows[id].get('email') or 'n/a'}> (ID {id})" for id in sources
        )
        for model in self.database.models.values():
            if model.transient:
                continue
            for field in model.fields.values():
                if (
                    field.relation != "res.partner"
                    or not field.store
                    or field.type == "one2many"
                    or field.mirror
                ):
                    continue
                for source in sources:
                    for holder in list(model.table.with_value(field.name, source)):
                        value = model.table.rows[holder][field.name]
                        moved: Any = survivor
                        if field.type == "many2many":
                            moved = tuple(
                                dict.fromkeys(survivor if each == source else each for each in value)
                            )
                        model.table.update(holder, {field.name: moved})
        tags = tuple(
            dict.fromkeys(tag for id in [survivor, *sources] for tag in rows[id].get("category_id", ()))
        )
        filled = {
            name: next((rows[id][name] for id in [survivor, *sources] if rows[id].get(name)), False)
            for name in ("email", "phone", "street", "zip", "city", "country_id", "lang")
            if not rows[survivor].get(name)
        }
        messages = self.database.models["mail.message"].table
        for id in sources:
            # As Odoo does: what was said about a source, of earlier merges too, is said about the survivor.
            for message in list(messages.with_value("res_id", id)):
                if messages.rows[message].get("model") == "res.partner":
                    messages.update(message, {"res_id": survivor})
            partners.table.delete(id)
        partners.write_records(env, [survivor], {key: value for key, value in filled.items() if value})
        partners.table.update(survivor, {"category_id": tags})
        self.database.models["mail.message"].create_records(
            env,
            [
                {
                    "model": "res.partner",
                    "res_id": survivor,
                    "date": env.now,
                    "message_type": "notification",
                    "body": f"<p>Merged with the following partners: {merged}</p>",
                }
            ],
        )
