"""The rows of the audience plan: their columns, keys, order and digest.

What goes into the plan is decided by the neighbouring modules; here is only what makes a row a row. Two plans
with the same rows have the same id, whatever order the inputs came in.
"""

from collections.abc import Iterable
from hashlib import sha256

import pandas as pd

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.vocabulary import Operation

PLAN_COLUMNS: tuple[str, ...] = (
    "plan_id",
    "row_key",
    "sequence",
    "operation",
    "audience",
    "list_id",
    "email",
    "subscriber_hash",
    "partner_id",
    "new_email",
    "tag",
    "status",
    "cause",
    "before_json",
    "after_json",
    "because",
    "held_back_because",
)

ORDER_OF_OPERATIONS: tuple[Operation, ...] = (
    Operation.CHANGE_EMAIL,
    Operation.ARCHIVE,
    Operation.CREATE,
    Operation.UPDATE,
    Operation.UPGRADE,
    Operation.PERMIT,
    Operation.UNTAG,
    Operation.TAG,
)
"""Addresses are freed before they are taken, and a member exists before it is permitted or tagged."""

NOT_QUALIFYING_TAG = "odoo-not-qualifying"
"""Tag of members whom no rule of the company puts into the audience any more and who may not be archived."""


def row_key(operation: str, list_id: str, email: str, detail: str) -> str:
    """Digest of what a row does to whom, without field values: what an approval releases.

    `detail` is the new address, the tag or the status, so that an approval to create somebody as
    transactional does not release creating them as subscribed.
    """
    return sha256("\x1f".join((operation, list_id, email, detail)).encode()).hexdigest()[:20]


def plan_id(company: str, rows: pd.DataFrame) -> str:
    """First 12 hex digits of a digest over the company and every row, order aside."""
    lines = sorted(
        "\x1f".join(parts)
        for parts in zip(
            rows["row_key"],
            rows["cause"],
            rows["before_json"],
            rows["after_json"],
            rows["held_back_because"],
            strict=True,
        )
    )
    digest = sha256(company.encode())
    for line in lines:
        digest.update(b"\x1e")
        digest.update(line.encode())
    return digest.hexdigest()[:12]


def assemble(company: str, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join the parts of a plan into one frame with keys, order of application and id.

    Each part has the columns operation, audience, list_id, email, partner_id, cause, because and those of
    the other PLAN_COLUMNS that mean something for it; ``depth`` (optional) orders changes of address among
    each other.
    """
    filled = [part for part in parts if len(part)]
    if not filled:
        return empty_plan()
    rows = pd.concat(filled, ignore_index=True)
    size = len(rows)
    for column, default in (
        ("before_json", "{}"),
        ("after_json", "{}"),
        ("held_back_because", ""),
        ("depth", 0),
    ):
        if column not in rows:
            rows[column] = [default] * size
        else:
            rows[column] = rows[column].where(rows[column].notna(), default)
    for column in ("new_email", "tag", "status", "subscriber_hash"):
        if column not in rows:
            rows[column] = pd.Series([None] * size, dtype=object)
        else:
            values = rows[column].astype(object)
            rows[column] = values.where(values.notna(), None)
    rows["partner_id"] = (
        rows["partner_id"].astype("Int64") if "partner_id" in rows else pd.array([pd.NA] * size)
    )
    rows["partner_id"] = rows["partner_id"].astype("Int64")
    rows["subscriber_hash"] = [
        known or subscriber_hash(email)
        for known, email in zip(rows["subscriber_hash"], rows["email"], strict=True)
    ]
    rows["row_key"] = [
        row_key(operation, list_id, email, new_email or tag or status or "")
        for operation, list_id, email, new_email, tag, status in zip(
            rows["operation"],
            rows["list_id"],
            rows["email"],
            rows["new_email"],
            rows["tag"],
            rows["status"],
            strict=True,
        )
    ]
    rows["phase"] = rows["operation"].map({name: at for at, name in enumerate(ORDER_OF_OPERATIONS)})
    rows = rows.sort_values(["phase", "depth", "list_id", "email", "row_key"], ignore_index=True)
    rows["sequence"] = range(1, size + 1)
    rows["plan_id"] = plan_id(company, rows)
    return rows[list(PLAN_COLUMNS)]


def empty_plan() -> pd.DataFrame:
    """A plan that changes nothing."""
    rows = pd.DataFrame(columns=list(PLAN_COLUMNS), dtype=object)
    return rows.astype({"sequence": "int64", "partner_id": "Int64"})
