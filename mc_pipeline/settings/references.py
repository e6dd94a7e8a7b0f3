"""Puts environment variables in the place of their references: ``${NAME}`` in any text of the settings.

Secrets must be such references and nothing else, so that companies.yaml can be shown and committed.
"""

import re
from collections.abc import Mapping
from typing import Any

from mc_pipeline.settings.document import Document, KeyPath, dotted
from mc_pipeline.settings.errors import Problem

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def is_secret(path: KeyPath) -> bool:
    """Say whether a value, or anything that it is part of, is a secret."""
    return (len(path) >= 2 and path[:2] == ("odoo", "secret")) or (
        len(path) >= 3 and path[0] == "mailchimp" and path[2] == "api_key"
    )


def holds_reference(value: Any) -> bool:
    """Say whether a text as written takes part of its value from the environment."""
    return isinstance(value, str) and "${" in value


def referenced_variable(value: Any) -> str | None:
    """Return the variable's name when the whole text is one reference."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return match.group(1) if match else None


def resolve_references(
    document: Document, environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values with every reference replaced, and what could not be.

    A reference that cannot be replaced stays as it is written; its problem names the variable.
    """
    problems: list[Problem] = []

    def replace(value: Any, path: KeyPath) -> Any:
        if is_secret(path) and value is not None and referenced_variable(value) is None:
            problem = "a secret must not be in the file; write a reference such as "
            problem += f"${{{_suggested_variable(path)}}} and set that environment variable"
            problems.append(Problem(dotted(path), problem, document.line_of(path)))
            return value
        if isinstance(value, dict):
            return {key: replace(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [replace(item, (*path, position)) for position, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        if "${" in _REFERENCE.sub("", value):
            problem = (
                "holds '${' without a variable's name; write ${NAME}, of letters, digits and underscores"
            )
            problems.append(Problem(dotted(path), problem, document.line_of(path)))
            return value
        missing = [name for name in _REFERENCE.findall(value) if not environment.get(name, "").strip()]
        for name in dict.fromkeys(missing):
            state = "empty" if name in environment else "not set"
            problem = f"the environment variable {name} is {state}; set it, or change the reference"
            problems.append(Problem(dotted(path), problem, document.line_of(path)))
        if missing:
            return value
        return _REFERENCE.sub(lambda match: environment[match.group(1)].strip(), value)

    return replace(document.values, ()), problems


def _suggested_variable(path: KeyPath) -> str:
    if path[0] == "odoo":
        return "ODOO_SECRET"
    account = re.sub(r"\W+", "_", str(path[1])).upper()
    return "MAILCHIMP_API_KEY" if account in ("MAIN", "") else f"MAILCHIMP_API_KEY_{account}"
