"""Which ledger this is, and how far it has come.

A copy has the same id and stays behind; a new ledger has another id. What is kept beside the tables (see
``mc_pipeline.tables.mark``) distinguishes both from the ledger that the tables were made with.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import LedgerError
from mc_pipeline.ledger.schema import consent_event, identity, intent, member, observation, plan, store
from mc_pipeline.ledger.statements import insert_new

_ONLY = 1
_HISTORY = (consent_event, intent, member, observation, plan, store)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """``count`` goes up with every table that a step stores.

    ``accepted_at``: when a person last accepted that this ledger takes the place of another, or of a newer
    copy of itself; None: it never did. What happened before that moment may be unknown.
    """

    ledger_id: str
    count: int
    accepted_at: datetime | None = None


class Identities:
    """The one identity of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Identity:
        """Who the ledger is; one that does not know it yet is given an id."""
        with self._database.read() as connection:
            row = connection.execute(select(identity)).mappings().first()
        if row is None:
            with self._database.write() as connection:
                row = _row(connection)
        return _of_row(row)

    def is_blank(self) -> bool:
        """Whether the ledger knows nothing yet of anybody: no opt-out, no member, no write, no read."""
        with self._database.read() as connection:
            return not any(
                connection.execute(select(1).select_from(table).limit(1)).first() for table in _HISTORY
            )

    def advance(self) -> Identity:
        """Go one step on."""
        with self._database.write() as connection:
            known = _row(connection)
            connection.execute(update(identity).values(count=known["count"] + 1))
            return _of_row(_row(connection))

    def accept(self, count: int, *, by: str, reason: str) -> Identity:
        """Let this ledger take the place of one that had come to ``count``; who and why are recorded."""
        if not by.strip() or not reason.strip():
            raise LedgerError("to accept a ledger in place of another needs a name and a reason")
        with self._database.write() as connection:
            known = _row(connection)
            values = {
                "count": max(known["count"], count) + 1,
                "accepted_at": self._database.now(),
                "accepted_by": by.strip(),
                "reason": reason.strip(),
            }
            connection.execute(update(identity).values(values))
            return _of_row(_row(connection))


def _row(connection: Connection) -> RowMapping:
    insert_new(connection, identity, [{"id": _ONLY, "ledger_id": uuid.uuid4().hex, "count": 0}])
    return connection.execute(select(identity).with_for_update()).mappings().one()


def _of_row(row: RowMapping) -> Identity:
    return Identity(ledger_id=row["ledger_id"], count=row["count"], accepted_at=row["accepted_at"])
