"""Reports what of a plan waits for a person, one trouble for each audience and guard."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    from mc_pipeline.domain.plan.guards import GuardReport

_OWNER = Owner.MARKETING_OPS


def what_waits(report: "GuardReport", plan_id: str, company: str) -> Iterator[Trouble]:
    """Report each audience that waits for its first approval, and each guard that tripped."""
    what_to_do = (
        f"Look at plan {plan_id} in the metadata of audience_plan in Dagster, approve it with mc-pipeline "
        f"approve {plan_id} or the job approve_plan, and sync {company} again."
    )
    for audience in report.first_load_audiences:
        yield Trouble(
            kind=TroubleKind.WAITS,
            part="audience",
            place=audience,
            code="first_load",
            sentence=f"The first load of the audience {audience} waits for approval; until then only "
            "opt-outs are written to it, and nothing to its store.",
            what_to_do=what_to_do,
            owner=_OWNER,
        )
    for guard in report.tripped:
        yield Trouble(
            kind=TroubleKind.WAITS,
            part="guard",
            place=f"{guard.name} of {guard.audience or 'all audiences'}",
            code="tripped",
            sentence=(
                f"{guard.because}: these changes wait for approval, and so does everybody whom the plan "
                "would create, move, archive, rename, upgrade or give a permission."
            ),
            what_to_do=what_to_do,
            owner=_OWNER,
        )
