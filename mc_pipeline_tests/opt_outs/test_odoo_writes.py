"""From events in the ledger to rows in Odoo and back, in one company, two, and with every answer lost.

Events are put into the ledger as the readers of Mailchimp put them; Odoo is the stand-in over HTTP.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from mc_pipeline.domain.consent.opt_outs_into_odoo import Decision, decide_odoo_opt_outs
from mc_pipeline.ledger import ConsentEvent, Ledger
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.odoo.blacklist import read_blacklist
from mc_pipeline.odoo.client import ConnectedClient, connect
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.push.odoo_opt_outs import CarriedOut, CompanySources, OdooOptOutWrites
from mc_pipeline.push.writer import Writer
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline_tests.new_ledger import put_new_ledger
from mc_pipeline_tests.odoo.connection import OdooAt, Patience

ADA, GRACE = "ada@example.com", "grace@example.com"
RETAIL, WHOLESALE = "retail1", "wholesale1"


class Office:
    """Odoo, a ledger, and one clock for both, which every event and every run moves on by a minute."""

    def __init__(self, ledger_file: Path, stack: ExitStack, version: tuple[int, int] = (18, 0)) -> None:
        self.moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.odoo = stack.enter_context(SandboxOdoo(version, clock=lambda: self.moment).serve())
        put_new_ledger(ledger_file)
        self.ledger = stack.enter_context(Ledger.open(f"sqlite:///{ledger_file}", clock=lambda: self.moment))
        self.client = self.log_in(stack, "admin", "admin")

    def log_in(
        self, stack: ExitStack, user: str, secret: str, api: str = "auto", company: int = 1
    ) -> ConnectedClient:
        """A connection to Odoo, as whichever user, of whichever company."""
        settings = OdooAt(self.odoo.url, "sandbox", user, SecretStr(secret), api)
        return stack.enter_context(connect(settings, [company], retry=Patience().policy))

    def minute(self) -> datetime:
        self.moment += timedelta(minutes=1)
        return self.moment

    def said(
        self,
        event: str,
        email: str = ADA,
        origin: str = "person",
        list_id: str = RETAIL,
        company: str = "acme",
    ) -> None:
        """Something happened in Mailchimp, and was read."""
        at = self.minute()
        self.ledger.consent.record(
            [
                ConsentEvent(
                    company=company,
                    audience="retail" if list_id == RETAIL else "wholesale",
                    list_id=list_id,
                    email=email,
                    event=event,
                    origin=origin,  # type: ignore[arg-type]
                    occurred_at=at,
                    seen_at=at,
                )
            ]
        )

    def decisions(self, company: str, scope: str, old_until: dict[str, datetime]) -> list[Decision]:
        return decide_odoo_opt_outs(
            self.ledger.consent.opt_outs_and_returns(),
            read_blacklist(self.client).rows,
            self.ledger.odoo_opt_outs.done(),
            read_partners(self.client, self.client.company_ids[0]).rows,
            company=company,
            scope=scope,
            old_until=old_until,
            now=self.moment,
        )

    def run(
        self,
        company: str = "acme",
        sources: CompanySources | None = None,
        old_until: dict[str, datetime] | None = None,
    ) -> dict[str, tuple[str, str, str]]:
        """One run; by address what was decided, what came of it, and the conflict."""
        self.minute()
        with self.ledger.leases.hold(company, "run", timedelta(hours=1), path=OPT_OUTS) as lease:
            writes = OdooOptOutWrites(Writer(self.client, self.ledger, lease, "run"), sources)
            scope = "everywhere" if sources is None else "company"
            try:
                writes.settle_open()
            except OdooError as error:
                done = CarriedOut.none(self.decisions(company, scope, old_until or {}), error.message)
            else:
                done = writes.carry_out(self.decisions(company, scope, old_until or {}))
        return {
            row.email: (row.action, row.outcome, row.conflict) for row in done.rows.itertuples(index=False)
        }

    def is_out(self, email: str = ADA) -> bool:
        return email in self.odoo.database.blacklisted()

    def writes(self) -> int:
        """How many calls changed something in Odoo."""
        return sum(
            entry.body["params"]["args"][4] in ("create", "write", "unlink")
            for entry in self.odoo.journal.requests
            if isinstance(entry.body, dict) and entry.body["params"].get("method") == "execute_kw"
        )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        office = Office(tmp_path / "ledger.db", stack)
        for email in ("Ada@Example.com", GRACE):
            office.odoo.add_partner(name="A customer", email=email)
        yield office


def quiet(office: Office, *companies: str) -> None:
    """Two more runs write nothing."""
    before = office.writes()
    for company in (companies or ("acme",)) * 2:
        office.run(company)
    assert office.writes() == before


@pytest.mark.parametrize(
    ("event", "origin"),
    [("opt_out", "person"), ("opt_out", "admin"), ("clean", "unknown"), ("complaint", "person")],
)
def test_an_opt_out_that_we_did_not_make_becomes_a_row(office: Office, event: str, origin: str):
    office.said(event, origin=origin)
    assert office.run() == {ADA: ("opt_out", "applied", "")}
    assert office.is_out()
    (done,) = office.ledger.odoo_opt_outs.done()
    assert (done.outcome, done.made_by_us, done.event) == ("applied", True, event)
    outcomes = [each for each in office.ledger.consent.events(email=ADA) if each.list_id == ""]
    assert [(each.event, each.origin) for each in outcomes] == [("odoo_opt_out", "ours")]
    quiet(office)


@pytest.mark.parametrize(
    ("event", "origin"),
    [("opt_out", "ours"), ("archive", "person"), ("archive", "unknown"), ("pending", "unknown")],
)
def test_our_own_unsubscribe_and_what_is_no_opt_out_make_no_row(office: Office, event: str, origin: str):
    office.said(event, origin=origin)
    assert office.run() in ({}, {ADA: ("none", "unchanged", "")})
    assert not office.is_out()
    assert office.writes() == 0


def test_somebody_who_comes_back_is_taken_off_the_blacklist_once_and_may_go_again(office: Office):
    office.said("opt_out")
    office.run()
    office.said("subscribe")
    assert office.run() == {ADA: ("lift", "applied", "")}
    assert not office.is_out()
    quiet(office)
    office.said("opt_out", list_id=WHOLESALE)
    assert office.run() == {ADA: ("opt_out", "applied", "")}
    assert office.is_out()


@pytest.mark.parametrize("origin", ["unknown", "admin"])
def test_a_return_that_is_not_proven_removes_nothing(office: Office, origin: str):
    office.said("opt_out")
    office.run()
    office.said("subscribe", origin=origin)
    assert office.run() == {ADA: ("none", "unchanged", "resubscribed_unproven")}
    assert office.is_out()
    quiet(office)


def test_a_row_that_somebody_in_odoo_touched_is_theirs(office: Office):
    office.said("opt_out")
    office.run()
    office.minute()
    office.odoo.unblacklist(ADA)
    office.minute()
    office.odoo.blacklist(ADA)
    office.said("subscribe")
    assert office.run() == {ADA: ("none", "unchanged", "made_in_odoo")}
    assert office.is_out()
    quiet(office)


def test_a_row_newer_than_the_return_stays(office: Office):
    office.said("subscribe")
    office.minute()
    office.odoo.blacklist(ADA)
    assert office.run() == {ADA: ("none", "unchanged", "newer_in_odoo")}
    assert office.is_out()


def test_a_row_of_ours_that_odoo_lifted_is_made_again_for_a_new_event_only(office: Office):
    office.said("opt_out")
    office.run()
    office.odoo.unblacklist(ADA)
    assert office.run() == {ADA: ("none", "unchanged", "lifted_in_odoo")}
    quiet(office)
    office.said("complaint", list_id=WHOLESALE)
    assert office.run() == {ADA: ("opt_out", "applied", "")}


def test_a_row_deleted_or_lifted_by_somebody_before_the_event_is_made_active(office: Office):
    office.odoo.blacklist(ADA)
    office.odoo.unblacklist(ADA)
    office.said("opt_out")
    assert office.run() == {ADA: ("opt_out", "applied", "")}
    assert office.is_out()


def test_a_lift_is_not_done_when_somebody_changes_the_row_in_that_moment(office: Office):
    office.said("opt_out")
    office.run()
    office.said("subscribe")
    decided = office.decisions("acme", "everywhere", {})
    office.minute()
    office.odoo.write("mail.blacklist", office.odoo.search("mail.blacklist"), {"active": True})
    with office.ledger.leases.hold("acme", "run", timedelta(hours=1), path=OPT_OUTS) as lease:
        done = OdooOptOutWrites(Writer(office.client, office.ledger, lease, "run")).carry_out(decided)
    assert done.rows["outcome"].tolist() == ["held_back"]
    assert office.is_out()
    assert office.run() == {ADA: ("none", "unchanged", "newer_in_odoo")}


def test_addresses_that_odoo_does_not_know_wait_until_they_appear(office: Office):
    office.said("opt_out", "new@example.com")
    assert office.run() == {"new@example.com": ("none", "unchanged", "")}
    office.odoo.add_partner(name="New", email="NEW@example.com", active=False)
    assert office.run() == {"new@example.com": ("opt_out", "applied", "")}
    assert office.is_out("new@example.com")


def test_letters_that_odoo_does_not_lower_are_opted_out_as_odoo_has_them(office: Office):
    office.odoo.add_partner(name="Éva", email="Éva@example.com")
    office.said("opt_out", "éva@example.com")
    assert office.run() == {"éva@example.com": ("opt_out", "applied", "")}
    assert office.is_out("Éva@example.com")
    quiet(office)


def test_old_opt_outs_wait_and_those_after_the_first_read_do_not(office: Office):
    office.said("opt_out")
    first_read = {RETAIL: office.moment}
    office.said("opt_out", GRACE)
    assert office.run(old_until=first_read) == {
        ADA: ("opt_out", "held_back", ""),
        GRACE: ("opt_out", "applied", ""),
    }
    assert (office.is_out(ADA), office.is_out(GRACE)) == (False, True)
    office.said("complaint", list_id=WHOLESALE)
    assert office.run(old_until=first_read)[ADA] == ("opt_out", "applied", "")


def test_two_companies_write_once_and_do_not_fight(office: Office):
    office.said("opt_out", company="acme")
    office.said("opt_out", company="second", list_id="second1")
    office.run("acme")
    before = office.writes()
    assert office.run("second") == {ADA: ("none", "unchanged", "")}
    assert office.writes() == before
    office.said("subscribe", company="acme")
    assert office.run("acme") == {ADA: ("lift", "applied", "")}
    assert office.run("second") == {ADA: ("none", "unchanged", "")}
    quiet(office, "acme", "second")
    office.said("opt_out", company="second", list_id="second1")
    assert office.run("acme") == {ADA: ("none", "unchanged", "")}
    assert office.run("second") == {ADA: ("opt_out", "applied", "")}
    quiet(office, "acme", "second")


def test_an_opt_out_of_another_company_speaks_against_a_removal_before_it_is_applied(office: Office):
    office.said("opt_out", company="acme")
    office.run("acme")
    office.said("subscribe", company="acme")
    office.said("opt_out", company="second", list_id="second1")
    office.run("acme")
    assert office.is_out()


BREAKS = ("reset_after", "html_502")


@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("action", ["opt_out", "lift"])
def test_whatever_breaks_from_the_write_on_the_next_run_ends_the_same(
    office: Office, kind: str, position: int, action: str
):
    """From the first write on Odoo does not answer; its second and third call are those of reading back."""
    office.said("opt_out")
    if action == "lift":
        office.run()
        office.said("subscribe")
    # create, write, and reading back afterwards, by the one field that nothing else asks for
    office.odoo.faults.add(
        Fault(kind, match_body_regex='"create"|"write"|write_uid', skip=position, times=None)  # type: ignore[arg-type]
    )
    assert office.run()[ADA][:2] in {(action, "unknown"), (action, "deferred"), (action, "applied")}
    office.odoo.faults.clear()
    office.run()
    assert office.is_out() == (action == "opt_out")
    assert office.ledger.odoo_opt_outs.open("acme") == []
    outcomes = [each.event for each in office.ledger.consent.events(email=ADA) if each.list_id == ""]
    assert outcomes == ["odoo_opt_out", "odoo_lift"][: 1 if action == "opt_out" else 2]
    quiet(office)
    if action == "opt_out":
        office.said("subscribe")
        assert office.run() == {ADA: ("lift", "applied", "")}, "the row is known to be ours"


def test_a_row_that_somebody_made_while_nobody_knew_is_not_ours(office: Office):
    office.said("opt_out")
    office.odoo.faults.add(Fault("html_502", match_body_regex='"create"', times=None))
    office.run()
    office.odoo.faults.clear()
    office.odoo.blacklist(ADA)
    office.run()
    office.said("subscribe")
    assert office.run() == {ADA: ("none", "unchanged", "made_in_odoo")}


def test_rights_that_are_missing_are_named_and_the_event_is_kept(office: Office):
    office.said("opt_out")
    office.odoo.deny(office.client.user_id, "mail.blacklist", "create")
    decided = office.decisions("acme", "everywhere", {})
    with office.ledger.leases.hold("acme", "run", timedelta(hours=1), path=OPT_OUTS) as lease:
        done = OdooOptOutWrites(Writer(office.client, office.ledger, lease, "run")).carry_out(decided)
    assert "Email Marketing / User" in done.trouble
    assert done.rows["outcome"].tolist() == ["deferred"]
    office.odoo.database.accounts[office.client.user_id].denied.clear()
    assert office.run() == {ADA: ("opt_out", "applied", "")}


def test_a_company_of_its_own_leaves_lists_and_fields_and_never_the_blacklist(office: Office):
    newsletter = office.odoo.add_mailing_list("Acme News")
    partners = office.odoo.search("res.partner", [("email_normalized", "=", ADA)])
    office.odoo.write("res.partner", partners, {"is_company": True})
    sources = CompanySources(("acme news",), ("is_company",))
    office.said("opt_out")
    assert office.run(sources=sources) == {ADA: ("opt_out", "applied", "")}
    assert not office.is_out()
    (row,) = office.odoo.search("mailing.subscription", [("list_id", "=", newsletter)])
    assert office.odoo.read("mailing.subscription", row, "opt_out")["opt_out"] is True
    assert office.odoo.read("res.partner", partners[0], "is_company")["is_company"] is False
    before = office.writes()
    assert office.run(sources=sources) == {ADA: ("none", "unchanged", "")}
    office.said("subscribe")
    assert office.run(sources=sources) == {}
    assert office.writes() == before, "no consent is made up"


def test_thousands_at_once_are_applied_in_few_calls(office: Office):
    emails = [f"person{number}@example.com" for number in range(1200)]
    with office.odoo._as_person("import", "res.partner") as env:
        office.odoo.model("res.partner").create_records(
            env, [{"name": "A customer", "email": email} for email in emails]
        )
    at = office.minute()
    office.ledger.consent.record(
        [
            ConsentEvent(
                company="acme", audience="retail", list_id=RETAIL, email=email, event="opt_out",
                origin="unknown", occurred_at=at, seen_at=at,
            )
            for email in emails
        ]
    )  # fmt: skip
    assert set(office.run().values()) == {("opt_out", "applied", "")}
    assert len(office.odoo.database.blacklisted()) == 1200
    assert office.writes() == 2 + 3, "for each thousand the rows, for each five hundred the notes"
    quiet(office)


@pytest.mark.parametrize("version", [(17, 0), (18, 0)])
@pytest.mark.parametrize("has_parent", [True, False])
def test_2_2_an_opt_out_of_a_branch_unticks_the_field_of_the_parents_customer(
    tmp_path: Path, version: tuple[int, int], has_parent: bool
):
    """Odoo 17 shows them only where the user has the parent: it is not booked as done where it is not."""
    with ExitStack() as stack:
        office = Office(tmp_path / "ledger.db", stack, version)
        office.odoo.model("res.partner").add_field(Field("x_news", "boolean"))
        branch = office.odoo.add_company("Branch")
        office.odoo.write("res.company", branch, {"parent_id": 1})
        groups = ("sales_all", "email_marketing", "hr", "partner_manager")
        companies = (branch, 1) if has_parent else (branch,)
        office.odoo.add_user("mailer", "secret", groups=groups, company_ids=companies)
        office.client = office.log_in(stack, "mailer", "secret", company=branch)
        customer = office.odoo.add_partner(name="Ada", email=ADA, company_id=1, x_news=True)
        office.odoo.add_partner(name="Ada at the branch", email=ADA, company_id=branch)
        office.said("opt_out")
        outcomes = office.run(sources=CompanySources(boolean_fields=("x_news",)))
        ticked = office.odoo.read("res.partner", customer, "x_news")["x_news"]
        notes = office.odoo.notes("res.partner", customer)
        if version == (17, 0) and not has_parent:
            assert outcomes == {ADA: ("opt_out", "rejected", "")}
            assert ticked
            assert notes == []
            assert office.ledger.odoo_opt_outs.open("acme") == []
        else:
            assert outcomes == {ADA: ("opt_out", "applied", "")}
            assert not ticked
            assert len(notes) == 1


def test_2_2_why_a_field_of_the_parents_customers_cannot_be_unticked_is_reported(tmp_path: Path):
    with ExitStack() as stack:
        office = Office(tmp_path / "ledger.db", stack, (17, 0))
        office.odoo.model("res.partner").add_field(Field("x_news", "boolean"))
        branch = office.odoo.add_company("Branch")
        office.odoo.write("res.company", branch, {"parent_id": 1})
        office.odoo.add_user(
            "mailer",
            "secret",
            groups=("sales_all", "email_marketing", "hr", "partner_manager"),
            company_ids=(branch,),
        )
        office.client = office.log_in(stack, "mailer", "secret", company=branch)
        office.odoo.add_partner(name="Ada", email=ADA, company_id=branch)
        office.said("opt_out")
        with office.ledger.leases.hold("acme", "run", timedelta(hours=1), path=OPT_OUTS) as lease:
            sources = CompanySources(boolean_fields=("x_news",))
            writes = OdooOptOutWrites(Writer(office.client, office.ledger, lease, "run"), sources)
            done = writes.carry_out(office.decisions("acme", "company", {}))
        (detail,) = done.rows["detail"]
        assert detail.startswith("x_news of contacts there may be ticked: ")
        assert "contacts of company 1, above" in detail
        assert "Allowed Companies" in detail
