"""Checks of the group ``store``: what the stores did not take."""

from collections.abc import Iterator

import dagster as dg

from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.presentation import (
    LISTED_ROWS,
    counts,
    counts_table,
    listed,
    order_link,
    unless_empty,
)
from mc_pipeline.defs.systems import Systems
from mc_pipeline.tables import Table

ORDERS_APPLIED = "orders_applied"


def store_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the store tables, partitioned like them."""

    @dg.multi_asset_check(
        name="order_push_checks",
        specs=[
            company_check_spec(
                ORDERS_APPLIED,
                asset="order_push",
                description="The stores hold every order that is due, as it should be. For finance: open "
                "the named order in Odoo and correct what Mailchimp's words say; it is tried again when it "
                "changes. What says deferred or not sent is tried again by itself; what says held back names "
                "what it waits for.",
                owner="finance",
                companies=companies,
            )
        ],
    )
    def order_push_checks(
        context: dg.AssetCheckExecutionContext, order_push: Table, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.AssetCheckResult]:
        from mc_pipeline.domain.store_changes import KEPT_RIGHT, STAYS

        left_alone = order_push.rows["because"].isin([KEPT_RIGHT, STAYS])
        rows = order_push.rows[~left_alone]
        trouble = rows[~rows["outcome"].isin(["applied", "unchanged"])]
        yield dg.AssetCheckResult(
            check_name=ORDERS_APPLIED,
            asset_key="order_push",
            passed=trouble.empty,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{len(rows):,} orders differed, all are applied."
            if trouble.empty
            else f"{len(trouble):,} of {len(rows):,} orders that differ were not applied.",
            metadata={
                "not_applied": len(trouble),
                "left_as_they_are": int(left_alone.sum()),
                **unless_empty(by_outcome=counts_table(counts(trouble["outcome"]), "outcome")),
                **listed(
                    "which",
                    trouble[["order_id", "store_id", "month", "operation", "outcome", "detail"]],
                    LISTED_ROWS,
                    "order_id",
                    lambda order_id: order_link(systems.settings, order_id),
                ),
            },
        )

    return [order_push_checks]
