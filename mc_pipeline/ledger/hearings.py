"""When audiences and Odoo were last read for opt-outs, and which cannot be read (RULES 5.1).

An audience is asked at most once a minute, whichever run does it: here is when that was. The cursors of the
audiences are in ``opt_out_reads``; those of Odoo are here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import hearing, odoo_hearing
from mc_pipeline.ledger.statements import insert_or_replace

NOT_FOUND = "not_found"
"""Kind of a failure: Mailchimp has no such audience (404)."""
_READS_UNTIL_GONE = 2


@dataclass(frozen=True, kw_only=True)
class HearingState:
    """How an audience was last read. Times are ours, UTC.

    heard_at       None: never
    failed_since   None: the last time went well; in so many runs (``failures``) it did not since
    failed_at      the last failure, ``failed_by`` the run that met it, and its words in ``failure``
    failure_kind   authentication | not_found | other
    """

    list_id: str
    heard_at: datetime | None = None
    failed_since: datetime | None = None
    failures: int = 0
    failed_at: datetime | None = None
    failed_by: str = ""
    failure_kind: str = ""
    failure: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether an audience that was read before was not found twice: it holds nobody (RULES 1.2)."""
        return (
            self.heard_at is not None
            and self.failure_kind == NOT_FOUND
            and self.failures >= _READS_UNTIL_GONE
        )


class Hearings:
    """Reads of all audiences and of Odoo for opt-outs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self, list_ids: Collection[str]) -> dict[str, HearingState]:
        """The state of each of these audiences; one that was never asked for has an empty one."""
        query = select(hearing).where(hearing.c.list_id.in_(sorted(set(list_ids))))
        with self._database.read() as connection:
            found = {row["list_id"]: HearingState(**row) for row in connection.execute(query).mappings()}
        return {list_id: found.get(list_id) or HearingState(list_id=list_id) for list_id in list_ids}

    def heard(self, list_id: str, at: datetime) -> None:
        """Remember that an audience was read; ``at`` is when that began."""
        row = {"list_id": list_id, "heard_at": at, "failed_since": None, "failures": 0, "failed_at": None}
        with self._database.write() as connection:
            insert_or_replace(
                connection, hearing, [{**row, "failed_by": "", "failure_kind": "", "failure": ""}]
            )

    def failed(self, list_id: str, kind: str, words: str, *, by: str) -> None:
        """Remember that an audience could not be read by a run. ``words`` hold no address."""
        now = self._database.now()
        with self._database.write() as connection:
            query = select(hearing).where(hearing.c.list_id == list_id)
            known = connection.execute(query).mappings().first()
            same = known is not None and known["failed_since"] is not None and known["failure_kind"] == kind
            again = known is not None and known["failed_by"] == by
            row = {
                "list_id": list_id,
                "heard_at": known["heard_at"] if known else None,
                "failed_since": known["failed_since"] if known and known["failed_since"] else now,
                "failures": known["failures"] + (not again) if known and same else 1,
                "failed_at": now,
                "failed_by": by,
                "failure_kind": kind,
                "failure": words,
            }
            insert_or_replace(connection, hearing, [row])

    def odoo_read_until(self, company: str, subject: str) -> datetime | None:
        """Up to when Odoo was asked about this subject; None: never."""
        query = select(odoo_hearing.c.read_until).where(
            odoo_hearing.c.company == company, odoo_hearing.c.subject == subject
        )
        with self._database.read() as connection:
            read_until: datetime | None = connection.execute(query).scalar()
            return read_until

    def odoo_heard(self, company: str, subject: str, read_until: datetime) -> None:
        """Remember that everything written in Odoo before ``read_until`` is in the ledger."""
        now = self._database.now()
        row = {"company": company, "subject": subject, "read_until": read_until, "heard_at": now}
        with self._database.write() as connection:
            insert_or_replace(connection, odoo_hearing, [row])
