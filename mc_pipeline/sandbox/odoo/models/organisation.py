"""Users, companies, currencies, products and the register of models: what customers and orders refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipeline.sandbox.odoo.access import EXTERNAL_IDS
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import BuiltinError
from mc_pipeline.sandbox.odoo.models.base import Model, remote
from mc_pipeline.sandbox.odoo.tables import Row

_OF_PARTNER = ("name", "email", "lang", "tz")


class User(Model):
    """res.users. A user's name and email are the partner's; writing them touches the partner."""

    description = "User"
    order = "login"
    indexed_texts = frozenset({"login"})
    unique = (("login",),)

    def _partner(self, row: Row) -> Row:
        return self.database.models["res.partner"].table.rows.get(row.get("partner_id") or 0, {})

    def compute_name(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("name") or row.get("name", False)

    def compute_email(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("email", False)

    def compute_lang(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("lang", "en_US")

    def compute_tz(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("tz", False)

    def own_name(self, env: Environment, row: Row) -> str:
        return str(self.compute_name(env, row) or row.get("login"))

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        company = values.setdefault("company_id", env.company_id)
        values.setdefault("company_ids", [(6, 0, [company])])
        if not values.get("partner_id"):
            partner = {name: values[name] for name in _OF_PARTNER if values.get(name)}
            partner = {"name": values.get("login"), "email": values.get("login"), **partner}
            (values["partner_id"],) = self.database.models["res.partner"].create_records(env, [partner])
        return {name: value for name, value in values.items() if name not in _OF_PARTNER}

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        partner = {name: values.pop(name) for name in _OF_PARTNER if name in values}
        if partner:
            partners = [self.table.rows[id]["partner_id"] for id in ids]
            self.database.models["res.partner"].write_records(env, partners, partner)
        return values

    @remote()
    def context_get(self, env: Environment) -> dict[str, Any]:
        row = self.table.rows[env.uid]
        return {"lang": self.compute_lang(env, row), "tz": self.compute_tz(env, row), "uid": env.uid}

    @remote(until=(17, 0), name="has_group")
    def has_group_myself(self, env: Environment, group_ext_id: str) -> bool:
        """Whether the calling user is in a group, by its external id."""
        return EXTERNAL_IDS.get(group_ext_id, "") in env.groups

    @remote(on_records=True, since=(18, 0))
    def has_group(self, env: Environment, ids: Sequence[int], group_ext_id: str) -> bool:
        """Whether a user is in a group, by its external id."""
        if len(ids) != 1:
            raise BuiltinError(ValueError, f"Expected singleton: res.users({', '.join(map(str, ids))})")
        account = self.database.accounts.get(ids[0])
        return account is not None and EXTERNAL_IDS.get(group_ext_id, "") in account.groups


class Company(Model):
    """res.company."""

    description = "Companies"
    order = "sequence, name"

    def _partner(self, row: Row) -> Row:
        return self.database.models["res.partner"].table.rows.get(row.get("partner_id") or 0, {})

    def compute_parent_path(self, env: Environment, row: Row) -> Any:
        """ "1/4/": the companies above and the company itself, the topmost first."""
        path = [row["id"]]
        while (above := self.table.rows.get(path[0], {}).get("parent_id")) and above not in path:
            path.insert(0, above)
        return "".join(f"{company}/" for company in path)

    def compute_country_id(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("country_id", row.get("country_id", False))

    def compute_street(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("street", False)

    def compute_city(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("city", False)

    def compute_zip(self, env: Environment, row: Row) -> Any:
        return self._partner(row).get("zip", False)

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        if not values.get("partner_id"):
            partner = {"name": values.get("name"), "is_company": True}
            (values["partner_id"],) = self.database.models["res.partner"].create_records(env, [partner])
        return values

    def after_write(
        self, env: Environment, row: Row, before: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        if "name" in values:
            self.database.models["res.partner"].write_records(env, [row["partner_id"]], {"name": row["name"]})


class Currency(Model):
    """res.currency. ``rate`` is kept in the row: units of this currency for one of the reference currency."""

    description = "Currency"
    order = "active desc, name"
    indexed_texts = frozenset({"name"})


class Language(Model):
    """res.lang."""

    description = "Languages"
    order = "active desc, name"
    indexed_texts = frozenset({"code"})


class ProductTemplate(Model):
    """product.template."""

    description = "Product"
    order = "name"

    def own_name(self, env: Environment, row: Row) -> str:
        code = f"[{row['default_code']}] " if row.get("default_code") else ""
        return f"{code}{row.get('name')}"

    def after_write(
        self, env: Environment, row: Row, before: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        if {"name", "default_code", "active"} & set(values):
            variants = self.database.models["product.product"]
            variants.touch(env, sorted(variants.table.with_value("product_tmpl_id", row["id"])))


class Product(Model):
    """product.product: a variant; name, price and category are the template's."""

    description = "Product Variant"
    order = "default_code, id"

    def _template(self, row: Row) -> Row:
        return self.database.models["product.template"].table.rows.get(row.get("product_tmpl_id") or 0, {})

    def compute_name(self, env: Environment, row: Row) -> Any:
        return self._template(row).get("name", row.get("name", False))

    def compute_list_price(self, env: Environment, row: Row) -> Any:
        return self._template(row).get("list_price", row.get("list_price", 0.0))

    def compute_lst_price(self, env: Environment, row: Row) -> Any:
        return row.get("lst_price", self.compute_list_price(env, row))

    def compute_type(self, env: Environment, row: Row) -> Any:
        return self._template(row).get("type", row.get("type", "consu"))

    def compute_categ_id(self, env: Environment, row: Row) -> Any:
        return self._template(row).get("categ_id", row.get("categ_id", False))

    def compute_description_sale(self, env: Environment, row: Row) -> Any:
        return self._template(row).get("description_sale", False)

    def compute_company_id(self, env: Environment, row: Row) -> Any:
        return self._template(row).get("company_id", row.get("company_id", False))

    def own_name(self, env: Environment, row: Row) -> str:
        code = f"[{row['default_code']}] " if row.get("default_code") else ""
        return f"{code}{self.compute_name(env, row)}"

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        of_template: dict[str, Any] = {
            name: values.pop(name)
            for name in ("name", "list_price", "type", "categ_id", "company_id", "description_sale")
            if name in values
        }
        if not values.get("product_tmpl_id"):
            template: dict[str, Any] = {**of_template, "default_code": values.get("default_code", False)}
            (values["product_tmpl_id"],) = self.database.models["product.template"].create_records(
                env, [template]
            )
        return values


class ProductCategory(Model):
    """product.category, in a hierarchy."""

    description = "Product Category"
    order = "complete_name"

    def compute_complete_name(self, env: Environment, row: Row) -> str:
        names = [str(row.get("name") or "")]
        while row.get("parent_id") and row["parent_id"] in self.table:
            row = self.table.rows[row["parent_id"]]
            names.append(str(row.get("name") or ""))
        return " / ".join(reversed(names))

    def own_name(self, env: Environment, row: Row) -> str:
        return self.compute_complete_name(env, row)
