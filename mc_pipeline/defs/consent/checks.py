"""Checks of the group ``consent``. They tell people; none of them holds an opt-out back."""

from collections.abc import Iterator

import dagster as dg

from mc_pipeline.defs.check_specs import company_check_spec
from mc_pipeline.defs.consent.assets import FIRST_READ, LAST_DAY, USUAL
from mc_pipeline.tables import Table

OPT_OUTS_ARE_READ = "opt_outs_are_read"
OPT_OUTS_ARE_USUAL = "opt_outs_are_usual"


def consent_checks(companies: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Make the checks of what was read for opt-outs."""

    @dg.multi_asset_check(
        name="mailchimp_opt_outs_checks",
        specs=[
            company_check_spec(
                OPT_OUTS_ARE_READ,
                asset="mailchimp_opt_outs",
                companies=companies,
                owner="data engineering",
                description="Every audience was read for opt-outs. For data engineering: what was missed is "
                "in the next run; if this fails again and again, run `mc-pipeline doctor`.",
            ),
            company_check_spec(
                OPT_OUTS_ARE_USUAL,
                asset="mailchimp_opt_outs",
                companies=companies,
                owner="marketing ops",
                description="The last 24 hours had at most five times the usual number of opt-outs. For "
                "marketing ops: find out what people were sent, and whether somebody unsubscribed many at "
                "once in Mailchimp; all opt-outs are carried out meanwhile.",
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
            severity=dg.AssetCheckSeverity.WARN,
            description=mailchimp_opt_outs.incomplete_because or "Every audience was read.",
        )
        yield opt_outs_are_usual(mailchimp_opt_outs)

    return [mailchimp_opt_outs_checks]


def opt_outs_are_usual(opt_outs: Table) -> dg.AssetCheckResult:
    """Compare the opt-outs of the last 24 hours with the average of the 28 days before."""
    from mc_pipeline.domain.opt_out_numbers import OptOutNumbers

    numbers = OptOutNumbers(int(opt_outs.facts[LAST_DAY]), float(opt_outs.facts[USUAL]))
    first = bool(opt_outs.facts[FIRST_READ])
    told = f"{numbers.last_day:,} opt-outs in the last 24 hours, {numbers.usual:,.1f} are usual."
    return dg.AssetCheckResult(
        check_name=OPT_OUTS_ARE_USUAL,
        asset_key="mailchimp_opt_outs",
        passed=first or numbers.is_usual,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{told} The first read has nothing to compare with." if first else told,
        metadata={"opt_outs_in_24_hours": numbers.last_day, "usual_in_24_hours": numbers.usual},
    )
