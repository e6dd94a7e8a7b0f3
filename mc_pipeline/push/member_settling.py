"""Settles what an interrupted run left open: its batches first, the rest by reading back (rule 7.4)."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import pandas as pd

from mc_pipeline.ledger import OpenIntent, Outcome
from mc_pipeline.mailchimp import batches
from mc_pipeline.push.batching import PATIENCE, interrupted_batches
from mc_pipeline.push.member_writes import OPERATION_PREFIX, Fields, answer_of_operation
from mc_pipeline.push.writer import MailchimpWriter
from mc_pipeline.vocabulary import MemberStatus, Operation, OutcomeKind

_LOST = "its answer was lost, and reading back does not tell whether it was applied"
_TEXTS_RETURNED = ("language", "status", "contact_id")


@dataclass(frozen=True)
class SettledBatches:
    """The outcome of the batches of interrupted runs: how many writes are settled by their results, and the
    ids of intents that a batch that still runs may yet apply."""

    settled: int
    under_way: frozenset[int]


def settle_batches(writer: MailchimpWriter, patience: batches.PollPolicy = PATIENCE) -> SettledBatches:
    """Wait for the batches that an interrupted run submitted, and record their outcomes.

    A batch may have been submitted although its id was never recorded: such a one is looked for among the
    account's batches and recognised by the names of its operations. Must run before the audiences are
    observed, so that the observation shows what the batches did.

    A batch that does not end within ``patience`` holds nothing up, opt-outs least of all: its intents stay
    open, and while they do, nothing else is written about those addresses.
    """
    open_intents = writer.ledger.intents.open(writer.company, path=writer.lease.path)
    without = [intent.recorded_at for intent in open_intents if not intent.batch_id]
    known = {intent.batch_id for intent in open_intents if intent.batch_id}
    settled = 0
    under_way: set[int] = set()
    for batch_id, results in interrupted_batches(writer.client, known, min(without, default=None), patience):
        if results is None:
            # It is not known what a batch without a recorded id is about before it ends: it may be any of
            # these.
            under_way |= {intent.id for intent in open_intents if intent.batch_id in (batch_id, None)}
        else:
            settled += _settle_from(results, open_intents, writer)
    still_open = (
        {intent.id for intent in writer.ledger.intents.open(writer.company, path=writer.lease.path)}
        if under_way
        else set()
    )
    return SettledBatches(settled, frozenset(under_way & still_open))


def settle_by_observation(
    observed: pd.DataFrame,
    complete: Collection[str],
    writer: MailchimpWriter,
    under_way: Collection[int] = frozenset(),
) -> int:
    """Settle the intents still open by comparing them with the audiences as they are now; return how many.

    ``observed`` are mailchimp_members rows that were read after the intents were recorded. What is not seen
    to be applied counts as not sent, and the next plan asks for it again: nearly every write of ours can be
    repeated without harm. Two cannot, and are given up as lost: a marketing permission that the member does
    not have, as the person may have taken it back since (rule 4.5), and a confirmation mail to somebody who
    is a member with another status by now, as they may have confirmed (rule 4.3). In an audience that is not
    ``complete`` (list ids) that holds for members who were seen; the others stay open. So do the intents
    ``under_way``, in a batch that has not ended.
    """
    open_intents = [
        intent
        for intent in writer.ledger.intents.open(writer.company, path=writer.lease.path)
        if intent.id not in under_way
    ]
    if not open_intents:
        return 0
    wanted = {intent.email for intent in open_intents} | {_address_after(intent) for intent in open_intents}
    rows = observed[observed["email"].isin(wanted)]
    members: dict[tuple[str, str], dict[Any, Any]] = {
        (row["list_id"], row["email"]): row for row in rows.to_dict("records")
    }
    outcomes = []
    for intent in open_intents:
        member = members.get((intent.list_id, _address_after(intent)))
        if member is None and intent.list_id not in complete:
            continue
        outcomes.append((intent.id, _outcome(intent, member)))
    writer.ledger.intents.settle(writer.company, writer.fence, outcomes)
    return len(outcomes)


def _settle_from(
    results: Mapping[str, batches.OperationResult],
    open_intents: Sequence[OpenIntent],
    writer: MailchimpWriter,
) -> int:
    outcomes = []
    for intent in open_intents:
        result = results.get(f"{OPERATION_PREFIX}{intent.id}")
        if result is not None:
            # What our values were made for is not known here: a retyped field is found by the next push.
            fields = Fields(writer.ledger.field_definitions.of(intent.list_id), {})
            answer = answer_of_operation(result, intent.operation, intent, fields)
            outcomes.append((intent.id, answer))
    writer.ledger.intents.settle(writer.company, writer.fence, outcomes)
    return sum(outcome.outcome != OutcomeKind.UNKNOWN for _, outcome in outcomes)


def _address_after(intent: OpenIntent) -> str:
    """The address under which the member is found if the intent was applied."""
    return (
        str(intent.body["email_address"]).lower()
        if intent.operation == Operation.CHANGE_EMAIL
        else intent.email
    )


def _outcome(intent: OpenIntent, member: Mapping[str, Any] | None) -> Outcome:
    if member is None or not _is_applied(intent, member):
        if _is_lost(intent, member):
            return Outcome(OutcomeKind.LOST, detail=_LOST)
        return Outcome(OutcomeKind.NOT_SENT, detail="read back after an interruption")
    return Outcome(
        OutcomeKind.APPLIED,
        detail="read back after an interruption",
        returned={
            "merge_fields": json.loads(member["merge_fields_json"]),
            # A missing text is NaN in a table, and no JSON.
            **{part: member[part] for part in _TEXTS_RETURNED if isinstance(member[part], str)},
        },
    )


def _is_lost(intent: OpenIntent, member: Mapping[str, Any] | None) -> bool:
    """Whether it may have been applied although reading back does not show it, and must not be repeated."""
    if intent.operation == Operation.PERMIT:
        return True
    return (
        intent.operation == Operation.CREATE
        and intent.body["status"] == MemberStatus.PENDING
        and member is not None
    )


def _is_applied(intent: OpenIntent, member: Mapping[str, Any]) -> bool:
    body = intent.body
    match intent.operation:
        case Operation.CREATE:
            # Nobody had the address when we asked for it. Who has it now with the status we sent came from
            # us; with another status they are left to be somebody else's.
            return bool(member["status"] == body["status"])
        case Operation.CHANGE_EMAIL:
            return True
        case Operation.UPDATE:
            return _has_fields(member, body)
        case Operation.ARCHIVE:
            return bool(member["status"] == MemberStatus.ARCHIVED)
        case Operation.UNSUBSCRIBE | Operation.UPGRADE:
            return bool(member["status"] == body["status"])
        case Operation.PERMIT:
            return _has_permissions(member["permissions_json"], body["marketing_permissions"])
        case Operation.TAG:
            return _has_tag(member, body["tag"])
        case Operation.UNTAG:
            return not _has_tag(member, body["tag"])
        case never:
            assert_never(never)


def _has_permissions(permissions_json: Any, names: Collection[str]) -> bool:
    # A missing text is NaN in a table.
    given = json.loads(permissions_json) if isinstance(permissions_json, str) else {}
    enabled = {text.casefold() for text, value in given.items() if value}
    return all(name.casefold() in enabled for name in names)


def _has_tag(member: Mapping[str, Any], tag: str) -> bool:
    return tag.casefold() in {name.casefold() for name in member["tags"]}


def _has_fields(member: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    observed = json.loads(member["merge_fields_json"])
    fields = body.get("merge_fields", {})
    return all(str(observed.get(tag)) == str(value) for tag, value in fields.items()) and (
        "language" not in body or member["language"] == body["language"]
    )
