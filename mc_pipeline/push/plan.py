"""Applies one audience plan, phase by phase: addresses are freed before they are taken, tags come last."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, assert_never

import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.plan.guards import creates_need_new_observation
from mc_pipeline.domain.plan.refusal_causes import Cause
from mc_pipeline.domain.plan.refused_rows import PROBES, Waiting
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.members import read_members
from mc_pipeline.masking import mask_text
from mc_pipeline.push.member_writes import CHUNK, MemberWrites, Result, Write, without_fields
from mc_pipeline.vocabulary import DONE, MemberStatus, Operation, OutcomeKind

SLICE = 10_000
"""Rows that are turned into requests at a time: bounds memory, whatever the plan's size."""

PHASES: tuple[tuple[Operation, ...], ...] = (
    (Operation.CHANGE_EMAIL,),
    (Operation.ARCHIVE,),
    (Operation.CREATE,),
    (Operation.UPDATE,),
    (Operation.UPGRADE,),
    (Operation.PERMIT,),
    (Operation.UNTAG, Operation.TAG),
)

_WITH_FIELDS = (Operation.CREATE, Operation.UPDATE, Operation.CHANGE_EMAIL)
_OF_EVERYBODY = frozenset({Cause.REQUIRED_FIELD, Cause.CONTACT_LIMIT})
_NEWCOMERS_TRIED = 5
"""New people who are tried while Mailchimp refuses everybody else."""

NOT_TRIED_AGAIN = "not tried again in this run"
NEVER_TRIED = "not tried yet, like others whom Mailchimp refused for the same reason"
"""Why a row is not sent: it would be refused, too."""

_REFUSED_AS_THEY_ARE = (*_WITH_FIELDS, Operation.UPGRADE, Operation.PERMIT)
"""Operations whose rows are known again by their body when Mailchimp refused them before."""

_ON_EVIDENCE = (MemberStatus.SUBSCRIBED, MemberStatus.PENDING)

MEMBER_NOT_CREATED = "the member could not be created"
"""Why a tag or a permission is not sent: Mailchimp refused its member, permanently or for now."""


def push_plan(
    plan: pd.DataFrame,
    writes: MemberWrites,
    *,
    first_load: Collection[str],
    open_addresses: Collection[tuple[str, str]],
    contacts: pd.DataFrame,
    observed_at: datetime,
    now: datetime,
    broken: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    refused_before: Callable[[pd.DataFrame], Waiting] = lambda rows: Waiting(),
) -> pd.DataFrame:
    """Apply the rows of ``plan`` that are not held back and return every row with its outcome.

    Args:
        plan: rows of audience_plan, in order of ``sequence``.
        first_load: ids of the lists whose tags must not start automations.
        open_addresses: list id and address of members with an earlier write whose outcome nobody knows yet.
        contacts: the contacts table: names and evidence of consent go into the ledger with each write.
        observed_at: when the audiences were read; creations as subscribed look again when it is long ago.
        now: the present moment.
        broken: merge fields that cannot be written, by list id and tag, and why: everything else is.
        refused_before: returns which rows Mailchimp refused before, just as they are.

    Returns:
        The plan's rows with ``outcome`` and ``detail``.
    """
    outcome = pd.Series(OutcomeKind.UNKNOWN, index=plan.index, dtype=object)
    detail = pd.Series("", index=plan.index, dtype=object)
    held_back = plan["held_back_because"] != ""
    outcome[held_back] = OutcomeKind.HELD_BACK
    detail[held_back] = plan.loc[held_back, "held_back_because"]
    due = ~held_back
    unsettled = due & pd.MultiIndex.from_frame(plan[["list_id", "email"]]).isin(list(open_addresses))
    outcome[unsettled] = OutcomeKind.HELD_BACK
    detail[unsettled] = "what became of an earlier write to this address is not known yet"
    due &= ~unsettled
    appeared = _appeared_since(plan[due], writes.client, observed_at, now)
    outcome[appeared] = OutcomeKind.UNCHANGED
    detail[appeared] = "the address became a member after the plan was made"
    due &= ~plan.index.isin(appeared)

    bodies, without = _without_broken_fields(plan[due & plan["operation"].isin(_WITH_FIELDS)], broken)
    of_fields_alone = [index for index in without if index not in bodies]
    outcome.update(pd.Series(dict.fromkeys(of_fields_alone, OutcomeKind.DEFERRED), dtype=object))
    detail.update(pd.Series({index: without[index] for index in of_fields_alone}, dtype=object))
    due &= ~plan.index.isin(of_fields_alone)
    sent = plan.assign(after_json=[bodies.get(index, body) for index, body in plan["after_json"].items()])

    behind = contacts.drop_duplicates("email").set_index("email")[["name", "evidence_json"]]
    for operations in PHASES:
        rows = sent[due & plan["operation"].isin(operations)]
        waiting = refused_before(rows) if set(operations) <= set(_REFUSED_AS_THEY_ARE) else Waiting()

        def send(part: pd.DataFrame, operations: tuple[Operation, ...] = operations) -> list[Result]:
            return [
                result
                for start in range(0, len(part), SLICE)
                for result in _apply(
                    operations, _with_contact(part.iloc[start : start + SLICE], behind), writes, first_load
                )
            ]

        results = _in_turn(operations, rows, waiting, send)
        outcome.update(pd.Series({result.key: result.outcome for result in results}, dtype=object))
        detail.update(pd.Series({result.key: result.detail for result in results}, dtype=object))
        failed_creates = plan.index[(plan["operation"] == Operation.CREATE) & ~outcome.isin(DONE)]
        if operations == (Operation.CREATE,) and len(failed_creates):
            # A tag or a permission needs its member.
            missing = pd.MultiIndex.from_frame(plan.loc[failed_creates, ["list_id", "email"]])
            orphaned = (
                due
                & plan["operation"].isin([Operation.TAG, Operation.UNTAG, Operation.PERMIT])
                & pd.MultiIndex.from_frame(plan[["list_id", "email"]]).isin(missing)
            )
            outcome[orphaned] = OutcomeKind.HELD_BACK
            detail[orphaned] = MEMBER_NOT_CREATED
            due &= ~orphaned
    left_out = {
        index: "; ".join(part for part in (f"without {said}", str(detail[index])) if part)
        for index, said in without.items()
        if outcome[index] == OutcomeKind.APPLIED
    }
    detail.update(pd.Series(left_out, dtype=object))
    return plan.assign(outcome=outcome, detail=detail)


def _without_broken_fields(
    rows: pd.DataFrame, broken: Mapping[str, Mapping[str, str]]
) -> tuple[dict[Any, str], dict[Any, str]]:
    """Bodies without the fields that cannot be written, and which ones these are, by the row's index.

    A row of which nothing would be left has no body.
    """
    bodies: dict[Any, str] = {}
    without: dict[Any, str] = {}
    affected = rows[rows["list_id"].isin(list(broken))]
    for index, list_id, operation, after_json in zip(
        affected.index, affected["list_id"], affected["operation"], affected["after_json"], strict=True
    ):
        body = json.loads(after_json)
        named = sorted(broken[list_id].keys() & body.get("merge_fields", {}).keys())
        if not named:
            continue
        without[index] = "; ".join(f"{tag}: {broken[list_id][tag]}" for tag in named)
        left = without_fields(operation, body, named)
        if left is not None:
            bodies[index] = canonical_json(left)
    return bodies, without


def _in_turn(
    operations: tuple[Operation, ...],
    rows: pd.DataFrame,
    waiting: Waiting,
    send: Callable[[pd.DataFrame], list[Result]],
) -> list[Result]:
    """Send rows; of those that were refused before, a few first, and the rest if these are taken.

    While a cause keeps everybody out of an audience, a few new people are tried before the others are.
    """
    results = [Result(index, OutcomeKind.REJECTED, said) for index, said in waiting.by_person.items()]
    shut: set[str] = set()
    let_in: list[int] = []
    for door, indexes in waiting.behind.items():
        tried: list[Result] = []
        if door not in waiting.not_now:
            if operations == (Operation.CHANGE_EMAIL,):
                # Each frees the address that the next may take: nothing is sent out of turn.
                let_in += indexes
                continue
            tried = send(rows.loc[indexes[:PROBES]])
            results += tried
        others = indexes[len(tried) :]
        if any(result.cause != door.cause for result in tried):
            let_in += others
            continue
        if door.cause in _OF_EVERYBODY:
            shut.add(door.list_id)
        results += [
            Result(
                index,
                OutcomeKind.DEFERRED,
                f"{waiting.said[index]} ({NOT_TRIED_AGAIN})",
                door.cause,
                door.field,
            )
            for index in others
        ]
    done = set(waiting.said) - set(let_in) | set(waiting.by_person)
    rest = rows[~rows.index.isin(list(done))]
    if operations != (Operation.CREATE,):
        return results + send(rest)
    for list_id, part in rest.groupby("list_id", sort=False):
        size = _NEWCOMERS_TRIED if list_id in shut else CHUNK
        first = send(part.iloc[:size])
        results += first
        later = part.iloc[size:]
        if later.empty:
            continue
        if _all_for_one_cause(first):
            results += [
                Result(
                    index,
                    OutcomeKind.DEFERRED,
                    f"{mask_text(first[0].detail)} ({NEVER_TRIED})",
                    first[0].cause,
                    first[0].field,
                )
                for index in later.index
            ]
        else:
            results += send(later)
    return results


def _all_for_one_cause(results: Sequence[Result]) -> bool:
    causes = {(result.cause, result.field) for result in results}
    return len(causes) == 1 and results[0].cause in _OF_EVERYBODY


def _appeared_since(
    plan: pd.DataFrame, client: MailchimpClient, observed_at: datetime, now: datetime
) -> pd.Index:
    """Find rows that would create somebody as subscribed who has become a member since the observation."""
    consenting = plan[
        (plan["operation"] == Operation.CREATE)
        & plan["status"].isin([MemberStatus.SUBSCRIBED, MemberStatus.PENDING])
    ]
    if consenting.empty or not creates_need_new_observation(observed_at, now):
        return consenting.index[:0]
    found: list[pd.Index] = []
    for list_id, rows in consenting.groupby("list_id"):
        present = set(read_members(client, str(list_id)).rows["email"])
        found.append(rows.index[rows["email"].isin(present)])
    return found[0].append(found[1:])


def _apply(
    operations: tuple[Operation, ...], rows: pd.DataFrame, writes: MemberWrites, first_load: Collection[str]
) -> list[Result]:
    prepared = [_write(row) for row in rows.itertuples()]
    match operations[0]:
        case Operation.CHANGE_EMAIL:
            return writes.change_in_order(prepared)
        case Operation.CREATE:
            return writes.create(prepared)
        case Operation.PERMIT:
            return writes.permit(prepared)
        case Operation.UNTAG | Operation.TAG:
            silent = [write for write in prepared if write.list_id in first_load]
            return writes.tag_silently(silent) + writes.tag_by_segment(
                [write for write in prepared if write.list_id not in first_load]
            )
        case Operation.ARCHIVE | Operation.UPDATE | Operation.UPGRADE | Operation.UNSUBSCRIBE:
            return writes.change(prepared)
        case never:
            assert_never(never)


def _with_contact(rows: pd.DataFrame, behind: pd.DataFrame) -> pd.DataFrame:
    """Add name and evidence of the contact that a row is about; a renamed one is known by its new address."""
    address = rows["new_email"].where(rows["new_email"].notna(), rows["email"])
    found = behind.reindex(address).set_axis(rows.index)
    return rows.assign(
        name=found["name"].where(found["name"].notna(), None),
        evidence_json=found["evidence_json"].where(found["evidence_json"].notna(), None),
    )


def _write(row: Any) -> Write:
    body = (
        {"tag": row.tag} if row.operation in (Operation.TAG, Operation.UNTAG) else json.loads(row.after_json)
    )
    return Write(
        key=row.Index,
        list_id=row.list_id,
        audience=row.audience,
        email=row.email,
        subscriber_hash=row.subscriber_hash,
        operation=Operation(row.operation),
        body=body,
        plan_id=row.plan_id,
        row_key=row.row_key,
        partner_id=None if pd.isna(row.partner_id) else int(row.partner_id),
        name=row.name,
        evidence=json.loads(row.evidence_json)
        if row.evidence_json and (row.status in _ON_EVIDENCE or row.operation == Operation.PERMIT)
        else None,
    )
