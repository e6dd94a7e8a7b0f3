"""Lists everybody whom a run leaves out: by the rules, or because Mailchimp or Odoo keeps them out."""

import logging

import pandas as pd

from mc_pipeline.domain.consent.changed_addresses import list_changes
from mc_pipeline.domain.contacts.contacts import ContactsResult
from mc_pipeline.domain.contacts.gone_partners import list_customers_elsewhere
from mc_pipeline.domain.contacts.rejections import rejected_contacts
from mc_pipeline.domain.plan.not_taken_back import contacts_not_taken_back
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.gone_partners import find_gone_partners
from mc_pipeline.sync.opt_outs.changed_addresses import open_changes
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.tables.elsewhere import customers_elsewhere_in


def list_set_aside(
    systems: Systems,
    company: CompanySettings,
    partners: Table,
    contacts: ContactsResult,
    run_id: str,
    log: logging.Logger,
) -> pd.DataFrame:
    """Return the rows of ``set_aside``, each with the reason and what to do.

    Odoo is asked about members whose partner is gone; what could not be asked is a trouble in the ledger, and
    those members stay as they are.
    """
    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    records = systems.ledger.members.load(lists.values())
    not_taken_back = systems.ledger.consent.refused_for_good()
    gone, troubles = find_gone_partners(systems, company, partners, records)
    systems.ledger.troubles.report(company.key, "contacts", run_id, troubles)
    for trouble in troubles:
        log.warning(trouble.sentence)
    listed = [
        contacts.set_aside,
        gone,
        list_customers_elsewhere(customers_elsewhere_in(partners), set(gone["partner_id"])),
        rejected_contacts(contacts.contacts, records, lists, not_taken_back),
        contacts_not_taken_back(contacts.contacts, not_taken_back, records, lists),
        list_changes(
            open_changes(systems, company, partners.rows),
            partners.rows,
            {list_id: key for key, list_id in lists.items()},
        ),
    ]
    return pd.concat([each for each in listed if len(each)] or listed[:1], ignore_index=True)
