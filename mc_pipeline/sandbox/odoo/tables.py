"""Rows in memory: ordered ids, indexes that are made when first needed, and undo for calls that fail.

A row holds only values that differ from their field's default, so that hundreds of thousands fit. Rules of
Odoo are none of this module's business.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = dict[str, Any]


class UndoLog:
    """What to do to take back the changes since ``begin``."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] | None = None

    def begin(self) -> bool:
        """Start to remember; False when a transaction is already open (then it stays the one)."""
        if self._steps is not None:
            return False
        self._steps = []
        return True

    def commit(self) -> None:
        self._steps = None

    def rollback(self) -> None:
        steps, self._steps = self._steps or [], None
        for step in reversed(steps):
            step()

    def note(self, step: Callable[[], None]) -> None:
        if self._steps is not None:
            self._steps.append(step)


class Table:
    """The rows of one model by id.

    ``changes`` counts every change: what is derived from all rows may be kept while it stays the same.
    """

    def __init__(self, undo: UndoLog) -> None:
        self.rows: dict[int, Row] = {}
        self.ids: list[int] = []
        self.next_id = 1
        self.changes = 0
        self._undo = undo
        self._indexes: dict[str, dict[Any, set[int]]] = {}

    def __contains__(self, id: object) -> bool:
        return id in self.rows

    def reserve(self, count: int) -> range:
        """Ids that no later row gets: what a long transaction holds before others can see its rows."""
        reserved = range(self.next_id, self.next_id + count)
        self.next_id += count
        return reserved

    def insert(self, row: Row) -> int:
        """Add a row; its ``id`` is given when it has none."""
        id = row.get("id")
        if id is None:
            id = row["id"] = self.next_id
        if id in self.rows:
            raise ValueError(f"there is already a row with id {id}")
        self.next_id = max(self.next_id, id + 1)
        self.rows[id] = row
        if not self.ids or id > self.ids[-1]:
            self.ids.append(id)
        else:
            insort(self.ids, id)
        self.changes += 1
        for name, index in self._indexes.items():
            _add(index, row.get(name, False), id)
        self._undo.note(lambda: self.delete(id))
        return id

    def insert_many(self, rows: Iterable[Row]) -> range:
        """Add many new rows without ids, at the end; not undone when a call fails."""
        first = self.next_id
        for id, row in enumerate(rows, first):
            row["id"] = id
            self.rows[id] = row
            self.ids.append(id)
            self.next_id = id + 1
        self.changes += 1
        self._indexes.clear()
        return range(first, self.next_id)

    def update(self, id: int, values: Mapping[str, Any]) -> None:
        row = self.rows[id]
        before = {name: row.get(name, _ABSENT) for name in values}
        for name, value in values.items():
            index = self._indexes.get(name)
            if index is not None:
                _remove(index, row.get(name, False), id)
                _add(index, value, id)
            row[name] = value
        self.changes += 1
        self._undo.note(lambda: self._restore(id, before))

    def delete(self, id: int) -> None:
        row = self.rows.pop(id)
        position = bisect_left(self.ids, id)
        del self.ids[position]
        self.changes += 1
        for name, index in self._indexes.items():
            _remove(index, row.get(name, False), id)
        self._undo.note(lambda: self._put_back(row))

    def replace(self, rows: dict[int, Row], ids: list[int], next_id: int) -> None:
        """Hold other rows; not undone when a call fails."""
        self.rows, self.ids, self.next_id = rows, ids, next_id
        self.changes += 1
        self._indexes.clear()

    def forget_indexes(self) -> None:
        """After rows were changed directly: indexes are rebuilt when next needed."""
        self._indexes.clear()

    def with_value(self, name: str, value: Any) -> set[int]:
        """Ids of rows whose field has this value, or whose tuple of ids holds it."""
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = {}
            for id, row in self.rows.items():
                _add(index, row.get(name, False), id)
        return index.get(value, _NONE)

    def after(self, id: int) -> int:
        """The position in ``ids`` of the first id above the given one."""
        return bisect_left(self.ids, id + 1)

    def _restore(self, id: int, before: Mapping[str, Any]) -> None:
        row = self.rows[id]
        for name, value in before.items():
            index = self._indexes.get(name)
            if index is not None:
                _remove(index, row.get(name, False), id)
                _add(index, False if value is _ABSENT else value, id)
            if value is _ABSENT:
                row.pop(name, None)
            else:
                row[name] = value
        self.changes += 1

    def _put_back(self, row: Row) -> None:
        self.insert(row)


_ABSENT = object()
_NONE: set[int] = set()


def _add(index: dict[Any, set[int]], value: Any, id: int) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        index.setdefault(each, set()).add(id)


def _remove(index: dict[Any, set[int]], value: Any, id: int) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        ids = index.get(each)
        if ids is not None:
            ids.discard(id)
