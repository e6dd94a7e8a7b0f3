"""Checks of the group ``store``: what the stores did not take."""

from collections.abc import Iterator, Sequence

import dagster as dg

from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import (
    LISTED_ROWS,
    counts,
    counts_table,
    listed,
    order_link,
    records_table,
    unless_empty,
)
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import DONE, Owner

ORDERS_APPLIED = "orders_applied"
PRODUCTS_APPLIED = "products_applied"


def store_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the store tables, partitioned like them."""

    @dg.multi_asset_check(
        name="order_push_checks",
        specs=[
            company_check_spec(
                ORDERS_APPLIED,
                asset="order_push",
                description=(
                    "The stores hold every order that is due, with the right amounts. For finance: "
                    "*troubles* says what is wrong and what to do, in Odoo, Mailchimp or companies.yaml. "
                    "To approve what waits, use mc-pipeline approve or the job approve_plan."
                ),
                owner=Owner.FINANCE,
                companies=companies,
            )
        ],
    )
    @shows_failures
    def order_push_checks(
        context: dg.AssetCheckExecutionContext, order_push: Table, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.AssetCheckResult]:
        from mc_pipeline.domain.store.held_orders import KEPT_RIGHT, STAYS
        from mc_pipeline.sync.stores import troubles_of

        left_alone = order_push.rows["because"].isin([KEPT_RIGHT, STAYS])
        rows = order_push.rows[~left_alone]
        trouble = rows[~rows["outcome"].isin(DONE)]
        told = troubles_of(order_push)
        yield dg.AssetCheckResult(
            check_name=ORDERS_APPLIED,
            asset_key="order_push",
            passed=trouble.empty and not told,
            severity=_severity(told),
            description=f"{len(rows):,} orders differed; all are applied."
            if trouble.empty and not told
            else _sentence(told) or f"{len(trouble):,} of {len(rows):,} orders that differ were not applied.",
            metadata={
                "not_applied": len(trouble),
                "left_as_they_are": int(left_alone.sum()),
                **_listed(told),
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

    @dg.multi_asset_check(
        name="product_push_checks",
        specs=[
            company_check_spec(
                PRODUCTS_APPLIED,
                asset="product_push",
                description=(
                    "Every store is available and holds the products of its orders. For marketing ops: "
                    "*troubles* says which store or product has a problem, and what to do."
                ),
                owner=Owner.MARKETING_OPS,
                companies=companies,
            )
        ],
    )
    def product_push_checks(
        context: dg.AssetCheckExecutionContext, product_push: Table
    ) -> Iterator[dg.AssetCheckResult]:
        from mc_pipeline.sync.stores import troubles_of

        told = troubles_of(product_push)
        yield dg.AssetCheckResult(
            check_name=PRODUCTS_APPLIED,
            asset_key="product_push",
            passed=not told,
            severity=_severity(told),
            description=_sentence(told) or f"{len(product_push.rows):,} products differed; all are applied.",
            metadata=_listed(told),
        )

    return [order_push_checks, product_push_checks]


_Told = Sequence[tuple[str, str, str]]
_BROKEN, _WAITS, _NOT_LOOKED_AT = "broken", "waits", "not_looked_at"


def _severity(told: _Told) -> dg.AssetCheckSeverity:
    """What is broken is an error; what waits, or was not looked at for something else, is a warning."""
    broken = any(kind == _BROKEN for kind, _, _ in told)
    return dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN


def _sentence(told: _Told) -> str:
    """The most severe trouble with what to do; empty if there is none."""
    order = (_BROKEN, _WAITS, _NOT_LOOKED_AT)
    worst = sorted(told, key=lambda each: order.index(each[0]))
    return " ".join(f"{sentence.rstrip('.')}. {what_to_do}".strip() for _, sentence, what_to_do in worst)


def _listed(told: _Told) -> dict[str, dg.MetadataValue]:
    import pandas as pd

    if not told:
        return {}
    return {"troubles": records_table(pd.DataFrame(list(told), columns=["kind", "what", "what to do"]))}
