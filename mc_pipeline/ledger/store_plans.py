"""Orders of a store that wait for a person: more would be lowered or deleted than the guard allows.

A store has at most one such plan: the one of its last push. An approval releases the changes that the person
saw, by their keys and for as long as that of a plan of contacts; it is kept among those (``ledger.plans``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, delete, select

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import PlanError
from mc_pipeline.ledger.leases import require
from mc_pipeline.ledger.plans import DEFAULT_LIFETIME
from mc_pipeline.ledger.schema import approval, store_plan
from mc_pipeline.ledger.serialization import compress_keys
from mc_pipeline.ledger.statements import insert_or_replace


@dataclass(frozen=True, kw_only=True)
class StorePlan:
    """What waits in one store.

    plan_id    by which a person releases it
    orders     how many would be lowered or deleted
    held       how many the store holds
    saved_at   when it was found last (UTC)
    """

    plan_id: str
    company: str
    store_id: str
    orders: int
    held: int
    saved_at: datetime


class StorePlans:
    """What waits in the stores of all companies."""

    def __init__(self, database: Database, lifetime: timedelta = DEFAULT_LIFETIME) -> None:
        self._database = database
        self._lifetime = lifetime

    def replace(
        self, company: str, fence: int, found: Collection[tuple[str, str, int, Collection[str]]]
    ) -> None:
        """Keep what waits in the stores of a company after a push, in place of what waited before.

        ``found``: plan id, store id, how many orders the store holds, and the keys of the changes.
        """
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            connection.execute(delete(store_plan).where(store_plan.c.company == company))
            rows = [
                {
                    "company": company,
                    "store_id": store_id,
                    "plan_id": plan_id,
                    "saved_at": now,
                    "orders": len(keys),
                    "held": held,
                    "row_keys": compress_keys(sorted(keys)),
                }
                for plan_id, store_id, held, keys in found
            ]
            insert_or_replace(connection, store_plan, rows)

    def waiting(self, company: str | None = None) -> list[StorePlan]:
        """What a person can release now."""
        query = select(store_plan).order_by(store_plan.c.company, store_plan.c.store_id)
        if company is not None:
            query = query.where(store_plan.c.company == company)
        with self._database.read() as connection:
            now = self._database.now()
            found = [row for row in connection.execute(query) if row.saved_at + self._lifetime > now]
            return [_plan(row) for row in found if not self._is_approved(connection, row, now)]

    def approve(self, plan_id: str, by: str, reason: str) -> StorePlan:
        """Release the orders of a plan.

        Raises ``PlanError`` when no orders wait under that id, when they were found too long ago, or when
        nobody or no reason is named.
        """
        if not by.strip() or not reason.strip():
            raise PlanError(f"an approval of {plan_id} needs a name and a reason: give by and reason")
        with self._database.write() as connection:
            now = self._database.now()
            row = connection.execute(select(store_plan).where(store_plan.c.plan_id == plan_id)).first()
            if row is None or row.saved_at + self._lifetime <= now:
                raise PlanError(
                    f"no orders wait under {plan_id}: they changed since, or were found too long ago; sync "
                    "the company to see what waits now"
                )
            connection.execute(
                approval.insert().values(
                    company=row.company,
                    plan_id=plan_id,
                    approved_by=by.strip(),
                    reason=reason.strip(),
                    approved_at=now,
                    row_count=row.orders,
                    opened_audiences_json=canonical_json([]),
                    row_keys=row.row_keys,
                )
            )
        return _plan(row)

    def _is_approved(self, connection: Connection, row: Row[tuple[object, ...]], now: datetime) -> bool:
        query = select(approval.c.id).where(
            approval.c.company == row.company,
            approval.c.plan_id == row.plan_id,
            approval.c.approved_at > now - self._lifetime,
        )
        return connection.execute(query).first() is not None


def _plan(row: Row[tuple[object, ...]]) -> StorePlan:
    return StorePlan(
        plan_id=row.plan_id,
        company=row.company,
        store_id=row.store_id,
        orders=row.orders,
        held=row.held,
        saved_at=row.saved_at,
    )
