"""Members whose partner is gone from the company, and what that means for them (rule 6.1)."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.contacts.gone_partners import (
    list_customers_elsewhere,
    list_gone_partners,
    members_without_partner,
)
from mc_pipeline.tables import schemas
from mc_pipeline_tests.domain.odoo_rows import partner, partners_table

PARTNERS = partners_table([partner(1, "one@example.com"), partner(2, "two@example.com")])


def records(*rows: dict[str, Any]) -> pd.DataFrame:
    usual = {"list_id": "list1", "last_status": "transactional", "vanished": False, "absent_reads": 0}
    return pd.DataFrame([{**usual, **row} for row in rows]).astype({"partner_id": "Int64"})


def fate(what: str, **values: Any) -> Any:
    usual = {"merged_into": None, "company": "", "survivor_known": True, "told_apart": True}
    return SimpleNamespace(**{"fate": what, **usual, **values})


@pytest.mark.parametrize(
    ("record", "is_gone"),
    [
        ({"email": "gone@example.com", "partner_id": 7}, True),
        ({"email": "gone@example.com", "partner_id": 7, "last_status": "unsubscribed"}, True),
        ({"email": "gone@example.com", "partner_id": 7, "last_status": "archived"}, False),
        ({"email": "gone@example.com", "partner_id": 7, "last_status": None}, False),
        ({"email": "gone@example.com", "partner_id": 7, "vanished": True}, False),
        ({"email": "gone@example.com", "partner_id": 7, "absent_reads": 1}, False),
        ({"email": "gone@example.com", "partner_id": None}, False),
        ({"email": "gone@example.com", "partner_id": 8}, False),
        ({"email": "two@example.com", "partner_id": 7}, False),
        ({"email": "old@example.com", "partner_id": 1}, False),
    ],
    ids=[
        "gone", "gone, unsubscribed", "archived", "never there", "vanished",
        "absent", "without a partner", "erased",
        "another partner has the address", "the partner has another address",
    ],
)  # fmt: skip
def test_6_1_gone_is_a_partner_that_is_not_there_with_an_address_that_nobody_has(
    record: dict[str, Any], is_gone: bool
) -> None:
    assert len(members_without_partner(records(record), PARTNERS, [8])) == is_gone


@pytest.mark.parametrize(
    ("became", "reason", "detail"),
    [
        (fate("deleted"), "deleted_in_odoo", "was deleted in Odoo"),
        (fate("deleted", survivor_known=False), "deleted_in_odoo", "was deleted in Odoo, or merged"),
        (fate("hidden", told_apart=False), "hidden_in_odoo", "is not shown to the Odoo user"),
        (fate("merged", merged_into=2), "merged_in_odoo", "was merged into partner 2 in Odoo"),
        (fate("moved", company="Lumen"), "moved_to_other_company", "belongs to company Lumen now"),
        (fate("hidden"), "hidden_in_odoo", "is hidden from the Odoo user by a record rule"),
        (fate("here"), None, ""),
        (None, None, ""),
    ],
)
def test_6_1_the_list_says_what_became_of_the_partner(became: Any, reason: str | None, detail: str) -> None:
    members = members_without_partner(records({"email": "gone@example.com", "partner_id": 7}), PARTNERS)
    listed = list_gone_partners(members, {7: became} if became else {}, {"list1": "retail"})
    stored = schemas.SET_ASIDE.to_pandas(schemas.SET_ASIDE.to_arrow(listed))
    assert list(stored["reason"]) == ([reason] if reason else [])
    if reason:
        (row,) = stored.to_dict("records")
        assert (row["partner_id"], row["person_email"], row["audience"]) == (7, "gone@example.com", "retail")
        assert detail in row["detail"]


def test_2_2_customers_of_another_company_are_listed_once_without_an_address() -> None:
    listed = list_customers_elsewhere({7: "Lumen", 8: "Lumen"}, listed={7})
    stored = schemas.SET_ASIDE.to_pandas(schemas.SET_ASIDE.to_arrow(listed))
    (row,) = stored.to_dict("records")
    assert (row["partner_id"], row["reason"]) == (8, "other_company")
    assert "belongs to company Lumen" in row["detail"]
    assert pd.isna(row["person_email"])
