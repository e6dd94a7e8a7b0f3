"""Applies one audience plan, phase by phase: addresses are freed before they are taken, tags come last."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

import pandas as pd

from mc_pipeline.domain.guards import creates_need_new_observation
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.members import read_members
from mc_pipeline.push.writes import MemberWrites, Result, Write

SLICE = 10_000
"""Rows that are turned into requests at a time: bounds memory, whatever the plan's size."""

PHASES: tuple[tuple[str, ...], ...] = (
    ("change_email",),
    ("archive",),
    ("create",),
    ("update",),
    ("upgrade",),
    ("permit",),
    ("untag", "tag"),
)


_ON_EVIDENCE = ("subscribed", "pending")

MEMBER_NOT_CREATED = "the member could not be created"
"""Why a tag or a permission is not sent: Mailchimp refused its member, for good or for now."""


def push_plan(
    plan: pd.DataFrame,
    writes: MemberWrites,
    client: MailchimpClient,
    *,
    first_load: Collection[str],
    open_addresses: Collection[tuple[str, str]],
    contacts: pd.DataFrame,
    observed_at: datetime,
    now: datetime,
) -> pd.DataFrame:
    """Apply the rows of ``plan`` that are not held back and return every row with its outcome.

    Args:
        plan: rows of audience_plan, in order of ``sequence``.
        first_load: ids of the lists whose tags must not start automations.
        open_addresses: list id and address of members with an earlier write whose outcome nobody knows yet.
        contacts: the contacts table: names and evidence of consent go into the ledger with each write.
        observed_at: when the audiences were read; creations as subscribed look again when it is long ago.
        now: the present moment.

    Returns:
        The plan's rows with ``outcome`` and ``detail``.
    """
    outcome = pd.Series("unknown", index=plan.index, dtype=object)
    detail = pd.Series("", index=plan.index, dtype=object)
    held_back = plan["held_back_because"] != ""
    outcome[held_back] = "held_back"
    detail[held_back] = plan.loc[held_back, "held_back_because"]
    due = ~held_back
    unsettled = due & pd.MultiIndex.from_frame(plan[["list_id", "email"]]).isin(list(open_addresses))
    outcome[unsettled] = "held_back"
    detail[unsettled] = "what became of an earlier write to this address is not known yet"
    due &= ~unsettled
    appeared = _appeared_since(plan[due], client, observed_at, now)
    outcome[appeared] = "unchanged"
    detail[appeared] = "the address became a member after the plan was made"
    due &= ~plan.index.isin(appeared)

    behind = contacts.drop_duplicates("email").set_index("email")[["name", "evidence_json"]]
    for operations in PHASES:
        rows = plan[due & plan["operation"].isin(operations)]
        for start in range(0, len(rows), SLICE):
            part = rows.iloc[start : start + SLICE]
            results = _apply(operations, _with_contact(part, behind), writes, first_load)
            outcome.update(pd.Series({result.key: result.outcome for result in results}, dtype=object))
            detail.update(pd.Series({result.key: result.detail for result in results}, dtype=object))
        failed_creates = plan.index[(plan["operation"] == "create") & ~outcome.isin(["applied", "unchanged"])]
        if operations == ("create",) and len(failed_creates):
            # A tag or a permission needs its member.
            missing = pd.MultiIndex.from_frame(plan.loc[failed_creates, ["list_id", "email"]])
            orphaned = (
                due
                & plan["operation"].isin(["tag", "untag", "permit"])
                & pd.MultiIndex.from_frame(plan[["list_id", "email"]]).isin(missing)
            )
            outcome[orphaned] = "held_back"
            detail[orphaned] = MEMBER_NOT_CREATED
            due &= ~orphaned
    return plan.assign(outcome=outcome, detail=detail)


def _appeared_since(
    plan: pd.DataFrame, client: MailchimpClient, observed_at: datetime, now: datetime
) -> pd.Index:
    """Find rows that would create somebody as subscribed who has become a member since the observation."""
    consenting = plan[(plan["operation"] == "create") & plan["status"].isin(["subscribed", "pending"])]
    if consenting.empty or not creates_need_new_observation(observed_at, now):
        return consenting.index[:0]
    found: list[pd.Index] = []
    for list_id, rows in consenting.groupby("list_id"):
        present = set(read_members(client, str(list_id)).rows["email"])
        found.append(rows.index[rows["email"].isin(present)])
    return found[0].append(found[1:])


def _apply(
    operations: tuple[str, ...], rows: pd.DataFrame, writes: MemberWrites, first_load: Collection[str]
) -> list[Result]:
    prepared = [_write(row) for row in rows.itertuples()]
    match operations:
        case ("change_email",):
            return writes.change_in_order(prepared)
        case ("create",):
            return writes.create(prepared)
        case ("permit",):
            return writes.permit(prepared)
        case ("untag", "tag"):
            silent = [write for write in prepared if write.list_id in first_load]
            return writes.tag_silently(silent) + writes.tag_by_segment(
                [write for write in prepared if write.list_id not in first_load]
            )
        case _:
            return writes.change(prepared)


def _with_contact(rows: pd.DataFrame, behind: pd.DataFrame) -> pd.DataFrame:
    """Add name and evidence of the contact that a row is about; a renamed one is known by its new address."""
    address = rows["new_email"].where(rows["new_email"].notna(), rows["email"])
    found = behind.reindex(address).set_axis(rows.index)
    return rows.assign(
        name=found["name"].where(found["name"].notna(), None),
        evidence_json=found["evidence_json"].where(found["evidence_json"].notna(), None),
    )


def _write(row: Any) -> Write:
    body = {"tag": row.tag} if row.operation in ("tag", "untag") else json.loads(row.after_json)
    return Write(
        key=row.Index,
        list_id=row.list_id,
        audience=row.audience,
        email=row.email,
        subscriber_hash=row.subscriber_hash,
        operation=row.operation,
        body=body,
        plan_id=row.plan_id,
        row_key=row.row_key,
        partner_id=None if pd.isna(row.partner_id) else int(row.partner_id),
        name=row.name,
        evidence=json.loads(row.evidence_json)
        if row.evidence_json and (row.status in _ON_EVIDENCE or row.operation == "permit")
        else None,
    )
