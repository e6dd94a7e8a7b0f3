"""From a path to ``Settings``: reads the file, fills in the environment, lists all that is wrong at once."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mc_pipeline.settings.consistency import contradictions
from mc_pipeline.settings.document import Document, KeyPath, dotted, read_document
from mc_pipeline.settings.errors import Problem, SettingsError
from mc_pipeline.settings.fields import suggestion
from mc_pipeline.settings.models import Settings
from mc_pipeline.settings.references import is_secret, resolve_references
from mc_pipeline.settings.schema import field_description, keys_in_file, model_at

CONFIG_VARIABLE = "MC_PIPELINE_CONFIG"


def load_settings(path: Path | str | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read companies.yaml, by default the one that ``MC_PIPELINE_CONFIG`` names.

    Args:
        path: the file, when it is not to be taken from the environment.
        environment: the variables that references take their values from, by default the process's.

    Raises:
        SettingsError: with every problem found; no secret and no value from the environment is in it.
    """
    environment = os.environ if environment is None else environment
    if path is None:
        path = environment.get(CONFIG_VARIABLE) or None
        if path is None:
            raise SettingsError(
                [Problem(CONFIG_VARIABLE, "is not set; set this environment variable to your companies.yaml")]
            )
    document = read_document(Path(path))
    values, problems = resolve_references(document, environment)
    problems = [*document.problems, *problems, *_filled_in_by_us(document)]

    settings: Settings | None = None
    errors: list[ErrorDetails] = []
    try:
        settings = Settings.model_validate({**values, "path": document.file})
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    reported = {problem.key for problem in problems}
    for details in errors:
        problem = _in_words(details, document)
        if not _is_below(problem.key, reported):
            problems.append(problem)
    problems.extend(problem for problem in contradictions(document, values) if problem.key not in reported)
    if settings is None or problems:
        # Raised outside of the except block: pydantic's error holds the values.
        unique = list(dict.fromkeys(problems))
        raise SettingsError(sorted(unique, key=lambda problem: problem.line or 0), document.file)
    return settings


def _is_below(key: str, reported: set[str]) -> bool:
    return any(key == other or key.startswith((f"{other}.", f"{other}[")) for other in reported if other)


def _filled_in_by_us(document: Document) -> list[Problem]:
    problems = []
    for path in document.lines:
        model = model_at(path[:-1])
        if model is not None and path[-1] in model.model_fields and path[-1] not in keys_in_file(model):
            problems.append(_unknown_key(path, model, document))
    return problems


def _in_words(details: ErrorDetails, document: Document) -> Problem:
    """Turn one error of pydantic into what a person needs: place, value found, what it must be."""
    kind, context = details["type"], details.get("ctx", {})
    path = _path_in_file(details, document)
    if kind == "extra_forbidden":
        return _unknown_key(path, model_at(path[:-1]), document)
    if kind == "at_field":
        path = (*path, str(context["field"]))
        return Problem(dotted(path), str(context["message"]), document.line_of(path))
    must_be = _must_be(details, path, document)
    if details["loc"][-1] == "[key]" or _is_name(details):
        return Problem(dotted(path), f"found the name '{path[-1]}'; {must_be}", document.line_of(path))
    if kind == "missing":
        return Problem(dotted(path), f"is missing; {must_be}", document.line_of(path))
    return Problem(dotted(path), f"{_found(path, document)}{must_be}", document.line_of(path))


def _path_in_file(details: ErrorDetails, document: Document) -> KeyPath:
    """Leave out what pydantic adds to a place: the member of a union, the mark of a key."""
    path: KeyPath = ()
    value: Any = document.values
    location = details["loc"]
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(value, dict) and (part in value or (last and details["type"] == "missing")):
            path = (*path, part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path = (*path, part)
            value = value[part]
    return path


def _is_name(details: ErrorDetails) -> bool:
    """Say whether the wrong value is the name that an entry stands under."""
    return details["loc"][-1] == "key" and details["type"] != "missing"


def _found(path: KeyPath, document: Document) -> str:
    value = document.value_at(path)
    if is_secret(path):
        return ""
    if isinstance(value, dict):
        return "found a mapping; "
    if isinstance(value, list):
        return "found a list; "
    if value is None:
        return "found nothing; "
    if isinstance(value, str) and (
        (path[0] in ("odoo", "mailchimp") and model_at(path) is not None) or ("@" in value and "://" in value)
    ):
        return (
            "found a text; "  # an account written as one text, or an address with a password: maybe a secret
        )
    return f"found {str(value).lower() if isinstance(value, bool) else repr(value)}; "


def _must_be(details: ErrorDetails, path: KeyPath, document: Document) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", str(context["expected"]))
        hint = suggestion(str(document.value_at(path)), allowed)
        if allowed == ["always"]:
            allowed.append("a condition such as {field: total_spent, at_least: 5000}")
        return f"must be {' or '.join(allowed) if len(allowed) < 3 else 'one of ' + ', '.join(allowed)}{hint}"
    # By pydantic's place where the file has none: the percent in "110%", the name that an entry stands under.
    description = None if _is_name(details) else field_description(path)
    description = description or field_description(details["loc"])
    if description:
        return f"must be {description}"
    model = model_at(path)
    if model is not None:
        return f"must be a mapping with the keys {', '.join(keys_in_file(model))}"
    if kind == "dict_type":
        return "must be a mapping"
    if kind == "tuple_type":
        return "must be a list"
    return details["msg"][0].lower() + details["msg"][1:]


def _unknown_key(path: KeyPath, model: type[BaseModel] | None, document: Document) -> Problem:
    allowed = keys_in_file(model) if model is not None else []
    hint = suggestion(str(path[-1]), allowed)
    message = f"is an unknown key{hint}; allowed here: {', '.join(allowed)}"
    return Problem(dotted(path), message, document.line_of(path))
