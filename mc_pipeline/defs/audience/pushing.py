"""Applies a stored plan, or refuses it: the ledger decides, not whoever started the run (rule 7.1)."""

import dagster as dg
import pandas as pd

from mc_pipeline.defs.audience.planning import judge_plan
from mc_pipeline.defs.systems import Systems
from mc_pipeline.domain.guards import push_refusal
from mc_pipeline.domain.plan_rows import plan_id
from mc_pipeline.ledger import Lease
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table, schemas

_WORKERS = 4
_ROWS_BETWEEN_REPORTS = 10_000


def apply_plan(
    systems: Systems,
    company: CompanySettings,
    plan: Table,
    members: Table,
    contacts: Table,
    lease: Lease,
    context: dg.AssetExecutionContext,
) -> pd.DataFrame:
    """Push a plan and return its rows with their outcomes.

    Raises:
        dagster.Failure: the plan may not be applied, or an audience cannot take its merge fields; nothing
            was written.
    """
    from mc_pipeline.push.plan import MEMBER_NOT_CREATED, push_plan
    from mc_pipeline.push.writes import MemberWrites
    from mc_pipeline.sync.opt_outs.since import AskedSince

    plans = systems.ledger.plans
    rows = plan.rows
    identity = plan_id(company.key, rows)
    if plans.get(identity) is None:
        raise dg.Failure(
            f"Plan {identity} is not in the ledger: materialise audience_plan again, then this asset.",
            allow_retries=False,
        )
    newest = systems.ledger.reads.latest(company.key, schemas.MAILCHIMP_MEMBERS.name)
    refusal = push_refusal(
        identity,
        judge_plan(systems, company, rows, members.rows),
        plan.observed_at,
        systems.now(),
        newest.observed_at if newest else None,
        plans.is_applied(identity),
    )
    if refusal:
        raise dg.Failure(refusal, allow_retries=False)

    client = systems.mailchimp(company)
    _prepare_merge_fields(systems, company, rows)
    total = int((rows["held_back_because"] == "").sum())
    writes = MemberWrites(
        client,
        systems.ledger,
        lease,
        context.run.run_id,
        workers=min(_WORKERS, systems.settings.mailchimp[company.mailchimp].max_connections),
        progress=_Progress(context, total),
        since=AskedSince(systems, company, context.run.run_id),
    )
    outcome = push_plan(
        rows,
        writes,
        client,
        first_load=plans.loading_audiences(company.key),
        open_addresses={
            (intent.list_id, intent.email) for intent in systems.ledger.intents.open(company.key)
        },
        contacts=contacts.rows,
        observed_at=plan.observed_at,
        now=systems.now(),
    )
    unfinished = outcome["outcome"].isin(["unknown", "not_sent", "held_back"])
    # What became of these is known: they come back as newcomers, if at all.
    unfinished &= outcome["detail"] != MEMBER_NOT_CREATED
    plans.mark_applied(identity, plan.observed_at, still_loading=set(outcome.loc[unfinished, "list_id"]))
    return outcome


def _prepare_merge_fields(systems: Systems, company: CompanySettings, plan: pd.DataFrame) -> None:
    """Create the merge fields that are missing, in the audiences that the plan writes fields to."""
    from mc_pipeline.domain.fields import MERGE_FIELD_SOURCES
    from mc_pipeline.mailchimp.merge_fields import ensure_merge_fields

    # A row that is held back writes nothing, and its audience may not even be released for a first load.
    sent = plan[plan["held_back_because"] == ""]
    written = set(sent.loc[sent["operation"].isin(["create", "update", "change_email"]), "audience"])
    for key in sorted(written):
        audience = company.audiences[key]
        wanted = {tag: MERGE_FIELD_SOURCES[source] for tag, source in audience.merge_fields.items()}
        answer = ensure_merge_fields(systems.mailchimp(company), audience.list_id, wanted)
        if answer.problems:
            raise dg.Failure(
                f"Audience {key} ({audience.list_id}) cannot take the merge fields of companies.yaml: "
                + "; ".join(f"{tag}: {problem}" for tag, problem in answer.problems.items()),
                allow_retries=False,
            )


class _Progress:
    """Writes a line now and then while a long plan is pushed."""

    def __init__(self, context: dg.AssetExecutionContext, total: int) -> None:
        self._context = context
        self._total = total
        self._done = 0

    def __call__(self, rows: int) -> None:
        before = self._done
        self._done += rows
        if self._done // _ROWS_BETWEEN_REPORTS > before // _ROWS_BETWEEN_REPORTS:
            self._context.log.info(f"{self._done:,} of {self._total:,} changes are applied.")
