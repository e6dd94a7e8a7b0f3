"""Judges what a stand-in Mailchimp took and gave by the API's own contract, in both directions.

Reads the journal of a sandbox with ``keep_responses=True``; knows nothing of how the sandbox works.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError

from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline_tests.data import data_path

UNDOCUMENTED_IN_ANSWERS = {
    # Newer than the contract: signatures of webhooks.
    ("POST", "/lists/{list_id}/webhooks"): {"signing_enabled", "signing_secret"},
}
UNDOCUMENTED_IN_BODIES = {
    # Accepted by the API although the contract's item does not have it.
    ("POST", "/lists/{list_id}"): {"members.tags"},
}


class ApiContract:
    """The operations of a Swagger 2.0 description."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._description = description
        self._paths = {
            tuple(path.strip("/").split("/")) if path != "/" else (): (path, operations)
            for path, operations in description["paths"].items()
        }

    @classmethod
    def load(cls) -> ApiContract:
        """The contract of Mailchimp's API that is part of the test data."""
        with gzip.open(data_path("mailchimp/marketing-reduced.json.gz"), "rt", encoding="utf-8") as file:
            return cls(json.load(file))

    def operations(self) -> set[tuple[str, str]]:
        """Every method and path."""
        return {
            (method.upper(), path)
            for path, operations in self._paths.values()
            for method in operations
            if method in ("get", "post", "put", "patch", "delete")
        }

    def check(self, entries: Iterable[JournalEntry]) -> list[str]:
        """What is wrong, one sentence each; nothing for a journal that keeps to the contract.

        A request counts when the server carried it out (then its query and body must be the operation's);
        every answer counts, errors by the shape of errors. Faults and acts of people do not count.
        """
        complaints: list[str] = []
        for entry in entries:
            if entry.source == "api" and entry.fault is None and entry.path.startswith("/3.0"):
                complaints += [f"{entry.method} {entry.path}: {each}" for each in self._judge(entry)]
        return complaints

    def _judge(self, entry: JournalEntry) -> list[str]:
        found = self._find(entry.method, entry.path.removeprefix("/3.0"))
        if entry.status is None:
            return ["it was never answered"]
        if entry.status >= 400:
            return self._judge_error(entry)
        if found is None:
            return [f"the contract has no such operation, yet it was answered {entry.status}"]
        path, operation, shared_parameters = found
        parameters = [self._resolved(each) for each in [*shared_parameters, *operation.get("parameters", [])]]
        complaints = self._judge_query(entry, parameters)
        complaints += self._judge_body(
            entry, parameters, UNDOCUMENTED_IN_BODIES.get((entry.method, path), set())
        )
        return complaints + self._judge_answer(
            entry, operation, UNDOCUMENTED_IN_ANSWERS.get((entry.method, path), set())
        )

    def _find(self, method: str, path: str) -> tuple[str, Mapping[str, Any], list[Any]] | None:
        given = tuple(path.strip("/").split("/")) if path.strip("/") else ()
        for parts, (pattern, operations) in self._paths.items():
            fits = len(parts) == len(given) and all(
                part.startswith("{") or part == value for part, value in zip(parts, given, strict=True)
            )
            if fits and method.lower() in operations:
                return pattern, operations[method.lower()], operations.get("parameters", [])
        return None

    def _judge_query(self, entry: JournalEntry, parameters: list[Any]) -> list[str]:
        known = {each["name"]: each for each in parameters if each.get("in") == "query"}
        complaints = []
        for name, text in entry.query.items():
            if name not in known:
                complaints.append(f"the query parameter {name} is unknown")
                continue
            about = known[name]
            value: Any = text
            if about.get("type") in ("integer", "number", "boolean"):
                try:
                    value = json.loads(text)
                except ValueError:
                    complaints.append(f"the query parameter {name} is no {about['type']}: {text!r}")
                    continue
            elif about.get("type") == "array":
                value = text.split(",")
            wanted = {
                key: about[key] for key in ("type", "enum", "maximum", "minimum", "items") if key in about
            }
            complaints += self._validated(value, wanted, f"query {name}")
        return complaints

    def _judge_body(self, entry: JournalEntry, parameters: list[Any], undocumented: set[str]) -> list[str]:
        schemas = [each["schema"] for each in parameters if each.get("in") == "body"]
        if entry.body is None:
            return (
                []
                if not schemas or not self._resolved(schemas[0]).get("required")
                else ["the body is missing"]
            )
        if not schemas:
            return [f"the operation takes no body: {type(entry.body).__name__} sent"]
        return self._validated(entry.body, schemas[0], "body") + [
            f"body: {path} is unknown"
            for path in self._unknown(entry.body, schemas[0], "")
            if path not in undocumented
        ]

    def _judge_answer(
        self, entry: JournalEntry, operation: Mapping[str, Any], undocumented: set[str]
    ) -> list[str]:
        expected = operation["responses"].get(str(entry.status))
        if expected is None:
            return [f"status {entry.status} is not among {sorted(operation['responses'])}"]
        schema = expected.get("schema")
        if schema is None or entry.status == 204:
            return [] if entry.response is None else ["the answer should have no body"]
        if not entry.batch_id and "application/json" not in (entry.response_content_type or ""):
            return [f"the answer's content type is {entry.response_content_type}"]
        return self._validated(entry.response, schema, "answer") + [
            f"answer: {path} is unknown"
            for path in self._unknown(entry.response, schema, "")
            if path not in undocumented
        ]

    def _judge_error(self, entry: JournalEntry) -> list[str]:
        schema = dict(self._resolved({"$ref": "#/definitions/ProblemDetailDocument"}))
        # Real errors for forgotten contacts come without "type", which the contract requires.
        schema["required"] = [name for name in schema["required"] if name != "type"]
        complaints = self._validated(entry.response, schema, "error")
        if isinstance(entry.response, dict) and entry.response.get("status") != entry.status:
            complaints.append(f"error: it says {entry.response.get('status')}, the answer was {entry.status}")
        if not entry.batch_id and "application/problem+json" not in (entry.response_content_type or ""):
            complaints.append(f"error: its content type is {entry.response_content_type}")
        return complaints

    def _resolved(self, schema: Any) -> Any:
        while isinstance(schema, Mapping) and "$ref" in schema:
            node: Any = self._description
            for part in schema["$ref"].removeprefix("#/").split("/"):
                node = node[part]
            schema = node
        return schema

    def _validated(self, value: Any, schema: Mapping[str, Any], where: str) -> list[str]:
        whole = {**self._resolved(schema), "definitions": self._description["definitions"]}
        found: Iterable[ValidationError] = Draft4Validator(whole).iter_errors(value)
        return [
            f"{where} {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found
        ]

    def _unknown(self, value: Any, schema: Any, path: str) -> list[str]:
        """Keys that the contract does not have; list positions are left out of their paths."""
        schema = self._resolved(schema)
        if not isinstance(schema, Mapping):
            return []
        if isinstance(value, list):
            items = schema.get("items", {})
            return sorted({each for item in value for each in self._unknown(item, items, path)})
        properties = schema.get("properties")
        if not isinstance(value, dict) or not properties:
            return []
        unknown = []
        for name, inner in value.items():
            inner_path = f"{path}.{name}" if path else name
            if name in properties:
                unknown += self._unknown(inner, properties[name], inner_path)
            elif "additionalProperties" not in schema:
                unknown.append(inner_path)
        return unknown
