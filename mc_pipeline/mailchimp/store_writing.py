"""Requests that write customers, products, orders and lines of a store, single or as batch operations.

One description serves both: an :class:`~mc_pipeline.mailchimp.batches.Operation` goes in a batch, or at
once by :func:`send`. Mailchimp API: an order has no upsert; PATCH on an order adds lines and removes none.
"""

from collections.abc import Mapping
from typing import Any, assert_never

from mc_pipeline.mailchimp.batches import Operation
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.vocabulary import StoreOperation

_COLLECTIONS = {"customer": "customers", "product": "products", "order": "orders"}
_METHODS: Mapping[str, str] = {
    StoreOperation.CREATE: "POST",
    StoreOperation.UPDATE: "PATCH",
    StoreOperation.DELETE: "DELETE",
    StoreOperation.ADD_LINE: "POST",
    StoreOperation.CHANGE_LINE: "PATCH",
    StoreOperation.REMOVE_LINE: "DELETE",
    StoreOperation.PUT_VARIANT: "PUT",
}


def store_operation(
    operation_id: str,
    *,
    store_id: str,
    kind: str,
    object_id: str,
    operation: str,
    part: str | None = None,
    body: Mapping[str, Any] | None = None,
) -> Operation:
    """Describe one write. ``kind``: customer, product or order; ``part``: the line or variant it is about.

    ``operation``: create, update, delete; add_line, change_line, remove_line (of an order); put_variant.
    """
    for value in (store_id, object_id, part):
        if value is not None and (not value or "/" in value):
            raise ValueError(f"{value!r} is no id: ids are not empty and contain no '/'")
    collection = f"/ecommerce/stores/{store_id}/{_COLLECTIONS[kind]}"
    match StoreOperation(operation):
        case StoreOperation.CREATE:
            path = collection
        case StoreOperation.UPDATE | StoreOperation.DELETE:
            path = f"{collection}/{object_id}"
        case StoreOperation.ADD_LINE:
            path = f"{collection}/{object_id}/lines"
        case StoreOperation.CHANGE_LINE | StoreOperation.REMOVE_LINE:
            path = f"{collection}/{object_id}/lines/{part}"
        case StoreOperation.PUT_VARIANT:
            path = f"{collection}/{object_id}/variants/{part}"
        case never:
            assert_never(never)
    return Operation(operation_id, _METHODS[operation], path, body=body)


def send(client: MailchimpClient, operation: Operation) -> None:
    """Send one write at once.

    Raises:
        MailchimpError: it was refused, or nobody knows.
    """
    client.api_client.call_api(
        operation.path,
        operation.method,
        header_params={"Accept": "application/json", "Content-Type": "application/json"},
        body=operation.body,
    )


def customer_body(customer_id: str, email: str) -> dict[str, Any]:
    """A customer: who it is, and nothing about consent but that none is given here."""
    return {"id": customer_id, "email_address": email, "opt_in_status": False}
