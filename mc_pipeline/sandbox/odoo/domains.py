"""Search domains: read in prefix notation, checked, and turned into a test on rows.

Which rows a user may see at all (record rules, archived ones) is added by the model, not here.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_pipeline.sandbox.odoo.errors import AccessError, BuiltinError
from mc_pipeline.sandbox.odoo.fields import Field, parse_datetime
from mc_pipeline.sandbox.odoo.tables import Row

if TYPE_CHECKING:
    from mc_pipeline.sandbox.odoo.environment import Environment
    from mc_pipeline.sandbox.odoo.models.base import Model

Test = Callable[[Row], bool]
Getter = Callable[[Row], Any]
Leaf = tuple[Any, str, Any]

OPERATORS = frozenset(
    {
        "=", "!=", "<>", "==", "<", ">", "<=", ">=", "=?", "in", "not in", "like", "not like", "ilike",
        "not ilike", "=like", "=ilike", "child_of", "parent_of", "any", "not any",
    }
)  # fmt: skip
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Branch:
    """``&`` or ``|`` over its parts, or ``!`` over one."""

    joint: str
    parts: tuple[Branch | Leaf, ...]


def read_domain(domain: Any) -> Branch:
    """The tree of a domain in prefix notation; raises Odoo's ValueError or TypeError when it is malformed."""
    if not domain:
        return Branch("&", ())
    if not isinstance(domain, (list, tuple)):
        raise BuiltinError(TypeError, f"Domain() invalid argument type for domain: {domain!r}")  # as 19 does
    stack: list[Branch | Leaf] = []
    for item in reversed(domain):
        if item == "!":
            stack.append(Branch("!", (_operand(stack, domain),)))
        elif item in ("&", "|"):
            stack.append(Branch(item, (_operand(stack, domain), _operand(stack, domain))))
        elif isinstance(item, (list, tuple)) and len(item) == 3:
            stack.append((item[0], item[1], item[2]))
        else:
            raise BuiltinError(ValueError, f"Invalid leaf {item!r}")
    return Branch("&", tuple(reversed(stack)))


def _operand(stack: list[Branch | Leaf], domain: Any) -> Branch | Leaf:
    if not stack:
        raise BuiltinError(ValueError, f"Domain is missing an operand: {domain!r}")
    return stack.pop()


def leaves(tree: Branch | Leaf) -> Iterable[Leaf]:
    """Every leaf of a tree."""
    if isinstance(tree, Branch):
        for part in tree.parts:
            yield from leaves(part)
    elif tree[0] not in (1, 0):
        yield tree


def _conjuncts(tree: Branch | Leaf) -> Iterable[Branch | Leaf]:
    if isinstance(tree, Branch) and tree.joint == "&":
        for part in tree.parts:
            yield from _conjuncts(part)
    else:
        yield tree


def matching_ids(model: Model, env: Environment, tree: Branch, extra: Sequence[Test]) -> Iterable[int]:
    """Ids of the rows that pass, ascending, found one after the other as they are asked for.

    Bounds on ``id`` and equality on relations and on indexed texts narrow down the rows that are looked at.
    """
    tests: list[Test] = list(extra)
    low, high = 0, len(model.table.ids)
    chosen: set[int] | None = None
    for part in _conjuncts(tree):
        tests.append(make_test(model, env, part))
        if isinstance(part, Branch):
            continue
        name, operator_, value = part
        if name == "id" and isinstance(value, int) and operator_ in _COMPARE:
            if operator_ in (">", ">="):
                low = max(low, bisect_left(model.table.ids, value + (operator_ == ">")))
            else:
                high = min(high, bisect_right(model.table.ids, value - (operator_ == "<")))
            tests.pop()
            continue
        found = _indexed(model, env, part)
        if found is not None:
            chosen = found if chosen is None else chosen & found
    ids: Sequence[int] = model.table.ids
    if chosen is not None:
        within = sorted(chosen)
        if low > 0:
            lowest = ids[low] if low < len(ids) else ids[-1] + 1
            within = within[bisect_left(within, lowest) :]
        if high < len(ids):
            within = within[: bisect_left(within, ids[high])]
        return _filtered(model, within, tests)
    return _filtered(model, ids[low:high] if (low, high) != (0, len(ids)) else ids, tests)


def _filtered(model: Model, ids: Sequence[int], tests: Sequence[Test]) -> Iterable[int]:
    rows = model.table.rows
    if not tests:
        return iter(ids)
    if len(tests) == 1:
        test = tests[0]
        return (id for id in ids if test(rows[id]))
    return (id for id in ids if all(test(rows[id]) for test in tests))


def _indexed(model: Model, env: Environment, leaf: Leaf) -> set[int] | None:
    name, operator_, value = leaf
    values = [value] if operator_ == "=" else list(value) if operator_ == "in" else None
    if values is None or any(each is False or each is None for each in values):
        return None
    if name == "id":
        return {each for each in values if each in model.table}
    field = model.fields.get(name)
    if field is None or not field.store or model.is_computed(name):
        return None
    if field.type == "many2one" and all(isinstance(each, int) for each in values):
        return set().union(*(model.table.with_value(name, each) for each in values))
    if name in model.indexed_texts:
        wanted = [model.search_value(name, operator_, each) for each in values]
        return set().union(*(model.table.with_value(name, each) for each in wanted))
    return None


def make_test(model: Model, env: Environment, tree: Branch | Leaf) -> Test:
    """The test that a row of this model passes or not."""
    if isinstance(tree, Branch):
        tests = [make_test(model, env, part) for part in tree.parts]
        if tree.joint == "!":
            return lambda row: not tests[0](row)
        if len(tests) == 1:
            return tests[0]
        if tree.joint == "|":
            first, second = tests
            return lambda row: first(row) or second(row)
        return lambda row: all(test(row) for test in tests)
    return _leaf_test(model, env, tree)


def _leaf_test(model: Model, env: Environment, leaf: Leaf) -> Test:
    name, operator_, value = leaf
    if name in (1, 0) and operator_ == "=":
        return lambda row: name == value
    release = env.release
    if not isinstance(name, str):
        raise BuiltinError(ValueError, f"Invalid leaf {leaf!r}")
    if operator_ not in OPERATORS or (operator_ in ("<>", "==") and release.since(19, 1)):
        raise BuiltinError(ValueError, release.unknown_operator(leaf))
    operator_ = {"<>": "!=", "==": "="}.get(operator_, operator_)
    head, _, rest = name.partition(".")
    field = model.fields.get(head)
    if field is None:
        raise BuiltinError(ValueError, release.unknown_field_in_domain(model.name, head, leaf))
    if not env.may_read_field(field):
        if release.major == 17:
            raise AccessError(env.no_field_right(model.name, field))
        if release.major == 18:
            return lambda row: False
    if not field.searchable and not field.store:
        raise BuiltinError(ValueError, f"Cannot convert {model.name}.{head} to SQL because it is not stored")
    get = model.getter(head, env)
    if rest:
        if field.relation is None:
            raise BuiltinError(ValueError, release.unknown_field_in_domain(model.name, name, leaf))
        return _related_test(model, env, field, get, [[rest, operator_, value]])
    if operator_ in ("any", "not any"):
        found = _related_test(model, env, field, get, value)
        return found if operator_ == "any" else lambda row: not found(row)
    if operator_ == "=?":
        if value in (False, None):
            return lambda row: True
        operator_ = "="
    if operator_ in ("child_of", "parent_of"):
        return _hierarchy_test(model, env, field, get, operator_, value)
    if field.is_relation:
        return _relation_test(env, field, get, operator_, value)
    return _value_test(model, env, field, get, operator_, value, leaf)


def _related_test(model: Model, env: Environment, field: Field, get: Getter, domain: Any) -> Test:
    other = env.model(field.relation or "")
    inner = make_test(other, env, read_domain(domain))
    rows = other.table.rows
    if field.to_many:
        return lambda row: any(id in rows and inner(rows[id]) for id in get(row) or ())

    def test(row: Row) -> bool:
        id = get(row)
        return bool(id) and id in rows and inner(rows[id])

    return test


def _hierarchy_test(
    model: Model, env: Environment, field: Field, get: Getter, operator_: str, value: Any
) -> Test:
    other = model if field.name == "id" else env.model(field.relation or "")
    wanted = value if isinstance(value, (list, tuple)) else [value]
    start: set[int] = set()
    for each in wanted:
        if isinstance(each, str):
            start |= set(other.name_matches(env, each, "ilike"))
        elif each:
            start.add(each)
    reached = set(start)
    border = start
    while border:
        if operator_ == "child_of":
            border = set().union(*(other.table.with_value("parent_id", id) for id in border)) - reached
        else:
            parents = {other.table.rows[id].get("parent_id", False) for id in border if id in other.table}
            border = {id for id in parents if id} - reached
        reached |= border
    if field.to_many:
        return lambda row: any(id in reached for id in get(row) or ())
    return lambda row: get(row) in reached


def _relation_test(env: Environment, field: Field, get: Getter, operator_: str, value: Any) -> Test:
    other = env.model(field.relation or "")
    negative = operator_ in ("!=", "not in", "not like", "not ilike")
    positive = {"!=": "=", "not in": "in", "not like": "like", "not ilike": "ilike"}.get(operator_, operator_)
    if positive == "in" or (positive == "=" and isinstance(value, (list, tuple))):
        values = list(value) if isinstance(value, (list, tuple, set)) else [value]
    elif positive == "=":
        values = [value]
    elif positive in _COMPARE:
        compare = _COMPARE[positive]
        return lambda row: bool(get(row)) and compare(get(row), value)
    else:
        values = list(other.name_matches(env, str(value), positive))
    or_empty = any(each in (False, None) for each in values)
    wanted: set[Any] = set()
    for each in values:
        if isinstance(each, str):
            wanted |= set(other.name_matches(env, each, "="))
        elif each not in (False, None):
            wanted.add(each)
    if field.to_many:

        def found(row: Row) -> bool:
            ids = get(row)
            return (or_empty and not ids) or any(id in wanted for id in ids or ())

    else:
        if or_empty:
            wanted |= {False, None}

        def found(row: Row) -> bool:
            return get(row) in wanted

    return (lambda row: not found(row)) if negative else found


def _value_test(
    model: Model, env: Environment, field: Field, get: Getter, operator_: str, value: Any, leaf: Leaf
) -> Test:
    if field.type == "boolean" and env.release.since(19, 1):
        named = value if isinstance(value, (list, tuple, set)) else [value]
        if not all(isinstance(each, bool) for each in named):
            raise BuiltinError(ValueError, env.release.no_boolean(leaf))
    if field.type == "datetime":
        return _datetime_test(env, get, operator_, value)
    if field.type == "date":
        return _date_test(get, operator_, value)
    if operator_ in ("in", "not in"):
        if isinstance(value, bool) or not isinstance(value, (list, tuple, set)):
            value = [value]
        wanted = {model.search_value(field.name, operator_, each) for each in value}
        or_empty = False in wanted or None in wanted
        empties = {field.empty, False, None}
        if field.type == "boolean":
            empties = set()
            or_empty = False

        def member(row: Row) -> bool:
            given = get(row)
            return given in wanted or (or_empty and given in empties)

        return member if operator_ == "in" else lambda row: not member(row)
    if operator_ in ("=", "!="):
        if isinstance(value, (list, tuple)):
            return _value_test(model, env, field, get, "in" if operator_ == "=" else "not in", value, leaf)
        wanted_value = model.search_value(field.name, operator_, value)
        if field.type == "boolean":
            wanted_value = bool(wanted_value)
        if wanted_value in (False, None) and field.type not in ("integer", "float", "monetary"):
            equal: Test = lambda row: not get(row)  # noqa: E731
        else:
            equal = lambda row: get(row) == wanted_value  # noqa: E731
        return equal if operator_ == "=" else lambda row: not equal(row)
    if operator_ in _COMPARE:
        compare = _COMPARE[operator_]
        if isinstance(value, str) and field.type in ("integer", "float", "monetary"):
            value = float(value)

        def compared(row: Row) -> bool:
            given = get(row)
            if given is False and field.type != "boolean":
                return False
            try:
                return compare(given, value)
            except TypeError:
                raise BuiltinError(ValueError, env.release.unknown_operator(leaf)) from None

        return compared
    negative = operator_.startswith("not ")
    pattern = like_pattern(str(value) if value is not False else "", operator_.removeprefix("not "))

    def alike(row: Row) -> bool:
        given = get(row)
        return bool(pattern.search(str(given))) if given not in (False, None) else not value

    return alike if not negative else lambda row: not alike(row)


def like_pattern(value: str, operator_: str) -> re.Pattern[str]:
    """The pattern of an SQL LIKE: ``%`` any text, ``_`` any character; wrapped in ``%`` unless ``=like``."""
    parts = {"%": ".*", "_": "."}
    pattern = "".join(parts.get(char) or re.escape(char) for char in value)
    if operator_.startswith("="):
        pattern = f"^{pattern}$"
    return re.compile(pattern, re.DOTALL | (re.IGNORECASE if "ilike" in operator_ else 0))


def _datetime_test(env: Environment, get: Getter, operator_: str, value: Any) -> Test:
    """Odoo 19 compares whole seconds; 17 and 18 compare what is stored, microseconds included."""
    whole_seconds = env.release.major >= 19

    def moment(each: Any) -> Any:
        if each in (False, None):
            return False
        if isinstance(each, str) and len(each) == 10 and operator_ in ("<=", ">"):
            end = parse_datetime(each) + timedelta(days=1) - timedelta(microseconds=1)
            return end.replace(microsecond=0) if whole_seconds else end
        parsed = parse_datetime(each)
        return parsed.replace(microsecond=0) if whole_seconds else parsed

    def given(row: Row) -> Any:
        stored: Any = get(row)
        return stored.replace(microsecond=0) if stored and whole_seconds else stored

    return _moment_test(given, operator_, value, moment)


def _date_test(get: Getter, operator_: str, value: Any) -> Test:
    def day(each: Any) -> Any:
        return False if each in (False, None) else parse_datetime(each).date()

    return _moment_test(get, operator_, value, day)


def _moment_test(
    given: Callable[[Row], Any], operator_: str, value: Any, read: Callable[[Any], date | datetime | bool]
) -> Test:
    if operator_ in _COMPARE:
        compare, bound = _COMPARE[operator_], read(value)

        def compared(row: Row) -> bool:
            stored = given(row)
            return bool(stored) and compare(stored, bound)

        return compared
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    wanted = {read(each) for each in values}
    if operator_ in ("=", "in"):
        return lambda row: given(row) in wanted
    if operator_ in ("!=", "not in"):
        return lambda row: given(row) not in wanted
    raise BuiltinError(ValueError, f"Invalid operator {operator_!r} on a date")
