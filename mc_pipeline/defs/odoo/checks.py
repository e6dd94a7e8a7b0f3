"""Checks of the group ``odoo``: what marketing ops should correct in Odoo, and whether all was read."""

from collections.abc import Iterator

import dagster as dg

from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import LISTED_ROWS, document_link, listed, partner_link
from mc_pipeline.masking import mask_email
from mc_pipeline.quality import suites
from mc_pipeline.quality.results import check_result
from mc_pipeline.quality.runner import run_expectations
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import Owner

READ_IS_COMPLETE = "read_is_complete"
CREDIT_NOTES_HAVE_AN_ORDER = "credit_notes_have_an_order"


def odoo_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the Odoo tables: one step per table, partitioned like it."""

    @dg.multi_asset_check(
        name="odoo_partners_checks",
        specs=[
            *(
                company_check_spec(
                    expectation.name,
                    asset="odoo_partners",
                    companies=companies,
                    owner=expectation.owner,
                    description=f"{expectation.description} For {expectation.owner}: "
                    f"{expectation.what_to_do}",
                )
                for expectation in suites.ODOO_PARTNERS
            ),
            read_is_complete_spec("odoo_partners", companies),
        ],
    )
    @shows_failures
    def odoo_partners_checks(
        context: dg.AssetCheckExecutionContext, odoo_partners: Table, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.AssetCheckResult]:
        emails = dict(zip(odoo_partners.rows["partner_id"], odoo_partners.rows["email"], strict=True))
        for result in run_expectations(odoo_partners.rows, suites.ODOO_PARTNERS):
            yield check_result(
                result,
                "odoo_partners",
                masked_email=lambda partner_id: mask_email(emails[partner_id]),
                link=lambda partner_id: partner_link(systems.settings, partner_id),
            )
        yield read_is_complete("odoo_partners", odoo_partners)

    @dg.multi_asset_check(
        name="odoo_refunds_checks",
        specs=[
            company_check_spec(
                CREDIT_NOTES_HAVE_AN_ORDER,
                asset="odoo_refunds",
                companies=companies,
                owner=Owner.FINANCE,
                description=(
                    "Every posted credit note counts for one order, and no invoice has a negative line "
                    "without an order line. For finance: a credit note that counts for no order lowers "
                    "nobody's total. Make a credit note from its invoice (Credit Note) and keep the lines "
                    "that Odoo copies, one credit note for each order; enter a discount on the order, not "
                    "on its invoice."
                ),
            ),
            read_is_complete_spec("odoo_refunds", companies),
        ],
    )
    @shows_failures
    def odoo_refunds_checks(
        context: dg.AssetCheckExecutionContext, odoo_refunds: Table, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.AssetCheckResult]:
        yield credit_notes_have_an_order(systems, odoo_refunds)
        yield read_is_complete("odoo_refunds", odoo_refunds)

    return [
        odoo_partners_checks,
        odoo_refunds_checks,
        read_is_complete_check("odoo_orders", companies),
        read_is_complete_check("odoo_order_lines", companies),
        read_is_complete_check("odoo_products", companies),
        read_is_complete_check("odoo_blacklist", companies),
    ]


def read_is_complete_spec(asset: str, companies: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
    """Declare the check that an observed table is the whole truth (rule 1.1)."""
    return company_check_spec(
        READ_IS_COMPLETE,
        asset=asset,
        companies=companies,
        owner=Owner.DATA_ENGINEERING,
        description=(
            "Everything was read, and it is at least 90 % of the last complete read. For data engineering: "
            "until this passes, nobody is archived, removed or merged; if the drop is intended, approve it "
            f"with `mc-pipeline approve --read COMPANY/{asset}`."
        ),
    )


def read_is_complete(asset: str, table: Table) -> dg.AssetCheckResult:
    """Judge whether an observed table is the whole truth."""
    return dg.AssetCheckResult(
        check_name=READ_IS_COMPLETE,
        asset_key=asset,
        passed=table.complete,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(table.rows):,} rows." if table.complete else table.incomplete_because,
        metadata={"rows": len(table.rows)},
    )


def credit_notes_have_an_order(systems: Systems, odoo_refunds: Table) -> dg.AssetCheckResult:
    """List the credit notes that count to no order, with what they give back (rule 8.2)."""
    from mc_pipeline.domain.revenue.documents import UNMATCHED, unmatched_credits

    unmatched = unmatched_credits(odoo_refunds.rows)
    notes = unmatched["move_id"].nunique()
    shown = unmatched.assign(because=unmatched["because"].map(UNMATCHED))
    return dg.AssetCheckResult(
        check_name=CREDIT_NOTES_HAVE_AN_ORDER,
        asset_key="odoo_refunds",
        passed=unmatched.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description="Every credit note counts for one order."
        if unmatched.empty
        else (
            f"{notes:,} credit notes, or negative lines typed on invoices, count for no order: they lower "
            "nobody's total."
        ),
        metadata={
            "owner": str(Owner.FINANCE),
            "offenders": notes,
            **listed(
                "credit_notes",
                shown,
                LISTED_ROWS,
                "move_id",
                lambda move_id: document_link(systems.settings, move_id),
            ),
        },
    )


def read_is_complete_check(asset: str, companies: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """Make the check of a table that has no other checks."""

    @dg.multi_asset_check(
        name=f"{asset}_checks",
        specs=[read_is_complete_spec(asset, companies)],
        ins={"table": dg.AssetIn(asset)},
    )
    def check(context: dg.AssetCheckExecutionContext, table: Table) -> Iterator[dg.AssetCheckResult]:
        yield read_is_complete(asset, table)

    return check
