"""What each read of a system's table found: how many rows, and whether that was all of them (RULES 1.1).

The pipeline compares a read with the last complete one to notice rows that went missing silently;
the comparison itself is a rule and lives in ``mc_pipeline.domain``.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, or_, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import ObservationError
from mc_pipeline.ledger.schema import observation
from mc_pipeline.ledger.statements import insert_or_replace


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One read of one table of a company. ``approved_*`` are set when a person accepted a partial read."""

    company: str
    table: str
    observed_at: datetime
    rows: int
    complete: bool
    incomplete_because: str = ""
    approved_by: str | None = None
    approved_reason: str | None = None
    approved_at: datetime | None = None


class Reads:
    """Row counts over time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_observation(
        self,
        company: str,
        table: str,
        observed_at: datetime,
        rows: int,
        complete: bool,
        incomplete_because: str = "",
    ) -> None:
        """Remember a read; recorded twice for the same moment, the second one counts."""
        row = {
            "company": company,
            "table_name": table,
            "observed_at": observed_at,
            "row_count": rows,
            "complete": complete,
            "incomplete_because": incomplete_because,
        }
        with self._database.write() as connection:
            insert_or_replace(connection, observation, [row])

    def last_complete(self, company: str, table: str) -> Observation | None:
        """The newest read that was complete, or that a person approved as good enough to compare with."""
        query = (
            select(observation)
            .where(
                observation.c.company == company,
                observation.c.table_name == table,
                or_(observation.c.complete, observation.c.approved_at.is_not(None)),
            )
            .order_by(observation.c.observed_at.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else _observation(row)

    def latest(self, company: str, table: str) -> Observation | None:
        """The newest read of a table, complete or not."""
        query = (
            select(observation)
            .where(observation.c.company == company, observation.c.table_name == table)
            .order_by(observation.c.observed_at.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else _observation(row)

    def approve_read(self, company: str, table: str, by: str, reason: str) -> Observation:
        """Accept the newest read of a table although it is incomplete: later reads are compared with it.

        Raises ``ObservationError`` when there is no read, it is complete, or nobody is named.
        """
        if not by.strip() or not reason.strip():
            raise ObservationError("an approval of a read needs a name and a reason: give by and reason")
        with self._database.write() as connection:
            row = (
                connection.execute(
                    select(observation)
                    .where(observation.c.company == company, observation.c.table_name == table)
                    .order_by(observation.c.observed_at.desc())
                    .limit(1)
                )
                .mappings()
                .first()
            )
            if row is None:
                raise ObservationError(
                    f"no read of table {table} of company {company} is recorded: sync the company first"
                )
            if row["complete"]:
                raise ObservationError(
                    f"the newest read of table {table} of company {company} "
                    f"({row['observed_at']:%Y-%m-%d %H:%M} UTC) is complete: there is nothing to approve"
                )
            approved = {"approved_by": by, "approved_reason": reason, "approved_at": self._database.now()}
            connection.execute(
                update(observation)
                .where(
                    observation.c.company == company,
                    observation.c.table_name == table,
                    observation.c.observed_at == row["observed_at"],
                )
                .values(approved)
            )
            return _observation({**row, **approved})


def _observation(row: RowMapping | dict[str, object]) -> Observation:
    values = dict(row)
    return Observation(
        table=values.pop("table_name"),
        rows=values.pop("row_count"),
        **values,
    )
