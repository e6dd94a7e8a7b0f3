"""What is reported of members whose partner Odoo does not show, where Odoo could not be asked about it."""

from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.vocabulary import Owner


def fates_not_asked(partners: int, because: str, company: str) -> Trouble:
    """Odoo failed when it was asked what became of so many partners."""
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="odoo",
        place="contacts that are gone",
        code="fates",
        sentence=f"what became of {_contacts(partners)} of members, which Odoo does not show any more, could "
        f"not be asked: {because}",
        what_to_do="Until it can be, these members stay as they are, and set_aside lists them; the next run "
        f"asks again. If that says the same: mc-pipeline doctor {company}",
        owner=Owner.DATA_ENGINEERING,
    )


def merges_not_asked(partners: int, company: str) -> Trouble:
    """The Odoo user may not read the messages that tell into whom so many partners were merged."""
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="odoo",
        place="contacts that are gone",
        code="merges",
        sentence=f"{_contacts(partners)} of members gone from Odoo: the Odoo user may not read the messages "
        "(mail.message) that tell of a merge, and into which contact",
        what_to_do="Give the Odoo user the right to read messages of Contacts. Until then an opt-out of the "
        f"contact that they were merged into is not followed; mc-pipeline doctor {company}",
        owner=Owner.DATA_ENGINEERING,
    )


def _contacts(number: int) -> str:
    return "1 contact" if number == 1 else f"{number:,} contacts"
