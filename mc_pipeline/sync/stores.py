"""The stores of a company as one run sees them: which there are, and which of them are left alone.

What a step found out about them is stored with its table as facts, if later steps have to know it.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from mc_pipeline.domain.store.members import members_in_audiences
from mc_pipeline.ledger import Trouble
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.push.stores import Store, stores_there
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.observing import Audiences
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table
from mc_pipeline.vocabulary import MemberStatus

_NOT_LOOKED_AT = "stores_not_looked_at"
"""Fact of the table order_push: what ``remember_not_looked_at`` keeps."""
_TROUBLES = "troubles"


@dataclass(frozen=True)
class StoreLeftAlone:
    """A store that a run neither writes nor compares.

    Attributes:
        store_id: id of the store.
        audience: its audience, by its name in the settings.
        because: why, masked.
        is_gone: the audience is no longer in Mailchimp.
        waits: the first load of the audience waits for an approval.
    """

    store_id: str
    audience: str
    because: str
    is_gone: bool = False
    waits: bool = False


def stores_left_alone(
    systems: Systems, company: CompanySettings, members: Table, plan: Table
) -> list[StoreLeftAlone]:
    """Return the stores to which this run writes nothing.

    Of audiences that were not read (rules 1.2 and 9.1), and of audiences whose first load nobody approved yet
    (rule 7.6).

    Args:
        systems: its ledger knows the audiences whose first load was approved.
        company: the company.
        members: the table mailchimp_members.
        plan: the table audience_plan.
    """
    found: dict[str, StoreLeftAlone] = {}
    # Members who are as they should be are in no row of the plan.
    there = members.rows.loc[members.rows["status"] != MemberStatus.ARCHIVED, "list_id"]
    closed = {*plan.rows["list_id"], *there.unique()} - systems.ledger.plans.opened_audiences(company.key)
    for name, audience in company.audiences.items():
        if audience.store is not None and audience.list_id in closed:
            because = f"the first load of the audience {name} waits for approval"
            found[name] = StoreLeftAlone(audience.store.id, name, because, waits=True)
    for unread in Audiences.of(members, company).unread:
        store = company.audiences[unread.name].store
        if store is not None:
            found[unread.name] = StoreLeftAlone(store.id, unread.name, unread.because, unread.gone)
    return list(found.values())


def has_stores(systems: Systems, company: CompanySettings) -> bool:
    """Say whether the company has a store, or had one that still holds something of ours."""
    named = any(audience.store is not None for audience in company.audiences.values())
    return named or bool(systems.ledger.stores.of_company(company.key))


def stores_in_use(
    systems: Systems,
    company: CompanySettings,
    orders: pd.DataFrame,
    closed: Sequence[StoreLeftAlone],
    client: MailchimpClient,
) -> Mapping[str, Store]:
    """Return the stores that hold something or are about to, by id; one without any order yet is not made.

    ``orders`` are rows of ``store_orders``. Without those that are left alone
    (``closed``). A store that the ledger does not know may be there all the same.
    """
    named = {audience.store.id for audience in company.audiences.values() if audience.store is not None}
    due = orders.loc[orders["excluded_because"] == "", "store_id"]
    wanted = set(due) | {store.store_id for store in systems.ledger.stores.of_company(company.key)}
    wanted |= stores_there(client, named - wanted - {store.store_id for store in closed})
    return {
        audience.store.id: Store(
            store_id=audience.store.id,
            name=audience.store.name,
            currency=audience.store.currency,
            audience=key,
            list_id=audience.list_id,
            order_notifications=audience.store.order_notifications,
        )
        for key, audience in company.audiences.items()
        if audience.store is not None
        and audience.store.id in wanted
        and audience.store.id not in {store.store_id for store in closed}
    }


def members_of(systems: Systems, company: CompanySettings) -> pd.DataFrame:
    """Return who is in the company's audiences by now, no matter who made them members: ``list_id``,
    ``email``.

    In any status but archived, and nobody under an address that its owner changed in Mailchimp. Of an
    audience that the settings name no longer nobody is known: it is not read any more. Nor is anybody of one
    that was never approved, whose store gets nothing (rule 7.6).
    """
    lists = {audience.list_id for audience in company.audiences.values()}
    lists &= systems.ledger.plans.opened_audiences(company.key)
    left = {(each.list_id, each.former) for each in systems.ledger.changed_addresses.open(company.key)}
    return members_in_audiences(systems.ledger.members.load(lists), left)


def remember_not_looked_at(stores: Collection[StoreLeftAlone]) -> dict[str, str]:
    """Return the stores as a fact of the table order_push, for the reconciliation."""
    return {_NOT_LOOKED_AT: json.dumps([asdict(store) for store in stores])}


def not_looked_at(order_push: Table) -> list[StoreLeftAlone]:
    """Return the stores that the push of this table left alone."""
    return [StoreLeftAlone(**each) for each in json.loads(order_push.facts.get(_NOT_LOOKED_AT, "[]"))]


def remember_troubles(found: Collection[Trouble]) -> dict[str, str]:
    """Return what a step reported as a fact of its table, for its check."""
    kept = [(each.kind.value, each.sentence, each.what_to_do) for each in found]
    return {_TROUBLES: json.dumps(kept)}


def troubles_of(table: Table) -> list[tuple[str, str, str]]:
    """Return what the step that made the table reported: kind, sentence, what to do."""
    return [(kind, sentence, to_do) for kind, sentence, to_do in json.loads(table.facts.get(_TROUBLES, "[]"))]
