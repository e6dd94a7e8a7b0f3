"""Settles what an interrupted run left open in the stores: its batches first, the rest by reading back."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from mc_pipeline.domain.store.documents import order_document_of, product_document_of, text_of
from mc_pipeline.ledger import AboutOrder, OpenStoreIntent, Outcome
from mc_pipeline.mailchimp.batches import PollPolicy
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.mailchimp.store_reading import get_customer, get_order, get_product
from mc_pipeline.push.batching import PATIENCE, Results, interrupted_batches
from mc_pipeline.push.store_writes import STORE_PREFIX, judge_result
from mc_pipeline.push.writer import MailchimpWriter

ObjectKey = tuple[str, str, str]
Found = tuple[str | None, str | None]


@dataclass(frozen=True)
class Settled:
    """How many open writes were settled, and of which stores some could not be asked about, by store id."""

    count: int = 0
    failures: Mapping[str, MailchimpError] = field(default_factory=dict)


def settle_store_writes(writer: MailchimpWriter, *, patience: PollPolicy = PATIENCE) -> Settled:
    """Settle the open writes of earlier runs, each store separately.

    A batch that does not end within ``patience`` holds nothing up, nor does a store that cannot be read:
    their intents stay open, and while they do, nothing is written about the things they are about.
    """
    intents = writer.ledger.store_intents
    before = intents.open(writer.company)
    if not before:
        return Settled()
    nameless = [intent.recorded_at for intent in before if not intent.batch_id]
    known = {intent.batch_id for intent in before if intent.batch_id}
    under_way: set[int] = set()
    failures: dict[str, MailchimpError] = {}
    try:
        for batch_id, results in interrupted_batches(
            writer.client, known, min(nameless, default=None), patience
        ):
            if results is None:
                under_way |= {intent.id for intent in before if intent.batch_id in (batch_id, None)}
            else:
                _settle_from(results, before, writer)
    except MailchimpError as error:
        # Nobody knows which of these writes are still to come.
        failures = dict.fromkeys((intent.store_id for intent in before), error)
        return Settled(len(before) - len(intents.open(writer.company)), failures)
    still_open = intents.open(writer.company)
    waiting = {intent.key for intent in still_open if intent.id in under_way}
    for store_id in sorted({intent.store_id for intent in still_open}):
        keys = {intent.key for intent in still_open if intent.store_id == store_id} - waiting
        try:
            read_back(writer, keys)
        except MailchimpError as error:
            failures[store_id] = error
    return Settled(len(before) - len(intents.open(writer.company)), failures)


def read_back(
    writer: MailchimpWriter,
    keys: Collection[ObjectKey],
    *,
    about: Mapping[ObjectKey, AboutOrder | None] = MappingProxyType({}),
) -> None:
    """Ask Mailchimp how these things are (kind, store, id), and settle the open writes about them by that.

    ``about``: what is taken over though the ledger does not know it (``StoreIntents.settle_as_read``).

    Raises:
        MailchimpError: one of them could not be read.
    """
    if not keys:
        return
    found: dict[ObjectKey, Found] = {}
    run_concurrently(
        (partial(_read, writer.client, key) for key in sorted(keys)),
        writer.workers,
        writer.client.stop,
        on_result=lambda read: found.update([read]),
    )
    writer.lease.check()
    writer.ledger.store_intents.settle_as_read(writer.company, writer.fence, found, about)


def _read(client: MailchimpClient, key: ObjectKey) -> tuple[ObjectKey, Found]:
    kind, store_id, object_id = key
    answer: Mapping[str, Any] | None
    match kind:
        case "order":
            answer = get_order(client, store_id, object_id)
            if answer is None:
                return key, (None, None)
            document = order_document_of(answer)
            return key, (text_of(document), document["customer"])
        case "product":
            answer = get_product(client, store_id, object_id)
            return key, (None if answer is None else text_of(product_document_of(answer)), None)
        case "customer":
            return key, (None if get_customer(client, store_id, object_id) is None else "{}", None)
    raise ValueError(f"{kind!r} is nothing that a store holds")


def _settle_from(
    results: Results, open_intents: Collection[OpenStoreIntent], writer: MailchimpWriter
) -> None:
    outcomes = []
    for intent in open_intents:
        result = results.get(f"{STORE_PREFIX}{intent.id}")
        if result is not None:
            judged = judge_result(result, intent.kind, intent.operation)
            outcomes.append((intent.id, Outcome(outcome=judged.outcome, detail=judged.detail)))
    writer.ledger.store_intents.settle(writer.company, writer.fence, outcomes)
