"""Checks of the group ``audience``: nothing leaks, what waits for a person, and what Mailchimp refused."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.audience.assets import PUSHED_PLAN, TROUBLE, not_applied, unread_table
from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.odoo.checks import READ_IS_COMPLETE
from mc_pipeline.defs.presentation import (
    counts,
    counts_table,
    old_opt_outs_metadata,
    partners_in_odoo,
    records_table,
    unless_empty,
)
from mc_pipeline.domain.consent.old_opt_outs import what_waits
from mc_pipeline.domain.contacts.names import WHAT_TO_DO
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.observing import Audiences
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.domain.plan.guards import GuardReport

NO_LEAKS = "no_leaks"
WITHIN_GUARDS = "within_guards"
PERMISSIONS_KNOWN = "permissions_known"
NAMES_DECIDED = "names_decided"
EVERYTHING_APPLIED = "everything_applied"

_JUDGED_WITH = ("contacts", "odoo_partners", "odoo_blacklist", "mailchimp_members")


def audience_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the audience tables: one step per table, partitioned like it."""

    @dg.multi_asset_check(
        name="audience_plan_checks",
        specs=[
            company_check_spec(
                NO_LEAKS,
                asset="audience_plan",
                judged_with=_JUDGED_WITH,
                blocking=True,
                description=(
                    "Nobody is written to an audience unless a rule says so, nobody who opted out is "
                    "subscribed, no employee, internal user or supplier is in the plan. For data "
                    "engineering: a leak is a bug in mc_pipeline; nothing is pushed, report it with the "
                    "plan's id."
                ),
                owner=Owner.DATA_ENGINEERING,
                companies=companies,
            ),
            company_check_spec(
                WITHIN_GUARDS,
                asset="audience_plan",
                judged_with=_JUDGED_WITH,
                description=(
                    "The plan changes no more than the company's guards allow, or a person approved it. "
                    "Until then the rows that need it wait, and all others are applied. For marketing ops: "
                    "look at the plan, approve it (job `approve_plan`, or `mc-pipeline approve PLAN_ID`), "
                    "and sync the company again."
                ),
                owner=Owner.MARKETING_OPS,
                companies=companies,
            ),
            company_check_spec(
                PERMISSIONS_KNOWN,
                asset="audience_plan",
                judged_with=_JUDGED_WITH,
                description=(
                    "For every marketing permission (GDPR) sent to Mailchimp it is known whether the "
                    "member got it. If an answer was lost and the member does not have the permission, "
                    "they may have withdrawn it: it is not sent again. For marketing ops: look at the "
                    "member in Mailchimp. People who want the permission tick it themselves, or consent "
                    "again in Odoo: later consent gives it."
                ),
                owner=Owner.MARKETING_OPS,
                companies=companies,
            ),
            company_check_spec(
                NAMES_DECIDED,
                asset="audience_plan",
                judged_with=_JUDGED_WITH,
                description=(
                    "For every member for whom Odoo has one name field, it is clear which part is the "
                    "first name. If this pipeline did not write the last name in Mailchimp, and the name "
                    "in Odoo does not end in it, neither is written; all other fields are. For marketing "
                    f"ops: {WHAT_TO_DO}"
                ),
                owner=Owner.MARKETING_OPS,
                companies=companies,
            ),
        ],
    )
    @shows_failures
    def audience_plan_checks(
        context: dg.AssetCheckExecutionContext,
        audience_plan: Table,
        contacts: Table,
        odoo_partners: Table,
        odoo_blacklist: Table,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> Iterator[dg.AssetCheckResult]:
        from mc_pipeline.sync.planning import identity_of, judge_plan, leaks_of, mailed_by

        company = systems.company(context.partition_key)
        leaks = leaks_of(
            systems.ledger, company, audience_plan, contacts, odoo_partners, odoo_blacklist, mailchimp_members
        )
        yield dg.AssetCheckResult(
            check_name=NO_LEAKS,
            asset_key="audience_plan",
            passed=leaks.empty,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{len(audience_plan.rows):,} rows, none leaks."
            if leaks.empty
            else f"{leaks['row_key'].nunique():,} rows would harm somebody; nothing is pushed.",
            metadata={
                "leaking_rows": len(leaks),
                **unless_empty(by_reason=counts_table(counts(leaks["reason"]), "reason")),
                **partners_in_odoo(
                    systems.settings,
                    "who",
                    leaks[["partner_id", "email", "audience", "operation", "reason"]],
                ),
            },
        )
        judged = judge_plan(systems, company, audience_plan.rows, mailchimp_members.rows)
        report = judged.report
        identity = identity_of(systems, company, audience_plan)
        verdict = f"{report.sentence} {mailed_by(systems, identity)}".strip()
        old_opt_outs = systems.ledger.old_opt_outs.waiting(company.key)
        sentences = [verdict]
        if report.needs_approval:
            sentences += [what_waits(each) for each in old_opt_outs]
            sentences.append(
                f"Approve the plan with the job approve_plan, or: mc-pipeline approve {identity}."
            )
            waiting = int((judged.why_rows_wait != "").sum())
            sentences.append(
                f"Until then {waiting:,} of {len(audience_plan.rows):,} rows wait; the others are applied."
            )
        yield dg.AssetCheckResult(
            check_name=WITHIN_GUARDS,
            asset_key="audience_plan",
            passed=not report.needs_approval,
            severity=dg.AssetCheckSeverity.WARN,
            description=" ".join(sentences),
            metadata={
                "plan_id": identity,
                "because": verdict,
                "guards": _guards_table(report),
                **old_opt_outs_metadata(old_opt_outs),
                **({"approve": _how_to_approve(identity, company.key)} if report.needs_approval else {}),
            },
        )
        lost = systems.ledger.permissions.lost(company.key)
        yield dg.AssetCheckResult(
            check_name=PERMISSIONS_KNOWN,
            asset_key="audience_plan",
            passed=lost.empty,
            severity=dg.AssetCheckSeverity.WARN,
            description="The outcome of every marketing permission that was sent is known."
            if lost.empty
            else (
                f"It is not known whether Mailchimp gave {len(lost):,} marketing permissions: the answer "
                "was lost. They are not sent again; look at these members in Mailchimp."
            ),
            metadata={
                "not_known": len(lost),
                **partners_in_odoo(
                    systems.settings,
                    "who",
                    lost[["partner_id", "email", "audience", "permission", "lost_at"]],
                ),
            },
        )
        yield _names_decided(systems, company, contacts, mailchimp_members)

    @dg.multi_asset_check(
        name="audience_push_checks",
        specs=[
            company_check_spec(
                EVERYTHING_APPLIED,
                asset="audience_push",
                judged_with=("contacts",),
                description=(
                    "Mailchimp accepted every row of the plan, and of earlier ones. For marketing ops: "
                    "where Mailchimp rejected the person, correct the contact in Odoo (it is retried when "
                    "it changes); where people are deferred, do in Mailchimp what the reason says (they "
                    "are retried automatically). Rows that wait were not sent: `within_guards` of "
                    "`audience_plan` says how to approve them."
                ),
                owner=Owner.MARKETING_OPS,
                companies=companies,
            )
        ],
    )
    @shows_failures
    def audience_push_checks(
        context: dg.AssetCheckExecutionContext,
        audience_push: Table,
        contacts: Table,
        systems: dg.ResourceParam[Systems],
    ) -> Iterator[dg.AssetCheckResult]:
        from mc_pipeline.domain.contacts.rejections import open_refusals
        from mc_pipeline.domain.plan.waiting_rows import WAITS

        company = systems.company(context.partition_key)
        lists = {key: audience.list_id for key, audience in company.audiences.items()}
        refused = open_refusals(
            contacts.rows,
            systems.ledger.members.refused(lists.values()),
            lists,
            systems.ledger.consent.refused_for_good(),
        )
        rows = audience_push.rows
        waiting = rows[rows["outcome"] == WAITS]
        trouble = not_applied(rows)
        of_audiences = audience_push.facts.get(TROUBLE, "")
        said = []
        if len(trouble):
            said.append(f"{len(trouble):,} of {len(rows):,} rows were not applied.")
        if len(refused):
            number = refused["email"].nunique()
            people = "1 person" if number == 1 else f"{number:,} people"
            said.append(f"Mailchimp still refuses something for {people}.")
        if of_audiences:
            said.append(of_audiences)
        if len(waiting):
            said.append(
                f"{len(waiting):,} of {len(rows):,} rows wait for the approval of plan "
                f"{audience_push.facts[PUSHED_PLAN]}."
            )
        yield dg.AssetCheckResult(
            check_name=EVERYTHING_APPLIED,
            asset_key="audience_push",
            passed=not said,
            severity=dg.AssetCheckSeverity.ERROR if of_audiences else dg.AssetCheckSeverity.WARN,
            description=" ".join(said) or f"{len(rows):,} rows applied.",
            metadata={
                "not_applied": len(trouble),
                "open_refusals": len(refused),
                "waiting": len(waiting),
                **unless_empty(by_outcome=counts_table(counts(trouble["outcome"]), "outcome")),
                **partners_in_odoo(
                    systems.settings,
                    "who",
                    trouble[["partner_id", "email", "audience", "operation", "outcome", "detail"]],
                ),
                **partners_in_odoo(
                    systems.settings,
                    "refused",
                    refused[["partner_id", "email", "audience", "operation", "reason", "said"]],
                ),
            },
        )

    @dg.multi_asset_check(
        name="mailchimp_members_checks",
        specs=[
            company_check_spec(
                READ_IS_COMPLETE,
                asset="mailchimp_members",
                companies=companies,
                owner=Owner.DATA_ENGINEERING,
                description=(
                    "Every audience was read, completely, and together they are at least 90 % of the last "
                    "complete read. For data engineering: if an audience was not, nobody leaves or enters "
                    "it, and nobody is subscribed in any audience of the company; do what the reason says, "
                    "and sync again. If the drop is intended, approve it with `mc-pipeline approve --read "
                    "COMPANY/mailchimp_members`."
                ),
            )
        ],
    )
    @shows_failures
    def mailchimp_members_checks(
        context: dg.AssetCheckExecutionContext,
        mailchimp_members: Table,
        systems: dg.ResourceParam[Systems],
    ) -> Iterator[dg.AssetCheckResult]:
        known = Audiences.of(mailchimp_members, systems.company(context.partition_key))
        incomplete = mailchimp_members.incomplete_because
        said = [each.sentence for each in known.unread]
        yield dg.AssetCheckResult(
            check_name=READ_IS_COMPLETE,
            asset_key="mailchimp_members",
            passed=mailchimp_members.complete,
            severity=dg.AssetCheckSeverity.ERROR if said else dg.AssetCheckSeverity.WARN,
            description=" ".join(said) or incomplete or f"{len(mailchimp_members.rows):,} rows.",
            metadata={
                "rows": len(mailchimp_members.rows),
                **unless_empty(not_read=unread_table(known)),
            },
        )

    return [
        mailchimp_members_checks,
        audience_plan_checks,
        audience_push_checks,
    ]


def _names_decided(
    systems: Systems, company: CompanySettings, contacts: Table, members: Table
) -> dg.AssetCheckResult:
    from mc_pipeline.domain.contacts.names_not_decided import list_names

    records = systems.ledger.members.load([each.list_id for each in company.audiences.values()])
    not_decided, _ = list_names(contacts.rows, members.rows, records, company)
    number = len(not_decided)
    people = "1 member" if number == 1 else f"{number:,} members"
    return dg.AssetCheckResult(
        check_name=NAMES_DECIDED,
        asset_key="audience_plan",
        passed=not_decided.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description="The names of all members are decided."
        if not_decided.empty
        else (
            f"Neither first nor last name of {people} is written: this pipeline did not write their last "
            f"name, and the name in Odoo does not end in it. What to do: {WHAT_TO_DO}"
        ),
        metadata={
            "not_decided": number,
            **unless_empty(by_audience=counts_table(counts(not_decided["audience"]), "audience")),
            **partners_in_odoo(
                systems.settings, "who", not_decided[["partner_id", "email", "audience", "last_name_in"]]
            ),
        },
    )


def _guards_table(report: "GuardReport") -> dg.MetadataValue:
    """Show how much of each guard is used, exceeded ones first; the company as a whole counts for itself."""
    import pandas as pd

    guards = pd.DataFrame([vars(guard) for guard in report.guards])
    guards = guards.sort_values(["exceeded", "count"], ascending=False, kind="stable")
    guards["audience"] = guards["audience"].replace("", "all")
    guards["exceeded"] = guards["exceeded"].map({True: "yes", False: ""})
    return records_table(guards[["name", "audience", "count", "limit", "exceeded"]])


def _how_to_approve(plan_id: str, company: str) -> dg.MetadataValue:
    """Describe both ways to approve a plan; the configuration is ready to paste."""
    return dg.MetadataValue.md(
        "Look at the metadata of `audience_plan`. To approve it, launch the job `approve_plan` with\n\n"
        "```yaml\nops:\n  release_plan:\n    config:\n"
        f'      plan_id: "{plan_id}"\n      approved_by: your name\n      reason: why\n```\n\n'
        f"or run `mc-pipeline approve {plan_id}`; then sync {company} again. It holds for 24 hours."
    )
