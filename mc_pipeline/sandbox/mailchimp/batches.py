"""Batch operations: submitted now, carried out later and in any order, results in a gzipped tar.

Carrying out is the API's own business: :func:`run` is given the function that answers one operation.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

from mc_pipeline.sandbox.mailchimp.problems import ApiError, invalid, not_found, not_validated
from mc_pipeline.sandbox.mailchimp.state import Batch, MailchimpState

MAXIMUM_UNFINISHED = 500
RESULT_LINK_SECONDS = 600
RESULTS_KEPT_SECONDS = 7 * 24 * 3600
OPERATIONS_PER_FILE = 200
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Answer = Callable[[Batch, Mapping[str, Any]], tuple[int, str]]
"""Carries out one operation: its status code and its answer as JSON text, "" for none."""


def submit(state: MailchimpState, account: str, body: Mapping[str, Any]) -> Batch:
    """Take operations for later; refuses one batch too many and operations without method or path."""
    unfinished = [
        batch for batch in state.batches.values() if batch.account == account and batch.status != "finished"
    ]
    if len(unfinished) >= MAXIMUM_UNFINISHED:
        raise ApiError(
            429, "Too Many Requests", f"You have more than {MAXIMUM_UNFINISHED} pending batch operations."
        )
    operations = body["operations"]
    if not operations:
        raise not_validated(("operations", "This collection should contain 1 element or more."))
    for number, operation in enumerate(operations):
        if operation["method"] not in METHODS:
            raise not_validated((f"operations.{number}.method", f"Use one of {', '.join(METHODS)}."))
        if not operation["path"].startswith("/"):
            raise invalid("The path of an operation starts with a slash.", (f"operations.{number}.path", ""))
    batch = Batch(state.next_id(), account, state.now(), list(operations))
    batch.order = list(range(len(operations)))
    random.Random(batch.id).shuffle(batch.order)
    state.batches[batch.id] = batch
    return batch


def batch_of(state: MailchimpState, account: str, batch_id: str) -> Batch:
    """A batch of this account; 404 once it is too old."""
    batch = state.batches.get(batch_id)
    if batch is None or batch.account != account:
        raise not_found()
    if batch.completed_at is not None and state.now() - batch.completed_at > RESULTS_KEPT_SECONDS:
        del state.batches[batch_id]
        raise not_found()
    return batch


def next_unfinished(state: MailchimpState) -> Batch | None:
    """The batch whose turn it is: one at a time per account, oldest first."""
    return next((batch for batch in state.batches.values() if batch.status != "finished"), None)


def run(state: MailchimpState, batch: Batch, answer: Answer, at_most: int) -> None:
    """Go one step on with a batch: to its next stage, or through some of its operations."""
    if batch.status == "pending":
        batch.status = "preprocessing"
    elif batch.status == "preprocessing":
        batch.status = "started"
    elif batch.status == "started":
        for index in batch.order[len(batch.results) : len(batch.results) + at_most]:
            operation = batch.operations[index]
            status, response = answer(batch, operation)
            batch.errored += status >= 400
            batch.results.append(
                {
                    "status_code": status,
                    "operation_id": operation.get("operation_id"),
                    "response": response,
                }
            )
        if len(batch.results) == len(batch.operations):
            batch.status = "finalizing"
    elif batch.status == "finalizing":
        batch.archive = _packed(batch)
        batch.operations, batch.results = [], []
        batch.completed_at = state.now()
        batch.status = "finished"


def signed_link(state: MailchimpState, batch: Batch, base_url: str) -> str:
    """A link to the results that works for ten minutes and for nobody who changes a character of it."""
    if batch.status != "finished" or batch.results_lost:
        return ""
    expires = state.now() + RESULT_LINK_SECONDS
    secret = state.next_id(24)
    signature = f"{secret[:10]}%2B{secret[10:20]}%2F{secret[20:]}%3D"
    query = f"Expires={expires}&Signature={signature}"
    batch.signatures[query] = expires
    return f"{base_url}/batch-results/{batch.id}-response.tar.gz?{query}"


def results_by_link(state: MailchimpState, batch_id: str, raw_query: str) -> bytes | None:
    """The archive for an unchanged link that is still good, None otherwise."""
    batch = state.batches.get(batch_id)
    if batch is None or batch.results_lost or batch.signatures.get(raw_query, 0) < state.now():
        return None
    return batch.archive


def _packed(batch: Batch) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folder = tarfile.TarInfo("./")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for start in range(0, len(batch.results), OPERATIONS_PER_FILE):
            content = json.dumps(batch.results[start : start + OPERATIONS_PER_FILE]).encode()
            entry = tarfile.TarInfo(f"./{batch.id}-{start // OPERATIONS_PER_FILE}.json")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), compresslevel=1)
