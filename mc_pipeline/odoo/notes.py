"""Notes in the chatter of Odoo's records: rows of ``mail.message``, created for many records in one call.

``message_post`` takes one record a call, and notifies followers; what writes many (``_message_log_batch``) is
private, so RPC cannot call it. Creating ``mail.message`` does the same as that, and ordinary users may do it
(source of Odoo 17, 18 and 19, ``addons/mail``; measured on 18.0):

- every internal user may create messages (``ir.model.access.csv``), each about a record that the user may
  write (``mail.message._check_access``, ``_mail_post_access``): rows of the blacklist and mailing contacts
  need Email Marketing / User, partners need Contact Creation;
- nobody is notified and nobody becomes a follower: ``message_post`` does both, ``create`` does not;
- the record itself is not written: its ``write_date`` and ``write_uid`` stay, by which a row of ours is known
  (rule 5.5). A customised database may do otherwise; then the row counts as touched, and stays;
- ``author_id`` is the user's partner, ``date`` is now; ``body`` is HTML, and Odoo sanitises it;
- one record that the user may not write makes Odoo refuse the whole call, and undo it (with a KeyError in
  place of an AccessError where the user follows another one of them: a fault of 18.0's own check);
- so does a record that is gone; from 19 on only where a record rule of its model is held against it, as of
  partners. About a row of the blacklist or a mailing contact that is gone, 19.0 makes a message that nobody
  sees.

500 notes took 1.5 to 3 seconds. A note is sent once. What was lost on the way is not repeated: two equal
notes on a record would say that something happened twice.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mc_pipeline.chunks import chunks_of
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooError, OdooModelMissingError, Retry

PAGE = 500
"""Notes in one call."""

SPARE_CALLS = 40
"""Calls that a run may spend to find the records that Odoo refuses among the others."""

_MESSAGE = "mail.message"


@dataclass(frozen=True)
class RecordInOdoo:
    """A record that a note can be about."""

    model: str
    record_id: int


@dataclass(frozen=True)
class Note:
    """A note about a record; ``body`` is HTML."""

    record: RecordInOdoo
    body: str


class NoteWriter:
    """Writes the notes of one run; reports what went wrong, and raises none of Odoo's errors.

    Once Odoo cannot be reached, or it is not known whether notes arrived, no more are sent.
    """

    def __init__(self, client: OdooClient) -> None:
        self._client = client
        self._subtype: dict[str, int] | None = None
        self._spare_calls = SPARE_CALLS
        self._gave_up_because = ""

    def write(self, notes: Sequence[Note]) -> list[str]:
        """Write notes; say of each, in order, why it is not there, and nothing where it is."""
        reasons: dict[int, str] = {}
        # The right to write one model says nothing about another: never both in one call.
        for model in dict.fromkeys(note.record.model for note in notes):
            places = [place for place, note in enumerate(notes) if note.record.model == model]
            for page in chunks_of(PAGE, places):
                reasons |= zip(page, self._written([notes[place] for place in page]), strict=True)
        return [reasons[place] for place in range(len(notes))]

    def _written(self, notes: Sequence[Note]) -> list[str]:
        if self._gave_up_because:
            return [self._gave_up_because] * len(notes)
        try:
            self._create(notes)
        except OdooError as error:
            if error.retry is not Retry.NEVER:
                self._gave_up_because = error.message
            if self._gave_up_because or len(notes) == 1 or self._spare_calls < 2:
                return [error.message] * len(notes)
            # Refused as a whole, and nothing of it was kept: perhaps because of one record among them.
            self._spare_calls -= 2
            middle = len(notes) // 2
            return self._written(notes[:middle]) + self._written(notes[middle:])
        return [""] * len(notes)

    def _create(self, notes: Sequence[Note]) -> None:
        if self._subtype is None:
            self._subtype = _subtype_of_notes(self._client)
        self._client.execute(
            _MESSAGE,
            "create",
            [
                {
                    "model": note.record.model,
                    "res_id": note.record.record_id,
                    "body": note.body,
                    "message_type": "notification",
                    **self._subtype,
                }
                for note in notes
            ],
        )


def _subtype_of_notes(client: OdooClient) -> dict[str, int]:
    """The subtype ``mail.mt_note``: "Note", internal, of all models. A message without it is shown too."""
    domain = [("name", "=", "Note"), ("internal", "=", True), ("res_model", "=", False)]
    found = client.search("mail.message.subtype", domain, limit=1, order="id")
    return {"subtype_id": found[0]} if found else {}


def language_of_user(client: OdooClient) -> str:
    """The language of the Odoo user, by Odoo's code (de_DE); empty where there is none. Raises OdooError."""
    context = client.execute("res.users", "context_get")
    language = context.get("lang") if isinstance(context, dict) else None
    return str(language or "")


def company_name(client: OdooClient) -> str:
    """The name of the client's company, empty where the user may not see it. Raises OdooError."""
    read = client.read("res.company", list(client.company_ids[:1]), ["name"])
    return str(read[0]["name"] or "") if read else ""


def records_with(client: OdooClient, addresses: Iterable[str]) -> dict[str, list[RecordInOdoo]]:
    """The partners with each address, or the mailing contacts where no partner has it.

    ``addresses`` as Odoo normalises them; those of nobody are left out. Raises OdooError.
    """
    wanted = list(dict.fromkeys(addresses))
    found = _with_address(client, "res.partner", wanted)
    left = [address for address in wanted if address not in found]
    if left:
        with contextlib.suppress(OdooModelMissingError):
            found |= _with_address(client, "mailing.contact", left)
    return found


def _with_address(client: OdooClient, model: str, addresses: Sequence[str]) -> dict[str, list[RecordInOdoo]]:
    found: dict[str, list[RecordInOdoo]] = {}
    for some in chunks_of(2 * PAGE, addresses):
        domain: list[Any] = [("email_normalized", "in", some)]
        for row in client.search_read(model, domain, ["email_normalized"]):
            found.setdefault(row["email_normalized"], []).append(RecordInOdoo(model, row["id"]))
    return found
