"""What waits for a release, or is not in Odoo yet, is never counted as carried."""

import pandas as pd
import pytest

from mc_pipeline.domain.consent.old_opt_outs import people_that_wait, what_waits
from mc_pipeline.domain.consent.usual_numbers import carried_numbers
from mc_pipeline.ledger.old_opt_outs import OldOptOutsRecord
from mc_pipeline_tests.domain.audience_model import NOW


@pytest.mark.parametrize(
    ("action", "outcome", "counts"),
    [
        ("opt_out", "applied", (1, 0, 0)),
        ("opt_out", "unchanged", (1, 0, 0)),
        ("lift", "applied", (1, 0, 0)),
        ("opt_out", "held_back", (0, 1, 0)),
        ("opt_out", "deferred", (0, 0, 1)),
        ("opt_out", "rejected", (0, 0, 1)),
        ("lift", "unknown", (0, 0, 1)),
        ("none", "unchanged", (0, 0, 0)),
    ],
)
def test_each_person_counts_once_by_what_came_of_it(action, outcome, counts):
    numbers = carried_numbers(pd.DataFrame({"action": [action], "outcome": [outcome]}))
    assert (numbers.carried, numbers.waiting, numbers.missing) == counts


def test_the_sentence_says_what_waits_and_what_is_missing():
    outcomes = ["held_back"] * 26 + ["applied"] * 4 + ["deferred"]
    rows = pd.DataFrame({"action": "opt_out", "outcome": outcomes})
    assert carried_numbers(rows).said == "4 applied to Odoo, 26 wait for approval, 1 not in Odoo yet"
    assert carried_numbers(rows[:26]).said == "0 applied to Odoo, 26 wait for approval"
    assert carried_numbers(rows[:0]).said == "0 applied to Odoo"


def _record(people: int) -> OldOptOutsRecord:
    return OldOptOutsRecord(
        plan_id="opt-outs-retail1",
        list_id="retail1",
        company="acme",
        audience="retail",
        first_read_at=NOW,
        people=people,
        released_at=None,
    )


def test_old_opt_outs_are_named_with_the_id_that_releases_them():
    assert what_waits(_record(26)) == (
        "26 people who opted out of retail before it was first read wait for approval and are not opted "
        "out in Odoo (mc-pipeline approve opt-outs-retail1)."
    )
    assert what_waits(_record(1)).startswith(
        "1 person who opted out of retail before it was first read waits"
    )
    assert people_that_wait([_record(26), _record(4)]) == 30
