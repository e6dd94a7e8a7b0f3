"""Partners that are not among a company's: whose they are now, or what became of them.

Asked by id under all companies of the Odoo user, in reads of their own. What the user cannot see makes no
table incomplete.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.companies import names_of_companies, with_companies_above
from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.opt_outs_since import merged_into

Fate = Literal["here", "deleted", "merged", "moved", "hidden"]

PAGE = 1000
_ASKED_AT_A_TIME = 500
_MOST_MERGES = 20
_STATES = ["sale", "cancel"]


@dataclass(frozen=True, kw_only=True)
class PartnerFate:
    """What became of a partner that a company's read does not show.

    ``here``: it is the company's, or shared, after all. ``merged``: ``merged_into`` is the partner that has
    its orders now. ``moved``: it belongs to the company called ``company``, which is not above this one.
    ``hidden``: it exists, and record rules hide it from the Odoo user.
    """

    fate: Fate
    merged_into: int | None = None
    company: str = ""


def customers_elsewhere(client: OdooClient, company: int) -> dict[int, str]:
    """Customers of the company's orders who belong to another company: partner id to that company's name.

    The other company is none of those above this one; "id N" where its name may not be read. Partners that
    the Odoo user cannot see are left out. Raises OdooError.
    """
    everywhere = client.with_companies(client.user_company_ids)
    own = with_companies_above(client, company)
    customers: set[int] = set()
    last = 0
    while True:
        page = everywhere.search_read(
            "sale.order",
            [
                ("company_id", "=", company),
                ("state", "in", _STATES),
                ("partner_id.company_id", "not in", [False, *own]),
                ("id", ">", last),
            ],
            ["partner_id"],
            limit=PAGE,
            order="id",
        )
        customers |= {order["partner_id"] for order in page if order["partner_id"]}
        if len(page) < PAGE:
            break
        last = page[-1]["id"]
    return other_companies_of(client, company, customers)


def other_companies_of(client: OdooClient, company: int, partner_ids: Collection[int]) -> dict[int, str]:
    """Those of these partners who belong to another company, which is not above this one, and its name.

    Partners that the Odoo user cannot see are left out. Raises OdooError.
    """
    everywhere = client.with_companies(client.user_company_ids)
    own = with_companies_above(client, company)
    theirs = {
        record["id"]: record["company_id"]
        for wanted in _pages(sorted(set(partner_ids)), PAGE)
        for record in everywhere.search_read("res.partner", [("id", "in", wanted)], ["company_id"])
        if record["company_id"] not in (False, *own)
    }
    names = names_of_companies(client, set(theirs.values()))
    return {partner: names[company] for partner, company in sorted(theirs.items())}


def fates_of(
    client: OdooClient,
    company: int,
    partner_ids: Collection[int],
    known_successors: Mapping[int, int | None] = MappingProxyType({}),
) -> dict[int, PartnerFate]:
    """What became of partners that a complete read of the company does not show. Raises OdooError.

    A merge is told by the note that Odoo leaves on the survivor; where the user may not read it, or there is
    none, the partner counts as deleted. ``known_successors``: partners for whose note was looked before, and
    the survivor that it named.
    """
    everywhere = client.with_companies(client.user_company_ids)
    own = with_companies_above(client, company)
    wanted = sorted(set(partner_ids))
    there: dict[int, Record] = {}
    hidden: set[int] = set()
    for page in _pages(wanted, _ASKED_AT_A_TIME):
        found, refused = _read(everywhere, page)
        there.update(found)
        hidden |= refused
    gone = set(wanted) - there.keys() - hidden
    fates = {partner: PartnerFate(fate="hidden") for partner in hidden}
    others = {
        partner: int(record["company_id"])
        for partner, record in there.items()
        if record["company_id"] not in (False, *own)
    }
    names = names_of_companies(client, set(others.values()))
    for partner in there:
        if partner in others:
            fates[partner] = PartnerFate(fate="moved", company=names[others[partner]])
        else:
            fates[partner] = PartnerFate(fate="here")
    survivors = _survivors(everywhere, gone, known_successors)
    for partner in gone:
        survivor = survivors.get(partner)
        fates[partner] = (
            PartnerFate(fate="deleted")
            if survivor is None
            else PartnerFate(fate="merged", merged_into=survivor)
        )
    return fates


def _read(client: OdooClient, partner_ids: Sequence[int]) -> tuple[dict[int, Record], set[int]]:
    """Partners by id, and those that Odoo refuses: a record rule hides them. Who is in neither is gone.

    Odoo refuses a whole call for one hidden record and says nothing of deleted ones, so what is not seen is
    halved until the call tells.
    """
    try:
        return {
            record["id"]: record for record in client.read("res.partner", partner_ids, ["company_id"])
        }, set()
    except OdooAccessError:
        if len(partner_ids) == 1:
            return {}, set(partner_ids)
    seen = client.search_read("res.partner", [("id", "in", list(partner_ids))], ["company_id"])
    there = {record["id"]: record for record in seen}
    unseen = [partner for partner in partner_ids if partner not in there]
    hidden: set[int] = set()
    middle = (len(unseen) + 1) // 2
    for half in (unseen[:middle], unseen[middle:]):
        if half:
            found, refused = _read(client, half)
            there.update(found)
            hidden |= refused
    return there, hidden


def _survivors(client: OdooClient, gone: Collection[int], known: Mapping[int, int | None]) -> dict[int, int]:
    """Into whom each was merged in the end: a survivor may have been merged, too."""
    found = {partner: survivor for partner, survivor in known.items() if survivor is not None}
    due = set(gone) - known.keys()
    asked = set(known)
    try:
        for _ in range(_MOST_MERGES):
            if due:
                found |= merged_into(client, due)
                asked |= due
            survivors = {_last_of(found, partner) for partner in gone} - asked
            for page in _pages(sorted(survivors), PAGE):
                survivors.difference_update(client.search("res.partner", [("id", "in", page)]))
            due = survivors
            if not due:
                break
    except OdooAccessError:
        return {}
    return {partner: last for partner in gone if (last := _last_of(found, partner)) != partner}


def _last_of(found: Mapping[int, int], partner: int) -> int:
    passed = {partner}
    while partner in found and found[partner] not in passed:
        partner = found[partner]
        passed.add(partner)
    return partner


def _pages(partner_ids: Sequence[int], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(partner_ids), size):
        yield list(partner_ids[start : start + size])
