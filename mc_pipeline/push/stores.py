"""Opens the stores of a company before anything is written to them, and ends their first load."""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.stores import end_syncing, ensure_store, get_store
from mc_pipeline.push.store_adoption import adopt_store
from mc_pipeline.push.writer import MailchimpWriter

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """A store as the settings name it, with its audience (name in the settings, and Mailchimp's id)."""

    store_id: str
    name: str
    currency: str
    audience: str
    list_id: str
    order_notifications: bool = False


def open_stores(
    writer: MailchimpWriter,
    stores: Iterable[Store],
    *,
    is_erased: Callable[[str], bool] = lambda email: False,
) -> dict[str, MailchimpError]:
    """Make the stores that are missing, and check the others, each separately.

    A store that somebody deleted in Mailchimp is made again, empty, and loaded from the start. One that is
    there and that the ledger does not know is taken over with what it holds (``store_adoption``); of people
    who were erased nothing is kept (``is_erased``, of an address).

    Returns:
        Why a store cannot be used, by its id: StoreMismatchError (bound to another audience, or in another
        currency), or what Mailchimp answered.
    """
    failures = {}
    for store in stores:
        writer.lease.check()
        try:
            _open_store(writer, store, is_erased)
        except MailchimpError as error:
            failures[store.store_id] = error
    return failures


def stores_there(client: MailchimpClient, store_ids: Iterable[str]) -> set[str]:
    """Return which of these stores the account has; also those of which nobody knows."""
    found = set()
    for store_id in store_ids:
        try:
            is_there = get_store(client, store_id) is not None
        except MailchimpError:
            is_there = True
        if is_there:
            found.add(store_id)
    return found


def _open_store(writer: MailchimpWriter, store: Store, is_erased: Callable[[str], bool]) -> None:
    known = writer.ledger.stores.get(store.store_id)
    found, is_new = ensure_store(
        writer.client, store.store_id, list_id=store.list_id, name=store.name, currency=store.currency
    )
    if known is None:
        if not is_new:
            adopt_store(writer, store.store_id, is_erased)
        writer.ledger.stores.add(
            writer.company,
            writer.fence,
            store.store_id,
            list_id=store.list_id,
            currency=store.currency,
            loaded=not found.is_syncing,
        )
    elif is_new:
        _log.warning("store %s was deleted in Mailchimp: it is made again and loaded anew", store.store_id)
        writer.ledger.stores.mark_gone(writer.company, writer.fence, store.store_id)


def forget_deleted_stores(writer: MailchimpWriter, store_ids: Iterable[str]) -> dict[str, MailchimpError]:
    """Forget what these stores hold, where Mailchimp has no such store any more; return which failed."""
    failures = {}
    for store_id in store_ids:
        writer.lease.check()
        try:
            is_gone = (
                writer.ledger.stores.get(store_id) is not None and get_store(writer.client, store_id) is None
            )
        except MailchimpError as error:
            failures[store_id] = error
            continue
        if is_gone:
            _log.warning("store %s was deleted in Mailchimp with its audience", store_id)
            writer.ledger.stores.mark_gone(writer.company, writer.fence, store_id)
    return failures


def end_first_loads(
    writer: MailchimpWriter,
    stores: Collection[Store],
    unfinished: Collection[str],
) -> tuple[list[str], dict[str, MailchimpError]]:
    """Take the stores out of their first load, but for those ``unfinished`` (ids).

    Returns whose first load is over, and what Mailchimp answered where it could not be said, by store id.

    A store waits for its audience: while that is not loaded, most of its people are not members yet, and
    years of their orders are still to come.
    """
    ended: list[str] = []
    failures: dict[str, MailchimpError] = {}
    loading = writer.ledger.plans.in_first_load(writer.company, {store.list_id for store in stores})
    for store in stores:
        state = writer.ledger.stores.get(store.store_id)
        if state is None or state.loaded_at is not None or store.store_id in unfinished:
            continue
        if store.list_id in loading:
            continue
        try:
            end_syncing(writer.client, store.store_id)
        except MailchimpError as error:
            failures[store.store_id] = error
            continue
        writer.ledger.stores.mark_loaded(writer.company, writer.fence, store.store_id)
        ended.append(store.store_id)
    return ended, failures
