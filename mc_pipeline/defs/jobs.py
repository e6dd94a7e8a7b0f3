"""Jobs and schedules: the whole sync of a company, its opt-outs alone, and the approval of a plan."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import Settings

SYNC_COMPANY = "sync_company"
OPT_OUTS = "opt_outs"
APPROVE_PLAN = "approve_plan"

OPT_OUT_ASSETS = ("odoo_partners", "odoo_blacklist", "mailchimp_members", "mailchimp_unsubscribes")
WRITING_ASSETS = ("mailchimp_unsubscribes", "audience_push")
"""Assets that write to one of the two systems; a run up to the plan leaves them out."""


class ApprovePlan(dg.Config):
    """Which plan to release, and why."""

    plan_id: str
    reason: str
    approved_by: str


@dg.op(description="Releases one plan that waits for a person: who, when and why are recorded.")
def release_plan(
    context: dg.OpExecutionContext, config: ApprovePlan, systems: dg.ResourceParam[Systems]
) -> None:
    """Approve the plan of the config; the next sync of its company pushes it."""
    approval = systems.ledger.plans.approve(config.plan_id, by=config.approved_by, reason=config.reason)
    context.log.info(
        f"Plan {config.plan_id} of {approval.company} is approved by {config.approved_by}: "
        f"{approval.row_count:,} changes. Sync the company to apply them."
    )


@dg.job(
    name=APPROVE_PLAN, description="Release one plan that waits for approval; then sync its company again."
)
def approve_plan() -> None:
    """Release one plan."""
    release_plan()


def company_jobs() -> Sequence[Any]:
    """Make the jobs; all but the approval are partitioned by company, like their assets."""
    return [
        dg.define_asset_job(
            SYNC_COMPANY,
            selection=dg.AssetSelection.all(),
            description="Everything for one company: read both systems, apply opt-outs, plan, push.",
        ),
        dg.define_asset_job(
            OPT_OUTS,
            selection=dg.AssetSelection.assets(*OPT_OUT_ASSETS),
            description="Opt-outs alone: fast, and held back by no check, guard or plan.",
        ),
        approve_plan,
    ]


def nightly_schedules(settings: Settings) -> Sequence[dg.ScheduleDefinition]:
    """Make one schedule per company: a full sync at four in the morning of its own timezone.

    No clock change falls on that hour. Schedules start switched off: whoever has seen a plan switches them
    on.
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
