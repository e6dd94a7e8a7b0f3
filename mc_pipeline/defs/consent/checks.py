"""Checks of the group ``consent``. They inform people; none of them holds an opt-out back."""

from collections.abc import Iterator

import dagster as dg

from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.defs.presentation import (
    counts,
    old_opt_outs_metadata,
    partners_in_odoo,
    records_table,
    unless_empty,
)
from mc_pipeline.domain.consent.old_opt_outs import people_that_wait, what_waits
from mc_pipeline.domain.consent.usual_numbers import OptOutNumbers
from mc_pipeline.ledger.due_in_odoo import CONFLICT, REFUSED
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.tables import FIRST_READ, LAST_DAY, TROUBLE, USUAL, undone
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import Owner

OPT_OUTS_ARE_READ = "opt_outs_are_read"
OPT_OUTS_ARE_USUAL = "opt_outs_are_usual"
OPT_OUTS_AGREE = "opt_outs_agree"
OPT_OUTS_ARE_CARRIED = "opt_outs_are_carried"
"""For each asset that applies opt-outs to a system: it could be asked, and accepted all of them."""

CARRYING = {"odoo_opt_outs": "Odoo", "mailchimp_unsubscribes": "Mailchimp", "missed_opt_outs": "both systems"}


def consent_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the opt-outs that were read, and of what was applied."""

    def carried_spec(asset: str) -> dg.AssetCheckSpec:
        return company_check_spec(
            OPT_OUTS_ARE_CARRIED,
            asset=asset,
            companies=companies,
            owner=Owner.DATA_ENGINEERING,
            description=(
                f"{CARRYING[asset].capitalize()} could be asked, and accepted every opt-out. For data "
                "engineering: the next run applies what is missing; if this fails again, run `mc-pipeline "
                "doctor`."
            ),
        )

    @dg.multi_asset_check(
        name="mailchimp_opt_outs_checks",
        specs=[
            company_check_spec(
                OPT_OUTS_ARE_READ,
                asset="mailchimp_opt_outs",
                companies=companies,
                owner=Owner.DATA_ENGINEERING,
                description=(
                    "Every audience was read for opt-outs. For data engineering: until an audience can be "
                    "read, its opt-outs do not reach Odoo, and nobody is subscribed in any audience; the "
                    "next run reads what was missed. If this fails again, run `mc-pipeline doctor`."
                ),
            ),
            company_check_spec(
                OPT_OUTS_ARE_USUAL,
                asset="mailchimp_opt_outs",
                companies=companies,
                owner=Owner.MARKETING_OPS,
                description=(
                    "The last 24 hours had at most five times the usual number of opt-outs. For marketing "
                    "ops: find out what people were sent, and whether somebody unsubscribed many at once "
                    "in Mailchimp; all opt-outs are applied in the meantime."
                ),
            ),
        ],
    )
    def mailchimp_opt_outs_checks(
        context: dg.AssetCheckExecutionContext, mailchimp_opt_outs: Table
    ) -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(
            check_name=OPT_OUTS_ARE_READ,
            asset_key="mailchimp_opt_outs",
            passed=mailchimp_opt_outs.complete,
            severity=dg.AssetCheckSeverity.ERROR,
            description=mailchimp_opt_outs.incomplete_because or "Every audience was read.",
        )
        yield opt_outs_are_usual(mailchimp_opt_outs)

    @dg.multi_asset_check(
        name="odoo_opt_outs_checks",
        specs=[
            carried_spec("odoo_opt_outs"),
            company_check_spec(
                OPT_OUTS_AGREE,
                asset="odoo_opt_outs",
                companies=companies,
                owner=Owner.MARKETING_OPS,
                description=(
                    "Both systems agree about everybody who opted out, and Odoo accepted every address. "
                    "For marketing ops: the table says what to decide for each person; none of them is "
                    "mailed in the meantime. Old opt-outs of an audience wait until you approve them."
                ),
            ),
        ],
    )
    @shows_failures
    def odoo_opt_outs_checks(
        context: dg.AssetCheckExecutionContext, odoo_opt_outs: Table, systems: dg.ResourceParam[Systems]
    ) -> Iterator[dg.AssetCheckResult]:
        yield opt_outs_are_carried("odoo_opt_outs", odoo_opt_outs)
        yield opt_outs_agree(systems, systems.company(context.partition_key))

    @dg.multi_asset_check(
        name="mailchimp_unsubscribes_checks", specs=[carried_spec("mailchimp_unsubscribes")]
    )
    def mailchimp_unsubscribes_checks(
        context: dg.AssetCheckExecutionContext, mailchimp_unsubscribes: Table
    ) -> Iterator[dg.AssetCheckResult]:
        yield opt_outs_are_carried("mailchimp_unsubscribes", mailchimp_unsubscribes)

    @dg.multi_asset_check(name="missed_opt_outs_checks", specs=[carried_spec("missed_opt_outs")])
    def missed_opt_outs_checks(
        context: dg.AssetCheckExecutionContext, missed_opt_outs: Table
    ) -> Iterator[dg.AssetCheckResult]:
        yield opt_outs_are_carried("missed_opt_outs", missed_opt_outs)

    return [
        mailchimp_opt_outs_checks,
        odoo_opt_outs_checks,
        mailchimp_unsubscribes_checks,
        missed_opt_outs_checks,
    ]


def opt_outs_are_carried(asset: str, table: Table) -> dg.AssetCheckResult:
    """Say what could not be asked or written, and whose opt-outs are still to be applied."""
    rows = table.rows
    not_carried = undone(rows)
    said = [table.facts[TROUBLE], f"{not_carried:,} opt-outs are not applied yet." if not_carried else ""]
    return dg.AssetCheckResult(
        check_name=OPT_OUTS_ARE_CARRIED,
        asset_key=asset,
        passed=not any(said),
        severity=dg.AssetCheckSeverity.ERROR,
        description=" ".join(filter(None, said)) or f"{len(rows):,} rows, all applied.",
        metadata={"not_carried": not_carried},
    )


def opt_outs_agree(systems: Systems, company: CompanySettings) -> dg.AssetCheckResult:
    """List what people have to decide, what Odoo does not take, and what waits for a release."""
    import pandas as pd

    from mc_pipeline.domain.consent.opt_outs_into_odoo import CONFLICTS
    from mc_pipeline.sync.opt_outs.following import people_not_followed

    open_rows = pd.DataFrame(
        [vars(row) for row in systems.ledger.due_in_odoo.of(company.key, CONFLICT, REFUSED)],
        columns=["partner_id", "email", "state", "conflict", "since", "detail"],
    ).astype({"partner_id": "Int64"})
    conflicts = open_rows[open_rows["state"] == CONFLICT]
    refused = open_rows[open_rows["state"] == REFUSED]
    waiting = systems.ledger.old_opt_outs.waiting(company.key)
    not_followed = people_not_followed(systems, company)
    said = [
        f"{len(conflicts):,} people need a decision." if len(conflicts) else "",
        f"{len(refused):,} addresses that Odoo does not accept; correct them in Odoo."
        if len(refused)
        else "",
        f"{len(not_followed):,} members consented through a contact that is no longer in Odoo: ask them, "
        "or unsubscribe them in Mailchimp."
        if not_followed
        else "",
        *(what_waits(each) for each in waiting),
    ]
    return dg.AssetCheckResult(
        check_name=OPT_OUTS_AGREE,
        asset_key="odoo_opt_outs",
        passed=not any(said),
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(filter(None, said)) or "Both systems agree.",
        metadata={
            "conflicts": len(conflicts),
            "not_taken_by_odoo": len(refused),
            "wait_for_a_release": people_that_wait(waiting),
            **old_opt_outs_metadata(waiting),
            **unless_empty(
                what_to_do=records_table(
                    pd.DataFrame(
                        [
                            {"conflict": kind, "people": count, "what to do": CONFLICTS[kind]}
                            for kind, count in counts(conflicts["conflict"]).items()
                        ]
                    )
                )
            ),
            **partners_in_odoo(
                systems.settings, "to_decide", conflicts[["partner_id", "email", "conflict", "since"]]
            ),
            **partners_in_odoo(systems.settings, "not_taken", refused[["partner_id", "email", "detail"]]),
            **unless_empty(
                consent_not_followed=records_table(
                    pd.DataFrame(
                        [
                            {"email": each.email, "relied on": each.source, "former partner": each.record_id}
                            for each in not_followed
                        ]
                    )
                )
            ),
        },
    )


def opt_outs_are_usual(opt_outs: Table) -> dg.AssetCheckResult:
    """Compare the opt-outs of the last 24 hours with the average of the 28 days before."""
    numbers = OptOutNumbers(int(opt_outs.facts[LAST_DAY]), float(opt_outs.facts[USUAL]))
    first = bool(opt_outs.facts[FIRST_READ])
    last_day, usual = f"{numbers.last_day:,} opt-outs in the last 24 hours", f"{numbers.usual:,.1f}"
    compared = f"{last_day}; the usual number is {usual}."
    return dg.AssetCheckResult(
        check_name=OPT_OUTS_ARE_USUAL,
        asset_key="mailchimp_opt_outs",
        passed=first or numbers.is_usual,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{compared} For the first read there is nothing to compare with." if first else compared,
        metadata={"opt_outs_in_24_hours": numbers.last_day, "usual_in_24_hours": numbers.usual},
    )
