"""Whose partners a company's are: its own, shared ones, and those of the companies above it.

A branch sells to its parent's customers: Odoo's record rule on res.partner lets whoever works in a branch see
the partners of every company above it (``('company_id', 'parent_of', company_ids)``, Odoo 17 to 20). This is
the one place that says so; everything that asks for a company's partners asks by ``partners_of``.
"""

from collections.abc import Collection, Sequence
from typing import Any

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.fields import available_fields

_MODEL = "res.company"


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
