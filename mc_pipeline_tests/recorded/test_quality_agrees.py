"""The checks by Great Expectations and the rules name the same partners, so neither of them looks at nothing.

The checks judge the raw rows of Odoo and import none of the rules; the rules know nothing of the checks. What
one of them overlooks, the other one shows here.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pytest

from mc_pipeline.domain.contacts.contacts import build_contacts
from mc_pipeline.odoo.client import connect
from mc_pipeline.quality.runner import run_expectations
from mc_pipeline.quality.suites import ODOO_PARTNERS, TableExpectation
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed import demo_companies_yaml, seed_demo
from mc_pipeline.settings import load_settings
from mc_pipeline_tests.domain.odoo_rows import (
    Row,
    built,
    company,
    contact_inputs,
    order,
    partner,
    partners_table,
)
from mc_pipeline_tests.odoo.connection import Patience
from mc_pipeline_tests.recorded.recordings import read_company, recorded_companies, settings_named

CHECKS = ("emails_present", "emails_valid", "emails_unique")
Named = Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Judged:
    """One company: its partners, and those that the rules set aside."""

    partners: pd.DataFrame
    set_aside: pd.DataFrame

    @cached_property
    def by_checks(self) -> Named:
        return named_by_checks(self.partners)

    @property
    def by_rules(self) -> Named:
        return named_by_rules(self.set_aside)


def named_by_checks(
    partners: pd.DataFrame, expectations: Sequence[TableExpectation] = ODOO_PARTNERS
) -> Named:
    """The offenders of each check."""
    results = run_expectations(partners, expectations)
    assert not [result.could_not_run for result in results if result.could_not_run]
    return {result.expectation.name: frozenset(result.offenders) for result in results}


def named_by_rules(set_aside: pd.DataFrame) -> Named:
    """The partners that each check should find; a shared address concerns its winner too."""

    def because(reason: str) -> frozenset[int]:
        return frozenset(map(int, set_aside.loc[set_aside["reason"] == reason, "partner_id"]))

    shared = set_aside[set_aside["duplicate_of"].notna()]
    return {
        "emails_present": because("missing_email"),
        "emails_valid": because("invalid_email"),
        "emails_unique": frozenset(map(int, [*shared["partner_id"], *shared["duplicate_of"]])),
    }


def set_aside_of_recording(version: int, company_id: int, settings: str) -> pd.DataFrame:
    tables = recorded_companies(version)[company_id]
    return build_contacts(
        contact_inputs(
            tables.partners,
            tables.orders,
            settings_named(settings).companies["acme"],
            opted_out_emails=frozenset(),
        )
    ).set_aside


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Judged]:
    """The companies of the demo, with some people erased on request."""
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    world = seed_demo(odoo, mailchimp)
    file = tmp_path_factory.mktemp("demo") / "companies.yaml"
    with odoo.serve(), mailchimp.serve():
        file.write_text(demo_companies_yaml(odoo.url, mailchimp.api_url), encoding="utf-8")
        settings = load_settings(file, world.environment())
        judged = {}
        for key, rules in settings.companies.items():
            with connect(settings.odoo, [rules.odoo_company_id], retry=Patience().policy) as client:
                tables = read_company(client, rules.odoo_company_id)
            result = build_contacts(
                contact_inputs(
                    tables.partners,
                    tables.orders,
                    rules,
                    opted_out_emails=frozenset(),
                    known_tags=tables.tags,
                )
            )
            judged[key] = Judged(tables.partners, result.set_aside)
    return judged


@pytest.mark.parametrize(("version", "company_id"), [(17, 1), (17, 2), (18, 1), (18, 2), (19, 1), (19, 3)])
def test_checks_and_rules_name_the_same_partners_of_a_recording(version, company_id):
    """Whatever the settings: what is wrong with an address is no matter of theirs."""
    found = named_by_checks(recorded_companies(version)[company_id].partners)
    assert all(found[check] for check in CHECKS)
    assert found == named_by_rules(set_aside_of_recording(version, company_id, "customers"))
    assert found == named_by_rules(set_aside_of_recording(version, company_id, "contact_persons"))


@pytest.mark.parametrize("key", ["acme_uk", "acme_fr"])
def test_checks_and_rules_name_the_same_partners_of_the_demo(demo, key):
    assert demo[key].by_checks == demo[key].by_rules
    assert demo[key].by_checks["emails_present"]
    assert demo[key].by_rules["emails_present"]


def test_the_demo_has_something_to_find_for_every_check(demo):
    """Both sides name somebody, so that agreeing means something. Only one company has shared addresses."""
    for check in CHECKS:
        assert demo["acme_uk"].by_checks[check]
        assert demo["acme_uk"].by_rules[check]


@pytest.mark.parametrize("check", CHECKS)
def test_one_partner_more_or_less_on_either_side_is_a_difference(demo, check):
    judged = demo["acme_uk"]
    assert differing(judged.by_checks, judged.by_rules) == set()

    listed = _of(check, judged.set_aside)
    fewer_set_aside = named_by_rules(judged.set_aside.drop(index=judged.set_aside.index[listed][0]))
    assert differing(judged.by_checks, fewer_set_aside) == {check}

    fixed = min(judged.by_checks[check])
    fewer_found = named_by_checks(judged.partners[judged.partners["partner_id"] != fixed])
    assert differing(fewer_found, judged.by_rules) == {check}


@pytest.mark.parametrize("check", CHECKS)
def test_a_rule_or_a_check_that_is_gone_is_a_difference(demo, check):
    judged = demo["acme_uk"]
    without_the_rule = named_by_rules(judged.set_aside[~_of(check, judged.set_aside)])
    assert differing(judged.by_checks, without_the_rule) == {check}
    remaining = [expectation for expectation in ODOO_PARTNERS if expectation.name != check]
    assert len(remaining) == len(ODOO_PARTNERS) - 1
    assert differing(named_by_checks(judged.partners, remaining), judged.by_rules) == {check}


def differing(one: Named, other: Named) -> set[str]:
    """The checks on which the two do not agree; nothing named is no one."""
    return {check for check in CHECKS if one.get(check, frozenset()) != other.get(check, frozenset())}


def _of(check: str, set_aside: pd.DataFrame) -> pd.Series:
    """Mark the rows of ``set_aside`` that a check should find."""
    if check == "emails_unique":
        return set_aside["duplicate_of"].notna()
    reason = {"emails_present": "missing_email", "emails_valid": "invalid_email"}[check]
    return set_aside["reason"] == reason


# An address as typed, and what Odoo makes of it: it keeps non-ASCII capitals before the @.
TYPED = {
    None: None,
    "  ": None,
    "not-an-email": None,
    "two@@example.com": None,
    "dots@example..com": "dots@example..com",
    "a@example.com": "a@example.com",
    " A@Example.com": "a@example.com",
    "a@example.com, b@example.com": "a@example.com",
    "b@example.com": "b@example.com",
    "zoë@example.com": "zoë@example.com",
    "ZOË@example.com": "zoË@example.com",
    "a@test": "a@test",
    "ａ@shop.example": "ａ@shop.example",
    "a@shop．example": "a@shop．example",
}
OWN_COMPANY, BELOW_IT, CUSTOMER = 1, 2, 3


def every_kind_of_partner() -> list[Row]:
    """Each typed address with each type, state, role and place, after the companies that they belong to."""
    rows = [
        partner(OWN_COMPANY, is_company=True, is_own_company=True),
        partner(BELOW_IT, parent_id=OWN_COMPANY),
        partner(CUSTOMER, is_company=True),
    ]
    roles: list[Row] = [
        {},
        {"is_internal_user": True},
        {"is_employee": True},
        {"is_public_or_template_user": True},
        {"message_bounce": 9},
    ]
    kinds = itertools.product(
        TYPED.items(), ("contact", "private", "delivery"), (True, False), roles, (None, BELOW_IT, CUSTOMER)
    )
    for (typed, normalized), kind, active, role, parent in kinds:
        rows.append(
            partner(
                len(rows) + 1,
                typed,
                email_normalized=normalized,
                type=kind,
                active=active,
                parent_id=parent,
                **role,
            )
        )
    return rows


@pytest.mark.parametrize("duplicates", ["most_recent_order", "set_aside"])
def test_checks_and_rules_name_the_same_of_every_kind_of_partner(duplicates):
    rows = every_kind_of_partner()
    result = built(
        rows,
        [order(row["partner_id"], row["partner_id"]) for row in rows[::7]],
        company(duplicates=duplicates),
    )
    found = named_by_checks(partners_table(rows))
    assert found == named_by_rules(result.set_aside)
    assert all(found[check] for check in CHECKS)


def test_checks_and_rules_agree_that_one_address_in_other_letters_is_shared():
    """Odoo lower-cases ASCII alone before the @; Mailchimp knows members by the address in lower case."""
    rows = [
        partner(1, "ZOË@example.com", email_normalized="zoË@example.com"),
        partner(2, "zoë@example.com", email_normalized="zoë@example.com"),
    ]
    result = built(rows, [order(1, 1)])
    assert named_by_rules(result.set_aside)["emails_unique"] == {1, 2}
    assert named_by_checks(partners_table(rows))["emails_unique"] == {1, 2}
