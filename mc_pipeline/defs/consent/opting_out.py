"""Carries a company's opt-outs of Mailchimp into Odoo, from the ledger's events and Odoo's tables."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.consent.assets import SETTLED, TROUBLE
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table

if TYPE_CHECKING:
    from mc_pipeline.consent.odoo_writes import CompanySources
    from mc_pipeline.domain.odoo_opt_outs import Decision
    from mc_pipeline.ledger import Lease


def carry_into_odoo(
    systems: Systems,
    company: CompanySettings,
    lease: "Lease",
    run_id: str,
    partners: Table,
    blacklist: Table,
    log: dg.DagsterLogManager,
) -> Table:
    """Settle what an interrupted run left open, decide about everybody, do it; the odoo_opt_outs table.

    An Odoo that cannot be written fails nothing here: its own opt-outs still go to Mailchimp after this, and
    the check ``opt_outs_agree`` tells what is missing. Raises LeaseLostError.
    """
    from mc_pipeline.consent.odoo_writes import CarriedOut, OdooOptOutWrites
    from mc_pipeline.domain.odoo_opt_outs import decide_odoo_opt_outs
    from mc_pipeline.odoo.errors import OdooError

    ledger = systems.ledger
    writes = OdooOptOutWrites(systems.odoo(company), ledger, lease, run_id, _sources(company))
    settled, trouble = 0, ""
    try:
        settled = writes.settle_open()
    except OdooError as error:
        trouble = error.message
    decisions = decide_odoo_opt_outs(
        ledger.consent.opt_outs_and_returns(),
        blacklist.rows,
        ledger.odoo_opt_outs.done(),
        partners.rows,
        company=company.key,
        scope=company.opt_out_scope,
        old_until=_old_until(systems, company),
        now=systems.now(),
    )
    _show_waiting(systems, company, decisions, complete=partners.complete and blacklist.complete)
    done = CarriedOut.none(decisions, trouble) if trouble else writes.carry_out(decisions)
    if done.trouble:
        log.error(f"Opt-outs of Mailchimp are not all in Odoo; the next run tries again. {done.trouble}")
    table = blacklist.derive(done.rows, partners)
    return replace(table, facts={SETTLED: str(settled), TROUBLE: done.trouble})


def _sources(company: CompanySettings) -> "CompanySources | None":
    """What of Odoo stands for consent in the company, where its opt-outs keep off the blacklist."""
    from mc_pipeline.consent.odoo_writes import CompanySources

    if company.opt_out_scope == "everywhere":
        return None
    rules = [audience.consent for audience in company.audiences.values() if audience.consent]
    return CompanySources(
        tuple(dict.fromkeys(rule.mailing_list for rule in rules if rule.mailing_list is not None)),
        tuple(dict.fromkeys(rule.boolean_field for rule in rules if rule.boolean_field)),
    )


def _old_until(systems: Systems, company: CompanySettings) -> dict[str, datetime]:
    """When each audience was first read, for those whose older opt-outs nobody has released."""
    ledger = systems.ledger
    lists = {audience.list_id: key for key, audience in company.audiences.items()}
    read_until = ledger.opt_out_reads.read_until(lists)
    for list_id, key in lists.items():
        ledger.old_opt_outs.begin(company.key, key, list_id, read_until.get(list_id, systems.now()))
    return {
        list_id: record.first_read_at
        for list_id, record in ledger.old_opt_outs.of(lists).items()
        if record.released_at is None
    }


def _show_waiting(
    systems: Systems, company: CompanySettings, decisions: "list[Decision]", *, complete: bool
) -> None:
    """Keep how many people wait in each audience; that nobody does is known from complete tables only."""
    waiting = {audience.list_id: 0 for audience in company.audiences.values()}
    for decision in decisions:
        if decision.waits and decision.event is not None and decision.event.list_id in waiting:
            waiting[decision.event.list_id] += 1
    for list_id, people in waiting.items():
        if people or complete:
            systems.ledger.old_opt_outs.show(list_id, people)
