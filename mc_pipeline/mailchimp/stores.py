"""Stores: found or made, bound to one audience permanently, and taken out of their first load.

Mailchimp API: ``list_id`` never changes, another one is ignored without a word. While ``is_syncing`` is true,
no automation of the store runs, so no mail goes out about what is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpNotFoundError, MailchimpUnknownOutcomeError

_FIELDS = ("id", "list_id", "name", "currency_code", "is_syncing")


@dataclass(frozen=True)
class MailchimpStore:
    """A store as Mailchimp has it."""

    store_id: str
    list_id: str
    currency: str
    is_syncing: bool


class StoreMismatchError(MailchimpError):
    """The store is there, and is another one than the settings say."""

    advice = (
        "Give the store in companies.yaml an id of its own that no store has yet, or correct its list_id or "
        "currency: a store never leaves its audience."
    )


def get_store(client: MailchimpClient, store_id: str) -> MailchimpStore | None:
    """Read a store; None when the account has none of this id."""
    try:
        answer = client.ecommerce.get_store(store_id, fields=list(_FIELDS))
    except MailchimpNotFoundError:
        return None
    return _store(answer, store_id)


def ensure_store(
    client: MailchimpClient, store_id: str, *, list_id: str, name: str, currency: str
) -> tuple[MailchimpStore, bool]:
    """Return the store and whether it was made just now, as syncing.

    Raises:
        StoreMismatchError: there is one of this id, for another audience or in another currency.
    """
    found = get_store(client, store_id)
    if found is not None:
        _require_same(found, list_id, currency)
        return found, False
    body = {
        "id": store_id,
        "list_id": list_id,
        "name": name,
        "currency_code": currency,
        "platform": "Odoo",
        "is_syncing": True,
    }
    try:
        made = _store(client.ecommerce.add_store(body), store_id)
    except MailchimpUnknownOutcomeError:
        after = get_store(client, store_id)
        if after is None:
            raise
        made = after
    _require_same(made, list_id, currency)
    return made, True


def end_syncing(client: MailchimpClient, store_id: str) -> None:
    """Say that the first load of a store is over: from now on its automations run."""
    client.ecommerce.update_store(store_id, {"is_syncing": False})


def _store(answer: Any, store_id: str) -> MailchimpStore:
    path = f"/ecommerce/stores/{store_id}"
    details: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    return MailchimpStore(
        store_id=require(answer, "id", str, path=path),
        list_id=require(answer, "list_id", str, path=path),
        currency=require(answer, "currency_code", str, path=path),
        is_syncing=bool(details.get("is_syncing")),
    )


def _require_same(found: MailchimpStore, list_id: str, currency: str) -> None:
    differs = [
        f"its {what} is {there}, companies.yaml says {wanted}"
        for what, there, wanted in (
            ("audience", found.list_id, list_id),
            ("currency", found.currency, currency),
        )
        if there != wanted
    ]
    if differs:
        raise StoreMismatchError(
            title="Store Mismatch",
            detail=f"store {found.store_id}: {'; '.join(differs)}",
            method="GET",
            path=f"/ecommerce/stores/{found.store_id}",
        )
