"""Checks of the reconciliation: what finance should look into."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import records_table
from mc_pipeline.defs.revenue.assets import differing_orders
from mc_pipeline.defs.revenue.report import orders_differ
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.sync.reconciliation import Reconciliation

STORES_MATCH_ODOO = "stores_match_odoo"
EXCLUSIONS_WITHIN_LIMIT = "exclusions_within_limit"
LEDGER_RECONCILES = "ledger_reconciles"

LEFT_OUT_AT_MOST = 0.05
"""Of the kept revenue (rule 8.5)."""

_ASSET = schemas.REVENUE_RECONCILIATION.name
_WHAT_TO_DO = {
    STORES_MATCH_ODOO: (
        "sync the company again, which corrects what somebody edited in Mailchimp; Mailchimp did not "
        "accept what still differs: the check orders_applied says why, and where to correct it."
    ),
    EXCLUSIONS_WITHIN_LIMIT: (
        "see which reason in left_out has the largest amount, and correct the customers in Odoo (address) "
        "or the rules and stores in companies.yaml."
    ),
    LEDGER_RECONCILES: (
        "sync again, because somebody may have posted in the meantime; what remains is in Odoo under "
        "Accounting / Journal Items: income accounts, that month, on invoice lines that are not products."
    ),
}


def revenue_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the reconciliation, in one step."""

    def spec(name: str, description: str) -> dg.AssetCheckSpec:
        return company_check_spec(
            name,
            asset=_ASSET,
            companies=companies,
            owner=Owner.FINANCE,
            description=f"{description} For finance: {_WHAT_TO_DO[name]}",
        )

    @dg.multi_asset_check(
        name=f"{_ASSET}_checks",
        specs=[
            spec(
                STORES_MATCH_ODOO,
                "Every order that is due is in its store at its kept amounts, and no other order is.",
            ),
            spec(
                EXCLUSIONS_WITHIN_LIMIT,
                f"At most {LEFT_OUT_AT_MOST:.0%} of the kept revenue is in orders that go to no store.",
            ),
            spec(LEDGER_RECONCILES, "Kept revenue reconciles with the revenue in the general ledger."),
        ],
    )
    @shows_failures
    def checks(
        context: dg.AssetCheckExecutionContext,
        revenue_reconciliation: Table,
        systems: dg.ResourceParam[Systems],
    ) -> Iterator[dg.AssetCheckResult]:
        from mc_pipeline.sync.reconciliation import Reconciliation

        found = Reconciliation.of(revenue_reconciliation)
        yield _holds_what_is_due(systems, found)
        yield _exclusions_within_limit(found)
        yield _ledger_reconciles(found)

    return [checks]


def _holds_what_is_due(systems: Systems, found: "Reconciliation") -> dg.AssetCheckResult:
    differing = found.differing
    counted = differing.groupby("differs_because", as_index=False).size()
    said = []
    if len(differing):
        said.append(f"{orders_differ(len(differing))}. What to do: {_WHAT_TO_DO[STORES_MATCH_ODOO]}")
    if found.not_looked_at:
        said.append(f"Not checked: {'; '.join(each.rstrip('.') for each in found.not_looked_at)}.")
    if found.waits or len(found.waiting):
        said.append(f"Waits for approval: {'; '.join(found.waits) or f'{len(found.waiting):,} orders'}.")
    return dg.AssetCheckResult(
        check_name=STORES_MATCH_ODOO,
        asset_key=_ASSET,
        passed=not said,
        severity=dg.AssetCheckSeverity.WARN if differing.empty else dg.AssetCheckSeverity.ERROR,
        description=" ".join(said) or "Every order in Mailchimp matches Odoo.",
        metadata={
            "owner": str(Owner.FINANCE),
            "offenders": len(differing),
            "waiting": len(found.waiting),
            "stores_not_looked_at": len(found.not_looked_at),
            **({} if differing.empty else {"by_difference": records_table(counted)}),
            **differing_orders(systems, found),
        },
    )


def _exclusions_within_limit(found: "Reconciliation") -> dg.AssetCheckResult:
    from mc_pipeline.domain.reconciliation.by_order import left_out_share, waiting_share

    share, waits = left_out_share(found.rows), waiting_share(found.rows)
    passed = share <= LEFT_OUT_AT_MOST
    left_out = found.left_out
    said = (
        f"{share:.1%} of Odoo's kept revenue is in orders that go to no store, in addition to what "
        "companies.yaml leaves out (orders_since, audiences without a store, revenue)."
    )
    if waits:
        said += (
            f" {waits:.1%} waits for an approval, or is for stores that were not checked: "
            f"{STORES_MATCH_ODOO} says which."
        )
    return dg.AssetCheckResult(
        check_name=EXCLUSIONS_WITHIN_LIMIT,
        asset_key=_ASSET,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=said
        if passed
        else (
            f"{said} It is not lost: Odoo has it, Mailchimp does not show it. What to do: "
            f"{_WHAT_TO_DO[EXCLUSIONS_WITHIN_LIMIT]}"
        ),
        metadata={
            "owner": str(Owner.FINANCE),
            "share": share,
            "share_that_waits": waits,
            **({} if left_out.empty else {"left_out": records_table(left_out)}),
        },
    )


def _ledger_reconciles(found: "Reconciliation") -> dg.AssetCheckResult:
    gaps = found.not_explained
    return dg.AssetCheckResult(
        check_name=LEDGER_RECONCILES,
        asset_key=_ASSET,
        passed=gaps.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description="Kept revenue reconciles exactly with the general ledger."
        if gaps.empty
        else f"{len(gaps):,} months do not reconcile. What to do: {_WHAT_TO_DO[LEDGER_RECONCILES]}",
        metadata={
            "owner": str(Owner.FINANCE),
            "offenders": len(gaps),
            **({} if gaps.empty else {"months": records_table(gaps)}),
        },
    )
