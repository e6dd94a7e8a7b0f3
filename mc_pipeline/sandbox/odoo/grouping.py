"""Aggregates over groups of records: ``read_group`` and Odoo 19's ``formatted_read_group``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from mc_pipeline.sandbox.odoo.errors import BuiltinError, UserError
from mc_pipeline.sandbox.odoo.fields import DATETIME
from mc_pipeline.sandbox.odoo.tables import Row

if TYPE_CHECKING:
    from mc_pipeline.sandbox.odoo.environment import Environment
    from mc_pipeline.sandbox.odoo.models.base import Model

_AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "min": lambda values: min(values, default=False),
    "max": lambda values: max(values, default=False),
    "avg": lambda values: sum(values) / len(values) if values else 0.0,
    "count": len,
    "count_distinct": lambda values: len(set(values)),
    "array_agg": list,
    "bool_or": any,
    "bool_and": all,
}


class Grouping:
    """The records of a domain, to be grouped."""

    def __init__(self, model: Model, env: Environment, domain: Any) -> None:
        self._model, self._env, self._domain = model, env, list(domain or [])
        self._ids = model.find(env, domain, order="id")

    def classic(
        self,
        fields: Sequence[str],
        groupby: str | Sequence[str],
        offset: int,
        limit: int | None,
        orderby: str | bool,
        lazy: bool,
    ) -> list[dict[str, Any]]:
        """Answer of ``read_group``: with ``lazy`` only the first ``groupby`` counts."""
        specs = [groupby] if isinstance(groupby, str) else list(groupby)
        used = specs[:1] if lazy else specs
        wanted = [self._aggregate(each) for each in fields if self._field_of(each) not in specs]
        count = f"{used[0].split(':')[0]}_count" if lazy and used else "__count"
        answer = []
        for keys, rows in self._groups(used):
            group: dict[str, Any] = {count: len(rows)}
            for label, name, function in wanted:
                if function is not None:
                    group[label] = self._apply(function, name, rows)
            domain = list(self._domain)
            ranges = {}
            for spec, key in zip(used, keys, strict=True):
                group[spec] = self._shown(spec, key)
                domain += self._key_domain(spec, key)
                if ":" in spec and key:
                    start, end = self._bounds(spec, key)
                    ranges[spec] = {"from": start, "to": end}
            if lazy and len(specs) > 1:
                group["__context"] = {"group_by": specs[1:]}
            if ranges:
                group["__range"] = ranges
            group["__domain"] = domain
            answer.append(group)
        return self._cut(self._ordered(answer, orderby or None, used), offset, limit)

    def formatted(
        self,
        groupby: Sequence[str],
        aggregates: Sequence[str],
        offset: int,
        limit: int | None,
        order: str | None,
    ) -> list[dict[str, Any]]:
        """Answer of ``formatted_read_group``."""
        answer = []
        for keys, rows in self._groups(list(groupby)):
            group: dict[str, Any] = {}
            extra: list[Any] = []
            for spec, key in zip(groupby, keys, strict=True):
                shown = self._shown(spec, key)
                group[spec] = [self._bounds(spec, key)[0], shown] if ":" in spec and key else shown
                extra += self._key_domain(spec, key)
            for aggregate in aggregates:
                if aggregate == "__count":
                    group[aggregate] = len(rows)
                    continue
                _, name, function = self._aggregate(aggregate)
                if function is None:
                    raise BuiltinError(ValueError, f"Invalid aggregate specification: {aggregate!r}")
                group[aggregate] = self._apply(function, name, rows)
            group["__extra_domain"] = extra
            answer.append(group)
        return self._cut(self._ordered(answer, order, list(groupby)), offset, limit)

    def _field_of(self, spec: str) -> str:
        name = spec.split(":")[0]
        return name

    def _aggregate(self, spec: str) -> tuple[str, str, str | None]:
        """``amount:sum``, ``total:sum(amount)`` or ``amount``: the label, the field, the function."""
        label, _, rest = spec.partition(":")
        function, _, inner = rest.partition("(")
        name = inner.rstrip(")") or label
        field = self._model.fields.get(name)
        if field is None:
            raise BuiltinError(ValueError, self._env.release.unknown_field(self._model.name, name))
        if not function:
            adds = field.store and field.type in ("float", "monetary", "integer") and name != "id"
            return label, name, "sum" if adds else None
        if function not in _AGGREGATES:
            raise UserError(f"Invalid aggregation function {function!r}.")
        if not field.store:
            raise BuiltinError(
                ValueError,
                f"Cannot convert {self._model.name}.{name} to SQL because it is not stored",
            )
        return label, name, function

    def _apply(self, function: str, name: str, rows: list[Row]) -> Any:
        get, field = self._model.getter(name, self._env), self._model.fields[name]
        values = [get(row) for row in rows]
        if field.type not in ("boolean", "integer", "float", "monetary"):
            values = [value for value in values if value is not False]
        return field.give(_AGGREGATES[function](values))

    def _groups(self, specs: list[str]) -> list[tuple[tuple[Any, ...], list[Row]]]:
        readers = [self._reader(spec) for spec in specs]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        rows = self._model.table.rows
        for id in self._ids:
            row = rows[id]
            keys: list[tuple[Any, ...]] = [()]
            for read in readers:
                keys = [(*key, each) for key in keys for each in read(row)]
            for key in keys:
                groups.setdefault(key, []).append(row)
        if not specs:
            return [((), [rows[id] for id in self._ids])]
        return sorted(
            groups.items(),
            key=lambda item: tuple(self._sortable(s, k) for s, k in zip(specs, item[0], strict=True)),
        )

    def _reader(self, spec: str) -> Callable[[Row], list[Any]]:
        name, _, step = spec.partition(":")
        field = self._model.fields.get(name)
        if field is None:
            raise BuiltinError(ValueError, self._env.release.unknown_field(self._model.name, name))
        get = self._model.getter(name, self._env)
        if field.to_many:
            return lambda row: list(get(row)) or [False]
        if field.type in ("date", "datetime"):
            zone = ZoneInfo(self._env.context.get("tz") or "UTC")
            step = step or "month"

            def start(row: Row) -> list[Any]:
                value = get(row)
                if not value:
                    return [False]
                if field.type == "datetime":
                    value = value.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None)
                return [_start(value, step)]

            return start
        return lambda row: [get(row)]

    def _sortable(self, spec: str, key: Any) -> Any:
        field = self._model.fields[self._field_of(spec)]
        if key is False and field.type != "boolean":
            return (1, "")
        if field.is_relation:
            return (0, self._named(field.relation or "", key)[1])
        return (0, key)

    def _named(self, relation: str, id: int) -> list[Any]:
        other = self._env.model(relation)
        row = other.table.rows.get(id)
        name = other.recorded_names.get(id, "") if row is None else other.display_name(self._env, row)
        return [id, name]

    def _shown(self, spec: str, key: Any) -> Any:
        field = self._model.fields[self._field_of(spec)]
        if key is False or key is None:
            return False
        if field.is_relation:
            return self._named(field.relation or "", key)
        if field.type in ("date", "datetime"):
            step = spec.partition(":")[2] or "month"
            formats = {"day": "%d %b %Y", "month": "%B %Y", "year": "%Y"}
            if step == "week":
                return f"W{key.isocalendar().week} {key.isocalendar().year}"
            if step == "quarter":
                return f"Q{(key.month - 1) // 3 + 1} {key.year}"
            return key.strftime(formats.get(step, DATETIME))
        return key

    def _bounds(self, spec: str, key: datetime) -> tuple[str, str]:
        name, _, step = spec.partition(":")
        end = _next(key, step)
        if self._model.fields[name].type == "date":
            return key.strftime("%Y-%m-%d"), end.strftime("%Y-%m-%d")
        zone = ZoneInfo(self._env.context.get("tz") or "UTC")

        def in_utc(moment: datetime) -> str:
            return moment.replace(tzinfo=zone).astimezone(ZoneInfo("UTC")).strftime(DATETIME)

        return in_utc(key), in_utc(end)

    def _key_domain(self, spec: str, key: Any) -> list[Any]:
        name = self._field_of(spec)
        if self._model.fields[name].type in ("date", "datetime") and key:
            start, end = self._bounds(spec if ":" in spec else f"{spec}:month", key)
            return ["&", (name, ">=", start), (name, "<", end)]
        return [(name, "=", key)]

    def _ordered(self, groups: list[dict[str, Any]], order: Any, specs: list[str]) -> list[dict[str, Any]]:
        for part in reversed(str(order).split(",") if order else []):
            words = part.split()
            label = next((spec for spec in specs if spec.split(":")[0] == words[0]), words[0])
            descending = len(words) > 1 and words[1].lower() == "desc"
            groups = sorted(
                groups, key=lambda group: (group[label] is False, group[label]), reverse=descending
            )
        return groups

    @staticmethod
    def _cut(groups: list[dict[str, Any]], offset: int, limit: int | None) -> list[dict[str, Any]]:
        return groups[offset : offset + limit if limit else None]


def _start(value: date | datetime, step: str) -> datetime:
    if isinstance(value, datetime) and step == "hour":
        return value.replace(minute=0, second=0, microsecond=0)
    moment = datetime.combine(value, time())
    match step:
        case "month":
            return moment.replace(day=1)
        case "year":
            return moment.replace(month=1, day=1)
        case "quarter":
            return moment.replace(month=(value.month - 1) // 3 * 3 + 1, day=1)
        case "week":
            return moment - timedelta(days=moment.weekday())
        case _:
            return moment


def _next(start: datetime, step: str) -> datetime:
    match step:
        case "hour":
            return start + timedelta(hours=1)
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case "year":
            return start.replace(year=start.year + 1)
        case _:
            months = start.month - 1 + (3 if step == "quarter" else 1)
            return start.replace(year=start.year + months // 12, month=months % 12 + 1)
