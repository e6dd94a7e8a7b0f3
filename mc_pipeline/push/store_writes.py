"""Sends writes to the stores of one company: intent before, outcome after, in bulk or one by one."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial

from mc_pipeline.chunks import chunks_of
from mc_pipeline.domain.store.changes import Step
from mc_pipeline.ledger import IntentId, Outcome, StoreIntent
from mc_pipeline.mailchimp import batches
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpUnknownOutcomeError
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.mailchimp.store_writing import send, store_operation
from mc_pipeline.masking import mask_text
from mc_pipeline.push.batching import carry_out
from mc_pipeline.push.member_writes import CHUNK, DIRECT_WRITES, answer_of_error
from mc_pipeline.push.writer import MailchimpWriter
from mc_pipeline.vocabulary import DONE, OutcomeKind, StoreOperation

STORE_PREFIX = "mc-pipeline-store-"
"""Batch operations are named by their intent, so that a batch whose id was lost in a crash is recognised."""

_ALREADY_THERE = re.compile(r"already exists", re.I)
_MISSING_PRODUCT = re.compile(r"product.* does not exist", re.I)


@dataclass(frozen=True)
class StoreChange:
    """One product, customer or order of a store, and the steps that it needs, in order.

    ``key`` finds it again. ``wanted`` is how it should be after all of them; the rest is of an order, as the
    ledger keeps it with the intents.
    """

    key: Hashable
    store_id: str
    kind: str
    object_id: str
    steps: tuple[Step, ...]
    wanted: str | None = None
    attribution: str | None = None
    order_id: int | None = None
    month: str | None = None
    customer_id: str | None = None
    rate: float | None = None

    @property
    def object_key(self) -> tuple[str, str, str]:
        return self.kind, self.store_id, self.object_id


@dataclass(frozen=True)
class StoreResult:
    """The result of a change; ``outcome`` is that of the last step that was tried.

    ``to_read``: what Mailchimp said does not go with what the ledger knows; reading it back says how it is.
    ``not_found``: something that the request names is not in the store, and Mailchimp does not say what.
    """

    outcome: OutcomeKind
    detail: str = ""
    to_read: bool = False
    not_found: bool = False

    @property
    def is_done(self) -> bool:
        return self.outcome in DONE


Results = MutableMapping[Hashable, StoreResult]


class StoreWrites:
    """Sends the writes of one run, on a few connections; the lease is checked before each request.

    When the client is stopped, nothing more is sent; what was not sent is no intent.
    """

    def __init__(self, writer: MailchimpWriter) -> None:
        self.writer = writer

    def carry_out(self, changes: Sequence[StoreChange], results: Results) -> None:
        """Make the changes and fill ``results`` by their keys: a few directly, more through /batches.

        A change of several steps goes through several rounds, its next step once the one before is recorded.
        It stops at the first step that is not accepted.

        Raises:
            MailchimpError: a request failed as a whole and surely was not applied. What was done is recorded,
                and in ``results``.
        """
        pending = [(change, 0) for change in changes]
        while pending:
            if len(pending) <= DIRECT_WRITES:
                self._run((partial(self._directly, change, at) for change, at in pending), results)
                return
            self._run((partial(self._by_batch, chunk) for chunk in chunks_of(CHUNK, pending)), results)
            pending = [
                (change, at + 1)
                for change, at in pending
                if at + 1 < len(change.steps) and change.key in results and results[change.key].is_done
            ]

    def _run(self, tasks: Iterable[Callable[[], Mapping[Hashable, StoreResult]]], results: Results) -> None:
        run_concurrently(tasks, self.writer.workers, self.writer.client.stop, on_result=results.update)

    def _directly(self, change: StoreChange, at: int) -> dict[Hashable, StoreResult]:
        result = StoreResult(OutcomeKind.APPLIED)
        for step in change.steps[at:]:
            (intent,) = intents = self._record([(change, step)])
            try:
                send(self.writer.client, _operation(intent, change, step))
                result = StoreResult(OutcomeKind.APPLIED)
            except MailchimpError as error:
                judged = judge(error, change.kind, step.operation)
                if judged is None:
                    return self._failed([change], intents, error)
                result = judged
            self._settle(intents, [result])
            if not result.is_done:
                break
        return {change.key: result}

    def _by_batch(self, chunk: Sequence[tuple[StoreChange, int]]) -> dict[Hashable, StoreResult]:
        writes = [(change, change.steps[at]) for change, at in chunk]
        intents = self._record(writes)
        operations = [
            _operation(intent, change, step) for intent, (change, step) in zip(intents, writes, strict=True)
        ]
        try:
            answers = carry_out(
                self.writer.client,
                operations,
                lambda batch_id: self.writer.ledger.store_intents.mark_submitted(
                    self.writer.company, self.writer.fence, intents, batch_id
                ),
            )
        except MailchimpError as error:
            return self._failed([change for change, _ in writes], intents, error)
        judged = [
            judge_result(answers.get(operation.operation_id), change.kind, step.operation)
            for operation, (change, step) in zip(operations, writes, strict=True)
        ]
        self._settle(intents, judged)
        return {change.key: result for (change, _), result in zip(writes, judged, strict=True)}

    def _record(self, writes: Sequence[tuple[StoreChange, Step]]) -> list[IntentId]:
        self.writer.lease.check()
        return self.writer.ledger.store_intents.record(
            self.writer.company,
            self.writer.fence,
            self.writer.run_id,
            [
                StoreIntent(
                    store_id=change.store_id,
                    kind=change.kind,
                    object_id=change.object_id,
                    operation=step.operation,
                    part_id=step.part,
                    after=step.after,
                    wanted=change.wanted,
                    attribution=change.attribution if step.operation == StoreOperation.DELETE else None,
                    order_id=change.order_id,
                    month=change.month,
                    customer_id=change.customer_id,
                    rate=change.rate,
                )
                for change, step in writes
            ],
        )

    def _settle(self, intents: Sequence[IntentId], results: Sequence[StoreResult]) -> None:
        self.writer.ledger.store_intents.settle(
            self.writer.company,
            self.writer.fence,
            [
                (intent, Outcome(outcome=result.outcome, detail=result.detail))
                for intent, result in zip(intents, results, strict=True)
            ],
        )

    def _failed(
        self, changes: Sequence[StoreChange], intents: Sequence[IntentId], error: MailchimpError
    ) -> dict[Hashable, StoreResult]:
        """Deal with a request that failed as a whole: open where it may have been applied, else the end."""
        if isinstance(error, (MailchimpUnknownOutcomeError, batches.BatchUnfinishedError)):
            result = StoreResult(OutcomeKind.UNKNOWN, mask_text(f"{error.title}: {error.detail}"))
            self._settle(intents, [result] * len(intents))
            return dict.fromkeys((change.key for change in changes), result)
        detail = mask_text(f"{error.title}: {error.detail}")
        self._settle(intents, [StoreResult(OutcomeKind.NOT_SENT, detail)] * len(intents))
        raise error


def judge(error: MailchimpError, kind: str, operation: str) -> StoreResult | None:
    """Judge the refusal of one write; None where the error is not about it at all."""
    answer = answer_of_error(error)
    if answer is None:
        return None
    # In the ledger and in tables that are kept by order, nothing may say who somebody is.
    detail = mask_text(answer.detail or answer.title)
    if error.status == 404:
        if operation in (StoreOperation.DELETE, StoreOperation.REMOVE_LINE):
            return StoreResult(OutcomeKind.UNCHANGED, "it was not there any more")
        return StoreResult(OutcomeKind.UNKNOWN, detail, to_read=True, not_found=True)
    if _ALREADY_THERE.search(error.detail) and operation in (StoreOperation.CREATE, StoreOperation.ADD_LINE):
        if kind == "customer":
            return StoreResult(OutcomeKind.UNCHANGED, "it was there already")
        return StoreResult(OutcomeKind.UNKNOWN, detail, to_read=True)
    if kind == "order" and _MISSING_PRODUCT.search(error.detail):
        return StoreResult(OutcomeKind.DEFERRED, detail)
    return StoreResult(answer.outcome, detail)


def judge_result(result: batches.OperationResult | None, kind: str, operation: str) -> StoreResult:
    """Judge one operation of a batch that is over; what it does not say is read back."""
    if result is None:
        return StoreResult(OutcomeKind.UNKNOWN, "the batch has no result for this operation", to_read=True)
    if result.ok:
        return StoreResult(OutcomeKind.APPLIED)
    if result.status_code == 429:
        return StoreResult(OutcomeKind.NOT_SENT, "Too Many Requests")
    judged = judge(result.error, kind, operation) if result.error is not None else None
    failed = StoreResult(
        OutcomeKind.UNKNOWN, f"the operation failed with status {result.status_code}", to_read=True
    )
    return judged or failed


def _operation(intent: int, change: StoreChange, step: Step) -> batches.Operation:
    return store_operation(
        f"{STORE_PREFIX}{intent}",
        store_id=change.store_id,
        kind=change.kind,
        object_id=change.object_id,
        operation=step.operation,
        part=step.part,
        body=step.body,
    )
