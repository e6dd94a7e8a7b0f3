"""Every state of a person in both systems × everything that may happen in either × in which order.

One person per cell, all in one town. An oracle that knows the rules and none of the code says where each of
them ends; the journals say that nobody was subscribed by us, and that two more quiet runs write nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.people import ActRefusedError, People
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline_tests.properties.runs import MortalSystems, run_company

COMPANY, LIST, OTHER_LIST = "acme", "retail1", "wholesale1"
LONG_AGO, BEFORE_THAT = datetime(2025, 3, 1, 8, tzinfo=UTC), datetime(2025, 1, 1, 8, tzinfo=UTC)
SETTINGS = """
odoo: {url: "ODOO_URL", database: sandbox, user: admin, secret: "${ODOO_SECRET}"}
mailchimp:
  main: {api_key: "${MAILCHIMP_API_KEY}", base_url: "MAILCHIMP_URL", hear_every_seconds: 0}
companies:
  acme:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      wholesale: {list_id: wholesale1, when: {company_type: company}, merge_fields: {FNAME: name}}
      retail: {list_id: retail1, when: {}, merge_fields: {FNAME: name}}
"""

MEMBERS = (
    "subscribed",
    "transactional",
    "archived",
    "cleaned",
    "unsubscribed by the person",
    "unsubscribed by an admin",
)
ROWS = ("no row", "row of a user", "row lifted by a user")
IN_MAILCHIMP = ("nothing", "unsubscribes", "complains", "bounces", "signs up", "admin subscribes")
IN_ODOO = ("nothing", "opted out", "lifted")
ORDERS = ("Mailchimp first", "Odoo first", "at once")

READS_OF_ODOO = (
    *("read", "search", "search_read", "search_count", "read_group", "formatted_read_group"),
    *("fields_get", "has_group"),
)
MAY_RECEIVE = ("subscribed", "transactional", "pending")


@dataclass(frozen=True)
class Cell:
    """One person. Acts come one after the other with a run between them, or both before one run."""

    number: int
    member: str
    row: str
    in_mailchimp: str
    in_odoo: str
    order: str

    @property
    def email(self) -> str:
        return f"person{self.number}@example.com"

    def acts(self, phase: int) -> list[str]:
        """What happens before the run of a phase, 0 or 1: acts in Mailchimp, then those in Odoo."""
        mailchimp_at = 1 if self.order == "Odoo first" else 0
        odoo_at = 1 if self.order == "Mailchimp first" else 0
        return [
            *([f"Mailchimp: {self.in_mailchimp}"] if mailchimp_at == phase else []),
            *([f"Odoo: {self.in_odoo}"] if odoo_at == phase else []),
        ]

    def __str__(self) -> str:
        return f"{self.member} / {self.row} / {self.in_mailchimp} / {self.in_odoo} / {self.order}"


CELLS = [
    Cell(number, *cell) for number, cell in enumerate(product(MEMBERS, ROWS, IN_MAILCHIMP, IN_ODOO, ORDERS))
]


# --- what the rules say -------------------------------------------------------------------------------


@dataclass
class Oracle:
    """A person as the rules see them. ``now`` counts acts and runs; all moments are counts."""

    status: str
    barred: bool
    row: str
    row_is_ours: bool = False
    opted_out: int | None = None
    carried_over: int | None = None
    came_back: int | None = None
    now: int = 0

    @classmethod
    def of(cls, cell: Cell) -> "Oracle":
        out = cell.member.startswith("unsubscribed") or cell.member == "cleaned"
        rows = {"no row": "", "row of a user": "active", "row lifted by a user": "archived"}
        return cls(
            status=cell.member.partition(" by")[0],
            barred=cell.member in ("cleaned", "unsubscribed by the person"),
            row=rows[cell.row],
            opted_out=0 if out else None,
        )

    def act(self, act: str) -> None:
        self.now += 1
        may_receive = self.status in MAY_RECEIVE
        match act:
            case "Mailchimp: unsubscribes" | "Mailchimp: complains" if may_receive:
                self.status, self.barred, self.opted_out = "unsubscribed", True, self.now
            case "Mailchimp: bounces" if may_receive:
                self.status, self.barred, self.opted_out = "cleaned", True, self.now
            case "Mailchimp: signs up" if self.status != "subscribed":
                self.status, self.barred, self.came_back = "subscribed", False, self.now
            case "Mailchimp: admin subscribes" if not self.barred:
                self.status = "subscribed"
            case "Odoo: opted out" if self.row != "active":
                self.row, self.row_is_ours = "active", False
            case "Odoo: lifted" if self.row == "active":
                self.row = "archived"

    def run(self) -> None:
        self.now += 1
        returned = self.came_back is not None and (self.opted_out is None or self.came_back > self.opted_out)
        if returned:
            if self.row == "active" and self.row_is_ours:
                self.row = "archived"
        elif self.opted_out is not None and self.row != "active" and self.carried_over != self.opted_out:
            self.row, self.row_is_ours, self.carried_over = "active", True, self.opted_out
        if self.row == "active" and self.status in MAY_RECEIVE:
            self.status = "unsubscribed"


# --- the town -----------------------------------------------------------------------------------------


@dataclass
class Town:
    """Both systems with one person per cell."""

    odoo: SandboxOdoo
    mailchimp: SandboxMailchimp
    settings: Settings
    folder: Path

    @contextmanager
    def systems(self) -> Iterator[MortalSystems]:
        systems = MortalSystems(self.settings, self.folder / "ledger.db")
        try:
            yield systems
        finally:
            systems.close()

    def run(self) -> None:
        with self.systems() as systems:
            run = run_company(systems, COMPANY)
            if run.failure is not None:
                raise AssertionError("a run without any trouble failed") from run.failure

    def release_old_opt_outs(self) -> None:
        with self.systems() as systems:
            for waiting in systems.ledger.old_opt_outs.waiting(COMPANY):
                systems.ledger.old_opt_outs.approve(waiting.plan_id, by="marketing", reason="looks right")

    def act(self, email: str, act: str) -> None:
        people = People(self.mailchimp.state)
        receives = self.mailchimp.status(LIST, email) in MAY_RECEIVE
        acts: dict[str, Callable[[], object]] = {
            "Mailchimp: signs up": lambda: people.sign_up(LIST, email),
            "Mailchimp: admin subscribes": lambda: people.subscribe_by_admin(LIST, email),
            "Odoo: opted out": lambda: self.odoo.blacklist(email),
        }
        if receives:
            acts |= {
                "Mailchimp: unsubscribes": lambda: people.unsubscribe(LIST, email),
                "Mailchimp: complains": lambda: people.complain(LIST, email),
                "Mailchimp: bounces": lambda: people.bounce_hard(LIST, email),
            }
        if self.odoo.search("mail.blacklist", [("active", "=", True), ("email", "=", email)]):
            acts["Odoo: lifted"] = lambda: self.odoo.unblacklist(email)
        if act in acts:
            try:
                acts[act]()
            except ActRefusedError:
                assert act == "Mailchimp: admin subscribes"

    def active_rows(self) -> set[str]:
        found = self.odoo.search("mail.blacklist", [("active", "=", True)])
        return {str(self.odoo.read("mail.blacklist", row, "email")["email"]) for row in found}

    def ends(self) -> dict[str, tuple[str, bool]]:
        """By address: the status in Mailchimp, and whether a row in Odoo is active."""
        active, statuses = self.active_rows(), self.mailchimp.statuses(LIST)
        return {cell.email: (statuses[cell.email], cell.email in active) for cell in CELLS}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path / "tables"))
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    for list_id in (LIST, OTHER_LIST):
        mailchimp.add_audience(list_id, list_id.title())
    with odoo.at(BEFORE_THAT):
        for cell in CELLS:
            odoo.add_partner(name=f"Person {cell.number}", email=cell.email)
            if cell.row != "no row":
                odoo.blacklist(cell.email)
            if cell.row == "row lifted by a user":
                odoo.unblacklist(cell.email)
    for cell in CELLS:
        status, _, by = cell.member.partition(" by ")
        mailchimp.add_member(
            LIST,
            cell.email,
            status,
            last_changed=LONG_AGO,
            opted_out_by="admin" if by == "an admin" else "person",
        )
    with odoo.serve(), mailchimp.serve():
        config = tmp_path / "companies.yaml"
        config.write_text(SETTINGS.replace("ODOO_URL", odoo.url).replace("MAILCHIMP_URL", mailchimp.api_url))
        secrets = {"ODOO_SECRET": "admin", "MAILCHIMP_API_KEY": DEFAULT_KEY}
        yield Town(odoo, mailchimp, load_settings(config, secrets), tmp_path)


def test_every_cell_ends_as_the_rules_say_and_then_all_is_quiet(town: Town) -> None:
    oracles = {cell: Oracle.of(cell) for cell in CELLS}
    town.run()
    town.release_old_opt_outs()
    town.run()
    for oracle in oracles.values():
        oracle.run()
    for phase in (0, 1):
        # What is done in one second has no order.
        town.mailchimp.advance(timedelta(minutes=1))
        for cell, oracle in oracles.items():
            for act in cell.acts(phase):
                town.act(cell.email, act)
                oracle.act(act)
        town.run()
        for oracle in oracles.values():
            oracle.run()
    ends = town.ends()
    wrong = {
        str(cell): {"is": ends[cell.email], "should be": (oracle.status, oracle.row == "active")}
        for cell, oracle in oracles.items()
        if ends[cell.email] != (oracle.status, oracle.row == "active")
    }
    assert wrong == {}, f"{len(wrong)} of {len(CELLS)} cells"
    assert [entry.path for entry in our_writes(town) if says_subscribed(entry)] == []
    before = len(our_writes(town))
    assert before, "the journals show what was written"
    town.run()
    town.run()
    assert our_writes(town)[before:] == []
    assert town.ends() == ends


def our_writes(town: Town) -> list[JournalEntry]:
    """Requests of ours that change something, in either system."""
    in_odoo = [
        entry
        for entry in town.odoo.journal.requests
        if isinstance(entry.body, dict)
        and entry.body.get("params", {}).get("method") == "execute_kw"
        and entry.body["params"]["args"][4] not in READS_OF_ODOO
    ]
    return [*town.mailchimp.journal.writes, *in_odoo]


def says_subscribed(entry: JournalEntry) -> bool:
    return '"status":"subscribed"' in str(entry.raw_body).replace(" ", "") or '"pending"' in str(
        entry.raw_body
    )
