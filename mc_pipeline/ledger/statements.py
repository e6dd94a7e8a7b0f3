"""INSERT statements that know what to do about a row that is already there, for both databases."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from mc_pipeline.chunks import Item, chunks_of

# Below SQLite's limit of 32,766 bound values in one statement, and short enough to be planned once.
CHUNK = 500


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows; those whose unique key is already there stay as they are."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def insert_or_replace(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, unless_later: str | None = None
) -> None:
    """Insert the rows, all with the same columns; where the primary key is there already, replace.

    ``unless_later``: a column of times; a row that is there with a later one stays.
    """
    if not rows:
        return
    statement = _insert(connection, table)
    key = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in key}
    where = None if unless_later is None else table.c[unless_later] <= statement.excluded[unless_later]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values, where=where), rows)


def insert_or_renew(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], version: str = "version"
) -> None:
    """Insert the rows, each at most once; one that is there is replaced, and its version goes up by one.

    In the order of their keys, so that two writers never wait for each other.
    """
    if not rows:
        return
    statement = _insert(connection, table)
    key = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, set_={**values, version: table.c[version] + 1}),
        sorted(rows, key=lambda row: [row[name] for name in key]),
    )


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in lists that fit one statement."""
    return chunks_of(CHUNK, items)


def _insert(connection: Connection, table: Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
