"""The sensor ``odoo_changes``: looks whether anything changed in Odoo, and requests a run that reads it.

It only looks: one small search per model and company. What changed is found again by the run itself, from the
time of the tables that it builds upon, so that nothing depends on what the sensor saw. Deleted records leave
no trace to look for; the next run, at the latest the nightly one, notices them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from mc_pipeline.defs.dead_runs import end_dead_runs_at_a_tick
from mc_pipeline.defs.partitions import CHANGES, COMPANY_TAG, READ_TAG
from mc_pipeline.defs.sensing import is_under_way, reason_of
from mc_pipeline.settings import CompanySettings, Settings
from mc_pipeline.sync.systems import Systems

if TYPE_CHECKING:
    from mc_pipeline.odoo.client import Domain, OdooClient

ODOO_CHANGES = "odoo_changes"
_SECONDS_BETWEEN_LOOKS = 600
_NEWEST = 50
"""So many of the newest changes of a model are compared with those seen before."""


@dataclass(frozen=True)
class _Look:
    """What a look saw: when (UTC), and the newest changes of each model as "id@write_date"."""

    at: datetime
    seen: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        return {"at": self.at.isoformat(), "seen": self.seen}

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "_Look":
        return cls(datetime.fromisoformat(value["at"]), value["seen"])


def odoo_sensors(settings: Settings, *, job: str) -> list[dg.SensorDefinition]:
    """Make the sensor; ``job`` is the name of the job that it requests. It starts switched off."""

    @dg.sensor(
        name=ODOO_CHANGES,
        job_name=job,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Looks every ten minutes for changes in Odoo and syncs the companies that have changes, "
            "reading only what changed."
        ),
    )
    def odoo_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from mc_pipeline.odoo.client import RetryPolicy

        looks = {company: _Look.of_json(look) for company, look in json.loads(context.cursor or "{}").items()}
        requests: list[dg.RunRequest] = []
        quiet: list[str] = []
        # The next look is near: skip this one instead of waiting.
        systems = Systems(settings, odoo_retry=RetryPolicy(attempts=2, longest_wait_seconds=2.0))
        try:
            end_dead_runs_at_a_tick(context, systems)
            for key, company in settings.companies.items():
                try:
                    if is_under_way(context.instance, systems.ledger, key, job):
                        quiet.append(f"{key}: a run is in progress, checking again after it")
                        continue
                    look, changed = _look(systems, company, looks.get(key))
                except Exception as error:
                    context.log.warning(f"{key}: {reason_of(error)}")
                    quiet.append(f"{key}: {reason_of(error)}")
                    continue
                looks[key] = look
                if changed:
                    context.log.info(f"{key}: changes in {', '.join(changed)}")
                    requests.append(_request(key, look))
                else:
                    quiet.append(f"{key}: nothing changed")
        finally:
            systems.close()
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join(quiet),
            cursor=json.dumps({company: look.to_json() for company, look in looks.items()}),
        )

    return [odoo_changes]


def _request(company: str, look: _Look) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{company}/{look.at.isoformat()}",
        partition_key=company,
        tags={COMPANY_TAG: company, READ_TAG: CHANGES},
    )


def _look(systems: Systems, company: CompanySettings, last: _Look | None) -> tuple[_Look, list[str]]:
    """Look at each model; return what was seen and the models with changes that no look saw before."""
    from mc_pipeline.odoo.changes import OVERLAP, odoo_time
    from mc_pipeline.odoo.companies import partners_of, seeing_partners, with_companies_above
    from mc_pipeline.odoo.fields import optional_model_fields

    odoo = systems.odoo(company)
    at = systems.now().astimezone(UTC)
    # Rows without a date are left to the run: most of them never change.
    since = ("write_date", ">=", odoo_time((last.at if last else at) - OVERLAP))
    seen: dict[str, list[str]] = {}
    companies = with_companies_above(odoo, company.odoo_company_id)
    for model, domain in _watched(company.odoo_company_id, partners_of(companies)):
        if optional_model_fields(odoo, model) is not None:
            asking = seeing_partners(odoo, companies) if model == "res.partner" else odoo
            seen[model] = _newest(asking, model, [*domain, since])
    look = _Look(
        at, {model: [each for each in newest if _settled(each, at)] for model, newest in seen.items()}
    )
    if last is None:
        return look, ["everything, at the first look"]
    # A full page hides what is behind it.
    changed = [
        model
        for model, newest in seen.items()
        if len(newest) == _NEWEST or not set(newest) <= set(last.seen.get(model, ()))
    ]
    return look, changed


def _settled(change: str, at: datetime) -> bool:
    """Return whether a later change would have another date: Odoo shows whole seconds."""
    written = datetime.fromisoformat(change.partition("@")[2]).replace(tzinfo=UTC)
    return abs(at - written) > timedelta(seconds=2)


def _watched(odoo_company: int, partners: "Domain") -> Sequence[tuple[str, "Domain"]]:
    own: list[object] = [("company_id", "=", odoo_company)]
    return [
        ("res.partner", partners),
        ("res.partner.category", []),
        ("mail.blacklist", []),
        ("mailing.contact", []),
        ("mailing.subscription", []),
        ("sale.order", own),
        ("sale.order.line", [("order_id.company_id", "=", odoo_company)]),
        ("account.move", [*own, ("move_type", "in", ["out_invoice", "out_refund"])]),
    ]


def _newest(odoo: "OdooClient", model: str, domain: "Domain") -> list[str]:
    found = odoo.search_read(model, domain, ["write_date"], limit=_NEWEST, order="write_date desc, id desc")
    return [f"{record['id']}@{record['write_date']}" for record in found]
