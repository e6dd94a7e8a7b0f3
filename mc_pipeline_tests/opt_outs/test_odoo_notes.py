"""The note that says in Odoo why an opt-out is there: what it says, where, and that it holds nothing back."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mc_pipeline.domain.consent.opt_outs_into_odoo import Decision
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.push.odoo_opt_outs import CarriedOut, CompanySources, OdooOptOutWrites
from mc_pipeline.push.writer import Writer
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.opt_outs.test_odoo_writes import ADA, GRACE, WHOLESALE, Office

OF_NOTES = ("res.company", "res.users", "mail.message.subtype", "mail.message")
"""Models that are asked for a note only."""


class Death(BaseException):
    """The process ends here; no ``Exception``, so nothing in it goes on."""


@pytest.fixture(params=[((17, 0), "jsonrpc"), ((18, 0), "jsonrpc"), ((19, 0), "jsonrpc"), ((19, 0), "json2")])
def any_office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    """Every version over every transport, as the ordinary user that README asks for."""
    version, api = request.param
    with ExitStack() as stack:
        office = Office(tmp_path / "ledger.db", stack, version)
        user = office.odoo.add_user("mailer", "secret", groups=("email_marketing", "partner_manager"))
        secret = office.odoo.add_api_key(user) if api == "json2" else "secret"
        office.client = office.log_in(stack, "mailer", secret, api)
        for email in ("Ada@Example.com", GRACE):
            office.odoo.add_partner(name="A customer", email=email)
        yield office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        office = Office(tmp_path / "ledger.db", stack)
        for email in ("Ada@Example.com", GRACE):
            office.odoo.add_partner(name="A customer", email=email)
        yield office


def text(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def notes_of_row(office: Office, email: str = ADA) -> list[str]:
    (row,) = office.odoo.search("mail.blacklist", [("email", "=", email)])
    return [text(note) for note in office.odoo.notes("mail.blacklist", row)]


def carry_out(
    office: Office, decisions: list[Decision], sources: CompanySources | None = None
) -> tuple[CarriedOut, str]:
    """One run, with what it tells of notes that are missing."""
    with office.ledger.leases.hold("acme", "run", timedelta(hours=1), path=OPT_OUTS) as lease:
        writes = OdooOptOutWrites(Writer(office.client, office.ledger, lease, "run"), sources)
        writes.settle_open()
        return writes.carry_out(decisions), writes.notes_trouble


@pytest.mark.parametrize(
    ("event", "origin", "says"),
    [
        ("opt_out", "person", "the person unsubscribed from"),
        ("opt_out", "admin", "an administrator unsubscribed the person"),
        ("opt_out", "unknown", "It is not known who did it."),
        ("clean", "unknown", "bounced"),
        ("complaint", "person", "as spam"),
    ],
)
def test_the_row_says_which_audience_what_happened_and_when(
    any_office: Office, event: str, origin: str, says: str
):
    any_office.said(event, origin=origin)
    assert any_office.run() == {ADA: ("opt_out", "applied", "")}
    (note,) = notes_of_row(any_office)
    assert says in note
    assert "Mailchimp audience “retail” (My Company)" in note
    assert "2026-05-01 12:01 UTC" in note
    assert "@" not in note
    any_office.run()
    assert len(notes_of_row(any_office)) == 1, "said once"


def test_a_row_that_we_lift_says_why(any_office: Office):
    any_office.said("opt_out")
    any_office.run()
    any_office.said("subscribe", list_id=WHOLESALE)
    assert any_office.run() == {ADA: ("lift", "applied", "")}
    assert notes_of_row(any_office)[1:] == [
        "Removed from the blacklist: the person resubscribed themselves to the Mailchimp audience "
        "“wholesale” (My Company) on 2026-05-01 12:03 UTC."
    ]


def test_the_note_is_in_the_language_of_the_odoo_user(any_office: Office):
    any_office.odoo.write("res.users", any_office.client.user_id, {"lang": "de_CH"})
    any_office.said("opt_out")
    any_office.run()
    assert notes_of_row(any_office) == [
        "Abgemeldet: Die Person hat sich am 2026-05-01 12:01 UTC selbst von der Mailchimp-Zielgruppe "
        "„retail“ (My Company) abgemeldet."
    ]


def test_a_row_that_is_made_active_again_says_why_and_one_that_was_there_does_not(office: Office):
    office.odoo.blacklist(ADA)
    office.odoo.unblacklist(ADA)
    office.odoo.blacklist(GRACE)
    office.said("clean", origin="unknown")
    office.said("opt_out", GRACE)
    office.run()
    assert len(notes_of_row(office, ADA)) == 1
    assert notes_of_row(office, GRACE) == []


def test_a_row_that_somebody_else_makes_in_that_moment_gets_no_reason_of_ours(office: Office):
    office.said("opt_out")
    original = office.client.execute

    def execute(model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if (model, method) == ("mail.blacklist", "create"):
            office.odoo.blacklist(ADA)
        return original(model, method, *args, **kwargs)

    office.client.execute = execute  # type: ignore[method-assign]
    office.run()
    assert notes_of_row(office) == []


def test_a_company_of_its_own_has_the_note_on_each_contact_with_the_address(any_office: Office):
    odoo = any_office.odoo
    newsletter = odoo.add_mailing_list("News")
    twin = odoo.add_partner(name="Ada, private", email="ada@example.com", is_company=True)
    partners = odoo.search("res.partner", [("email_normalized", "=", ADA)])
    any_office.said("complaint")
    assert any_office.run(sources=CompanySources(("News",), ("is_company",))) == {
        ADA: ("opt_out", "applied", "")
    }
    assert odoo.search("mail.blacklist") == []
    assert odoo.search("mailing.subscription", [("list_id", "=", newsletter), ("opt_out", "=", True)])
    assert odoo.read("res.partner", twin, "is_company")["is_company"] is False
    assert len(partners) == 2
    for partner in partners:
        (note,) = odoo.notes("res.partner", partner)
        assert "as spam on 2026-05-01 12:01 UTC" in note
    any_office.run(sources=CompanySources(("News",), ("is_company",)))
    assert len(odoo.notes("res.partner", twin)) == 1


def _no_right(office: Office) -> None:
    office.odoo.deny(office.client.user_id, "mail.message", "create")


def _no_chatter(office: Office) -> None:
    del office.odoo.database.models["mail.message"]


def _broken(office: Office) -> None:
    office.odoo.faults.add(Fault("html_502", match_body_regex='"mail.message", "create"', times=None))


def _no_language(office: Office) -> None:
    office.odoo.faults.add(Fault("json_500", match_body_regex="context_get", times=None))


@pytest.mark.parametrize("trouble", [_no_right, _no_chatter, _broken, _no_language])
def test_a_note_that_fails_is_reported_once_and_the_opt_out_is_applied(office: Office, trouble: Any):
    office.said("opt_out")
    office.said("opt_out", GRACE)
    decided = office.decisions("acme", "everywhere", {})
    trouble(office)
    done, without_note = carry_out(office, decided)
    assert office.is_out(ADA)
    assert office.is_out(GRACE)
    assert done.trouble == ""
    assert done.rows["outcome"].tolist() == ["applied", "applied"]
    assert all("no note in Odoo says why: " in detail for detail in done.rows["detail"])
    assert without_note.startswith("2 of 2 opt-outs are applied without the note in Odoo that says why: ")
    assert "@" not in without_note
    before = office.writes()
    done, without_note = carry_out(office, office.decisions("acme", "everywhere", {}))
    assert (without_note, office.writes()) == ("", before), "neither reported nor tried again"


def test_an_odoo_that_does_not_tell_the_companys_name_gets_its_key_in_the_settings(office: Office):
    office.odoo.deny(office.client.user_id, "res.company")
    office.said("opt_out")
    office.run()
    (note,) = notes_of_row(office)
    assert "“retail” (acme) on 2026-05-01 12:01 UTC" in note


def test_a_fault_of_ours_in_a_note_holds_nothing_back(office: Office, monkeypatch: pytest.MonkeyPatch):
    def note_html(*arguments: object) -> str:
        raise KeyError("a sentence that is missing")

    monkeypatch.setattr("mc_pipeline.push.odoo_notes.note_html", note_html)
    office.said("opt_out")
    done, without_note = carry_out(office, office.decisions("acme", "everywhere", {}))
    assert done.rows["outcome"].tolist() == ["applied"]
    assert "KeyError in the note" in without_note
    assert office.is_out()


def test_rows_that_somebody_may_not_write_about_cost_the_others_no_note(office: Office):
    office.said("opt_out")
    office.said("opt_out", GRACE)
    original = office.client.execute

    def execute(model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if (model, method) == ("mail.message", "create"):
            rows = office.odoo.search("mail.blacklist", [("email", "=", GRACE)])
            office.odoo.hide("mail.blacklist", rows, uid=office.client.user_id)
        return original(model, method, *args, **kwargs)

    office.client.execute = execute  # type: ignore[method-assign]
    done, without_note = carry_out(office, office.decisions("acme", "everywhere", {}))
    assert [bool(detail) for detail in done.rows["detail"]] == [False, True]
    assert without_note.startswith("1 of 2 ")
    assert len(notes_of_row(office, ADA)) == 1


def test_a_row_with_a_note_is_still_ours(office: Office):
    office.said("opt_out")
    office.run()
    assert len(notes_of_row(office)) == 1
    office.said("subscribe")
    assert office.run() == {ADA: ("lift", "applied", "")}


@pytest.mark.parametrize("after_the_call", [False, True])
@pytest.mark.parametrize("action", ["opt_out", "lift"])
def test_a_process_killed_at_any_call_to_odoo_leaves_one_note_or_none(
    office: Office, action: str, after_the_call: bool
):
    """``at``: killed at this call, of those from the write on, until a run ends by itself."""
    original = office.client.execute
    for at in range(20):
        email = f"person{at}@example.com"
        office.odoo.add_partner(name="A customer", email=email)
        office.said("opt_out", email)
        if action == "lift":
            office.run()
            office.said("subscribe", email)
        before = len(notes_of_row(office, email)) if action == "lift" else 0
        calls: list[str] = []

        def execute(
            model: str,
            method: str,
            *args: Any,
            calls: list[str] = calls,
            at: int = at,
            **kwargs: Any,
        ) -> Any:
            if not (method in ("create", "write") or model in OF_NOTES or "write_uid" in str(kwargs)):
                return original(model, method, *args, **kwargs)
            calls.append(f"{model}.{method}")
            if len(calls) == at + 1 and not after_the_call:
                raise Death
            answer = original(model, method, *args, **kwargs)
            if len(calls) == at + 1:
                raise Death
            return answer

        office.client.execute = execute  # type: ignore[method-assign]
        try:
            office.run()
            died = False
        except Death:
            died = True
        office.client.execute = original  # type: ignore[method-assign]
        office.run()
        office.run()
        assert office.is_out(email) == (action == "opt_out")
        added = notes_of_row(office, email)[before:]
        if died and calls[-1].startswith(OF_NOTES):
            assert len(added) == (calls[-1] == "mail.message.create" and after_the_call)
        else:
            assert len(added) == 1, "the outcome was found out by the next run, and the reason with it"
        if not died:
            assert at == 7, "read, write, read back; company, language, subtype, note"
            return
    raise AssertionError("the run never ended by itself")


def test_an_opt_out_that_a_dead_run_carried_has_the_note_of_its_own_event(office: Office):
    """The next run tells what asked for it, who did it and when, from the ledger."""
    office.said("opt_out", origin="admin", list_id=WHOLESALE)
    decided = office.decisions("acme", "everywhere", {})
    settle = office.ledger.odoo_opt_outs.settle

    def dies(*arguments: Any) -> None:
        raise Death

    office.ledger.odoo_opt_outs.settle = dies  # type: ignore[method-assign]
    with pytest.raises(Death):
        carry_out(office, decided)
    office.ledger.odoo_opt_outs.settle = settle  # type: ignore[method-assign]
    assert office.is_out()
    assert notes_of_row(office) == []
    office.run()
    assert notes_of_row(office) == [
        "Opted out: an administrator unsubscribed the person from the Mailchimp audience “wholesale” "
        "(My Company) on 2026-05-01 12:01 UTC."
    ]


def test_the_ledger_stays_the_truth_when_a_note_is_lost_with_its_process(office: Office):
    office.said("opt_out")
    decided = office.decisions("acme", "everywhere", {})
    original = office.client.execute

    def execute(model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if model == "mail.message":
            raise Death
        return original(model, method, *args, **kwargs)

    office.client.execute = execute  # type: ignore[method-assign]
    with pytest.raises(Death):
        carry_out(office, decided)
    office.client.execute = original  # type: ignore[method-assign]
    (done,) = office.ledger.odoo_opt_outs.done()
    assert (done.outcome, done.made_by_us) == ("applied", True)
    office.run()
    assert notes_of_row(office) == []
