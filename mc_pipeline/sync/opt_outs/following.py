"""Follows people, and the consent that they were subscribed on, whatever becomes of their addresses in Odoo.

What members were subscribed on is kept with its own record (``ledger.used_evidence``), and partners with
every address they had (``ledger.partner_addresses``): what Odoo says now is compared with both.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD, MAILING_LIST
from mc_pipeline.domain.consent.held_addresses import (
    HeldAddresses,
    addresses_inheriting_opt_outs,
    as_of_now,
    present_addresses,
)
from mc_pipeline.domain.consent.withdrawals import Rename, TakenBack, WithdrawnConsent, withdrawn_consent
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.used_evidence import UsedEvidence
from mc_pipeline.odoo.errors import OdooFieldMissingError
from mc_pipeline.odoo.opt_outs_since import (
    SaidInOdoo,
    addresses_of_partners,
    cleared_now,
    list_opt_outs_since,
    merged_into,
)
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import MARKETING_STATUSES


@dataclass
class Followed:
    """Consent that is withdrawn now, and what could not be asked."""

    withdrawn: list[WithdrawnConsent] = field(default_factory=list)
    troubles: dict[str, Exception] = field(default_factory=dict)


def withdrawn_by(
    systems: Systems, company: CompanySettings, kind: str, source: str | None, said: Iterable[SaidInOdoo]
) -> list[WithdrawnConsent]:
    """Whose consent these words of Odoo take back, in which audience; asks nobody.

    ``source`` is the field's name; of mailing lists each says its own.
    """
    taken_back = [
        TakenBack(kind, source or each.source_id or 0, each.record_id or 0, each.email, each.at)
        for each in said
        if each.out
    ]
    if not taken_back:
        return []
    ledger = systems.ledger
    lists = [audience.list_id for audience in company.audiences.values()]
    emails = {each.email for each in taken_back if each.email}
    records = {each.record_id for each in taken_back}
    partners = records if kind == BOOLEAN_FIELD else set()
    by_record = ledger.used_evidence.concerned(lists, emails=emails, record_ids=records)
    rows = ledger.partner_addresses.around(
        emails | {each.email for each in by_record},
        partners | {each.partner_id for each in by_record if each.partner_id is not None},
    )
    used = ledger.used_evidence.concerned(
        lists,
        emails=emails | {row.email for row in rows},
        record_ids=records,
        partner_ids=partners | {row.partner_id for row in rows},
    )
    if not used:
        return []
    held = HeldAddresses(rows, ledger.partner_addresses.successors())
    return withdrawn_consent(used, taken_back, held, _renames(systems, lists))


def follow_people(
    systems: Systems,
    company: CompanySettings,
    present: Mapping[int, str],
    observed_at: datetime,
    *,
    complete: bool,
) -> None:
    """Take over the addresses that partners have now, and find out what happened to those who are gone.

    ``present``: the partners of a read of Odoo with their address; ``complete``: it misses nobody. Of those
    who are gone, only those who gave consent that was used, or opted out, are looked for. Raises OdooError:
    of those who are gone nothing is known then, and the next run asks again.
    """
    ledger = systems.ledger
    ledger.partner_addresses.observe(present, observed_at)
    missing = _missing(systems, company, present) if complete else set()
    if not missing:
        return
    elsewhere = addresses_of_partners(systems.odoo(company), missing)
    erased = systems.erased_by_now()
    ledger.partner_addresses.observe(
        {partner: email for partner, email in elsewhere.items() if not erased.includes(email)}, observed_at
    )
    gone = missing - elsewhere.keys()
    successors = merged_into(systems.odoo(company), gone) if gone else {}
    ledger.partner_addresses.remember_gone(
        {partner: successors.get(partner) for partner in gone}, observed_at
    )


def follow_consent(
    systems: Systems, company: CompanySettings, found_under: Collection[TakenBack]
) -> Followed:
    """Ask Odoo for every record that consent in use rests on, and find what is taken back.

    ``found_under``: fields that no partner with the address has ticked, by the read of the partners.
    """
    followed = Followed()
    ledger = systems.ledger
    lists = [audience.list_id for audience in company.audiences.values()]
    used = ledger.used_evidence.of(lists)
    if not used:
        return followed
    successors = ledger.partner_addresses.successors()
    around = ledger.partner_addresses.around(
        {each.email for each in used},
        {each.partner_id for each in used if each.partner_id is not None}
        | {each.record_id for each in used if each.kind == BOOLEAN_FIELD},
    )
    held = HeldAddresses(around, successors)
    taken_back = list(found_under)
    if any(each.kind == MAILING_LIST for each in used):
        try:
            for said in list_opt_outs_since(systems.odoo(company), None):
                if said.out:
                    taken_back.append(
                        TakenBack(MAILING_LIST, said.source_id or 0, said.record_id or 0, said.email, said.at)
                    )
        except Exception as error:
            followed.troubles["mailing lists"] = error
    rules = [audience.consent for audience in company.audiences.values() if audience.consent]
    named = {rule.boolean_field for rule in rules}
    for name in sorted({each.source for each in used if each.kind == BOOLEAN_FIELD}):
        of_field = [each for each in used if each.kind == BOOLEAN_FIELD and each.source == name]
        partners = {held.person(each.record_id) for each in of_field if each.record_id}
        try:
            cleared = cleared_now(systems.odoo(company), name, partners)
        except OdooFieldMissingError as error:
            # A field that the settings name no more may be taken out of Odoo: what is not there says nothing.
            if name in named:
                followed.troubles[f"field {name}"] = error
            continue
        except Exception as error:
            followed.troubles[f"field {name}"] = error
            continue
        taken_back += [
            TakenBack(BOOLEAN_FIELD, name, partner, "", at) for partner, at in sorted(cleared.items())
        ]
    followed.withdrawn = withdrawn_consent(used, taken_back, held, _renames(systems, lists))
    return followed


def people_not_followed(systems: Systems, company: CompanySettings) -> list[UsedEvidence]:
    """Members who are reached on consent of a contact that is gone: nobody can take it back in Odoo."""
    ledger = systems.ledger
    lists = [audience.list_id for audience in company.audiences.values()]
    lost = lost_evidence(ledger.used_evidence.of(lists), ledger.partner_addresses.successors())
    reached: set[tuple[str, str]] = set()
    for list_id in {each.list_id for each in lost}:
        statuses = ledger.members.last_statuses(list_id, [each.email for each in lost])
        reached |= {(list_id, email) for email, status in statuses.items() if status in MARKETING_STATUSES}
    return [each for each in lost if (each.list_id, each.email) in reached]


def lost_evidence(used: Iterable[UsedEvidence], successors: Mapping[int, int | None]) -> list[UsedEvidence]:
    """Evidence of contacts that are gone, if Odoo does not say which contact they were merged into."""
    held = HeldAddresses([], successors)
    return [
        each
        for each in used
        if each.kind == BOOLEAN_FIELD and successors.get(held.person(each.record_id), 0) is None
    ]


def opted_out_since(
    ledger: Ledger, blacklist: pd.DataFrame, *, up_to_event: int | None = None
) -> dict[str, datetime | None]:
    """Everybody who opted out, in Mailchimp or in Odoo, and when they first did (UTC; None: not known).

    ``blacklist`` is the table's rows; ``up_to_event`` leaves out what was read after that event.
    """
    active = blacklist[blacklist["active"].astype(bool)]
    written = pd.to_datetime(active["write_date"], utc=True)
    opted_out: dict[str, datetime | None] = {
        str(email).lower(): None if pd.isna(at) else at.to_pydatetime()
        for email, at in zip(active["email"], written, strict=True)
    }
    for email, at in ledger.standing_opt_outs.first_blacklisted(opted_out).items():
        known = opted_out[email]
        opted_out[email] = None if known is None else min(at, known)
    for email, at in ledger.consent.first_opt_outs(up_to_event=up_to_event).items():
        known = opted_out.get(email, at)
        opted_out[email] = None if known is None else min(at, known)
    return opted_out


def inheriting_opt_outs(
    systems: Systems, partners: pd.DataFrame, observed_at: datetime, blacklist: pd.DataFrame
) -> set[str]:
    """Present addresses of people who opted out under a former one, in Mailchimp or in Odoo (rule 6.3).

    ``partners`` and ``blacklist`` are rows of the tables, ``observed_at`` when the partners were read.
    """
    ledger = systems.ledger
    present = present_addresses(partners["partner_id"], partners["email_normalized"])
    opted_out = opted_out_since(ledger, blacklist)
    rows = as_of_now(ledger.partner_addresses.of(opted_out), present, observed_at, opted_out)
    held = HeldAddresses(rows, ledger.partner_addresses.successors())
    return addresses_inheriting_opt_outs(held, present, opted_out)


def _renames(systems: Systems, list_ids: Collection[str]) -> list[Rename]:
    return [Rename(*row) for row in systems.ledger.members.renames(list_ids)]


def _missing(systems: Systems, company: CompanySettings, present: Mapping[int, str]) -> set[int]:
    """Partners who are no longer in the company's read, and whose decisions still have to be followed."""
    ledger = systems.ledger
    lists = [audience.list_id for audience in company.audiences.values()]
    used = ledger.used_evidence.of(lists)
    opted_out = ledger.consent.ever_opted_out() | {
        each.email for each in ledger.standing_opt_outs.of(company.key) if not each.list_id
    }
    known_gone = ledger.partner_addresses.successors()
    wanted = {each.partner_id for each in used if each.partner_id is not None}
    wanted |= {each.record_id for each in used if each.kind == BOOLEAN_FIELD and each.record_id}
    wanted |= {row.partner_id for row in ledger.partner_addresses.of(opted_out)}
    return wanted - present.keys() - known_gone.keys()
