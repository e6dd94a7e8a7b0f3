"""The Definitions object, and nothing else."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mc_pipeline.defs.audience.assets import audience_assets
from mc_pipeline.defs.audience.checks import audience_checks
from mc_pipeline.defs.consent.assets import consent_assets
from mc_pipeline.defs.consent.checks import consent_checks
from mc_pipeline.defs.consent.erasure import forget_erasure_runs
from mc_pipeline.defs.consent.sensors import consent_sensors
from mc_pipeline.defs.dead_runs import dead_run_sensors
from mc_pipeline.defs.jobs import OPT_OUTS, SYNC_COMPANY, company_jobs, nightly_schedules
from mc_pipeline.defs.odoo.assets import odoo_assets
from mc_pipeline.defs.odoo.checks import odoo_checks
from mc_pipeline.defs.odoo.months import MonthsAgain
from mc_pipeline.defs.odoo.sensors import odoo_sensors
from mc_pipeline.defs.partitions import company_partitions
from mc_pipeline.defs.revenue.assets import revenue_assets
from mc_pipeline.defs.revenue.checks import revenue_checks
from mc_pipeline.defs.run_tables import run_tables
from mc_pipeline.defs.status.assets import status_assets
from mc_pipeline.defs.store.assets import store_assets
from mc_pipeline.defs.store.checks import store_checks
from mc_pipeline.defs.store.pushing import store_push_assets
from mc_pipeline.defs.systems import systems_resource
from mc_pipeline.settings import Settings, load_settings


def build_defs(
    settings: Settings,
    overrides: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Make the definitions for these settings.

    ``overrides`` replaces resources by name (tests); ``loggers`` replaces Dagster's console log (commands).
    """
    companies = company_partitions(settings)
    return dg.Definitions(
        assets=[
            *odoo_assets(companies),
            *consent_assets(companies),
            *audience_assets(companies),
            *store_assets(settings),
            *store_push_assets(companies),
            *revenue_assets(companies),
            *status_assets(companies),
        ],
        asset_checks=[
            *odoo_checks(companies),
            *consent_checks(companies),
            *audience_checks(companies),
            *store_checks(companies),
            *revenue_checks(companies),
        ],
        jobs=company_jobs(companies),
        schedules=nightly_schedules(settings),
        sensors=[
            *odoo_sensors(settings, job=SYNC_COMPANY),
            *consent_sensors(settings, job=OPT_OUTS),
            *dead_run_sensors(settings),
            forget_erasure_runs,
        ],
        resources={
            "io_manager": run_tables,
            "systems": systems_resource(settings),
            "months": MonthsAgain(),
            **(overrides or {}),
        },
        executor=dg.in_process_executor,
        loggers=loggers,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What ``workspace.yaml`` loads: the settings are read here, when Dagster loads the code location."""
    return build_defs(load_settings())
