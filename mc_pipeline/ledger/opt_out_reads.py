"""How far each audience was read for opt-outs: the cursors of the polling.

A cursor moves after the events of the read are in the ledger, never before. What was read twice because of
that is recognised when it is recorded (``members.observe_some``).
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.leases import require
from mc_pipeline.ledger.schema import opt_out_read
from mc_pipeline.ledger.statements import insert_or_replace


class OptOutReads:
    """The cursors of all audiences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_until(self, list_ids: Collection[str]) -> dict[str, datetime]:
        """Up to when (UTC, by Mailchimp's clock) each audience was read; none for one never read."""
        query = select(opt_out_read.c.list_id, opt_out_read.c.read_until).where(
            opt_out_read.c.list_id.in_(sorted(set(list_ids)))
        )
        with self._database.read() as connection:
            return {row.list_id: row.read_until for row in connection.execute(query)}

    def advance(self, company: str, list_id: str, read_until: datetime, *, lease: str, fence: int) -> None:
        """Remember that everything before ``read_until`` is in the ledger. Raises ``LeaseLostError``."""
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, lease, fence, now)
            insert_or_replace(
                connection,
                opt_out_read,
                [{"list_id": list_id, "company": company, "read_until": read_until, "recorded_at": now}],
            )
