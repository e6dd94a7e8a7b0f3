"""Makes a plan from the observed tables, judges it, and keeps it in the ledger."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mc_pipeline.defs.systems import Systems
from mc_pipeline.domain.changes import AudienceChanges, Completeness, decide_changes
from mc_pipeline.domain.guards import GuardReport, evaluate_guards
from mc_pipeline.domain.plan_rows import plan_id
from mc_pipeline.ledger import PlanRecord
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.lists import Audience
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table


@dataclass(frozen=True)
class MadePlan:
    """A plan with everything a person needs to judge it.

    ``first_load`` has one entry per audience that was never written to: contacts by status, tags, whether a
    welcome automation could start, and the number of contacts before and after (rule 7.3).
    """

    plan_id: str
    table: Table
    changes: AudienceChanges
    report: GuardReport
    first_load: list[dict[str, Any]]


def make_plan(
    systems: Systems,
    company: CompanySettings,
    contacts: Table,
    set_aside: Table,
    partners: Table,
    blacklist: Table,
    members: Table,
) -> MadePlan:
    """Decide the changes, judge them by the guards and the approvals there are, and save the plan."""
    from mc_pipeline.defs.audience.observing import Audiences

    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    ledger = systems.ledger
    known = Audiences.of(members, company)
    audiences = known.described
    client = systems.mailchimp(company)
    odoo_reasons = [table.incomplete_because for table in (contacts, blacklist) if not table.complete]
    changes = decide_changes(
        contacts.rows,
        members.rows,
        ledger.members.load(lists.values()),
        company=company,
        partners=partners.rows,
        set_aside=set_aside.rows,
        completeness=Completeness(
            odoo=not odoo_reasons,
            odoo_because="; ".join(odoo_reasons),
            mailchimp=not known.shrunk,
            mailchimp_because=known.shrunk,
            audiences=known.in_doubt,
        ),
        planned_at=systems.now(),
        blacklisted_emails=opted_out_in_odoo(systems, company, blacklist),
        opted_out_ever=frozenset(ledger.consent.ever_opted_out()),
        double_optin_list_ids=frozenset(
            list_id for list_id, audience in audiences.items() if audience.double_optin
        ),
        first_load_list_ids=frozenset(lists.values()) - ledger.plans.opened_audiences(company.key),
        permission_list_ids=frozenset(
            list_id for list_id, audience in audiences.items() if audience.marketing_permissions
        ),
        subscribed_by_us=frozenset(
            (event.list_id, event.email) for event in ledger.consent.subscribed_by_us(lists.values())
        ),
        merge_field_types=known.merge_field_types,
    )
    plan = changes.plan
    identity = plan_id(company.key, plan)
    table = members.derive(plan, contacts, set_aside, partners, blacklist)
    # A plan is as old as its view of the audiences: that is what changes under it.
    table = Table(plan, members.observed_at, table.complete, table.incomplete_because)
    report = judge_plan(systems, company, plan, members.rows)
    first_load = [
        _first_load(audiences[lists[key]], plan[plan["audience"] == key], _greetings(client, lists[key]))
        for key in report.first_load_audiences
    ]
    ledger.plans.save(
        PlanRecord(
            plan_id=identity,
            company=company.key,
            observed_at=members.observed_at,
            row_count=len(plan),
            counts={
                "operations": (plan["audience"] + "/" + plan["operation"]).value_counts().to_dict(),
                "first_load": first_load,
            },
            row_keys=plan["row_key"].tolist(),
            guards=[vars(guard) for guard in report.guards],
            needs_approval=report.needs_approval,
            first_load_audiences=[lists[key] for key in report.first_load_audiences],
        )
    )
    return MadePlan(identity, table, changes, report, first_load)


def opted_out_in_odoo(systems: Systems, company: CompanySettings, blacklist: Table) -> frozenset[str]:
    """Return who is opted out in Odoo: as it was read, and by what this run carried there since."""
    active = set(blacklist.rows.loc[blacklist.rows["active"], "email"])
    latest = {
        done.email: done.action
        for done in systems.ledger.odoo_opt_outs.done()
        if (done.scope == "everywhere" and done.settled_at and done.settled_at >= blacklist.observed_at)
        or (done.scope == "company" and done.company == company.key)
    }
    return frozenset(active | {email for email, action in latest.items() if action == "opt_out"})


def judge_plan(
    systems: Systems, company: CompanySettings, plan: pd.DataFrame, members: pd.DataFrame
) -> GuardReport:
    """Judge a plan by the company's guards and the approvals that the ledger has now."""
    present = members[members["status"] != "archived"].groupby("audience").size()
    # An audience that was not read is as large as it was: the limits of the others do not shrink with it.
    known = systems.ledger.members.counts([audience.list_id for audience in company.audiences.values()])
    plans = systems.ledger.plans
    return evaluate_guards(
        plan,
        {
            key: int(present.get(key, 0)) or known.get(audience.list_id, 0)
            for key, audience in company.audiences.items()
        },
        company.guards,
        plans.approved_row_keys(company.key),
        plans.opened_audiences(company.key),
    )


def _greetings(client: MailchimpClient, list_id: str) -> list[str] | None:
    """Return the welcome automations of an audience; None: not known, which holds up no plan."""
    from mc_pipeline.mailchimp.errors import MailchimpError
    from mc_pipeline.mailchimp.lists import welcome_automations

    try:
        return welcome_automations(client, list_id)
    except MailchimpError:
        return None


def _first_load(audience: Audience, plan: pd.DataFrame, greetings: list[str] | None) -> dict[str, Any]:
    sent = plan[plan["held_back_because"] == ""]
    created = sent[sent["operation"] == "create"]
    tags = sent.loc[sent["operation"] == "tag", "tag"].value_counts()
    return {
        "audience": plan["audience"].iloc[0],
        "contacts now": audience.total_contacts,
        "contacts after": (audience.total_contacts or 0) + len(created),
        "created": len(created),
        **{
            status: int((created["status"] == status).sum())
            for status in ("subscribed", "transactional", "pending")
        },
        "updated": int((sent["operation"] == "update").sum()),
        "tags": ", ".join(f"{tag}: {count}" for tag, count in tags.items()),
        "welcome automations": "not known" if greetings is None else ", ".join(greetings) or "none found",
    }
