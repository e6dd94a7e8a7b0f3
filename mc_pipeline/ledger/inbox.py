"""The inbox: what Mailchimp's webhooks delivered, written down before they are answered.

The same delivery comes several times: Mailchimp repeats what was not answered in time. It is kept once.
What a delivery means is decided elsewhere (``mc_pipeline.domain``); here it only waits until it was taken.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import webhook_delivery
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_new
from mc_pipeline.masking import mask_email

# Mailchimp repeats a delivery for hours at most, and what was taken is in the history.
KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class InboxDelivery:
    """One delivery.

    source        user | admin: who did it, by the address that it came to
    email         the member's address; of ``upemail`` the former one, ``new_email`` the present one
    fired_at      Mailchimp's time, which names no timezone, read as UTC; None if it gave none
    fired_at_raw  the same as it was received
    received_at   when it was received (UTC)
    body_digest   SHA-256 of the body in hex
    id            of the row; 0 before it is kept
    """

    list_id: str
    source: str
    type: str
    email: str
    new_email: str
    contact_id: str
    action: str
    reason: str
    campaign_id: str
    fired_at: datetime | None
    fired_at_raw: str
    received_at: datetime
    body_digest: str
    id: int = 0

    @property
    def told_once_key(self) -> str:
        """One key per happening: a repeated delivery has the same one."""
        subject = self.contact_id or f"{address_key(self.email)} {address_key(self.new_email)}"
        parts = (self.list_id, self.source, self.type, self.action, self.reason, subject, self.fired_at_raw)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"InboxDelivery({self.type!r}, list_id={self.list_id!r}, email={mask_email(self.email)!r})"


class Inbox:
    """The deliveries of all audiences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, delivery: InboxDelivery) -> bool:
        """Write a delivery down; return whether it is one that was not there. Committed on return."""
        values = {
            name: getattr(delivery, name)
            for name in InboxDelivery.__dataclass_fields__
            if name not in ("id", "email", "new_email")
        }
        row = {
            **values,
            "email": address_key(delivery.email),
            "new_email": address_key(delivery.new_email),
            "told_once_key": delivery.told_once_key,
        }
        key = webhook_delivery.c.told_once_key == delivery.told_once_key
        with self._database.write() as connection:
            known = connection.execute(select(webhook_delivery.c.id).where(key)).scalar()
            insert_new(connection, webhook_delivery, [row])
        return known is None

    def waiting(self, list_ids: Collection[str]) -> list[InboxDelivery]:
        """The deliveries of these audiences that were not taken yet, in the order of their arrival."""
        columns = [webhook_delivery.c[name] for name in InboxDelivery.__dataclass_fields__]
        query = select(*columns).where(_waits(list_ids)).order_by(webhook_delivery.c.id)
        with self._database.read() as connection:
            return [InboxDelivery(**row) for row in connection.execute(query).mappings()]

    def count_waiting(self, list_ids: Collection[str]) -> int:
        """How many were not taken yet: the cheapest look of all, for a sensor."""
        query = select(func.count()).select_from(webhook_delivery).where(_waits(list_ids))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def take(self, deliveries: Sequence[InboxDelivery]) -> None:
        """Remember that these are in the history now, and forget those taken long ago."""
        now = self._database.now()
        with self._database.write() as connection:
            for chunk in chunks([delivery.id for delivery in deliveries]):
                connection.execute(
                    update(webhook_delivery).where(webhook_delivery.c.id.in_(chunk)).values(processed_at=now)
                )
            connection.execute(
                delete(webhook_delivery).where(webhook_delivery.c.processed_at < now - KEPT_FOR)
            )


def _waits(list_ids: Collection[str]) -> ColumnElement[bool]:
    return webhook_delivery.c.processed_at.is_(None) & webhook_delivery.c.list_id.in_(sorted(set(list_ids)))
