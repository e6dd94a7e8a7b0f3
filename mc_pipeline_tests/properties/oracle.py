"""Who belongs where, straight from the stand-in Odoo's records: the rules said once more, in few words.

Nothing of the pipeline is used here, so that a mistake in it cannot hide. Knows only the settings of
``small_world``: companies into wholesale, whoever has the tag Club into the club where there is one,
everybody else into retail, nobody with the tag Quiet; whoever bought from the second company into its one
audience.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mc_pipeline.sandbox.odoo import SandboxOdoo

WHOLESALE, RETAIL, SECOND, CLUB = "wholesale1", "retail1", "second1", "club1"
QUIET, CLUB_TAG = "Quiet", "Club"
BOX, BOX_DATE = "x_newsletter", "x_newsletter_date"
"""A box on partners that says yes to the second company's newsletter, and the date beside it."""
NEWSLETTER = "Newsletter"
_POSTAL = frozenset({"delivery", "invoice", "other"})

Row = dict[str, Any]
EvidenceRecord = tuple[str, int]
"""What says yes in Odoo: model and id of a mailing subscription, or of a partner with the box."""


@dataclass(frozen=True)
class Person:
    """One address that belongs into an audience, and the names of the partners who could speak for it."""

    email: str
    list_id: str
    names: frozenset[str]
    order_count: int
    total: float


@dataclass(frozen=True)
class Truth:
    """What Odoo says at a moment.

    ``persons`` by address; ``never`` addresses of users and of suppliers who bought nothing;
    ``consented`` addresses with dated consent, ``withdrawn`` those with an opt-out of the newsletter;
    ``blacklisted`` addresses; ``outside`` addresses of active people who surely meet no rule;
    ``addresses`` of partners by id. ``evidence``: the records that say yes, with a date, by address;
    ``withdrawn_records``: those that say no now, mailing subscriptions and partners without the tick.
    """

    persons: dict[str, Person]
    never: frozenset[str]
    consented: frozenset[str]
    withdrawn: frozenset[str]
    blacklisted: frozenset[str]
    outside: frozenset[str]
    addresses: dict[int, str]
    evidence: dict[str, frozenset[EvidenceRecord]]
    withdrawn_records: frozenset[EvidenceRecord]


def tell_truth(odoo: SandboxOdoo, *, second_company: int | None = None) -> Truth:
    """Read the stand-in's records and apply the rules, of the first company unless another is named."""
    partners: dict[int, Row] = dict(odoo.model("res.partner").table.rows)
    users = {row["partner_id"] for row in _rows(odoo, "res.users") if not row.get("share")}
    templates = {row["partner_id"] for row in _rows(odoo, "res.users") if row.get("share")}
    own = {row["partner_id"] for row in _rows(odoo, "res.company")}
    address = {
        number: row["email_normalized"]
        for number, row in partners.items()
        if row.get("email_normalized") and "@" in str(row.get("email"))
    }
    bought: dict[str, list[float]] = {}
    for order in _rows(odoo, "sale.order"):
        email = address.get(order["partner_id"]) or address.get(order.get("partner_invoice_id") or 0)
        if order["state"] == "sale" and email and order["company_id"] == (second_company or 1):
            bought.setdefault(email, []).append(order.get("amount_untaxed", 0.0))
    internal = {address[number] for number in users | own if number in address}
    internal |= {
        email for number, email in address.items() if _ancestors(partners, number) & own and number not in own
    }
    people = {
        number: row
        for number, row in partners.items()
        if number in address
        and row.get("active", True)
        and row.get("type", "contact") not in _POSTAL
        and number not in templates | users | own
        # Shared by all companies, or this one's: the customers of another company are its own.
        and row.get("company_id") in (None, False, second_company or 1)
    }
    persons: dict[str, Person] = {}
    outside: set[str] = set()
    by_address: dict[str, list[int]] = {}
    for number in people:
        by_address.setdefault(address[number], []).append(number)
    for email, numbers in by_address.items():
        routes = {
            route
            for number in numbers
            if (route := SECOND if second_company else _route(odoo, partners, number))
        }
        if email in internal:
            continue
        if email not in bought or not routes:
            outside.add(email)
            continue
        if routes == {CLUB, RETAIL}:
            continue  # partners who share an address and fit two audiences: nobody can tell
        persons[email] = Person(
            email,
            WHOLESALE if WHOLESALE in routes else min(routes),
            frozenset(str(partners[number]["name"]) for number in numbers),
            len(bought[email]),
            sum(bought[email]),
        )
    suppliers = {
        address[n] for n, row in people.items() if row.get("supplier_rank") and address[n] not in bought
    }
    consented, withdrawn = _newsletter(odoo)
    evidence = _evidence_of_boxes(partners, people) if second_company else _evidence_of_newsletter(odoo)
    no_box = {("res.partner", number) for number, row in partners.items() if not row.get(BOX)}
    left = {
        ("mailing.subscription", row["id"])
        for row in _rows(odoo, "mailing.subscription")
        if row.get("opt_out")
    }
    blacklist = {row["email"] for row in _rows(odoo, "mail.blacklist") if row.get("active", True)}
    return Truth(
        persons,
        frozenset(internal | suppliers),
        frozenset(evidence) if second_company else frozenset(consented),
        frozenset(withdrawn),
        frozenset(blacklist),
        frozenset(outside),
        address,
        evidence,
        frozenset(no_box | left),
    )


def _route(odoo: SandboxOdoo, partners: dict[int, Row], number: int) -> str | None:
    firm = _commercial(partners, number)
    if partners[firm].get("is_company"):
        return WHOLESALE
    tags = {*partners[number].get("category_id", ()), *partners[firm].get("category_id", ())}
    names = {odoo.model("res.partner.category").table.rows[tag]["name"] for tag in tags}
    if CLUB_TAG in names:
        return CLUB
    return None if QUIET in names else RETAIL


def _commercial(partners: dict[int, Row], number: int) -> int:
    row = partners[number]
    while not row.get("is_company") and row.get("parent_id"):
        number = row["parent_id"]
        row = partners[number]
    return number


def _ancestors(partners: dict[int, Row], number: int) -> set[int]:
    found = set()
    while parent := partners[number].get("parent_id"):
        found.add(parent)
        number = parent
    return found


def _newsletter(odoo: SandboxOdoo) -> tuple[set[str], set[str]]:
    lists = {row["id"] for row in _rows(odoo, "mailing.list") if row["name"] == NEWSLETTER}
    contacts = odoo.model("mailing.contact").table.rows
    consented, withdrawn = set(), set()
    for row in _rows(odoo, "mailing.subscription"):
        email = contacts[row["contact_id"]].get("email_normalized")
        if row["list_id"] not in lists or not email:
            continue
        if row.get("opt_out"):
            withdrawn.add(email)
        elif row.get("create_date"):
            consented.add(email)
    return consented - withdrawn, withdrawn


def _evidence_of_newsletter(odoo: SandboxOdoo) -> dict[str, frozenset[EvidenceRecord]]:
    consented, _ = _newsletter(odoo)
    contacts = odoo.model("mailing.contact").table.rows
    found: dict[str, set[EvidenceRecord]] = {}
    for row in _rows(odoo, "mailing.subscription"):
        email = contacts[row["contact_id"]].get("email_normalized")
        if email in consented and row.get("create_date"):
            found.setdefault(email, set()).add(("mailing.subscription", row["id"]))
    return {email: frozenset(records) for email, records in found.items()}


def _evidence_of_boxes(
    partners: dict[int, Row], people: dict[int, Row]
) -> dict[str, frozenset[EvidenceRecord]]:
    found: dict[str, set[EvidenceRecord]] = {}
    for number in people:
        if partners[number].get(BOX) and partners[number].get(BOX_DATE):
            found.setdefault(partners[number]["email_normalized"], set()).add(("res.partner", number))
    return {email: frozenset(records) for email, records in found.items()}


def _rows(odoo: SandboxOdoo, model: str) -> Iterator[Row]:
    yield from list(odoo.model(model).table.rows.values())
