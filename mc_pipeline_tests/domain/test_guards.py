"""Rules 7.1 to 7.3: a mistake in Odoo or in settings must not reach thousands of people unseen."""

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.plan.guards import creates_need_new_observation, evaluate_guards, push_refusal
from mc_pipeline.domain.plan.rows import NOT_QUALIFYING_TAG, assemble
from mc_pipeline.settings.models import GuardSettings
from mc_pipeline_tests.domain.audience_model import NOW, RETAIL, WHOLESALE

GUARDS = GuardSettings.model_validate(
    {
        "created": {"percent": 10, "at_least": 3},
        "archived": {"percent": 2, "at_least": 2},
        "moved": {"percent": 2, "at_least": 2},
        "email_changes": {"percent": 2, "at_least": 2},
        "tags_removed": {"percent": 10, "at_least": 2},
        "upgrades": {"percent": 10, "at_least": 2},
        "permissions": {"percent": 5, "at_least": 2},
    }
)
SIZES = {"retail": 100, "wholesale": 0}
OPENED = frozenset({RETAIL, WHOLESALE})
LIST_OF = {"retail": RETAIL, "wholesale": WHOLESALE}


def rows(
    operation: str, count: int, audience: str = "retail", cause: str = "fields_differ", **more
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "operation": operation,
            "audience": audience,
            "list_id": LIST_OF[audience],
            "email": [f"p{number}@example.com" for number in range(count)],
            "partner_id": 1,
            "cause": cause,
            "because": "a test",
            **more,
        }
    )


def plan(*parts: pd.DataFrame) -> pd.DataFrame:
    return assemble("acme", parts)


def exceeded(rows_of_plan: pd.DataFrame, sizes=SIZES, **more) -> set[tuple[str, str]]:
    report = evaluate_guards(rows_of_plan, sizes, GUARDS, opened_audiences=OPENED, **more)
    assert report.needs_approval is any(guard.exceeded for guard in report.guards)
    return {(guard.name, guard.audience) for guard in report.guards if guard.exceeded}


@pytest.mark.parametrize(
    ("name", "part", "limit"),
    [
        ("created", lambda count: rows("create", count, status="transactional", cause="new_contact"), 10),
        ("archived", lambda count: rows("archive", count, cause="stopped_qualifying"), 2),
        ("moved", lambda count: rows("tag", count, cause="moved", tag=NOT_QUALIFYING_TAG), 2),
        ("email_changes", lambda count: rows("change_email", count, new_email="n@example.com"), 2),
        ("tags_removed", lambda count: rows("untag", count, cause="tag_rule", tag="VIP"), 10),
        ("upgrades", lambda count: rows("upgrade", count, cause="consent_given", status="subscribed"), 10),
        ("permissions", lambda count: rows("permit", count, cause="permission_given"), 5),
    ],
)
def test_each_guard_lets_its_limit_pass_and_stops_one_more(name, part, limit):
    assert exceeded(plan(part(limit))) == set()
    assert (name, "") in exceeded(plan(part(limit + 1)))


def test_updates_and_new_tags_have_no_guard():
    many = plan(rows("update", 500), rows("tag", 500, tag="VIP", cause="tag_rule"))
    assert exceeded(many) == set()


def test_a_small_audience_emptied_beside_a_large_one_is_noticed():
    removed = plan(rows("archive", 30, cause="stopped_qualifying"))
    sizes = {"retail": 40, "wholesale": 100_000}
    assert exceeded(removed, sizes) == {("archived", "retail")}


def test_people_are_counted_not_rows():
    two_tags = plan(rows("untag", 10, tag="VIP"), rows("untag", 10, tag="B2B"))
    assert exceeded(two_tags) == set()


def test_a_move_counts_once_though_it_creates_and_archives():
    moved = plan(
        rows("archive", 2, "wholesale", cause="moved"),
        rows("create", 2, cause="moved", status="transactional"),
    )
    report = evaluate_guards(moved, SIZES, GUARDS, opened_audiences=OPENED)
    assert {guard.name: guard.count for guard in report.guards if not guard.audience}["moved"] == 2


def test_taking_our_own_mark_away_is_no_loss():
    assert exceeded(plan(rows("untag", 50, tag=NOT_QUALIFYING_TAG, cause="qualifies_again"))) == set()


def test_rows_that_are_held_back_do_not_count():
    assert exceeded(plan(rows("archive", 50, held_back_because="Odoo was not read completely"))) == set()


def test_an_approval_releases_its_rows_and_only_those():
    approved = plan(rows("archive", 10))
    keys = frozenset(approved["row_key"])
    assert exceeded(approved, approved_row_keys=keys) == set()
    assert exceeded(plan(rows("archive", 12)), approved_row_keys=keys) == set()
    assert exceeded(plan(rows("archive", 13)), approved_row_keys=keys) == {
        ("archived", ""),
        ("archived", "retail"),
    }


def test_the_first_push_to_an_audience_always_needs_approval():
    """Rule 7.3: whoever pushes for the first time sees how many people would be written to."""
    one = plan(rows("create", 1, status="transactional"))
    report = evaluate_guards(one, SIZES, GUARDS, opened_audiences=frozenset({WHOLESALE}))
    assert report.first_load_audiences == ("retail",)
    assert report.needs_approval
    assert "retail: first load" in report.sentence
    keys = frozenset(one["row_key"])
    again = evaluate_guards(one, SIZES, GUARDS, approved_row_keys=keys, opened_audiences=OPENED)
    assert not again.needs_approval
    assert again.sentence == "All changes are approved."


def test_rows_approved_while_they_were_held_back_open_no_audience():
    """A person who approves a plan sees no first load in it while its rows are held back."""
    one = plan(rows("create", 1, status="transactional"))
    report = evaluate_guards(one, SIZES, GUARDS, approved_row_keys=frozenset(one["row_key"]))
    assert report.first_load_audiences == ("retail",)


def test_a_first_load_trips_no_guard_of_another_audience():
    """Neither do its members raise the limits of the others."""
    both = plan(
        rows("create", 500, "wholesale", status="transactional"),
        rows("create", 10, status="transactional"),
    )
    sizes = {"retail": 100, "wholesale": 10_000}
    opened = frozenset({RETAIL})
    report = evaluate_guards(both, sizes, GUARDS, opened_audiences=opened)
    assert (report.first_load_audiences, report.tripped) == (("wholesale",), ())
    more = plan(both, rows("create", 11, status="transactional"))
    (tripped,) = evaluate_guards(more, sizes, GUARDS, opened_audiences=opened).tripped
    assert (tripped.name, tripped.count, tripped.limit) == ("created", 11, 10)


def test_a_store_is_not_filled_before_a_person_approves_though_its_audience_is_as_it_should_be():
    report = evaluate_guards(plan(), SIZES, GUARDS, stores_to_open={"retail"})
    assert report.first_load_audiences == ("retail",)
    assert report.sentence == "Needs approval: retail: first load."


def test_a_guard_that_tripped_in_an_audience_is_not_reported_again_of_all_of_them():
    removed = plan(rows("archive", 9), rows("create", 30, status="transactional", cause="new_contact"))
    report = evaluate_guards(removed, SIZES, GUARDS, opened_audiences=OPENED)
    assert [(guard.name, guard.audience) for guard in report.tripped] == [
        ("created", ""),
        ("archived", "retail"),
    ]


def test_an_empty_plan_needs_nobody():
    report = evaluate_guards(plan(), SIZES, GUARDS)
    assert not report.needs_approval
    assert report.sentence == "Nothing to change."


def test_the_sentence_says_how_much_is_too_much():
    report = evaluate_guards(plan(rows("archive", 9)), SIZES, GUARDS, opened_audiences=OPENED)
    assert (
        "9 members would be archived (of 100 in all audiences), more than the limit of 2" in report.sentence
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_approving_everything_always_releases_the_plan(creations, archives, untags):
    everything = plan(
        rows("create", creations, status="transactional"),
        rows("archive", archives, "wholesale"),
        rows("untag", untags, tag="VIP"),
    )
    keys = frozenset(everything["row_key"])
    report = evaluate_guards(everything, SIZES, GUARDS, approved_row_keys=keys, opened_audiences=OPENED)
    assert not report.needs_approval


@pytest.mark.parametrize(
    ("age", "newest", "applied", "refusal"),
    [
        (timedelta(hours=2), None, False, None),
        (timedelta(0), timedelta(0), False, None),
        (timedelta(hours=2, seconds=1), None, False, "2.0 hours old"),
        (timedelta(hours=1), timedelta(minutes=1), False, "observed again"),
        (timedelta(0), None, True, "applied already"),
    ],
)
def test_a_push_refuses_whatever_is_old_overtaken_or_applied(age, newest, applied, refusal):
    """Rule 7.1: clicking the push alone is safe."""
    newest_at = None if newest is None else NOW - newest
    said = push_refusal("abc123", NOW - age, NOW, newest_at, applied)
    assert said is None if refusal is None else refusal in said


def test_a_push_refuses_a_plan_that_would_harm_somebody():
    said = push_refusal("abc123", NOW, NOW, None, False, leaking=2)
    assert said is not None
    assert "abc123 has 2 rows that would harm somebody" in said


@pytest.mark.parametrize(("minutes", "needed"), [(0, False), (10, False), (11, True)])
def test_nobody_is_subscribed_on_an_observation_older_than_ten_minutes(minutes, needed):
    assert creates_need_new_observation(NOW - timedelta(minutes=minutes), NOW) is needed
