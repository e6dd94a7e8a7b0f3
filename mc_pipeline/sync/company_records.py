"""Who is a company and who is whose commercial partner, in a table of partners just read (rule 3.1)."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mc_pipeline.domain.errors import RuleError
from mc_pipeline.ledger.company_records import RememberedPartner
from mc_pipeline.odoo.errors import OdooFieldMissingError
from mc_pipeline.settings import CompanySettings
from mc_pipeline.settings.models import CompanyIfSettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.odoo.partners import PartnersRead


_PROBLEM = "company_if_problem"
"""Fact of the table odoo_partners: what ``company_if`` names and Odoo does not have."""


def read_and_judge(
    systems: Systems, company: CompanySettings, read: "Callable[[str | None], PartnersRead]"
) -> "tuple[PartnersRead, dict[str, str]]":
    """Read partners, and say who of them is a company; with facts to store with the table.

    Remembers what an Odoo with company types says; without them judges by what is remembered. Of people who
    were erased nothing is remembered: by this run, or by one that holds them in memory, see
    ``Systems.forget_again``.

    A field or a tag that ``company_if`` names and Odoo does not have does not stop the read, because opt-outs
    are compared with the partners; ``require_company_if`` refuses to decide about contacts on such a table.

    Args:
        systems: both systems and the ledger.
        company: the company.
        read: reads the partners, with the field of ``company_if`` or without.
    """
    rule = company.company_if
    problem = ""
    try:
        found = read(rule.field if rule else None)
    except OdooFieldMissingError as error:
        if rule is None or not error.message.startswith(f"company_if.field {rule.field}:"):
            raise
        rule, problem = None, error.message
        found = read(None)
    try:
        return _judged(systems, company, found, rule), {_PROBLEM: problem}
    except RuleError as error:
        return _judged(systems, company, found, None), {_PROBLEM: str(error)}


def require_company_if(partners: Table) -> None:
    """Refuse partners who could not be judged by ``company_if``.

    Raises:
        RuleError: it names a field or a tag that Odoo does not have, or that fits several.
    """
    if problem := partners.facts.get(_PROBLEM):
        raise RuleError(problem)


def _judged(
    systems: Systems, company: CompanySettings, read: "PartnersRead", company_if: CompanyIfSettings | None
) -> "PartnersRead":
    from mc_pipeline.domain.contacts.company_records import with_company_records
    from mc_pipeline.odoo.partners import FOR_JUDGING
    from mc_pipeline.odoo.tags import read_tag_paths

    records = systems.ledger.company_records
    if read.has_company_types:
        records.remember(read.database, _as_remembered(systems, read.rows), read.observed_at)
        return replace(read, rows=read.rows.drop(columns=[*FOR_JUDGING], errors="ignore"))
    names_tags = company_if is not None and bool(company_if.any_tag)
    known_tags = read_tag_paths(systems.odoo(company)) if names_tags else {}
    rows = with_company_records(read.rows, records.of(read.database), company_if, known_tags)
    return replace(read, rows=rows.drop(columns=[*FOR_JUDGING], errors="ignore"))


def _as_remembered(systems: Systems, rows: "pd.DataFrame") -> dict[int, RememberedPartner]:
    from mc_pipeline.domain.contacts.company_records import to_remember

    others = systems.erased.without(rows)
    others = others[~others["partner_id"].isin(systems.erased.partner_ids)]
    return {number: RememberedPartner(**values) for number, values in to_remember(others).items()}
