"""Every write to a store: its intent committed before it is sent, its outcome after (RULES 7.4).

An intent without outcome is a write of which nobody knows whether it happened: the thing is read back before
anything else is written about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, func, insert, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import IntentError
from mc_pipeline.ledger.intents import IntentId, Outcome
from mc_pipeline.ledger.leases import Fence, require
from mc_pipeline.ledger.projection import OUTCOMES
from mc_pipeline.ledger.schema import store_intent
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.ledger.store_records import (
    TABLES,
    StoreRecord,
    StoreRecords,
    after_outcome,
    as_read,
    digest,
    with_facts_of,
)
from mc_pipeline.vocabulary import OutcomeKind, StoreOperation

if TYPE_CHECKING:
    import pandas as pd

OPERATIONS: frozenset[str] = frozenset(StoreOperation)


@dataclass(frozen=True, kw_only=True)
class StoreIntent:
    """One write that is about to be sent to one thing in a store.

    kind, object_id   product, customer or order, and its id in the store; part_id: of its line or variant
    operation         create | update | delete | add_line | change_line | remove_line | put_variant
    after             how the thing is once the write is accepted (canonical JSON); None for a deletion
    wanted            how it should be after all writes to it: what is not sent again if Mailchimp refuses it
    attribution       of an order that is deleted: what Mailchimp attributes it to (canonical JSON)
    order_id, month, customer_id, rate   of an order; see ``StoreRecord``
    """

    store_id: str
    kind: str
    object_id: str
    operation: StoreOperation
    after: str | None
    wanted: str | None = None
    part_id: str | None = None
    attribution: str | None = None
    order_id: int | None = None
    month: str | None = None
    customer_id: str | None = None
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class AboutOrder:
    """What no store says of an order: its id in Odoo, its month (YYYY-MM), the rate it is converted at."""

    order_id: int
    month: str
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class OpenStoreIntent:
    """A write whose outcome nobody knows."""

    id: IntentId
    store_id: str
    kind: str
    object_id: str
    operation: StoreOperation
    recorded_at: datetime
    batch_id: str | None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.store_id, self.object_id


class StoreIntents:
    """The writes of all companies to their stores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, company: str, fence: Fence, run_id: str, intents: Sequence[StoreIntent]
    ) -> list[IntentId]:
        """Commit intents before their request is sent, and return their ids in the order given.

        Raises ``LeaseLostError`` when the fencing number is stale: nothing is recorded, nothing may be sent.
        """
        now = self._database.now()
        common = {"company": company, "fence": fence, "run_id": run_id, "recorded_at": now}
        rows = [{**common, **_row(intent)} for intent in intents]
        statement = insert(store_intent).returning(store_intent.c.id, sort_by_parameter_order=True)
        ids: list[IntentId] = []
        with self._database.write() as connection:
            require(connection, company, fence, now)
            for chunk in chunks(rows):
                ids.extend(connection.execute(statement, chunk).scalars())
        return ids

    def mark_submitted(self, company: str, fence: Fence, ids: Sequence[IntentId], batch_id: str) -> None:
        """Remember in which batch of Mailchimp's these were sent."""
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            for chunk in chunks(ids):
                connection.execute(
                    update(store_intent)
                    .where(store_intent.c.id.in_(chunk))
                    .values(submitted_at=now, batch_id=batch_id)
                )

    def settle(self, company: str, fence: Fence, outcomes: Sequence[tuple[IntentId, Outcome]]) -> None:
        """Write outcomes and what follows for what the stores hold, in one transaction.

        An outcome ``unknown`` leaves the intent open. Raises ``LeaseLostError`` when the fencing number is
        stale, ``IntentError`` for an intent that is settled otherwise already.
        """
        with self._database.write() as connection:
            now = self._database.now()
            require(connection, company, fence, now)
            rows = _load(connection, [number for number, _ in outcomes])
            news = [(number, outcome) for number, outcome in outcomes if _is_news(rows[number], outcome)]
            records = StoreRecords(connection)
            records.load({_key(rows[number]) for number, _ in news})
            for number, outcome in news:
                row = rows[number]
                before = records.get(row)
                after = after_outcome(before, row, outcome.outcome, outcome.detail or outcome.title, now)
                if after != before:
                    records.put(after)
            records.save()
            _settle_rows(connection, news, now)

    def settle_as_read(
        self,
        company: str,
        fence: Fence,
        found: Mapping[tuple[str, str, str], tuple[str | None, str | None]],
        about: Mapping[tuple[str, str, str], AboutOrder | None] = MappingProxyType({}),
    ) -> None:
        """Take over how things are in Mailchimp, and settle the open intents about them.

        ``found``: (kind, store, id) to the thing's document and, of an order, its customer; (None, None):
        it is not there. What is not seen to be applied counts as not sent. ``about``: what is taken over
        though the ledger does not know it, and what it should know of an order; None for a product.
        """
        with self._database.write() as connection:
            now = self._database.now()
            require(connection, company, fence, now)
            records = StoreRecords(connection)
            records.load(found)
            outcomes = []
            for row in map(_plain, connection.execute(_open(company)).mappings().all()):
                if _key(row) not in found:
                    continue
                document, _ = found[_key(row)]
                applied = (
                    document is None
                    if row["operation"] == StoreOperation.DELETE
                    else document == row["after_json"]
                )
                before = records.get(row)
                after = (
                    after_outcome(before, row, "applied", "", now) if applied else with_facts_of(before, row)
                )
                records.put(after)
                outcomes.append(
                    (
                        row["id"],
                        Outcome(
                            outcome=OutcomeKind.APPLIED if applied else OutcomeKind.NOT_SENT,
                            detail="read back: nobody knew what became of it",
                        ),
                    )
                )
            for key, (document, customer_id) in found.items():
                if key not in records and key in about and document is not None:
                    records.put(_adopted(company, key, about[key]))
                if key in records:
                    records.put(as_read(records[key], document, customer_id))
            records.save()
            _settle_rows(connection, outcomes, now)

    def open(self, company: str) -> list[OpenStoreIntent]:
        """Writes whose outcome nobody knows, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_open(company)).mappings().all()
        names = [each.name for each in fields(OpenStoreIntent)]
        return [OpenStoreIntent(**{name: row[name] for name in names}) for row in rows]

    def progress(self, company: str, run_id: str) -> "pd.DataFrame":
        """A run's writes by batch.

        Columns: month (empty for products and customers), kind, batch_id (empty: sent directly), outcome (or
        open), writes.
        """
        import pandas as pd

        group = [store_intent.c[name] for name in ("month", "kind", "batch_id", "outcome")]
        query = (
            select(*group, func.count().label("writes"))
            .where(store_intent.c.company == company, store_intent.c.run_id == run_id)
            .group_by(*group)
            .order_by(func.min(store_intent.c.id))
        )
        with self._database.read() as connection:
            result = connection.execute(query)
            found = pd.DataFrame(result.all(), columns=list(result.keys()))
        return found.assign(
            month=found["month"].astype(object).fillna(""),
            batch_id=found["batch_id"].astype(object).fillna(""),
            outcome=found["outcome"].astype(object).fillna("open"),
        )


def _adopted(company: str, key: tuple[str, str, str], about: AboutOrder | None) -> StoreRecord:
    kind, store_id, object_id = key
    record = StoreRecord(kind=kind, store_id=store_id, object_id=object_id, company=company)
    if about is None:
        return record
    return replace(record, order_id=about.order_id, month=about.month, rate=about.rate)


def _row(intent: StoreIntent) -> dict[str, Any]:
    about = f"{intent.operation} of {intent.kind} {intent.object_id}"
    if intent.kind not in TABLES:
        raise IntentError(f"{about}: the kind is unknown; use one of {', '.join(TABLES)}")
    if intent.operation not in OPERATIONS:
        raise IntentError(f"{about}: the operation is unknown; use one of {', '.join(sorted(OPERATIONS))}")
    if not intent.store_id or not intent.object_id:
        raise IntentError(f"{about}: store_id and object_id must not be empty")
    if (intent.after is None) != (intent.operation == StoreOperation.DELETE):
        raise IntentError(f"{about}: say how it is afterwards; of a deletion alone, nothing")
    return {
        "store_id": intent.store_id,
        "kind": intent.kind,
        "object_id": intent.object_id,
        "operation": intent.operation,
        "part_id": intent.part_id,
        "order_id": intent.order_id,
        "month": intent.month,
        "customer_id": intent.customer_id,
        "rate": intent.rate,
        "wanted_digest": None if intent.wanted is None else digest(intent.wanted),
        "after_json": intent.after,
        "attribution_json": intent.attribution,
    }


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["kind"], row["store_id"], row["object_id"]


def _open(company: str) -> Select[Any]:
    return (
        select(store_intent)
        .where(store_intent.c.company == company, store_intent.c.settled_at.is_(None))
        .order_by(store_intent.c.id)
    )


def _plain(row: RowMapping) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def _load(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for chunk in chunks(ids):
        query = select(store_intent).where(store_intent.c.id.in_(chunk))
        rows.update((row["id"], _plain(row)) for row in connection.execute(query).mappings())
    missing = [number for number in ids if number not in rows]
    if missing:
        raise IntentError(f"no store intent {missing[0]} is recorded: record an intent before settling it")
    return rows


def _is_news(row: Mapping[str, Any], outcome: Outcome) -> bool:
    about = f"store intent {row['id']} ({row['operation']} of {row['kind']} {row['object_id']})"
    if outcome.outcome not in OUTCOMES:
        raise IntentError(f"{about}: outcome {outcome.outcome!r} is not one of {', '.join(sorted(OUTCOMES))}")
    if row["settled_at"] is None:
        return True
    if row["outcome"] != outcome.outcome:
        raise IntentError(f"{about} is settled as {row['outcome']}; it cannot become {outcome.outcome}")
    return False


def _settle_rows(connection: Connection, outcomes: Sequence[tuple[IntentId, Outcome]], now: datetime) -> None:
    # What a settled write left behind is in the record: the journal of writes does not keep it twice.
    values = [
        {
            "intent": number,
            "outcome": outcome.outcome,
            "detail": outcome.detail or outcome.title,
            "settled_at": now,
        }
        for number, outcome in outcomes
        if outcome.outcome != OutcomeKind.UNKNOWN
    ]
    if values:
        connection.execute(
            update(store_intent)
            .where(store_intent.c.id == bindparam("intent"))
            .values(
                outcome=bindparam("outcome"),
                detail=bindparam("detail"),
                settled_at=bindparam("settled_at"),
                after_json=None,
            ),
            values,
        )
    unknown = [number for number, outcome in outcomes if outcome.outcome == OutcomeKind.UNKNOWN]
    for chunk in chunks(unknown):
        connection.execute(
            update(store_intent).where(store_intent.c.id.in_(chunk)).values(outcome=OutcomeKind.UNKNOWN)
        )
