"""What Mailchimp attributes orders to, which they lose when they leave their store (rule 9.2)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mc_pipeline.domain.store.documents import Document, attribution_of, lost_attribution
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.mailchimp.store_reading import get_order
from mc_pipeline.push.store_settling import ObjectKey
from mc_pipeline.push.store_writes import StoreChange, StoreResult
from mc_pipeline.push.writer import MailchimpWriter


def attributions_of(writer: MailchimpWriter, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Document]:
    """Ask Mailchimp what it attributes these orders (kind, store, id) to.

    Raises:
        MailchimpError: one of them could not be read.
    """
    client = writer.client

    def ask(key: ObjectKey) -> tuple[ObjectKey, Document]:
        return key, attribution_of(get_order(client, key[1], key[2]) or {})

    return dict(run_concurrently((partial(ask, key) for key in keys), writer.workers, client.stop))


def with_loss(result: StoreResult, change: StoreChange) -> StoreResult:
    """The result of taking an order out, with what its campaign loses by it."""
    lost = lost_attribution(change.attribution) if result.is_done else ""
    return replace(result, detail="; ".join(filter(None, [result.detail, lost]))) if lost else result
