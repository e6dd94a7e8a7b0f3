"""First and last names: whether Odoo has them, and how many members' names are not as they would be."""

from collections.abc import Iterator

from mc_pipeline.doctor.findings import Check, Result, not_known, ok, warning
from mc_pipeline.doctor.subjects import CompanyInOdoo
from mc_pipeline.domain.contacts.names import WHAT_TO_DO
from mc_pipeline.domain.contacts.names_not_decided import list_names
from mc_pipeline.tables import schemas
from mc_pipeline.tables.parquet import stored_table

TWO_NAMES = frozenset({"firstname", "lastname"})
"""The fields of partner_firstname, a module of the Odoo Community Association."""


def check_names(company: CompanyInOdoo) -> Iterator[Result]:
    """What Odoo has of names, and members as the last sync saw them: nothing is read for the counting."""
    settings = company.settings
    if company.client.fields_get("res.partner").keys() >= TWO_NAMES:
        yield ok("Odoo has first and last names (partner_firstname): they are used unchanged")
    else:
        chosen = ", ".join(f"{each.names} in {key}" for key, each in settings.audiences.items())
        yield ok(f"Odoo has one name field; the setting names decides: {chosen}")
    contacts = stored_table(schemas.CONTACTS, settings.key)
    members = stored_table(schemas.MAILCHIMP_MEMBERS, settings.key)
    if contacts is None or members is None:
        yield not_known("how many members have other names: a sync counts them, sync --plan too")
        return
    records = company.systems.ledger.members.load([each.list_id for each in settings.audiences.values()])
    not_decided, twice = list_names(contacts.rows, members.rows, records, settings)
    seen = f"as of {members.observed_at:%Y-%m-%d %H:%M} UTC"
    if len(twice):
        yield warning(
            f"{_members(len(twice))} with the last name in both fields (Mia Miller, Miller), {seen}",
            "Sync: in audiences with names: whole, the first name is corrected.",
        )
    if len(not_decided):
        yield warning(
            f"{_members(len(not_decided))} whose names are not written, {seen}: this pipeline did not write "
            "the last name, and the name in Odoo does not end in it",
            f"{WHAT_TO_DO[:1].upper()}{WHAT_TO_DO[1:]} The check names_decided of audience_plan lists them.",
        )
    if not (len(twice) or len(not_decided)):
        yield ok(f"the names of all members fit, {seen}")


def _members(number: int) -> str:
    return "1 member" if number == 1 else f"{number:,} members"


NAMES_CHECKS: tuple[Check[CompanyInOdoo], ...] = (Check("names", check_names),)
