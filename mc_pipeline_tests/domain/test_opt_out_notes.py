"""What the note on a record of Odoo says, by language and kind."""

from datetime import UTC, datetime, timedelta, timezone
from string import Formatter

import pytest

from mc_pipeline.domain.consent.opt_out_notes import (
    SENTENCES,
    NoteKind,
    OptOutNote,
    kind_of_note,
    note_html,
    sentence,
)

WHEN = datetime(2026, 11, 30, 14, 5, 59, tzinfo=UTC)


def english(kind: NoteKind, language: str = "en_US", **other: object) -> str:
    values = {"audience": "retail", "company": "ACME UK", "occurred_at": WHEN, **other}
    return sentence(OptOutNote(kind, **values), language)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "origin", "kind"),
    [
        ("opt_out", "person", NoteKind.UNSUBSCRIBED),
        ("opt_out", "admin", NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR),
        ("opt_out", "unknown", NoteKind.UNSUBSCRIBED_BY_UNKNOWN),
        ("clean", "unknown", NoteKind.BOUNCED),
        ("clean", "admin", NoteKind.BOUNCED),
        ("complaint", "person", NoteKind.COMPLAINED),
        ("subscribe", "person", NoteKind.SUBSCRIBED_AGAIN),
        ("something new", "person", NoteKind.UNSUBSCRIBED),
        ("something new", "something new", NoteKind.UNSUBSCRIBED_BY_UNKNOWN),
    ],
)
def test_an_event_and_its_origin_are_a_kind_of_note(event: str, origin: str, kind: NoteKind):
    assert kind_of_note(event, origin) == kind


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            NoteKind.UNSUBSCRIBED,
            "Opted out: the person unsubscribed from the Mailchimp audience “retail” (ACME UK) on "
            "2026-11-30 14:05 UTC.",
        ),
        (
            NoteKind.UNSUBSCRIBED_BY_ADMINISTRATOR,
            "Opted out: an administrator unsubscribed the person from the Mailchimp audience “retail” "
            "(ACME UK) on 2026-11-30 14:05 UTC.",
        ),
        (
            NoteKind.UNSUBSCRIBED_BY_UNKNOWN,
            "Opted out: unsubscribed from the Mailchimp audience “retail” (ACME UK) on 2026-11-30 14:05 UTC. "
            "It is not known who did it.",
        ),
        (
            NoteKind.BOUNCED,
            "Opted out: an e-mail to the Mailchimp audience “retail” (ACME UK) bounced on 2026-11-30 14:05 "
            "UTC, and Mailchimp sends nothing more to this address.",
        ),
        (
            NoteKind.COMPLAINED,
            "Opted out: the person reported an e-mail to the Mailchimp audience “retail” (ACME UK) as spam "
            "on 2026-11-30 14:05 UTC.",
        ),
        (
            NoteKind.SUBSCRIBED_AGAIN,
            "Removed from the blacklist: the person resubscribed themselves to the Mailchimp audience "
            "“retail” (ACME UK) on 2026-11-30 14:05 UTC.",
        ),
    ],
)
def test_the_note_says_which_audience_which_kind_and_when(kind: NoteKind, text: str):
    assert english(kind) == text


@pytest.mark.parametrize(
    ("language", "begins"),
    [
        ("en_US", "Opted out:"), ("en_GB", "Opted out:"), ("de_DE", "Abgemeldet:"), ("de_CH", "Abgemeldet:"),
        ("fr_FR", "Désinscription :"), ("fr_BE", "Désinscription :"), ("es_ES", "Baja:"), ("es_419", "Baja:"),
        ("nl_NL", "Afgemeld:"), ("nl", "Afgemeld:"), ("ja_JP", "Opted out:"), ("sr@latin", "Opted out:"),
        ("", "Opted out:"),
    ],
)  # fmt: skip
def test_the_note_is_in_the_language_of_the_odoo_user_or_in_english(language: str, begins: str):
    assert english(NoteKind.UNSUBSCRIBED, language).startswith(begins)


@pytest.mark.parametrize("language", SENTENCES)
def test_every_language_has_a_sentence_of_its_own_for_every_kind(language: str):
    sentences = SENTENCES[language]
    assert set(sentences) == set(NoteKind)
    assert len(set(sentences.values())) == len(NoteKind)
    for text in sentences.values():
        places = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        assert places == {"audience", "company", "when"}


def test_a_time_of_another_zone_is_said_in_utc():
    tokyo = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert "2026-11-30 14:05 UTC" in english(NoteKind.BOUNCED, occurred_at=tokyo)


def test_names_with_the_special_letters_of_html_are_shown_as_they_are():
    note = OptOutNote(NoteKind.COMPLAINED, "<b>retail</b>", "Smith & Sons {when}", WHEN)
    html = note_html(note, "en_US")
    assert "&lt;b&gt;retail&lt;/b&gt;" in html
    assert "Smith &amp; Sons {when}" in html
    assert (html[:3], html[-4:]) == ("<p>", "</p>")
