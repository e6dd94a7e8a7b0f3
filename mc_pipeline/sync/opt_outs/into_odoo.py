"""Applies Mailchimp's opt-outs to Odoo, only for the addresses concerned (rules 5.3 and 5.5).

Odoo is asked only about these addresses. Where it cannot be asked, the ledger's knowledge decides who has to
leave the other audiences, and whom to opt out if only the partners are hidden. The rest stays due.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import pandas as pd

from mc_pipeline.chunks import chunks_of
from mc_pipeline.domain.consent.opt_outs_into_odoo import (
    Decision,
    decide_odoo_opt_outs,
    members_to_look_at,
)
from mc_pipeline.ledger import Lease, LeaseLostError
from mc_pipeline.ledger.due_in_odoo import CONFLICT, DUE, REFUSED, WAITS, DueInOdoo
from mc_pipeline.ledger.standing_opt_outs import (
    BLACKLISTED,
    OPTED_OUT_OF_COMPANY,
    RETRIED_AFTER,
    StandingOptOut,
)
from mc_pipeline.odoo.errors import OdooAccessError, OdooError
from mc_pipeline.odoo.opt_outs_since import read_blacklist_of, read_partners_of
from mc_pipeline.push.odoo_opt_outs import CarriedOut, CompanySources, OdooOptOutWrites
from mc_pipeline.push.writer import Writer
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.asking_odoo import ask_odoo, words_of
from mc_pipeline.sync.opt_outs.erased import addresses_of, forget_carried
from mc_pipeline.sync.opt_outs.returns import look_at_members
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import DONE, OdooAction, OptOutScope, OutcomeKind

REFUSED_FOR = timedelta(days=7)
"""An address that Odoo does not take is tried again after so long, or when its contact changes."""

_PAGE = 5_000
"""Addresses that are decided about at a time: bounds memory, however many opt out at once."""


@dataclass(frozen=True)
class CarriedIntoOdoo:
    """Rows of the odoo_opt_outs table, and what could not be asked or written, with Odoo's words.

    ``settled``: how many writes of an interrupted run were found out about. ``without_note``: how many were
    applied without the note in Odoo that says why, in words; no trouble, since the opt-outs are applied.
    """

    rows: pd.DataFrame
    settled: int
    troubles: tuple[str, ...]
    without_note: str = ""


def nothing_carried(because: str) -> CarriedIntoOdoo:
    """This run applied nothing."""
    return CarriedIntoOdoo(CarriedOut.none([], "").rows, 0, (because,))


def carry_into_odoo(systems: Systems, company: CompanySettings, lease: Lease, run_id: str) -> CarriedIntoOdoo:
    """Settle what an interrupted run left open, ask Odoo for news, decide about who is due, and do it.

    An Odoo that cannot be reached fails nothing here. Raises LeaseLostError.
    """
    troubles: dict[str, None] = {}
    settled = 0
    writes: OdooOptOutWrites | None = None
    try:
        writes = OdooOptOutWrites(
            Writer(systems.odoo(company), systems.ledger, lease, run_id), company_sources(company)
        )
        settled = writes.settle_open()
    except OdooError as error:
        troubles[error.message] = None
    for subject, words in ask_odoo(systems, company).troubles.items():
        troubles[words if words in troubles else f"{subject}: {words}"] = None
    due = systems.ledger.due_in_odoo.due(company.key)
    parts: list[pd.DataFrame] = []
    for some in chunks_of(_PAGE, list(due)):
        page = {email: due[email] for email in some}
        try:
            parts.append(_carry(systems, company, writes, page, troubles).rows)
        except LeaseLostError:
            raise
        except Exception as error:
            # They stay due; Odoo's own opt-outs still go to Mailchimp.
            troubles[words_of(error)] = None
    show_waiting(systems, company, complete=not troubles)
    rows = pd.concat(parts, ignore_index=True) if parts else CarriedOut.none([], "").rows
    without_note = writes.notes_trouble if writes is not None else ""
    return CarriedIntoOdoo(rows, settled, tuple(troubles), without_note)


def _carry(
    systems: Systems,
    company: CompanySettings,
    writes: OdooOptOutWrites | None,
    due: Mapping[str, int],
    troubles: dict[str, None],
) -> CarriedOut:
    """``due``: addresses with the version of what is known of each."""
    emails = list(due)
    standing = _standing(systems, company, emails)
    troubles.update(dict.fromkeys(filter(None, (standing.no_blacklist, standing.no_partners))))
    # Of people who were erased, the ledger knows what happened by their pseudonyms.
    erased = systems.erased
    theirs = addresses_of(erased, emails)
    known_by = [*emails, *theirs]
    decide = partial(
        decide_odoo_opt_outs,
        [
            replace(event, email=theirs.get(event.email, event.email))
            for event in systems.ledger.consent.opt_outs_and_returns_of(known_by)
        ],
        standing.blacklist,
        [
            replace(done, email=theirs.get(done.email, done.email))
            for done in systems.ledger.odoo_opt_outs.done(known_by)
        ],
        standing.partners,
        company=company.key,
        scope=company.opt_out_scope,
        old_until=old_until(systems, company),
        now=systems.now(),
    )
    decisions, not_looked_at = decide_while_subscribed(systems, company, decide)
    troubles.update(dict.fromkeys(not_looked_at))
    # Their opt-outs are applied, and no blacklist entry is removed for them: nothing is known about what else
    # they did.
    decisions = [
        each for each in decisions if each.action != OdooAction.LIFT or not erased.includes(each.email)
    ]
    if standing.no_blacklist:
        # What the ledger knows is enough to take somebody out of the other audiences, and for nothing else.
        decisions = [each for each in decisions if each.action == OdooAction.OPT_OUT]
    say_who_is_out(systems, company, decisions)
    if standing.no_blacklist or writes is None:
        done = CarriedOut.none(decisions, standing.no_blacklist or next(iter(troubles), ""))
    else:
        done = writes.carry_out(decisions)
    if done.trouble:
        troubles[done.trouble] = None
    not_asked = bool(standing.no_blacklist or standing.no_partners)
    remember(systems, company, due, decisions, done, keep_due=not_asked)
    forget_carried(systems.ledger, erased, theirs.values())
    return done


def decide_while_subscribed(
    systems: Systems, company: CompanySettings, decide: Callable[..., list[Decision]]
) -> tuple[list[Decision], list[str]]:
    """Decide, look at the members on whose subscription that rests, and decide by what they are now.

    Returns the decisions, and why members could not be looked at.
    """
    decisions = decide()
    members = members_to_look_at(decisions)
    if not members:
        return decisions, []
    seen = look_at_members(systems, company, members)
    return decide(not_subscribed=seen.not_subscribed, not_asked=seen.not_asked), seen.troubles


def carry_of_erased(
    systems: Systems, company: CompanySettings, writes: OdooOptOutWrites, troubles: dict[str, None]
) -> None:
    """Apply what is due for erased people: no table shows them, so that no comparison finds it."""
    erased = systems.erased
    due = {
        email: version
        for email, version in systems.ledger.due_in_odoo.due(company.key).items()
        if erased.includes(email)
    }
    if due:
        _carry(systems, company, writes, due, troubles)


def say_who_is_out(systems: Systems, company: CompanySettings, decisions: Sequence[Decision]) -> None:
    """Record who is out, before either system is written: the other audiences follow from it."""
    cause = BLACKLISTED if company.opt_out_scope == "everywhere" else OPTED_OUT_OF_COMPANY
    systems.ledger.standing_opt_outs.say(
        [
            StandingOptOut(company=company.key, email=each.email, cause=cause, said_at=each.event.occurred_at)
            for each in decisions
            if each.action == OdooAction.OPT_OUT and not each.waits and each.event is not None
        ],
        [audience.list_id for audience in company.audiences.values()],
    )


def remember(
    systems: Systems,
    company: CompanySettings,
    decided: Mapping[str, int],
    decisions: Sequence[Decision],
    done: CarriedOut,
    *,
    keep_due: bool = False,
) -> None:
    """Keep what is still open of these addresses: who is due again, waits, was refused, or needs a person.

    ``decided``: the addresses, with the version of what the decisions build on. ``keep_due``: Odoo could not
    be asked about everything: only those whose opt-out was applied are done.
    """
    now = systems.now()
    outcomes = dict(zip(done.rows["email"], done.rows["outcome"], strict=True))
    details = dict(zip(done.rows["email"], done.rows["detail"], strict=True))
    applied = {email for email, outcome in outcomes.items() if outcome == OutcomeKind.APPLIED}
    _say_what_was_done(systems, company, applied)
    still_open: dict[str, DueInOdoo] = {}
    for each in decisions:
        state = _state(each, outcomes[each.email])
        is_kept = keep_due and each.action != OdooAction.NONE and each.email not in applied
        if state is None and not is_kept:
            continue
        failed = state in (None, DUE)
        still_open[each.email] = DueInOdoo(
            company=company.key,
            email=each.email,
            state=state or DUE,
            since=now,
            retry_at=now + REFUSED_FOR if state == REFUSED else now + RETRIED_AFTER if failed else None,
            list_id=each.event.list_id if state == WAITS and each.event is not None else "",
            partner_id=each.partner_id,
            conflict=each.conflict,
            detail=details[each.email],
        )
    if keep_due:
        for email in decided:
            again = DueInOdoo(
                company=company.key, email=email, state=DUE, since=now, retry_at=now + RETRIED_AFTER
            )
            if email not in applied:
                still_open.setdefault(email, again)
    systems.ledger.due_in_odoo.decide(company.key, decided, still_open.values())


def _say_what_was_done(systems: Systems, company: CompanySettings, applied: Collection[str]) -> None:
    """Odoo's rows as we left them, by Odoo's own dates: the later word."""
    if company.opt_out_scope != "everywhere":
        return
    latest = {each.email: each for each in systems.ledger.odoo_opt_outs.done(applied)}
    dated = [
        (each, each.blacklist_write_date)
        for each in latest.values()
        if each.scope == OptOutScope.EVERYWHERE and each.blacklist_write_date is not None
    ]
    systems.ledger.standing_opt_outs.lift(
        company.key, {each.email: at for each, at in dated if each.action == OdooAction.LIFT}
    )
    systems.ledger.standing_opt_outs.say(
        [
            StandingOptOut(company=company.key, email=each.email, cause=BLACKLISTED, said_at=at)
            for each, at in dated
            if each.action == OdooAction.OPT_OUT
        ],
        [audience.list_id for audience in company.audiences.values()],
    )


def _state(decision: Decision, outcome: str) -> str | None:
    """What remains to be done about a person; None: nothing."""
    if decision.waits:
        return WAITS
    if decision.postponed:
        return DUE
    if decision.conflict:
        return CONFLICT
    if decision.action == OdooAction.NONE:
        return None
    if outcome == OutcomeKind.REJECTED:
        return REFUSED
    return None if outcome in DONE | {OutcomeKind.HELD_BACK} else DUE


@dataclass(frozen=True)
class _Standing:
    """The state of some addresses in Odoo: rows of the blacklist, and partners.

    ``no_blacklist``, ``no_partners``: why Odoo could not be asked, if so; then the ledger's knowledge is
    used.
    """

    blacklist: pd.DataFrame
    partners: pd.DataFrame
    no_blacklist: str = ""
    no_partners: str = ""


def _standing(systems: Systems, company: CompanySettings, emails: Sequence[str]) -> _Standing:
    """Ask Odoo for both, each separately: a right that is missing for one leaves the other."""
    no_blacklist = no_partners = ""
    try:
        blacklist = read_blacklist_of(systems.odoo(company), emails)
    except OdooError as error:
        blacklist, no_blacklist = _blacklist_of_the_ledger(systems, company, emails), error.message
        if not isinstance(error, OdooAccessError):
            partners = _partners_of_the_ledger(systems, company, emails)
            return _Standing(blacklist, partners, no_blacklist, no_blacklist)
    try:
        partners = read_partners_of(systems.odoo(company), company.odoo_company_id, emails)
    except OdooError as error:
        partners, no_partners = _partners_of_the_ledger(systems, company, emails), error.message
    return _Standing(blacklist, partners, no_blacklist, no_partners)


def _blacklist_of_the_ledger(
    systems: Systems, company: CompanySettings, emails: Sequence[str]
) -> pd.DataFrame:
    out = [
        each for each in systems.ledger.standing_opt_outs.of(company.key, emails) if each.cause == BLACKLISTED
    ]
    return pd.DataFrame(
        {
            "blacklist_id": pd.Series([0] * len(out), dtype="int64"),
            "email": pd.Series([each.email for each in out], dtype="str"),
            "active": pd.Series([True] * len(out), dtype="bool"),
            "write_date": pd.Series([each.said_at for each in out], dtype="datetime64[us, UTC]"),
        }
    )


def _partners_of_the_ledger(
    systems: Systems, company: CompanySettings, emails: Sequence[str]
) -> pd.DataFrame:
    lists = [audience.list_id for audience in company.audiences.values()]
    records = systems.ledger.members.load_some(lists, emails)
    known = records[records["partner_id"].notna()].drop_duplicates("email")
    return pd.DataFrame(
        {
            "partner_id": known["partner_id"].astype("int64"),
            "email_normalized": known["email"].astype("str"),
        }
    )


def company_sources(company: CompanySettings) -> CompanySources | None:
    """What of Odoo stands for consent in the company, where its opt-outs keep off the blacklist."""
    if company.opt_out_scope == "everywhere":
        return None
    rules = [audience.consent for audience in company.audiences.values() if audience.consent]
    return CompanySources(
        tuple(dict.fromkeys(rule.mailing_list for rule in rules if rule.mailing_list is not None)),
        tuple(dict.fromkeys(rule.boolean_field for rule in rules if rule.boolean_field)),
    )


def old_until(systems: Systems, company: CompanySettings) -> dict[str, datetime]:
    """When each audience was first read for opt-outs, for those whose older opt-outs nobody has approved."""
    ledger = systems.ledger
    lists = {audience.list_id: key for key, audience in company.audiences.items()}
    # An audience may be observed before it is ever read.
    for list_id, key in lists.items():
        ledger.old_opt_outs.begin(company.key, key, list_id, systems.now())
    return {
        list_id: record.first_read_at
        for list_id, record in ledger.old_opt_outs.of(lists).items()
        if record.released_at is None
    }


def show_waiting(systems: Systems, company: CompanySettings, *, complete: bool) -> None:
    """Keep how many people wait in each audience; that nobody does is known when nothing is open."""
    ledger = systems.ledger
    # In this order: what is read for the first time meanwhile is in none of the two, or makes somebody due.
    heard = ledger.opt_out_reads.read_until([each.list_id for each in company.audiences.values()])
    nothing_open = complete and not ledger.due_in_odoo.count_due(company.key)
    waiting = ledger.due_in_odoo.of(company.key, WAITS)
    for audience in company.audiences.values():
        people = sum(each.list_id == audience.list_id for each in waiting)
        if people or (nothing_open and audience.list_id in heard):
            ledger.old_opt_outs.show(audience.list_id, people)
