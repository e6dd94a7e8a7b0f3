"""Batch operations: many requests in one, worked off by Mailchimp later, their results as a gzipped tar.

Mailchimp API: a batch that is ``finished`` may consist of failures; operations run in any order and are
distinguished by ``operation_id`` alone; the results' address is signed, expires within minutes and is used as
it is, without the API key; results, and then the batch itself (404), disappear after some days.
"""

import json
import logging
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import requests
import urllib3.exceptions

from mc_pipeline.mailchimp.answers import error_of_document, require
from mc_pipeline.mailchimp.bodies import query_value, to_json
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import (
    BatchLostError,
    ForbiddenRequestError,
    MailchimpError,
    MailchimpNotFoundError,
)
from mc_pipeline.mailchimp.guard import MAX_BATCH_OPERATIONS
from mc_pipeline.mailchimp.members import member_tags_body, member_update_body
from mc_pipeline.mailchimp.paging import pages
from mc_pipeline.vocabulary import MemberStatus

__all__ = [
    "MAX_BATCH_OPERATIONS",
    "BatchResults",
    "BatchStatus",
    "BatchUnfinishedError",
    "Operation",
    "OperationResult",
    "PollPolicy",
    "archive_operation",
    "member_tags_operation",
    "member_update_operation",
    "results",
    "status",
    "submit",
    "submitted_since",
    "unsubscribe_operation",
    "wait",
]

_log = logging.getLogger(__name__)
_CLOCK_MARGIN = timedelta(minutes=2)
_PAGE_SIZE = 1000
_STATUS_FIELDS = (
    "id",
    "status",
    "total_operations",
    "finished_operations",
    "errored_operations",
    "submitted_at",
    "completed_at",
    "response_body_url",
)


_BROKEN_DOWNLOAD = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    tarfile.TarError,
    EOFError,
    zlib.error,
    OSError,
)


class BatchUnfinishedError(MailchimpError):
    """The batch is still being worked off; nothing is wrong and nothing is lost."""

    advice = "Ask for this batch again later, in the next run."


@dataclass(frozen=True)
class Operation:
    """One request inside a batch; ``path`` is relative to ``/3.0``, ``operation_id`` unique in the batch."""

    operation_id: str
    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class BatchStatus:
    """Where a batch is: pending, preprocessing, started, finalizing or finished.

    ``errored`` operations are among the ``finished`` ones.
    """

    batch_id: str
    status: str
    total: int
    finished: int
    errored: int

    @property
    def is_finished(self) -> bool:
        """Whether every operation was tried; says nothing about their success."""
        return self.status == "finished"


@dataclass(frozen=True)
class PollPolicy:
    """How often an unfinished batch is asked for: pauses double up to the longest, bounded in total."""

    first_wait_seconds: float = 1
    longest_wait_seconds: float = 30
    total_seconds: float = 3600


@dataclass(frozen=True)
class OperationResult:
    """The answer to one operation: its own HTTP status and its decoded body (None where empty)."""

    operation_id: str
    status_code: int
    response: dict[str, Any] | None

    @property
    def ok(self) -> bool:
        """Whether Mailchimp applied the operation."""
        return 200 <= self.status_code < 300

    @property
    def error(self) -> MailchimpError | None:
        """The same typed error that a direct call would have raised; None for a success."""
        if self.ok:
            return None
        return error_of_document(self.status_code, self.response or {}, {"method": "BATCH"})


class BatchResults(dict[str, OperationResult]):
    """Results by operation_id; ``missing`` are expected operations without a result (outcome unknown)."""

    missing: tuple[str, ...] = ()


def submit(client: MailchimpClient, operations: Sequence[Operation]) -> str:
    """Hand over 1 to 500 operations and return the batch's id.

    Raises:
        ForbiddenRequestError: too many, an operation_id twice, or an operation that is never sent.
        MailchimpUnknownOutcomeError: the batch may or may not run; read back what it was to change.
    """
    ids = [operation.operation_id for operation in operations]
    if len(set(ids)) != len(ids) or not all(ids):
        raise ForbiddenRequestError(
            title="Forbidden Request",
            detail="every operation of a batch needs an operation_id of its own: results have no other link",
            method="POST",
            path="/batches",
        )
    body = {"operations": [_document(operation) for operation in operations]}
    answer = client.batches.start(body)
    return str(require(answer, "id", str, path="/batches"))


def _document(operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "method": operation.method,
        "path": operation.path,
        "operation_id": operation.operation_id,
    }
    if operation.params:
        document["params"] = {name: query_value(value) for name, value in operation.params.items()}
    if operation.body is not None:
        document["body"] = to_json(operation.body)
    return document


def status(client: MailchimpClient, batch_id: str) -> BatchStatus:
    """Ask where a batch is.

    Raises:
        BatchLostError: Mailchimp does not know the batch any more.
    """
    return _status(_get(client, batch_id))


def wait(client: MailchimpClient, batch_id: str, poll: PollPolicy | None = None) -> BatchStatus:
    """Ask until the batch is finished.

    Raises:
        BatchUnfinishedError: it was not within ``poll.total_seconds`` (the sum of the pauses).
        BatchLostError: Mailchimp does not know the batch any more.
    """
    policy = poll or PollPolicy()
    pause, waited = policy.first_wait_seconds, 0.0
    while True:
        current = status(client, batch_id)
        if current.is_finished:
            return current
        if waited + pause > policy.total_seconds:
            raise BatchUnfinishedError(
                title="Batch Unfinished",
                detail=f"{current.finished} of {current.total} operations done after {waited:.0f} seconds",
                method="GET",
                path=f"/batches/{batch_id}",
            )
        client.pause(pause)
        waited += pause
        pause = min(pause * 2, policy.longest_wait_seconds)


def submitted_since(client: MailchimpClient, since: datetime) -> list[str]:
    """Return the ids of the account's batches submitted since a moment (UTC), a margin for clocks included.

    Finds a batch whose id was lost. Mailchimp API: a batch has no name, its operations have.
    """
    earliest = since - _CLOCK_MARGIN
    found: list[str] = []
    for page in pages(client.batches.list, "batches", fields=("id", "submitted_at"), count=_PAGE_SIZE):
        found += [
            str(batch["id"])
            for batch in page.items
            if not batch.get("submitted_at") or datetime.fromisoformat(batch["submitted_at"]) >= earliest
        ]
    return found


def results(client: MailchimpClient, batch_id: str, expected: Iterable[str] = ()) -> BatchResults:
    """Download the result of each operation of a finished batch.

    ``expected`` operation ids without a result are in ``missing`` of what is returned.

    Raises:
        BatchUnfinishedError: the batch is not finished.
        BatchLostError: the results are gone; each operation may or may not have been applied.
    """
    fullest = BatchResults()

    def download() -> BatchResults:
        # The signed address lives for minutes only: always a fresh one, right before the download.
        nonlocal fullest
        document = _get(client, batch_id)
        finished = _status(document)
        if not finished.is_finished:
            raise BatchUnfinishedError(title="Batch Unfinished", method="GET", path=f"/batches/{batch_id}")
        url = str(document.get("response_body_url") or "")
        if not url:
            raise _UnavailableError("the finished batch has no response_body_url")
        downloaded = _download(url, client.api_client.timeout)
        if len(downloaded) > len(fullest):
            fullest = downloaded
        if len(downloaded) < finished.total:
            raise _UnavailableError(f"results of {len(downloaded)} of {finished.total} operations")
        return downloaded

    retry = client.api_client.retry
    loop = retry.retrying(lambda error: isinstance(error, _UnavailableError), client.pause)
    try:
        found: BatchResults = loop(download)
    except _UnavailableError as error:
        found = fullest
        if not found:
            raise BatchLostError(
                title="Batch Results Lost",
                detail=str(error),
                method="GET",
                path=f"/batches/{batch_id}",
                attempts=int(loop.statistics.get("attempt_number", 1)),
            ) from error
    found.missing = tuple(operation_id for operation_id in expected if operation_id not in found)
    return found


class _UnavailableError(Exception):
    """The results cannot be had at this moment."""


def _get(client: MailchimpClient, batch_id: str) -> Mapping[str, Any]:
    try:
        answer = client.batches.status(batch_id, fields=list(_STATUS_FIELDS))
    except MailchimpNotFoundError as error:
        raise BatchLostError(
            404, error.title, error.detail, method="GET", path=error.path, request_id=error.request_id
        ) from error
    require(answer, "status", str, path=f"/batches/{batch_id}")
    return dict(answer)


def _status(document: Mapping[str, Any]) -> BatchStatus:
    return BatchStatus(
        batch_id=str(document.get("id") or ""),
        status=str(document["status"]),
        total=int(document.get("total_operations") or 0),
        finished=int(document.get("finished_operations") or 0),
        errored=int(document.get("errored_operations") or 0),
    )


def _download(url: str, timeout: tuple[float, float]) -> BatchResults:
    found = BatchResults()
    try:
        with requests.Session() as session:
            # No credentials at all: neither the API key nor what ~/.netrc has for this host.
            session.auth = _without_credentials
            with session.get(url, stream=True, timeout=timeout) as response:
                if not response.ok:
                    raise _UnavailableError(f"the results' address answered {response.status_code}")
                with tarfile.open(fileobj=response.raw, mode="r|*") as archive:
                    for member in archive:
                        file = archive.extractfile(member)
                        if file is not None and member.name.endswith(".json"):
                            found.update(_results_of_file(file.read()))
    except _BROKEN_DOWNLOAD as error:
        raise _UnavailableError(
            f"the results could not be downloaded whole ({type(error).__name__})"
        ) from error
    return found


def _without_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _results_of_file(content: bytes) -> dict[str, OperationResult]:
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise _UnavailableError("a file of the results is not JSON") from error
    found: dict[str, OperationResult] = {}
    for entry in entries if isinstance(entries, list) else []:
        operation_id = str(entry.get("operation_id") or "")
        if operation_id:
            found[operation_id] = OperationResult(
                operation_id, int(entry.get("status_code") or 0), _response(entry.get("response"))
            )
    return found


def _response(text: Any) -> dict[str, Any] | None:
    if isinstance(text, str) and text.strip():
        try:
            text = json.loads(text)
        except ValueError:
            return None
    return text if isinstance(text, dict) and text else None


def member_update_operation(
    operation_id: str,
    list_id: str,
    subscriber_hash: str,
    *,
    merge_fields: Mapping[str, Any] | None = None,
    language: str | None = None,
    email_address: str | None = None,
    skip_merge_validation: bool = False,
) -> Operation:
    """Change fields, language or address of an existing member, without a word about the status."""
    body = member_update_body(merge_fields=merge_fields, language=language, email_address=email_address)
    params = {"skip_merge_validation": True} if skip_merge_validation else {}
    return Operation(operation_id, "PATCH", member_path(list_id, subscriber_hash), params, body)


def unsubscribe_operation(operation_id: str, list_id: str, subscriber_hash: str) -> Operation:
    """Set an existing member to ``unsubscribed`` (rule 5.4 or 5.6)."""
    body = {"status": MemberStatus.UNSUBSCRIBED}
    params = {"skip_merge_validation": True}
    return Operation(operation_id, "PATCH", member_path(list_id, subscriber_hash), params, body)


def archive_operation(operation_id: str, list_id: str, subscriber_hash: str) -> Operation:
    """Archive a member; a result of 404 or 405 means that there was nothing to archive."""
    return Operation(operation_id, "DELETE", member_path(list_id, subscriber_hash))


def member_tags_operation(
    operation_id: str,
    list_id: str,
    subscriber_hash: str,
    *,
    active: Iterable[str] = (),
    inactive: Iterable[str] = (),
    is_syncing: bool = False,
) -> Operation:
    """Add and remove tags of one member; ``is_syncing`` keeps automations on tags from firing."""
    body = member_tags_body(active=active, inactive=inactive, is_syncing=is_syncing)
    return Operation(operation_id, "POST", member_path(list_id, subscriber_hash) + "/tags", body=body)


def member_path(list_id: str, subscriber_hash: str) -> str:
    """The path of a member, for an operation of a batch."""
    for name, value in (("list_id", list_id), ("subscriber_hash", subscriber_hash)):
        if not value or "/" in value:
            raise ValueError(f"{name} is {value!r}: ids are not empty and contain no '/'")
    return f"/lists/{list_id}/members/{subscriber_hash}"
