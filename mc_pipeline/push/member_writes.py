"""Sends writes to members of one company's audiences: intent before, outcome after, in bulk."""

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar, assert_never

from mc_pipeline.chunks import chunks_of
from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.plan.refusal_causes import (
    EXISTS_UNSEEN_TRIED_AGAIN_AFTER,
    OF_A_SENT_FIELD,
    Cause,
    DefinitionLike,
    cause_of_refusal,
)
from mc_pipeline.ledger import Intent, IntentId, Outcome
from mc_pipeline.ledger.leases import CHANGES
from mc_pipeline.ledger.refusals import REACHING, Refusal
from mc_pipeline.mailchimp import batches, members, segments
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import (
    CHECK_TOO_OLD,
    REFUSED_FOR_GOOD,
    MailchimpAuthenticationError,
    MailchimpBlockedError,
    MailchimpContactLimitError,
    MailchimpError,
    MailchimpNotSentError,
    MailchimpRateLimitError,
    MailchimpUnknownOutcomeError,
    RejectionKind,
)
from mc_pipeline.mailchimp.marketing_permissions import give_permissions, permission_ids
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.masking import mask_text
from mc_pipeline.push.batching import carry_out
from mc_pipeline.push.last_look import CallCheck, CalledOffError, OptOutsSince, makes_reachable
from mc_pipeline.push.writer import MailchimpWriter
from mc_pipeline.vocabulary import MemberStatus, Operation, OutcomeKind

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

CHUNK = 500
"""Members per create call, per segment call, and operations per batch."""

DIRECT_WRITES = 10
"""Up to so many single writes go as single calls; more go through /batches."""

OPERATION_PREFIX = "mc-pipeline-"
"""Batch operations are named by their intent, so that a batch whose id was lost in a crash is recognised."""


@dataclass(frozen=True)
class Write:
    """One write to one member. ``key`` finds the plan's row again, ``body`` is what is sent.

    The body of a tag names it (``{"tag": name}``); that of an archive is empty. ``name`` and ``evidence`` are
    of the contact behind it: they are not sent, the ledger remembers them.
    """

    key: Hashable
    list_id: str
    audience: str
    email: str
    subscriber_hash: str
    operation: Operation
    body: Mapping[str, Any]
    plan_id: str | None = None
    row_key: str | None = None
    partner_id: int | None = None
    name: str | None = None
    evidence: Mapping[str, Any] | None = None


class WriteLike(Protocol):
    """A write of which it is judged why it was refused."""

    @property
    def body(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Result:
    """The result of one write.

    ``outcome`` is ``applied``, ``unchanged``, ``rejected``, ``deferred``, ``not_sent`` or ``unknown``.
    ``cause`` and ``field`` say whose fault a refusal is; of an applied one, which field is missing and why.
    """

    key: Hashable
    outcome: OutcomeKind
    detail: str = ""
    cause: str = ""
    field: str = ""


EXISTS_UNSEEN = "Mailchimp calls the address a member, and shows it nowhere"


@dataclass(frozen=True)
class Fields:
    """What is known of an audience's merge fields: how they are defined, and what we fill them with.

    ``definitions``: by tag, as they were read last. ``wanted``: the type our values are made for, by tag.
    """

    definitions: Mapping[str, DefinitionLike]
    wanted: Mapping[str, str]


NO_FIELDS = Fields({}, {})


@dataclass(frozen=True)
class Fault:
    """What could not be written to one audience (or one of its tags), in Mailchimp's words, masked."""

    list_id: str
    tag: str
    because: str


class MemberWrites:
    """Sends the writes of one run, on a few connections; the lease is checked before each request.

    ``progress`` is called with the number of rows done, after their outcomes are in the ledger. When the
    client is stopped, nothing more is sent; what was not sent is no intent.

    ``since`` asks both systems for opt-outs shortly before anything is sent that makes somebody reachable;
    without it, what the ledger knows decides alone. Up to ``direct_writes`` single writes go as single calls,
    more through /batches (None: all directly); what makes somebody reachable never goes through /batches.

    ``fields``: by list id, to book refusals on their cause. ``by_audience``: what Mailchimp refuses of a
    whole audience or tag ends the writing there, and is among ``faults`` afterwards; otherwise it is raised.
    """

    def __init__(
        self,
        writer: MailchimpWriter,
        *,
        progress: Callable[[int], None] = lambda rows: None,
        since: OptOutsSince | None = None,
        direct_writes: int | None = DIRECT_WRITES,
        fields: Mapping[str, Fields] | None = None,
        by_audience: bool = False,
    ) -> None:
        self._writer = writer
        self._client = writer.client
        self._ledger = writer.ledger
        self._progress = progress
        self._since = since
        self._direct_writes = direct_writes
        self._permission_ids: dict[str, dict[str, str]] = {}
        self._fields = fields or {}
        self._by_audience = by_audience
        self.faults: dict[tuple[str, str], Fault] = {}

    @property
    def client(self) -> MailchimpClient:
        """The client that the writes are sent with."""
        return self._client

    def create(self, writes: Sequence[Write]) -> list[Result]:
        """Create members, 500 a call; existing members are left as they are (``unchanged``)."""
        return self._run(
            partial(self._create_chunk, chunk)
            for _, rows in _grouped(writes, lambda write: write.list_id)
            for chunk in chunks_of(CHUNK, rows)
        )

    def change(self, writes: Sequence[Write]) -> list[Result]:
        """Update, archive, upgrade, permit or unsubscribe members: a few directly, more through /batches.

        What makes somebody reachable is always sent directly, each after a look at who is out by then.
        """
        if self._direct_writes is None or len(writes) <= self._direct_writes:
            return self._run(partial(self._change_one, write) for write in writes)
        direct = [write for write in writes if write.operation in REACHING]
        others = [write for write in writes if write.operation not in REACHING]
        return self._run(partial(self._change_one, write) for write in direct) + self._run(
            partial(self._change_by_batch, chunk) for chunk in chunks_of(CHUNK, others)
        )

    def permit(self, writes: Sequence[Write]) -> list[Result]:
        """Give members the marketing permissions that their bodies name.

        A member who should get one that the audience does not have gets none (``rejected``), and is tried
        again by the next run: what has to be corrected is a setting, or the audience. A permission whose
        answer is lost is not sent again (rule 4.5): the person may have taken it back in between.
        """
        unknown: list[Result] = []
        known: list[Write] = []
        for list_id, rows in _grouped(writes, lambda write: write.list_id):
            try:
                ids = self._permission_ids[list_id] = permission_ids(self._client, list_id)
            except MailchimpError as error:
                unknown += self._given_up(rows, error)
                continue
            for write in rows:
                missing = [name for name in _permissions(write) if name.casefold() not in ids]
                if missing:
                    detail = f"the audience has no marketing permission called {', '.join(missing)}"
                    unknown.append(Result(write.key, OutcomeKind.REJECTED, detail))
                else:
                    known.append(write)
        return unknown + self.change(known)

    def change_in_order(self, writes: Sequence[Write]) -> list[Result]:
        """Change addresses one after the other: each frees the address that the next may take."""
        return self._run((partial(self._change_one, write) for write in writes), workers=1)

    def tag_by_segment(self, writes: Sequence[Write]) -> list[Result]:
        """Add or remove one tag per write through its static segment, 500 members a call.

        Starts the automations that people built on a tag; not for the first load. People whom Mailchimp
        passes over (it says nothing about them) are tagged one by one, in a batch.
        """

        def tasks() -> Iterator[Callable[[], list[Result]]]:
            groups = _grouped(writes, lambda write: (write.list_id, write.body["tag"], write.operation))
            for (list_id, tag, operation), rows in groups:
                try:
                    segment = segments.ensure_static_segment(self._client, list_id, tag)
                except MailchimpError as error:
                    yield partial(self._given_up, rows, error, tag=tag)
                    continue
                for chunk in chunks_of(CHUNK, rows):
                    yield partial(self._tag_chunk, list_id, segment, chunk, adds=operation == Operation.TAG)

        results = {result.key: result for result in self._run(tasks())}
        passed_over = [
            write
            for write in writes
            if write.key in results and results[write.key].outcome == OutcomeKind.UNCHANGED
        ]
        results.update((result.key, result) for result in self.tag_silently(passed_over))
        return list(results.values())

    def tag_silently(self, writes: Sequence[Write]) -> list[Result]:
        """Add and remove tags by /batches without starting automations (``is_syncing``): the first load."""
        of_member = [rows for _, rows in _grouped(writes, lambda write: (write.list_id, write.email))]
        return self._run(partial(self._tag_by_batch, chunk) for chunk in chunks_of(CHUNK, of_member))

    def _run(
        self, tasks: Iterable[Callable[[], list[Result]]], *, workers: int | None = None
    ) -> list[Result]:
        collected: list[Result] = []

        def hand_over(results: list[Result]) -> None:
            self._progress(len(results))
            collected.extend(results)

        run_concurrently(tasks, workers or self._writer.workers, self._client.stop, on_result=hand_over)
        return collected

    def _create_chunk(self, writes: Sequence[Write]) -> list[Result]:
        if (writes[0].list_id, "") in self.faults:
            return self._not_tried(writes)
        due, intents, refused = self._record_reaching(writes)
        if not due:
            return refused
        try:
            with self._checked(due, intents):
                answer = members.create_members(self._client, due[0].list_id, [write.body for write in due])
        except CalledOffError as off:
            return refused + self._call_off(due, intents, off, self._create_chunk)
        except MailchimpError as error:
            if error.title == CHECK_TOO_OLD:
                return refused + self._call_off(
                    due, intents, CalledOffError((), str(error)), self._create_chunk
                )
            refusal = answer_of_error(error, due[0], self._fields_of(due[0]))
            if refusal is None or error.status == 404:
                return refused + self._failed(due, intents, error)
            if len(due) == 1 or refusal.cause == Cause.CONTACT_LIMIT:
                return refused + self._settle(due, intents, [refusal] * len(due))
            # One member that Mailchimp cannot even read makes it refuse the whole call: find them by halves.
            self._settle(due, intents, [Outcome(OutcomeKind.NOT_SENT, error.title, str(error))] * len(due))
            middle = len(due) // 2
            return refused + self._create_chunk(due[:middle]) + self._create_chunk(due[middle:])
        created = {str(member["email_address"]).lower(): member for member in answer.created}
        rejected = {rejection.email.lower(): rejection for rejection in answer.rejected}

        def answer_to(write: Write) -> Outcome:
            if write.email in created:
                return Outcome(OutcomeKind.APPLIED, returned=created[write.email])
            if write.email in rejected:
                rejection = rejected[write.email]
                if rejection.kind == "exists" and not self._is_there(write):
                    return Outcome(
                        OutcomeKind.REJECTED,
                        rejection.title,
                        f"{rejection.detail} ({EXISTS_UNSEEN})",
                        cause=Cause.PERSON,
                        retry_at=self._ledger.now() + EXISTS_UNSEEN_TRIED_AGAIN_AFTER,
                    )
                return _refusal(
                    rejection.kind,
                    rejection.title,
                    rejection.detail,
                    [rejection.field],
                    write,
                    self._fields_of(write),
                )
            return Outcome(OutcomeKind.UNKNOWN, detail="Mailchimp's answer does not mention this address")

        answers = [answer_to(write) for write in due]
        return refused + self._without_their_fields(due, intents, answers, self._create_chunk)

    def _is_there(self, write: Write) -> bool:
        """Whether a list shows the address that a creation found to exist; believed if it cannot be asked."""
        try:
            return members.get_member(self._client, write.list_id, write.subscriber_hash) is not None
        except MailchimpError:
            return True

    def _fields_of(self, write: Write) -> Fields:
        return self._fields.get(write.list_id, NO_FIELDS)

    def _without_their_fields(
        self,
        writes: Sequence[Write],
        intents: Sequence[IntentId],
        answers: Sequence[Outcome],
        send: Callable[[Sequence[Write]], list[Result]],
    ) -> list[Result]:
        """Settle; where one field alone is at fault, write the rest of the person without it.

        The value that stays away is recorded as what it is: an update that Mailchimp does not take.
        """
        again = {
            write.key: (replace(write, body=left_over), answer)
            for write, answer in zip(writes, answers, strict=True)
            if answer.cause in OF_A_SENT_FIELD
            and (left_over := without_fields(write.operation, write.body, {answer.field})) is not None
        }
        results = self._settle(
            writes,
            intents,
            [
                Outcome(OutcomeKind.NOT_SENT, answer.title, answer.detail) if write.key in again else answer
                for write, answer in zip(writes, answers, strict=True)
            ],
        )
        if not again:
            return results
        kept = [result for result in results if result.key not in again]
        for chunk in chunks_of(CHUNK, list(again.values())):
            written = send([write for write, _ in chunk])
            done = {result.key for result in written if result.outcome == OutcomeKind.APPLIED}
            refusals = {write.key: answer for write, answer in chunk}
            self._keep_refusals(
                [
                    _refused_value(write, refusals[write.key].field)
                    for write in writes
                    if write.key in done and write.key in refusals
                ],
                refusals,
            )
            # An update of which nothing is left waits as a whole.
            waits = {result.key for result in written if result.cause and result.key not in done}
            self._keep_refusals(
                [each for each in writes if each.key in waits and each.operation == Operation.UPDATE],
                refusals,
            )
            kept += [
                replace(
                    result,
                    detail=f"without {refusals[result.key].field}: {refusals[result.key].detail}",
                    cause=refusals[result.key].cause,
                    field=refusals[result.key].field,
                )
                if result.key in done and not result.cause
                else result
                for result in written
            ]
        return kept

    def _keep_refusals(self, writes: Sequence[Write], refusals: Mapping[Hashable, Outcome]) -> None:
        """Record updates of which Mailchimp said already that it does not take them."""
        if writes:
            self._settle(writes, self._record(writes), [refusals[write.key] for write in writes])

    def _change_one(self, write: Write) -> list[Result]:
        if (write.list_id, "") in self.faults:
            return self._not_tried([write])
        if write.operation in REACHING:
            due, intents, refused = self._record_reaching([write])
            if not due:
                return refused
        else:
            intents = self._record([write])
        try:
            with self._checked([write], intents):
                answer = self._send(write)
        except CalledOffError as off:
            return self._call_off([write], intents, off, lambda rows: self._change_one(rows[0]))
        except MailchimpError as error:
            if error.title == CHECK_TOO_OLD:
                return self._call_off([write], intents, CalledOffError((), str(error)), lambda rows: [])
            refusal = answer_of_error(error, write, self._fields_of(write))
            if refusal is None:
                return self._failed([write], intents, error)
            answer = refusal
        return self._without_their_fields([write], intents, [answer], lambda rows: self._change_one(rows[0]))

    @contextmanager
    def _checked(self, writes: Sequence[Write], intents: Sequence[IntentId]) -> Iterator[None]:
        """Look again before each attempt of a call that makes somebody reachable."""
        reaching = [
            intent
            for write, intent in zip(writes, intents, strict=True)
            if makes_reachable(write.operation, write.body)
        ]
        if self._since is None or not reaching:
            yield
            return
        with self._client.rechecked(CallCheck(self._ledger, self._since, reaching)):
            yield

    def _call_off(
        self,
        writes: Sequence[Write],
        intents: Sequence[IntentId],
        off: CalledOffError,
        again: Callable[[Sequence[Write]], list[Result]],
    ) -> list[Result]:
        """Settle a call that was not sent; send it again without the people who are out."""
        self._settle(writes, intents, [Outcome(OutcomeKind.NOT_SENT, detail=off.because)] * len(writes))
        if off.out:
            return again(writes)
        held = [write for write in writes if makes_reachable(write.operation, write.body)]
        others = [write for write in writes if write not in held]
        results = [Result(write.key, OutcomeKind.HELD_BACK, off.because) for write in held]
        return results + (again(others) if others else [])

    def _unsubscribe_who_is_out(self, writes: Sequence[Write], intents: Sequence[IntentId]) -> None:
        """After writes that may have made somebody reachable: unsubscribe people who are out by then.

        Whatever fails here is due on the path of the opt-outs as well.
        """
        out = self._ledger.intents.out_since(intents)
        for write, intent in zip(writes, intents, strict=True):
            if intent not in out:
                continue
            email = (
                str(write.body["email_address"]) if write.operation == Operation.CHANGE_EMAIL else write.email
            )
            try:
                self._change_one(
                    replace(
                        write,
                        email=email.lower(),
                        subscriber_hash=subscriber_hash(email),
                        operation=Operation.UNSUBSCRIBE,
                        body={"status": MemberStatus.UNSUBSCRIBED},
                        evidence=None,
                    )
                )
            except MailchimpError as error:
                _log.warning("somebody who is out by now could not be unsubscribed yet: %s", error)

    def _send(self, write: Write) -> Outcome:
        client, list_id, member = self._client, write.list_id, write.subscriber_hash
        match write.operation:
            case Operation.UPDATE | Operation.CHANGE_EMAIL:
                return Outcome(
                    OutcomeKind.APPLIED,
                    # What a form requires is no reason to leave a member's other fields as they were.
                    returned=members.update_member(
                        client, list_id, member, **_changes(write), skip_merge_validation=True
                    ),
                )
            case Operation.ARCHIVE:
                return Outcome(members.archive_member(client, list_id, member))
            case Operation.UNSUBSCRIBE:
                return Outcome(
                    OutcomeKind.APPLIED, returned=members.unsubscribe_member(client, list_id, member)
                )
            case Operation.UPGRADE:
                return Outcome(
                    OutcomeKind.APPLIED,
                    returned=members.subscribe_member(
                        client, list_id, member, consented_at=_consented_at(write)
                    ),
                )
            case Operation.PERMIT:
                return Outcome(
                    OutcomeKind.APPLIED,
                    returned=give_permissions(client, list_id, member, self._ids_of_permissions(write)),
                )
            case Operation.CREATE | Operation.TAG | Operation.UNTAG:
                raise ValueError(f"{write.operation!r} is not a change of one member")
            case never:
                assert_never(never)

    def _ids_of_permissions(self, write: Write) -> list[str]:
        ids = self._permission_ids[write.list_id]
        return [ids[name.casefold()] for name in _permissions(write)]

    def _operation(self, name: str, write: Write) -> batches.Operation:
        list_id, member = write.list_id, write.subscriber_hash
        match write.operation:
            case Operation.UPDATE:
                return batches.member_update_operation(
                    name, list_id, member, **_changes(write), skip_merge_validation=True
                )
            case Operation.ARCHIVE:
                return batches.archive_operation(name, list_id, member)
            case Operation.UNSUBSCRIBE:
                return batches.unsubscribe_operation(name, list_id, member)
            case (
                Operation.CREATE
                | Operation.CHANGE_EMAIL
                | Operation.UPGRADE
                | Operation.PERMIT
                | Operation.TAG
                | Operation.UNTAG
            ):
                raise ValueError(f"{write.operation!r} is not a change that goes through /batches")
            case never:
                assert_never(never)

    def _change_by_batch(self, writes: Sequence[Write]) -> list[Result]:
        if self.faults:
            closed = [write for write in writes if (write.list_id, "") in self.faults]
            if closed:
                kept = [write for write in writes if (write.list_id, "") not in self.faults]
                return self._not_tried(closed) + (self._change_by_batch(kept) if kept else [])
        intents = self._record(writes)
        names = [f"{OPERATION_PREFIX}{intent}" for intent in intents]
        operations = [self._operation(name, write) for name, write in zip(names, writes, strict=True)]
        try:
            results = self._submit_and_wait(intents, operations)
        except MailchimpError as error:
            return self._failed(writes, intents, error)
        answers = [
            answer_of_operation(results.get(name), write.operation, write, self._fields_of(write))
            for name, write in zip(names, writes, strict=True)
        ]
        return self._without_their_fields(writes, intents, answers, self._change_by_batch)

    def _tag_by_batch(self, of_member: Sequence[Sequence[Write]]) -> list[Result]:
        writes = [write for member in of_member for write in member]
        intents = self._record(writes)
        intent_of = {write.key: intent for write, intent in zip(writes, intents, strict=True)}
        operations = {
            member[0].key: batches.member_tags_operation(
                f"{OPERATION_PREFIX}{intent_of[member[0].key]}",
                member[0].list_id,
                member[0].subscriber_hash,
                active=[write.body["tag"] for write in member if write.operation == Operation.TAG],
                inactive=[write.body["tag"] for write in member if write.operation == Operation.UNTAG],
                is_syncing=True,
            )
            for member in of_member
        }
        try:
            results = self._submit_and_wait(intents, list(operations.values()))
        except MailchimpError as error:
            return self._failed(writes, intents, error)
        answers = [
            answer_of_operation(results.get(operations[member[0].key].operation_id), Operation.TAG)
            for member in of_member
            for _ in member
        ]
        return self._settle(writes, intents, answers)

    def _tag_chunk(self, list_id: str, segment: int, writes: Sequence[Write], adds: bool) -> list[Result]:
        if (list_id, "") in self.faults:
            return self._not_tried(writes)
        intents = self._record(writes)
        emails = [write.email for write in writes]
        try:
            change = segments.change_segment_members(
                self._client,
                list_id,
                segment,
                add=emails if adds else (),
                remove=() if adds else emails,
            )
        except MailchimpError as error:
            return self._failed(writes, intents, error, tag=writes[0].body["tag"])
        done = {*change.added, *change.removed}
        refused = {email: error.error for error in change.errors for email in error.emails}

        def answer_to(write: Write) -> Outcome:
            if write.email in done:
                return Outcome(OutcomeKind.APPLIED)
            if write.email in refused:
                return Outcome(OutcomeKind.REJECTED, detail=refused[write.email], cause=Cause.PERSON)
            # Addresses that are not in the audience, and members who are as wanted already, are passed over.
            return Outcome(OutcomeKind.UNCHANGED, detail="Mailchimp passed over this address")

        return self._settle(writes, intents, [answer_to(write) for write in writes])

    def _submit_and_wait(
        self, intents: Sequence[IntentId], operations: Sequence[batches.Operation]
    ) -> Mapping[str, batches.OperationResult]:
        return carry_out(
            self._client,
            operations,
            lambda batch_id: self._ledger.intents.mark_submitted(
                self._writer.company, self._writer.fence, intents, batch_id
            ),
        )

    def _record(self, writes: Sequence[Write]) -> list[IntentId]:
        self._writer.lease.check()
        return self._ledger.intents.record(
            self._writer.company,
            self._writer.fence,
            self._writer.run_id,
            [_intent(write) for write in writes],
            path=self._writer.lease.path,
        )

    def _record_reaching(self, writes: Sequence[Write]) -> tuple[list[Write], list[IntentId], list[Result]]:
        """Record writes that may make somebody reachable, without those about people who are out by now.

        Both systems are asked first. What cannot be asked lets nobody become reachable; members who are
        created as transactional are not held up by it.
        """
        self._writer.lease.check()
        if self._writer.lease.path != CHANGES:
            raise ValueError("the path of the opt-outs makes nobody reachable")
        reaches = any(makes_reachable(write.operation, write.body) for write in writes)
        unknown = self._since.ask() if self._since is not None and reaches else ""
        due, results = [], []
        for write in writes:
            if unknown and makes_reachable(write.operation, write.body):
                results.append(Result(write.key, OutcomeKind.HELD_BACK, unknown))
            elif self._since is not None and any(map(self._since.is_erased, _addresses(write))):
                results.append(Result(write.key, OutcomeKind.HELD_BACK, "the person was erased"))
            else:
                due.append(write)
        if not due:
            return [], [], results
        recorded = self._ledger.intents.record_unless_out(
            self._writer.company, self._writer.fence, self._writer.run_id, [_intent(write) for write in due]
        )
        kept: list[Write] = []
        intents: list[IntentId] = []
        for write, intent in zip(due, recorded, strict=True):
            if isinstance(intent, Refusal):
                results.append(Result(write.key, OutcomeKind.HELD_BACK, intent.because))
            else:
                kept.append(write)
                intents.append(intent)
        return kept, intents, results

    def _settle(
        self, writes: Sequence[Write], intents: Sequence[IntentId], answers: Sequence[Outcome]
    ) -> list[Result]:
        self._ledger.intents.settle(
            self._writer.company, self._writer.fence, list(zip(intents, answers, strict=True))
        )
        reached = [
            (write, intent)
            for write, intent, answer in zip(writes, intents, answers, strict=True)
            if write.operation in REACHING and answer.outcome == OutcomeKind.APPLIED
        ]
        if reached:
            self._unsubscribe_who_is_out(*zip(*reached, strict=True))
        return [
            Result(write.key, answer.outcome, answer.detail or answer.title, answer.cause, answer.field)
            for write, answer in zip(writes, answers, strict=True)
        ]

    def _failed(
        self, writes: Sequence[Write], intents: Sequence[IntentId], error: MailchimpError, *, tag: str = ""
    ) -> list[Result]:
        """Deal with a request that failed as a whole.

        Where it may have been applied, its intents stay open: they are read back by the next run, and the
        rest of this one continues. Where it surely was not, that is recorded, and the error ends the push, or
        the writing to its audience or tag.
        """
        if isinstance(error, (MailchimpUnknownOutcomeError, batches.BatchUnfinishedError)):
            return self._settle(
                writes, intents, [Outcome(OutcomeKind.UNKNOWN, error.title, str(error))] * len(writes)
            )
        answers = [
            Outcome(
                OutcomeKind.UNKNOWN if _may_have_been_given(write, error) else OutcomeKind.NOT_SENT,
                error.title,
                str(error),
            )
            for write in writes
        ]
        results = self._settle(writes, intents, answers)
        self._given_up(writes, error, tag=tag)
        return results

    def _given_up(self, writes: Sequence[Write], error: MailchimpError, *, tag: str = "") -> list[Result]:
        """Write no more to the audiences, or to the tag, of these; raise what is about more than them."""
        if not self._by_audience or _is_about_everything(error):
            raise error
        because = mask_text(str(error))
        for list_id in {write.list_id for write in writes}:
            self.faults.setdefault((list_id, tag), Fault(list_id, tag, because))
        return [Result(write.key, OutcomeKind.NOT_SENT, because) for write in writes]

    def _not_tried(self, writes: Sequence[Write]) -> list[Result]:
        return [
            Result(write.key, OutcomeKind.NOT_SENT, self.faults[write.list_id, ""].because)
            for write in writes
        ]


def without_fields(operation: str, body: Mapping[str, Any], tags: Collection[str]) -> dict[str, Any] | None:
    """A body of a creation, update or change of address without these merge fields; None: nothing is left."""
    kept = {tag: value for tag, value in body.get("merge_fields", {}).items() if tag not in tags}
    left = {**body, "merge_fields": kept}
    if operation == Operation.CREATE:
        return left
    if not left["merge_fields"]:
        del left["merge_fields"]
    return left or None


def _refused_value(write: Write, field: str) -> Write:
    """The update that would write the one value that a member was written without."""
    address = _addresses(write)[-1]
    return replace(
        write,
        email=address,
        subscriber_hash=subscriber_hash(address),
        operation=Operation.UPDATE,
        body={"merge_fields": {field: write.body["merge_fields"][field]}},
        evidence=None,
    )


def _is_about_everything(error: MailchimpError) -> bool:
    """Whether no other audience would fare better: the key, the network, our own limits and faults."""
    return isinstance(
        error,
        (
            MailchimpAuthenticationError,
            MailchimpBlockedError,
            MailchimpNotSentError,
            MailchimpRateLimitError,
        ),
    )


def _addresses(write: Write) -> list[str]:
    new = write.body.get("email_address")
    return [write.email, str(new).lower()] if new else [write.email]


def _intent(write: Write) -> Intent:
    return Intent(
        list_id=write.list_id,
        audience=write.audience,
        email=write.email,
        operation=write.operation,
        body=write.body,
        plan_id=write.plan_id,
        row_key=write.row_key,
        partner_id=write.partner_id,
        name_sent=write.name,
        evidence=write.evidence,
    )


def _may_have_been_given(write: Write, error: MailchimpError) -> bool:
    """Whether a permission may have been given all the same: only Mailchimp itself says for sure that not."""
    return write.operation == Operation.PERMIT and isinstance(error, MailchimpBlockedError)


def answer_of_error(
    error: MailchimpError, write: "WriteLike | None" = None, fields: Fields = NO_FIELDS
) -> Outcome | None:
    """Judge the refusal of one member; None where the error is not about this member at all."""
    if isinstance(error, MailchimpContactLimitError):
        return _refusal("limit", error.title, error.detail)
    if isinstance(error, (MailchimpUnknownOutcomeError, MailchimpNotSentError, MailchimpRateLimitError)):
        return None
    if error.status is None or error.status >= 500 or error.status in (401, 403):
        return None
    named = "; ".join(f"{entry.get('field')}: {entry.get('message')}" for entry in error.errors)
    detail = f"{error.detail} ({named})" if named else error.detail
    at_fault = [str(entry.get("field") or "") for entry in error.errors]
    return _refusal(error.kind, error.title, detail, at_fault, write, fields)


def answer_of_operation(
    result: batches.OperationResult | None,
    operation: str,
    write: "WriteLike | None" = None,
    fields: Fields = NO_FIELDS,
) -> Outcome:
    """Judge one operation of a finished batch; one without result stays unknown until it is read back."""
    if result is None:
        return Outcome(OutcomeKind.UNKNOWN, detail="the batch has no result for this operation")
    if result.ok:
        return Outcome(OutcomeKind.APPLIED, returned=result.response if _is_member(result.response) else None)
    if operation == Operation.ARCHIVE and result.status_code in (404, 405):
        return Outcome(OutcomeKind.UNCHANGED, detail="there was nothing to archive")
    if result.status_code == 429:
        return Outcome(OutcomeKind.NOT_SENT, "Too Many Requests")
    error = result.error
    answer = answer_of_error(error, write, fields) if error is not None else None
    return answer or Outcome(
        OutcomeKind.UNKNOWN, detail=f"the operation failed with status {result.status_code}"
    )


def _refusal(
    kind: RejectionKind,
    title: str,
    detail: str,
    at_fault: Sequence[str] = (),
    write: "WriteLike | None" = None,
    fields: Fields = NO_FIELDS,
) -> Outcome:
    if kind == "exists":
        return Outcome(OutcomeKind.UNCHANGED, title, detail)
    values = write.body.get("merge_fields") if write else None
    values = values if isinstance(values, Mapping) else {}
    sent = [tag for tag, value in values.items() if value != ""]
    blame = cause_of_refusal(kind, at_fault if write else (), sent, fields.definitions, fields.wanted)
    waits = kind == "deferred" or blame.is_outside
    return Outcome(
        OutcomeKind.DEFERRED if waits else OutcomeKind.REJECTED,
        title,
        detail,
        refusal=kind if kind in REFUSED_FOR_GOOD else "",
        cause=blame.cause,
        field=blame.field,
    )


def _is_member(response: Mapping[str, Any] | None) -> bool:
    return bool(response) and "merge_fields" in (response or {})


def _changes(write: Write) -> dict[str, Any]:
    return {
        name: write.body[name] for name in ("merge_fields", "language", "email_address") if name in write.body
    }


def _permissions(write: Write) -> list[str]:
    return list(write.body["marketing_permissions"])


def _consented_at(write: Write) -> datetime | None:
    moment = write.body.get("timestamp_opt")
    return datetime.fromisoformat(moment) if moment else None


def _grouped(writes: Sequence[Write], key: Callable[[Write], Any]) -> list[tuple[Any, list[Write]]]:
    groups: dict[Any, list[Write]] = {}
    for write in writes:
        groups.setdefault(key(write), []).append(write)
    return list(groups.items())
