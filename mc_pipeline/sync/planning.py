"""Makes a plan from the observed tables, judges it, and keeps it in the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from mc_pipeline.domain.consent.opted_out_in_odoo import opted_out_in_odoo
from mc_pipeline.domain.plan.greetings import Greeting, greetings, verdict_on_greetings
from mc_pipeline.domain.plan.guards import GuardReport, evaluate_guards
from mc_pipeline.domain.plan.inputs import PlanInputs
from mc_pipeline.domain.plan.leaks import LeakFacts, find_leaks
from mc_pipeline.domain.plan.plan import AudienceChanges, Completeness, decide_changes
from mc_pipeline.domain.plan.rows import plan_id
from mc_pipeline.domain.plan.waiting_rows import why_rows_wait
from mc_pipeline.ledger import Ledger, PlanRecord
from mc_pipeline.ledger.standing_opt_outs import EVIDENCE_WITHDRAWN
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.lists import Audience, welcome_automations
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.observing import Audiences
from mc_pipeline.sync.opt_outs.following import lost_evidence, opted_out_since
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table

LAST_EVENT, MADE_AT, PLAN_ID = "last_event", "made_at", "plan_id"
"""Facts of the table audience_plan: the newest consent event it knows, when it was made (UTC), its id."""

GREETINGS, LEAKING = "greetings", "leaking"
"""Keys of a saved plan's counts: whom it would have mailed by welcome automations, in words; how many rows of
it would harm somebody."""


@dataclass(frozen=True)
class MadePlan:
    """A plan with everything a person needs to judge it.

    ``verdict`` says whether it needs an approval, and who would get a welcome mail. ``first_load`` has one
    entry per audience that was never written to: contacts by status, tags, whom a welcome automation would
    mail, and the number of contacts before and after (rule 7.3).
    """

    plan_id: str
    table: Table
    changes: AudienceChanges
    report: GuardReport
    verdict: str
    first_load: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PlanTables:
    """The tables of a company that a plan is made from, as they were read and decided."""

    contacts: Table
    set_aside: Table
    partners: Table
    blacklist: Table
    members: Table


def plan_inputs(
    ledger: Ledger, company: CompanySettings, tables: PlanTables, *, last_event: int, made_at: datetime
) -> PlanInputs:
    """Gather everything that a plan is decided from: for the sync, and for ``explain``.

    Args:
        ledger: the ledger.
        company: the company's settings.
        tables: what was read of both systems.
        last_event: number of the newest consent event that the plan may know.
        made_at: when the plan is made (UTC): what is applied to Odoo later is not part of it.
    """
    lists = [audience.list_id for audience in company.audiences.values()]
    known = Audiences.of(tables.members, company)
    audiences = known.described
    successors = ledger.partner_addresses.successors()
    opted_out = opted_out_since(ledger, tables.blacklist.rows, up_to_event=last_event)
    contacts = tables.contacts.rows
    odoo_reasons = [
        table.incomplete_because for table in (tables.contacts, tables.blacklist) if not table.complete
    ]
    return PlanInputs(
        contacts=contacts,
        members=tables.members.rows,
        records=ledger.members.load(lists),
        company=company,
        partners=tables.partners.rows,
        set_aside=tables.set_aside.rows,
        completeness=Completeness(
            odoo=not odoo_reasons,
            odoo_because="; ".join(odoo_reasons),
            mailchimp=not known.shrunk,
            mailchimp_because=known.shrunk,
            audiences=known.in_doubt,
        ),
        planned_at=made_at,
        blacklisted_emails=blacklisted_emails(ledger, company, tables.blacklist, until=made_at),
        opted_out_ever=frozenset(ledger.consent.ever_opted_out(up_to_event=last_event)),
        double_optin_list_ids=frozenset(
            list_id for list_id, audience in audiences.items() if audience.double_optin
        ),
        first_load_list_ids=frozenset(ledger.plans.in_first_load(company.key, lists)),
        permission_list_ids=frozenset(
            list_id for list_id, audience in audiences.items() if audience.marketing_permissions
        ),
        subscribed_by_us=frozenset(
            (event.list_id, event.email) for event in ledger.consent.subscribed_by_us(lists)
        ),
        merge_field_types=known.merge_field_types,
        held_addresses=ledger.partner_addresses.of(opted_out),
        successors=successors,
        lost_evidence=frozenset(
            (each.source, each.consented_at.replace(microsecond=0))
            for each in lost_evidence(ledger.used_evidence.of(lists), successors)
            if each.consented_at is not None
        ),
        opted_out_since=opted_out,
        withdrawn=frozenset(
            (each.list_id, each.email)
            for each in ledger.standing_opt_outs.of(company.key, until=made_at)
            if each.cause == EVIDENCE_WITHDRAWN
        ),
        not_taken_back=ledger.consent.refused_for_good(),
        changed=ledger.changed_addresses.open(company.key),
        asked_to_confirm=ledger.confirmations.asked(company.key),
        of_first_load=frozenset(
            ledger.confirmations.of_first_load(
                company.key, contacts.loc[contacts["status_for_new"] == "pending", "email"]
            )
        ),
        permissions_said=ledger.permissions.last_words(company.key),
    )


def make_plan(systems: Systems, company: CompanySettings, tables: PlanTables) -> MadePlan:
    """Decide the changes, judge them by the guards and the approvals there are, and save the plan."""
    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    ledger, members = systems.ledger, tables.members
    audiences = Audiences.of(members, company).described
    client = systems.mailchimp(company)
    # Opt-outs that are read from here on are not for the plan to know: the push drops those people.
    last_event, made_at = ledger.consent.last_event_id(), systems.now()
    changes = decide_changes(plan_inputs(ledger, company, tables, last_event=last_event, made_at=made_at))
    plan = changes.plan
    identity = plan_id(company.key, plan)
    table = members.derive(plan, tables.contacts, tables.set_aside, tables.partners, tables.blacklist)
    # A plan is as old as its view of the audiences: that is what changes under it.
    table = Table(
        plan,
        members.observed_at,
        table.complete,
        table.incomplete_because,
        facts={LAST_EVENT: str(last_event), MADE_AT: made_at.isoformat(), PLAN_ID: identity},
    )
    leaks = leaks_of(ledger, company, table, tables.contacts, tables.partners, tables.blacklist, members)
    report = judge_plan(systems, company, plan, members.rows).report
    greeted = _greetings(
        client, {key: audiences[lists[key]] for key in lists if lists[key] in audiences}, plan, report
    )
    first_load = [
        _first_load(
            key,
            audiences[lists[key]],
            plan[plan["audience"] == key],
            next(each for each in greeted if each.audience == key),
        )
        for key in report.first_load_audiences
    ]
    mailed = verdict_on_greetings(greeted)
    ledger.plans.save(
        PlanRecord(
            plan_id=identity,
            company=company.key,
            observed_at=members.observed_at,
            row_count=len(plan),
            counts={
                "operations": (plan["audience"] + "/" + plan["operation"]).value_counts().to_dict(),
                "first_load": first_load,
                "verdict": report.sentence,
                GREETINGS: mailed,
                LEAKING: int(leaks["row_key"].nunique()),
            },
            row_keys=plan["row_key"].tolist(),
            guards=[vars(guard) for guard in report.guards],
            needs_approval=report.needs_approval,
            first_load_audiences=[lists[key] for key in report.first_load_audiences],
        )
    )
    return MadePlan(identity, table, changes, report, f"{report.sentence} {mailed}".strip(), first_load)


def leaks_of(
    ledger: Ledger,
    company: CompanySettings,
    plan: Table,
    contacts: Table,
    partners: Table,
    blacklist: Table,
    members: Table,
) -> pd.DataFrame:
    """Find the rows of a plan that would harm somebody, by what was known when it was made."""
    return find_leaks(
        plan.rows,
        LeakFacts(
            company=company,
            contacts=contacts.rows,
            partners=partners.rows,
            members=members.rows,
            opted_out_ever=ledger.consent.ever_opted_out(up_to_event=int(plan.facts[LAST_EVENT])),
            blacklisted_emails=blacklisted_emails(
                ledger, company, blacklist, until=datetime.fromisoformat(plan.facts[MADE_AT])
            ),
        ),
    )


def identity_of(systems: Systems, company: CompanySettings, plan: Table) -> str:
    """The id of a plan by its rows; as it says itself where rows of erased people were left out since."""
    identity = plan_id(company.key, plan.rows)
    said = plan.facts.get(PLAN_ID, "")
    record = systems.ledger.plans.get(said) if said != identity else None
    if record is None or len(plan.rows) >= record.row_count:
        return identity
    return said if set(plan.rows["row_key"]) <= set(record.row_keys) else identity


def mailed_by(systems: Systems, plan_id: str) -> str:
    """Say whom welcome automations would mail because of a saved plan; empty if nobody."""
    record = systems.ledger.plans.get(plan_id)
    return "" if record is None else str(record.counts.get(GREETINGS, ""))


def _greetings(
    client: "MailchimpClient", audiences: Mapping[str, Audience], plan: pd.DataFrame, report: GuardReport
) -> tuple[Greeting, ...]:
    return greetings(
        plan,
        {key for key, audience in audiences.items() if audience.has_welcome},
        {key: _automations(client, audiences[key].id) for key in report.first_load_audiences},
        report.first_load_audiences,
    )


def _automations(client: "MailchimpClient", list_id: str) -> list[str]:
    """Return the welcome automations that are known; what Mailchimp does not answer holds up no plan."""
    try:
        return welcome_automations(client, list_id) or []
    except MailchimpError:
        return []


def blacklisted_emails(
    ledger: Ledger, company: CompanySettings, blacklist: Table, *, until: datetime
) -> frozenset[str]:
    """Return who is opted out in Odoo: as it was read, and by what was applied or heard until then."""
    standing = ledger.standing_opt_outs.of(company.key, until=until)
    return opted_out_in_odoo(
        blacklist.rows.loc[blacklist.rows["active"], "email"],
        [each.email for each in standing if not each.list_id],
        ledger.odoo_opt_outs.done(),
        company=company.key,
        read_at=blacklist.observed_at,
        until=until,
    )


@dataclass(frozen=True)
class Judged:
    """A plan judged with the approvals that the ledger has now.

    ``why_rows_wait``: per row of the plan why it waits, empty where it is applied. ``opened_audiences``: list
    ids of the audiences whose first load a person approved.
    """

    report: GuardReport
    why_rows_wait: pd.Series
    opened_audiences: frozenset[str]


def judge_plan(
    systems: Systems, company: CompanySettings, plan: pd.DataFrame, members: pd.DataFrame
) -> Judged:
    """Judge a plan by the company's guards and the approvals that the ledger has now."""
    present = members[members["status"] != "archived"].groupby("audience").size()
    # An audience that was not read is as large as it was: the limits of the others do not shrink with it.
    known = systems.ledger.members.counts([audience.list_id for audience in company.audiences.values()])
    plans = systems.ledger.plans
    approved, opened = plans.approved_row_keys(company.key), plans.opened_audiences(company.key)
    report = evaluate_guards(
        plan,
        {
            key: int(present.get(key, 0)) or known.get(audience.list_id, 0)
            for key, audience in company.audiences.items()
        },
        company.guards,
        approved,
        opened,
        # Members who are as they should be are in no row; their orders are written all the same.
        stores_to_open={
            key
            for key, audience in company.audiences.items()
            if audience.store is not None and key in present.index and audience.list_id not in opened
        },
    )
    return Judged(report, why_rows_wait(plan, report, approved), frozenset(opened))


def _first_load(key: str, audience: Audience, plan: pd.DataFrame, greeting: Greeting) -> dict[str, Any]:
    sent = plan[plan["held_back_because"] == ""]
    created = sent[sent["operation"] == "create"]
    tags = sent.loc[sent["operation"] == "tag", "tag"].value_counts()
    return {
        "audience": key,
        "contacts now": audience.total_contacts,
        "contacts after": (audience.total_contacts or 0) + len(created),
        "created": len(created),
        **{
            status: int((created["status"] == status).sum())
            for status in ("subscribed", "transactional", "pending")
        },
        "updated": int((sent["operation"] == "update").sum()),
        "tags": ", ".join(f"{tag}: {count}" for tag, count in tags.items()),
        "welcome automation": greeting.said,
    }
