"""Changes of address in Mailchimp beside Odoo's addresses (rule 6.6)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from mc_pipeline.domain.consent.changed_addresses import compare_with_odoo, concerns, list_changes
from mc_pipeline.domain.consent.held_addresses import Held, HeldAddresses

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
OLD, NEW, OTHER = "old@example.com", "new@example.com", "other@example.com"


@dataclass(frozen=True)
class Change:
    id: int = 1
    list_id: str = "retail1"
    former: str = OLD
    email: str = NEW
    partner_id: int | None = 7
    changed_at: datetime = AT


@dataclass(frozen=True)
class Done:
    action: str = "opt_out"
    list_id: str = "retail1"
    occurred_at: datetime = AT + timedelta(hours=1)
    made_by_us: bool = True


def partners(addresses: dict[int, str | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "partner_id": pd.Series(list(addresses), dtype="int64"),
            "email_normalized": pd.Series(list(addresses.values()), dtype="object"),
        }
    )


@pytest.mark.parametrize(
    ("partner_id", "in_odoo", "over"),
    [
        (7, {7: OLD}, False),
        (7, {7: NEW}, True),
        (7, {7: NEW, 8: OLD}, True),
        (7, {7: OTHER}, True),
        (7, {7: None}, False),
        (7, {8: OLD}, False),
        (7, {}, False),
        (None, {7: OLD}, False),
        (None, {7: NEW}, True),
        (None, {7: OTHER}, False),
    ],
    ids=[
        "not corrected",
        "corrected",
        "corrected, and somebody else has the former one",
        "another address",
        "the address was deleted",
        "merged into another partner",
        "partner gone",
        "nobody was known, somebody has the former one",
        "nobody was known, somebody has the new one",
        "nobody has either",
    ],
)
def test_a_change_is_over_when_odoo_has_another_address_for_its_partner(partner_id, in_odoo, over):
    found = compare_with_odoo([Change(partner_id=partner_id)], partners(in_odoo))
    assert found.over == ([1] if over else [])


BEFORE, AFTER = AT - timedelta(days=1), AT + timedelta(days=1)


@pytest.mark.parametrize(
    ("in_odoo", "held", "over", "partner_of"),
    [
        ({7: OLD, 8: OLD}, [Held(8, OLD, BEFORE)], [], {}),
        ({7: NEW, 8: OLD}, [Held(8, OLD, BEFORE)], [], {1: 8}),
        ({7: NEW, 8: OLD, 9: OLD}, [Held(8, OLD, BEFORE), Held(9, OLD, AFTER)], [], {1: 8}),
        ({7: NEW, 8: NEW}, [Held(8, OLD, BEFORE, AFTER)], [1], {}),
        ({7: NEW, 8: OLD}, [Held(8, OLD, AFTER)], [1], {}),
        ({7: NEW, 8: OLD}, [Held(8, OLD, BEFORE, BEFORE)], [1], {}),
        ({7: None, 8: OLD}, [Held(8, OLD, BEFORE)], [], {1: 8}),
        ({8: OLD}, [Held(7, OLD, BEFORE, AFTER), Held(8, OLD, AFTER)], [], {1: 8}),
    ],
    ids=[
        "neither was corrected",
        "one of two was corrected",
        "one of two, and somebody took the address up",
        "both were corrected",
        "somebody took the address up",
        "had it long before, and has it again",
        "one of two has no address any more",
        "merged into another partner",
    ],
)
def test_a_change_is_over_when_all_who_had_the_address_have_another(in_odoo, held, over, partner_of):
    known = HeldAddresses([Held(7, OLD, BEFORE), *held], {} if 7 in in_odoo else {7: 8})
    found = compare_with_odoo([Change(partner_id=7)], partners(in_odoo), known)
    assert (found.over, found.partner_of) == (over, partner_of)


def test_whose_it_is_is_learned_from_who_has_the_former_address():
    assert compare_with_odoo([Change(partner_id=None)], partners({9: OLD, 8: OLD})).partner_of == {1: 8}
    assert compare_with_odoo([Change(partner_id=7)], partners({9: OLD, 8: OLD})).partner_of == {}


@pytest.mark.parametrize(
    ("in_odoo", "listed"),
    [({7: OLD}, [7]), ({7: OLD, 8: OLD}, [7, 8]), ({8: OLD}, []), ({7: None}, [])],
)
def test_every_partner_with_the_former_address_is_listed_if_its_owner_is_among_them(in_odoo, listed):
    rows = list_changes([Change()], partners(in_odoo), {"retail1": "retail"})
    assert rows["partner_id"].tolist() == listed
    assert all(f"to {NEW} (audience retail, 2026-05-04)" in detail for detail in rows["detail"])
    assert not any("@" in fix for fix in rows["fix"])


def test_a_change_in_an_audience_of_somebody_elses_is_not_listed():
    assert list_changes([Change()], partners({7: OLD}), {"wholesale1": "wholesale"}).empty


@pytest.mark.parametrize(
    ("done", "own", "is_theirs"),
    [
        (None, [], True),
        (Done(made_by_us=False), [], True),
        (Done(action="lift"), [], True),
        (Done(list_id="wholesale1"), [], True),
        (Done(occurred_at=AT - timedelta(hours=1)), [], True),
        (Done(), [], False),
        (Done(), [AT + timedelta(hours=1)], True),
    ],
    ids=[
        "a human's row",
        "a human's row again",
        "lifted",
        "from another audience",
        "from before the change",
        "from whoever took the former address",
        "from the present address",
    ],
)
def test_an_opt_out_of_the_former_address_is_theirs_unless_another_member_made_it(done, own, is_theirs):
    assert concerns(Change(), done, own) is is_theirs
