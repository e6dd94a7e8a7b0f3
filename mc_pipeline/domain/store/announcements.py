"""Which orders Mailchimp may announce to their customers, where a store's settings ask for it (rule 9.2)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from mc_pipeline.domain.store.documents import Document

NOTIFIED_WITHIN = timedelta(days=2)
"""Only orders younger than this are ever announced to their customers (rule 9.2)."""


class KnownOrder(Protocol):
    """An order as the ledger knows it of one store."""

    @property
    def present(self) -> bool: ...
    @property
    def sent_json(self) -> str | None: ...
    @property
    def attribution_json(self) -> str | None: ...


def announcement(
    wanted: Document, processed_at: datetime, now: datetime, *, known: Iterable[KnownOrder], announces: bool
) -> Mapping[str, Any]:
    """What the creation of an order says that no later write does: that it is new.

    Args:
        wanted: the order as its store should hold it.
        processed_at: when it was ordered.
        now: the present moment.
        known: what the ledger knows of the order, of whatever store: what one ever held is not new.
        announces: the store's settings ask for it, and its first load is over.
    """
    is_new = not any(each.present or each.sent_json or each.attribution_json for each in known)
    if is_new and announces and is_announced(wanted, processed_at, now):
        return {"financial_status": "pending"}
    return {}


def is_announced(wanted: Document, processed_at: datetime, now: datetime) -> bool:
    """Whether a new order may be announced to its customer, where the store's settings ask for it."""
    return "cancelled_at_foreign" not in wanted and now - processed_at < NOTIFIED_WITHIN
