"""Who opted out under a former address has opted out under the present one (rule 6.3)."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from mc_pipeline.domain.former_addresses import addresses_inheriting_opt_outs, standing_opt_out
from mc_pipeline.ledger import ConsentEvent


def inheriting(known: dict[str, int], present: dict[int, str | None], opted_out: set[str]) -> set[str]:
    records = pd.DataFrame(
        {"email": list(known), "partner_id": pd.array(list(known.values()), dtype="Int64")}
    )
    partners = pd.DataFrame({"partner_id": list(present), "email_normalized": list(present.values())})
    return set(addresses_inheriting_opt_outs(records, partners, opted_out))


def test_an_opt_out_follows_its_person_to_the_new_address():
    assert inheriting({"old@x.com": 1}, {1: "new@x.com"}, {"old@x.com"}) == {"new@x.com"}


def test_an_address_that_stayed_the_same_inherits_nothing():
    assert inheriting({"old@x.com": 1}, {1: "old@x.com"}, {"old@x.com"}) == set()


def test_a_person_without_an_address_or_without_a_partner_inherits_nothing():
    assert inheriting({"old@x.com": 1, "other@x.com": 2}, {1: None}, {"old@x.com", "other@x.com"}) == set()


def test_who_takes_over_an_address_that_inherits_is_known_in_the_same_run():
    """Else the opt-outs would go on by one address with every further run."""
    passed_round = inheriting(
        {"a@x.com": 1, "b@x.com": 2, "c@x.com": 3}, {1: "b@x.com", 2: "c@x.com", 3: "d@x.com"}, {"a@x.com"}
    )
    assert passed_round == {"b@x.com", "c@x.com", "d@x.com"}


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
