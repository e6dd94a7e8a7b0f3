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
        not_applied = rows[~rows["outcome"].isin(DONE)]
        troubles = troubles_of(order_push)
        yield dg.AssetCheckResult(
            check_name=ORDERS_APPLIED,
            asset_key="order_push",
            passed=not_applied.empty and not troubles,
            severity=_severity(troubles),
            description=f"{len(rows):,} orders differed; all are applied."
            if not_applied.empty and not troubles
            else _sentence(troubles)
            or f"{len(not_applied):,} of {len(rows):,} orders that differ were not applied.",
            metadata={
                "not_applied": len(not_applied),
                "left_as_they_are": int(left_alone.sum()),
                **_listed(troubles),
                **unless_empty(by_outcome=counts_table(counts(not_applied["outcome"]), "outcome")),
                **listed(
                    "which",
                    not_applied[["order_id", "store_id", "month", "operation", "outcome", "detail"]],
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

        troubles = troubles_of(product_push)
        yield dg.AssetCheckResult(
            check_name=PRODUCTS_APPLIED,
            asset_key="product_push",
            passed=not troubles,
            severity=_severity(troubles),
            description=_sentence(troubles)
            or f"{len(product_push.rows):,} products differed; all are applied.",
            metadata=_listed(troubles),
        )

    return [order_push_checks, product_push_checks]


_Troubles = Sequence[tuple[str, str, str]]
_BROKEN, _WAITS, _NOT_LOOKED_AT = "broken", "waits", "not_looked_at"


def _severity(troubles: _Troubles) -> dg.AssetCheckSeverity:
    """What is broken is an error; what waits, or was not looked at for something else, is a warning."""
    broken = any(kind == _BROKEN for kind, _, _ in troubles)
    return dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN


def _sentence(troubles: _Troubles) -> str:
    """The most severe trouble with what to do; empty if there is none."""
    order = (_BROKEN, _WAITS, _NOT_LOOKED_AT)
    worst = sorted(troubles, key=lambda each: order.index(each[0]))
    return " ".join(f"{sentence.rstrip('.')}. {what_to_do}".strip() for _, sentence, what_to_do in worst)


def _listed(troubles: _Troubles) -> dict[str, dg.MetadataValue]:
    import pandas as pd

    if not troubles:
        return {}
    return {"troubles": records_table(pd.DataFrame(list(troubles), columns=["kind", "what", "what to do"]))}
