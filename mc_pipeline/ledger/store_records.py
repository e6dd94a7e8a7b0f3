"""What each store holds by our own writes, and what an outcome makes of it: records and their evolution.

A record is one product, customer or order of one store. ``present`` and ``sent_json`` say how Mailchimp has
it, as far as it answered; nothing here asks Mailchimp or a clock.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select, tuple_

from mc_pipeline.ledger.projection import DEFERRALS
from mc_pipeline.ledger.schema import store_customer, store_order, store_product
from mc_pipeline.ledger.statements import chunks, insert_or_replace
from mc_pipeline.vocabulary import DONE, OutcomeKind, StoreOperation

TABLES: Mapping[str, Table] = {"product": store_product, "customer": store_customer, "order": store_order}
"""Kind of thing to the table of its records."""

TRIED_AGAIN_AFTER = timedelta(days=1)
"""What Mailchimp refused is tried again as often as this, though it did not change: the cause may be
elsewhere, in the account for instance."""

Key = tuple[str, str, str]  # (kind, store_id, object_id)


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """One thing in one store.

    object_id          its id in the store
    present            Mailchimp has it
    sent_json          how Mailchimp has it: canonical JSON of the document that was accepted last
    refused_digest     of the document that Mailchimp refused last; refused_detail: in its words
    retry_at           when it is sent again unchanged, UTC
    order_id, month, customer_id    of an order: id in Odoo, its month (YYYY-MM), the customer it was sent for
    rate               of an order in another currency: its currency per unit of the store's, fixed
                       permanently
    attribution_json   of an order that was taken out: what Mailchimp attributed it to until then, and no
                       longer does; {} where to nothing
    email, person, generation    of a customer: address, a name of ours for the person, how many addresses
                       the person had in our stores by then
    """

    kind: str
    store_id: str
    object_id: str
    company: str
    present: bool = False
    sent_json: str | None = None
    refused_digest: str | None = None
    refused_detail: str | None = None
    refused_attempts: int = 0
    retry_at: datetime | None = None
    order_id: int | None = None
    month: str | None = None
    customer_id: str | None = None
    rate: float | None = None
    attribution_json: str | None = None
    email: str | None = None
    person: str | None = None
    generation: int | None = None

    @property
    def key(self) -> Key:
        return self.kind, self.store_id, self.object_id

    def is_refused(self, wanted: str, now: datetime) -> bool:
        """Whether Mailchimp refused just this document, and it is not yet time to try it again."""
        return self.was_refused(wanted) and (self.retry_at is None or self.retry_at > now)

    def was_refused(self, wanted: str) -> bool:
        """Whether Mailchimp refused just this document, however long ago."""
        return self.refused_digest == digest(wanted)

    def __repr__(self) -> str:
        return f"StoreRecord({self.kind} {self.object_id} in {self.store_id}, present={self.present})"


def digest(document: str) -> str:
    """The identity of a document: SHA-256 in hex."""
    return hashlib.sha256(document.encode()).hexdigest()


NOT_REFUSED: Mapping[str, Any] = {
    "refused_digest": None,
    "refused_detail": None,
    "refused_attempts": 0,
    "retry_at": None,
}


def after_outcome(
    record: StoreRecord, write: Mapping[str, Any], outcome: str, detail: str, at: datetime
) -> StoreRecord:
    """The record after a write to it; ``write`` is a row of ``ledger_store_intent``."""
    if outcome in DONE:
        return replace(_accepted(record, write), **NOT_REFUSED)
    if outcome in (OutcomeKind.REJECTED, OutcomeKind.DEFERRED):
        again = record.refused_digest == write["wanted_digest"]
        attempts = record.refused_attempts + 1 if again else 1
        is_soon = outcome == OutcomeKind.DEFERRED and attempts <= len(DEFERRALS)
        waits = DEFERRALS[attempts - 1] if is_soon else TRIED_AGAIN_AFTER
        return replace(
            record,
            **_about(record, write),
            refused_digest=write["wanted_digest"],
            refused_detail=detail,
            refused_attempts=attempts,
            retry_at=at + waits,
        )
    return record


def as_read(record: StoreRecord, document: str | None, customer_id: str | None) -> StoreRecord:
    """The record after Mailchimp was asked for the thing; ``document`` None: it is not there."""
    if document is None:
        return replace(record, present=False, sent_json=None)
    return replace(record, present=True, sent_json=document, customer_id=customer_id)


def _accepted(record: StoreRecord, write: Mapping[str, Any]) -> StoreRecord:
    if write["operation"] == StoreOperation.DELETE:
        # An order that comes back and leaves again is attributed to nothing: what it lost before stays known.
        lost = write["attribution_json"]
        if lost == "{}" and record.attribution_json:
            lost = record.attribution_json
        return replace(record, present=False, sent_json=None, attribution_json=lost)
    return replace(record, **_about(record, write), present=True, sent_json=write["after_json"])


def with_facts_of(record: StoreRecord, write: Mapping[str, Any]) -> StoreRecord:
    """The record with what a write says of the order, whatever became of it."""
    return replace(record, **_about(record, write))


def _about(record: StoreRecord, write: Mapping[str, Any]) -> dict[str, Any]:
    """What a write says about an order besides its document; a rate that is fixed stays."""
    if record.kind != "order":
        return {}
    return {
        "order_id": write["order_id"],
        "month": write["month"],
        "customer_id": write["customer_id"],
        "rate": record.rate if record.rate is not None else write["rate"],
    }


def of_row(kind: str, row: RowMapping) -> StoreRecord:
    """The record of one row of its table."""
    return StoreRecord(kind=kind, **row)


class StoreRecords:
    """The records that one transaction works on: read together, changed in memory, written together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._records: dict[Key, StoreRecord] = {}
        self._changed: set[Key] = set()

    def load(self, keys: Iterable[Key]) -> None:
        """Read these records, where the ledger has them."""
        wanted: dict[str, list[tuple[str, str]]] = {}
        for kind, store_id, object_id in keys:
            wanted.setdefault(kind, []).append((store_id, object_id))
        for kind, ids in wanted.items():
            table = TABLES[kind]
            for chunk in chunks(ids):
                query = select(table).where(tuple_(table.c.store_id, table.c.object_id).in_(chunk))
                for row in self._connection.execute(query).mappings():
                    record = of_row(kind, row)
                    self._records[record.key] = record

    def get(self, write: Mapping[str, Any]) -> StoreRecord:
        """The record that a write is about; an empty one where there is none yet."""
        key = write["kind"], write["store_id"], write["object_id"]
        return self._records.get(key) or StoreRecord(
            kind=key[0], store_id=key[1], object_id=key[2], company=write["company"]
        )

    def __contains__(self, key: Key) -> bool:
        return key in self._records

    def __getitem__(self, key: Key) -> StoreRecord:
        return self._records[key]

    def put(self, record: StoreRecord) -> None:
        """Remember a changed record."""
        self._records[record.key] = record
        self._changed.add(record.key)

    def save(self) -> None:
        """Write what changed."""
        for kind, table in TABLES.items():
            columns = [each.name for each in fields(StoreRecord) if each.name in table.c]
            changed = [self._records[key] for key in sorted(self._changed) if key[0] == kind]
            for chunk in chunks(changed):
                rows = [{name: getattr(record, name) for name in columns} for record in chunk]
                insert_or_replace(self._connection, table, rows)
