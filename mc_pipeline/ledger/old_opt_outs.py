"""Opt-outs from before an audience was first read: shown once, and released by a person (RULES 5.3).

Nothing holds back what happens after the first read. An approval opens one audience, permanently.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.due_in_odoo import DUE, WAITS
from mc_pipeline.ledger.errors import PlanError
from mc_pipeline.ledger.schema import due_in_odoo, old_opt_outs
from mc_pipeline.ledger.statements import insert_new

PREFIX = "opt-outs-"


@dataclass(frozen=True, kw_only=True)
class OldOptOutsRecord:
    """The old opt-outs of one audience.

    plan_id        by which a person releases them
    first_read_at  what happened until then is old (UTC)
    people         how many would be opted out in Odoo
    released_at    None: they wait
    """

    plan_id: str
    list_id: str
    company: str
    audience: str
    first_read_at: datetime
    people: int
    released_at: datetime | None


class OldOptOuts:
    """The old opt-outs of all audiences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, company: str, audience: str, list_id: str, first_read_at: datetime) -> None:
        """Remember when an audience was first read; later calls change nothing."""
        row = {"company": company, "audience": audience, "list_id": list_id, "people": 0}
        with self._database.write() as connection:
            insert_new(connection, old_opt_outs, [{**row, "first_read_at": first_read_at}])

    def show(self, list_id: str, people: int) -> None:
        """Remember how many people wait. Nobody: nothing is left to decide, and the audience is open."""
        values = {"people": people}
        nobody = {"released_at": self._database.now(), "reason": "nobody was concerned"}
        with self._database.write() as connection:
            connection.execute(
                update(old_opt_outs)
                .where(old_opt_outs.c.list_id == list_id, old_opt_outs.c.released_at.is_(None))
                .values(**values, **({} if people else nobody))
            )

    def of(self, list_ids: Collection[str]) -> dict[str, OldOptOutsRecord]:
        """The records of these audiences, by list id; none for one that was never read."""
        query = select(old_opt_outs).where(old_opt_outs.c.list_id.in_(sorted(set(list_ids))))
        with self._database.read() as connection:
            return {row.list_id: _record(row) for row in connection.execute(query)}

    def waiting(self, company: str | None = None) -> list[OldOptOutsRecord]:
        """What a person can release now."""
        query = (
            select(old_opt_outs)
            .where(old_opt_outs.c.released_at.is_(None), old_opt_outs.c.people > 0)
            .order_by(old_opt_outs.c.company, old_opt_outs.c.audience)
        )
        if company is not None:
            query = query.where(old_opt_outs.c.company == company)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def approve(self, plan_id: str, by: str, reason: str) -> OldOptOutsRecord:
        """Release the old opt-outs of an audience.

        Raises ``PlanError`` when none of that id wait, or when nobody or no reason is named.
        """
        if not by.strip() or not reason.strip():
            raise PlanError(f"an approval of {plan_id} needs a name and a reason: give by and reason")
        list_id = plan_id.removeprefix(PREFIX)
        waiting = old_opt_outs.c.released_at.is_(None), old_opt_outs.c.people > 0
        query = select(old_opt_outs).where(old_opt_outs.c.list_id == list_id, *waiting)
        with self._database.write() as connection:
            row = connection.execute(query).first()
            if row is None:
                raise PlanError(
                    f"no opt-outs wait under {plan_id}: they were approved, or nobody is concerned"
                )
            connection.execute(
                update(old_opt_outs)
                .where(old_opt_outs.c.list_id == list_id)
                .values(released_at=self._database.now(), released_by=by.strip(), reason=reason.strip())
            )
            connection.execute(
                update(due_in_odoo)
                .where(due_in_odoo.c.list_id == list_id, due_in_odoo.c.state == WAITS)
                .values(state=DUE)
            )
        return _record(row)


def _record(row: Row[tuple[object, ...]]) -> OldOptOutsRecord:
    return OldOptOutsRecord(
        plan_id=f"{PREFIX}{row.list_id}",
        list_id=row.list_id,
        company=row.company,
        audience=row.audience,
        first_read_at=row.first_read_at,
        people=row.people,
        released_at=row.released_at,
    )
