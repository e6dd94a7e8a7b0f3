"""Applies opt-outs to Odoo, and removes our own: intent before, outcome after, a thousand people at a time.

An answer of Odoo's that was lost is found by reading back, at once or at the start of the next run. Anyone
who could not be opted out is due again in the next run: the events stay in the ledger. When all of it is
done, a note beside each says why (rule 5.3); a note that fails holds nothing back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from mc_pipeline.chunks import chunks_of
from mc_pipeline.domain.consent.opt_outs_into_odoo import Decision
from mc_pipeline.ledger import IntentId
from mc_pipeline.ledger.odoo_opt_outs import OdooOptOut, OdooOptOutIntent, OdooOptOutOutcome
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.companies import seeing_partners, unseen_because, with_companies_above
from mc_pipeline.odoo.errors import OdooAccessError, OdooError
from mc_pipeline.odoo.opting_out import (
    PAGE,
    BlacklistRow,
    OptOutResult,
    blacklist,
    clear_field,
    find_mailing_list,
    lift,
    opt_out_of_list,
    read_blacklist_rows,
)
from mc_pipeline.push.odoo_notes import CarriedOptOut, OptOutNotes
from mc_pipeline.push.writer import OdooWriter
from mc_pipeline.vocabulary import OdooAction, OptOutScope, Origin, OutcomeKind

_WORST_FIRST = (
    OutcomeKind.UNKNOWN,
    OutcomeKind.REJECTED,
    OutcomeKind.HELD_BACK,
    OutcomeKind.APPLIED,
    OutcomeKind.UNCHANGED,
)


@dataclass(frozen=True)
class CompanySources:
    """What stands for consent in one company: mailing lists by id or name, boolean fields of partners."""

    mailing_lists: tuple[str | int, ...] = ()
    boolean_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class CarriedOut:
    """The result of decisions: rows of the odoo_opt_outs table, and why Odoo could not be written, if so.

    The ``detail`` of a row says where there is no note in Odoo, and why.
    """

    rows: pd.DataFrame
    trouble: str = ""

    @classmethod
    def none(cls, decisions: Sequence[Decision], trouble: str) -> "CarriedOut":
        """Nothing of it, because Odoo cannot be reached."""
        return cls(_table(decisions, {}, trouble, {}), trouble)


@dataclass(frozen=True)
class _Task:
    """One intent: an address of a decision."""

    decision: Decision
    intent: OdooOptOutIntent


class OdooOptOutWrites:
    """Writes of one run, under the company's lease. ``sources`` None: the blacklist, for all companies."""

    def __init__(
        self,
        writer: OdooWriter,
        sources: CompanySources | None = None,
    ) -> None:
        self._writer = writer
        self._client = writer.client
        self._ledger = writer.ledger
        self._sources = sources
        self._lists: list[int] | None = None
        self._companies: tuple[int, ...] | None = None
        self._notes = OptOutNotes(writer.client, writer.company, seeing_partners=self._seeing_partners)

    @property
    def notes_trouble(self) -> str:
        """How many opt-outs of this run have no note in Odoo that says why, with the reason; or empty."""
        return self._notes.trouble

    def settle_open(self) -> int:
        """Find out the outcome of writes that an earlier run did not learn; return how many.

        Those found undone are decided again; those to lists and fields as well, which can be repeated.

        Raises:
            OdooError: Odoo cannot be read; they stay open.
        """
        still_open = self._ledger.odoo_opt_outs.open(self._writer.company)
        if not still_open:
            return 0
        found = read_blacklist_rows(
            self._client, [each.address for each in still_open if each.scope == OptOutScope.EVERYWHERE]
        )
        outcomes = [
            _found_out(each, found.get(each.address) if each.scope == OptOutScope.EVERYWHERE else None)
            for each in still_open
        ]
        self._settle([(each.id, outcome) for each, outcome in zip(still_open, outcomes, strict=True)])
        self._notes.write(
            self._carried_before(
                [
                    (intent, outcome)
                    for intent, outcome in zip(still_open, outcomes, strict=True)
                    if outcome.outcome == OutcomeKind.APPLIED
                    and (row := found.get(intent.address)) is not None
                    and row.last_by_us
                ]
            )
        )
        return len(still_open)

    def carry_out(self, decisions: Sequence[Decision]) -> CarriedOut:
        """Do what was decided. When Odoo cannot be written, the rest is deferred, and nothing is lost.

        Raises:
            LeaseLostError: another run has taken over.
        """
        tasks = [_Task(each, intent) for each in decisions for intent in self._intents(each)]
        results: dict[str, list[OptOutResult]] = {}
        broken, trouble = self._carried_out(tasks, results)
        self._write_notes(tasks, results)
        return CarriedOut(_table(decisions, results, trouble, broken), trouble)

    def _carried_out(
        self, tasks: Sequence[_Task], results: dict[str, list[OptOutResult]]
    ) -> tuple[dict[str, OutcomeKind], str]:
        """Do the tasks until Odoo cannot be written; add the outcome of each address to ``results``.

        Returns what is to be said of the people whose write broke, and why it did.
        """
        for page in chunks_of(PAGE, tasks):
            self._writer.lease.check()
            ids = self._ledger.odoo_opt_outs.record(
                self._writer.company, self._writer.fence, self._writer.run_id, [task.intent for task in page]
            )
            try:
                done = self._written(page)
            except OdooError as error:
                # Left open: perhaps some of it is done, which the next run reads back first.
                state = OutcomeKind.DEFERRED if isinstance(error, OdooAccessError) else OutcomeKind.UNKNOWN
                return {_email(each): state for each in page}, error.message
            self._settle(
                [
                    (intent_id, _outcome(task.intent, result))
                    for intent_id, task, result in zip(ids, page, done, strict=True)
                    if result.outcome != OutcomeKind.UNKNOWN
                ]
            )
            for task, result in zip(page, done, strict=True):
                results.setdefault(_email(task), []).append(result)
        return {}, ""

    def _write_notes(self, tasks: Sequence[_Task], results: dict[str, list[OptOutResult]]) -> None:
        """Say in Odoo why, of everything that was done just now; put into its result where that failed."""
        done = {(email, result.address): result for email, several in results.items() for result in several}
        carried = [
            _carried(task, result)
            for task in tasks
            if (result := done.get((_email(task), task.intent.address))) is not None
            and result.outcome == OutcomeKind.APPLIED
            and (result.by_us or task.intent.scope != OptOutScope.EVERYWHERE)
        ]
        without = self._notes.write(carried)
        for email, several in results.items():
            results[email] = [
                replace(result, detail=_detail_without_note(result.detail, without[result.address]))
                if result.address in without
                else result
                for result in several
            ]

    def _carried_before(self, found: Sequence[tuple[OdooOptOut, OdooOptOutOutcome]]) -> list[CarriedOptOut]:
        """What an interrupted run applied, found from the events that required it."""
        if not found:
            return []
        events = {
            (event.email, event.list_id, event.event, event.occurred_at): event
            for event in self._ledger.consent.opt_outs_and_returns_of([intent.email for intent, _ in found])
        }
        carried = []
        for intent, outcome in found:
            event = events.get((intent.email, intent.list_id, intent.event, intent.occurred_at))
            carried.append(
                CarriedOptOut(
                    address=intent.address,
                    blacklist_id=outcome.blacklist_id,
                    audience=event.audience if event is not None else intent.list_id,
                    event=intent.event,
                    origin=event.origin if event is not None else Origin.UNKNOWN,
                    occurred_at=intent.occurred_at,
                )
            )
        return carried

    def _intents(self, decision: Decision) -> Iterable[OdooOptOutIntent]:
        if decision.action == OdooAction.NONE or decision.waits or decision.event is None:
            return
        event = decision.event
        if decision.action == OdooAction.LIFT:
            for row in decision.rows:
                yield OdooOptOutIntent(
                    address=row.address,
                    action=OdooAction.LIFT,
                    scope=OptOutScope.EVERYWHERE,
                    list_id=event.list_id,
                    event=event.event,
                    occurred_at=event.occurred_at,
                    blacklist_id=row.blacklist_id,
                    blacklist_write_date=row.write_date,
                )
            return
        for address in decision.addresses:
            yield OdooOptOutIntent(
                address=address,
                action=OdooAction.OPT_OUT,
                scope=OptOutScope.EVERYWHERE if self._sources is None else OptOutScope.COMPANY,
                list_id=event.list_id,
                event=event.event,
                occurred_at=event.occurred_at,
            )

    def _written(self, page: Sequence[_Task]) -> list[OptOutResult]:
        out = [task.intent.address for task in page if task.intent.action == OdooAction.OPT_OUT]
        rows = [
            BlacklistRow(task.intent.address, task.intent.blacklist_id, task.intent.blacklist_write_date)
            for task in page
            if task.intent.blacklist_id is not None
        ]
        opted_out = {result.address: result for result in self._opted_out(out)} if out else {}
        lifted = {result.address: result for result in lift(self._client, rows)} if rows else {}
        return [
            (opted_out if task.intent.action == OdooAction.OPT_OUT else lifted)[task.intent.address]
            for task in page
        ]

    def _opted_out(self, addresses: list[str]) -> list[OptOutResult]:
        if self._sources is None:
            return blacklist(self._client, addresses)
        if self._lists is None:
            self._lists = [find_mailing_list(self._client, named) for named in self._sources.mailing_lists]
        each = [opt_out_of_list(self._client, list_id, addresses) for list_id in self._lists]
        each += [self._cleared(name, addresses) for name in self._sources.boolean_fields]
        return [_worst(results) for results in zip(*each, strict=True)]

    def _cleared(self, field: str, addresses: list[str]) -> list[OptOutResult]:
        """Untick the field, of customers of the companies above too (rule 2.2).

        Where the user may not see those, a field that nobody is seen to have ticked may be ticked there.
        """
        results = clear_field(self._seeing_partners(), field, addresses)
        unseen = unseen_because(self._client, self._companies_above())
        return [
            replace(
                each,
                outcome=OutcomeKind.REJECTED,
                detail=f"{field} of contacts there may be ticked: {unseen}",
            )
            if unseen and each.outcome == OutcomeKind.UNCHANGED
            else each
            for each in results
        ]

    def _seeing_partners(self) -> OdooClient:
        return seeing_partners(self._client, self._companies_above())

    def _companies_above(self) -> tuple[int, ...]:
        if self._companies is None:
            self._companies = with_companies_above(self._client, self._client.company_ids[0])
        return self._companies

    def _settle(self, outcomes: Sequence[tuple[IntentId, OdooOptOutOutcome]]) -> None:
        self._ledger.odoo_opt_outs.settle(self._writer.company, self._writer.fence, outcomes)


def _email(task: _Task) -> str:
    return task.decision.email


def _carried(task: _Task, result: OptOutResult) -> CarriedOptOut:
    event = task.decision.event
    assert event is not None  # what has no event asks for nothing
    return CarriedOptOut(
        address=result.address,
        blacklist_id=result.blacklist_id if task.intent.scope == OptOutScope.EVERYWHERE else None,
        audience=event.audience,
        event=event.event,
        origin=event.origin,
        occurred_at=event.occurred_at,
    )


def _detail_without_note(detail: str, because: str) -> str:
    return "; ".join(filter(None, (detail, f"no note in Odoo says why: {because}")))


def _worst(results: Iterable[OptOutResult]) -> OptOutResult:
    return min(results, key=lambda result: _WORST_FIRST.index(result.outcome))


def _outcome(intent: OdooOptOutIntent, result: OptOutResult) -> OdooOptOutOutcome:
    return OdooOptOutOutcome(
        outcome=result.outcome,
        detail=result.detail,
        blacklist_id=result.blacklist_id,
        blacklist_write_date=result.write_date,
        made_by_us=intent.action == OdooAction.OPT_OUT and result.by_us,
    )


def _found_out(intent: OdooOptOut, row: OptOutResult | None) -> OdooOptOutOutcome:
    """The outcome of a write whose answer was lost, from the row as it is now."""
    is_active = row is not None and row.outcome == OutcomeKind.APPLIED
    if intent.scope == OptOutScope.COMPANY or is_active != (intent.action == OdooAction.OPT_OUT):
        return OdooOptOutOutcome(outcome=OutcomeKind.NOT_SENT, detail="read back: it is not done")
    return OdooOptOutOutcome(
        outcome=OutcomeKind.APPLIED,
        detail="read back",
        blacklist_id=row.blacklist_id if row else intent.blacklist_id,
        blacklist_write_date=row.write_date if row else None,
        # Somebody else may have opted the person out since: then the row is theirs.
        made_by_us=row is not None and intent.action == OdooAction.OPT_OUT and row.by_us,
    )


def _table(
    decisions: Sequence[Decision],
    results: dict[str, list[OptOutResult]],
    trouble: str,
    broken: dict[str, OutcomeKind],
) -> pd.DataFrame:
    outcomes, details = [], []
    for decision in decisions:
        outcome, detail = OutcomeKind.UNCHANGED, ""
        if decision.waits:
            outcome = OutcomeKind.HELD_BACK
        elif decision.email in broken:
            outcome, detail = broken[decision.email], trouble
        elif decision.postponed:
            outcome = OutcomeKind.DEFERRED
        elif done := results.get(decision.email):
            worst = _worst(done)
            outcome, detail = worst.outcome, worst.detail
        elif decision.action != OdooAction.NONE:
            outcome, detail = OutcomeKind.DEFERRED, trouble
        outcomes.append(outcome)
        details.append(detail)
    times = [decision.event.occurred_at if decision.event else pd.NaT for decision in decisions]
    return pd.DataFrame(
        {
            "email": pd.Series([decision.email for decision in decisions], dtype="object"),
            "partner_id": pd.Series([decision.partner_id for decision in decisions], dtype="Int64"),
            "action": pd.Series([decision.action for decision in decisions], dtype="object"),
            "cause": pd.Series(
                [decision.event.event if decision.event else "" for decision in decisions], dtype="object"
            ),
            "occurred_at": pd.Series(times, dtype="datetime64[us, UTC]"),
            "conflict": pd.Series([decision.conflict for decision in decisions], dtype="object"),
            "because": pd.Series([decision.because for decision in decisions], dtype="object"),
            "outcome": pd.Series(outcomes, dtype="object"),
            "detail": pd.Series(details, dtype="object"),
        }
    )
