"""The one partition dimension, the company (one run syncs one company), and the tags of a run."""

import dagster as dg

from mc_pipeline.settings import Settings

COMPANY_TAG = "mc_pipeline/company"
READ_TAG = "mc_pipeline/read"
"""Of a run: ``changes`` reads from Odoo only what changed since the last read; without it, everything."""
CHANGES = "changes"


def company_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """Return one partition per company of companies.yaml, in its order."""
    return dg.StaticPartitionsDefinition(list(settings.companies))
