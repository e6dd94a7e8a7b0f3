"""Finds what is allowed at a place of companies.yaml, by walking the models along its keys."""

from types import NoneType, UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

from mc_pipeline.settings.document import KeyPath
from mc_pipeline.settings.models import AudienceSettings, CompanySettings, MailchimpAccountSettings, Settings

_FILLED_IN_AT_LOAD: dict[type[BaseModel], frozenset[str]] = {
    Settings: frozenset({"path"}),
    MailchimpAccountSettings: frozenset({"key"}),
    CompanySettings: frozenset({"key"}),
    AudienceSettings: frozenset({"key", "company"}),
}


def keys_in_file(model: type[BaseModel]) -> list[str]:
    """Return the keys that an entry may have in the file."""
    return [name for name in model.model_fields if name not in _FILLED_IN_AT_LOAD.get(model, ())]


def model_at(path: KeyPath) -> type[BaseModel] | None:
    """Return the model of the entry at a place, None where a plain value, a list or nothing belongs."""
    for member in _members(_walk(path)[0]):
        if _is_model(member):
            return member
    return None


def field_description(path: KeyPath) -> str | None:
    """Return what is said of the field at a place, to be read after "must be"."""
    return _walk(path)[1]


def _walk(path: KeyPath) -> tuple[Any, str | None]:
    annotation: Any = Settings
    description: str | None = None
    for part in path:
        annotation, description = _step(annotation, part)
    return annotation, description


def _step(annotation: Any, part: str | int) -> tuple[Any, str | None]:
    for member in _members(annotation):
        if _is_model(member) and part in member.model_fields:
            field = member.model_fields[str(part)]
            return field.annotation, field.description
        if get_origin(member) is dict:
            return get_args(member)[1], None
        if get_origin(member) is tuple:
            return get_args(member)[0], None
    return None, None


def _members(annotation: Any) -> list[Any]:
    """Return the types that a value may have, without None and without what only annotates them."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [] if annotation in (None, NoneType) else [annotation]


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
