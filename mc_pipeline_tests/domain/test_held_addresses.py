"""Opt-outs follow the person through changes of address in Odoo, and nobody else (rule 6.3)."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.consent.held_addresses import (
    Held,
    HeldAddresses,
    addresses_inheriting_opt_outs,
    as_of_now,
    present_addresses,
)

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return BEGIN + timedelta(days=number)


TENTH_DAY = day(10)


def inheriting(
    held: Iterable[Held],
    present: dict[int, str],
    opted_out: dict[str, datetime | None],
    *,
    seen_at: datetime = TENTH_DAY,
    successors: dict[int, int | None] | None = None,
) -> set[str]:
    book = HeldAddresses(as_of_now(held, present, seen_at), successors or {})
    return addresses_inheriting_opt_outs(book, present, opted_out)


A, B, C = "a@x.com", "b@x.com", "c@x.com"


@pytest.mark.parametrize(
    ("held", "present", "opted_out", "expected"),
    [
        pytest.param([Held(1, A, day(0))], {1: B}, {A: day(1)}, {B}, id="the new address inherits"),
        pytest.param([Held(1, A, day(0))], {1: B}, {A: None}, {B}, id="an opt-out without a date too"),
        pytest.param(
            [Held(1, A, day(0))], {1: A}, {A: day(1)}, set(), id="the same address inherits nothing"
        ),
        pytest.param([Held(1, A, day(0))], {1: ""}, {A: day(1)}, set(), id="no address now"),
        pytest.param([Held(1, A, day(0))], {2: B}, {A: day(1)}, set(), id="the partner is not in the read"),
        pytest.param(
            [Held(1, A, day(0), day(2))], {1: B}, {A: day(5)}, {B}, id="blanked, opted out, a new one later"
        ),
        pytest.param(
            [Held(1, A, day(0)), Held(2, B, day(0))],
            {1: B, 2: C},
            {A: day(1)},
            {B},
            id="an address passed on in the same night is somebody else's",
        ),
        pytest.param(
            [
                Held(1, A, day(0), day(10)),
                Held(1, B, day(10)),
                Held(2, B, day(0), day(10)),
                Held(2, C, day(10)),
            ],
            {1: B, 2: C},
            {A: day(1), B: day(10.5)},
            {B},
            id="what the next owner of an address says later is not about the former one",
        ),
        pytest.param(
            [Held(2, B, day(0), day(10)), Held(1, B, day(10))],
            {1: B, 2: C},
            {B: day(4)},
            {C},
            id="what was said before the address was passed on is",
        ),
        pytest.param(
            [Held(1, A, day(0)), Held(2, A, day(0), day(3))],
            {1: A, 2: C},
            {A: day(2)},
            {C},
            id="two partners with one address are one person while they share it",
        ),
        pytest.param(
            [Held(1, A, day(0)), Held(2, A, day(0), day(3))],
            {1: A, 2: C},
            {A: day(5)},
            set(),
            id="and not after one of them left",
        ),
    ],
)
def test_6_3_an_opt_out_follows_its_person(
    held: list[Held], present: dict[int, str], opted_out: dict[str, datetime | None], expected: set[str]
) -> None:
    assert inheriting(held, present, opted_out) == expected


def test_6_3_the_one_who_takes_up_an_address_is_not_the_one_who_left_it() -> None:
    held = [Held(1, A, day(0)), Held(2, B, day(0))]
    assert inheriting(held, {1: B, 2: C}, {A: day(1)}) == {B}


def test_6_3_an_opt_out_follows_a_merged_partner_to_the_one_that_it_was_merged_into() -> None:
    held = [Held(1, A, day(0)), Held(2, B, day(0)), Held(3, C, day(0))]
    assert inheriting(held, {3: C}, {A: day(1)}, successors={1: 2, 2: 3}) == {C}
    assert inheriting(held, {3: C}, {A: day(1)}, successors={1: None}) == set()


def test_a_circle_of_merges_ends() -> None:
    book = HeldAddresses([Held(1, A, day(0))], {1: 2, 2: 1})
    assert book.person(1) in (1, 2)


def test_present_addresses_are_compared_in_lower_case() -> None:
    assert present_addresses([1, 2], ["Ann@X.com", None]) == {1: "ann@x.com", 2: ""}


_EMAILS = st.sampled_from([A, B, C, "d@x.com"])
_NIGHTS = st.lists(st.dictionaries(st.integers(1, 4), _EMAILS, min_size=1), min_size=1, max_size=6)


@given(nights=_NIGHTS, who=st.integers(1, 4), night=st.integers(0, 5))
def test_6_3_anyone_who_opted_out_is_out_under_the_last_address_whatever_others_did(
    nights: list[dict[int, str]], who: int, night: int
) -> None:
    """The opt-out of a person, at a moment when they had an address by themselves or with others."""
    held: list[Held] = []
    present: dict[int, str] = {}
    opted_out: dict[str, datetime | None] = {}
    for number, changes in enumerate(nights):
        present |= changes
        held = as_of_now(held, present, day(number))  # type: ignore[assignment,arg-type]
        if number == night % len(nights) and who in present:
            opted_out = {present[who]: day(number + 0.5)}
    found = inheriting(held, present, opted_out, seen_at=day(len(nights)))
    if opted_out:
        assert present[who] in found | opted_out.keys()
    assert found <= set(present.values())
