"""Stores that a run leaves alone, and what it reports about its stores, as far as later steps need it."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import Table

if TYPE_CHECKING:
    from mc_pipeline.ledger import Trouble

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
    members: Table, company: CompanySettings, opened: Collection[str], planned: Collection[str]
) -> list[StoreLeftAlone]:
    """Return the stores into which nothing goes before anybody looks at them.

    Of audiences that were not read (rules 1.2 and 9.1), and of audiences whose first load nobody approved yet
    (rule 7.6).

    Args:
        members: the table mailchimp_members.
        company: the company.
        opened: list ids of the audiences whose first load was approved.
        planned: list ids of the audiences for which the plan has a change.
    """
    from mc_pipeline.defs.audience.observing import Audiences

    found: dict[str, StoreLeftAlone] = {}
    # Members who are as they should be are in no row of the plan.
    there = members.rows.loc[members.rows["status"] != "archived", "list_id"]
    closed = {*planned, *there.unique()} - set(opened)
    for name, audience in company.audiences.items():
        if audience.store is not None and audience.list_id in closed:
            because = f"the first load of the audience {name} waits for approval"
            found[name] = StoreLeftAlone(audience.store.id, name, because, waits=True)
    for unread in Audiences.of(members, company).unread:
        store = company.audiences[unread.name].store
        if store is not None:
            found[unread.name] = StoreLeftAlone(store.id, unread.name, unread.because, unread.gone)
    return list(found.values())


def remember_not_looked_at(stores: Collection[StoreLeftAlone]) -> dict[str, str]:
    """Return the stores as a fact of the table order_push, for the reconciliation."""
    return {_NOT_LOOKED_AT: json.dumps([asdict(store) for store in stores])}


def not_looked_at(order_push: Table) -> list[StoreLeftAlone]:
    """Return the stores that the push of this table left alone."""
    return [StoreLeftAlone(**each) for each in json.loads(order_push.facts.get(_NOT_LOOKED_AT, "[]"))]


def remember_troubles(found: Collection["Trouble"]) -> dict[str, str]:
    """Return what a step reported as a fact of its table, for its check."""
    kept = [(each.kind.value, each.sentence, each.what_to_do) for each in found]
    return {_TROUBLES: json.dumps(kept)}


def troubles_of(table: Table) -> list[tuple[str, str, str]]:
    """Return what the step that made the table reported: kind, sentence, what to do."""
    return [(kind, sentence, to_do) for kind, sentence, to_do in json.loads(table.facts.get(_TROUBLES, "[]"))]
