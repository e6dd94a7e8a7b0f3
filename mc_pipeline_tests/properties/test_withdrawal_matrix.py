"""Consent taken back × where it was given × what becomes of the address × when × the status it gave.

One person per cell, all in one town. Whoever took consent back may not be reached under any address of theirs
in the audience that relied on it (rule 5.6); whoever did not keeps what they have.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline_tests.properties.runs import MortalSystems, run_company
from mc_pipeline_tests.properties.test_consent_matrix import our_writes

COMPANY = "acme"
NEWSLETTER, BOX = "Newsletter", "x_offers"
ORDERED = datetime(2026, 5, 4, 10, tzinfo=UTC)
LISTS = {
    ("list", "subscribed"): "lists1",
    ("list", "pending"): "lists2",
    ("box", "subscribed"): "boxes1",
    ("box", "pending"): "boxes2",
}
SETTINGS = """
odoo: {url: "ODOO_URL", database: sandbox, user: admin, secret: "${ODOO_SECRET}"}
mailchimp:
  main: {api_key: "${MAILCHIMP_API_KEY}", base_url: "MAILCHIMP_URL", hear_every_seconds: 0}
companies:
  acme:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    guards: {created: 100%, archived: 100%, moved: 100%, email_changes: 100%, tags_removed: 100%}
    audiences:
"""
AUDIENCE = """
      KEY:
        list_id: KEY
        when: {any_tag: [KEY]}
        consent: {CONSENT, send_confirmation: true, max_confirmations: 1000}
        merge_fields: {FNAME: name}
"""

SAID = ("nothing", "opted out", "opted out as another contact")
"""Where consent is a box, opted out is cleared; another contact is a mailing contact with the new address."""
ADDRESS = ("stays", "changes everywhere", "changes at the partner", "blanked", "merged", "moved", "passed on")
WHEN = ("a run later", "at the same time", "before the address changes")


@dataclass(frozen=True)
class Cell:
    """One person: where consent was given, the status it gave, what they say, what the address becomes."""

    number: int
    given: str
    status: str
    said: str
    address: str
    when: str

    @property
    def list_id(self) -> str:
        return LISTS[self.given, self.status]

    @property
    def email(self) -> str:
        return f"person{self.number}@example.com"

    @property
    def new_email(self) -> str:
        return f"new{self.number}@example.com"

    def __str__(self) -> str:
        return f"{self.given} / {self.status} / {self.said} / {self.address} / {self.when}"


def _is_possible(given: str, said: str, address: str, when: str) -> bool:
    if said == "opted out as another contact":
        return (
            given == "list" and address in ("changes at the partner", "passed on") and when == "a run later"
        )
    return said != "nothing" or when == "a run later"


CELLS = [
    Cell(number, given, status, said, address, when)
    for number, (given, status, said, address, when) in enumerate(
        cell
        for cell in product(("list", "box"), ("subscribed", "pending"), SAID, ADDRESS, WHEN)
        if _is_possible(cell[0], cell[2], cell[3], cell[4])
    )
]


@dataclass
class Town:
    """Both systems with one person per cell, and what belongs to each."""

    odoo: SandboxOdoo
    mailchimp: SandboxMailchimp
    settings: Settings
    folder: Path
    newsletter: int
    elsewhere: int
    tags: dict[str, int]
    partners: dict[Cell, int] = field(default_factory=dict)
    survivors: dict[Cell, int] = field(default_factory=dict)
    subscriptions: dict[Cell, int] = field(default_factory=dict)

    @contextmanager
    def systems(self) -> Iterator[MortalSystems]:
        systems = MortalSystems(self.settings, self.folder / "ledger.db")
        try:
            yield systems
        finally:
            systems.close()

    def run(self) -> None:
        """Sync until nothing waits for an approval."""
        for _ in range(4):
            with self.systems() as systems:
                run = run_company(systems, COMPANY)
                if run.failure is not None:
                    raise AssertionError("a run without any trouble failed") from run.failure
                waiting = systems.ledger.plans.waiting(COMPANY)
                for plan in waiting:
                    systems.ledger.plans.approve(plan.plan_id, by="marketing", reason="looks right")
            if not waiting:
                return
        raise AssertionError("approvals are asked for again and again")

    def customer(self, email: str | None, list_id: str, name: str, **values: object) -> int:
        partner = self.odoo.add_partner(
            name=name, email=email, category_id=[(6, 0, [self.tags[list_id]])], **values
        )
        self.odoo.add_order(partner, 100, date_order=ORDERED)
        return partner

    def settle(self, cell: Cell) -> None:
        """The person buys, and consents."""
        ticked = {BOX: True, f"{BOX}_date": "2026-05-05"} if cell.given == "box" else {}
        self.partners[cell] = self.customer(cell.email, cell.list_id, f"Person {cell.number}", **ticked)
        if cell.given == "list":
            self.subscriptions[cell] = self.odoo.subscribe(self.newsletter, cell.email)
        if cell.address == "merged":
            self.survivors[cell] = self.customer(
                f"other{cell.number}@example.com", cell.list_id, f"Other {cell.number}"
            )

    def change_address(self, cell: Cell) -> None:
        partner = self.partners[cell]
        match cell.address:
            case "changes everywhere":
                self.odoo.edit_partner(partner, email=cell.new_email)
                if cell.given == "list":
                    contact = self.odoo.read("mailing.subscription", self.subscriptions[cell], "contact_id")
                    number = contact["contact_id"]
                    number = number[0] if isinstance(number, (list, tuple)) else number
                    self.odoo.write("mailing.contact", number, {"email": cell.new_email})
            case "changes at the partner":
                self.odoo.edit_partner(partner, email=cell.new_email)
            case "passed on":
                self.odoo.edit_partner(partner, email=cell.new_email)
                self.customer(cell.email, cell.list_id, f"Next {cell.number}")
            case "blanked":
                self.odoo.edit_partner(partner, email=False)
            case "merged":
                ticked = self.odoo.read("res.partner", partner, BOX)[BOX]
                self.odoo.merge_partners(self.survivors[cell], partner)
                # A merge takes over what the survivor does not have.
                if ticked:
                    self.odoo.edit_partner(self.survivors[cell], **{BOX: True, f"{BOX}_date": "2026-05-05"})
            case "moved":
                self.odoo.edit_partner(partner, company_id=self.elsewhere)

    def take_back(self, cell: Cell) -> None:
        if cell.said == "nothing":
            return
        if cell.said == "opted out as another contact":
            self.odoo.subscribe(self.newsletter, cell.new_email, opt_out=True)
        elif cell.given == "list":
            self.odoo.opt_out(self.subscriptions[cell])
        else:
            there = self.odoo.search("res.partner", [("id", "=", self.partners[cell])])
            self.odoo.edit_partner(there[0] if there else self.survivors[cell], **{BOX: False})

    def reachable(self, cell: Cell) -> set[str]:
        """The addresses of the person that marketing goes to, or may go to after a click, in the audience."""
        statuses = self.mailchimp.statuses(cell.list_id)
        theirs = {cell.email, cell.new_email, f"other{cell.number}@example.com"}
        return {email for email in theirs if statuses.get(email) in ("subscribed", "pending")}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path / "tables"))
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    for name, kind in ((BOX, "boolean"), (f"{BOX}_date", "date")):
        odoo.model("res.partner").add_field(Field(name, kind))
    settings = SETTINGS
    tags = {}
    for (given, status), list_id in LISTS.items():
        mailchimp.add_audience(list_id, list_id.title(), double_optin=status == "pending")
        tags[list_id] = odoo.add_tag(list_id)
        consent = f"mailing_list: {NEWSLETTER}" if given == "list" else f"boolean_field: {BOX}"
        settings += AUDIENCE.replace("KEY", list_id).replace("CONSENT", consent)
    newsletter = odoo.add_mailing_list(NEWSLETTER)
    elsewhere = odoo.add_company("Elsewhere")
    with odoo.serve(), mailchimp.serve():
        config = tmp_path / "companies.yaml"
        config.write_text(settings.replace("ODOO_URL", odoo.url).replace("MAILCHIMP_URL", mailchimp.api_url))
        secrets = {"ODOO_SECRET": "admin", "MAILCHIMP_API_KEY": DEFAULT_KEY}
        town = Town(odoo, mailchimp, load_settings(config, secrets), tmp_path, newsletter, elsewhere, tags)
        for list_id in tags:
            # Somebody is there before: a first load asks nobody to confirm.
            town.customer(f"first@{list_id}.example.com", list_id, "First")
        town.run()
        yield town


def test_consent_taken_back_ends_under_every_address_and_nobody_else_loses_anything(town: Town) -> None:
    for cell in CELLS:
        town.settle(cell)
    town.run()
    made = {cell: town.mailchimp.statuses(cell.list_id)[cell.email] for cell in CELLS}
    assert made == {cell: cell.status for cell in CELLS}
    town.mailchimp.advance(timedelta(minutes=1))

    for cell in CELLS:
        if cell.when == "before the address changes":
            town.take_back(cell)
            town.change_address(cell)
        elif cell.when == "at the same time":
            town.change_address(cell)
            town.take_back(cell)
        else:
            town.change_address(cell)
    town.run()
    town.mailchimp.advance(timedelta(minutes=1))
    for cell in CELLS:
        if cell.when == "a run later":
            town.take_back(cell)
    town.run()

    still_reached = {str(cell): town.reachable(cell) for cell in CELLS if cell.said != "nothing"}
    assert {cell: emails for cell, emails in still_reached.items() if emails} == {}
    # An address that somebody else has now, who never consented, is not kept for the one who did.
    kept = [cell for cell in CELLS if cell.said == "nothing" and cell.address != "passed on"]
    lost = [str(cell) for cell in kept if not town.reachable(cell)]
    assert lost == []
    before = len(our_writes(town))
    ends = {list_id: town.mailchimp.statuses(list_id) for list_id in LISTS.values()}
    town.run()
    town.run()
    assert our_writes(town)[before:] == []
    assert {list_id: town.mailchimp.statuses(list_id) for list_id in LISTS.values()} == ends


@pytest.mark.quick
def test_a_late_click_on_the_confirmation_is_no_new_consent(town: Town) -> None:
    cells = [
        cell
        for cell in CELLS
        if cell.status == "pending" and (cell.address, cell.when) == ("stays", "a run later")
    ]
    for cell in cells:
        town.settle(cell)
    town.run()
    for early in (True, False):
        clicks = [cell for cell in cells if (cell.given == "list") == early]
        if early:
            for cell in clicks:
                town.mailchimp.confirm(cell.list_id, cell.email)
        else:
            for cell in cells:
                town.take_back(cell)
            town.run()
            for cell in clicks:
                if town.mailchimp.status(cell.list_id, cell.email) == "pending":
                    town.mailchimp.confirm(cell.list_id, cell.email)
        town.mailchimp.advance(timedelta(minutes=1))
        town.run()
    assert {str(cell): town.reachable(cell) for cell in cells if cell.said != "nothing"} == {
        str(cell): set() for cell in cells if cell.said != "nothing"
    }
    assert all(town.reachable(cell) for cell in cells if cell.said == "nothing")
