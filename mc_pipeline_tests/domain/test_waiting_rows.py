"""Rule 7.6: which rows of a plan wait for a person, and that the others go on."""

from typing import NamedTuple

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.plan.guards import evaluate_guards
from mc_pipeline.domain.plan.rows import NOT_QUALIFYING_TAG
from mc_pipeline.domain.plan.waiting_rows import WAITS, why_rows_wait, with_waiting
from mc_pipeline.settings.models import GuardSettings
from mc_pipeline_tests.domain.audience_model import RETAIL, WHOLESALE
from mc_pipeline_tests.domain.test_guards import plan, rows

NAMES = ("created", "archived", "moved", "email_changes", "tags_removed", "upgrades", "permissions")
OPENED = frozenset({RETAIL, WHOLESALE})
SIZES = {"retail": 100, "wholesale": 100}


def guards(*tripped: str) -> GuardSettings:
    """Guards that let nothing pass of the kinds that are named, and everything else."""
    return GuardSettings.model_validate(
        {name: {"percent": 0 if name in tripped else 100, "at_least": 0} for name in NAMES}
    )


def waiting(
    the_plan: pd.DataFrame, *tripped: str, approved: frozenset[str] = frozenset(), opened=OPENED, sizes=SIZES
) -> pd.Series:
    report = evaluate_guards(the_plan, sizes, guards(*tripped), approved, opened)
    return why_rows_wait(the_plan, report, approved)


class Kind(NamedTuple):
    """A row of a plan, the guards that count it, and whether it waits when any other guard tripped."""

    operation: str
    cause: str
    more: dict[str, str]
    counted_by: tuple[str, ...]
    is_of_people: bool


KINDS = {
    "a new person": Kind("create", "new_contact", {"status": "transactional"}, ("created",), True),
    "somebody who consented": Kind("create", "new_contact", {"status": "subscribed"}, ("created",), True),
    "a newcomer from another audience": Kind(
        "create", "moved", {"status": "transactional"}, ("created",), True
    ),
    "somebody who left": Kind("archive", "stopped_qualifying", {}, ("archived",), True),
    "somebody who moved": Kind("archive", "moved", {}, ("archived", "moved"), True),
    "the mark of who moved": Kind("tag", "moved", {"tag": NOT_QUALIFYING_TAG}, ("moved",), True),
    "a tag of who moved": Kind("untag", "moved", {"tag": "VIP"}, ("moved", "tags_removed"), True),
    "a new address": Kind(
        "change_email", "email_changed", {"new_email": "new@example.com"}, ("email_changes",), True
    ),
    "an upgrade": Kind("upgrade", "consent_given", {"status": "subscribed"}, ("upgrades",), True),
    "a permission": Kind("permit", "permission_given", {}, ("permissions",), True),
    "fields": Kind("update", "fields_differ", {}, (), False),
    "a tag": Kind("tag", "tag_rule", {"tag": "VIP"}, (), False),
    "a tag taken away": Kind("untag", "tag_rule", {"tag": "VIP"}, ("tags_removed",), False),
    "our mark taken away": Kind("untag", "qualifies_again", {"tag": NOT_QUALIFYING_TAG}, (), False),
    "the mark of who left": Kind("tag", "stopped_qualifying", {"tag": NOT_QUALIFYING_TAG}, (), False),
    "the mark of an old address": Kind("tag", "email_changed", {"tag": NOT_QUALIFYING_TAG}, (), False),
}


def row_of(kind: Kind) -> pd.DataFrame:
    return rows(kind.operation, 1, cause=kind.cause, **kind.more)


@pytest.mark.parametrize("is_open", [True, False], ids=["approved before", "first load"])
@pytest.mark.parametrize("is_approved", [True, False], ids=["row approved", "row not approved"])
@pytest.mark.parametrize("tripped", ["none", "its own", "another"])
@pytest.mark.parametrize("name", KINDS)
def test_which_rows_wait(name: str, tripped: str, is_approved: bool, is_open: bool):
    kind = KINDS[name]
    own = {"none": (), "its own": kind.counted_by, "another": ()}[tripped]
    other = "email_changes" if "archived" in kind.counted_by else "archived"
    # Somebody of another address, who trips a guard that does not count the row itself.
    beside = (
        rows("change_email", 1, new_email="z@example.com", cause="email_changed")
        if other == "email_changes"
        else rows("archive", 1, cause="stopped_qualifying")
    ).assign(email="other@example.com", partner_id=2)
    the_plan = plan(row_of(kind), *([beside] if tripped == "another" else []))
    row = the_plan[the_plan["email"] != "other@example.com"]
    found = waiting(
        the_plan,
        *own,
        *([other] if tripped == "another" else []),
        approved=frozenset(row["row_key"]) if is_approved else frozenset(),
        opened=OPENED if is_open else frozenset({WHOLESALE}),
    )
    if not is_open:
        assert found[row.index].tolist() == ["first load of retail"]
        return
    waits = not is_approved and (
        (tripped == "its own" and bool(own)) or (tripped == "another" and kind.is_of_people)
    )
    assert bool(found[row.index].iloc[0]) is waits
    if tripped == "another":
        (why,) = found.drop(row.index)
        assert "more than the limit of 0" in why


def test_a_guard_that_tripped_in_one_audience_leaves_the_tags_of_another_and_no_people():
    the_plan = plan(
        rows("untag", 12, "wholesale", cause="tag_rule", tag="VIP"),
        rows("untag", 1, cause="tag_rule", tag="VIP"),
        rows("update", 1),
        rows("create", 1, cause="new_contact", status="transactional").assign(email="new@example.com"),
    )
    small = {"wholesale": 10, "retail": 100_000}
    limits = guards().model_copy(
        update={
            "tags_removed": GuardSettings.model_validate(
                {"tags_removed": {"percent": 10, "at_least": 0}}
            ).tags_removed
        }
    )
    report = evaluate_guards(the_plan, small, limits, opened_audiences=OPENED)
    found = why_rows_wait(the_plan, report, frozenset())
    waits = the_plan[found != ""]
    assert set(zip(waits["operation"], waits["audience"], strict=True)) == {
        ("untag", "wholesale"),
        ("create", "retail"),
    }


def test_the_first_load_of_an_audience_holds_back_no_other():
    the_plan = plan(
        rows("create", 500, "wholesale", cause="new_contact", status="transactional"),
        rows("create", 1, cause="new_contact", status="transactional").assign(
            email="new@example.com", partner_id=2
        ),
        rows("archive", 1, cause="stopped_qualifying").assign(email="old@example.com", partner_id=3),
        rows("untag", 1, cause="tag_rule", tag="VIP").assign(email="tagged@example.com", partner_id=4),
    )
    found = waiting(the_plan, opened=frozenset({RETAIL}))
    assert set(the_plan.loc[found != "", "audience"]) == {"wholesale"}
    assert set(the_plan.loc[found == "", "operation"]) == {"create", "archive", "untag"}


def test_rows_that_are_held_back_do_not_wait_as_no_approval_releases_them():
    held = plan(rows("create", 2, status="transactional", held_back_because="Odoo was not read completely"))
    assert waiting(held, "created", opened=frozenset()).tolist() == ["", ""]


OLD, NEW = "old@example.com", "new@example.com"
HANGING = {
    "a tag on its creation": (
        rows("create", 1, cause="new_contact", status="transactional"),
        rows("tag", 1, cause="tag_rule", tag="VIP"),
    ),
    "a permission on its creation": (
        rows("create", 1, cause="new_contact", status="subscribed"),
        rows("permit", 1, cause="permission_given"),
    ),
    "a permission on its upgrade": (
        rows("upgrade", 1, cause="consent_given", status="subscribed"),
        rows("permit", 1, cause="permission_given"),
    ),
    "a tag on the new address": (
        rows("change_email", 1, cause="email_changed", new_email=NEW).assign(email=OLD),
        rows("tag", 1, cause="tag_rule", tag="VIP").assign(email=NEW),
    ),
    "an address on another that frees it": (
        rows("change_email", 1, cause="email_changed", new_email=NEW).assign(email=OLD),
        rows("change_email", 1, cause="email_changed", new_email=OLD).assign(
            email="first@example.com", partner_id=2
        ),
    ),
    "the leaving on the entering": (
        rows("create", 1, "wholesale", cause="moved", status="transactional"),
        rows("archive", 1, cause="moved"),
    ),
    "the marks of the old address on the new person": (
        rows("create", 1, cause="email_changed", status="transactional").assign(email=NEW),
        rows("untag", 1, cause="email_changed", tag="VIP").assign(email=OLD),
    ),
    "the entering on the leaving": (
        rows("archive", 1, cause="moved"),
        rows("create", 1, "wholesale", cause="moved", status="transactional"),
    ),
}
NOT_HANGING = {
    "fields on an upgrade": (
        rows("upgrade", 1, cause="consent_given", status="subscribed"),
        rows("update", 1),
    ),
    "a tag in another audience": (
        rows("create", 1, cause="new_contact", status="transactional"),
        rows("tag", 1, "wholesale", cause="tag_rule", tag="B2B"),
    ),
    "another person": (
        rows("create", 1, cause="new_contact", status="transactional"),
        rows("tag", 1, cause="tag_rule", tag="VIP").assign(email=OLD),
    ),
    "who stopped qualifying on a new person of the same partner": (
        rows("create", 1, "wholesale", cause="new_contact", status="transactional"),
        rows("archive", 1, cause="stopped_qualifying").assign(email=OLD),
    ),
}


@pytest.mark.parametrize("name", [*HANGING, *NOT_HANGING])
def test_what_hangs_on_a_row_that_waits_waits_with_it_though_it_is_approved_itself(name: str):
    first, second = (HANGING | NOT_HANGING)[name]
    the_plan = plan(first, second)
    hanging = frozenset(plan(second)["row_key"])
    found = waiting(the_plan, *NAMES, approved=hanging)
    reasons = dict(zip(the_plan["row_key"].isin(hanging), found, strict=True))
    assert "more than the limit" in reasons[False]
    assert reasons[True] == (reasons[False] if name in HANGING else "")


# --- any plan -------------------------------------------------------------------------------------------

PEOPLE = tuple(f"p{number}@example.com" for number in range(3))


@st.composite
def plans(draw: st.DrawFn) -> pd.DataFrame:
    parts = []
    for kind in draw(st.lists(st.sampled_from(list(KINDS.values())), min_size=1, max_size=7)):
        number = draw(st.integers(0, 2))
        more = {"new_email": draw(st.sampled_from(PEOPLE))} if "new_email" in kind.more else {}
        parts.append(
            rows(
                kind.operation,
                1,
                draw(st.sampled_from(["retail", "wholesale"])),
                cause=kind.cause,
                held_back_because=draw(st.sampled_from(["", "", "", "not read"])),
                **{**kind.more, **more},
            ).assign(email=PEOPLE[number], partner_id=draw(st.sampled_from([number, None])))
        )
    return plan(*parts).drop_duplicates("row_key", ignore_index=True)


def hangs_on(row, other) -> bool:
    """Said once more, of one pair of rows."""
    here = row.list_id == other.list_id
    takes = row.operation in ("create", "change_email")
    same = row.email == other.email or (
        not pd.isna(row.partner_id) and not pd.isna(other.partner_id) and row.partner_id == other.partner_id
    )
    elsewhere = {row.cause, other.cause} <= {"moved", "email_changed"}
    leaves = [each.operation in ("archive", "tag", "untag") for each in (row, other)]
    return any(
        (
            here and other.operation == "create" and not takes and row.email == other.email,
            here and other.operation == "change_email" and row.email == other.new_email,
            here and other.operation == "change_email" and row.new_email == other.email,
            here
            and (other.operation, row.operation) == ("change_email", "create")
            and row.email == other.email,
            here and (other.operation, row.operation) == ("upgrade", "permit") and row.email == other.email,
            same and other.operation == "create" and leaves[0] and row.cause in ("moved", "email_changed"),
            same and row.operation == "create" and leaves[1] and elsewhere,
        )
    )


@settings(max_examples=60, deadline=None)
@given(
    plans(),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.integers(0, 6)),
    st.sets(st.sampled_from([RETAIL, WHOLESALE])),
)
def test_what_is_applied_and_what_waits_are_the_plan_and_nobody_waits_without_reason(
    the_plan, tripped, approved_rows, opened
):
    approved = frozenset(the_plan["row_key"].reindex(sorted(approved_rows)).dropna())
    report = evaluate_guards(the_plan, SIZES, guards(*tripped), approved, opened)
    found = why_rows_wait(the_plan, report, approved)

    pushed = the_plan[found == ""].assign(outcome="applied", detail="")
    outcome = with_waiting(the_plan, pushed, found, "abc123")
    assert outcome["row_key"].tolist() == the_plan["row_key"].tolist()
    assert set(outcome.loc[found != "", "outcome"]) <= {WAITS}
    assert outcome.loc[found != "", "detail"].str.startswith("plan abc123 waits for approval: ").all()

    everybody = list(the_plan.itertuples())
    sent = [row for row in everybody if not row.held_back_because]
    exceeded = {guard.name for guard in report.guards if guard.exceeded}
    waits = {
        row.Index
        for row in sent
        if row.list_id not in opened
        or (
            row.row_key not in approved
            and exceeded
            and (
                row.operation in ("create", "archive", "change_email", "upgrade", "permit")
                or row.cause == "moved"
                or (row.operation == "untag" and row.tag == "VIP" and "tags_removed" in exceeded)
            )
        )
    }
    while more := {
        row.Index
        for row in sent
        if row.Index not in waits and any(hangs_on(row, other) for other in everybody if other.Index in waits)
    }:
        waits |= more
    assert set(found.index[found != ""]) == waits
    assert report.needs_approval or not waits

    everything = frozenset(the_plan["row_key"])
    assert (waiting(the_plan, *tripped, approved=everything) == "").all()
