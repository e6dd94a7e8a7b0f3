"""Everything that a plan is decided from."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.company import PlannedCompany
from mc_pipeline.domain.completeness import Completeness
from mc_pipeline.domain.consent.changed_addresses import ChangeLike
from mc_pipeline.domain.consent.held_addresses import AddressLike
from mc_pipeline.domain.plan.not_taken_back import RefusalLike
from mc_pipeline.domain.plan.permissions import LastWords


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanInputs:
    """What is known of a company, its people and its audiences when a plan is made.

    Nothing has a default: a caller that left something out would plan differently from the sync.

    Attributes:
        contacts: the contacts table: who should be in which audience, with which fields, tags and status.
        members: the mailchimp_members table, every status included.
        records: the ledger's records of members (``ledger.members.load``).
        company: settings of the company; only its lists are ever mentioned.
        partners: the odoo_partners table (partner_id, email_normalized are used).
        set_aside: the set-aside table (partner_id, person_email, reason are used).
        completeness: what of both systems was read whole; what depends on the rest is held back. Of an
            audience of which nothing was read, ``members`` has no rows.
        planned_at: time of planning, UTC.
        blacklisted_emails: addresses that are opted out in Odoo: not created.
        opted_out_ever: addresses that ever opted out of any audience of any company: no consent counts.
        double_optin_list_ids: audiences that ask people to confirm.
        first_load_list_ids: audiences whose first load is not over: no confirmation mails go out.
        permission_list_ids: audiences that ask people for marketing permissions (GDPR).
        subscribed_by_us: list id and address of members whom we subscribed on evidence in Odoo.
        merge_field_types: list_id -> merge tag -> Mailchimp's type; makes comparisons exact for numbers kept
            as text and for dates.
        held_addresses: who has or had the addresses that opted out in Odoo, as the ledger keeps it.
        successors: partners that are gone, and the one that each was merged into (None: not known).
        opted_out_since: when (UTC) addresses first opted out; without a date it counts for everybody who ever
            had the address.
        withdrawn: list id and address of people who took the consent back that an audience relied on: they
            enter it as unsubscribed.
        lost_evidence: source and date of consent whose contact is gone from Odoo without a trace: nobody is
            subscribed on it who is a member already.
        not_taken_back: whom Mailchimp refused for good, by address, in whatever audience.
        changed: changes of address that members made in Mailchimp and that Odoo does not know yet.
        asked_to_confirm: whom we asked to confirm, by list id and address, and when (UTC): once per address.
        of_first_load: list id and address of people whom the first load of an audience tried to create: it
            asked nobody, and nobody of it is asked later.
        permissions_said: what was said of marketing permissions before.
    """

    contacts: pd.DataFrame
    members: pd.DataFrame
    records: pd.DataFrame
    company: PlannedCompany
    partners: pd.DataFrame
    set_aside: pd.DataFrame
    completeness: Completeness
    planned_at: datetime
    blacklisted_emails: Set[str]
    opted_out_ever: Set[str]
    double_optin_list_ids: Set[str]
    first_load_list_ids: Set[str]
    permission_list_ids: Set[str]
    subscribed_by_us: Set[tuple[str, str]]
    merge_field_types: Mapping[str, Mapping[str, str]]
    held_addresses: Iterable[AddressLike]
    successors: Mapping[int, int | None]
    opted_out_since: Mapping[str, datetime | None]
    withdrawn: Set[tuple[str, str]]
    lost_evidence: Set[tuple[str, datetime]]
    not_taken_back: Mapping[str, RefusalLike]
    changed: Sequence[ChangeLike]
    asked_to_confirm: Mapping[tuple[str, str], datetime]
    of_first_load: Set[tuple[str, str]]
    permissions_said: LastWords
