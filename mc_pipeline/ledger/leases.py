"""One writer per company and path: a lease with an owner, an expiry and a fencing number (RULES 7.5).

A company has two paths, ``changes`` and ``opt_outs``, whose writers run side by side; reading an audience has
a lease of its own per list. Each lease has a name, and each name a fencing number.

The number goes up with every new owner and is checked inside each writing transaction, so that a
process that slept through its expiry cannot write over its successor. A crash frees nothing at once:
the lease expires. The owner is a run: several processes of one run share its lease and number.

Expiry is judged by the clock of the machine that asks; clocks of machines that share a ledger must
agree to within a fraction of the time to live.
"""

import logging
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NewType

from sqlalchemy import Connection, RowMapping, delete, func, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import LeaseHeldError, LeaseLostError, LedgerError
from mc_pipeline.ledger.schema import lease as lease_table
from mc_pipeline.ledger.schema import lease_holder
from mc_pipeline.ledger.statements import insert_new

DEFAULT_TIME_TO_LIVE = timedelta(minutes=3)

Fence = NewType("Fence", int)
"""The number of one holding of a lease: a write under a smaller one than the present is refused."""

LeasePath = Literal["changes", "opt_outs", "hearing"]
CHANGES: LeasePath = "changes"
OPT_OUTS: LeasePath = "opt_outs"
HEARING: LeasePath = "hearing"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LeaseState:
    """Who holds a lease; ``expires_at`` in the past means that it is free for the next one."""

    name: str
    owner: str
    fence: int
    since: datetime
    expires_at: datetime


class Lease:
    """A lease as one holder has it. ``fence`` goes along with every write to the ledger.

    ``company`` is the company that the holder writes for, ``name`` what the lease is of.
    """

    def __init__(
        self,
        database: Database,
        company: str,
        path: LeasePath,
        name: str,
        owner: str,
        token: str,
        fence: Fence,
        expires_at: datetime,
        ttl: timedelta,
    ) -> None:
        self._database = database
        self._token = token
        self._ttl = ttl
        self._expires_at = expires_at
        self._lost_because = ""
        self._ended = threading.Event()
        self.company = company
        self.path = path
        self.name = name
        self.owner = owner
        self.fence = fence

    def __repr__(self) -> str:
        return f"Lease({self.name!r}, owner={self.owner!r}, fence={self.fence})"

    def check(self) -> None:
        """Raise ``LeaseLostError`` when the lease is lost or ran out; asks no database, so ask often."""
        if not self._lost_because and self._database.now() >= self._expires_at:
            self._lost_because = _EXPIRED
        if self._lost_because:
            raise LeaseLostError(self.name, self.fence, self._lost_because)

    def renew(self) -> None:
        """Move the expiry away; the heartbeat does it on its own. Raises ``LeaseLostError``."""
        try:
            with self._database.write() as connection:
                require(connection, self.name, self.fence, self._database.now())
                expires_at = self._database.now() + self._ttl
                connection.execute(
                    update(lease_holder)
                    .where(lease_holder.c.token == self._token)
                    .values(expires_at=expires_at)
                )
                _extend(connection, self.name, expires_at)
        except LeaseLostError as error:
            self._lost_because = self._lost_because or error.because
            raise
        self._expires_at = expires_at

    def _beat(self) -> None:
        interval = self._ttl.total_seconds() / 3
        while not self._ended.wait(interval):
            try:
                self.renew()
            except LeaseLostError as error:
                if not self._ended.is_set():
                    _log.error("%s", error)
                return
            except LedgerError as error:
                # The expiry is two beats away: a short trouble of the database is waited out.
                _log.warning("the lease of %s could not be renewed: %s", self.name, error)


class Leases:
    """The leases of all companies and lists."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def hold(
        self,
        company: str,
        owner: str,
        ttl: timedelta = DEFAULT_TIME_TO_LIVE,
        *,
        path: LeasePath = CHANGES,
        list_id: str = "",
    ) -> Iterator[Lease]:
        """Hold a lease, renewed in the background, and free it at the end.

        The lease is the company's for one path; that of ``hearing`` is the list's, whichever company reads
        it. The same owner may hold it several times, nested or from several processes: all have one fencing
        number, and the last one frees it. Raises ``LeaseHeldError`` when another owner has it.
        """
        if ttl <= timedelta(0):
            raise LedgerError(f"a lease lives for {ttl}; give it a positive time to live")
        name = lease_name(company, path, list_id)
        token = uuid.uuid4().hex
        fence, expires_at = self._take(name, owner, token, ttl)
        lease = Lease(self._database, company, path, name, owner, token, Fence(fence), expires_at, ttl)
        heartbeat = threading.Thread(target=lease._beat, name=f"lease of {name}", daemon=True)
        heartbeat.start()
        try:
            yield lease
        finally:
            lease._ended.set()
            heartbeat.join(timeout=5)
            self._free(name, fence, token)

    def current(self, company: str, path: LeasePath = CHANGES) -> LeaseState | None:
        """Who holds a company's lease now; ``None`` when it is free."""
        name = lease_name(company, path)
        with self._database.read() as connection:
            row = connection.execute(select(lease_table).where(lease_table.c.name == name)).mappings().first()
        if row is None or _is_free(row, self._database.now()):
            return None
        return LeaseState(**row)

    def held(self) -> list[LeaseState]:
        """Every lease that somebody holds now, by name."""
        query = select(lease_table).where(lease_table.c.owner.is_not(None)).order_by(lease_table.c.name)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        now = self._database.now()
        return [LeaseState(**row) for row in rows if not _is_free(row, now)]

    def end(self, seen: LeaseState) -> bool:
        """End a lease whose owner is dead, unless it changed hands since it was ``seen``; return whether it
        was ended.

        Should the owner live after all, nothing that it writes under this lease is taken any more.
        """
        with self._database.write() as connection:
            row = lock(connection, seen.name)
            if (row["owner"], row["fence"]) != (seen.owner, seen.fence):
                return False
            connection.execute(delete(lease_holder).where(lease_holder.c.name == seen.name))
            connection.execute(
                update(lease_table)
                .where(lease_table.c.name == seen.name)
                .values(owner=None, since=None, expires_at=None)
            )
            return True

    def _take(self, name: str, owner: str, token: str, ttl: timedelta) -> tuple[int, datetime]:
        with self._database.write() as connection:
            row = lock(connection, name)
            now = self._database.now()
            expires_at = now + ttl
            fence = row["fence"]
            if _is_free(row, now):
                fence += 1
                connection.execute(delete(lease_holder).where(lease_holder.c.name == name))
                connection.execute(
                    update(lease_table)
                    .where(lease_table.c.name == name)
                    .values(fence=fence, owner=owner, since=now, expires_at=expires_at)
                )
            elif row["owner"] == owner:
                _extend(connection, name, expires_at)
            else:
                raise LeaseHeldError(name, row["owner"], row["since"], row["expires_at"])
            connection.execute(
                lease_holder.insert().values(token=token, name=name, fence=fence, expires_at=expires_at)
            )
            return fence, expires_at

    def _free(self, name: str, fence: int, token: str) -> None:
        with self._database.write() as connection:
            row = lock(connection, name)
            connection.execute(delete(lease_holder).where(lease_holder.c.token == token))
            if row["fence"] != fence:
                return
            others_until = connection.execute(
                select(func.max(lease_holder.c.expires_at)).where(lease_holder.c.name == name)
            ).scalar()
            if others_until is None or others_until <= self._database.now():
                values: dict[str, datetime | None] = {"owner": None, "since": None, "expires_at": None}
            else:
                values = {"expires_at": others_until}
            connection.execute(update(lease_table).where(lease_table.c.name == name).values(values))


def lease_name(company: str, path: LeasePath = CHANGES, list_id: str = "") -> str:
    """The name of a lease: the company for its changes, ``company/opt_outs``, or ``list/ID`` for reading an
    audience."""
    if path == HEARING:
        return f"list/{list_id}"
    return company if path == CHANGES else f"{company}/{path}"


_EXPIRED = "it ran out because it was not renewed in time (the process or machine was asleep or overloaded)"


def lock(connection: Connection, name: str) -> RowMapping:
    """Make the transactions under one lease follow each other, and return its row."""
    insert_new(connection, lease_table, [{"name": name, "fence": 0}])
    query = select(lease_table).where(lease_table.c.name == name).with_for_update()
    return connection.execute(query).mappings().one()


def lock_members(connection: Connection, list_ids: Iterable[str]) -> None:
    """Make the transactions that change records of these audiences' members follow each other.

    They are made under several leases: reading for opt-outs, observing, settling.
    """
    for list_id in sorted(set(list_ids)):
        lock(connection, f"members/{list_id}")


def require(connection: Connection, name: str, fence: int, now: datetime) -> None:
    """Continue only while ``fence`` is the present number of the lease and it has not run out.

    Holds the row of the lease until the transaction ends: nobody can take it over meanwhile.
    Raises ``LeaseLostError``.
    """
    row = lock(connection, name)
    if row["fence"] != fence:
        if row["owner"] is None:
            raise LeaseLostError(name, fence, f"it is free, and its number is {row['fence']} by now")
        raise LeaseLostError(name, fence, f"{row['owner']} holds it with number {row['fence']}")
    if row["owner"] is None:
        raise LeaseLostError(name, fence, "it was released")
    if row["expires_at"] <= now:
        raise LeaseLostError(name, fence, _EXPIRED)


def _extend(connection: Connection, name: str, expires_at: datetime) -> None:
    """A holder with a short time to live does not shorten the lease of the others."""
    connection.execute(
        update(lease_table)
        .where(lease_table.c.name == name, lease_table.c.expires_at < expires_at)
        .values(expires_at=expires_at)
    )


def _is_free(row: RowMapping, now: datetime) -> bool:
    return row["owner"] is None or row["expires_at"] <= now
