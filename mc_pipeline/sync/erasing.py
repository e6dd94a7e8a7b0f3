"""Takes people out of every audience, table and record that we keep (rule 10.1).

Odoo is not changed: its administrator decides there, and an opt-out in Odoo's blacklist stays. Erased people
are dropped from every later read, so that they do not come back while Odoo still has them.

Runs may be under way meanwhile, and the erasure does not wait for them to end. First it sets a tombstone:
from then on every step leaves the person out of what it loads, stores and sends. Then it waits for those that
are writing, and takes the person out of what there is. A step that had the person in memory takes out again
what it recorded since (``Systems.forget_again``).
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.ledger import Lease
from mc_pipeline.masking import mask_email
from mc_pipeline.sync.company_lease import company_lease
from mc_pipeline.sync.erased_people import erasure_pseudonyms
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.sync.opt_outs.lease import hearing_lease, opt_out_lease
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables.erasing import erase_from_tables
from mc_pipeline.vocabulary import OutcomeKind

if TYPE_CHECKING:
    from mc_pipeline.domain.erasure import Pseudonyms
    from mc_pipeline.mailchimp.client import MailchimpClient


@dataclass(frozen=True, kw_only=True)
class ErasureRequest:
    """Whom to erase, and why.

    Attributes:
        partner_ids: contacts in Odoo.
        emails: addresses of people whom Odoo no longer has.
        reason: why; it is kept.
        requested_by: who wants it; it is kept.
        dry_run: only list what would be done, and where.
    """

    partner_ids: Sequence[int]
    emails: Sequence[str]
    reason: str
    requested_by: str
    dry_run: bool


@dataclass
class PersonToErase:
    """One address to erase, with what is known to belong to it."""

    email: str
    partner_ids: list[int]
    done: list[dict[str, Any]] = field(default_factory=list)

    def note(self, where: str, what: str, count: int) -> None:
        self.done.append({"where": where, "what": what, "count": count})


def erase(systems: Systems, request: ErasureRequest, run_id: str, log: logging.Logger) -> list[PersonToErase]:
    """Erase the people of a request everywhere; done again, it finds nothing and changes nothing.

    Returns:
        The people, each with what was done, or would be done in a dry run, and where.

    Raises:
        SyncError: the request names nobody or somebody unknown, the key is missing, or a company is being
            synced. What was begun is finished by erasing again.
    """
    pseudonyms = erasure_pseudonyms()
    people = _people(systems, request)
    if request.dry_run:
        for person in people:
            _look(systems, person)
        return people
    erasures = systems.ledger.erasures
    # From here on nobody reads these people again, whatever happens to this run.
    for person in people:
        erasures.request(
            pseudonyms.of(person.email),
            pseudonyms.key_id,
            person.partner_ids,
            reason=request.reason,
            by=request.requested_by,
        )
    with ExitStack() as held:
        # Both writers of every company, and a run that reads an audience, wait for the erasure.
        for company in systems.settings.companies.values():
            held.enter_context(opt_out_lease(systems, company.key, run_id))
            for audience in company.audiences.values():
                held.enter_context(hearing_lease(systems, company.key, audience.list_id, run_id))
        leases = {
            company: held.enter_context(company_lease(systems, company, run_id, log))
            for company in systems.settings.companies
        }
        for person in people:
            _erase(systems, person, leases, run_id)
        # Last: until then the ledger knows which addresses belong together, should this be interrupted.
        for person in people:
            _forget(systems, person, pseudonyms)
        erasures.wipe()
        for person in people:
            pseudonym = pseudonyms.of(person.email)
            erasures.complete(pseudonym, {"done": person.done})
            # A run that recorded the person just now saw that this was not complete, and left it to us.
            erasures.forget_what_is_done(person.email, pseudonym)
    return people


def _people(systems: Systems, request: ErasureRequest) -> list[PersonToErase]:
    """Find the addresses and the partners that belong together, those named last.

    Former addresses belong to them, and those that they gave themselves in Mailchimp, of which Odoo may not
    know.
    """
    from mc_pipeline.domain.erasure import with_former_addresses

    if not request.reason.strip() or not request.requested_by.strip():
        raise SyncError("Fill in reason and requested_by: both are stored.", allow_retries=False)
    malformed = [email for email in request.emails if email.strip().count("@") != 1]
    if malformed:
        raise SyncError(
            f"emails: {', '.join(map(mask_email, malformed))} is not an address; write one address per entry",
            allow_retries=False,
        )
    named = {email.strip().lower() for email in request.emails} | _addresses_of(systems, request.partner_ids)
    if not named:
        raise SyncError("Nobody is named: fill in partner_ids or emails.", allow_retries=False)
    theirs, partner_ids = _with_changed_addresses(systems, named, request.partner_ids)
    renames = systems.ledger.erasures.renames()
    others = {address for email in theirs for address in with_former_addresses(email, renames)}
    others |= {change.email for change in systems.ledger.changed_addresses.ever_of(partner_ids)}
    others = {address for address in others - theirs if "@" in address}
    partners = _partners_of(systems, sorted(theirs | others))
    # One of these that a contact has today was passed on: it is somebody else's.
    found = theirs | (others - partners.keys())
    return [
        PersonToErase(email, sorted(partners.get(email, ())))
        for email in sorted(found, key=lambda email: (email in named, email))
    ]


def _with_changed_addresses(
    systems: Systems, named: set[str], partner_ids: Sequence[int]
) -> tuple[set[str], set[int]]:
    """The addresses of these people in both systems, and their partners."""
    from mc_pipeline.domain.erasure import with_changed_addresses

    holders = _partners_of(systems, sorted(named))
    changes = systems.ledger.changed_addresses.open_everywhere()
    changes = [each for each in changes if "@" in each.former and "@" in each.email]
    owners = sorted(
        {
            each.partner_id
            for each in changes
            if each.partner_id is not None and {each.former, each.email} & named
        }
    )
    now = {}
    if owners:
        records = _everywhere(systems).search_read(
            "res.partner", [("id", "in", owners)], ["email_normalized"]
        )
        now = {record["id"]: record["email_normalized"] for record in records}
    corrected = {
        each.partner_id
        for each in changes
        if each.partner_id is not None and now.get(each.partner_id, False) not in (False, each.former)
    }
    partners = {*partner_ids, *(number for numbers in holders.values() for number in numbers)}
    return with_changed_addresses(named, holders, changes, corrected), partners


def _addresses_of(systems: Systems, partner_ids: Sequence[int]) -> set[str]:
    if not partner_ids:
        return set()
    records = _everywhere(systems).read("res.partner", sorted(set(partner_ids)), ["email_normalized"])
    found = {record["id"]: record["email_normalized"] for record in records}
    unknown = [partner for partner in partner_ids if partner not in found]
    without = [partner for partner, address in found.items() if not address]
    if unknown or without:
        raise SyncError(
            "partner_ids: "
            + "; ".join(
                f"{', '.join(map(str, ids))} {what}"
                for ids, what in (
                    (unknown, "is not in Odoo (or no longer): name the address under emails"),
                    (without, "has no valid e-mail in Odoo: nothing about it was ever sent"),
                )
                if ids
            ),
            allow_retries=False,
        )
    return set(found.values())


def _partners_of(systems: Systems, addresses: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    domain = [("email_normalized", "in", list(addresses))]
    for record in _everywhere(systems).search_read("res.partner", domain, ["email_normalized"]):
        found.setdefault(record["email_normalized"], []).append(record["id"])
    return found


def _everywhere(systems: Systems) -> Any:
    """Odoo with all companies that its user may see: a person belongs to none alone."""
    client = systems.odoo(next(iter(systems.settings.companies.values())))
    return client.with_companies(client.user_company_ids)


def _look(systems: Systems, person: PersonToErase) -> None:
    from mc_pipeline.mailchimp.members import get_member

    for where, client, list_id in _audiences(systems):
        member = get_member(client, list_id, subscriber_hash(person.email))
        if member is not None:
            person.note(where, f"member, {member['status']}: would be deleted permanently", 1)
    for company in systems.settings.companies.values():
        for key, audience in company.audiences.items():
            if audience.store is None:
                continue
            stores, store_id = systems.ledger.stores, audience.store.id
            for customer in stores.customers(store_id, [person.email]).values():
                held = stores.orders_of_customer(store_id, customer.object_id)
                if held:
                    person.note(f"store: {company.key}/{key}", "orders: would be deleted", len(held))
    for table, count in systems.ledger.erasures.traces(person.email).items():
        person.note(f"ledger: {table}", "rows: would lose the address", count)
    for file, count in erase_from_tables([person.email], person.partner_ids, dry_run=True).items():
        person.note(f"table: {file}", "rows: would be removed", count)


def _erase(
    systems: Systems,
    person: PersonToErase,
    leases: Mapping[str, Lease],
    run_id: str,
) -> None:
    from mc_pipeline.mailchimp.members import delete_member_permanently
    from mc_pipeline.push.erasing import erase_from_store
    from mc_pipeline.push.store_writes import StoreWrites
    from mc_pipeline.push.writer import Writer

    # While the ledger knows the address: by it the orders and the customer are found.
    for company_key, lease in leases.items():
        company = systems.company(company_key)
        for key, audience in company.audiences.items():
            if audience.store is None:
                continue
            writes = StoreWrites(Writer(systems.mailchimp(company), systems.ledger, lease, run_id))
            orders = erase_from_store(writes, audience.store.id, person.email)
            if orders:
                person.note(f"store: {company_key}/{key}", "orders: deleted", orders)
    for where, client, list_id in _audiences(systems):
        if delete_member_permanently(client, list_id, subscriber_hash(person.email)) == OutcomeKind.APPLIED:
            person.note(where, "member: deleted permanently", 1)
    for file, count in erase_from_tables([person.email], person.partner_ids).items():
        person.note(f"table: {file}", "rows: removed", count)


def _forget(systems: Systems, person: PersonToErase, pseudonyms: "Pseudonyms") -> None:
    for table, count in systems.ledger.erasures.forget(person.email, pseudonyms.of(person.email)).items():
        person.note(f"ledger: {table}", "rows: lost the address", count)


def _audiences(systems: Systems) -> list[tuple[str, "MailchimpClient", str]]:
    """Every audience of every company: how it is called, the client for it, and its id."""
    return [
        (f"audience: {company.key}/{key}", systems.mailchimp(company), audience.list_id)
        for company in systems.settings.companies.values()
        for key, audience in company.audiences.items()
    ]
