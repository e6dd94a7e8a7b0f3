"""What is open in a company: one row for each cause, the worst first, and what it means for the run."""

from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.domain.company_status import (
    BROKEN,
    NOT_LOOKED_AT,
    OK,
    WAITS,
    FailedCheck,
    FailedStep,
    Finding,
    Report,
    RunEvents,
    StatusRow,
    failure_sentences,
    first_line,
    found_in_run,
    not_yet_reported,
    state_of,
    status_rows,
    worst_of,
)

RUN, EARLIER = "run-2", "run-1"
BEGAN = datetime(2026, 11, 30, 19, 50, tzinfo=UTC)
NOW = BEGAN + timedelta(minutes=7)
BEFORE = BEGAN - timedelta(days=2)
REFUSED = "Odoo refused the login of user a•••: check odoo.user and odoo.secret"


def report(
    place: str = "retail",
    *,
    kind: str = BROKEN,
    part: str = "audience",
    code: str = "merge_fields",
    sentence: str = "",
    step: str = "audience_push",
    run_id: str = RUN,
    since: datetime = NOW,
    seen_at: datetime = NOW,
) -> Report:
    return Report(
        kind=kind,
        part=part,
        place=place,
        code=code,
        sentence=sentence or f"The audience {place} cannot take its fields.",
        what_to_do="Correct the field in Mailchimp.",
        owner="marketing ops",
        step=step,
        run_id=run_id,
        since=since,
        seen_at=seen_at,
    )


def rows(*reports: Report) -> list[StatusRow]:
    return status_rows(reports, RUN, BEGAN)


def events(
    *failed: FailedStep, checks: tuple[FailedCheck, ...] = (), not_made: dict[str, set[str]] | None = None
) -> RunEvents:
    ran = {each.step for each in failed} | {each.step for each in checks} | {"contacts"}
    made_from = {asset: frozenset(parents) for asset, parents in (not_made or {}).items()}
    return RunEvents(ran=frozenset(ran), failed=failed, checks=checks, not_made=made_from)


def failed(step: str, sentence: str = REFUSED, **more: str) -> FailedStep:
    return FailedStep(step=step, sentence=sentence, assets=frozenset({step}), **more)


def check(name: str = "no_leaks", *, waits: bool = False) -> FailedCheck:
    return FailedCheck(
        step="audience_plan_checks",
        asset="audience_plan",
        name=name,
        sentence="3 rows would harm somebody.",
        what_to_do="Report it.",
        owner="data engineering",
        waits=waits,
    )


def test_the_worst_comes_first_then_what_is_open_for_longest():
    found = rows(
        report("a", kind=NOT_LOOKED_AT),
        report("b", kind=WAITS, since=BEFORE),
        report("c"),
        report("d", since=BEFORE),
    )
    assert [row.place for row in found] == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("since", "run_id", "is_new", "is_of_this_run"),
    [
        (NOW, RUN, True, True),
        (BEGAN, RUN, True, True),
        (BEFORE, RUN, False, True),
        (BEFORE, EARLIER, False, False),
        # Reported while this run was under way, by another run that is none of ours.
        (NOW, EARLIER, False, False),
    ],
)
def test_what_is_new_was_first_found_in_this_run(
    since: datetime, run_id: str, is_new: bool, is_of_this_run: bool
):
    (row,) = rows(report(since=since, run_id=run_id))
    assert (row.new, row.of_this_run) == (is_new, is_of_this_run)


def test_what_this_run_did_not_look_at_is_reported_with_its_age():
    (row,) = rows(report(run_id=EARLIER, since=BEFORE, seen_at=BEFORE))
    assert row.sentence_with_age == (
        "The audience retail cannot take its fields. (from the last run that looked, at 2026-11-28 19:50 UTC)"
    )


def test_one_fault_of_a_place_that_several_steps_meet_is_one_row():
    said = "retail (retail1) cannot be read: nothing but opt-outs is written there. 403: Forbidden"
    (row,) = rows(
        report(
            code="not_reached", step="mailchimp_opt_outs", sentence="retail cannot be heard", since=BEFORE
        ),
        report(code="not_reached", step="mailchimp_members", sentence=said),
    )
    assert row.sentence == said
    assert row.step == "mailchimp_members, mailchimp_opt_outs"
    assert row.since == BEFORE
    assert not row.new


def test_the_same_words_of_several_steps_are_one_row():
    login = report(
        "login", part="opt_outs", code="x", sentence=f"{REFUSED} (tried 2 times)", step="odoo_opt_outs"
    )
    reads = [
        report(step, part="step", code="failed", sentence=f"{REFUSED}. Held up by it: contacts.", step=step)
        for step in ("odoo_partners", "odoo_orders")
    ]
    (row,) = rows(login, *reads)
    assert row.sentence == f"{REFUSED}. Held up by it: contacts."
    assert row.step == "odoo_opt_outs, odoo_orders, odoo_partners"


@pytest.mark.parametrize(
    "other",
    [
        report("wholesale"),
        report("retail", code="tag", sentence="The tag VIP of retail is not there."),
        report("retail", part="store", sentence="The store retail is not there at all."),
        report("all", part="check", sentence="The audience retail cannot take its fields. And it is closed."),
    ],
)
def test_two_faults_are_two_rows(other: Report):
    assert len(rows(report("retail"), other)) == 2


def test_of_two_things_that_wait_none_is_reported_within_the_other():
    old = report("retail", kind=WAITS, code="old_opt_outs", sentence="2 people opted out long ago.")
    plan = report("plan", kind=WAITS, part="step", sentence="2 people opted out long ago. And a plan waits.")
    assert {row.place for row in rows(old, plan)} == {"retail", "plan"}


def test_short_words_are_no_cause():
    assert len(rows(report("a", sentence="It failed."), report("b", sentence="It failed. Twice."))) == 2


def test_what_an_earlier_run_said_of_a_cause_gives_way_to_this_run():
    (row,) = rows(
        report(run_id=EARLIER, since=BEFORE, seen_at=BEFORE, sentence="what it was, in very many more words"),
        report(sentence="what it is now", kind=WAITS, step="mailchimp_members"),
    )
    assert (row.sentence, row.kind, row.since, row.of_this_run) == ("what it is now", WAITS, BEFORE, True)


def test_steps_that_fail_for_one_reason_name_together_what_they_hold_up():
    found = found_in_run(
        "acme",
        events(
            failed("odoo_partners"),
            failed("odoo_refunds"),
            failed("order_push", "Disk full."),
            not_made={
                "odoo_partners": set(),
                "odoo_refunds": set(),
                "odoo_orders": {"odoo_refunds"},
                "contacts": {"odoo_partners", "odoo_orders", "odoo_refunds"},
                "order_push": set(),
                "revenue_reconciliation": {"order_push"},
            },
        ),
        reported=(),
    )
    assert found["odoo_partners"][0].sentence == f"{REFUSED}. Held up by it: contacts, odoo_orders."
    assert found["odoo_refunds"][0].sentence == found["odoo_partners"][0].sentence
    assert found["order_push"][0].sentence == "Disk full. Held up by it: revenue_reconciliation."
    assert found["contacts"] == [], "it ran, and nothing is open of it"


def test_a_step_may_name_its_cause_and_what_to_do():
    named = failed(
        "mailchimp_members", "No audience can be read.", part="mailchimp", place="main", code="not_reached",
        what_to_do="Check the key.",
    )  # fmt: skip
    (finding,) = found_in_run("acme", events(named), ())["mailchimp_members"]
    assert (finding.part, finding.place, finding.code) == ("mailchimp", "main", "not_reached")
    assert finding.what_to_do == "Check the key."
    (unnamed,) = found_in_run("acme", events(failed("contacts")), ())["contacts"]
    assert unnamed.what_to_do == "The next run tries again. If it fails again: mc-pipeline doctor acme."


def test_a_blocking_check_is_reported_in_its_own_words_and_not_as_a_step_that_failed():
    blocked = FailedStep(step="audience_plan_checks", sentence="1 blocking asset check failed")
    (finding,) = found_in_run("acme", events(blocked, checks=(check(),)), ())["audience_plan_checks"]
    assert finding == Finding(
        kind=BROKEN,
        part="check",
        place="audience_plan/no_leaks",
        code="failed",
        sentence="3 rows would harm somebody.",
        what_to_do="Report it.",
        owner="data engineering",
    )


@pytest.mark.parametrize(
    ("waits", "reported", "kinds"),
    [
        (False, set(), [BROKEN]),
        (True, set(), [WAITS]),
        (False, {("audience_plan", BROKEN)}, []),
        (True, {("audience_plan", WAITS)}, []),
        (False, {("audience_plan", WAITS), ("contacts", BROKEN)}, [BROKEN]),
    ],
)
def test_a_check_counts_where_its_asset_reported_nothing_of_the_kind(
    waits: bool, reported: set[tuple[str, str]], kinds: list[str]
):
    found = found_in_run("acme", events(checks=(check(waits=waits),)), reported)
    assert [finding.kind for finding in found["audience_plan_checks"]] == kinds


@pytest.mark.parametrize(
    ("kinds", "state", "line"),
    [
        ([], OK, "acme: everything is done, 19:57"),
        ([NOT_LOOKED_AT], OK, "acme: everything else is done, 1 was not checked, 19:57"),
        ([WAITS], WAITS, "acme: 1 thing waits for you, 19:57"),
        ([WAITS, WAITS], WAITS, "acme: 2 things wait for you, 19:57"),
        ([BROKEN], BROKEN, "acme: 1 thing is broken, 19:57"),
        ([WAITS, BROKEN, WAITS], BROKEN, "acme: 1 thing is broken, 2 wait for you, 19:57"),
        (
            [BROKEN, BROKEN, WAITS, NOT_LOOKED_AT, NOT_LOOKED_AT],
            BROKEN,
            "acme: 2 things are broken, 1 waits for you, 2 were not checked, 19:57",
        ),
    ],
)
def test_a_company_stands_as_the_worst_of_what_is_open(kinds: list[str], state: str, line: str):
    found = rows(*(report(f"place-{number}", kind=kind) for number, kind in enumerate(kinds)))
    assert state_of(found) == state
    assert first_line("acme", found, "19:57") == line


@pytest.mark.parametrize(
    ("states", "worst"),
    [([], OK), ([OK, "never_run"], OK), ([OK, WAITS], WAITS), ([WAITS, BROKEN, OK], BROKEN)],
)
def test_several_companies_stand_as_the_worst_of_them(states: list[str], worst: str):
    assert worst_of(states) == worst


def test_a_run_is_red_for_what_it_found_broken_itself_and_for_nothing_else():
    found = rows(
        report("a"), report("b", kind=WAITS), report("c", kind=NOT_LOOKED_AT), report("d", run_id=EARLIER)
    )
    assert failure_sentences(found) == [
        "The audience a cannot take its fields. Correct the field in Mailchimp."
    ]


def test_a_plan_that_another_step_reports_is_not_reported_again():
    waiting = {
        plan: Finding(
            kind=WAITS, part="plan", place=plan, code="approval", sentence="", what_to_do="", owner=""
        )
        for plan in ("0123456789ab", "ba9876543210")
    }
    plan_waits = report(kind=WAITS, sentence="12 people wait: mc-pipeline approve 0123456789ab")
    broken = report(kind=BROKEN, sentence="ba9876543210 cannot be read")
    assert [each.place for each in not_yet_reported(waiting, [plan_waits, broken])] == ["ba9876543210"]


def test_what_waits_of_a_plan_is_reported_by_its_push_when_that_runs():
    waits, leaks = check("within_guards", waits=True), check()
    found = found_in_run("acme", events(checks=(waits,)), {("audience_push", WAITS)})
    assert found["audience_plan_checks"] == []
    found = found_in_run("acme", events(checks=(waits,)), set())
    assert len(found["audience_plan_checks"]) == 1
    found = found_in_run("acme", events(checks=(leaks,)), {("audience_push", BROKEN)})
    assert len(found["audience_plan_checks"]) == 1, "a leak is reported by nobody else"


def test_a_store_that_two_steps_did_not_look_at_is_one_row():
    steps = (("order_push", "not_written"), ("revenue_reconciliation", "not_compared"))
    found = rows(
        *(report("shop", kind=NOT_LOOKED_AT, part="store", code=code, step=step) for step, code in steps),
        report("shop", kind=WAITS, part="store", code="orders_lowered"),
    )
    assert [(row.kind, row.step) for row in found] == [
        (WAITS, "audience_push"),
        (NOT_LOOKED_AT, "order_push, revenue_reconciliation"),
    ]


def test_a_step_that_fails_beside_what_waits_is_reported_too():
    broke = failed("audience_plan_checks", "the ledger is locked")
    found = found_in_run("acme", events(broke, checks=(check("within_guards", waits=True),)), set())
    assert sorted(each.kind for each in found["audience_plan_checks"]) == [BROKEN, WAITS]
