"""Every write to Mailchimp: its intent committed before it is sent, its outcome after (RULES 7.4).

An intent without outcome is a write of which nobody knows whether it happened. The next run reads
the member back and settles it, before it plans anything.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NewType

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update

from mc_pipeline.digests import canonical_json
from mc_pipeline.ledger.confirmations import note_asked
from mc_pipeline.ledger.consent import add_events
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import IntentError
from mc_pipeline.ledger.leases import CHANGES, Fence, LeasePath, lease_name, lock_members, require
from mc_pipeline.ledger.member_records import MemberRecords
from mc_pipeline.ledger.permissions import keep_under_new_address, note_given
from mc_pipeline.ledger.projection import OPERATIONS, OUTCOMES, SettledWrite, consent_event_of, tags_of
from mc_pipeline.ledger.refusals import Refusal, member_after, out_by_now, refusals, refused_by_now
from mc_pipeline.ledger.schema import intent as intent_table
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.standing_opt_outs import out_meanwhile
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.ledger.used_evidence import keep_evidence_of_lost
from mc_pipeline.masking import mask_email
from mc_pipeline.vocabulary import Operation, OutcomeKind

if TYPE_CHECKING:
    import pandas as pd

IntentId = NewType("IntentId", int)
"""An intent in its journal: each of the three journals of writes has its own numbers."""

# What Mailchimp answers about a member is long; these parts of it are what anybody asks for later.
_RETURNED_PARTS = (
    "status",
    "email_address",
    "merge_fields",
    "language",
    "contact_id",
    "last_changed",
    "tags",
)


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One write that is about to be sent to one member of an audience.

    operation   create | update | change_email | archive | tag | untag | upgrade | permit | unsubscribe
    body        what is sent. create: email_address, status, merge_fields?, language?, timestamps?;
                update: merge_fields?, language?; change_email: the same and email_address (the new one);
                tag, untag: {"tag": name} or {"tags": [name, …]}; permit: {"marketing_permissions":
                [name, …]}; the others: {} or what is sent
    email       the member's present address (the old one for change_email)
    partner_id, name_sent   the Odoo partner behind it, kept with the member once it is accepted
    evidence    the evidence of consent that a subscription or a marketing permission relies on; kept in the
                consent history, or with the permission
    """

    list_id: str
    audience: str
    email: str
    operation: Operation
    body: Mapping[str, Any]
    plan_id: str | None = None
    row_key: str | None = None
    partner_id: int | None = None
    name_sent: str | None = None
    evidence: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Intent({self.operation}, list_id={self.list_id!r}, email={mask_email(self.email)!r})"


@dataclass(frozen=True)
class Outcome:
    """What became of a write.

    outcome    applied     Mailchimp accepted it
               unchanged   it was so already, by somebody else's doing
               rejected    Mailchimp refused it; tried again when what is sent changes
               deferred    Mailchimp refused it for now; tried again after 5 min, 1, 2 and 7 days, or, for
                           a cause outside the person, when the cause may be gone
               held_back   not sent: something decided against it
               not_sent    certainly not applied: never sent, or read back and found undone
               unknown     nobody knows; the intent stays open
               lost        nobody will ever know: its answer was lost, and reading back does not tell; it
                           counts as applied where repeating it would harm, and is not sent again
    returned   the member as Mailchimp answered it, None where it answered nothing about it
    refusal    of a rejected one: Mailchimp refuses the person for good, whatever is sent: compliance
               (unsubscribed, bounced or under review) or forgotten (deleted for good); "" otherwise. It is
               kept as an opt-out of unknown origin (RULES 6.6)
    cause      of one that Mailchimp refused: whose fault it is (``domain.plan.refusal_causes``), and the
               merge field that it is about; retry_at says when one of the person's own is tried again (UTC)
    """

    outcome: OutcomeKind
    title: str = ""
    detail: str = ""
    returned: Mapping[str, Any] | None = None
    refusal: str = ""
    cause: str = ""
    field: str = ""
    retry_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Outcome({self.outcome}, title={self.title!r})"


@dataclass(frozen=True, kw_only=True)
class IntentRecord:
    """An intent as the ledger has it; ``outcome`` is None, or ``unknown``, while it is open."""

    id: IntentId
    company: str
    run_id: str
    list_id: str
    audience: str
    email: str
    operation: Operation
    body: dict[str, Any]
    plan_id: str | None
    row_key: str | None
    partner_id: int | None
    name_sent: str | None
    evidence: dict[str, Any] | None
    path: str
    recorded_at: datetime
    submitted_at: datetime | None
    batch_id: str | None
    outcome: OutcomeKind | None
    settled_at: datetime | None
    detail: str
    title: str
    returned: dict[str, Any] | None

    def __repr__(self) -> str:
        return f"IntentRecord({self.id}, {self.operation}, {self.outcome}, email={mask_email(self.email)!r})"


# An open intent is one whose settled_at is None.
OpenIntent = IntentRecord


class Intents:
    """The writes of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        company: str,
        fence: Fence,
        run_id: str,
        intents: Sequence[Intent],
        *,
        path: LeasePath = CHANGES,
    ) -> list[IntentId]:
        """Commit intents in one transaction, before any of them is sent; their ids in the same order.

        Raises ``LeaseLostError`` when the fencing number is stale, ``IntentError`` for an intent that
        cannot be kept; in both cases none of them is recorded.
        """
        with self._database.write() as connection:
            require(connection, lease_name(company, path), fence, self._database.now())
            return self._insert(connection, company, fence, run_id, intents, path)

    def record_unless_out(
        self, company: str, fence: Fence, run_id: str, intents: Sequence[Intent]
    ) -> list[IntentId | Refusal]:
        """Like ``record``, for changes of the company, but without those about people who are out by now.

        In the same transaction, so that an opt-out written down before it wins, and one written down after
        it finds the intent (rule 7.5). In the place of an id stands why it was refused.
        """
        with self._database.write() as connection:
            require(connection, company, fence, self._database.now())
            refused = refusals(connection, company, intents)
            kept = [intent for intent, why in zip(intents, refused, strict=True) if why is None]
            ids = iter(self._insert(connection, company, fence, run_id, kept, CHANGES))
            return [next(ids) if why is None else why for why in refused]

    def refused_by_now(self, ids: Sequence[IntentId]) -> set[int]:
        """Which of these intents, recorded and not sent yet, would be refused if they were recorded now."""
        with self._database.read() as connection:
            return refused_by_now(connection, self._load(connection, ids))

    def out_since(self, ids: Sequence[IntentId]) -> set[int]:
        """Which of these intents are about members who are out by now, and may be reachable by our write."""
        with self._database.read() as connection:
            return out_by_now(connection, self._load(connection, ids))

    def _insert(
        self,
        connection: Connection,
        company: str,
        fence: Fence,
        run_id: str,
        intents: Sequence[Intent],
        path: LeasePath,
    ) -> list[IntentId]:
        common = {
            "company": company,
            "fence": fence,
            "run_id": run_id,
            "path": path,
            "recorded_at": self._database.now(),
        }
        rows = [{**common, **_row(intent)} for intent in intents]
        statement = insert(intent_table).returning(intent_table.c.id, sort_by_parameter_order=True)
        ids: list[IntentId] = []
        for chunk in chunks(rows):
            ids.extend(connection.execute(statement, chunk).scalars())
        return ids

    def mark_submitted(
        self, company: str, fence: Fence, ids: Sequence[IntentId], batch_id: str | None
    ) -> None:
        """Remember that these were sent: in a batch of Mailchimp's, or directly (``batch_id`` None)."""
        now = self._database.now()
        with self._database.write() as connection:
            self._require_for(connection, company, fence, self._load(connection, ids))
            for chunk in chunks(ids):
                connection.execute(
                    update(intent_table)
                    .where(intent_table.c.id.in_(chunk))
                    .values(submitted_at=now, batch_id=batch_id)
                )

    def settle(self, company: str, fence: Fence, outcomes: Sequence[tuple[IntentId, Outcome]]) -> None:
        """Write outcomes and what follows for the members and their consent, in one transaction.

        An intent is settled once: the same outcome again changes nothing, another one is refused with
        ``IntentError``. Raises ``LeaseLostError`` when the fencing number is stale.
        """
        if not outcomes:
            return
        with self._database.write() as connection:
            now = self._database.now()
            rows = self._load(connection, [number for number, _ in outcomes])
            self._require_for(connection, company, fence, rows)
            lock_members(connection, (row["list_id"] for row in rows.values()))
            writes = list(_settled_now(rows, outcomes, now))
            self._settle_members(connection, writes)
            _update_intents(connection, writes)
            applied = {write.intent_id for write in writes if write.outcome == OutcomeKind.APPLIED}
            out = out_by_now(connection, {number: rows[number] for number in applied})
            out_meanwhile(connection, {member_after(rows[number]) for number in out}, now)

    def open(
        self, company: str, *, before: datetime | None = None, path: LeasePath | None = None
    ) -> list[OpenIntent]:
        """Intents whose outcome nobody knows, oldest first; ``before`` leaves out those recorded later.

        ``path`` asks for those of one writer alone: each settles its own.
        """
        query = (
            select(intent_table)
            .where(intent_table.c.company == company, intent_table.c.settled_at.is_(None))
            .order_by(intent_table.c.id)
        )
        if before is not None:
            query = query.where(intent_table.c.recorded_at < before)
        if path is not None:
            query = query.where(intent_table.c.path == path)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def open_batches(self, company: str) -> list[str]:
        """Batches of Mailchimp's that hold open intents, in the order in which they were recorded."""
        query = (
            select(intent_table.c.batch_id)
            .where(
                intent_table.c.company == company,
                intent_table.c.settled_at.is_(None),
                intent_table.c.batch_id.is_not(None),
            )
            .group_by(intent_table.c.batch_id)
            .order_by(func.min(intent_table.c.id))
        )
        with self._database.read() as connection:
            return [str(batch) for batch in connection.execute(query).scalars()]

    def for_email(self, email: str) -> list[IntentRecord]:
        """Everything that was ever sent, or about to be sent, about an address, in order."""
        query = (
            select(intent_table).where(intent_table.c.email == address_key(email)).order_by(intent_table.c.id)
        )
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def progress(self, company: str, run_id: str) -> "pd.DataFrame":
        """A run's writes as people want to see them: which batches are done, which failed and why.

        Columns: batch_id ( = sent directly), list_id, audience, operation, outcome (or open),
        intents, first_at, last_at, title (one of the reasons, where there are several).
        """
        import pandas as pd

        group = [intent_table.c[name] for name in ("batch_id", "list_id", "audience", "operation", "outcome")]
        query = (
            select(
                *group,
                func.count().label("intents"),
                func.min(intent_table.c.recorded_at).label("first_at"),
                func.max(intent_table.c.settled_at).label("last_at"),
                func.max(intent_table.c.title).label("title"),
            )
            .where(intent_table.c.company == company, intent_table.c.run_id == run_id)
            .group_by(*group)
            .order_by(func.min(intent_table.c.id))
        )
        with self._database.read() as connection:
            result = connection.execute(query)
            progress = pd.DataFrame(result.all(), columns=list(result.keys()))
        return progress.assign(
            batch_id=progress["batch_id"].astype("str").fillna(""),
            outcome=progress["outcome"].astype("str").fillna("open"),
        )

    def _load(self, connection: Connection, ids: Iterable[int]) -> dict[int, RowMapping]:
        wanted = list(ids)
        rows: dict[int, RowMapping] = {}
        for chunk in chunks(wanted):
            query = select(intent_table).where(intent_table.c.id.in_(chunk))
            rows.update((row["id"], row) for row in connection.execute(query).mappings())
        missing = [number for number in wanted if number not in rows]
        if missing:
            raise IntentError(
                f"no intent {missing[0]} is recorded: record an intent before sending or settling it"
            )
        return rows

    def _require_for(
        self, connection: Connection, company: str, fence: Fence, rows: Mapping[int, RowMapping]
    ) -> None:
        names = {lease_name(row["company"], row["path"]) for row in rows.values()}
        if len(names) > 1:
            raise IntentError(
                f"intents of {', '.join(sorted(names))} in one call: a fencing number is of one lease"
            )
        for name in names:
            if any(row["company"] != company for row in rows.values()):
                raise IntentError(f"intents of {name} in a call for {company}: say whose they are")
            require(connection, name, fence, self._database.now())

    def _settle_members(self, connection: Connection, writes: Sequence[SettledWrite]) -> None:
        records = MemberRecords(connection)
        records.load((write.list_id, write.email) for write in writes)
        records.load(
            (write.list_id, address_key(write.body["email_address"]))
            for write in writes
            if write.operation == Operation.CHANGE_EMAIL
        )
        events = []
        for write in writes:
            event = consent_event_of(records.before(write), write)
            if event is not None:
                events.append(event)
            records.settle(write)
        records.save()
        add_events(connection, events)
        keep_evidence_of_lost(connection, writes)
        note_asked(connection, writes)
        note_given(connection, writes)
        for write in writes:
            if write.operation == Operation.CHANGE_EMAIL and write.outcome == OutcomeKind.APPLIED:
                keep_under_new_address(
                    connection, write.company, write.list_id, write.email, write.body["email_address"]
                )


def _row(intent: Intent) -> dict[str, Any]:
    about = f"{intent.operation} of {mask_email(intent.email)}"
    if intent.operation not in OPERATIONS:
        raise IntentError(f"{about}: the operation is unknown; use one of {', '.join(sorted(OPERATIONS))}")
    if not intent.list_id or not intent.email:
        raise IntentError(f"{about}: list_id and email must not be empty")
    if intent.operation in (Operation.TAG, Operation.UNTAG) and not tags_of(intent.body):
        raise IntentError(f"{about}: the body names no tag; give tag or tags")
    if intent.operation in (Operation.CREATE, Operation.CHANGE_EMAIL) and not intent.body.get(
        "email_address"
    ):
        raise IntentError(f"{about}: the body has no email_address")
    try:
        body_json = canonical_json(intent.body)
    except TypeError as error:
        raise IntentError(f"{about}: the body is no JSON ({error}); convert that value first") from error
    return {
        "list_id": intent.list_id,
        "audience": intent.audience,
        "email": address_key(intent.email),
        "operation": intent.operation,
        "body_json": body_json,
        "plan_id": intent.plan_id,
        "row_key": intent.row_key,
        "partner_id": intent.partner_id,
        "name_sent": intent.name_sent,
        "evidence_json": None if intent.evidence is None else canonical_json(intent.evidence),
    }


def _settled_now(
    rows: Mapping[int, RowMapping], outcomes: Sequence[tuple[IntentId, Outcome]], now: datetime
) -> Iterable[SettledWrite]:
    """The outcomes that are news, in the order given."""
    in_this_call: dict[int, str] = {}
    for number, outcome in outcomes:
        row = rows[number]
        about = f"intent {number} ({row['operation']} of {mask_email(row['email'])})"
        if outcome.outcome not in OUTCOMES:
            raise IntentError(
                f"{about}: outcome {outcome.outcome!r} is not one of {', '.join(sorted(OUTCOMES))}"
            )
        settled = in_this_call.get(number) or (row["outcome"] if row["settled_at"] else None)
        if settled is not None and settled != OutcomeKind.UNKNOWN:
            if settled != outcome.outcome:
                raise IntentError(f"{about} is settled as {settled}; it cannot become {outcome.outcome}")
            continue
        in_this_call[number] = outcome.outcome
        yield SettledWrite(
            intent_id=number,
            company=row["company"],
            audience=row["audience"],
            list_id=row["list_id"],
            email=row["email"],
            operation=Operation(row["operation"]),
            body=json.loads(row["body_json"]),
            body_json=row["body_json"],
            partner_id=row["partner_id"],
            name_sent=row["name_sent"],
            evidence=json.loads(row["evidence_json"]) if row["evidence_json"] else None,
            outcome=OutcomeKind(outcome.outcome),
            detail=outcome.detail,
            title=outcome.title,
            returned=outcome.returned,
            refusal=outcome.refusal,
            cause=outcome.cause,
            field=outcome.field,
            retry_at=outcome.retry_at,
            at=now,
        )


def _update_intents(connection: Connection, writes: Sequence[SettledWrite]) -> None:
    statement = (
        update(intent_table)
        .where(intent_table.c.id == bindparam("intent"))
        .values(
            outcome=bindparam("outcome"),
            settled_at=bindparam("settled_at"),
            detail=bindparam("detail"),
            title=bindparam("title"),
            returned_json=bindparam("returned_json"),
        )
    )
    values = [
        {
            "intent": write.intent_id,
            "outcome": write.outcome,
            "settled_at": None if write.outcome == OutcomeKind.UNKNOWN else write.at,
            "detail": write.detail,
            "title": write.title,
            "returned_json": None if write.returned is None else canonical_json(_kept(write.returned)),
        }
        for write in writes
    ]
    if values:
        connection.execute(statement, values)


def _kept(returned: Mapping[str, Any]) -> dict[str, Any]:
    return {part: returned[part] for part in _RETURNED_PARTS if part in returned}


def _record(row: RowMapping) -> IntentRecord:
    values = {
        name: row[name]
        for name in row
        if name not in ("body_json", "returned_json", "evidence_json", "fence", "operation", "outcome")
    }
    returned = row["returned_json"]
    return IntentRecord(
        operation=Operation(row["operation"]),
        outcome=None if row["outcome"] is None else OutcomeKind(row["outcome"]),
        body=json.loads(row["body_json"]),
        returned=None if returned is None else json.loads(returned),
        evidence=json.loads(row["evidence_json"]) if row["evidence_json"] else None,
        **values,
    )
