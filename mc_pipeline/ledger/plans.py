"""The plans that were shown, who released which, and which audiences may be written at all (RULES 7.1–7.3).

An approval releases rows, not a plan's id: it keeps the keys of the rows that the person saw. A first load
that crashed is planned again under another id, and its remaining rows still have their approval. Whether a
plan needs approval is a rule (``mc_pipeline.domain``) and decided before it is saved.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, select, update

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import PlanError
from mc_pipeline.ledger.schema import approval, opened_audience, plan
from mc_pipeline.ledger.serialization import compress_keys, expand_keys
from mc_pipeline.ledger.statements import insert_new, insert_or_replace

# How long a plan may wait for its approval, and how long an approval lasts.
DEFAULT_LIFETIME = timedelta(hours=24)
# Row keys of a first load are megabytes; after this long nobody can approve or continue it any more.
_KEEP_ROW_KEYS = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """A plan as the ledger keeps it.

    observed_at            the oldest observation it was made from (UTC)
    counts                 what it shows: rows by operation, contacts by status, and so on
    row_keys               keys of all its rows; empty once the plan is long over
    guards                 each guard with its limit and its figure
    needs_approval         a guard is broken, or it is the first load of an audience
    first_load_audiences   list ids that an approval opens
    applied_at             when it was applied; None: not since this observation
    applied_in_part        then, what waited for an approval was left out, and waits
    """

    plan_id: str
    company: str
    observed_at: datetime
    row_count: int
    counts: Mapping[str, Any]
    row_keys: Sequence[str]
    guards: Sequence[Mapping[str, Any]]
    needs_approval: bool
    first_load_audiences: Collection[str] = ()
    saved_at: datetime | None = None
    applied_at: datetime | None = None
    applied_in_part: bool = False

    def __repr__(self) -> str:
        return f"PlanRecord({self.plan_id}, company={self.company!r}, rows={self.row_count})"


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Who released which plan, when and why, and the list ids that it opened."""

    plan_id: str
    company: str
    approved_by: str
    reason: str
    approved_at: datetime
    row_count: int
    opened_audiences: tuple[str, ...]


class Plans:
    """The plans of all companies."""

    def __init__(self, database: Database, lifetime: timedelta = DEFAULT_LIFETIME) -> None:
        self._database = database
        self._lifetime = lifetime

    def save(self, record: PlanRecord) -> None:
        """Keep a plan. The same plan made again from a newer observation is due again; its approvals stay."""
        if record.row_count != len(record.row_keys):
            raise PlanError(
                f"plan {record.plan_id} says {record.row_count} rows but has {len(record.row_keys)} row keys"
            )
        now = self._database.now()
        row = {
            "plan_id": record.plan_id,
            "company": record.company,
            "saved_at": now,
            "observed_at": record.observed_at,
            "row_count": record.row_count,
            "counts_json": canonical_json(record.counts),
            "guards_json": canonical_json(list(record.guards)),
            "needs_approval": record.needs_approval,
            "first_load_audiences_json": canonical_json(sorted(record.first_load_audiences)),
            "row_keys": compress_keys(record.row_keys),
        }
        with self._database.write() as connection:
            known = _find(connection, record.plan_id)
            if known is not None and known["company"] != record.company:
                raise PlanError(
                    f"plan {record.plan_id} belongs to company {known['company']}, not {record.company}"
                )
            if known is not None and known["observed_at"] > record.observed_at:
                return
            insert_or_replace(connection, plan, [row])
            self._forget_row_keys(connection, now)

    def get(self, plan_id: str) -> PlanRecord | None:
        """The plan of that id, or None."""
        with self._database.read() as connection:
            row = _find(connection, plan_id)
        return None if row is None else _record(row)

    def latest(self, company: str) -> PlanRecord | None:
        """The company's plan with the newest observation, or None."""
        with self._database.read() as connection:
            row = _latest(connection, company)
        return None if row is None else _record(row)

    def waiting(self, company: str | None = None) -> list[PlanRecord]:
        """Plans that a person can release now: the newest of each company, if it waits for that."""
        now = self._database.now()
        waiting = []
        with self._database.read() as connection:
            companies = [company] if company is not None else _companies(connection)
            for name in companies:
                row = _latest(connection, name)
                if row is None or not row["needs_approval"] or _is_done(row):
                    continue
                if row["observed_at"] + self._lifetime <= now:
                    continue
                if not self._approvals(connection, name, now - self._lifetime, plan_id=row["plan_id"]):
                    waiting.append(_record(row))
        return waiting

    def approve(self, plan_id: str, by: str, reason: str) -> Approval:
        """Release the rows of a plan and open the audiences that it would load for the first time.

        Of a plan that was applied in part, the rows that waited are in the next plan, and released there.

        Raises ``PlanError`` when the plan is unknown, applied as a whole or expired, or when nobody or no
        reason is named.
        """
        if not by.strip() or not reason.strip():
            raise PlanError(f"an approval of plan {plan_id} needs a name and a reason: give by and reason")
        with self._database.write() as connection:
            now = self._database.now()
            row = _find(connection, plan_id)
            if row is None:
                raise PlanError(
                    f"there is no plan {plan_id}; sync the company with --plan to see its present plan"
                )
            if _is_done(row):
                raise PlanError(
                    f"plan {plan_id} of company {row['company']} was applied at "
                    f"{row['applied_at']:%Y-%m-%d %H:%M} UTC: there is nothing left to approve"
                )
            if row["observed_at"] + self._lifetime <= now:
                raise PlanError(
                    f"plan {plan_id} of company {row['company']} expired: it shows what was observed at "
                    f"{row['observed_at']:%Y-%m-%d %H:%M} UTC, more than {_hours(self._lifetime)} ago; "
                    "make a new plan"
                )
            approved = Approval(
                plan_id=plan_id,
                company=row["company"],
                approved_by=by,
                reason=reason,
                approved_at=now,
                row_count=row["row_count"],
                opened_audiences=tuple(json.loads(row["first_load_audiences_json"])),
            )
            connection.execute(
                approval.insert().values(
                    company=approved.company,
                    plan_id=plan_id,
                    approved_by=by,
                    reason=reason,
                    approved_at=now,
                    row_count=approved.row_count,
                    opened_audiences_json=canonical_json(list(approved.opened_audiences)),
                    row_keys=row["row_keys"],
                )
            )
            insert_new(
                connection,
                opened_audience,
                [
                    {"company": approved.company, "list_id": list_id, "plan_id": plan_id, "opened_at": now}
                    for list_id in approved.opened_audiences
                ],
            )
        return approved

    def approvals(self, company: str, since: datetime | None = None) -> list[Approval]:
        """Who released what for a company, newest first; ``since`` None: ever."""
        with self._database.read() as connection:
            rows = self._approvals(connection, company, since)
        return [
            Approval(
                plan_id=row["plan_id"],
                company=row["company"],
                approved_by=row["approved_by"],
                reason=row["reason"],
                approved_at=row["approved_at"],
                row_count=row["row_count"],
                opened_audiences=tuple(json.loads(row["opened_audiences_json"])),
            )
            for row in rows
        ]

    def approved_row_keys(self, company: str, since: datetime | None = None) -> set[str]:
        """Keys of all rows that were released since then; by default, in the lifetime of an approval."""
        since = self._database.now() - self._lifetime if since is None else since
        with self._database.read() as connection:
            rows = self._approvals(connection, company, since)
        return {key for row in rows for key in expand_keys(row["row_keys"])}

    def opened_audiences(self, company: str) -> set[str]:
        """List ids whose first load a person approved, at any time."""
        query = select(opened_audience.c.list_id).where(opened_audience.c.company == company)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def in_first_load(self, company: str, list_ids: Collection[str]) -> set[str]:
        """Which of these audiences are in their first load, or have it still to come.

        A first load lasts until the outcome of all writes of the approved first plan is known
        (``mark_applied``); the approval does not end it. As long as it lasts, nobody is asked to confirm,
        tags start no automations, and the audience's store is not finished.
        """
        loaded = select(opened_audience.c.list_id).where(
            opened_audience.c.company == company, opened_audience.c.loaded_at.is_not(None)
        )
        with self._database.read() as connection:
            return set(list_ids) - set(connection.execute(loaded).scalars())

    def first_load_row_keys(self, company: str) -> set[str]:
        """Keys of the rows of the approved first plans of audiences whose first load is not over."""
        query = (
            select(approval.c.row_keys)
            .join(
                opened_audience,
                and_(
                    opened_audience.c.company == approval.c.company,
                    opened_audience.c.plan_id == approval.c.plan_id,
                ),
            )
            .where(opened_audience.c.company == company, opened_audience.c.loaded_at.is_(None))
            .distinct()
        )
        with self._database.read() as connection:
            blobs = connection.execute(query).scalars().all()
        return {key for blob in blobs for key in expand_keys(blob)}

    def mark_applied(
        self,
        plan_id: str,
        observed_at: datetime,
        *,
        still_loading: Collection[str] = (),
        in_part: bool = False,
    ) -> None:
        """The plan, as observed then, was applied to its end: not due again before a newer observation.

        ``in_part``: what waits for an approval was left out, so that it can still be approved.

        It finishes the first load of the company's opened audiences, but for those ``still_loading`` (list
        ids): a later plan has the rest of their writes. Which those are: ``domain.plan.first_load_ends``.
        """
        with self._database.write() as connection:
            now = self._database.now()
            row = _find(connection, plan_id)
            if row is None:
                raise PlanError(f"there is no plan {plan_id}; save a plan before applying it")
            connection.execute(
                update(plan)
                .where(plan.c.plan_id == plan_id)
                .values(applied_at=now, applied_observed_at=observed_at, applied_in_part=in_part)
            )
            connection.execute(
                update(opened_audience)
                .where(
                    opened_audience.c.company == row["company"],
                    opened_audience.c.loaded_at.is_(None),
                    opened_audience.c.list_id.not_in(sorted(still_loading)),
                )
                .values(loaded_at=now)
            )

    def is_applied(self, plan_id: str) -> bool:
        """Whether the plan was applied since it was last made, as a whole or but for what waits."""
        with self._database.read() as connection:
            row = _find(connection, plan_id)
        return row is not None and _is_applied(row)

    def _approvals(
        self, connection: Connection, company: str, since: datetime | None, plan_id: str | None = None
    ) -> Sequence[RowMapping]:
        query = select(approval).where(approval.c.company == company).order_by(approval.c.id.desc())
        if since is not None:
            query = query.where(approval.c.approved_at > since)
        if plan_id is not None:
            query = query.where(approval.c.plan_id == plan_id)
        return connection.execute(query).mappings().all()

    def _forget_row_keys(self, connection: Connection, now: datetime) -> None:
        for table, moment in ((plan, plan.c.saved_at), (approval, approval.c.approved_at)):
            connection.execute(
                update(table)
                .where(moment < now - max(_KEEP_ROW_KEYS, self._lifetime), table.c.row_keys.is_not(None))
                .values(row_keys=None)
            )


def _find(connection: Connection, plan_id: str) -> RowMapping | None:
    return connection.execute(select(plan).where(plan.c.plan_id == plan_id)).mappings().first()


def _latest(connection: Connection, company: str) -> RowMapping | None:
    query = (
        select(plan)
        .where(plan.c.company == company)
        .order_by(plan.c.observed_at.desc(), plan.c.saved_at.desc())
        .limit(1)
    )
    return connection.execute(query).mappings().first()


def _companies(connection: Connection) -> list[str]:
    return list(connection.execute(select(plan.c.company).distinct().order_by(plan.c.company)).scalars())


def _is_applied(row: RowMapping) -> bool:
    return row["applied_observed_at"] is not None and row["applied_observed_at"] >= row["observed_at"]


def _is_done(row: RowMapping) -> bool:
    """Whether the plan was applied and nothing of it waits for an approval."""
    return _is_applied(row) and not row["applied_in_part"]


def _record(row: RowMapping) -> PlanRecord:
    return PlanRecord(
        plan_id=row["plan_id"],
        company=row["company"],
        observed_at=row["observed_at"],
        row_count=row["row_count"],
        counts=json.loads(row["counts_json"]),
        row_keys=expand_keys(row["row_keys"]),
        guards=json.loads(row["guards_json"]),
        needs_approval=row["needs_approval"],
        first_load_audiences=tuple(json.loads(row["first_load_audiences_json"])),
        saved_at=row["saved_at"],
        applied_at=row["applied_at"] if _is_applied(row) else None,
        applied_in_part=_is_applied(row) and bool(row["applied_in_part"]),
    )


def _hours(duration: timedelta) -> str:
    return f"{duration.total_seconds() / 3600:g} hours"
