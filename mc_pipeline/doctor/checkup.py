"""Runs all checks, in the order in which one would look by hand."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mc_pipeline.doctor.findings import Finding, Status, look_at
from mc_pipeline.doctor.machine_checks import MACHINE_CHECKS, Machine
from mc_pipeline.doctor.mailchimp_checks import ACCOUNT_CHECKS, AUDIENCE_CHECKS
from mc_pipeline.doctor.names_checks import NAMES_CHECKS
from mc_pipeline.doctor.odoo_checks import COMPANY_CHECKS, ODOO_CHECKS
from mc_pipeline.doctor.people_checks import PEOPLE_CHECKS
from mc_pipeline.doctor.subjects import Account, AudienceOfCompany, CompanyInOdoo
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.settings import CompanySettings, Settings


def examine(
    settings: Settings,
    companies: Sequence[CompanySettings],
    prepare_home: Callable[[], Path],
    *,
    count_people: bool = False,
) -> Iterator[Finding]:
    """Check this machine, Odoo, the Mailchimp accounts, and these companies with their audiences.

    Nothing is written to either system. ``prepare_home`` makes Dagster's home ready. Findings come as they
    are found; where one system cannot be used, the other is looked at all the same. ``count_people``: count
    who gets into which audience in a large Odoo too, which takes minutes.
    """
    systems = CheckupSystems(settings, count_people=count_people)
    try:
        machine_findings = list(look_at("this machine", Machine(prepare_home, systems), MACHINE_CHECKS))
        yield from machine_findings
        odoo_findings = list(look_at("Odoo", systems, ODOO_CHECKS))
        yield from odoo_findings
        usable_accounts = set()
        for key in dict.fromkeys(company.mailchimp for company in companies):
            asking = next(company for company in companies if company.mailchimp == key)
            findings = list(look_at(f"Mailchimp {key}", Account(systems, key, asking), ACCOUNT_CHECKS))
            yield from findings
            if not _is_closed(findings):
                usable_accounts.add(key)
        for company in companies:
            yield from _company(systems, company, _is_closed(odoo_findings), machine_findings)
            for audience in company.audiences.values():
                where = f"{company.key} / {audience.key}"
                if company.mailchimp in usable_accounts:
                    yield from look_at(where, AudienceOfCompany(systems, company, audience), AUDIENCE_CHECKS)
                else:
                    reason = f"because of the API key of Mailchimp {company.mailchimp}"
                    yield Finding(where, "audience", Status.NOT_CHECKED, reason)
    finally:
        systems.close()


def _company(
    systems: CheckupSystems,
    company: CompanySettings,
    odoo_is_closed: bool,
    machine_findings: Sequence[Finding],
) -> Iterator[Finding]:
    if odoo_is_closed:
        reason = "because of the connection to Odoo"
        yield Finding(company.key, "company", Status.NOT_CHECKED, reason)
        return
    subject = CompanyInOdoo(systems, company)
    findings = list(look_at(company.key, subject, COMPANY_CHECKS))
    yield from findings
    trouble = next(
        (each.check for each in (*machine_findings, *findings) if each.status is Status.PROBLEM), None
    )
    if trouble is not None:
        # Counts are those of a sync, and none would get as far.
        for check in (*PEOPLE_CHECKS, *NAMES_CHECKS):
            yield Finding(company.key, check.name, Status.NOT_CHECKED, f"because of {trouble}")
        return
    yield from look_at(company.key, subject, (*PEOPLE_CHECKS, *NAMES_CHECKS))


def _is_closed(findings: Sequence[Finding]) -> bool:
    return any(finding.status is Status.PROBLEM for finding in findings)
