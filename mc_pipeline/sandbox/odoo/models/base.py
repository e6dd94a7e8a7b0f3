"""What every model does: search, read, create, write, unlink, and what can be called from outside.

What single models add (computed fields, effects of a change, methods of their own) is in the modules beside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from heapq import nlargest, nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mc_pipeline.sandbox.odoo.access import Operation
from mc_pipeline.sandbox.odoo.domains import (
    Branch,
    Test,
    leaves,
    like_pattern,
    make_test,
    matching_ids,
    read_domain,
)
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import AccessError, BuiltinError, MissingError, ValidationError
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.sandbox.odoo.grouping import Grouping
from mc_pipeline.sandbox.odoo.tables import Row, Table

if TYPE_CHECKING:
    from mc_pipeline.sandbox.odoo.database import Database

Method = TypeVar("Method", bound=Callable[..., Any])


Version = tuple[int, int]


def remote(
    *, on_records: bool = False, since: Version = (0, 0), until: Version = (99, 0), name: str = ""
) -> Callable[[Method], Method]:
    """Marks a method that RPC may call, in the versions where Odoo has it public.

    ``on_records``: the first argument is a list of ids. ``name``: what Odoo calls it, where a method has
    another form in other versions.
    """

    def mark(method: Method) -> Method:
        method.remote_facts = (name or method.__name__, on_records, since, until)  # type: ignore[attr-defined]
        return method

    return mark


@cache
def _parts(kind: type[Model]) -> tuple[list[str], list[tuple[str, str, bool, Version, Version]]]:
    """The fields that a class computes, and the methods that RPC may call in which versions."""
    names = dir(kind)
    computes = [name.removeprefix("compute_") for name in names if name.startswith("compute_")]
    marked = [(name, getattr(getattr(kind, name), "remote_facts", None)) for name in names]
    return computes, [(name, *facts) for name, facts in marked if facts is not None]


class Model:
    """A model of one database. Methods take the ``Environment`` of the call first.

    A method ``compute_<field>(env, row)`` gives a field's value whenever it is asked for; other fields have
    the value in the row. ``indexed_texts`` are text fields by which rows are found quickly.
    ``ignores_missing``: operations that succeed on records that do not exist, as Odoo's own model does.
    """

    name: str = ""
    description: str = ""
    order: ClassVar[str] = "id"
    indexed_texts: ClassVar[frozenset[str]] = frozenset()
    unique: ClassVar[tuple[tuple[str, ...], ...]] = ()
    transient: ClassVar[bool] = False
    ignores_missing: ClassVar[frozenset[Operation]] = frozenset()

    def __init__(self, database: Database, name: str, fields: Mapping[str, Field]) -> None:
        self.database = database
        self.name = name
        self.fields = dict(fields)
        self.table = Table(database.undo)
        self.recorded_names: dict[int, str] = {}
        if not self.description:
            self.description = name
        computes, methods = _parts(type(self))  # type: ignore[arg-type]  # classes are hashable
        self._computes = {field: getattr(self, f"compute_{field}") for field in computes}
        self._defaults = {name: field.default for name, field in self.fields.items()}
        self._mandatory = [
            field
            for name, field in self.fields.items()
            if field.required and field.store and not field.to_many and name not in self._computes
        ]
        self._methods = {
            called: (getattr(self, method), on_records)
            for method, called, on_records, since, until in methods
            if since <= database.release.version <= until
        }

    # values

    def add_field(self, field: Field) -> None:
        """Add a field, as another module would."""
        self.fields[field.name] = field
        self._defaults[field.name] = field.default

    def is_computed(self, field: str) -> bool:
        return field in self._computes

    def getter(self, field: str, env: Environment) -> Callable[[Row], Any]:
        """Gives a field's value of a row."""
        compute = self._computes.get(field)
        if compute is not None:
            return lambda row: compute(env, row)
        definition = self.fields[field]
        if definition.type == "one2many":
            return self._one2many_getter(definition)
        if definition.mirror is not None:
            other, other_field = definition.mirror
            table = self.database.models[other].table
            return lambda row: tuple(sorted(table.with_value(other_field, row["id"])))
        default = definition.default
        return lambda row: row.get(field, default)

    def _one2many_getter(self, definition: Field) -> Callable[[Row], Any]:
        other = self.database.models.get(definition.relation or "")
        inverse = definition.relation_field or ""
        if other is None or inverse not in other.fields:
            return lambda row: row.get(definition.name, ())
        table, hides_archived = other.table, "active" in other.fields
        accepts = self.one2many_filter(definition.name)

        def related(row: Row) -> tuple[int, ...]:
            ids = table.with_value(inverse, row["id"])
            if not ids:
                return ()
            kept = [
                id
                for id in ids
                if (not hides_archived or table.rows[id].get("active", True)) and accepts(table.rows[id])
            ]
            return tuple(sorted(kept, key=lambda id: other.line_order(table.rows[id])))

        return related

    def one2many_filter(self, field: str) -> Test:
        """Which of the related records a one2many shows."""
        return lambda row: True

    def line_order(self, row: Row) -> Any:
        """The order of this model's records inside a one2many."""
        return row["id"]

    def value(self, env: Environment, row: Row, field: str) -> Any:
        return self.getter(field, env)(row)

    def search_value(self, field: str, operator: str, value: Any) -> Any:
        """The value that a domain compares with; some models normalise it."""
        return value

    def display_name(self, env: Environment, row: Row) -> str:
        """What a many2one shows."""
        recorded = self.recorded_names.get(row["id"])
        return self.own_name(env, row) if recorded is None else recorded

    def own_name(self, env: Environment, row: Row) -> str:
        name = row.get("name", False)
        return str(name) if name else f"{self.name},{row['id']}"

    def compute_display_name(self, env: Environment, row: Row) -> str:
        return self.display_name(env, row)

    def name_matches(self, env: Environment, text: str, operator: str) -> list[int]:
        """Ids of records whose shown name matches."""
        if operator in ("=", "!="):
            return [id for id, row in self.table.rows.items() if self.display_name(env, row) == text]
        pattern = like_pattern(text, operator)
        return [id for id, row in self.table.rows.items() if pattern.search(self.display_name(env, row))]

    # searching

    def find(
        self,
        env: Environment,
        domain: Any,
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
    ) -> list[int]:
        """Ids that the user sees and that match, in order."""
        keys = self._order_keys(env, order or self.order)
        tree = read_domain(domain)
        ids = matching_ids(self, env, tree, self._visible(env, tree))
        offset = offset or 0
        end = offset + limit if limit else None
        if keys == [("id", False)]:
            return list(islice(ids, offset, end))
        if keys == [("id", True)]:
            return list(ids)[::-1][offset:end]
        if len(keys) == 1 and end is not None and end < 1000:
            key, descending = self._sort_key(env, *keys[0]), keys[0][1]
            pick = nlargest if descending else nsmallest
            return pick(end, ids, key=key)[offset:]
        found = list(ids)
        for field, descending in reversed(keys):
            found.sort(key=self._sort_key(env, field, descending), reverse=descending)
        return found[offset:end]

    def _visible(self, env: Environment, tree: Branch) -> list[Test]:
        """Tests for archived records and for record rules."""
        tests: list[Test] = []
        if "active" in self.fields and env.active_test:
            mentioned = any(isinstance(leaf[0], str) and leaf[0] == "active" for leaf in leaves(tree))
            if not mentioned:
                tests.append(lambda row: row.get("active", True))
        return tests + self._rule_tests(env)

    def _rule_tests(self, env: Environment) -> list[Test]:
        if env.is_superuser:
            return []
        return [
            make_test(self, env.as_superuser(), read_domain(rule.domain(env)))
            for rule in self.database.rules
            if rule.model == self.name and (rule.applies is None or rule.applies(env))
        ]

    def _order_keys(self, env: Environment, order: str) -> list[tuple[str, bool]]:
        keys: list[tuple[str, bool]] = []
        for part in order.split(","):
            words = part.split()
            if not words or (len(words) > 1 and words[1].lower() not in ("asc", "desc", "nulls")):
                raise BuiltinError(ValueError, f"Invalid order clause {order!r}")
            name = words[0]
            field = self.fields.get(name)
            if field is None:
                raise BuiltinError(ValueError, env.release.unknown_field_in_order(self.name, name))
            if not field.store or field.to_many:
                raise BuiltinError(
                    ValueError, f"Cannot convert {self.name}.{name} to SQL because it is not stored"
                )
            keys.append((name, len(words) > 1 and words[1].lower() == "desc"))
        return keys

    def _sort_key(self, env: Environment, name: str, descending: bool) -> Callable[[int], Any]:
        """Empty values come last when ascending, first when descending."""
        rows, get, field = self.table.rows, self.getter(name, env), self.fields[name]
        if field.type == "many2one":
            other = self.database.models.get(field.relation or "")

            def named(id: int) -> Any:
                target = get(rows[id])
                if other is None or not target or target not in other.table:
                    return (1, "")
                return (0, other.own_name(env, other.table.rows[target]))

            return named

        def key(id: int) -> Any:
            value = get(rows[id])
            return (1, 0) if value in (False, None) and field.type != "boolean" else (0, value)

        return key

    def check_access(self, env: Environment, ids: Sequence[int], operation: Operation) -> list[int]:
        """The ids that exist. Raises AccessError when the user lacks the right or a rule hides one."""
        env.check_right(operation, self)
        existing = [id for id in ids if id in self.table]
        tests = self._rule_tests(env)
        if env.only_own_partner(operation, self.name):
            own = self.database.models["res.users"].table.rows.get(env.uid, {}).get("partner_id")
            tests.append(lambda row: row["id"] == own)
        hidden = [id for id in existing if not all(test(self.table.rows[id]) for test in tests)]
        if hidden:
            user = self.database.models["res.users"].table.rows.get(env.uid, {}).get("login", "")
            raise AccessError(
                "Uh-oh! Looks like you have stumbled upon some top-secret records.\n\n"
                f"Sorry, {user} (id={env.uid}) doesn't have '{operation}' access to:\n"
                + "\n".join(f"- {self.description} ({self.name}: {id})" for id in hidden[:10])
                + self._blamed(env)
                + "\n\nIf you really, really need access, perhaps you can win over your friendly "
                "administrator with a batch of freshly baked cookies."
            )
        return existing

    def _blamed(self, env: Environment) -> str:
        """What users in debug mode see in addition: the rules, from 19.4 on the accesses."""
        if env.account is None or not env.account.debug:
            return ""
        called = "accesses" if env.release.since(19, 4) else "rules"
        named = sorted({rule.name for rule in self.database.rules if rule.model == self.name})
        return f"\n\nBlame the following {called}:\n" + "\n".join(f"- {name}" for name in named)

    # what RPC may call

    def public_method(self, env: Environment, method: str) -> tuple[Callable[..., Any], bool]:
        """The method, and whether it is one on records; errors for private and unknown ones are Odoo's."""
        release = env.release
        if method.startswith("_") or (method == "exists" and release.major >= 19):
            raise AccessError(release.private_method(self.name, method))
        if method not in self._methods:
            raise BuiltinError(AttributeError, release.unknown_method(self.name, method))
        return self._methods[method]

    def call(self, env: Environment, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a public method; errors in the name, the rights and the arguments are Odoo's."""
        function, on_records = self.public_method(env, method)
        args = list(args)
        if on_records:
            ids = args.pop(0) if args else kwargs.get("ids", ())
            kwargs = {name: value for name, value in kwargs.items() if name != "ids"}
            args.insert(0, [ids] if isinstance(ids, int) and not isinstance(ids, bool) else list(ids or ()))
        try:
            inspect.signature(function).bind(env, *args, **kwargs)
        except TypeError as problem:
            raise BuiltinError(TypeError, f"BaseModel.{method}() {problem}") from None
        return function(env, *args, **kwargs)

    @remote()
    def search(
        self,
        env: Environment,
        domain: Any,
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
    ) -> list[int]:
        env.check_right("read", self)
        return self.find(env, domain, offset, limit, order)

    @remote()
    def search_count(self, env: Environment, domain: Any, limit: int | None = None) -> int:
        env.check_right("read", self)
        tree = read_domain(domain)
        ids = matching_ids(self, env, tree, self._visible(env, tree))
        return sum(1 for _ in (islice(ids, limit) if limit else ids))

    @remote()
    def search_read(
        self,
        env: Environment,
        domain: Any = None,
        fields: Sequence[str] | None = None,
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
        **read_kwargs: Any,
    ) -> list[dict[str, Any]]:
        env.check_right("read", self)
        names = self._readable(env, fields)
        ids = self.find(env, domain or [], offset, limit, order)
        load = read_kwargs.pop("load", "_classic_read")
        for unknown in read_kwargs:
            raise BuiltinError(
                TypeError, f"BaseModel._read_format() got an unexpected keyword argument '{unknown}'"
            )
        return self._read_rows(env, ids, names, load)

    @remote(on_records=True)
    def read(
        self,
        env: Environment,
        ids: Sequence[int],
        fields: Sequence[str] | None = None,
        load: str | None = "_classic_read",
    ) -> list[dict[str, Any]]:
        names = self._readable(env, fields)
        existing = self.check_access(env, ids, "read")
        if set(names) == {"id"}:  # nothing is looked up then: ids of missing records come back too
            return [{"id": id} for id in ids]
        return self._read_rows(env, existing, names, load)

    def _readable(self, env: Environment, fields: Sequence[str] | None) -> list[str]:
        env.check_right("read", self)
        if not fields:
            ordinary = not env.is_superuser and "admin" not in env.groups
            if env.release.major >= 19 and self.name == "res.partner" and ordinary:
                raise AccessError(
                    'You do not have enough rights to access the field "rtc_session_ids" on '
                    "Contact (res.partner). Please contact your system administrator."
                )
            return [name for name, field in self.fields.items() if env.may_read_field(field)]
        for name in fields:
            if name not in self.fields:
                raise BuiltinError(ValueError, env.release.unknown_field(self.name, name))
            if not env.may_read_field(self.fields[name]):
                raise AccessError(env.no_field_right(self.name, self.fields[name]))
        return list(dict.fromkeys(fields))

    def _read_rows(
        self, env: Environment, ids: Iterable[int], names: Sequence[str], load: str | None
    ) -> list[dict[str, Any]]:
        columns = [(name, self._giver(env, name, load)) for name in names if name != "id"]
        rows = self.table.rows
        answer = []
        for id in ids:
            row = rows[id]
            record = {"id": id}
            for name, give in columns:
                record[name] = give(row)
            answer.append(record)
        return answer

    def _giver(self, env: Environment, name: str, load: str | None) -> Callable[[Row], Any]:
        """Gives a field's value of a row as RPC shows it."""
        field, get = self.fields[name], self.getter(name, env)
        other = self.database.models.get(field.relation or "")
        if field.type == "many2one" and load == "_classic_read":
            if other is None:
                foreign = self.database.foreign_names
                return lambda row: (
                    [get(row), foreign.get((field.relation, get(row)), "")] if get(row) else False
                )
            names: dict[int, Any] = {}

            def pair(row: Row) -> Any:
                id = get(row)
                if not id:
                    return False
                known = names.get(id)
                if known is None:
                    target = other.table.rows.get(id)
                    shown = (
                        other.recorded_names.get(id, "")
                        if target is None
                        else other.display_name(env, target)
                    )
                    known = names[id] = shown
                return [id, known]

            return pair
        if field.type == "many2many" and other is not None and "active" in other.fields and env.active_test:
            others = other.table.rows
            return lambda row: [id for id in get(row) or () if others.get(id, {}).get("active", True)]
        if field.type in ("char", "integer", "float", "monetary", "boolean", "selection", "text", "many2one"):
            return get
        return lambda row: field.give(get(row))

    @remote()
    def fields_get(
        self,
        env: Environment,
        allfields: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
    ) -> dict[str, dict[str, Any]]:
        env.check_right("read", self)
        descriptions = {}
        for name, field in self.fields.items():
            if (allfields and name not in allfields) or not env.may_read_field(field):
                continue
            described = field.describe()
            if attributes:
                described = {key: value for key, value in described.items() if key in attributes}
            descriptions[name] = described
        return descriptions

    @remote()
    def name_search(
        self,
        env: Environment,
        name: str = "",
        args: Any = None,
        operator: str = "ilike",
        limit: int = 100,
        domain: Any = None,
    ) -> list[list[Any]]:
        env.check_right("read", self)
        matches = set(self.name_matches(env, name, operator)) if name else None
        ids = self.find(env, args or domain or [])
        kept = [id for id in ids if matches is None or id in matches][:limit]
        return [[id, self.display_name(env, self.table.rows[id])] for id in kept]

    @remote()
    def default_get(self, env: Environment, fields_list: Sequence[str]) -> dict[str, Any]:
        return {name: self.fields[name].unset for name in fields_list if self.fields[name].unset is not None}

    @remote(until=(19, 0))
    def read_group(
        self,
        env: Environment,
        domain: Any,
        fields: Sequence[str],
        groupby: str | Sequence[str],
        offset: int = 0,
        limit: int | None = None,
        orderby: str | bool = False,
        lazy: bool = True,
    ) -> list[dict[str, Any]]:
        env.check_right("read", self)
        return Grouping(self, env, domain).classic(fields, groupby, offset, limit, orderby, lazy)

    @remote(since=(20, 0), name="read_group")
    def read_group_as_rows(
        self,
        env: Environment,
        domain: Any,
        groupby: Sequence[str] = (),
        aggregates: Sequence[str] = (),
        having: Any = (),
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
    ) -> list[list[Any]]:
        """The ``read_group`` that 20 has: a row of values for each group, in the order asked."""
        env.check_right("read", self)
        groups = Grouping(self, env, domain).formatted(groupby, aggregates, offset, limit, order)
        return [[group[name] for name in (*groupby, *aggregates)] for group in groups]

    @remote(since=(19, 0))
    def formatted_read_group(
        self,
        env: Environment,
        domain: Any,
        groupby: Sequence[str] = (),
        aggregates: Sequence[str] = (),
        having: Any = (),
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
    ) -> list[dict[str, Any]]:
        env.check_right("read", self)
        return Grouping(self, env, domain).formatted(groupby, aggregates, offset, limit, order)

    @remote()
    def create(self, env: Environment, vals_list: Any) -> int | list[int]:
        env.check_right("create", self)
        if isinstance(vals_list, Mapping):
            return self.create_records(env, [vals_list])[0]
        return self.create_records(env, list(vals_list))

    @remote(on_records=True)
    def write(self, env: Environment, ids: Sequence[int], vals: Mapping[str, Any]) -> bool:
        ids = self._existing(env, ids, "write")
        self.write_records(env, ids, vals)
        self.check_access(env, ids, "write")
        return True

    @remote(on_records=True)
    def unlink(self, env: Environment, ids: Sequence[int]) -> bool:
        self.unlink_records(env, self._existing(env, ids, "unlink"))
        return True

    @remote(on_records=True)
    def action_archive(self, env: Environment, ids: Sequence[int]) -> bool:
        return self.write(env, ids, {"active": False})

    @remote(on_records=True)
    def action_unarchive(self, env: Environment, ids: Sequence[int]) -> bool:
        return self.write(env, ids, {"active": True})

    @remote(on_records=True)
    def exists(self, env: Environment, ids: Sequence[int]) -> Any:
        """A recordset comes back as text on Odoo 17 and 18, an empty one as a list."""
        existing = [id for id in ids if id in self.table]
        return f"{self.name}({', '.join(map(str, existing))},)" if existing else []

    @remote(until=(18, 0))
    def check_access_rights(
        self, env: Environment, operation: Operation, raise_exception: bool = True
    ) -> bool:
        try:
            env.check_right(operation, self)
        except AccessError:
            if raise_exception:
                raise
            return False
        return True

    @remote(on_records=True, since=(18, 0))
    def has_access(self, env: Environment, ids: Sequence[int], operation: Operation) -> bool:
        try:
            self.check_access(env, ids, operation)
        except AccessError:
            return False
        return True

    # changing

    def create_records(self, env: Environment, vals_list: Sequence[Mapping[str, Any]]) -> list[int]:
        """Create records one by one, without a look at rights."""
        return [self._create_one(env, values) for values in vals_list]

    def _create_one(self, env: Environment, values: Mapping[str, Any]) -> int:
        values = self.before_create(env, dict(values))
        plain, commands = self._taken(env, values)
        for field in self._mandatory:
            if plain.get(field.name, self._defaults[field.name]) is False:
                raise self._missing_value(field)
        row: Row = {name: value for name, value in plain.items() if value != self._defaults[name]}
        row["create_date"] = row["write_date"] = env.now
        row["create_uid"] = row["write_uid"] = env.uid
        if "id" in values:
            row["id"] = values["id"]
        id = self.table.insert(row)
        self._check_unique(row)
        for name, value in commands.items():
            self._apply_commands(env, row, self.fields[name], value)
        self.after_create(env, row, values)
        return id

    def write_records(self, env: Environment, ids: Sequence[int], values: Mapping[str, Any]) -> None:
        """Write records and touch them (also when nothing changes), without a look at rights."""
        values = self.before_write(env, ids, dict(values))
        plain, commands = self._taken(env, values)
        for name in plain:
            if self.fields[name].required and plain[name] is False and self.fields[name].type != "boolean":
                raise self._missing_value(self.fields[name])
        for id in ids:
            row = self.table.rows[id]
            before = {name: row.get(name, self.fields[name].default) for name in plain}
            self.table.update(id, {**plain, "write_date": env.now, "write_uid": env.uid})
            if plain:
                self._check_unique(row)
            for name, value in commands.items():
                self._apply_commands(env, row, self.fields[name], value)
            self.recorded_names.pop(id, None)
            self.after_write(env, row, before, values)

    def unlink_records(self, env: Environment, ids: Sequence[int]) -> None:
        """Delete records, without a look at rights; many2many relations to them are let go silently."""
        self.before_unlink(env, ids)
        for id in ids:
            if id in self.table:
                self.table.delete(id)
        for model in self.database.models.values():
            for field in model.fields.values():
                if field.relation == self.name and field.type == "many2many" and field.store:
                    for id in ids:
                        for holder in list(model.table.with_value(field.name, id)):
                            kept = tuple(each for each in model.table.rows[holder][field.name] if each != id)
                            model.table.update(holder, {field.name: kept})

    def touch(self, env: Environment, ids: Iterable[int]) -> None:
        """Give records the transaction's ``write_date``."""
        for id in ids:
            self.table.update(id, {"write_date": env.now, "write_uid": env.uid})
            self.recorded_names.pop(id, None)

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        """Complete the values of a new record."""
        return values

    def after_create(self, env: Environment, row: Row, values: Mapping[str, Any]) -> None:
        """What a new record changes elsewhere."""

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        """Complete or refuse the values to write."""
        return values

    def after_write(
        self, env: Environment, row: Row, before: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """What a change of a record changes elsewhere; ``before`` has the old values of what was written."""

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        """Refuse to delete, or delete what goes along."""

    def _taken(self, env: Environment, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Plain values in the form they are kept in, and the commands of x2many fields."""
        plain: dict[str, Any] = {}
        commands: dict[str, Any] = {}
        for name, value in values.items():
            if name == "id":
                continue
            field = self.fields.get(name)
            if field is None:
                raise BuiltinError(ValueError, env.release.unknown_field(self.name, name))
            if field.to_many:
                commands[name] = value or []
                continue
            plain[name] = field.take(self.name, value)
            if field.type == "many2one" and plain[name]:
                other = self.database.models.get(field.relation or "")
                if other is not None and plain[name] not in other.table:
                    raise MissingError.of(other.name, [plain[name]], env.uid)
        return plain, commands

    def _apply_commands(self, env: Environment, row: Row, field: Field, commands: Any) -> None:
        if commands and not isinstance(commands[0], (list, tuple)):
            commands = [(6, 0, list(commands))]
        other = env.model(field.relation or "")
        for command in commands:
            code, id, value = (*command, 0, 0)[:3]
            if field.type == "one2many":
                self._apply_to_lines(env, row, field, other, code, id, value)
                continue
            current = self.getter(field.name, env)(row)
            match code:
                case 0:
                    wanted = (*current, *other.create_records(env, [value]))
                case 1:
                    other.write_records(env, [id], value)
                    continue
                case 2:
                    wanted = tuple(each for each in current if each != id)
                    other.unlink_records(env, [id])
                case 3:
                    wanted = tuple(each for each in current if each != id)
                case 4:
                    wanted = current if id in current else (*current, id)
                case 5:
                    wanted = ()
                case _:
                    wanted = tuple(dict.fromkeys(value))
            missing = [each for each in wanted if each not in other.table]
            if missing:
                raise MissingError.of(other.name, missing, env.uid)
            self.relate(env, row, field, tuple(wanted))

    def relate(self, env: Environment, row: Row, field: Field, ids: tuple[int, ...]) -> None:
        """Set a many2many; the other side is not touched."""
        if field.mirror is None:
            self.table.update(row["id"], {field.name: ids})
            return
        model, name = field.mirror
        table = env.model(model).table
        current = set(table.with_value(name, row["id"]))
        for id in current - set(ids):
            table.update(id, {name: tuple(each for each in table.rows[id][name] if each != row["id"])})
        for id in sorted(set(ids) - current):
            table.update(id, {name: (*table.rows[id].get(name, ()), row["id"])})

    def _apply_to_lines(
        self, env: Environment, row: Row, field: Field, other: Model, code: int, id: int, value: Any
    ) -> None:
        inverse = field.relation_field or ""
        match code:
            case 0:
                other.create_records(env, [{**value, inverse: row["id"]}])
            case 1:
                other.write_records(env, [id], value)
            case 2:
                other.unlink_records(env, [id])
            case 3:
                other.write_records(env, [id], {inverse: False})
            case 4:
                other.write_records(env, [id], {inverse: row["id"]})
            case _:
                wanted = set(value or ()) if code == 6 else set()
                current = set(other.table.with_value(inverse, row["id"]))
                for each in current - wanted:
                    other.write_records(env, [each], {inverse: False})
                for each in wanted - current:
                    other.write_records(env, [each], {inverse: row["id"]})

    def _existing(self, env: Environment, ids: Sequence[int], operation: Operation) -> list[int]:
        missing = [id for id in ids if id not in self.table]
        if missing and operation not in self.ignores_missing:
            raise MissingError.of(self.name, missing, env.uid)
        return self.check_access(env, ids, operation)

    def _missing_value(self, field: Field) -> ValidationError:
        return ValidationError(
            "The operation cannot be completed:\n- Create/update: a mandatory field is not set.\n"
            "- Delete: another model requires the record being deleted. If possible, archive it instead.\n\n"
            f"Model: {self.description} ({self.name})\nField: {field.string or field.name} ({field.name})\n"
        )

    def _check_unique(self, row: Row) -> None:
        for names in self.unique:
            same = set(self.table.with_value(names[0], row.get(names[0], False)))
            for name in names[1:]:
                same &= self.table.with_value(name, row.get(name, False))
            if len(same) > 1:
                raise ValidationError(
                    f"The operation cannot be completed: {' and '.join(names)} must be unique ({self.name})"
                )
