"""Who is a company and who is whose commercial partner, in a table of partners just read (rule 3.1)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mc_pipeline.defs.systems import Systems
from mc_pipeline.settings import CompanySettings

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.ledger.company_records import RememberedPartner
    from mc_pipeline.odoo.partners import PartnersRead


def judged(systems: Systems, company: CompanySettings, read: "PartnersRead") -> "PartnersRead":
    """Remember what an Odoo with company types says; without them judge by what is remembered.

    Of people who were erased nothing is remembered: by this run, or by one that holds them in memory, see
    ``Systems.forget_again``.

    Raises:
        RuleError: a tag that ``company_if`` names fits several tags of Odoo, or none.
    """
    from mc_pipeline.domain.company_records import with_company_records
    from mc_pipeline.odoo.partners import FOR_JUDGING
    from mc_pipeline.odoo.tags import read_tag_paths

    records = systems.ledger.company_records
    if read.has_company_types:
        records.remember(read.database, _as_remembered(systems, read.rows), read.observed_at)
        return replace(read, rows=read.rows.drop(columns=[*FOR_JUDGING], errors="ignore"))
    names_tags = company.company_if is not None and bool(company.company_if.any_tag)
    known_tags = read_tag_paths(systems.odoo(company)) if names_tags else {}
    rows = with_company_records(read.rows, records.of(read.database), company.company_if, known_tags)
    return replace(read, rows=rows.drop(columns=[*FOR_JUDGING], errors="ignore"))


def _as_remembered(systems: Systems, rows: "pd.DataFrame") -> "dict[int, RememberedPartner]":
    from mc_pipeline.domain.company_records import to_remember
    from mc_pipeline.ledger.company_records import RememberedPartner

    others = systems.erased.without(rows)
    others = others[~others["partner_id"].isin(systems.erased.partner_ids)]
    return {number: RememberedPartner(**values) for number, values in to_remember(others).items()}
