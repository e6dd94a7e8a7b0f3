"""The sensor ``mailchimp_opt_outs``: looks for opt-outs in Mailchimp, and requests the run that reads them.

It only looks, and remembers nothing: what the ledger does not know yet is news, also after a restart, a run
that failed, or a day without the daemon.
"""

import dagster as dg

from mc_pipeline.defs.dead_runs import end_dead_runs_at_a_tick
from mc_pipeline.defs.partitions import CHANGES, COMPANY_TAG, READ_TAG
from mc_pipeline.defs.sensing import is_under_way, reason_of
from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings, Settings

MAILCHIMP_OPT_OUTS = "mailchimp_opt_outs"
_SECONDS_BETWEEN_LOOKS = 60


def consent_sensors(settings: Settings, *, job: str) -> list[dg.SensorDefinition]:
    """Make the sensor; ``job`` is the name of the job that it requests. It starts switched off."""

    @dg.sensor(
        name=MAILCHIMP_OPT_OUTS,
        job_name=job,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Looks every minute for opt-outs in Mailchimp and, when there are new ones, carries out "
        "the opt-outs of that company. Switch it on first of all sensors.",
    )
    def mailchimp_opt_outs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from mc_pipeline.mailchimp.retry import RetryPolicy

        requests: list[dg.RunRequest] = []
        quiet: list[str] = []
        # The next look is near: rather skip this one than wait out trouble.
        systems = Systems(settings, mailchimp_retry=RetryPolicy(attempts=2))
        try:
            end_dead_runs_at_a_tick(context, systems)
            for key, company in settings.companies.items():
                try:
                    if is_under_way(context.instance, systems.ledger, key, job):
                        quiet.append(f"{key}: a run is under way, looking again after it")
                        continue
                    news = _news(systems, company)
                except Exception as error:
                    context.log.warning(f"{key}: {reason_of(error)}")
                    quiet.append(f"{key}: {reason_of(error)}")
                    continue
                if news:
                    context.log.info(f"{key}: {'; '.join(news)}")
                    tags = {COMPANY_TAG: key, READ_TAG: CHANGES}
                    requests.append(dg.RunRequest(partition_key=key, tags=tags))
                else:
                    quiet.append(f"{key}: no new opt-outs")
        finally:
            systems.close()
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "; ".join(quiet))

    return [mailchimp_opt_outs]


def _news(systems: Systems, company: CompanySettings) -> list[str]:
    from mc_pipeline.consent.looking import news_of

    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    return news_of(systems.mailchimp(company), systems.ledger, lists, systems.erased)
