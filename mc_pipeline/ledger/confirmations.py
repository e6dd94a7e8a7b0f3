"""Whom we asked to confirm, by the address that was asked, and who was part of a first load (RULES 4.3).

A confirmation mail goes out once per address. Who bears the address later does not matter, and a member who
gets another address leaves this one behind: so it is kept here, and not with the member's record.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Connection, or_, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.projection import SettledWrite
from mc_pipeline.ledger.schema import confirmation, opened_audience
from mc_pipeline.ledger.schema import intent as intent_table
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_new
from mc_pipeline.vocabulary import MemberStatus, Operation, OutcomeKind

_ASKS = '%"status":"pending"%'
"""How the body of a creation says that Mailchimp shall send a confirmation mail (canonical JSON)."""


class Confirmations:
    """The confirmation mails of all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def asked(self, company: str) -> dict[tuple[str, str], datetime]:
        """When (UTC) whom we asked to confirm, by list id and address, in every audience of the company.

        A request of which nobody knows yet whether it was applied counts.
        """
        known = select(confirmation.c.list_id, confirmation.c.email, confirmation.c.asked_at).where(
            confirmation.c.company == company
        )
        still_open = select(intent_table.c.list_id, intent_table.c.email, intent_table.c.recorded_at).where(
            intent_table.c.company == company,
            intent_table.c.settled_at.is_(None),
            intent_table.c.operation == Operation.CREATE,
            intent_table.c.body_json.like(_ASKS),
        )
        with self._database.read() as connection:
            rows = [*connection.execute(still_open), *connection.execute(known)]
        return {(list_id, email): at for list_id, email, at in rows}

    def of_first_load(self, company: str, emails: Collection[str]) -> set[tuple[str, str]]:
        """List id and address of those of these people whom a first load of an audience tried to create.

        Whom Mailchimp refused then belongs to that load, however late it takes them.
        """
        query = (
            select(intent_table.c.list_id, intent_table.c.email)
            .join(
                opened_audience,
                (opened_audience.c.company == intent_table.c.company)
                & (opened_audience.c.list_id == intent_table.c.list_id),
            )
            .where(
                intent_table.c.company == company,
                intent_table.c.operation == Operation.CREATE,
                or_(
                    opened_audience.c.loaded_at.is_(None),
                    intent_table.c.recorded_at <= opened_audience.c.loaded_at,
                ),
            )
            .distinct()
        )
        found: set[tuple[str, str]] = set()
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = query.where(intent_table.c.email.in_(chunk))
                found.update((list_id, email) for list_id, email in connection.execute(these))
        return found


def note_asked(connection: Connection, writes: Iterable[SettledWrite]) -> None:
    """Remember whom these writes asked to confirm; one whose outcome stays unknown may have."""
    rows = [
        {"company": each.company, "list_id": each.list_id, "email": each.email, "asked_at": each.at}
        for each in writes
        if each.operation == Operation.CREATE
        and each.body.get("status") == MemberStatus.PENDING
        and each.outcome in (OutcomeKind.APPLIED, OutcomeKind.LOST)
    ]
    for chunk in chunks(rows):
        insert_new(connection, confirmation, chunk)
