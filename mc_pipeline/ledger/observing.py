"""What a read of the audiences says beyond what the ledger knew: a pure comparison of two tables.

``members`` reads and writes; here is only which rows are news, and which consent events they are.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from mc_pipeline.ledger.consent import CLEAN, COMPLAINT, EVENT_OF_STATUS, OPT_OUT, ConsentEvent
from mc_pipeline.ledger.errors import ObservationError
from mc_pipeline.ledger.serialization import canonical_json

OBSERVED_COLUMNS = ("audience", "list_id", "email", "status", "last_changed", "merge_fields_json", "language")

# At first sight these say that something happened before anybody looked; the others say nothing.
_TELLING_AT_FIRST_SIGHT = ("unsubscribed", "cleaned", "archived")
_OPTED_OUT = ("unsubscribed", "cleaned")
# Mailchimp knows no status for complaints: the reason of the unsubscribe tells them apart.
_COMPLAINT = re.compile(r"abuse|complain|spam", re.IGNORECASE)


@dataclass(frozen=True)
class Comparison:
    """News of a read. Every table is indexed by nothing and keyed by list_id and email.

    present      members seen, with what is known about them (columns of both tables, ``known`` bool)
    changed      the rows of ``present`` whose record changes
    first_seen   the rows of ``present`` that have no record yet
    to_fill      the rows of ``present`` where we wrote and never learned what Mailchimp made of it
    told         the rows of ``present`` that are consent events, with ``status_from``
    absent       known members that a complete read did not find: list_id, email
    """

    present: pd.DataFrame
    changed: pd.DataFrame
    first_seen: pd.DataFrame
    to_fill: pd.DataFrame
    told: pd.DataFrame
    absent: pd.DataFrame


def checked(observed: pd.DataFrame) -> pd.DataFrame:
    """The columns that matter, one row per member. Raises ``ObservationError`` naming what is missing."""
    missing = [column for column in OBSERVED_COLUMNS if column not in observed.columns]
    if missing:
        raise ObservationError(
            f"the observed members have no column {', '.join(missing)}; give the rows of mailchimp_members"
        )
    rows = observed.loc[:, list(OBSERVED_COLUMNS)].copy()
    rows["unsubscribe_reason"] = observed.get("unsubscribe_reason")
    if len(rows) and rows["last_changed"].notna().any():
        if not isinstance(rows["last_changed"].dtype, pd.DatetimeTZDtype):
            raise ObservationError(
                "last_changed of the observed members has no timezone; give UTC timestamps"
            )
    else:
        rows["last_changed"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us, UTC]")
    if rows[["list_id", "email", "status"]].isna().any(axis=None):
        raise ObservationError(
            "some observed members have no list_id, email or status; leave them out and say why"
        )
    rows["email"] = rows["email"].str.strip().str.lower()
    return rows.drop_duplicates(["list_id", "email"], keep="last").reset_index(drop=True)


def compare(known: pd.DataFrame, observed: pd.DataFrame, observed_at: datetime, complete: bool) -> Comparison:
    """Set a read beside what the ledger knows of the same audiences.

    A member that we wrote at or after ``observed_at`` is left out: the read is older than the write.
    """
    overtaken = known["written_at"].notna() & (known["written_at"] >= pd.Timestamp(observed_at))
    present = observed.merge(
        known.drop(columns="written_at"), on=["list_id", "email"], how="left", indicator=True
    )
    present["known"] = present.pop("_merge") == "both"
    for flag in ("awaits_answer", "ever_subscribed", "opted_out", "archived_by_us", "vanished"):
        present[flag] = present[flag].eq(True).fillna(False).astype(bool)
    present["absent_reads"] = present["absent_reads"].fillna(0).astype("int64")
    keys_overtaken = pd.MultiIndex.from_frame(known.loc[overtaken, ["list_id", "email"]])
    keys_present = pd.MultiIndex.from_frame(present[["list_id", "email"]])
    present = present[~keys_present.isin(keys_overtaken)]

    status = present["status"]
    seen_before = present["last_status"].notna()
    status_changed = ~seen_before | (present["last_status"] != status)
    news = (
        status_changed
        | (present["absent_reads"] > 0)
        | present["vanished"]
        | ((status == "subscribed") & ~present["ever_subscribed"])
        | (status.isin(_OPTED_OUT) & ~present["opted_out"])
        | (present["archived_by_us"] & (status != "archived"))
    )
    present = present.assign(
        status_from=present["last_status"].where(seen_before, None),
        ever_subscribed=present["ever_subscribed"] | (status == "subscribed"),
        opted_out=present["opted_out"] | status.isin(_OPTED_OUT),
        archived_by_us=present["archived_by_us"] & (status == "archived"),
    )
    told = status_changed & (seen_before | status.isin(_TELLING_AT_FIRST_SIGHT))

    candidates = known[known["last_status"].notna() & ~overtaken & ~known["vanished"].astype(bool)]
    keys_known = pd.MultiIndex.from_frame(candidates[["list_id", "email"]])
    absent = candidates.loc[~keys_known.isin(keys_present), ["list_id", "email"]]
    return Comparison(
        present=present,
        changed=present[present["known"] & news],
        first_seen=present[~present["known"]],
        to_fill=present[present["known"] & present["awaits_answer"]],
        told=present[told],
        absent=absent if complete else absent.iloc[:0],
    )


def event_of(row: Any, company: str, observed_at: datetime, *, ours: bool) -> ConsentEvent:
    """The consent event that a row of ``Comparison.told`` is."""
    status_from = row.status_from if isinstance(row.status_from, str) else ""
    evidence: dict[str, Any] = {"observed_at": observed_at.isoformat()}
    if not status_from:
        evidence["first_seen"] = True
    reason = row.unsubscribe_reason if isinstance(row.unsubscribe_reason, str) else ""
    if reason:
        evidence["unsubscribe_reason"] = reason
    event = EVENT_OF_STATUS.get(row.status, row.status)
    if event in (OPT_OUT, CLEAN) and _COMPLAINT.search(reason):
        event = COMPLAINT
    return ConsentEvent(
        company=company,
        audience=row.audience,
        list_id=row.list_id,
        email=row.email,
        event=event,
        origin="ours" if ours else "unknown",
        status_from=status_from,
        status_to=row.status,
        occurred_at=moment(row.last_changed) or observed_at,
        seen_at=observed_at,
        evidence=evidence,
    )


def returned_json(row: Any) -> str:
    """What Mailchimp has for a member, in the shape of ``returned_json``."""
    language = (
        f',"language":{canonical_json(row.language)}'
        if isinstance(row.language, str) and row.language
        else ""
    )
    fields = row.merge_fields_json if isinstance(row.merge_fields_json, str) else "{}"
    # Both parts are canonical JSON already, and "language" sorts before "merge_fields".
    return "{" + (language[1:] + "," if language else "") + f'"merge_fields":{fields}' + "}"


def moment(value: Any) -> datetime | None:
    """A timestamp of pandas as a datetime; None for NaT."""
    return None if value is None or pd.isna(value) else value.to_pydatetime()
