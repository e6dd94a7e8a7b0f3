"""Members whose partner Odoo does not show: what became of each, and what is reported where nobody knows."""

from typing import TYPE_CHECKING

from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import Owner

if TYPE_CHECKING:
    import pandas as pd


def find_gone_partners(
    systems: Systems, company: CompanySettings, partners: Table, records: "pd.DataFrame"
) -> "tuple[pd.DataFrame, list[Trouble]]":
    """List members whose partner is gone from the company, with what Odoo says became of it (rule 6.1).

    Nobody if the partners were not read completely: a missing one may only not have been read. Where
    Odoo cannot be asked now, they stay as they are and are listed as such; that, and merges that could not
    be looked for, are what is reported.
    """
    from mc_pipeline.domain.contacts.gone_partners import list_gone_partners, members_without_partner
    from mc_pipeline.odoo.partners_elsewhere import PartnerFate, fates_of

    members = members_without_partner(records, partners.rows, systems.erased.partner_ids)
    addresses = systems.ledger.partner_addresses
    asked = set(members["partner_id"]) if partners.complete else set()
    known = addresses.successors() if asked else {}
    troubles: list[Trouble] = []
    fates: dict[int, PartnerFate] = {}
    try:
        if asked:
            fates = fates_of(systems.odoo(company), company.odoo_company_id, asked, known)
    except OdooError as error:
        # Nothing is known of any of them: those listed as gone stay on the list, as not checked.
        fates = dict.fromkeys(asked, PartnerFate(fate="hidden", told_apart=False))
        troubles.append(fates_not_asked(len(asked), error.message, company.key))
    gone = {
        partner: fate.merged_into
        for partner, fate in fates.items()
        if fate.fate in ("deleted", "merged") and partner not in known and fate.survivor_known
    }
    if gone:
        addresses.remember_gone(gone, partners.observed_at)
    not_looked_for = sum(not fate.survivor_known for fate in fates.values())
    if not_looked_for:
        troubles.append(merges_not_asked(not_looked_for, company.key))
    audience_of = {audience.list_id: key for key, audience in company.audiences.items()}
    return list_gone_partners(members, fates, audience_of), troubles


def fates_not_asked(partners: int, because: str, company: str) -> Trouble:
    """Odoo failed when it was asked what happened to so many partners."""
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="odoo",
        place="contacts that are gone",
        code="fates",
        sentence=(
            f"what happened to {_contacts(partners)} of members, which Odoo no longer shows, could not be "
            f"asked: {because}"
        ),
        what_to_do=(
            "Until it can be asked, these members stay as they are, and set_aside lists them; the next run "
            f"asks again. If it fails again: mc-pipeline doctor {company}"
        ),
        owner=Owner.DATA_ENGINEERING,
    )


def merges_not_asked(partners: int, company: str) -> Trouble:
    """The Odoo user may not read the messages about the merges of so many partners."""
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="odoo",
        place="contacts that are gone",
        code="merges",
        sentence=(
            f"{_contacts(partners)} of members gone from Odoo: the Odoo user may not read the messages "
            "(mail.message) that record merges"
        ),
        what_to_do=(
            "Give the Odoo user the right to read messages of Contacts. Until then an opt-out of the "
            f"contact that they were merged into is not applied to them; mc-pipeline doctor {company}"
        ),
        owner=Owner.DATA_ENGINEERING,
    )


def _contacts(number: int) -> str:
    return "1 contact" if number == 1 else f"{number:,} contacts"
