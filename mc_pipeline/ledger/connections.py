"""At most so many connections to a Mailchimp user, over all processes and machines (RULES 7.5).

Mailchimp answers 429 above 10 simultaneous connections per user, no matter who opens them. The ledger has one
row per connection that is held. A process keeps the connections it holds between requests, so that a request
costs no write, gives back those it has not used for a few seconds, and gives some back at once when another
process waits. What a crashed process held expires.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType

from sqlalchemy import Connection, and_, delete, func, select, text, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import ConnectionSlotsBusyError, LedgerError
from mc_pipeline.ledger.schema import connection_slot, connection_waiter
from mc_pipeline.ledger.statements import insert_or_replace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SlotTimes:
    """The times of the connection slots, in seconds.

    live       a slot that nobody renews is free after this long: longer than a process ever pauses
    idle       a slot that no request used for this long is released
    look       how often a process looks whether others wait, and renews what it holds
    wait       how long a request waits for a slot before it fails
    poll       how often a waiting process asks again
    """

    live: float = 60.0
    idle: float = 3.0
    look: float = 1.0
    wait: float = 300.0
    poll: float = 0.1


USUAL_TIMES = SlotTimes()


class Connections:
    """The connections to all Mailchimp users."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._opened: list[LedgerConnectionSlots] = []

    def slots(
        self, account: str, maximum: int, owner: str, *, times: SlotTimes | None = None
    ) -> "LedgerConnectionSlots":
        """The connections of a Mailchimp user, for one client. Close it, or the ledger, when done.

        ``account`` is the user's name in the settings: all its API keys share the limit. ``owner`` is
        what others are shown when they wait (a run id, for example).
        """
        if maximum < 1:
            raise LedgerError(f"max_connections of Mailchimp account {account} is {maximum}; give 1 to 10")
        slots = LedgerConnectionSlots(self._database, account, maximum, owner, times or USUAL_TIMES)
        self._opened.append(slots)
        return slots

    def held(self, account: str) -> dict[str, int]:
        """How many connections each owner holds now."""
        with self._database.read() as connection:
            return _holders(connection, account, self._database.now())

    def close(self) -> None:
        """Give back everything this process holds."""
        for slots in self._opened:
            slots.close()
        self._opened.clear()


class LedgerConnectionSlots:
    """A client's view on the connections of its Mailchimp user; safe to use from several threads."""

    def __init__(self, database: Database, account: str, maximum: int, owner: str, times: SlotTimes) -> None:
        self._database = database
        self._account = account
        self._maximum = maximum
        self._owner = f"{owner} on {socket.gethostname()}, process {os.getpid()}"
        self._times = times
        self._token = uuid.uuid4().hex
        self._changed = threading.Condition()
        # All below are guarded by _changed.
        self._idle: dict[int, float] = {}  # slot number → monotonic time since when nobody uses it
        self._used: set[int] = set()
        self._expires_at: datetime | None = None
        self._claiming = False
        self._waiting = 0  # threads of this process without a slot
        self._waiting_since: datetime | None = None  # set while others can see that we wait
        self._announced_until: float | None = None
        self._share = maximum
        self._keeper: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Event()

    def __repr__(self) -> str:
        return f"LedgerConnectionSlots(account={self._account!r}, maximum={self._maximum})"

    def __enter__(self) -> "LedgerConnectionSlots":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def slot(self) -> AbstractContextManager[None]:
        """One connection, for the time of one request; waits for it.

        Raises ``ConnectionSlotsBusyError`` after the longest wait.
        """
        return self._slot()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        number = self._acquire()
        try:
            yield
        finally:
            self._release(number)

    def close(self) -> None:
        """Release every connection; requests in progress keep theirs until they end."""
        with self._changed:
            self._closed = True
            numbers = list(self._idle)
            self._idle.clear()
            self._changed.notify_all()
            keeper = None if self._used else self._keeper
        self._closing.set()
        self._give_back(numbers)
        if keeper is not None:
            # A thread that the end of the process finds at work in a library may abort the process.
            keeper.join(timeout=2 * self._times.look)

    def _acquire(self) -> int:
        with self._changed:
            number = self._take_idle()
            if number is not None:
                return number
            self._waiting += 1
        started = time.monotonic()
        try:
            while True:
                with self._changed:
                    number = self._take_idle()
                    if number is not None:
                        return number
                    may_claim = not self._claiming and len(self._used) < max(1, self._share)
                    if may_claim:
                        self._claiming = True
                if may_claim:
                    number = self._claim()
                    if number is not None:
                        return number
                waited = time.monotonic() - started
                if waited >= self._times.wait:
                    with self._database.read() as connection:
                        holders = _holders(connection, self._account, self._database.now())
                    raise ConnectionSlotsBusyError(self._account, self._maximum, waited, holders)
                with self._changed:
                    if not self._idle and not self._closed:
                        self._changed.wait(self._times.poll)
        finally:
            self._end_waiting()

    def _take_idle(self) -> int | None:
        if self._closed:
            raise LedgerError(
                f"the connections of Mailchimp account {self._account} are closed; open them again"
            )
        if self._idle and self._expires_at is not None and self._database.now() >= self._expires_at:
            # This process slept through the expiry: others may have them by now.
            self._idle.clear()
        if not self._idle:
            return None
        number, _since = self._idle.popitem()
        self._used.add(number)
        return number

    def _claim(self) -> int | None:
        """Take one more slot in the ledger; if there is none for us, let the others know that we wait."""
        number: int | None = None
        expires_at: datetime | None = None
        try:
            with self._database.read() as connection:
                hopeless = self._free_number(connection, self._database.now()) is None
            announced = self._announced_until is not None and time.monotonic() < self._announced_until
            if hopeless and announced:
                return None
            with self._database.write() as connection:
                _lock_account(connection, self._account)
                now = self._database.now()
                number = self._free_number(connection, now)
                if number is None:
                    self._announce(connection, now)
                else:
                    expires_at = now + timedelta(seconds=self._times.live)
                    slot = {"account": self._account, "number": number, "token": self._token}
                    slot_values = {**slot, "owner": self._owner, "expires_at": expires_at}
                    insert_or_replace(connection, connection_slot, [slot_values])
            return number
        finally:
            with self._changed:
                self._claiming = False
                if number is not None and expires_at is not None:
                    self._used.add(number)
                    # The earliest expiry of what is held: all are renewed together.
                    self._expires_at = min(self._expires_at or expires_at, expires_at)
                    self._start_keeper()
                self._changed.notify_all()

    def _free_number(self, connection: Connection, now: datetime) -> int | None:
        """A slot that we may take: free, and not due to a process that has none and waits for longer."""
        held = connection.execute(
            select(connection_slot.c.number, connection_slot.c.token).where(
                connection_slot.c.account == self._account, connection_slot.c.expires_at > now
            )
        ).all()
        # Numbers above our maximum may be held by a process with a higher one: they count too.
        room = self._maximum - len(held)
        if room <= 0:
            return None
        holding = {row.token for row in held}
        if self._token not in holding or room == 1:
            waiters = connection.execute(
                select(connection_waiter.c.token, connection_waiter.c.since)
                .where(connection_waiter.c.account == self._account, connection_waiter.c.expires_at > now)
                .order_by(connection_waiter.c.since, connection_waiter.c.token)
            ).all()
            before_us = [row.token for row in waiters if row.token not in holding]
            if self._token in before_us:
                before_us = before_us[: before_us.index(self._token)]
            room -= len(before_us)
        if room <= 0:
            return None
        taken = {row.number for row in held}
        return next(place for place in range(1, self._maximum + 1) if place not in taken)

    def _announce(self, connection: Connection, now: datetime) -> None:
        if self._waiting_since is None:
            self._waiting_since = now
        row = {
            "account": self._account,
            "token": self._token,
            "since": self._waiting_since,
            "expires_at": now + timedelta(seconds=5 * self._times.look),
        }
        insert_or_replace(connection, connection_waiter, [row])
        self._announced_until = time.monotonic() + self._times.look

    def _release(self, number: int) -> None:
        with self._changed:
            if number not in self._used:
                return  # it expired during the request, and others may have it
            self._used.remove(number)
            surplus = self._closed or len(self._used) + len(self._idle) >= self._share
            if not surplus:
                self._idle[number] = time.monotonic()
            self._changed.notify()
        if surplus:
            self._give_back([number])

    def _give_back(self, numbers: list[int]) -> None:
        if not numbers:
            return
        with self._database.write() as connection:
            connection.execute(
                delete(connection_slot).where(
                    connection_slot.c.account == self._account,
                    connection_slot.c.token == self._token,
                    connection_slot.c.number.in_(numbers),
                )
            )

    def _end_waiting(self) -> None:
        with self._changed:
            self._waiting -= 1
            if self._waiting or self._waiting_since is None:
                return
            self._waiting_since = None
            self._announced_until = None
        with self._database.write() as connection:
            connection.execute(
                delete(connection_waiter).where(
                    connection_waiter.c.account == self._account, connection_waiter.c.token == self._token
                )
            )

    def _start_keeper(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(
                target=self._keep, name=f"connections of {self._account}", daemon=True
            )
            self._keeper.start()

    def _keep(self) -> None:
        """Renew what is held, give back what is idle or what others wait for; ends with the last slot."""
        renew_at = time.monotonic() + self._times.live / 3
        while True:
            if self._closing.wait(self._times.look) and self._used:
                time.sleep(self._times.look)  # requests that are under way keep theirs
            try:
                with self._changed:
                    if not self._used and not self._idle:
                        self._keeper = None
                        self._expires_at = None
                        return
                if time.monotonic() >= renew_at:
                    self._renew()
                    renew_at = time.monotonic() + self._times.live / 3
                self._give_back(self._unneeded(self._fair_share()))
            except LedgerError as error:
                _log.warning(
                    "the connections of Mailchimp account %s could not be kept: %s", self._account, error
                )

    def _fair_share(self) -> int:
        """All of them while nobody else waits; the same number for each process otherwise.

        0 where there are more processes than connections: each request then ends with giving back.
        """
        with self._database.read() as connection:
            now = self._database.now()
            waiting = set(
                connection.execute(
                    select(connection_waiter.c.token).where(
                        connection_waiter.c.account == self._account, connection_waiter.c.expires_at > now
                    )
                ).scalars()
            )
            if not waiting - {self._token}:
                return self._maximum
            holding = set(
                connection.execute(
                    select(connection_slot.c.token).where(
                        connection_slot.c.account == self._account, connection_slot.c.expires_at > now
                    )
                ).scalars()
            )
        return self._maximum // len(waiting | holding | {self._token})

    def _unneeded(self, share: int) -> list[int]:
        with self._changed:
            self._share = share
            now = time.monotonic()
            numbers = [number for number, since in self._idle.items() if now - since >= self._times.idle]
            surplus = len(self._idle) + len(self._used) - len(numbers) - share
            for number in self._idle:
                if surplus > 0 and number not in numbers:
                    numbers.append(number)
                    surplus -= 1
            for number in numbers:
                del self._idle[number]
            return numbers

    def _renew(self) -> None:
        with self._database.write() as connection:
            _lock_account(connection, self._account)
            now = self._database.now()
            ours = and_(connection_slot.c.account == self._account, connection_slot.c.token == self._token)
            expires_at = now + timedelta(seconds=self._times.live)
            connection.execute(update(connection_slot).where(ours).values(expires_at=expires_at))
            # A slot that expired and went to others is not ours any more: its row has their token.
            still_ours = set(connection.execute(select(connection_slot.c.number).where(ours)).scalars())
            connection.execute(
                delete(connection_waiter).where(
                    connection_waiter.c.account == self._account, connection_waiter.c.expires_at <= now
                )
            )
        with self._changed:
            self._used &= still_ours
            self._idle = {number: since for number, since in self._idle.items() if number in still_ours}
            self._expires_at = expires_at


def _lock_account(connection: Connection, account: str) -> None:
    """Make the claims on one account follow each other; SQLite's writers do so anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtext(:account))"), {"account": f"mailchimp {account}"}
        )


def _holders(connection: Connection, account: str, now: datetime) -> dict[str, int]:
    query = (
        select(connection_slot.c.owner, func.count().label("held"))
        .where(connection_slot.c.account == account, connection_slot.c.expires_at > now)
        .group_by(connection_slot.c.owner)
    )
    return {row.owner: row.held for row in connection.execute(query)}
