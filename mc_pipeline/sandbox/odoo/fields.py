"""Fields of models: their definition, and how values go in and come out over RPC.

Inside, a many2one is an id or False, an x2many a tuple of ids, a datetime a naive UTC ``datetime`` with
microseconds (RPC shows whole seconds, truncated), a date a ``date``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from mc_pipeline.sandbox.odoo.errors import BuiltinError

DATETIME = "%Y-%m-%d %H:%M:%S"

_EMPTY: dict[str, Any] = {
    "integer": 0,
    "float": 0.0,
    "monetary": 0.0,
    "boolean": False,
    "one2many": (),
    "many2many": (),
}


@dataclass(frozen=True)
class Field:
    """One field. ``groups`` names the user groups that may read it; empty means everybody.

    ``mirror`` of a many2many names the model and field on whose rows the relation is kept. ``unset`` is what
    a record has that was never given a value, where that is not the empty value of the type.
    """

    name: str
    type: str
    relation: str | None = None
    relation_field: str | None = None
    string: str = ""
    store: bool = True
    required: bool = False
    readonly: bool = False
    searchable: bool = True
    sortable: bool = True
    selection: tuple[tuple[str, str], ...] = ()
    groups: frozenset[str] = field(default=frozenset())
    mirror: tuple[str, str] | None = None
    unset: Any = None

    @property
    def is_relation(self) -> bool:
        return self.type in ("many2one", "one2many", "many2many")

    @property
    def to_many(self) -> bool:
        return self.type in ("one2many", "many2many")

    @property
    def empty(self) -> Any:
        """The empty value of the type."""
        return _EMPTY.get(self.type, False)

    @property
    def default(self) -> Any:
        """The value of a record that never was given one."""
        return self.empty if self.unset is None else self.unset

    def describe(self) -> dict[str, Any]:
        """The field's entry in the answer of ``fields_get``."""
        description: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "string": self.string or self.name.replace("_", " ").capitalize(),
            "store": self.store,
            "required": self.required,
            "readonly": self.readonly,
            "searchable": self.searchable,
            "sortable": self.sortable and self.store,
        }
        if self.relation is not None:
            description["relation"] = self.relation
        if self.relation_field is not None:
            description["relation_field"] = self.relation_field
        if self.type == "selection":
            description["selection"] = [list(pair) for pair in self.selection]
        return description

    @classmethod
    def from_description(cls, name: str, description: Mapping[str, Any]) -> Field:
        """The field that an answer of ``fields_get`` describes."""
        return cls(
            name=name,
            type=description["type"],
            relation=description.get("relation"),
            relation_field=description.get("relation_field"),
            string=description.get("string", ""),
            store=description.get("store", True),
            required=description.get("required", False),
            readonly=description.get("readonly", False),
            searchable=description.get("searchable", True),
            sortable=description.get("sortable", True),
            selection=tuple((str(key), str(label)) for key, label in description.get("selection", ())),
        )

    def take(self, model: str, value: Any) -> Any:
        """A value as it came over RPC, in the form it is kept in. Commands of x2many are not for here.

        Raises the error Odoo raises: ValueError for a selection value that does not exist or a date that
        cannot be read. A many2one written with a text loses the value without a word, like Odoo.
        """
        if value is None or value is False:
            return self.empty
        match self.type:
            case "char" | "text" | "html" | "reference":
                return str(value) if value != "" else False
            case "integer":
                return int(value)
            case "float" | "monetary":
                return float(value)
            case "boolean":
                return bool(value)
            case "datetime":
                return parse_datetime(value)
            case "date":
                return parse_datetime(value).date()
            case "selection":
                if self.selection and str(value) not in {key for key, _ in self.selection}:
                    raise BuiltinError(ValueError, f"Wrong value for {model}.{self.name}: {value!r}")
                return value
            case "many2one":
                if isinstance(value, (list, tuple)):
                    value = value[0] if value else False
                return value if isinstance(value, int) and value else False
            case _:
                return value

    def give(self, value: Any) -> Any:
        """A kept value as RPC shows it; names of many2one records are added by the reader."""
        if isinstance(value, datetime):
            return value.strftime(DATETIME)
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, tuple):
            return list(value)
        return value


def parse_datetime(value: Any) -> datetime:
    """A datetime of RPC (with or without fraction, or a date alone); ValueError in Odoo's words otherwise."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime.fromisoformat(value.isoformat())
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise BuiltinError(ValueError, f"time data {str(value)!r} does not match format '%Y-%m-%d'") from None
