"""Which runs are alive: every run keeps a heartbeat here from its start to its exit (RULES 7.5).

Nothing else knows. Dagster shows a run whose process was killed as running forever, and a lease is free while
a healthy run reads. A run is alive while it has not ended and its last heartbeat is younger than
``LONGEST_SILENCE``; it beats nine times as often, so that trouble of the database is waited out.

Heartbeats are dated by the clock of the machine that runs: clocks of machines that share a ledger must
agree to within a fraction of that time.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, delete, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import run as run_table
from mc_pipeline.ledger.statements import chunks, insert_new

LONGEST_SILENCE = timedelta(minutes=3)
BETWEEN_BEATS = timedelta(seconds=20)
_KEPT = timedelta(days=90)
_SECONDS_TO_END = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunBeat:
    """One run and its heartbeat. ``company`` is empty for a job of all companies, ``owner`` is host:pid."""

    run_id: str
    company: str
    job: str
    owner: str
    started_at: datetime
    beat_at: datetime
    ended_at: datetime | None

    @property
    def last_sign(self) -> datetime:
        """The run's last sign of life: its last heartbeat, or its end."""
        return max(self.beat_at, self.ended_at or self.beat_at)


class Runs:
    """The heartbeats of all runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run_id: str, *, company: str, job: str, owner: str) -> None:
        """Note that a run has started, and forget runs of long ago."""
        self.beat(run_id, company=company, job=job, owner=owner)
        with self._database.write() as connection:
            connection.execute(delete(run_table).where(run_table.c.beat_at < self._database.now() - _KEPT))

    def beat(self, run_id: str, *, company: str, job: str, owner: str) -> bool:
        """Note that a run is alive, at first also who it is; False when somebody has ended it."""
        with self._database.write() as connection:
            now = self._database.now()
            row = {"run_id": run_id, "company": company, "job": job, "owner": owner}
            insert_new(connection, run_table, [{**row, "started_at": now, "beat_at": now}])
            beaten = connection.execute(
                update(run_table)
                .where(run_table.c.run_id == run_id, run_table.c.ended_at.is_(None))
                .values(beat_at=now)
            )
            return beaten.rowcount == 1

    def end(self, run_id: str) -> None:
        """Note that a run has ended; the first end counts."""
        with self._database.write() as connection:
            connection.execute(
                update(run_table)
                .where(run_table.c.run_id == run_id, run_table.c.ended_at.is_(None))
                .values(ended_at=self._database.now())
            )

    def end_silent(self, seen: RunBeat) -> bool:
        """End a run that gives no sign of life any more, unless it changed since it was ``seen``.

        Of several who find it, one is answered True.
        """
        with self._database.write() as connection:
            unchanged = (
                run_table.c.ended_at.is_(None)
                if seen.ended_at is None
                else run_table.c.ended_at == seen.ended_at
            )
            ended = connection.execute(
                update(run_table)
                .where(run_table.c.run_id == seen.run_id, run_table.c.beat_at == seen.beat_at, unchanged)
                .values(ended_at=self._database.now())
            )
            return ended.rowcount == 1

    def alive(
        self, company: str, job: str | None = None, *, longest_silence: timedelta | None = None
    ) -> list[RunBeat]:
        """The runs of a company that are alive, the oldest first; of one job, or of all."""
        silence = LONGEST_SILENCE if longest_silence is None else longest_silence
        query = select(run_table).where(
            run_table.c.company == company,
            run_table.c.ended_at.is_(None),
            run_table.c.beat_at > self._database.now() - silence,
        )
        if job is not None:
            query = query.where(run_table.c.job == job)
        with self._database.read() as connection:
            found = (
                connection.execute(query.order_by(run_table.c.started_at, run_table.c.run_id))
                .mappings()
                .all()
            )
        return [_run_beat(row) for row in found]

    def unfinished(self) -> list[RunBeat]:
        """The runs of all companies that have not ended, alive or not, the oldest first."""
        query = select(run_table).where(run_table.c.ended_at.is_(None))
        with self._database.read() as connection:
            rows = (
                connection.execute(query.order_by(run_table.c.started_at, run_table.c.run_id))
                .mappings()
                .all()
            )
        return [_run_beat(row) for row in rows]

    def last(self, company: str) -> RunBeat | None:
        """The run of a company that started last, ended or not; None when there was none lately."""
        query = (
            select(run_table)
            .where(run_table.c.company == company)
            .order_by(run_table.c.started_at.desc(), run_table.c.run_id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _run_beat(row)

    def known(self, run_ids: Collection[str]) -> dict[str, RunBeat]:
        """The heartbeats of these runs, those that have one, ended or not."""
        found: dict[str, RunBeat] = {}
        with self._database.read() as connection:
            for some in chunks(run_ids):
                query = select(run_table).where(run_table.c.run_id.in_(some))
                found |= {row["run_id"]: _run_beat(row) for row in connection.execute(query).mappings()}
        return found


@contextmanager
def heartbeat(
    runs: Callable[[], Runs],
    run_id: str,
    *,
    company: str,
    job: str,
    owner: str,
    between_beats: timedelta | None = None,
) -> Iterator[None]:
    """Keep the heartbeat of a run in the background, and end it at the end.

    A ledger that cannot be written only costs heartbeats: the run itself continues. ``runs`` opens it.
    """

    def beat() -> None:
        while not ended.wait(interval.total_seconds()):
            try:
                alive = runs().beat(run_id, company=company, job=job, owner=owner)
            except Exception as error:
                _log.warning("the heartbeat of run %s could not be noted: %s", run_id, error)
                continue
            if not alive:
                if not ended.is_set():
                    _log.error("%s", _NOT_HEARD_OF.format(run_id))
                return

    interval = BETWEEN_BEATS if between_beats is None else between_beats
    ended = threading.Event()
    beating = threading.Thread(target=beat, name=f"heartbeat of run {run_id}", daemon=True)
    try:
        runs().begin(run_id, company=company, job=job, owner=owner)
    except Exception as error:
        _log.warning("the start of run %s could not be noted: %s", run_id, error)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        try:
            runs().end(run_id)
        except Exception as error:
            _log.warning("the end of run %s could not be noted: %s", run_id, error)
        # A thread that the end of the process finds at work in a library may abort the process.
        beating.join(timeout=_SECONDS_TO_END)


_NOT_HEARD_OF = (
    "run {} sent no heartbeat for too long (the process or the machine was asleep, or the ledger could not "
    "be written), so it was ended; what it still does is safe, but nothing waits for it"
)


def _run_beat(row: RowMapping) -> RunBeat:
    return RunBeat(**row)
