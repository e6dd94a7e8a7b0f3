"""What the merge fields of each audience are like: as they were last read, since when, and which were used.

A field keeps its id when somebody gives it another tag. So the renaming of a field that we fill is noticed,
and no second one is made.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import delete, select

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import field_definitions, used_field
from mc_pipeline.ledger.statements import insert_or_replace


@dataclass(frozen=True)
class FieldDefinition:
    """A merge field as it was last read; ``phone_format`` of a phone field, else empty."""

    tag: str
    merge_id: int
    type: str
    required: bool
    default_value: str
    phone_format: str


@dataclass(frozen=True)
class UsedField:
    """The field that was last used under a tag of the settings."""

    merge_id: int
    type: str


class FieldLike(Protocol):
    """A merge field as Mailchimp shows it."""

    @property
    def tag(self) -> str: ...
    @property
    def merge_id(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def required(self) -> bool: ...
    @property
    def default_value(self) -> str: ...
    @property
    def phone_format(self) -> str: ...


class FieldDefinitions:
    """The merge fields of all audiences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def observe(
        self, list_id: str, fields: Mapping[str, FieldLike], *, wanted: Collection[str], used: Collection[str]
    ) -> None:
        """Keep the fields of an audience as they were read just now.

        ``used``: the tags whose fields are in use from now on. Of ``wanted``, the tags of the settings, the
        others keep the field that they had; tags that are not wanted any more are forgotten.
        """
        now = self._database.now()
        as_read = canonical_json([asdict(_definition(fields[tag])) for tag in sorted(fields)])
        with self._database.write() as connection:
            known = connection.execute(
                select(field_definitions.c.fields_json).where(field_definitions.c.list_id == list_id)
            ).scalar()
            if known != as_read:
                row = {"list_id": list_id, "fields_json": as_read, "changed_at": now}
                insert_or_replace(connection, field_definitions, [row])
            connection.execute(
                delete(used_field).where(
                    used_field.c.list_id == list_id, used_field.c.tag.not_in(sorted(set(wanted)))
                )
            )
            insert_or_replace(
                connection,
                used_field,
                [
                    {
                        "list_id": list_id,
                        "tag": tag,
                        "merge_id": fields[tag].merge_id,
                        "type": fields[tag].type,
                    }
                    for tag in sorted(set(used))
                ],
            )

    def used(self, list_id: str) -> dict[str, UsedField]:
        """The fields that were last used in an audience, by tag."""
        query = select(used_field.c.tag, used_field.c.merge_id, used_field.c.type).where(
            used_field.c.list_id == list_id
        )
        with self._database.read() as connection:
            return {row.tag: UsedField(row.merge_id, row.type) for row in connection.execute(query)}

    def of(self, list_id: str) -> dict[str, FieldDefinition]:
        """The fields of an audience as they were last read, by tag; none where it was never read."""
        query = select(field_definitions.c.fields_json).where(field_definitions.c.list_id == list_id)
        with self._database.read() as connection:
            found: list[dict[str, Any]] = json.loads(connection.execute(query).scalar() or "[]")
        return {each["tag"]: FieldDefinition(**each) for each in found}

    def changed_at(self, list_ids: Collection[str]) -> dict[str, datetime]:
        """Since when (UTC) the fields of these audiences are as they were last read, by list id."""
        query = select(field_definitions.c.list_id, field_definitions.c.changed_at).where(
            field_definitions.c.list_id.in_(sorted(set(list_ids)))
        )
        with self._database.read() as connection:
            return {row.list_id: row.changed_at for row in connection.execute(query)}


def _definition(field: FieldLike) -> FieldDefinition:
    return FieldDefinition(
        field.tag, field.merge_id, field.type, field.required, field.default_value, field.phone_format
    )
