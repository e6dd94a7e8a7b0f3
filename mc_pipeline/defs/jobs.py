"""Jobs and schedules: the whole sync of a company, its opt-outs alone, an approval, an erasure."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from mc_pipeline.defs.consent.erasure import erase_person
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.partitions import COMPANY_STATUS, COMPANY_TAG, SYNC_TAG, tagged_by_company
from mc_pipeline.domain.store import guards as store_guards
from mc_pipeline.ledger import PlanError
from mc_pipeline.ledger.old_opt_outs import PREFIX
from mc_pipeline.settings import Settings
from mc_pipeline.sync.systems import Systems

SYNC_COMPANY = "sync_company"
OPT_OUTS = "opt_outs"
APPROVE_PLAN = "approve_plan"

OPT_OUT_ASSETS = ("mailchimp_opt_outs", "odoo_opt_outs", "mailchimp_unsubscribes")
WRITING_ASSETS = (
    "odoo_opt_outs",
    "mailchimp_unsubscribes",
    "missed_opt_outs",
    "audience_push",
    "product_push",
    "order_push",
)
"""Assets that write to one of the two systems; a run up to the plan leaves them out."""


class ApprovePlan(dg.Config):
    """Which plan to release, and why."""

    plan_id: str = Field(
        description=(
            "Id of the plan that waits: in the metadata of the check within_guards. For old opt-outs of an "
            "audience: in the check opt_outs_agree. For orders of a store: in the check orders_applied."
        )
    )
    approved_by: str = Field(description="Your name; stored with the approval.")
    reason: str = Field(description="Why; stored with the approval.")


@dg.op(description="Approves one plan that waits: who, when and why are recorded.")
@shows_failures
def release_plan(
    context: dg.OpExecutionContext, config: ApprovePlan, systems: dg.ResourceParam[Systems]
) -> None:
    """Approve the plan of the config; the next sync of its company pushes it."""
    plans, old = systems.ledger.plans, systems.ledger.old_opt_outs
    try:
        if config.plan_id.startswith(PREFIX):
            released = old.approve(config.plan_id, by=config.approved_by, reason=config.reason)
            context.log.info(
                f"The opt-outs of {released.audience} of {released.company} from before its first read are "
                f"approved by {config.approved_by}: {released.people:,} people. Sync the company to opt "
                "them out in Odoo."
            )
            return
        if config.plan_id.startswith(store_guards.PREFIX):
            orders = systems.ledger.store_plans.approve(
                config.plan_id, by=config.approved_by, reason=config.reason
            )
            context.log.info(
                f"{orders.orders:,} orders of store {orders.store_id} may be lowered or deleted, approved by "
                f"{config.approved_by}. Sync the company {orders.company} to write them."
            )
            return
        approval = plans.approve(config.plan_id, by=config.approved_by, reason=config.reason)
    except PlanError as error:
        waiting = [f"{plan.plan_id} ({plan.company}, {plan.row_count:,} changes)" for plan in plans.waiting()]
        waiting += [f"{each.plan_id} ({each.company}, {each.people:,} people)" for each in old.waiting()]
        waiting += [
            f"{each.plan_id} ({each.company}, {each.orders:,} orders)"
            for each in systems.ledger.store_plans.waiting()
        ]
        raise dg.Failure(
            f"{error}. Plans that wait: {', '.join(waiting) or 'none'}.", allow_retries=False
        ) from None
    context.log.info(
        f"Plan {config.plan_id} of {approval.company} is approved by {config.approved_by}: "
        f"{approval.row_count:,} changes. Sync the company to apply them."
    )


@dg.job(
    name=APPROVE_PLAN,
    description=(
        "Approve one plan that waits; then sync its company again.\n\nIn the launchpad, fill in the plan's "
        "id (metadata of the failed check `within_guards` of `audience_plan`), your name and the reason. "
        "An approval holds for 24 hours."
    ),
    # Only what the launchpad shows at first: an approval that says no more than this is refused.
    config={"ops": {"release_plan": {"config": {"plan_id": "", "approved_by": "", "reason": ""}}}},
)
def approve_plan() -> None:
    """Release one plan."""
    release_plan()


def company_jobs(companies: dg.StaticPartitionsDefinition) -> Sequence[Any]:
    """Make the jobs; all but approval and erasure are partitioned by company, like their assets."""
    return [
        dg.define_asset_job(
            SYNC_COMPANY,
            selection=dg.AssetSelection.all(),
            config=tagged_by_company(companies, COMPANY_TAG, SYNC_TAG),
            description=(
                "Everything for one company: read both systems, apply opt-outs, plan, "
                "push.\n\n*Materialize all…*, choose one company, *Launch run*. A plan that changes much, "
                "or loads an audience for the first time, waits for an approval: the check `within_guards` "
                "says what to do."
            ),
        ),
        dg.define_asset_job(
            OPT_OUTS,
            selection=dg.AssetSelection.assets(*OPT_OUT_ASSETS, COMPANY_STATUS),
            config=tagged_by_company(companies, COMPANY_TAG),
            description="Opt-outs alone: fast; no check, guard or plan holds them back.",
        ),
        approve_plan,
        erase_person,
    ]


def nightly_schedules(settings: Settings) -> Sequence[dg.ScheduleDefinition]:
    """Make one schedule per company: a full sync at four in the morning of its own timezone.

    No clock change falls on that hour. Schedules start switched off: somebody who has seen a plan switches
    them on.
    """
    return [_nightly(key, company.timezone) for key, company in settings.companies.items()]


def _nightly(company: str, timezone: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"nightly_{company}",
        job_name=SYNC_COMPANY,
        cron_schedule="0 4 * * *",
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Sync {company} every night at 04:00, {timezone}.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(
            run_key=f"{company}/{context.scheduled_execution_time.date()}",
            partition_key=company,
            tags={COMPANY_TAG: company},
        )

    return nightly
