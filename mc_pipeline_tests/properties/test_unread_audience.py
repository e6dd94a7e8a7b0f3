"""An audience that cannot be read holds back only what depends on it (rule 1.2), whatever is wrong with it.

One town, loaded, in which everything changes in both audiences at once; wholesale cannot be read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline_tests.properties.fault_matrix import _differences, _Kept, _state, _with_stores
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run, run_company
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

NOT_READ = "the audience wholesale could not be read"
UNKNOWN = f"{NOT_READ}; who opted out there is not known"

FAULTS: dict[str, Callable[[], Fault]] = {
    "403 of the network": lambda: Fault("html_403", match_path_regex=WHOLESALE, times=None),
    "503": lambda: Fault("html_503", match_path_regex=WHOLESALE, times=None),
    "429": lambda: Fault("empty_429", match_path_regex=WHOLESALE, times=None),
    "reset": lambda: Fault("reset_before", match_path_regex=WHOLESALE, times=None),
    "truncated": lambda: Fault("truncated", match_path_regex=WHOLESALE, times=None),
    "truncated pages of members": lambda: Fault(
        "truncated", match_path_regex=f"{WHOLESALE}/members", times=None
    ),
    "merge fields alone": lambda: Fault("html_503", match_path_regex=f"{WHOLESALE}/merge-fields", times=None),
}


@dataclass
class Town:
    world: SmallWorld
    kept: _Kept
    end: dict
    """What both systems are like after a run without any trouble."""

    def run_without_wholesale(self) -> Run:
        run = self.world.run()
        while run.needs_approval and self.world.approve_what_waits(run):
            run = self.world.run()
        return run

    def run_unwatched(self) -> Run:
        """Sync once while an audience is not there that the auditor would look at."""
        systems = self.world.systems()
        try:
            return run_company(systems, COMPANY)
        finally:
            systems.close()

    def gone(self) -> frozenset[str]:
        systems = self.world.systems()
        try:
            return systems.ledger.audience_reads.gone([WHOLESALE, RETAIL])
        finally:
            systems.close()

    def writes_since(self, number: int) -> list[JournalEntry]:
        return [entry for entry in self.world.mailchimp.journal.since(number) if entry.is_write]


@pytest.fixture(scope="module")
def town_once() -> Iterator[Town]:
    with small_world() as world:
        world.settings = _with_stores(world)
        _prepare(world)
        kept = _Kept(world)
        world.run_until_done()
        end = _state(world)
        yield Town(world, kept, end)


@pytest.fixture
def town(town_once: Town) -> Town:
    town_once.kept.restore(town_once.world)
    return town_once


def _prepare(world: SmallWorld) -> None:
    odoo = world.odoo
    desk = odoo.create("product.product", {"name": "Desk", "default_code": "DESK"})

    def buy(partner: int, amount: float) -> None:
        line = {"product_id": desk, "name": "Desk", "product_uom_qty": 1, "price_unit": amount}
        odoo.add_order(partner, date_order=ORDERED, lines=[line])

    def customer(name: str, *, is_company: bool) -> int:
        partner = odoo.add_partner(name=name, email=f"{name.lower()}@example.com", is_company=is_company)
        buy(partner, 100.0)
        return partner

    firms = {name: customer(name, is_company=True) for name in ("Firm", "Closing", "Turning", "Refusing")}
    people = {name: customer(name, is_company=False) for name in ("Ann", "Ben", "Cleo", "Bob")}
    world.run_until_done()

    odoo.edit_partner(firms["Firm"], name="Firm Limited")
    odoo.archive_partner(firms["Closing"])
    odoo.edit_partner(firms["Turning"], is_company=False)
    world.mailchimp.unsubscribe(WHOLESALE, "refusing@example.com")
    customer("Newfirm", is_company=True)
    odoo.edit_partner(people["Ann"], name="Ann King")
    odoo.archive_partner(people["Ben"])
    odoo.edit_partner(people["Cleo"], is_company=True)
    world.mailchimp.unsubscribe(RETAIL, "bob@example.com")
    customer("Dan", is_company=False)
    customer("Eve", is_company=False)
    odoo.subscribe(world.newsletter, "eve@example.com")
    # Evidence that counted as well while the person opted out elsewhere, which nobody knows yet.
    customer("Grace", is_company=False)
    odoo.subscribe(world.newsletter, "grace@example.com")
    world.mailchimp.sign_up(WHOLESALE, "grace@example.com")
    world.mailchimp.unsubscribe(WHOLESALE, "grace@example.com")
    for name in ("Firm", "Ann"):
        buy({**firms, **people}[name], 50.0)


def _held(run: Run) -> dict[tuple[str, str], str]:
    rows = run.tables["audience_plan"].rows
    held = rows[rows["held_back_because"] != ""]
    return dict(
        zip(
            zip(held["operation"], held["email"].str.partition("@")[0], strict=True),
            held["held_back_because"],
            strict=True,
        )
    )


def _orders(world: SmallWorld, list_id: str) -> int:
    return len(world.mailchimp.state.stores[f"store-of-{list_id}"].orders)


def _check_only_wholesale_waits(town: Town, run: Run, before: int, *, heard: bool = False) -> None:
    """``heard``: the opt-outs of wholesale are known all the same."""
    world = town.world
    written = [f"{entry.method} {entry.path} {entry.body}" for entry in town.writes_since(before)]
    assert not [each for each in written if WHOLESALE in each]
    assert world.mailchimp.statuses(RETAIL) == {
        "ann@example.com": "transactional",
        "ben@example.com": "archived",
        # Moves to wholesale, and is nowhere else until she is there.
        "cleo@example.com": "transactional",
        "bob@example.com": "unsubscribed",
        "dan@example.com": "transactional",
    }
    assert world.member_fields(RETAIL, "ann@example.com")["FNAME"] == "Ann King"
    held = _held(run)
    assert held == {
        ("create", "newfirm"): NOT_READ,
        ("create", "cleo"): NOT_READ,
        ("archive", "cleo"): NOT_READ,
        ("create", "turning"): NOT_READ,
        ("create", "eve"): UNKNOWN,
        **({} if heard else {("create", "grace"): UNKNOWN}),
    }
    blacklisted = {row["email"] for row in world.odoo.model("mail.blacklist").table.rows.values()}
    assert "bob@example.com" in blacklisted
    assert ("grace@example.com" in blacklisted) is heard
    assert _orders(world, RETAIL) == 4 + 1 + 1
    assert "wholesale" in str(run.metadata["order_push"]["stores_left_alone"])
    facts = run.tables["revenue_reconciliation"].rows
    assert set(facts["differs_because"]) <= {"", "left_alone"}
    not_looked_at = facts.loc[facts["left_out_because"] == "not_looked_at", "store_id"]
    assert set(not_looked_at) == {f"store-of-{WHOLESALE}"}


@pytest.mark.parametrize("trouble", FAULTS)
def test_only_what_depends_on_an_unread_audience_waits_and_the_next_run_does_it(town: Town, trouble: str):
    world = town.world
    before = world.mailchimp.journal.last_number
    world.mailchimp.faults.add(FAULTS[trouble]())
    run = town.run_without_wholesale()
    assert run.succeeded, run.failure
    _check_only_wholesale_waits(town, run, before, heard=trouble == "merge fields alone")
    table = run.tables["mailchimp_members"]
    assert not table.complete
    assert "wholesale: Mailchimp GET" in table.incomplete_because
    assert "@" not in table.incomplete_because

    world.run_until_done()
    assert not _differences(town.end, _state(world))
    assert not world.violations()


def test_a_deleted_audience_holds_nobody_once_two_runs_did_not_find_it(town: Town):
    world = town.world
    deleted = world.mailchimp.state.audiences.pop(WHOLESALE)
    world.mailchimp.state.stores.pop(f"store-of-{WHOLESALE}")
    before = world.mailchimp.journal.last_number
    run = town.run_unwatched()
    assert run.succeeded, run.failure
    _check_only_wholesale_waits(town, run, before)

    run = town.run_unwatched()
    assert run.succeeded, run.failure
    statuses = world.mailchimp.statuses(RETAIL)
    assert statuses["eve@example.com"] == "subscribed"
    assert statuses["turning@example.com"] == "transactional", "there is nothing to move from any more"
    assert _held(run) == {
        ("create", "newfirm"): "the audience wholesale is not in Mailchimp any more",
        ("create", "cleo"): "the audience wholesale is not in Mailchimp any more",
        ("archive", "cleo"): "the audience wholesale is not in Mailchimp any more",
    }
    assert town.gone() == {WHOLESALE}
    assert not run.tables["mailchimp_members"].complete
    assert "404" in run.tables["mailchimp_members"].incomplete_because
    run = town.run_unwatched()
    assert run.succeeded
    turned = [
        order
        for order in world.mailchimp.state.stores[f"store-of-{RETAIL}"].customers.values()
        if order.email_address == "turning@example.com"
    ]
    assert len(turned) == 1, "the orders follow their person into the store that is there"

    world.mailchimp.state.audiences[WHOLESALE] = deleted
    run = town.run_unwatched()
    assert run.tables["mailchimp_members"].complete, "found again, it counts as every other"
    assert town.gone() == frozenset()


@pytest.mark.quick
def test_where_no_audience_can_be_read_the_run_says_it_once(town: Town):
    world = town.world
    world.mailchimp.faults.add(Fault("html_503", match_path_regex=r"/lists/\w+(\?|$|/merge)", times=None))
    run = world.run()
    assert run.failed_step == "mailchimp_members"
    said = str(getattr(run.failure, "description", ""))
    assert f"No audience of {COMPANY} can be read (wholesale, retail)" in said
    assert said.count("Mailchimp GET") == 1
    assert town.gone() == frozenset()


def test_an_audience_that_cannot_take_its_merge_fields_delays_no_other(town: Town):
    world = town.world
    before = world.mailchimp.journal.last_number
    # Read at first, like the other one; the push looks at its fields again.
    fields = f"{WHOLESALE}/merge-fields"
    world.mailchimp.faults.add(Fault("html_503", match_path_regex=fields, skip=1, times=None))
    run = town.run_without_wholesale()
    assert run.succeeded, run.failure
    written = [entry.path for entry in town.writes_since(before) if "ecommerce" not in entry.path]
    assert not [path for path in written if WHOLESALE in path]
    statuses = world.mailchimp.statuses(RETAIL)
    assert statuses["eve@example.com"] == "subscribed", "who opted out is known"
    assert statuses["turning@example.com"] == "transactional"
    assert statuses["cleo@example.com"] == "transactional", "she stays until she is in wholesale"
    pushed = run.tables["audience_push"]
    assert "Audience wholesale (wholesale1) cannot take the merge fields" in pushed.facts["trouble"]
    waiting = pushed.rows[pushed.rows["outcome"] == "held_back"]
    assert set(waiting["audience"]) == {"wholesale", "retail"}
    assert set(waiting.loc[waiting["audience"] == "retail", "email"]) == {"cleo@example.com"}
    assert waiting["detail"].str.contains("merge fields").all()
    world.run_until_done()
    assert not _differences(town.end, _state(world))
