"""The members that one transaction works on: read together, changed in memory, written together."""

from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import Connection, delete, insert, select

from mc_pipeline.ledger.projection import MemberRecord, SettledWrite, after_outcome, renamed_over
from mc_pipeline.ledger.schema import member, rename
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_or_replace
from mc_pipeline.vocabulary import Operation, OutcomeKind

Key = tuple[str, str]  # (list_id, email)

_COLUMNS = [member.c[column.name] for column in fields(MemberRecord)]


class MemberRecords:
    """A working set of member records inside a writing transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._present: dict[Key, MemberRecord] = {}
        self._changed: set[Key] = set()
        self._gone: set[Key] = set()
        self._renames: list[dict[str, object]] = []

    def load(self, keys: Iterable[Key]) -> None:
        """Read these records, where the ledger has them."""
        emails_by_list: dict[str, set[str]] = {}
        for list_id, email in keys:
            emails_by_list.setdefault(list_id, set()).add(email)
        for list_id, emails in emails_by_list.items():
            for chunk in chunks(sorted(emails)):
                query = select(*_COLUMNS).where(member.c.list_id == list_id, member.c.email.in_(chunk))
                for row in self._connection.execute(query):
                    record = MemberRecord(*row)
                    self._present[record.list_id, record.email] = record

    def before(self, write: SettledWrite) -> MemberRecord:
        """The record that a write is about; an empty one for an address that has none yet."""
        return self._present.get((write.list_id, write.email)) or MemberRecord(
            list_id=write.list_id, email=write.email, company=write.company, audience=write.audience
        )

    def settle(self, write: SettledWrite) -> None:
        """Take over the outcome of a write."""
        before = self.before(write)
        after = after_outcome(before, write)
        if write.operation == Operation.CHANGE_EMAIL and write.outcome == OutcomeKind.APPLIED:
            self._rename(after, write)
        elif after != before:
            self._put(after)

    def save(self) -> None:
        """Write what changed."""
        connection = self._connection
        for list_id, email in sorted(self._gone):
            connection.execute(delete(member).where(member.c.list_id == list_id, member.c.email == email))
        for chunk in chunks(sorted(self._changed)):
            insert_or_replace(connection, member, [dict(vars(self._present[key])) for key in chunk])
        if self._renames:
            connection.execute(insert(rename), self._renames)

    def _rename(self, record: MemberRecord, write: SettledWrite) -> None:
        new_email = address_key(write.body["email_address"])
        if new_email == record.email:
            self._put(record)
            return
        old_key = (record.list_id, record.email)
        self._present.pop(old_key, None)
        self._changed.discard(old_key)
        self._gone.add(old_key)
        self._put(renamed_over(record, self._present.get((record.list_id, new_email)), new_email))
        self._renames.append(
            {
                "company": write.company,
                "list_id": record.list_id,
                "old_email": record.email,
                "new_email": new_email,
                "renamed_at": write.at,
                "intent_id": write.intent_id,
            }
        )

    def _put(self, record: MemberRecord) -> None:
        key = (record.list_id, record.email)
        self._present[key] = record
        self._changed.add(key)
        self._gone.discard(key)
