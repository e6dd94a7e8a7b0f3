"""Partners that are not among a company's: where they belong now, or what happened to them.

Asked by id under all companies of the Odoo user, in reads of their own. What the user cannot see makes no
table incomplete.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from mc_pipeline.chunks import chunks_of
from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.companies import names_of_companies, with_companies_above
from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.opt_outs_since import merged_into

Fate = Literal["here", "deleted", "merged", "moved", "hidden"]

PAGE = 1000
SPARE_CALLS = 60
"""Calls that one question may use to distinguish hidden partners from those that are gone."""

_ASKED_AT_A_TIME = 500
_MOST_MERGES = 20
_STATES = ["sale", "cancel"]


@dataclass(frozen=True, kw_only=True)
class PartnerFate:
    """What happened to a partner that a company's read does not show.

    ``here``: it is the company's, or shared, after all. ``merged``: ``merged_into`` is the partner that has
    its orders now. ``moved``: it belongs to the company called ``company``, which is not above this one.
    ``hidden``: record rules hide it from the Odoo user; where it is not ``told_apart``, it is one of many
    that are not shown, and may be gone. ``survivor_known`` is False where the notes of merges may not be
    read: a ``deleted`` partner may have been merged, and the one named by ``merged_into`` merged again.
    """

    fate: Fate
    merged_into: int | None = None
    company: str = ""
    survivor_known: bool = True
    told_apart: bool = True


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
        for wanted in chunks_of(PAGE, sorted(set(partner_ids)))
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
    """What happened to partners that a complete read of the company does not show. Raises OdooError.

    A merge is shown by the note that Odoo leaves on the survivor; where there is none, or the user may not
    read it (``survivor_known``), the partner counts as deleted. ``known_successors``: partners for whose note
    was looked before, and the survivor that it named. Of partners that Odoo does not show, at most
    ``SPARE_CALLS`` calls find out which of them are hidden; who is left then counts as hidden.
    """
    everywhere = client.with_companies(client.user_company_ids)
    own = with_companies_above(client, company)
    wanted = sorted(set(partner_ids))
    there: dict[int, Record] = {}
    for page in chunks_of(PAGE, wanted):
        there.update(
            (record["id"], record)
            for record in everywhere.search_read("res.partner", [("id", "in", page)], ["company_id"])
        )
    found, hidden, not_told_apart = _told_apart(everywhere, [each for each in wanted if each not in there])
    there.update(found)
    gone = set(wanted) - there.keys() - hidden - not_told_apart
    fates = {partner: PartnerFate(fate="hidden") for partner in hidden}
    fates |= {partner: PartnerFate(fate="hidden", told_apart=False) for partner in not_told_apart}
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
    survivors, looked = _survivors(everywhere, gone, known_successors)
    for partner in gone:
        survivor = survivors.get(partner)
        known = looked or partner in known_successors
        fates[partner] = (
            PartnerFate(fate="deleted", survivor_known=known)
            if survivor is None
            else PartnerFate(fate="merged", merged_into=survivor, survivor_known=known)
        )
    return fates


def _told_apart(
    client: OdooClient, partner_ids: Sequence[int]
) -> tuple[dict[int, Record], set[int], set[int]]:
    """Of partners that a search does not show: those that are there after all, the hidden, and the unknown.

    Who is in none of them is gone. Odoo refuses a whole call for one hidden record and says nothing of
    deleted ones, so what is refused is halved until the call shows it, the largest parts first, or until the
    calls are spent.
    """
    there: dict[int, Record] = {}
    hidden: set[int] = set()
    due = deque(chunks_of(_ASKED_AT_A_TIME, partner_ids))
    left = SPARE_CALLS
    while due and left:
        part = due.popleft()
        left -= 1
        try:
            records = client.read("res.partner", part, ["company_id"])
        except OdooAccessError:
            if len(part) == 1:
                hidden |= set(part)
            else:
                middle = (len(part) + 1) // 2
                due += [part[:middle], part[middle:]]
        else:
            there.update((record["id"], record) for record in records)
    return there, hidden, {partner for part in due for partner in part}


def _survivors(
    client: OdooClient, gone: Collection[int], known: Mapping[int, int | None]
) -> tuple[dict[int, int], bool]:
    """Which partner each was merged into in the end: a survivor may have been merged, too. And whether that
    could be looked for: where the user may not read the notes, only what is known already is returned."""
    found = {partner: survivor for partner, survivor in known.items() if survivor is not None}
    due = set(gone) - known.keys()
    asked = set(known)
    looked = True
    try:
        for _ in range(_MOST_MERGES):
            if due:
                found |= merged_into(client, due)
                asked |= due
            survivors = {_last_of(found, partner) for partner in gone} - asked
            for page in chunks_of(PAGE, sorted(survivors)):
                survivors.difference_update(client.search("res.partner", [("id", "in", page)]))
            due = survivors
            if not due:
                break
    except OdooAccessError:
        looked = False
    return {partner: last for partner in gone if (last := _last_of(found, partner)) != partner}, looked


def _last_of(found: Mapping[int, int], partner: int) -> int:
    passed = {partner}
    while partner in found and found[partner] not in passed:
        partner = found[partner]
        passed.add(partner)
    return partner
