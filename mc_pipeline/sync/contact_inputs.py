"""Gathers what decides who should be in which audience: for the sync, explain and the doctor alike."""

from collections.abc import Collection, Mapping, Set

import pandas as pd

from mc_pipeline.domain.consent.lost_history import without_evidence_of_before
from mc_pipeline.domain.contacts.contacts import ContactInputs
from mc_pipeline.ledger import Ledger
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.bound_orders import orders_bound


def contact_inputs(
    ledger: Ledger,
    company: CompanySettings,
    partners: pd.DataFrame,
    orders: pd.DataFrame,
    *,
    elsewhere: Collection[int],
    double_optin_audiences: Set[str],
    known_tags: Mapping[int, str] | None,
) -> ContactInputs:
    """Put together what was read with what the ledger knows.

    Args:
        ledger: the ledger.
        company: the company's settings.
        partners: rows of ``odoo_partners``, without people who were erased.
        orders: rows of ``odoo_orders``, or of the orders as they were read.
        elsewhere: customers of orders who belong to another company.
        double_optin_audiences: keys of the audiences that ask people to confirm.
        known_tags: every tag of Odoo; None where Odoo is not asked.
    """
    erased = {partner for each in ledger.erasures.tombstones() for partner in each.partner_ids}
    return ContactInputs(
        partners=without_evidence_of_before(partners, ledger.identities.get().accepted_at),
        orders=orders,
        company=company,
        opted_out_emails=ledger.consent.ever_opted_out(),
        double_optin_audiences=double_optin_audiences,
        known_tags=known_tags,
        bound_orders=orders_bound(ledger, company.key, partners, orders, others={*elsewhere, *erased}),
    )
