"""What is open in a company: each step replaces its own reports; what is found again keeps its age."""

from mc_pipeline.ledger import Ledger, Trouble, TroubleKind
from mc_pipeline_tests.ledger.conftest import START, Clock


def broken(place: str, *, sentence: str = "it is broken", kind: TroubleKind = TroubleKind.BROKEN) -> Trouble:
    return Trouble(
        kind=kind,
        part="audience",
        place=place,
        code="merge_fields",
        sentence=sentence,
        what_to_do="Correct the field in Mailchimp.",
        owner="marketing ops",
    )


def places(ledger: Ledger, company: str = "acme") -> list[str]:
    return [each.trouble.place for each in ledger.troubles.open(company)]


def test_a_report_comes_back_as_it_was_given(ledger: Ledger):
    trouble = broken("retail", kind=TroubleKind.WAITS)
    ledger.troubles.report("acme", "audience_push", "run-1", [trouble])
    (found,) = ledger.troubles.open("acme")
    assert found.trouble == trouble
    assert (found.step, found.run_id, found.since, found.seen_at) == ("audience_push", "run-1", START, START)


def test_what_is_found_again_keeps_its_age_and_what_is_gone_is_gone(ledger: Ledger, clock: Clock):
    ledger.troubles.report("acme", "audience_push", "run-1", [broken("retail"), broken("wholesale")])
    later = clock.pass_time(hours=1)
    ledger.troubles.report(
        "acme", "audience_push", "run-2", [broken("retail", sentence="still"), broken("outlet")]
    )
    found = {each.trouble.place: each for each in ledger.troubles.open("acme")}
    assert set(found) == {"retail", "outlet"}
    assert (found["retail"].since, found["retail"].seen_at) == (START, later)
    assert found["retail"].trouble.sentence == "still"
    assert found["outlet"].since == later


def test_a_step_replaces_its_own_reports_only(ledger: Ledger):
    ledger.troubles.report("acme", "audience_push", "run-1", [broken("retail")])
    ledger.troubles.report("acme", "order_push", "run-1", [broken("shop")])
    ledger.troubles.report("other", "audience_push", "run-2", [broken("theirs")])
    ledger.troubles.report("acme", "audience_push", "run-3", [])
    assert places(ledger) == ["shop"]
    assert places(ledger, "other") == ["theirs"]


def test_one_fault_reported_twice_is_one(ledger: Ledger):
    ledger.troubles.report("acme", "order_push", "run-1", [broken("shop"), broken("shop", sentence="last")])
    (found,) = ledger.troubles.open("acme")
    assert found.trouble.sentence == "last"
