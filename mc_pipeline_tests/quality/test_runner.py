"""Great Expectations finds the offenders by id, and says so when it could not look."""

import dataclasses

import pandas as pd
import pytest

from mc_pipeline.quality.runner import run_expectations
from mc_pipeline.quality.suites import ODOO_PARTNERS

NOBODY_SPECIAL = {
    "active": True,
    "type": "contact",
    "parent_id": None,
    "is_internal_user": False,
    "is_employee": False,
    "is_own_company": False,
    "is_public_or_template_user": False,
    "email": "someone@example.com",
    "email_normalized": "someone@example.com",
}


def partners(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([NOBODY_SPECIAL | {"partner_id": number} | row for number, row in enumerate(rows, 1)])


def offenders(rows: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    return {result.expectation.name: result.offenders for result in run_expectations(rows, ODOO_PARTNERS)}


def test_missing_invalid_and_shared_addresses_are_found_by_partner_id():
    found = offenders(
        partners(
            {"email": "a@example.com", "email_normalized": "a@example.com"},
            {"email": None, "email_normalized": None},
            {"email": "  ", "email_normalized": None},
            {"email": "not-an-email", "email_normalized": None},
            {"email": "A@Example.com", "email_normalized": "a@example.com"},
            {"email": "b@example..com", "email_normalized": "b@example..com"},
            {"email": "zoë@exämple.org", "email_normalized": "zoë@exämple.org"},
        )
    )
    assert found == {"emails_present": (2, 3), "emails_valid": (4, 6), "emails_unique": (1, 5)}


@pytest.mark.parametrize(
    "exclusion",
    [
        {"active": False},
        {"type": "delivery"},
        {"type": "invoice"},
        {"type": "other"},
        {"is_internal_user": True},
        {"is_employee": True},
        {"is_own_company": True},
        {"is_public_or_template_user": True},
    ],
    ids=lambda exclusion: next(iter(exclusion)),
)
def test_records_that_are_nobody_to_write_to_are_not_reported(exclusion):
    missing = {"email": None, "email_normalized": None}
    assert offenders(partners(missing | exclusion, missing))["emails_present"] == (2,)


def test_everything_below_an_own_company_is_its_own_too():
    missing = {"email": None, "email_normalized": None}
    rows = partners(
        missing | {"is_own_company": True}, missing | {"parent_id": 1}, missing | {"parent_id": 2}
    )
    assert offenders(rows)["emails_present"] == ()


def test_a_table_without_a_single_person_passes():
    results = run_expectations(partners({"active": False}), ODOO_PARTNERS)
    assert [(result.passed, result.checked) for result in results] == [(True, 0)] * 3


def test_a_question_that_cannot_be_asked_is_no_pass_and_names_the_column():
    results = run_expectations(partners({}).drop(columns="email"), ODOO_PARTNERS)
    assert not any(result.passed for result in results)
    assert all("'email'" in result.could_not_run for result in results)


def test_a_failing_library_is_reported_as_such_and_not_as_bad_rows():
    broken = dataclasses.replace(ODOO_PARTNERS[0], parameters={"mostly": 7})
    wrong_column = dataclasses.replace(
        ODOO_PARTNERS[2], expectation="expect_column_values_to_be_between", parameters={"min_value": 3}
    )
    results = run_expectations(partners({}), [broken, wrong_column])
    assert [result.passed for result in results] == [False, False]
    assert all(result.could_not_run and not result.offenders for result in results)
