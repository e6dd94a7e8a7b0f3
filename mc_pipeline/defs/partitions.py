"""The one partition dimension: the company. One run syncs one company."""

import dagster as dg

from mc_pipeline.settings import Settings

COMPANY_TAG = "mc_pipeline/company"


def company_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """Return one partition per company of companies.yaml, in its order."""
    return dg.StaticPartitionsDefinition(list(settings.companies))
