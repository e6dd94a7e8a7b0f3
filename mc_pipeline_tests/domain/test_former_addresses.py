"""Whether an opt-out of an address still stands (rule 6.3)."""

from datetime import UTC, datetime

import pytest

from mc_pipeline.domain.former_addresses import standing_opt_out
from mc_pipeline.ledger import ConsentEvent


@pytest.mark.parametrize(
    ("events", "stands"),
    [
        ([], False),
        ([("subscribe", "person")], False),
        ([("opt_out", "person")], True),
        ([("opt_out", "ours")], True),
        ([("complaint", "person")], True),
        ([("opt_out", "person"), ("archive", "admin")], True),
        ([("opt_out", "person"), ("subscribe", "person")], False),
        ([("opt_out", "person"), ("subscribe", "unknown")], True),
        ([("opt_out", "person"), ("subscribe", "admin")], True),
        ([("subscribe", "person"), ("opt_out", "unknown")], True),
        ([("opt_out", "person"), ("subscribe", "person"), ("opt_out", "admin")], True),
    ],
)
def test_an_opt_out_stands_until_the_person_comes_back(events: list[tuple[str, str]], stands: bool):
    told = [
        ConsentEvent(
            company="acme",
            audience="retail",
            list_id="list1",
            email="ann@example.com",
            event=event,
            origin=origin,  # type: ignore[arg-type]
            occurred_at=datetime(2026, 3, 2, hour, tzinfo=UTC),
            seen_at=datetime(2026, 3, 3, tzinfo=UTC),
        )
        for hour, (event, origin) in enumerate(events)
    ]
    assert (standing_opt_out(reversed(told)) is not None) == stands
