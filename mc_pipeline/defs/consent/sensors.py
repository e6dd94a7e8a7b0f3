"""The sensor ``mailchimp_opt_outs``: looks for opt-outs in both systems, and requests runs that carry them.

It only looks. What the ledger does not know yet is news, also after a restart, a run that failed, or a day
without the daemon; its cursor only counts for how many ticks a place could not be looked at. One place that
cannot be looked at holds up no other: Dagster drops the requests of a tick that fails, so that while some are
made the sensor is red at every other tick.
"""

import json
from datetime import datetime

import dagster as dg

from mc_pipeline.defs.dead_runs import end_dead_runs_at_a_tick
from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.defs.sensing import is_under_way, reason_of
from mc_pipeline.defs.systems import Systems, utc_now
from mc_pipeline.settings import Settings

MAILCHIMP_OPT_OUTS = "mailchimp_opt_outs"
RED_AFTER_TICKS = 5
"""So often in a row a place may fail before the sensor turns red; a refused key or login turns it at once."""

_SECONDS_BETWEEN_LOOKS = 60


def consent_sensors(settings: Settings, *, job: str) -> list[dg.SensorDefinition]:
    """Make the sensor; ``job`` is the name of the job that it requests. It starts switched off."""

    @dg.sensor(
        name=MAILCHIMP_OPT_OUTS,
        job_name=job,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Looks every minute for opt-outs in Mailchimp and in Odoo's blacklist. When there are "
        "new ones, it carries the opt-outs of that company. Switch it on first of all sensors. It is red "
        "while an audience or Odoo cannot be asked.",
    )
    def mailchimp_opt_outs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from mc_pipeline.mailchimp.retry import RetryPolicy
        from mc_pipeline.odoo.client import RetryPolicy as OdooRetryPolicy
        from mc_pipeline.sync.opt_outs.looking import Trouble, look

        failed_before: dict[str, int] = json.loads(context.cursor or "{}")
        requests: list[dg.RunRequest] = []
        quiet: list[str] = []
        troubles: dict[str, Trouble] = {}
        # The next look is near: rather skip this one than wait out trouble.
        systems = Systems(
            settings,
            mailchimp_retry=RetryPolicy(attempts=2),
            odoo_retry=OdooRetryPolicy(attempts=2, longest_wait_seconds=2.0),
        )
        try:
            end_dead_runs_at_a_tick(context, systems)
            for key, company in settings.companies.items():
                try:
                    if is_under_way(context.instance, systems.ledger, key, job):
                        quiet.append(f"{key}: a run is under way, looking again after it")
                        # What failed before is not mended by not looking.
                        troubles |= {
                            place: Trouble("not looked at: a run is under way")
                            for place in failed_before
                            if place.startswith(f"{key}: ")
                        }
                        continue
                    found = look(systems, company)
                except Exception as error:
                    found = None
                    troubles[f"{key}: the look"] = Trouble(reason_of(error))
                if found is not None:
                    troubles |= {f"{key}: {place}": each for place, each in found.troubles.items()}
                if found is not None and found.news:
                    context.log.info(f"{key}: {'; '.join(found.news)}")
                    requests.append(dg.RunRequest(partition_key=key, tags={COMPANY_TAG: key}))
                else:
                    quiet.append(f"{key}: no new opt-outs")
        finally:
            systems.close()
        failed = {place: failed_before.get(place, 0) + 1 for place in troubles}
        for place, trouble in troubles.items():
            context.log.warning(f"{place}, {failed[place]} ticks in a row: {trouble.words}")
        red = [
            f"{place}: {trouble.words}"
            for place, trouble in troubles.items()
            if trouble.is_refused or failed[place] >= RED_AFTER_TICKS
        ]
        if red and (not requests or _is_red_ones_turn(utc_now())):
            raise dg.Failure(
                f"Opt-outs cannot be heard in {'; '.join(red)}. The others were looked at. Run mc-pipeline "
                "doctor; what is missed meanwhile is carried as soon as it can be heard.",
                allow_retries=False,
            )
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join(quiet),
            cursor=json.dumps(failed),
        )

    return [mailchimp_opt_outs]


def _is_red_ones_turn(now: datetime) -> bool:
    """Every other minute: a tick that fails keeps no cursor in which it could be noted whose turn it is."""
    return int(now.timestamp() // _SECONDS_BETWEEN_LOOKS) % 2 == 0
