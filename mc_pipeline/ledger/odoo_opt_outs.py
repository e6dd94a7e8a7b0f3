"""Every opt-out applied to Odoo, and every one removed there: intent before, outcome after (RULES 7.4).

They are also how a row of the blacklist that we made is distinguished from one that a human made (RULES 5.5):
ours is the row that we made active and that nobody has written since. Odoo's blacklist is one for all
companies, and so is what is known of it here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import RowMapping, insert, select, update

from mc_pipeline.ledger.consent import ConsentEvent, add_events
from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.errors import IntentError
from mc_pipeline.ledger.intents import IntentId
from mc_pipeline.ledger.leases import OPT_OUTS, Fence, lease_name, require
from mc_pipeline.ledger.schema import odoo_opt_out
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks
from mc_pipeline.masking import mask_email
from mc_pipeline.vocabulary import DONE, EventKind, EventSource, OdooAction, OptOutScope, Origin, OutcomeKind

# An action that is to be taken: a person whom nothing is done about has no intent.
Action = Literal[OdooAction.OPT_OUT, OdooAction.LIFT]


@dataclass(frozen=True, kw_only=True)
class OdooOptOutIntent:
    """One address to opt out in Odoo, or to remove from its blacklist.

    address       as Odoo normalises it
    scope         everywhere: the row of the blacklist; company: the company's lists and fields
    list_id, event, occurred_at   the event of Mailchimp that asks for it
    blacklist_id, blacklist_write_date   the row to remove, as it was last seen
    """

    address: str
    action: Action
    scope: OptOutScope
    list_id: str
    event: str
    occurred_at: datetime
    blacklist_id: int | None = None
    blacklist_write_date: datetime | None = None

    def __repr__(self) -> str:
        return f"OdooOptOutIntent({self.action}, {mask_email(self.address)})"


@dataclass(frozen=True, kw_only=True)
class OdooOptOutOutcome:
    """The outcome of an intent: applied, unchanged, rejected, held_back, or not_sent (found undone).

    ``made_by_us``: the row is active by our writing. ``blacklist_write_date`` is the row's after it (UTC).
    """

    outcome: OutcomeKind
    detail: str = ""
    blacklist_id: int | None = None
    blacklist_write_date: datetime | None = None
    made_by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class OdooOptOut:
    """An intent with its outcome, None while nobody knows it."""

    id: IntentId
    company: str
    email: str
    address: str
    action: str
    scope: str
    list_id: str
    event: str
    occurred_at: datetime
    recorded_at: datetime
    outcome: str | None
    settled_at: datetime | None
    detail: str
    blacklist_id: int | None
    blacklist_write_date: datetime | None
    made_by_us: bool

    def __repr__(self) -> str:
        return f"OdooOptOut({self.id}, {self.action}, {self.outcome}, {mask_email(self.email)})"


class OdooOptOuts:
    """What all companies did in Odoo."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, company: str, fence: Fence, run_id: str, intents: Sequence[OdooOptOutIntent]
    ) -> list[IntentId]:
        """Commit intents before anything is sent; their ids in the same order. Raises ``LeaseLostError``."""
        now = self._database.now()
        rows = [
            {
                "company": company,
                "fence": fence,
                "run_id": run_id,
                "email": address_key(intent.address),
                "address": intent.address,
                "action": intent.action,
                "scope": intent.scope,
                "list_id": intent.list_id,
                "event": intent.event,
                "occurred_at": intent.occurred_at,
                "recorded_at": now,
                "blacklist_id": intent.blacklist_id,
                "blacklist_write_date": intent.blacklist_write_date,
            }
            for intent in intents
        ]
        statement = insert(odoo_opt_out).returning(odoo_opt_out.c.id, sort_by_parameter_order=True)
        ids: list[IntentId] = []
        with self._database.write() as connection:
            require(connection, lease_name(company, OPT_OUTS), fence, now)
            for chunk in chunks(rows):
                ids.extend(connection.execute(statement, chunk).scalars())
        return ids

    def settle(
        self, company: str, fence: Fence, outcomes: Sequence[tuple[IntentId, OdooOptOutOutcome]]
    ) -> None:
        """Write outcomes, and what was done into the history of consent, in one transaction.

        Raises ``LeaseLostError``; ``IntentError`` for an intent that is unknown or settled already.
        """
        by_id = dict(outcomes)
        with self._database.write() as connection:
            now = self._database.now()
            require(connection, lease_name(company, OPT_OUTS), fence, now)
            for ids in chunks(sorted(by_id)):
                query = select(odoo_opt_out).where(odoo_opt_out.c.id.in_(ids))
                rows = {row["id"]: row for row in connection.execute(query).mappings()}
                for intent_id in ids:
                    row = rows.get(intent_id)
                    if row is None or row["settled_at"] is not None:
                        raise IntentError(f"the opt-out in Odoo {intent_id} is unknown or settled already")
                    connection.execute(
                        update(odoo_opt_out)
                        .where(odoo_opt_out.c.id == intent_id)
                        .values(settled_at=now, **_values(by_id[intent_id]))
                    )
                done = [row for row in rows.values() if by_id[row["id"]].outcome == OutcomeKind.APPLIED]
                add_events(connection, [_event(row, by_id[row["id"]], now) for row in done])

    def open(self, company: str) -> list[OdooOptOut]:
        """Intents with an unknown outcome, oldest first."""
        query = (
            select(odoo_opt_out)
            .where(odoo_opt_out.c.company == company, odoo_opt_out.c.settled_at.is_(None))
            .order_by(odoo_opt_out.c.id)
        )
        with self._database.read() as connection:
            return [_opt_out(row) for row in connection.execute(query).mappings()]

    def done(self, emails: Collection[str] | None = None) -> list[OdooOptOut]:
        """What was done in Odoo, or was so already when we came to do it, for all companies, oldest first.

        ``emails`` limits the answer to these addresses.
        """
        query = (
            select(odoo_opt_out).where(odoo_opt_out.c.outcome.in_(sorted(DONE))).order_by(odoo_opt_out.c.id)
        )
        with self._database.read() as connection:
            if emails is None:
                return [_opt_out(row) for row in connection.execute(query).mappings()]
            found: list[OdooOptOut] = []
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                these = query.where(odoo_opt_out.c.email.in_(chunk))
                found += [_opt_out(row) for row in connection.execute(these).mappings()]
            return found


def _values(outcome: OdooOptOutOutcome) -> dict[str, Any]:
    return {
        "outcome": outcome.outcome,
        "detail": outcome.detail,
        "made_by_us": outcome.made_by_us,
        "blacklist_id": outcome.blacklist_id,
        "blacklist_write_date": outcome.blacklist_write_date,
    }


def _event(row: RowMapping, outcome: OdooOptOutOutcome, now: datetime) -> ConsentEvent:
    return ConsentEvent(
        company=row["company"],
        audience="",
        list_id="",
        email=row["email"],
        event=EventKind.ODOO_OPT_OUT if row["action"] == OdooAction.OPT_OUT else EventKind.ODOO_LIFT,
        origin=Origin.OURS,
        occurred_at=now,
        seen_at=now,
        evidence={
            "because": row["event"],
            "because_list_id": row["list_id"],
            "because_at": row["occurred_at"].isoformat(),
            "scope": row["scope"],
            "blacklist_id": outcome.blacklist_id,
        },
        source=EventSource.WRITE,
    )


def _opt_out(row: RowMapping) -> OdooOptOut:
    return OdooOptOut(**{name: row[name] for name in OdooOptOut.__dataclass_fields__})
