"""Which audiences are gone: read in an earlier run, and not found in Mailchimp in two runs since (RULES 1.2).

That an audience was read is recorded with its members (``members.observe``), which also ends its absence.
"""

from collections.abc import Collection

from sqlalchemy import or_, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.leases import require
from mc_pipeline.ledger.schema import audience_read

RUNS_UNTIL_GONE = 2
"""Not found in this many runs: an answer that is wrong once takes nothing away."""


class AudienceReads:
    """The audiences of all companies that were ever read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def not_found(self, company: str, list_ids: Collection[str], run_id: str, *, fence: int) -> None:
        """Mailchimp said in this run that it has no such audiences (404); recorded twice, the run counts
        once.

        Audiences that were never read are left alone: their ids may be wrong. Raises ``LeaseLostError``.
        """
        if not list_ids:
            return
        with self._database.write() as connection:
            require(connection, company, fence, self._database.now())
            connection.execute(
                update(audience_read)
                .where(
                    audience_read.c.list_id.in_(sorted(set(list_ids))),
                    or_(
                        audience_read.c.not_found_run_id.is_(None),
                        audience_read.c.not_found_run_id != run_id,
                    ),
                )
                .values(not_found_runs=audience_read.c.not_found_runs + 1, not_found_run_id=run_id)
            )

    def gone(self, list_ids: Collection[str]) -> frozenset[str]:
        """Those of these audiences that are gone."""
        query = select(audience_read.c.list_id).where(
            audience_read.c.list_id.in_(sorted(set(list_ids))),
            audience_read.c.not_found_runs >= RUNS_UNTIL_GONE,
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())
