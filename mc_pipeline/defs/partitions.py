"""The one partition dimension, the company (one run syncs one company), and the tags of a run."""

import dagster as dg

from mc_pipeline.settings import Settings

COMPANY_TAG = "mc_pipeline/company"
SYNC_TAG = "mc_pipeline/sync"
"""Of a run of the whole sync, and of no other: the company. dagster.yaml lets them start one by one."""
READ_TAG = "mc_pipeline/read"
"""Of a run: ``changes`` reads from Odoo only what changed since the last read; without it, everything."""
CHANGES = "changes"
PARTITION_TAG = "dagster/partition"
COMPANY_STATUS = "company_status"
"""The last step of every run of a company."""


def company_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """Return one partition per company of companies.yaml, in its order."""
    return dg.StaticPartitionsDefinition(list(settings.companies))


def tagged_by_company(companies: dg.StaticPartitionsDefinition, *tags: str) -> dg.PartitionedConfig:
    """Make every run of a job carry these tags with its company as value, however it is started."""
    return dg.PartitionedConfig(
        partitions_def=companies,
        run_config_for_partition_key_fn=lambda _: {},
        tags_for_partition_key_fn=lambda company: dict.fromkeys(tags, company),
    )


def company_of(run: dg.DagsterRun) -> str:
    """Return the company of a run; empty for a job of all companies."""
    return run.tags.get(COMPANY_TAG) or run.tags.get(PARTITION_TAG, "")
