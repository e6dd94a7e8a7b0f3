"""What the note on a record of Odoo says: why an opt-out is there, or why it was removed (rule 5.3).

One whole sentence for each language and kind, since half-sentences cannot be translated. Times are UTC and
say so. The sentences name an audience, a company and a time, and nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from html import escape

from mc_pipeline.vocabulary import EventKind, Origin


class NoteKind(StrEnum):
    """What happened in Mailchimp."""

    UNSUBSCRIBED = "unsubscribed"
    UNSUBSCRIBED_BY_ADMINISTRATOR = "unsubscribed_by_administrator"
    UNSUBSCRIBED_BY_UNKNOWN = "unsubscribed_by_unknown"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SUBSCRIBED_AGAIN = "subscribed_again"


@dataclass(frozen=True)
class OptOutNote:
    """What one note says.

    audience      its name in the settings
    company       the company's name
    occurred_at   when it happened, as Mailchimp dates it
    """

    kind: NoteKind
    audience: str
    company: str
    occurred_at: datetime


FALLBACK_LANGUAGE = "en"

SENTENCES: Mapping[str, Mapping[NoteKind, str]] = {
    "en": {
        NoteKind.UNSUBSCRIBED: "Opted out: the person unsubscribed from the Mailchimp audience "
        "“{audience}” ({company}) on {when}.",
        NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR: "Opted out: an administrator unsubscribed the person "
        "from the Mailchimp audience “{audience}” ({company}) on {when}.",
        NoteKind.UNSUBSCRIBED_BY_UNKNOWN: "Opted out: unsubscribed from the Mailchimp audience "
        "“{audience}” ({company}) on {when}. It is not known who did it.",
        NoteKind.BOUNCED: "Opted out: an e-mail to the Mailchimp audience “{audience}” ({company}) "
        "bounced on {when}, and Mailchimp sends nothing more to this address.",
        NoteKind.COMPLAINED: "Opted out: the person reported an e-mail to the Mailchimp audience "
        "“{audience}” ({company}) as spam on {when}.",
        NoteKind.SUBSCRIBED_AGAIN: (
            "Removed from the blacklist: the person resubscribed themselves to the Mailchimp audience "
            "“{audience}” ({company}) on {when}."
        ),
    },
    "de": {
        NoteKind.UNSUBSCRIBED: "Abgemeldet: Die Person hat sich am {when} selbst von der "
        "Mailchimp-Zielgruppe „{audience}“ ({company}) abgemeldet.",
        NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR: "Abgemeldet: Ein Administrator hat die Person am {when} "
        "von der Mailchimp-Zielgruppe „{audience}“ ({company}) abgemeldet.",
        NoteKind.UNSUBSCRIBED_BY_UNKNOWN: "Abgemeldet: am {when} von der Mailchimp-Zielgruppe "
        "„{audience}“ ({company}) abgemeldet. Von wem, ist nicht bekannt.",
        NoteKind.BOUNCED: "Abgemeldet: Eine E-Mail an die Mailchimp-Zielgruppe „{audience}“ ({company}) "
        "war am {when} unzustellbar; Mailchimp sendet nichts mehr an diese Adresse.",
        NoteKind.COMPLAINED: "Abgemeldet: Die Person hat am {when} eine E-Mail an die "
        "Mailchimp-Zielgruppe „{audience}“ ({company}) als Spam gemeldet.",
        NoteKind.SUBSCRIBED_AGAIN: "Von der schwarzen Liste genommen: Die Person hat sich am {when} "
        "selbst wieder bei der Mailchimp-Zielgruppe „{audience}“ ({company}) angemeldet.",
    },
    "fr": {
        NoteKind.UNSUBSCRIBED: "Désinscription : la personne s'est désinscrite elle-même de l'audience "
        "Mailchimp « {audience} » ({company}) le {when}.",
        NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR: "Désinscription : un administrateur a désinscrit la "
        "personne de l'audience Mailchimp « {audience} » ({company}) le {when}.",
        NoteKind.UNSUBSCRIBED_BY_UNKNOWN: "Désinscription de l'audience Mailchimp « {audience} » "
        "({company}) le {when}. On ne sait pas qui l'a faite.",
        NoteKind.BOUNCED: "Désinscription : un e-mail à l'audience Mailchimp « {audience} » ({company}) "
        "a été rejeté le {when} ; Mailchimp n'envoie plus rien à cette adresse.",
        NoteKind.COMPLAINED: "Désinscription : la personne a signalé comme spam un e-mail à l'audience "
        "Mailchimp « {audience} » ({company}) le {when}.",
        NoteKind.SUBSCRIBED_AGAIN: "Retrait de la liste noire : la personne s'est réinscrite elle-même "
        "à l'audience Mailchimp « {audience} » ({company}) le {when}.",
    },
    "es": {
        NoteKind.UNSUBSCRIBED: "Baja: la persona canceló su suscripción al público de Mailchimp "
        "«{audience}» ({company}) el {when}.",
        NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR: "Baja: un administrador canceló la suscripción de la "
        "persona al público de Mailchimp «{audience}» ({company}) el {when}.",
        NoteKind.UNSUBSCRIBED_BY_UNKNOWN: "Baja: suscripción al público de Mailchimp «{audience}» "
        "({company}) cancelada el {when}. No se sabe quién lo hizo.",
        NoteKind.BOUNCED: "Baja: un correo al público de Mailchimp «{audience}» ({company}) rebotó el "
        "{when}; Mailchimp ya no envía nada a esta dirección.",
        NoteKind.COMPLAINED: "Baja: la persona marcó como spam un correo al público de Mailchimp "
        "«{audience}» ({company}) el {when}.",
        NoteKind.SUBSCRIBED_AGAIN: "Fuera de la lista negra: la persona se suscribió de nuevo por sí "
        "misma al público de Mailchimp «{audience}» ({company}) el {when}.",
    },
    "nl": {
        NoteKind.UNSUBSCRIBED: "Afgemeld: de persoon heeft zich op {when} zelf afgemeld voor de "
        "Mailchimp-doelgroep ‘{audience}’ ({company}).",
        NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR: "Afgemeld: een beheerder heeft de persoon op {when} "
        "afgemeld voor de Mailchimp-doelgroep ‘{audience}’ ({company}).",
        NoteKind.UNSUBSCRIBED_BY_UNKNOWN: "Afgemeld: op {when} afgemeld voor de Mailchimp-doelgroep "
        "‘{audience}’ ({company}). Door wie is niet bekend.",
        NoteKind.BOUNCED: "Afgemeld: een e-mail aan de Mailchimp-doelgroep ‘{audience}’ ({company}) "
        "kwam op {when} als onbestelbaar terug; Mailchimp stuurt niets meer naar dit adres.",
        NoteKind.COMPLAINED: "Afgemeld: de persoon heeft op {when} een e-mail aan de "
        "Mailchimp-doelgroep ‘{audience}’ ({company}) als spam gemeld.",
        NoteKind.SUBSCRIBED_AGAIN: "Van de blacklist gehaald: de persoon heeft zich op {when} zelf "
        "opnieuw aangemeld voor de Mailchimp-doelgroep ‘{audience}’ ({company}).",
    },
}
"""By language and kind; each has the places {audience}, {company} and {when}. The words for the blacklist are
those of Odoo's own translations."""

_UNSUBSCRIBED_BY: Mapping[str, NoteKind] = {
    Origin.PERSON: NoteKind.UNSUBSCRIBED,
    Origin.ADMIN: NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR,
}
_OTHER_EVENTS: Mapping[str, NoteKind] = {
    EventKind.CLEAN: NoteKind.BOUNCED,
    EventKind.COMPLAINT: NoteKind.COMPLAINED,
    EventKind.SUBSCRIBE: NoteKind.SUBSCRIBED_AGAIN,
}


def kind_of_note(event: str, origin: str) -> NoteKind:
    """The kind for a consent event and its origin; what is not known to be somebody's act says so."""
    other = _OTHER_EVENTS.get(event)
    return other or _UNSUBSCRIBED_BY.get(origin, NoteKind.UNSUBSCRIBED_BY_UNKNOWN)


def sentence(note: OptOutNote, odoo_language: str) -> str:
    """The note as plain text.

    ``odoo_language`` is Odoo's code, such as de_CH or sr@latin; a language that is not known is English.
    """
    language = odoo_language.partition("_")[0].partition("@")[0].casefold()
    sentences = SENTENCES.get(language) or SENTENCES[FALLBACK_LANGUAGE]
    when = f"{note.occurred_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return sentences[note.kind].format(audience=note.audience, company=note.company, when=when)


def note_html(note: OptOutNote, odoo_language: str) -> str:
    """The note as Odoo keeps it: ``mail.message.body`` is HTML, and names may have its special letters."""
    return f"<p>{escape(sentence(note, odoo_language))}</p>"
