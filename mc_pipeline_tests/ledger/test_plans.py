"""Plans, who released them, and which audiences may be written (RULES 7.1–7.3)."""

from datetime import timedelta

import pytest

from mc_pipeline.ledger import Ledger, PlanError, PlanRecord
from mc_pipeline_tests.ledger.conftest import START, Clock


def a_plan(plan_id: str = "plan-1", **values: object) -> PlanRecord:
    given: dict[str, object] = {
        "company": "acme", "observed_at": START, "row_keys": ["k1", "k2"], "counts": {"create": 2},
        "guards": [{"guard": "created", "limit": 1, "found": 2}], "needs_approval": True, **values,
    }  # fmt: skip
    keys: list[str] = given["row_keys"]  # type: ignore[assignment]
    return PlanRecord(plan_id=plan_id, row_count=len(keys), **given)  # type: ignore[arg-type]


def test_a_plan_is_kept_as_it_was_shown(ledger: Ledger) -> None:
    ledger.plans.save(a_plan(first_load_audiences=["list1"]))
    plan = ledger.plans.get("plan-1")
    assert plan is not None
    assert (plan.company, plan.observed_at, plan.saved_at, plan.applied_at) == ("acme", START, START, None)
    assert (plan.row_keys, plan.counts, plan.first_load_audiences) == (
        ["k1", "k2"],
        {"create": 2},
        ("list1",),
    )
    assert plan.guards == [{"guard": "created", "limit": 1, "found": 2}]
    assert ledger.plans.get("plan-2") is None


def test_an_empty_plan_has_no_row_keys(ledger: Ledger) -> None:
    ledger.plans.save(a_plan(row_keys=[], needs_approval=False))
    plan = ledger.plans.get("plan-1")
    assert plan is not None
    assert (plan.row_count, plan.row_keys) == (0, [])


def test_an_approval_says_who_when_and_why_and_opens_the_audiences(ledger: Ledger, clock: Clock) -> None:
    ledger.plans.save(a_plan(first_load_audiences=["list2", "list1"]))
    assert ledger.plans.opened_audiences("acme") == set()
    at = clock.pass_time(hours=1)
    approval = ledger.plans.approve("plan-1", "mia", "numbers checked with sales")
    assert (approval.approved_by, approval.reason, approval.approved_at) == (
        "mia",
        "numbers checked with sales",
        at,
    )
    assert approval.opened_audiences == ("list1", "list2")
    assert ledger.plans.approvals("acme") == [approval]
    assert ledger.plans.opened_audiences("acme") == {"list1", "list2"}
    assert ledger.plans.opened_audiences("other") == set()


def test_a_first_load_that_crashed_goes_on_under_its_approval(ledger: Ledger, clock: Clock) -> None:
    ledger.plans.save(a_plan(row_keys=["k1", "k2", "k3"], first_load_audiences=["list1"]))
    ledger.plans.approve("plan-1", "mia", "first load")
    rest = a_plan("plan-2", row_keys=["k2", "k3"], observed_at=clock.pass_time(hours=3))
    ledger.plans.save(rest)
    assert ledger.plans.approved_row_keys("acme") >= set(rest.row_keys)
    assert ledger.plans.approved_row_keys("other") == set()
    assert ledger.plans.in_first_load("acme", ["list1"]) == {"list1"}
    ledger.plans.mark_applied("plan-2", rest.observed_at, still_loading=["list1"])
    assert ledger.plans.in_first_load("acme", ["list1"]) == {"list1"}
    ledger.plans.mark_applied("plan-2", rest.observed_at)
    assert ledger.plans.in_first_load("acme", ["list1"]) == set()
    assert ledger.plans.opened_audiences("acme") == {"list1"}


def test_approved_rows_of_several_plans_add_up_and_last_a_day(ledger: Ledger, clock: Clock) -> None:
    ledger.plans.save(a_plan())
    ledger.plans.approve("plan-1", "mia", "fine")
    clock.pass_time(hours=12)
    ledger.plans.save(a_plan("plan-2", row_keys=["k3"], observed_at=clock()))
    ledger.plans.approve("plan-2", "mia", "fine")
    assert ledger.plans.approved_row_keys("acme") == {"k1", "k2", "k3"}
    assert ledger.plans.approved_row_keys("acme", clock() - timedelta(minutes=1)) == {"k3"}
    clock.pass_time(hours=12)
    assert ledger.plans.approved_row_keys("acme") == {"k3"}


def test_an_unknown_plan_cannot_be_approved(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match="there is no plan plan-9; sync the company with --plan"):
        ledger.plans.approve("plan-9", "mia", "fine")


def test_an_applied_plan_cannot_be_approved(ledger: Ledger) -> None:
    ledger.plans.save(a_plan())
    ledger.plans.mark_applied("plan-1", START)
    with pytest.raises(PlanError, match="was applied at 2026-03-02 06:00 UTC"):
        ledger.plans.approve("plan-1", "mia", "fine")


def test_of_a_plan_that_was_applied_in_part_the_rest_can_be_approved_and_is_applied_once(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.plans.save(a_plan(row_keys=["k1", "k2", "k3"], first_load_audiences=["list1"]))
    ledger.plans.mark_applied("plan-1", START, in_part=True, still_loading=["list1"])
    assert ledger.plans.is_applied("plan-1"), "not pushed again from the same observation"
    (waiting,) = ledger.plans.waiting("acme")
    assert (waiting.plan_id, waiting.applied_at, waiting.applied_in_part) == ("plan-1", START, True)

    rest = a_plan("plan-2", row_keys=["k2", "k3"], observed_at=clock.pass_time(hours=1))
    ledger.plans.save(rest)
    ledger.plans.mark_applied("plan-2", rest.observed_at, in_part=True)
    assert [plan.plan_id for plan in ledger.plans.waiting("acme")] == ["plan-2"]
    ledger.plans.approve("plan-1", "mia", "the first one will do")
    assert ledger.plans.approved_row_keys("acme") == {"k1", "k2", "k3"}
    assert ledger.plans.opened_audiences("acme") == {"list1"}

    again = a_plan(
        "plan-2", row_keys=["k2", "k3"], observed_at=clock.pass_time(hours=1), needs_approval=False
    )
    ledger.plans.save(again)
    assert not ledger.plans.is_applied("plan-2")
    ledger.plans.mark_applied("plan-2", again.observed_at)
    assert ledger.plans.waiting("acme") == []
    with pytest.raises(PlanError, match="nothing left to approve"):
        ledger.plans.approve("plan-2", "mia", "fine")


def test_a_plan_that_is_approved_while_it_is_applied_in_part_is_not_asked_for_again(ledger: Ledger) -> None:
    ledger.plans.save(a_plan())
    ledger.plans.approve("plan-1", "mia", "fine")
    ledger.plans.mark_applied("plan-1", START, in_part=True)
    assert ledger.plans.waiting("acme") == []


def test_an_expired_plan_cannot_be_approved(ledger: Ledger, clock: Clock) -> None:
    ledger.plans.save(a_plan())
    clock.pass_time(hours=24)
    with pytest.raises(PlanError, match=r"expired.*2026-03-02 06:00 UTC, more than 24 hours ago"):
        ledger.plans.approve("plan-1", "mia", "fine")
    assert ledger.plans.approvals("acme") == []


@pytest.mark.parametrize(("by", "reason"), [("", "fine"), ("mia", " ")])
def test_an_approval_without_a_name_or_a_reason_is_none(ledger: Ledger, by: str, reason: str) -> None:
    ledger.plans.save(a_plan(first_load_audiences=["list1"]))
    with pytest.raises(PlanError, match="a name and a reason"):
        ledger.plans.approve("plan-1", by, reason)
    assert ledger.plans.opened_audiences("acme") == set()


def test_a_plan_is_applied_until_it_is_made_again_from_a_newer_observation(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.plans.save(a_plan())
    ledger.plans.mark_applied("plan-1", START)
    ledger.plans.save(a_plan())
    assert ledger.plans.is_applied("plan-1")
    ledger.plans.save(a_plan(observed_at=clock.pass_time(days=3)))
    assert not ledger.plans.is_applied("plan-1")
    plan = ledger.plans.get("plan-1")
    assert plan is not None
    assert plan.applied_at is None


def test_saving_an_older_observation_does_not_turn_time_back(ledger: Ledger, clock: Clock) -> None:
    newer = clock.pass_time(hours=1)
    ledger.plans.save(a_plan(observed_at=newer))
    ledger.plans.save(a_plan(observed_at=START))
    plan = ledger.plans.get("plan-1")
    assert plan is not None
    assert plan.observed_at == newer


def test_the_newest_plan_is_the_one_observed_last(ledger: Ledger, clock: Clock) -> None:
    ledger.plans.save(a_plan("newer", observed_at=START + timedelta(hours=2)))
    ledger.plans.save(a_plan("older", observed_at=START + timedelta(hours=1)))
    latest = ledger.plans.latest("acme")
    assert latest is not None
    assert latest.plan_id == "newer"
    assert ledger.plans.latest("other") is None


def test_waiting_is_the_newest_plan_of_a_company_while_a_person_can_release_it(
    ledger: Ledger, clock: Clock
) -> None:
    def waiting() -> list[str]:
        return [plan.plan_id for plan in ledger.plans.waiting()]

    ledger.plans.save(a_plan("plan-1"))
    ledger.plans.save(a_plan("other-1", company="other"))
    assert waiting() == ["plan-1", "other-1"]
    ledger.plans.approve("other-1", "mia", "fine")
    assert waiting() == ["plan-1"]
    ledger.plans.save(a_plan("plan-2", observed_at=clock.pass_time(hours=1)))
    assert waiting() == ["plan-2"]
    assert [plan.plan_id for plan in ledger.plans.waiting("other")] == []
    clock.pass_time(hours=24)
    assert waiting() == []
    ledger.plans.save(a_plan("plan-3", observed_at=clock()))
    ledger.plans.save(a_plan("plan-4", observed_at=clock.pass_time(hours=1), needs_approval=False))
    assert waiting() == []


@pytest.mark.parametrize("company", ["acme", "other"])
def test_what_contradicts_itself_is_not_saved(ledger: Ledger, company: str) -> None:
    ledger.plans.save(a_plan())
    wrong = PlanRecord(
        plan_id="plan-1", company=company, observed_at=START, row_count=3 if company == "acme" else 0,
        row_keys=[], counts={}, guards=[], needs_approval=False,
    )  # fmt: skip
    with pytest.raises(PlanError):
        ledger.plans.save(wrong)
    plan = ledger.plans.get("plan-1")
    assert plan is not None
    assert plan.row_keys == ["k1", "k2"]


def test_marking_an_unknown_plan_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match="there is no plan"):
        ledger.plans.mark_applied("plan-9", START)


def test_row_keys_are_forgotten_when_nobody_can_use_them_any_more(ledger: Ledger, clock: Clock) -> None:
    ledger.plans.save(a_plan(first_load_audiences=["list1"]))
    ledger.plans.approve("plan-1", "mia", "fine")
    ledger.plans.save(a_plan("plan-2", observed_at=clock.pass_time(days=8)))
    plan = ledger.plans.get("plan-1")
    assert plan is not None
    assert (plan.row_count, plan.row_keys) == (2, [])
    assert ledger.plans.approvals("acme")[0].row_count == 2
    assert ledger.plans.opened_audiences("acme") == {"list1"}


def test_a_first_load_lasts_from_before_its_approval_until_its_writes_are_known(
    ledger: Ledger, clock: Clock
) -> None:
    lists = ["list1", "list2"]
    assert ledger.plans.in_first_load("acme", lists) == {"list1", "list2"}
    ledger.plans.save(a_plan(row_keys=["k1", "k2", "k3"], first_load_audiences=["list1"]))
    ledger.plans.approve("plan-1", "mia", "first load")
    assert ledger.plans.in_first_load("acme", lists) == {"list1", "list2"}
    assert ledger.plans.first_load_row_keys("acme") == {"k1", "k2", "k3"}
    ledger.plans.mark_applied("plan-1", clock.moment, still_loading={"list1"})
    assert ledger.plans.in_first_load("acme", lists) == {"list1", "list2"}
    ledger.plans.mark_applied("plan-1", clock.moment)
    assert ledger.plans.in_first_load("acme", lists) == {"list2"}
    assert ledger.plans.in_first_load("other", lists) == {"list1", "list2"}
    assert ledger.plans.first_load_row_keys("acme") == set()
