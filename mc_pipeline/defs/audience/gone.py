"""What is reported about members whose partner Odoo does not show, if Odoo could not be asked about it."""

from mc_pipeline.ledger.troubles import Trouble, TroubleKind


def fates_not_asked(partners: int, because: str, company: str) -> Trouble:
    """Odoo failed when it was asked what happened to so many partners."""
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="odoo",
        place="contacts that are gone",
        code="fates",
        sentence=(
            f"what happened to {_contacts(partners)} of members, which Odoo no longer shows, could not be "
            f"asked: {because}"
        ),
        what_to_do=(
            "Until it can be asked, these members stay as they are, and set_aside lists them; the next run "
            f"asks again. If it fails again: mc-pipeline doctor {company}"
        ),
        owner="data engineering",
    )


def merges_not_asked(partners: int, company: str) -> Trouble:
    """The Odoo user may not read the messages about the merges of so many partners."""
    return Trouble(
        kind=TroubleKind.NOT_LOOKED_AT,
        part="odoo",
        place="contacts that are gone",
        code="merges",
        sentence=(
            f"{_contacts(partners)} of members gone from Odoo: the Odoo user may not read the messages "
            "(mail.message) that record merges"
        ),
        what_to_do=(
            "Give the Odoo user the right to read messages of Contacts. Until then an opt-out of the "
            f"contact that they were merged into is not applied to them; mc-pipeline doctor {company}"
        ),
        owner="data engineering",
    )


def _contacts(number: int) -> str:
    return "1 contact" if number == 1 else f"{number:,} contacts"
