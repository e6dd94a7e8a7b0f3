"""The sensor ``mailchimp_opt_outs``: looks for opt-outs in both systems, and requests runs that apply them.

It only looks. What the ledger does not know yet is news, also after a restart, a run that failed, or a day
without the daemon; its cursor only says for how many ticks a place could not be looked at, and where the next
tick begins. One place that cannot be looked at holds up no other. Dagster drops the requests of a tick that
fails: while runs are requested, the sensor is red at every other tick at most.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

import dagster as dg

from mc_pipeline.defs.dead_runs import end_dead_runs_at_a_tick
from mc_pipeline.defs.partitions import COMPANY_TAG
from mc_pipeline.defs.sensing import is_under_way, reason_of
from mc_pipeline.mailchimp.retry import RetryPolicy
from mc_pipeline.settings import Settings
from mc_pipeline.sync.systems import Systems, utc_now

MAILCHIMP_OPT_OUTS = "mailchimp_opt_outs"
RED_AFTER_TICKS = 5
"""So often in a row a place may fail before the sensor turns red; a refused key or login turns it at once."""

_SECONDS_BETWEEN_LOOKS = 60
_SECONDS_FOR_LOOKING = 40.0
"""Dagster ends a tick after a minute, and what it found is lost then."""
_SECONDS_FOR_AN_ANSWER = 5.0


@dataclass
class _Cursor:
    """``failed``: ticks in a row by place; ``first``: the company to begin with; ``requested_at``: the last
    tick that requested runs (ISO 8601, UTC)."""

    failed: dict[str, int] = field(default_factory=dict)
    first: str = ""
    requested_at: str = ""

    @classmethod
    def of(cls, text: str | None) -> "_Cursor":
        return cls(**json.loads(text)) if text else cls()

    def requested_lately(self, now: datetime) -> bool:
        """Whether the tick before this one requested runs."""
        if not self.requested_at:
            return False
        return now - datetime.fromisoformat(self.requested_at) < timedelta(
            seconds=1.5 * _SECONDS_BETWEEN_LOOKS
        )


def consent_sensors(settings: Settings, *, job: str) -> list[dg.SensorDefinition]:
    """Make the sensor; ``job`` is the name of the job that it requests. It starts switched off."""

    @dg.sensor(
        name=MAILCHIMP_OPT_OUTS,
        job_name=job,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Looks every minute for opt-outs in Mailchimp and in Odoo. If there are new ones, it applies "
            "the opt-outs of that company. Switch this sensor on first. It fails while an audience or Odoo "
            "cannot be asked."
        ),
    )
    def mailchimp_opt_outs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from mc_pipeline.odoo.client import RetryPolicy as OdooRetryPolicy
        from mc_pipeline.sync.opt_outs.looking import Look, Trouble, look

        before = _Cursor.of(context.cursor)
        after = _Cursor()
        requests: list[dg.RunRequest] = []
        quiet: list[str] = []
        troubles: dict[str, Trouble] = {}
        until = time.monotonic() + _SECONDS_FOR_LOOKING
        # The next look is near: skip this one instead of waiting.
        systems = Systems(
            settings,
            mailchimp_retry=RetryPolicy(attempts=2, total_seconds=2 * _SECONDS_FOR_AN_ANSWER),
            odoo_retry=OdooRetryPolicy(attempts=2, longest_wait_seconds=2.0),
            impatient_seconds=_SECONDS_FOR_AN_ANSWER,
        )
        try:
            end_dead_runs_at_a_tick(context, systems)
            for key in _beginning_with(before.first, list(settings.companies)):
                failed_there = [place for place in before.failed if place.startswith(f"{key}: ")]
                if time.monotonic() > until:
                    after.first = after.first or key
                    quiet.append(f"{key}: not checked, the others took too long")
                    troubles |= {place: Trouble("not looked at") for place in failed_there}
                    continue
                try:
                    if is_under_way(context.instance, systems.ledger, key, job):
                        quiet.append(f"{key}: a run is in progress, checking again after it")
                        troubles |= {place: Trouble("a run is in progress") for place in failed_there}
                        continue
                    found = look(systems, systems.company(key))
                except Exception as error:
                    found = Look(troubles={"the look": Trouble(reason_of(error))})
                troubles |= {f"{key}: {place}": each for place, each in found.troubles.items()}
                if found.news:
                    context.log.info(f"{key}: {'; '.join(found.news)}")
                    requests.append(dg.RunRequest(partition_key=key, tags={COMPANY_TAG: key}))
                else:
                    quiet.append(f"{key}: no new opt-outs")
        finally:
            systems.close()
        after.failed = {place: before.failed.get(place, 0) + 1 for place in troubles}
        for place, trouble in troubles.items():
            context.log.warning(f"{place}, {after.failed[place]} ticks in a row: {trouble.words}")
        red = [
            f"{place}: {trouble.words}"
            for place, trouble in troubles.items()
            if trouble.is_refused or after.failed[place] >= RED_AFTER_TICKS
        ]
        now = utc_now()
        if red and (not requests or before.requested_lately(now)):
            raise dg.Failure(
                f"Opt-outs cannot be read in {'; '.join(red)}. The others were checked. Run mc-pipeline "
                "doctor; missed opt-outs are applied as soon as they can be read.",
                allow_retries=False,
            )
        after.requested_at = now.isoformat() if requests else ""
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join(quiet),
            cursor=json.dumps(asdict(after)),
        )

    return [mailchimp_opt_outs]


def _beginning_with(first: str, companies: list[str]) -> list[str]:
    at = companies.index(first) if first in companies else 0
    return companies[at:] + companies[:at]
