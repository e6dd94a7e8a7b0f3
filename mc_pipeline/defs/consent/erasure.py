"""The job ``erase_person``: takes people out of every audience, table and record that we keep (rule 10.1).

Odoo is not changed: its administrator decides there, and an opt-out in Odoo's blacklist stays. Erased people
are dropped from every later read, so that they do not come back while Odoo still has them.

Runs may be under way meanwhile, and the erasure does not wait for them to end. First it sets a tombstone:
after that every step leaves the person out of what it loads, stores and sends. Then it waits for those that
are writing, and takes the person out of what there is. A step that had the person in memory takes out again
what it recorded since (``Systems.forget_again``).
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from mc_pipeline.defs.company_lease import company_lease
from mc_pipeline.defs.erased_people import erasure_pseudonyms
from mc_pipeline.defs.presentation import partner_link, records_table
from mc_pipeline.defs.systems import Systems
from mc_pipeline.masking import mask_email

if TYPE_CHECKING:
    from mc_pipeline.domain.erasure import Pseudonyms
    from mc_pipeline.ledger import Lease
    from mc_pipeline.mailchimp.client import MailchimpClient

ERASE_PERSON = "erase_person"
FORGET_ERASURE_RUNS = "forget_erasure_runs"


class ErasePerson(dg.Config):
    """Whom to erase, and why. At first only looks: set ``dry_run`` to false to erase."""

    partner_ids: list[int] = Field(
        default=[],
        description="Ids of contacts in Odoo. Better than addresses, because a run stores what is typed.",
    )
    emails: list[str] = Field(
        default=[],
        description="Addresses of people whom Odoo no longer has. The run is deleted afterwards.",
    )
    reason: str = Field(description="Why, such as the date of the request. It is stored, so name nobody.")
    requested_by: str = Field(description="Your name. It is stored.")
    dry_run: bool = Field(default=True, description="True: only show what would be deleted, and where.")


@dataclass
class _Person:
    """One address to erase, with what is known to belong to it."""

    email: str
    partner_ids: list[int]
    done: list[dict[str, Any]] = field(default_factory=list)

    def note(self, where: str, what: str, count: int) -> None:
        self.done.append({"where": where, "what": what, "count": count})


@dg.op(description="Erases people from Mailchimp, the tables and the ledger, or says what would be erased.")
def erase_people(
    context: dg.OpExecutionContext, config: ErasePerson, systems: dg.ResourceParam[Systems]
) -> None:
    """Erase the people of the config everywhere; done again, it finds nothing and changes nothing.

    Raises:
        dagster.Failure: the config names nobody or somebody unknown, the key is missing, or a company is
            being synced. What was begun is finished by running the job again.
    """
    from mc_pipeline.sync.opt_outs.lease import hearing_lease, opt_out_lease

    pseudonyms = erasure_pseudonyms()
    people = _people(systems, config)
    if config.dry_run:
        for person in people:
            _look(systems, person)
    else:
        erasures = systems.ledger.erasures
        # From here on nobody reads these people again, whatever happens to this run.
        for person in people:
            erasures.request(
                pseudonyms.of(person.email),
                pseudonyms.key_id,
                person.partner_ids,
                reason=config.reason,
                by=config.requested_by,
            )
        with ExitStack() as held:
            # Both writers of every company, and a run that reads an audience, wait for the erasure.
            for company in systems.settings.companies.values():
                held.enter_context(opt_out_lease(systems, company.key, context.run_id))
                for audience in company.audiences.values():
                    held.enter_context(hearing_lease(systems, company.key, audience.list_id, context.run_id))
            leases = {
                company: held.enter_context(company_lease(systems, company, context.run_id, context.log))
                for company in systems.settings.companies
            }
            for person in people:
                _erase(systems, person, leases, context.run_id)
            # Last: until then the ledger knows which addresses belong together, should this be interrupted.
            for person in people:
                _forget(systems, person, pseudonyms)
            erasures.wipe()
            for person in people:
                pseudonym = pseudonyms.of(person.email)
                erasures.complete(pseudonym, {"done": person.done})
                # A run that recorded the person just now saw that this was not complete, and left it to us.
                erasures.forget_what_is_done(person.email, pseudonym)
    _report(context, systems, people, config.dry_run)


def _people(systems: Systems, config: ErasePerson) -> list[_Person]:
    """Find the addresses and the partners that belong together, those named last.

    Former addresses belong to them, and those that they gave themselves in Mailchimp, of which Odoo may not
    know.
    """
    from mc_pipeline.domain.erasure import with_former_addresses

    if not config.reason.strip() or not config.requested_by.strip():
        raise dg.Failure("Fill in reason and requested_by: both are stored.", allow_retries=False)
    malformed = [email for email in config.emails if email.strip().count("@") != 1]
    if malformed:
        raise dg.Failure(
            f"emails: {', '.join(map(mask_email, malformed))} is not an address; write one address per entry",
            allow_retries=False,
        )
    named = {email.strip().lower() for email in config.emails} | _addresses_of(systems, config.partner_ids)
    if not named:
        raise dg.Failure("Nobody is named: fill in partner_ids or emails.", allow_retries=False)
    theirs, partner_ids = _with_changed_addresses(systems, named, config.partner_ids)
    renames = systems.ledger.erasures.renames()
    others = {address for email in theirs for address in with_former_addresses(email, renames)}
    others |= {change.email for change in systems.ledger.changed_addresses.ever_of(partner_ids)}
    others = {address for address in others - theirs if "@" in address}
    partners = _partners_of(systems, sorted(theirs | others))
    # One of these that a contact has today was passed on: it is somebody else's.
    found = theirs | (others - partners.keys())
    return [
        _Person(email, sorted(partners.get(email, ())))
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
        raise dg.Failure(
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


def _look(systems: Systems, person: _Person) -> None:
    from mc_pipeline.mailchimp.members import get_member, subscriber_hash
    from mc_pipeline.tables.erasing import erase_from_tables

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
    person: _Person,
    leases: Mapping[str, "Lease"],
    run_id: str,
) -> None:
    from mc_pipeline.mailchimp.members import delete_member_permanently, subscriber_hash
    from mc_pipeline.push.erasing import erase_from_store
    from mc_pipeline.push.store_writes import StoreWrites
    from mc_pipeline.tables.erasing import erase_from_tables

    # While the ledger knows the address: by it the orders and the customer are found.
    for company_key, lease in leases.items():
        company = systems.company(company_key)
        for key, audience in company.audiences.items():
            if audience.store is None:
                continue
            writes = StoreWrites(systems.mailchimp(company), systems.ledger, lease, run_id)
            orders = erase_from_store(writes, audience.store.id, person.email)
            if orders:
                person.note(f"store: {company_key}/{key}", "orders: deleted", orders)
    for where, client, list_id in _audiences(systems):
        if delete_member_permanently(client, list_id, subscriber_hash(person.email)) == "applied":
            person.note(where, "member: deleted permanently", 1)
    for file, count in erase_from_tables([person.email], person.partner_ids).items():
        person.note(f"table: {file}", "rows: removed", count)


def _forget(systems: Systems, person: _Person, pseudonyms: "Pseudonyms") -> None:
    for table, count in systems.ledger.erasures.forget(person.email, pseudonyms.of(person.email)).items():
        person.note(f"ledger: {table}", "rows: lost the address", count)


def _audiences(systems: Systems) -> list[tuple[str, "MailchimpClient", str]]:
    """Every audience of every company: how it is called, the client for it, and its id."""
    return [
        (f"audience: {company.key}/{key}", systems.mailchimp(company), audience.list_id)
        for company in systems.settings.companies.values()
        for key, audience in company.audiences.items()
    ]


def _report(
    context: dg.OpExecutionContext, systems: Systems, people: Sequence[_Person], dry_run: bool
) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        [{"email": person.email, **entry} for person in people for entry in person.done],
        columns=["email", "where", "what", "count"],
    )
    partners = sorted({partner for person in people for partner in person.partner_ids})
    links = "\n".join(f"- [{partner}]({partner_link(systems.settings, partner)})" for partner in partners)
    context.add_output_metadata(
        {
            "dry_run": dry_run,
            "people": len(people),
            "report": records_table(rows),
            "still_in_odoo": dg.MetadataValue.md(
                f"Odoo is not changed. Anonymise or delete there:\n\n{links}"
                if partners
                else "Odoo has no contact with these addresses."
            ),
        }
    )
    context.log.info(
        f"{len(people)} addresses {'would be' if dry_run else 'are'} erased, {int(rows['count'].sum()):,} "
        f"traces; {len(partners)} contacts are still in Odoo."
    )


@dg.job(
    name=ERASE_PERSON,
    description=(
        "Erase people from every audience and store, from the tables and the ledger, permanently.\n\nIn the "
        "launchpad name the contacts (`partner_ids`), the reason and yourself. `dry_run: true` only shows "
        "what would be deleted, and where; look at it, then run with `dry_run: false`. Odoo itself is not "
        "changed; an opt-out there stays. `MC_PIPELINE_ERASURE_KEY` must be set, and must never change."
    ),
    config={
        "ops": {
            "erase_people": {
                "config": {
                    "partner_ids": [],
                    "emails": [],
                    "reason": "",
                    "requested_by": "",
                    "dry_run": True,
                }
            }
        }
    },
)
def erase_person() -> None:
    """Erase people, or say what would be erased."""
    erase_people()


@dg.run_status_sensor(
    name=FORGET_ERASURE_RUNS,
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[erase_person],
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Deletes finished runs of erase_person whose config contains addresses, because a run stores what "
        "was typed. The ledger still records what was done."
    ),
)
def forget_erasure_runs(context: dg.RunStatusSensorContext) -> None:
    """Delete the run if its config contains addresses and it erased them."""
    config: Any = context.dagster_run.run_config
    told = config["ops"]["erase_people"]["config"]
    if told.get("emails") and not told.get("dry_run", True):
        context.instance.delete_run(context.dagster_run.run_id)
