"""Recordings of real servers: field definitions and records, as their RPC gave them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from mc_pipeline.sandbox.odoo.access import Account
from mc_pipeline.sandbox.odoo.catalogue import Fields
from mc_pipeline.sandbox.odoo.database import Database
from mc_pipeline.sandbox.odoo.fields import Field

Records = Mapping[str, list[dict[str, Any]]]

_COPIES = {
    "sale.order.line": (
        "order_id",
        "sale.order",
        {
            "company_id": "company_id",
            "currency_id": "currency_id",
            "order_partner_id": "partner_id",
            "salesman_id": "user_id",
            "state": "state",
        },
    ),
    "account.move.line": (
        "move_id",
        "account.move",
        {
            "company_id": "company_id",
            "currency_id": "currency_id",
            "partner_id": "partner_id",
            "parent_state": "state",
            "date": "date",
        },
    ),
}
"""Per model: the link to the record it belongs to, that record's model, and its fields that Odoo keeps copies
of, by the copy's name. The rules that hide other companies' records look at the copies."""

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"res.currency": {"rounding": 0.01, "decimal_places": 2}}
"""What Odoo gives a new record, where that is not the empty value of the field."""


def read_fields(path: Path, built_in: Mapping[str, Fields]) -> dict[str, Fields]:
    """Definitions by model from a file of ``fields_get`` answers. What such an answer does not tell (what a
    new record has, who may read) is taken from the built-in definitions."""
    models = {}
    for model, descriptions in _load(path).items():
        fields = {name: Field.from_description(name, each) for name, each in descriptions.items()}
        if "active" in fields:
            fields["active"] = replace(fields["active"], unset=True)
        for name, own in built_in.get(model, {}).items():
            if name in fields:
                fields[name] = replace(fields[name], unset=own.unset, groups=own.groups)
        models[model] = fields
    return models


def read_records(path: Path) -> tuple[Records, dict[str, Fields]]:
    """Records by model, from a file of records or of scenarios; with the definitions that the latter has."""
    content = _load(path)
    definitions = {
        model: {name: Field.from_description(name, each) for name, each in fields.items()}
        for model, fields in content.get("fields", {}).items()
        if "records" in content
    }
    return content.get("records", content), definitions


def _load(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    content: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return content


def take_records(database: Database, records: Records, definitions: Mapping[str, Fields]) -> None:
    """Add recorded records as they are, with their ids and dates. Models and fields that the database does
    not have are defined as recorded, or left out. A record that is there already gains the recorded fields.

    Fields that were not recorded are empty, but for those that Odoo itself fills: copies on lines of what
    their order or invoice says, and the rounding of currencies.

    Names shown for related records that are not in the recording are remembered. Recorded users can log in:
    the password is the login; ``admin`` is an administrator, the others are internal or portal users.
    """
    for name in records:
        if name not in database.models and name in definitions:
            database.define(name, definitions[name])
    for name, rows in records.items():
        model = database.models.get(name)
        if model is None:
            continue
        recorded = {field for record in rows for field in record}
        for field_name in sorted(recorded & set(definitions.get(name, ())) - set(model.fields)):
            model.add_field(definitions[name][field_name])
        for record in rows:
            if "display_name" in record:
                model.recorded_names[record["id"]] = record["display_name"]
            values = {}
            for field_name, value in record.items():
                field = model.fields.get(field_name)
                if field is None or field_name == "id":
                    continue
                _remember_name(database, field, value)
                taken = _as_kept(field, value)
                if taken != field.default:
                    values[field_name] = taken
            if record["id"] in model.table:
                model.table.update(record["id"], values)
            else:
                model.table.insert({"id": record["id"], **values})
    _fill_what_was_not_recorded(database, records)
    _forget_known_names(database)
    for record in records.get("res.users", []):
        login = record["login"]
        groups = (
            {"admin"} if login in ("admin", "__system__") else {"portal" if record["share"] else "internal"}
        )
        password = "" if login == "__system__" else login
        database.accounts[record["id"]] = Account(record["id"], login, password, frozenset(groups))


def _fill_what_was_not_recorded(database: Database, records: Records) -> None:
    for name in [name for name in records if name in database.models]:
        model = database.models[name]
        recorded = {field for record in records[name] for field in record}
        link, owners, copies = _COPIES.get(name, ("", "", {}))
        missing = {copy: own for copy, own in copies.items() if copy in model.fields and copy not in recorded}
        defaults = {field: value for field, value in _DEFAULTS.get(name, {}).items() if field not in recorded}
        for record in records[name]:
            row = model.table.rows[record["id"]]
            filled = dict(defaults)
            owner = database.models[owners].table.rows.get(row.get(link) or 0) if missing else None
            if owner is not None:
                fields = database.models[owners].fields
                filled |= {copy: owner.get(own, fields[own].default) for copy, own in missing.items()}
            values = {field: value for field, value in filled.items() if field not in row}
            if values:
                model.table.update(record["id"], values)


def _forget_known_names(database: Database) -> None:
    """Keep a remembered name only where the records give another: then it can never grow stale."""
    env = database.superuser()
    for model in database.models.values():
        for id in [each for each in model.recorded_names if each in model.table]:
            if model.own_name(env, model.table.rows[id]) == model.recorded_names[id]:
                del model.recorded_names[id]


def _as_kept(field: Field, value: Any) -> Any:
    """A value of an answer as it is kept; a selection value that the definitions lack stays as it is."""
    if value is False or value is None:
        return field.empty
    if field.to_many:
        return tuple(value)
    match field.type:
        case "many2one":
            return value[0] if isinstance(value, list) else value
        case "datetime":
            return datetime.fromisoformat(value)
        case "date":
            return date.fromisoformat(value)
        case _:
            return value


def _remember_name(database: Database, field: Field, value: Any) -> None:
    if field.type == "many2one" and isinstance(value, list):
        if field.relation in database.models:
            database.models[field.relation].recorded_names[value[0]] = value[1]
        else:
            database.foreign_names[field.relation, value[0]] = value[1]
