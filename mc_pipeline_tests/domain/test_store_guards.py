"""How much of a store may be lowered or deleted before somebody looks."""

import pytest

from mc_pipeline.domain.store.guards import PREFIX, WAITS, judge_lowered, row_key
from mc_pipeline.settings.models import GuardSettings

LIMIT = GuardSettings.model_validate({}).orders_lowered.limit


def keys(count: int, *, wanted: str = "{}") -> dict[int, str]:
    return {number: row_key("shop", f"o{number}", wanted) for number in range(count)}


@pytest.mark.parametrize(
    ("count", "held", "approved", "waiting"),
    [
        (0, 0, 0, 0),
        (20, 30, 0, 0),
        (21, 30, 0, 21),
        (100, 1_000, 0, 0),
        (101, 1_000, 0, 101),
        # What was approved counts no more, and the rest is judged by itself.
        (101, 1_000, 101, 0),
        (150, 1_000, 50, 0),
        (250, 1_000, 100, 150),
    ],
)
def test_more_than_a_tenth_and_more_than_twenty_wait(count: int, held: int, approved: int, waiting: int):
    changes = keys(count)
    released = [changes[number] for number in range(approved)]
    found = judge_lowered("shop", changes, held, LIMIT(held), lambda: released)
    assert len(found.waiting) == waiting
    assert set(found.waiting) <= set(range(approved, count))


def test_an_approval_is_of_what_was_seen():
    changes = keys(30)
    other = keys(30, wanted='{"order_total":0}')
    found = judge_lowered("shop", other, 30, 20, lambda: changes.values())
    assert len(found.waiting) == 30
    seen = judge_lowered("shop", changes, 30, 20, list)
    assert seen.plan_id != found.plan_id
    assert seen.plan_id.startswith(f"{PREFIX}shop-")
    assert seen.because.startswith(f"{WAITS} as {seen.plan_id}: 30 of the store's 30 orders")
    assert seen.plan_id == judge_lowered("shop", dict(reversed(changes.items())), 31, 20, list).plan_id
    assert row_key("shop", "o1", None) != row_key("shop", "o1", "{}")


def test_nobody_is_asked_for_approvals_where_little_is_lowered():
    def nobody() -> list[str]:
        raise AssertionError("approvals were read")

    assert judge_lowered("shop", keys(20), 30, 20, nobody).waiting == frozenset()
