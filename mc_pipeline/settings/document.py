"""Reads the YAML text of a settings file: plain values, and the line of every key.

Narrower than YAML 1.1 on purpose, because its guesses change what people mean: ``NO`` (Norway) and ``no``
(Norwegian) stay texts, so do ``2023-01-01`` and an audience id like ``0123456701``; a key that appears
twice is a mistake. What the values mean is decided elsewhere.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mc_pipeline.settings.errors import Problem, SettingsError

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """Return ``companies.acme_uk.audiences`` for a path of keys; list positions read ``[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Document:
    """The values of a settings file and where they stand."""

    file: Path
    values: dict[str, Any]
    lines: dict[KeyPath, int]
    problems: tuple[Problem, ...]

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line of a key, or of the nearest key above it that is in the file."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def value_at(self, path: KeyPath) -> Any:
        """Return the value as written in the file, None when there is none."""
        value: Any = self.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value


class _PlainLoader(yaml.SafeLoader):
    """YAML whose unquoted scalars are true, false, null, decimal numbers, or text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_IMPLICIT = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
    ("merge", r"<<", "<"),
]
for _name, _pattern, _first in _IMPLICIT:
    _PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def read_document(file: Path) -> Document:
    """Read a settings file.

    Raises:
        SettingsError: the file cannot be read, or is not one YAML mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            [Problem("", "no such file; give the path of your companies.yaml")], file
        ) from None
    except OSError as error:
        raise SettingsError([Problem("", f"cannot be read: {error.strerror}")], file) from None
    except UnicodeDecodeError as error:
        raise SettingsError([Problem("", f"is not UTF-8 text (byte {error.start})")], file) from None

    loader: _PlainLoader | None = None
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(
                [Problem("", "must be a YAML mapping with the keys odoo, mailchimp and companies")], file
            )
        problems = _read_keys(node)
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise SettingsError([Problem("", f"is not valid YAML: {what}", line)], file) from None
    except yaml.YAMLError:
        raise SettingsError(
            [Problem("", "is not valid YAML: it holds characters YAML forbids")], file
        ) from None
    except RecursionError:
        raise SettingsError([Problem("", "an alias (*name) contains itself")], file) from None
    finally:
        if loader is not None:
            loader.dispose()
    lines: dict[KeyPath, int] = {}
    _collect_lines(node, (), lines)
    return Document(file, values, lines, tuple(problems))


def _read_keys(node: yaml.Node, path: KeyPath = ()) -> list[Problem]:
    """Make every key a text (``1:`` and ``no:`` are names here) and list the repeated ones."""
    problems: list[Problem] = []
    if isinstance(node, yaml.MappingNode):
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            here = (*path, str(key_node.value))
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                key_node.tag = "tag:yaml.org,2002:str"
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # the constructor refuses it, with its position
            if key_node.value in first_lines:
                first = first_lines[key_node.value]
                problems.append(
                    Problem(dotted(here), f"appears twice (first on line {first}); keep one of them", line)
                )
            first_lines.setdefault(key_node.value, line)
            problems.extend(_read_keys(value_node, here))
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            problems.extend(_read_keys(item, (*path, position)))
    return problems


def _collect_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            here = (*path, str(key_node.value))
            lines[here] = key_node.start_mark.line + 1
            _collect_lines(value_node, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            here = (*path, position)
            lines[here] = item.start_mark.line + 1
            _collect_lines(item, here, lines)
