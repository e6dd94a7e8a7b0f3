"""Members who may have opted out again although their status is unchanged (RULES 5.3), still to be asked
about.

A question is noted together with the change that raised it, so that the same change raises it once, and is
answered in the transaction that records what Mailchimp says. The cursor of the reading does not wait for it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.leases import lock_members, require
from mc_pipeline.ledger.schema import member, opt_out_question
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_or_replace
from mc_pipeline.masking import mask_email

RETRIED_AFTER = timedelta(minutes=5)
"""So long no run is requested for a question whose asking failed; runs that start anyway ask it."""


@dataclass(frozen=True, kw_only=True)
class OptOutQuestion:
    """One member. Times are Mailchimp's, UTC.

    status      as it was read, and as it was known before
    changed_at  when the member last changed
    since       what happened until then is known
    """

    list_id: str
    email: str
    company: str
    audience: str
    status: str
    changed_at: datetime
    since: datetime

    def __repr__(self) -> str:
        return f"OptOutQuestion({self.status}, list_id={self.list_id!r}, {mask_email(self.email)})"


class OptOutQuestions:
    """The open questions of all audiences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, questions: Iterable[OptOutQuestion], *, lease: str, fence: int) -> None:
        """Keep questions until they are answered; the change that raised one raises it no more.

        One that is open already keeps its earlier ``since``. Raises ``LeaseLostError``.
        """
        new = {(each.list_id, address_key(each.email)): each for each in questions}
        if not new:
            return
        with self._database.write() as connection:
            now = self._database.now()
            require(connection, lease, fence, now)
            lock_members(connection, {list_id for list_id, _ in new})
            known = _since(connection, new)
            rows = [
                {
                    **vars(each),
                    "email": key[1],
                    "since": min(each.since, known.get(key, each.since)),
                    "noted_at": now,
                    "failed_at": None,
                }
                for key, each in new.items()
            ]
            for chunk in chunks(rows):
                insert_or_replace(connection, opt_out_question, chunk)
                connection.execute(
                    update(member)
                    .where(member.c.list_id == bindparam("of_list"), member.c.email == bindparam("key"))
                    .values(last_changed=bindparam("at")),
                    [
                        {"of_list": row["list_id"], "key": row["email"], "at": row["changed_at"]}
                        for row in chunk
                    ],
                )

    def open(self, list_id: str, at_most: int | None = None) -> list[OptOutQuestion]:
        """The questions of an audience, those first whose asking did not fail, then the oldest."""
        query = (
            select(opt_out_question)
            .where(opt_out_question.c.list_id == list_id)
            .order_by(
                func.coalesce(opt_out_question.c.failed_at, opt_out_question.c.noted_at),
                opt_out_question.c.email,
            )
            .limit(at_most)
        )
        names = OptOutQuestion.__dataclass_fields__
        with self._database.read() as connection:
            return [
                OptOutQuestion(**{name: row[name] for name in names})
                for row in connection.execute(query).mappings()
            ]

    def count(self, list_ids: Collection[str], *, without_failed: bool = False) -> int:
        """How many questions are open; ``without_failed``: not those whose asking failed a moment ago."""
        query = select(func.count()).where(opt_out_question.c.list_id.in_(sorted(set(list_ids))))
        if without_failed:
            before = self._database.now() - RETRIED_AFTER
            query = query.where(
                or_(opt_out_question.c.failed_at.is_(None), opt_out_question.c.failed_at <= before)
            )
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def answered(self, questions: Sequence[OptOutQuestion], *, lease: str, fence: int) -> None:
        """Forget these; one about a later change of the same member stays. Raises ``LeaseLostError``."""
        this_one = and_(
            opt_out_question.c.list_id == bindparam("of_list"),
            opt_out_question.c.email == bindparam("key"),
            opt_out_question.c.changed_at == bindparam("at"),
        )
        with self._database.write() as connection:
            require(connection, lease, fence, self._database.now())
            for chunk in chunks(questions):
                connection.execute(delete(opt_out_question).where(this_one), _keys(chunk))

    def failed(self, questions: Sequence[OptOutQuestion]) -> None:
        """Mailchimp could not be asked about these."""
        now = self._database.now()
        this_one = and_(
            opt_out_question.c.list_id == bindparam("of_list"),
            opt_out_question.c.email == bindparam("key"),
            opt_out_question.c.changed_at == bindparam("at"),
        )
        with self._database.write() as connection:
            for chunk in chunks(questions):
                connection.execute(
                    update(opt_out_question).where(this_one).values(failed_at=now), _keys(chunk)
                )


def with_open_questions(connection: Connection, emails: Collection[str]) -> set[str]:
    """Inside a transaction of another module: of which of these addresses something is to be asked still."""
    found: set[str] = set()
    for chunk in chunks(sorted(set(emails))):
        query = select(opt_out_question.c.email).where(opt_out_question.c.email.in_(chunk)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def _keys(questions: Iterable[OptOutQuestion]) -> list[dict[str, object]]:
    return [
        {"of_list": each.list_id, "key": address_key(each.email), "at": each.changed_at} for each in questions
    ]


def _since(
    connection: Connection, wanted: Mapping[tuple[str, str], OptOutQuestion]
) -> dict[tuple[str, str], datetime]:
    found: dict[tuple[str, str], datetime] = {}
    for chunk in chunks(sorted({email for _, email in wanted})):
        query = select(opt_out_question.c.list_id, opt_out_question.c.email, opt_out_question.c.since).where(
            opt_out_question.c.email.in_(chunk)
        )
        found.update(((row.list_id, row.email), row.since) for row in connection.execute(query))
    return found
