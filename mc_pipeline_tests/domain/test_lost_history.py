"""After a loss, only consent that is newer than it counts."""

import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from mc_pipeline.domain.consent.lost_history import without_evidence_of_before

LOST = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("item", "is_kept"),
    [
        ({"consented_at": "2026-05-04T12:00:01+00:00"}, True),
        ({"consented_at": "2026-05-04T12:00:01"}, True),
        ({"consented_at": "2026-05-04T12:00:00+00:00"}, False),
        ({"consented_at": "2025-01-01T00:00:00"}, False),
        ({"consented_at": None}, False),
        ({}, False),
        ({"consented_at": "2025-01-01T00:00:00", "opted_out": True}, True),
    ],
)
def test_what_is_older_or_undated_counts_no_more_and_opt_outs_do(
    item: dict[str, object], is_kept: bool
) -> None:
    partners = pd.DataFrame({"partner_id": [1], "evidence_json": [json.dumps([item])]})
    (left,) = without_evidence_of_before(partners, LOST)["evidence_json"]
    assert json.loads(left) == ([item] if is_kept else [])


def test_where_nothing_was_lost_nothing_changes() -> None:
    partners = pd.DataFrame({"partner_id": [1, 2], "evidence_json": ["[]", None]})
    assert without_evidence_of_before(partners, None) is partners
    pd.testing.assert_frame_equal(without_evidence_of_before(partners, LOST), partners)
