"""Which fields of a model are read: those that this version and its modules have, by one ``fields_get``.

Odoo fails a whole read when one field named does not exist, and returns every field (some slow, some
forbidden) when none is named.
"""

from collections.abc import Iterable

from mc_pipeline.odoo.client import Fields, OdooClient
from mc_pipeline.odoo.errors import OdooFieldMissingError, OdooModelMissingError, module_of
from mc_pipeline.odoo.session import version_name

# Fields that a module adds to another module's model.
_FIELD_MODULES = {
    ("res.partner", "email_normalized"): "mail",
    ("res.partner", "is_blacklisted"): "mail",
    ("account.move.line", "sale_line_ids"): "sale",
    ("sale.order", "currency_rate"): "sale",
}


def available_fields(
    client: OdooClient, model: str, required: Iterable[str], optional: Iterable[str] = ()
) -> list[str]:
    """The required fields and those of the optional ones that exist.

    Raises OdooFieldMissingError naming every required field that is missing and the module that adds it,
    OdooModelMissingError when the model is missing.
    """
    existing = client.fields_get(model)
    required = list(required)
    missing = [name for name in required if name not in existing]
    if missing:
        modules = {_FIELD_MODULES.get((model, name)) or module_of(model) for name in missing} - {""}
        fix = (
            f"install the Odoo module {' and '.join(sorted(modules))}"
            if modules
            else "install the module that adds it, or give the Odoo user the rights to see it"
        )
        raise OdooFieldMissingError(
            f"Odoo {version_name(client.version)} has no field {', '.join(missing)} on {model} "
            f"that its user may see: {fix}",
            model,
            "fields_get",
        )
    return required + [name for name in optional if name in existing]


def optional_model_fields(client: OdooClient, model: str) -> Fields | None:
    """The fields of a model that may be missing, or None when its module is not installed."""
    try:
        return client.fields_get(model)
    except OdooModelMissingError:
        return None


def require_boolean_field(client: OdooClient, name: str, setting: str) -> None:
    """Raise OdooFieldMissingError, naming the setting, unless res.partner has this yes/no field."""
    definition = client.fields_get("res.partner").get(name)
    if definition is None:
        problem = (
            "res.partner has no such field that the Odoo user may see; check the technical name (such as "
            "x_studio_is_b2b) and the user's rights"
        )
    elif definition.get("type") != "boolean":
        problem = f"on res.partner it is a {definition.get('type')} field, not a boolean"
    else:
        return
    raise OdooFieldMissingError(f"{setting} {name}: {problem}", "res.partner", "fields_get")
