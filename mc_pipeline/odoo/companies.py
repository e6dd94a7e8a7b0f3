"""Whose partners a company's are: its own, shared ones, and those of the companies above it.

A branch sells to its parent's customers. From Odoo 18 on the record rule on res.partner shows everybody who
works in a branch the partners of every company above it (``('company_id', 'parent_of', company_ids)``). Odoo
17 shows those of the companies alone that a request names (``('company_id', 'in', company_ids)``; measured on
both). So requests name the companies above too, as far as the user has them: see ``seeing_partners``. This is
the one place that says whose partners are whose; all who ask for a company's partners ask by ``partners_of``.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.fields import available_fields

_MODEL = "res.company"
_SEES_COMPANIES_ABOVE = (18, 0)


def with_companies_above(client: OdooClient, company: int) -> tuple[int, ...]:
    """The company (a res.company id) and every company above it, the nearest first.

    Read from Odoo, also where the user may not read the companies above: ``parent_path`` of the company
    itself names them all ("1/4/7/"). Where the company itself may not be read, none above it is known; the
    companies' own partners cannot be read then either, which makes the table of partners incomplete.

    Raises OdooError.
    """
    limited = client.with_companies([company])
    above: list[int] = []
    here: int | bool = company
    while here and here not in above:
        above.append(here)
        try:
            fields = available_fields(limited, _MODEL, ["parent_id"], ["parent_path"])
            records = limited.read(_MODEL, [here], fields)
        except OdooAccessError:
            break
        if not records:
            break
        path = [int(each) for each in str(records[0].get("parent_path") or "").split("/") if each]
        if path and path[-1] == here:
            return (*above, *(each for each in reversed(path[:-1]) if each not in above))
        here = records[0]["parent_id"]
    return tuple(above)


def seeing_partners(client: OdooClient, companies: Sequence[int]) -> OdooClient:
    """The client as it sees the partners of a company and of the companies above it.

    ``companies`` are those of ``with_companies_above``. A company that the user does not have must not be
    named: Odoo would refuse the whole call.
    """
    own, *above = companies
    return client.with_companies([own, *(each for each in above if each in client.user_company_ids)])


def unseen_because(client: OdooClient, companies: Sequence[int]) -> str:
    """Say which of these companies' partners the user cannot see, and why; empty: all can be seen.

    Companies that are known to be archived are left out: a person cannot add them. Raises OdooError.
    """
    if client.version >= _SEES_COMPANIES_ABOVE:
        return ""
    # An archived company is nobody's: whose partners it has, cannot be asked.
    lacking = set(companies[1:]) - {*client.user_company_ids, *client.archived_company_ids}
    if lacking:
        # As far as the user may read them. For one that it may not read, it is not known.
        archived = [("id", "in", sorted(lacking)), ("active", "=", False)]
        with suppress(OdooAccessError):
            lacking -= {*client.with_companies(client.user_company_ids).search(_MODEL, archived)}
    if not lacking:
        return ""
    named = ", ".join(map(str, sorted(lacking)))
    return (
        f"the Odoo user may not see the contacts of company {named}, above company {companies[0]}: before "
        "Odoo 18 only users of that company see them; add it to the Allowed Companies of the user. If it is "
        "archived, nobody can: then move those contacts to another company, or share them"
    )


def partners_of(companies: Collection[int]) -> Sequence[Any]:
    """A domain of res.partner: partners of one of the companies, or of none (shared by all)."""
    return ["|", ("company_id", "in", sorted(companies)), ("company_id", "=", False)]


def names_of_companies(client: OdooClient, companies: Collection[int]) -> dict[int, str]:
    """The name of each company, or "id N" where the user may not read it. Raises OdooError."""
    everywhere = client.with_companies(client.user_company_ids)
    wanted = sorted(set(companies))
    found = everywhere.search_read(_MODEL, [("id", "in", wanted)], ["name"]) if wanted else []
    names = {record["id"]: str(record["name"]) for record in found}
    return {company: names.get(company, f"id {company}") for company in wanted}
