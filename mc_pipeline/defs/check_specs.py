"""How a check of this project is declared: partitioned like its asset, with an owner and what to do."""

import warnings
from collections.abc import Sequence

import dagster as dg

from mc_pipeline.vocabulary import Owner


def company_check_spec(
    name: str,
    *,
    asset: str,
    companies: dg.PartitionsDefinition,
    owner: Owner,
    description: str,
    blocking: bool = False,
    judged_with: Sequence[str] = (),
) -> dg.AssetCheckSpec:
    """Declare a check of a company-partitioned asset; ``judged_with`` are further assets that it loads."""
    with warnings.catch_warnings():
        # Partitions of checks are a preview in Dagster 1.13; the version is pinned below 1.14 for them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name,
            asset=asset,
            description=description,
            blocking=blocking,
            additional_deps=judged_with,
            metadata={"owner": str(owner)},
            partitions_def=companies,
        )
