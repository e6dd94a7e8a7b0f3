"""Says in Odoo why an opt-out is there: a note on the row of the blacklist, or on the contact (rule 5.3).

A note comes after the outcome of its opt-out is in the ledger, and an outcome is written once: so a process
that is killed leaves one note or none. A note that cannot be written stops nothing, and is reported once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from mc_pipeline.domain.consent.opt_out_notes import OptOutNote, kind_of_note, note_html
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooError, Retry
from mc_pipeline.odoo.notes import (
    Note,
    NoteWriter,
    RecordInOdoo,
    company_name,
    language_of_user,
    records_with,
)

_BLACKLIST = "mail.blacklist"
_NOBODY = "Odoo shows no contact with the address"


@dataclass(frozen=True, kw_only=True)
class CarriedOptOut:
    """An opt-out, or its removal, that we applied to Odoo just now.

    address       as Odoo has it
    blacklist_id  the row; None: the note belongs on the contacts with the address
    audience, event, origin, occurred_at   what happened in Mailchimp
    """

    address: str
    blacklist_id: int | None
    audience: str
    event: str
    origin: str
    occurred_at: datetime


class OptOutNotes:
    """The notes of one run.

    ``company`` is the company's key, for an Odoo that does not return its name. ``seeing_partners`` gives the
    client for notes on contacts, which may be those of companies above (``companies.seeing_partners``).
    """

    def __init__(
        self, client: OdooClient, company: str, *, seeing_partners: Callable[[], OdooClient] | None = None
    ) -> None:
        self._client = client
        self._company = company
        self._seeing_partners = seeing_partners or (lambda: client)
        self._writer = NoteWriter(client)
        self._writer_on_contacts: NoteWriter | None = None
        self._words: tuple[str, str] | None = None
        self._wanted = 0
        self._missing: list[str] = []

    @property
    def trouble(self) -> str:
        """How many of the run's opt-outs have no note, and why; empty when all have one."""
        if not self._missing:
            return ""
        because = "; ".join(dict.fromkeys(self._missing[:1] + self._missing[-1:]))
        return (
            f"{len(self._missing):,} of {self._wanted:,} opt-outs are applied without the note in Odoo that "
            f"says why: {because}"
        )

    def write(self, carried: Sequence[CarriedOptOut]) -> dict[str, str]:
        """Write the notes; return why there is none, by the address, for those that have none."""
        if not carried:
            return {}
        self._wanted += len(carried)
        try:
            without = self._written(carried)
        except OdooError as error:
            without = {each.address: error.message for each in carried}
        except Exception as error:
            # A note is a courtesy: whatever is wrong with it, the opt-outs are applied.
            without = {each.address: f"{type(error).__name__} in the note" for each in carried}
        self._missing += without.values()
        return without

    def _written(self, carried: Sequence[CarriedOptOut]) -> dict[str, str]:
        if self._words is None:
            name = _answer_or_nothing(company_name, self._client) or self._company
            self._words = _answer_or_nothing(language_of_user, self._client), name
        without_row = [each.address for each in carried if each.blacklist_id is None]
        of_contacts = records_with(self._seeing_partners(), without_row) if without_row else {}
        addresses: list[str] = []
        notes: list[Note] = []
        without: dict[str, str] = {}
        for each in carried:
            body = self._body(each, *self._words)
            records = _records(each, of_contacts)
            if not records:
                without[each.address] = _NOBODY
            for record in records:
                addresses.append(each.address)
                notes.append(Note(record, body))
        return without | {
            address: reason for address, reason in zip(addresses, self._sent(notes), strict=True) if reason
        }

    def _sent(self, notes: Sequence[Note]) -> list[str]:
        """Write notes on rows of the blacklist and on contacts; say of each, in order, why it is missing."""
        on_contacts = [note.record.model != _BLACKLIST for note in notes]
        if any(on_contacts) and self._writer_on_contacts is None:
            self._writer_on_contacts = NoteWriter(self._seeing_partners())
        answers: dict[bool, Iterator[str]] = {}
        for which, writer in ((False, self._writer), (True, self._writer_on_contacts)):
            chosen = [
                note for note, is_contact in zip(notes, on_contacts, strict=True) if is_contact == which
            ]
            answers[which] = iter(writer.write(chosen) if writer is not None and chosen else [])
        return [next(answers[which]) for which in on_contacts]

    def _body(self, carried: CarriedOptOut, language: str, company: str) -> str:
        kind = kind_of_note(carried.event, carried.origin)
        return note_html(OptOutNote(kind, carried.audience, company, carried.occurred_at), language)


def _answer_or_nothing(ask: Callable[[OdooClient], str], client: OdooClient) -> str:
    """What Odoo says, and nothing where it refuses: the note does without. Raises OdooError if it broke."""
    try:
        return ask(client)
    except OdooError as error:
        if error.retry is Retry.NEVER:
            return ""
        raise


def _records(carried: CarriedOptOut, of_contacts: dict[str, list[RecordInOdoo]]) -> Iterable[RecordInOdoo]:
    if carried.blacklist_id is None:
        return of_contacts.get(carried.address, [])
    return [RecordInOdoo(_BLACKLIST, carried.blacklist_id)]
